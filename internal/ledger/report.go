package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/database"
)

// Open is the outcome of a recipient that has none yet.
const Open Status = "open"

// Line is a recipient in a report: who, and what became of the mail.
type Line struct {
	Number  int32
	Address string
	// Outcome is that of the final delivery, or Open.
	Outcome Status
	// Attempts counts the attempts so far. PossiblyTwice tells that one came after an uncertain
	// one.
	Attempts      int32
	PossiblyTwice bool
	DropPoint     string
	Code          int16
	Enhanced      string
	Reply         string
	At            *time.Time // of the latest delivery; nil when there is none
	// Events are the classes of what came back later, the first one first, separated by blanks.
	Events string
}

var readReport = statement("report")

// Report calls each for every recipient of the mailing, in order, while it reads: memory does not
// grow with the mailing. With outcomes given, it calls each only for recipients that have one of
// them.
func (l *Ledger) Report(ctx context.Context, mailing int64, outcomes []Status, each func(Line) error) error {
	wanted := make([]string, len(outcomes))
	for i, o := range outcomes {
		wanted[i] = string(o)
	}
	read := func(rows pgx.Rows) error {
		for rows.Next() {
			line, err := pgx.RowToStructByName[Line](rows)
			if err != nil {
				return fmt.Errorf("read a line of the ledger: %w", err)
			}
			if err := each(line); err != nil {
				return &callersError{err}
			}
		}
		return nil
	}
	err := database.Read(ctx, l.pool, read, readReport, pgx.NamedArgs{"mailing": mailing, "outcomes": wanted})
	var callers *callersError
	if errors.As(err, &callers) {
		return callers.error
	}
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	return nil
}

// callersError is an error of the caller's function, which is returned as it is.
type callersError struct{ error }
