package ledger

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/database"
)

// Result is what became of an attempt.
type Result struct {
	Recipient int32
	Attempt   int32
	Status    Status
	Final     bool   // the recipient's outcome
	Code      int16  // SMTP reply code, 0 without one
	Enhanced  string // enhanced status code (RFC 3463), empty without one
	Reply     string // the server's text, or the reason
}

// Attempt is one that is about to be made.
type Attempt struct {
	Recipient     int32
	Number        int32 // 1 for the first
	PossiblyTwice bool  // an earlier attempt is uncertain
	DropPoint     string
}

// patience is how long the gate tries again when the database is away. It keeps connections waiting with an open body, so it must be
// far shorter than a server's own patience; a restart of PostgreSQL fits in.
const patience = 5 * time.Second

// Gate commits results and intents in groups: all that connections have handed in while the last commit was under way goes into the
// next. One Gate serves all batches of a worker. It is safe for use by several goroutines.
type Gate struct {
	pool *pgxpool.Pool

	mu      sync.Mutex
	waiting []*Ticket
	busy    bool
}

// NewGate returns a Gate on pool; it uses one connection.
func NewGate(pool *pgxpool.Pool) *Gate { return &Gate{pool: pool} }

// Ticket stands for an entry that is on its way into the ledger.
type Ticket struct {
	claim  *Claim
	result *Result
	intent *Attempt
	err    error
	done   chan struct{}
}

// Enter hands in the result of one attempt and the intent of the next, either of which may be nil; both are committed together or
// not at all. It does not wait: the message may go out up to the final step meanwhile.
func (g *Gate) Enter(c *Claim, result *Result, intent *Attempt) *Ticket {
	t := &Ticket{claim: c, result: result, intent: intent, done: make(chan struct{})}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, t)
	if !g.busy {
		g.busy = true
		go g.commitAll()
	}
	return t
}

// Wait returns when the entry is committed. ErrFenced: nothing was written, and nothing more may be sent from the batch. With any
// other error it may or may not have been written; the intent must then not be followed by the final step.
func (t *Ticket) Wait() error {
	<-t.done
	return t.err
}

func (g *Gate) commitAll() {
	for {
		g.mu.Lock()
		group := g.waiting
		g.waiting = nil
		if len(group) == 0 {
			g.busy = false
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		g.commit(group)
	}
}

// commit writes the group and wakes its members. A commit whose answer was lost is repeated: the statement changes nothing that it
// has written before.
func (g *Gate) commit(group []*Ticket) {
	deadline := time.Now().Add(patience)
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	var err error
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		if err = g.write(ctx, group); err == nil || ctx.Err() != nil || !database.Unavailable(err) || time.Now().Add(pause).After(deadline) {
			break
		}
		time.Sleep(pause)
	}
	for _, t := range group {
		if err != nil {
			t.err = fmt.Errorf("write the ledger: %w", err)
		}
		close(t.done)
	}
}

// One statement is one transaction and one round trip. FOR SHARE makes it wait for a claim that is under way, and a claim wait for
// it: so an intent is either seen by the next claim or refused.
const enter = `
	WITH held AS MATERIALIZED (
		SELECT b.mailing, b.number, b.fence FROM batches b
		JOIN unnest($1::bigint[], $2::int[], $3::bigint[]) AS c(mailing, number, fence)
			ON b.mailing = c.mailing AND b.number = c.number AND b.fence = c.fence
		WHERE b.closed_at IS NULL
		FOR SHARE OF b
	), results AS (
		UPDATE deliveries d SET status = x.status::delivery_status, final = x.final, code = nullif(x.code, 0), enhanced = nullif(x.enhanced, ''),
			reply = nullif(x.reply, ''), answered_at = now()
		FROM unnest($4::bigint[], $5::int[], $6::bigint[], $7::int[], $8::int[], $9::text[], $10::bool[], $11::smallint[], $12::text[], $13::text[])
			AS x(mailing, batch, fence, recipient, attempt, status, final, code, enhanced, reply)
		JOIN held h ON h.mailing = x.mailing AND h.number = x.batch AND h.fence = x.fence
		WHERE d.mailing = x.mailing AND d.recipient = x.recipient AND d.attempt = x.attempt AND d.status = 'intent'
	), intents AS (
		INSERT INTO deliveries (mailing, recipient, attempt, status, final, possibly_twice, drop_point)
		SELECT x.mailing, x.recipient, x.attempt, 'intent', false, x.twice, x.drop_point
		FROM unnest($14::bigint[], $15::int[], $16::bigint[], $17::int[], $18::int[], $19::bool[], $20::text[])
			AS x(mailing, batch, fence, recipient, attempt, twice, drop_point)
		JOIN held h ON h.mailing = x.mailing AND h.number = x.batch AND h.fence = x.fence
		ON CONFLICT DO NOTHING
	)
	SELECT mailing, number, fence FROM held`

type hold struct {
	Batch
	fence int64
}

func (g *Gate) write(ctx context.Context, group []*Ticket) error {
	rows, err := g.pool.Query(ctx, enter, columnsOf(group)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	held := map[hold]bool{}
	for rows.Next() {
		var h hold
		if err := rows.Scan(&h.Mailing, &h.Number, &h.fence); err != nil {
			return err
		}
		held[h] = true
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, t := range group {
		if !held[hold{t.claim.Batch, t.claim.Fence}] {
			t.err = ErrFenced
		}
	}
	return nil
}

// batchColumns says of each entry which batch it is for, and under which fence.
type batchColumns struct {
	mailing []int64
	number  []int32
	fence   []int64
}

func (c *batchColumns) add(claim *Claim) {
	c.mailing = append(c.mailing, claim.Mailing)
	c.number = append(c.number, claim.Number)
	c.fence = append(c.fence, claim.Fence)
}

// columnsOf lays the group's entries out as the arrays that the statement takes.
func columnsOf(group []*Ticket) []any {
	var claims, results, intents batchColumns
	var recipient, intentRecipient []int32
	var attempt, intentAttempt []int32
	var code []int16
	var status, enhanced, reply, dropPoint []string
	var final, twice []bool
	seen := map[*Claim]bool{}
	for _, t := range group {
		if !seen[t.claim] {
			seen[t.claim] = true
			claims.add(t.claim)
		}
		if r := t.result; r != nil {
			results.add(t.claim)
			recipient, attempt, code = append(recipient, r.Recipient), append(attempt, r.Attempt), append(code, r.Code)
			status, final = append(status, string(r.Status)), append(final, r.Final)
			enhanced, reply = append(enhanced, r.Enhanced), append(reply, strings.ToValidUTF8(strings.ReplaceAll(r.Reply, "\x00", ""), "?"))
		}
		if a := t.intent; a != nil {
			intents.add(t.claim)
			intentRecipient, intentAttempt = append(intentRecipient, a.Recipient), append(intentAttempt, a.Number)
			twice, dropPoint = append(twice, a.PossiblyTwice), append(dropPoint, a.DropPoint)
		}
	}
	return []any{
		claims.mailing, claims.number, claims.fence,
		results.mailing, results.number, results.fence, recipient, attempt, status, final, code, enhanced, reply,
		intents.mailing, intents.number, intents.fence, intentRecipient, intentAttempt, twice, dropPoint,
	}
}
