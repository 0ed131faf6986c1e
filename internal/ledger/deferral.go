package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/database"
	"directmailer/internal/mailings"
)

// Gathered says which batches Gather has made, and how many recipients still wait.
type Gathered struct {
	// Ready batches have their messages in the spool, Unrendered ones do not.
	Ready, Unrendered []int
	// Deferred recipients still wait. NextRound is when it is worth gathering again, and later than
	// Gathering.Asked if no batch was made; zero when nobody waits.
	Deferred  int
	NextRound time.Time
}

// Gathering holds the settings of Gather.
type Gathering struct {
	// Known is the highest number of a batch that the caller has. After a lost answer, the batches
	// above it are there already.
	Known int
	// Size is that of a full batch. Recipients that do not fill one wait for Linger, so that
	// batches of deferred recipients are as big as others.
	Size   int
	Linger time.Duration
	// Asked is the time of the call by the clock by which the caller waits. It may be ahead of the
	// database's clock, by which recipients are due.
	Asked time.Time
	// Pack makes the blob of a batch from those that hold its messages. It returns nil if they do
	// not hold all of them, or cannot be read: the batch is rendered again then. It returns
	// ErrTooLarge if they do not fit into one blob: the batch is divided.
	Pack func(members []int32, blobs [][]byte) ([]byte, error)
}

// gatherAtOnce is how many full batches are made in one transaction.
const gatherAtOnce = 16

// waiting is a recipient that waits for a later round, with the batch whose spool has the message.
type waiting struct {
	Recipient, Batch int32
	Due              time.Time
}

