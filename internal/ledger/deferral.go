package ledger

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/database"
)

// Gathered says what Gather has made, and how many wait on.
type Gathered struct {
	// Ready batches have their messages in the spool, Unrendered ones do not.
	Ready, Unrendered []int
	// Deferred recipients wait on, and NextRound is when it is worth gathering again; zero when nobody waits.
	Deferred  int
	NextRound time.Time
}

// Gathering is what Gather goes by.
type Gathering struct {
	// Known is the highest number of a batch that the caller has: after a lost answer, those above it are there already.
	Known int
	// Size is that of a full batch. What does not fill one waits for Linger, so that batches of deferred recipients are as big as others.
	Size   int
	Linger time.Duration
	// Pack makes the blob of a batch from those that hold its messages; nil if they do not hold all of them, or
	// cannot be read: the batch is rendered again then.
	Pack func(members []int32, blobs [][]byte) ([]byte, error)
}

// gatherAtOnce is how many full batches are made in one transaction.
const gatherAtOnce = 16

type waiting struct {
	recipient, batch int32
	due              time.Time
}

// Gather makes batches of deferred recipients whose time has come, wherever in the mailing they are.
func (l *Ledger) Gather(ctx context.Context, mailing int64, g Gathering) (Gathered, error) {
	var out Gathered
	err := pgx.BeginTxFunc(ctx, l.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		out = Gathered{}
		var ended bool
		if err := tx.QueryRow(ctx, `SELECT closed_at IS NOT NULL FROM mailings WHERE key = $1 FOR UPDATE`, mailing).Scan(&ended); err != nil || ended {
			return err
		}
		if err := out.readUnknown(ctx, tx, mailing, g.Known); err != nil {
			return err
		}
		if len(out.Ready)+len(out.Unrendered) == 0 {
			if err := out.gather(ctx, tx, mailing, g); err != nil {
				return err
			}
		}
		return out.readWaiting(ctx, tx, mailing, g)
	})
	if err != nil {
		return Gathered{}, fmt.Errorf("gather deferred recipients: %w", err)
	}
	return out, nil
}

// readUnknown finds batches that an earlier call has made.
func (out *Gathered) readUnknown(ctx context.Context, tx pgx.Tx, mailing int64, known int) error {
	rows, err := tx.Query(ctx, `
		SELECT number, EXISTS (SELECT FROM spool s WHERE s.mailing = b.mailing AND s.batch = b.number)
		FROM batches b WHERE mailing = $1 AND number > $2 ORDER BY number`, mailing, known)
	if err != nil {
		return err
	}
	var number int
	var rendered bool
	_, err = pgx.ForEachRow(rows, []any{&number, &rendered}, func() error {
		out.add(number, rendered)
		return nil
	})
	return err
}

func (out *Gathered) add(number int, rendered bool) {
	if rendered {
		out.Ready = append(out.Ready, number)
	} else {
		out.Unrendered = append(out.Unrendered, number)
	}
}

func (out *Gathered) gather(ctx context.Context, tx pgx.Tx, mailing int64, g Gathering) error {
	due, err := readDue(ctx, tx, mailing, g)
	if err != nil || len(due) == 0 {
		return err
	}
	// Those of one blob together, so that few blobs are read for each batch.
	slices.SortFunc(due, func(a, b waiting) int {
		return cmp.Or(cmp.Compare(a.batch, b.batch), cmp.Compare(a.recipient, b.recipient))
	})
	var number int
	if err := tx.QueryRow(ctx, `SELECT max(number) FROM batches WHERE mailing = $1`, mailing).Scan(&number); err != nil {
		return err
	}
	made := 0
	for chunk := range slices.Chunk(due, g.Size) {
		number++
		made++
		rendered, err := makeBatch(ctx, tx, mailing, number, chunk, g)
		if err != nil {
			return err
		}
		out.add(number, rendered)
	}
	return leave(ctx, tx, mailing, due, made)
}

