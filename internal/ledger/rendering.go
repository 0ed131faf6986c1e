package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/database"
)

// MaxDeaths is how many workers may die while they render the same batch. After that the batch is
// taken for the cause.
const MaxDeaths = 3

// ErrPoison says that workers have died while they rendered the batch, and that it must not be
// rendered until an operator has looked at it. The next attempt is the first one again.
var ErrPoison = fmt.Errorf("%d workers have died while they rendered the batch", MaxDeaths)

var (
	renderBegin = statement("render_begin")
	renderEnd   = statement("render_end")
)

// BeginRendering counts an attempt to render a batch in the database, where the count survives the
// death of the worker. [Ledger.Store] and [Ledger.EndRendering] end the attempt. rendered is true
// if there is nothing left to render. The error is ErrPoison after the death of MaxDeaths workers.
//
// counted is true if the attempt is counted. After an error it may be counted: the answer of the
// database was lost.
func (l *Ledger) BeginRendering(ctx context.Context, b Batch) (rendered, counted bool, err error) {
	var begun int
	args := pgx.NamedArgs{"mailing": b.Mailing, "batch": b.Number, "most": MaxDeaths}
	err = pgx.BeginTxFunc(ctx, l.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, renderBegin, args).Scan(&begun)
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return true, false, nil
	case err != nil:
		return false, begun > 0, fmt.Errorf("begin to render the batch: %w", err)
	case begun == 0:
		return false, false, ErrPoison
	}
	return false, true, nil
}

// EndRendering ends an attempt that has stored nothing, and has not killed its worker.
func (l *Ledger) EndRendering(ctx context.Context, b Batch) error {
	err := pgx.BeginTxFunc(ctx, l.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, renderEnd, pgx.NamedArgs{"mailing": b.Mailing, "batch": b.Number})
		return err
	})
	if err != nil {
		return fmt.Errorf("end the attempt to render the batch: %w", err)
	}
	return nil
}