// Gather makes batches of deferred recipients whose time has come, wherever in the mailing they
// are.
func (l *Ledger) Gather(ctx context.Context, mailing int64, g Gathering) (Gathered, error) {
	var out Gathered
	err := pgx.BeginTxFunc(ctx, l.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		out = Gathered{}
		if _, ended, err := mailings.Lock(ctx, tx, mailing); err != nil || ended {
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
	// Recipients of one blob come together, so that few blobs are read for each batch.
	slices.SortFunc(due, func(a, b waiting) int {
		return cmp.Or(cmp.Compare(a.Batch, b.Batch), cmp.Compare(a.Recipient, b.Recipient))
	})
	var before int
	if err := tx.QueryRow(ctx, `SELECT max(number) FROM batches WHERE mailing = $1`, mailing).Scan(&before); err != nil {
		return err
	}
	number := before
	for chunk := range slices.Chunk(due, g.Size) {
		if number, err = out.makeBatches(ctx, tx, mailing, number, chunk, g); err != nil {
			return err
		}
	}
	return removeGathered(ctx, tx, mailing, due, number-before)
}

// makeBatches makes a batch, or several ones if its messages do not fit into one spool: a server
// may defer just the largest. It returns the number of the last batch; known is that of the one
// before.
func (out *Gathered) makeBatches(
	ctx context.Context, tx pgx.Tx, mailing int64, known int, of []waiting, g Gathering,
) (last int, err error) {
	rendered, err := makeBatch(ctx, tx, mailing, known+1, of, g)
	if errors.Is(err, ErrTooLarge) && len(of) > 1 {
		half := len(of) / 2
		if last, err = out.makeBatches(ctx, tx, mailing, known, of[:half], g); err != nil {
			return last, err
		}
		return out.makeBatches(ctx, tx, mailing, last, of[half:], g)
	}
	if err != nil {
		return known, err
	}
	out.add(known+1, rendered)
	return known + 1, nil
}

// readDue returns the recipients that are to be gathered now: whole batches, and the rest if it has
// waited for long enough, or if nobody else waits.
func readDue(ctx context.Context, tx pgx.Tx, mailing int64, g Gathering) ([]waiting, error) {
	var now time.Time
	var all int
	err := tx.QueryRow(ctx, `SELECT now(), count(*) FROM deferrals WHERE mailing = $1`, mailing).Scan(&now, &all)
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `
		SELECT recipient, batch, due FROM deferrals WHERE mailing = $1 AND due <= $2 ORDER BY due LIMIT $3`,
		mailing, now, gatherAtOnce*g.Size)
	if err != nil {
		return nil, err
	}
	due, err := pgx.CollectRows(rows, pgx.RowToStructByName[waiting])
	if err != nil {
		return nil, err
	}
	full := len(due) / g.Size * g.Size
	if full < len(due) && len(due) < all && due[full].Due.After(now.Add(-g.Linger)) {
		due = due[:full]
	}
	return due, nil
}

// makeBatch opens a batch, with its messages if they are all there.
func makeBatch(
	ctx context.Context, tx pgx.Tx, mailing int64, number int, of []waiting, g Gathering,
) (rendered bool, err error) {
	members, spooled := numbersOf(of)
	slices.Sort(members)
	rows, err := tx.Query(ctx, `SELECT messages FROM spool WHERE mailing = $1 AND batch = ANY($2)`, mailing, spooled)
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
	if len(blob) > maxSpool(tx) {
		return false, ErrTooLarge
	}
	rendered = blob != nil
	args := pgx.NamedArgs{
		"mailing": mailing, "number": number, "first": members[0], "last": members[len(members)-1],
		"members": members, "rendered": rendered, "messages": blob,
	}
	var batch pgx.Batch
	batch.Queue(`
		INSERT INTO batches (mailing, number, first, last, members, opened_at, rendered_at)
		VALUES (@mailing, @number, @first, @last, @members, clock_timestamp(), CASE WHEN @rendered THEN now() END)`, args)
	if rendered {
		batch.Queue(`INSERT INTO spool (mailing, batch, messages) VALUES (@mailing, @number, @messages)`, args)
	}
	return rendered, tx.SendBatch(ctx, &batch).Close()
}

// numbersOf returns the recipients' numbers, and the batches whose spool has their messages.
// Recipients of one batch come together.
func numbersOf(of []waiting) (recipients, batches []int32) {
	recipients = make([]int32, len(of))
	for i, w := range of {
		recipients[i] = w.Recipient
		if len(batches) == 0 || batches[len(batches)-1] != w.Batch {
			batches = append(batches, w.Batch)
		}
	}
	return recipients, batches
}

var (
	dropUnusedSpool = statement("gather_spool")
	readNextRound   = statement("gather_next")
)

// removeGathered ends the waiting of recipients that are in a batch again, and drops blobs that
// nobody waits for any more.
func removeGathered(ctx context.Context, tx pgx.Tx, mailing int64, gathered []waiting, made int) error {
	recipients, spooled := numbersOf(gathered)
	var batch pgx.Batch
	batch.Queue(`DELETE FROM deferrals WHERE mailing = $1 AND recipient = ANY($2)`, mailing, recipients)
	batch.Queue(dropUnusedSpool, pgx.NamedArgs{"mailing": mailing, "batches": spooled})
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return err
	}
	return mailings.AddBatches(ctx, tx, mailing, made)
}

// readWaiting reads who waits, and when it is worth gathering again.
func (out *Gathered) readWaiting(ctx context.Context, tx pgx.Tx, mailing int64, g Gathering) error {
	var next *time.Time
	var now time.Time
	err := tx.QueryRow(ctx, readNextRound,
		pgx.NamedArgs{"mailing": mailing, "linger": g.Linger.Seconds(), "size": g.Size}).Scan(&out.Deferred, &next, &now)
	if err != nil || next == nil {
		return err
	}
	out.NextRound = *next
	if len(out.Ready)+len(out.Unrendered) == 0 && !next.After(g.Asked) {
		// Otherwise the caller would ask again and again until it is time by the database's clock.
		out.NextRound = g.Asked.Add(next.Sub(now))
	}
	return nil
}