// readDue returns the recipients that are to be gathered now: whole batches, and what is left if it has waited, or waits for nobody.
func readDue(ctx context.Context, tx pgx.Tx, mailing int64, g Gathering) ([]waiting, error) {
	var now time.Time
	var all int
	if err := tx.QueryRow(ctx, `SELECT now(), count(*) FROM deferrals WHERE mailing = $1`, mailing).Scan(&now, &all); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `SELECT recipient, batch, due FROM deferrals WHERE mailing = $1 AND due <= $2 ORDER BY due LIMIT $3`, mailing, now, gatherAtOnce*g.Size)
	if err != nil {
		return nil, err
	}
	due, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (w waiting, err error) {
		return w, row.Scan(&w.recipient, &w.batch, &w.due)
	})
	if err != nil {
		return nil, err
	}
	full := len(due) / g.Size * g.Size
	if full < len(due) && len(due) < all && due[full].due.After(now.Add(-g.Linger)) {
		due = due[:full]
	}
	return due, nil
}

// makeBatch opens a batch, with its messages if they are all there.
func makeBatch(ctx context.Context, tx pgx.Tx, mailing int64, number int, of []waiting, g Gathering) (rendered bool, err error) {
	members := make([]int32, len(of))
	var sources []int32
	for i, w := range of {
		members[i] = w.recipient
		if len(sources) == 0 || sources[len(sources)-1] != w.batch {
			sources = append(sources, w.batch)
		}
	}
	slices.Sort(members)
	rows, err := tx.Query(ctx, `SELECT messages FROM spool WHERE mailing = $1 AND batch = ANY($2)`, mailing, sources)
	if err != nil {
		return false, err
	}
	blobs, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		return false, err
	}
	blob, err := g.Pack(members, blobs)
	if err != nil {
		return false, err
	}
	rendered = blob != nil && len(blob) <= MaxSpool
	var batch pgx.Batch
	batch.Queue(`
		INSERT INTO batches (mailing, number, first, last, members, opened_at, rendered_at)
		VALUES ($1, $2, $3, $4, $5, clock_timestamp(), CASE WHEN $6 THEN now() END)`,
		mailing, number, members[0], members[len(members)-1], members, rendered)
	if rendered {
		batch.Queue(`INSERT INTO spool (mailing, batch, messages) VALUES ($1, $2, $3)`, mailing, number, blob)
	}
	return rendered, tx.SendBatch(ctx, &batch).Close()
}

// leave takes the gathered out of the waiting, and drops blobs that nobody waits for any more.
func leave(ctx context.Context, tx pgx.Tx, mailing int64, gone []waiting, made int) error {
	recipients := make([]int32, len(gone))
	var sources []int32
	for i, w := range gone {
		recipients[i] = w.recipient
		if len(sources) == 0 || sources[len(sources)-1] != w.batch {
			sources = append(sources, w.batch)
		}
	}
	var batch pgx.Batch
	batch.Queue(`DELETE FROM deferrals WHERE mailing = $1 AND recipient = ANY($2)`, mailing, recipients)
	batch.Queue(`
		DELETE FROM spool s USING batches b
		WHERE s.mailing = $1 AND s.batch = ANY($2) AND b.mailing = s.mailing AND b.number = s.batch AND b.closed_at IS NOT NULL
		AND NOT EXISTS (SELECT FROM deferrals d WHERE d.mailing = $1 AND d.batch = s.batch)`, mailing, sources)
	batch.Queue(`UPDATE mailings SET batches = batches + $2 WHERE key = $1`, mailing, made)
	return tx.SendBatch(ctx, &batch).Close()
}

// readWaiting says when it is worth coming again: when a batch can be filled, when the first has waited long enough, or when all are due.
func (out *Gathered) readWaiting(ctx context.Context, tx pgx.Tx, mailing int64, g Gathering) error {
	var next *time.Time
	err := tx.QueryRow(ctx, `
		SELECT count(*), least(min(due) + $2 * interval '1 second', max(due),
			(SELECT due FROM deferrals WHERE mailing = $1 ORDER BY due OFFSET $3 - 1 LIMIT 1))
		FROM deferrals WHERE mailing = $1`, mailing, g.Linger.Seconds(), g.Size).Scan(&out.Deferred, &next)
	if next != nil {
		out.NextRound = *next
	}
	return err
}
