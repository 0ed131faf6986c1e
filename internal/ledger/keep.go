package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/database"
	"directmailer/internal/mailings"
)

// keptPause is the time between two tries to write results that are kept.
const keptPause = 500 * time.Millisecond

// keptLockTimeout is how long a kept result waits for a lock, in PostgreSQL's words. The gate's
// other entries wait as long.
const keptLockTimeout = "1s"

// claimLockTimeout is how long the next claim of the same batch waits for it. No other batch waits.
const claimLockTimeout = "1min"

// kept holds results whose commit has failed. The drop point's answer is known, and only the
// database does not have it.
type kept struct {
	mu      sync.Mutex
	results []keptResult
	running bool          // a goroutine tries to write them
	closed  chan struct{} // closed by Close

	writing sync.Mutex // held by who writes them
}

type keptResult struct {
	batch  Batch
	fence  int64 // of the only claim under which it may be written; 0 for any
	result Result
}

// Keep takes over a result whose commit has failed or was refused. The gate tries to write it until
// it is written, or is no longer wanted, or the gate is closed. Meanwhile it commits no intent, so
// that a connection has one unwritten answer at most.
//
// If another attempt has claimed the batch since, the result is still what the drop point said. It
// is written if no later attempt was made: see late.sql.
func (g *Gate) Keep(c *Claim, r *Result) { g.keep(keptResult{batch: c.Batch, result: *r}) }

// Withdraw takes over the result of an attempt that was not made, because the commit of its intent
// has failed. The intent may be written all the same. The gate writes the result as one of
// [Gate.Keep], but only while the claim holds: under a later claim, the attempt with this number
// may be that of another worker. The caller must not use the number again.
func (g *Gate) Withdraw(c *Claim, r *Result) {
	g.keep(keptResult{batch: c.Batch, fence: c.Fence, result: *r})
}

func (g *Gate) keep(r keptResult) {
	k := &g.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	k.results = append(k.results, r)
	if !k.running {
		k.running = true
		go g.writeKeptInTime()
	}
}

// Close ends the gate. It tries once more to write the results that are kept, and returns how many
// of them it could not write: the recipients are uncertain.
func (g *Gate) Close(ctx context.Context) (unwritten int) {
	k := &g.kept
	k.mu.Lock()
	select {
	case <-k.closed:
	default:
		close(k.closed)
	}
	k.mu.Unlock()
	_ = g.WriteKept(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.results)
}

func (g *Gate) writeKeptInTime() {
	k := &g.kept
	for {
		ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
		_ = g.WriteKept(ctx)
		cancel()
		k.mu.Lock()
		if len(k.results) == 0 {
			k.running = false
			k.mu.Unlock()
			return
		}
		k.mu.Unlock()
		select {
		case <-k.closed:
			return
		case <-time.After(keptPause):
		}
	}
}

// WriteKept writes the results that are kept, if the database is available. A result that waits for
// a lock is left for another time.
func (g *Gate) WriteKept(ctx context.Context) error {
	k := &g.kept
	k.writing.Lock()
	defer k.writing.Unlock()
	k.mu.Lock()
	results := slices.Clone(k.results)
	k.mu.Unlock()
	locked := map[int64]bool{} // mailings: one of them costs one wait
	for _, r := range results {
		if locked[r.batch.Mailing] {
			continue
		}
		err := g.writeLate(ctx, r, keptLockTimeout)
		switch {
		case database.LockTimeout(err):
			locked[r.batch.Mailing] = true
			continue
		case err != nil && (ctx.Err() != nil || database.Unavailable(err)):
			return fmt.Errorf("write the ledger: %w", err)
		}
		// Any other error would come again, and would hold up all batches of the worker. The row
		// stays an intent, so the next claim makes the recipient uncertain.
		k.remove(r)
	}
	return nil
}

// WriteKeptOf writes the results of a batch that are kept, before another claim makes their
// recipients uncertain. It waits for locks for up to a minute. A result that is locked for longer
// is left, as by [Gate.WriteKept]: the batch must not wait for ever.
func (g *Gate) WriteKeptOf(ctx context.Context, b Batch) error {
	k := &g.kept
	k.mu.Lock()
	results := slices.DeleteFunc(slices.Clone(k.results), func(r keptResult) bool { return r.batch != b })
	k.mu.Unlock()
	for _, r := range results { // WriteKept may write them at the same time: the first one counts
		err := g.writeLate(ctx, r, claimLockTimeout)
		switch {
		case database.LockTimeout(err):
			return nil
		case err != nil && (ctx.Err() != nil || database.Unavailable(err)):
			return fmt.Errorf("write the ledger: %w", err)
		}
		k.remove(r)
	}
	return nil
}

func (k *kept) remove(r keptResult) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.results = slices.DeleteFunc(k.results, func(other keptResult) bool { return other == r })
}

// writeKeptFirst writes the results that are kept before a group is committed. A connection whose
// last answer is not written must not get the intent of another message.
func (g *Gate) writeKeptFirst(ctx context.Context) error {
	g.kept.mu.Lock()
	some := len(g.kept.results) > 0
	g.kept.mu.Unlock()
	if !some {
		return nil
	}
	return g.WriteKept(ctx)
}

var (
	lockLateBatch = statement("late_batch")
	writeLate     = statement("late")
	countLate     = statement("late_count")
)

// writeLate writes a result, whoever has the batch now unless it is withdrawn, and corrects the
// counts that have its recipient already.
func (g *Gate) writeLate(ctx context.Context, late keptResult, lockTimeout string) error {
	r := &late.result
	args := pgx.NamedArgs{
		"mailing": late.batch.Mailing, "batch": late.batch.Number, "recipient": r.Recipient, "attempt": r.Attempt,
		"status": string(r.Status), "final": r.Final, "code": r.Code, "enhanced": r.Enhanced, "reply": storable(r.Reply),
	}
	return pgx.BeginTxFunc(ctx, g.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL lock_timeout = '`+lockTimeout+`'`); err != nil {
			return err
		}
		// A Close that is counting notices the new revision.
		_, counts, err := mailings.Revise(ctx, tx, late.batch.Mailing)
		if err != nil {
			return err
		}
		var closed, counted bool
		var fence int64
		if err := tx.QueryRow(ctx, lockLateBatch, args).Scan(&closed, &fence); err != nil {
			return err
		}
		if late.fence != 0 && late.fence != fence {
			return nil
		}
		err = tx.QueryRow(ctx, writeLate, args).Scan(&counted)
		if errors.Is(err, pgx.ErrNoRows) { // it is written already, or not wanted any more
			return nil
		}
		if err != nil || !counted {
			return err
		}
		if closed {
			if _, err := tx.Exec(ctx, countLate, args); err != nil {
				return err
			}
		}
		if counts == nil {
			return nil
		}
		counts.Uncertain--
		switch r.Status {
		case Sent:
			counts.Sent++
		case Bounced:
			counts.Bounced++
		default:
			counts.Failed++
		}
		return mailings.SetCounts(ctx, tx, late.batch.Mailing, *counts)
	})
}
