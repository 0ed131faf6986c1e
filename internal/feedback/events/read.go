package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/database"
)

// Counts are the numbers of recipients of a mailing that have an event of a class. A recipient with
// events of several classes is counted for each of them, whatever the outcome is.
type Counts struct {
	Hard        int64 `json:"hard" db:"hard"`
	Soft        int64 `json:"soft" db:"soft"`
	Complaint   int64 `json:"complaint" db:"complaint"`
	Unsubscribe int64 `json:"unsubscribe" db:"unsubscribe"`
	Automatic   int64 `json:"automatic" db:"automatic"`
	Delayed     int64 `json:"delayed" db:"delayed"`
	Delivered   int64 `json:"delivered" db:"delivered"`
}

// Of returns the number of recipients with an event of the class.
func (c Counts) Of(class Class) int64 {
	switch class {
	case Hard:
		return c.Hard
	case Soft:
		return c.Soft
	case Complaint:
		return c.Complaint
	case Unsubscribe:
		return c.Unsubscribe
	case Automatic:
		return c.Automatic
	case Delayed:
		return c.Delayed
	}
	return c.Delivered
}

// Counts returns the counts of the mailing with the internal key. It reads one row.
func (s *Store) Counts(ctx context.Context, mailing int64) (Counts, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT hard, soft, complaint, unsubscribe, automatic, delayed, delivered FROM event_counts WHERE mailing = $1`,
		mailing)
	if err != nil {
		return Counts{}, fmt.Errorf("read the counts of events: %w", err)
	}
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Counts])
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return Counts{}, fmt.Errorf("read the counts of events: %w", err)
	}
	return c, nil
}

// Line is an event as people see it.
type Line struct {
	Number     int32
	Address    string
	Kind       string
	Class      Class
	Enhanced   string
	Diagnostic string
	Origin     Origin
	At         time.Time
}

var readReport = statement("report")

// Report calls each for every event of the mailing, by recipient and time, while it reads.
func (s *Store) Report(ctx context.Context, mailing int64, each func(Line) error) error {
	var fromEach error
	read := func(rows pgx.Rows) error {
		for rows.Next() {
			line, err := pgx.RowToStructByName[Line](rows)
			if err != nil {
				return err
			}
			if fromEach = each(line); fromEach != nil {
				return fromEach
			}
		}
		return rows.Err()
	}
	err := database.Read(ctx, s.pool, read, readReport, pgx.NamedArgs{"mailing": mailing})
	switch {
	case fromEach != nil:
		return fromEach
	case err != nil:
		return fmt.Errorf("read the events: %w", err)
	}
	return nil
}
