package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
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

// Each commit costs the same CPU time and the same wait for the disk however many entries it holds. Where entries come thick and fast, the
// gate therefore waits a moment before it commits what it has: until half of the connections are there, while the other half is busy with
// its server, or until gatherFor has passed. Where they come slowly, few more would come in that time, and nothing is waited for.
const (
	gatherFor  = 2 * time.Millisecond
	gatherFrom = 2000 // entries a second
)

// Gate commits results and intents in groups: all that connections have handed in while the last commit was under way goes into the
// next. One Gate serves all batches of a worker. It is safe for use by several goroutines.
type Gate struct {
	pool *pgxpool.Pool

	mu      sync.Mutex
	waiting []*Ticket
	spare   []*Ticket // room for the next group
	busy    bool
	out     int           // connections with an intent that is committed, from which the result is still to come
	enough  int           // entries that end the gathering; 0 when nothing gathers
	full    chan struct{} // says so

	// of the goroutine that commits
	rate  float64 // entries a second, smoothed
	since time.Time
	form  form
}

// NewGate returns a Gate on pool; it uses one connection.
func NewGate(pool *pgxpool.Pool) *Gate { return &Gate{pool: pool, full: make(chan struct{}, 1)} }

// Ticket stands for an entry that is on its way into the ledger.
type Ticket struct {
	claim  *Claim
	result *Result
	intent *Attempt
	since  time.Time // when its batch was first found locked
	done   chan error
}

// Enter hands in the result of one attempt and the intent of the next, either of which may be nil; both are committed together or
// not at all. It does not wait: the message may go out up to the final step meanwhile. result and intent must not change until Wait returns.
func (g *Gate) Enter(c *Claim, result *Result, intent *Attempt) *Ticket {
	t := tickets.Get().(*Ticket)
	t.claim, t.result, t.intent, t.since = c, result, intent, time.Time{}
	g.mu.Lock()
	defer g.mu.Unlock()
	if result != nil && g.out > 0 {
		g.out--
	}
	g.queue(t)
	return t
}

// queue lets a ticket into the next group. g.mu is held.
func (g *Gate) queue(t *Ticket) {
	g.waiting = append(g.waiting, t)
	switch {
	case !g.busy:
		g.busy = true
		go g.commitAll()
	case g.enough > 0 && len(g.waiting) >= g.enough:
		g.enough = 0
		g.full <- struct{}{}
	}
}

var tickets = sync.Pool{New: func() any { return &Ticket{done: make(chan error, 1)} }}

// Wait returns when the entry is committed; it must be called once. ErrFenced: nothing was written, and nothing more may be sent from the
// batch. With any other error it may or may not have been written; the intent must then not be followed by the final step.
func (t *Ticket) Wait() error {
	err := <-t.done
	t.claim, t.result, t.intent = nil, nil, nil
	tickets.Put(t)
	return err
}

func (g *Gate) commitAll() {
	for {
		group := g.gather()
		if group == nil {
			return
		}
		g.commit(group)
		g.mu.Lock()
		clear(group)
		g.spare = group[:0]
		g.mu.Unlock()
	}
}

// gather returns the next group, or nil, and ends the busy time, when nobody is waiting.
func (g *Gate) gather() []*Ticket {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 {
		g.busy = false
		return nil
	}
	if wanted := (len(g.waiting) + g.out) / 2; g.rate >= gatherFrom && len(g.waiting) < wanted {
		g.enough = wanted
		g.mu.Unlock()
		timer := time.NewTimer(gatherFor)
		select {
		case <-g.full:
		case <-timer.C:
		}
		timer.Stop()
		g.mu.Lock()
		if g.enough == 0 { // said, perhaps while the timer ran out
			select {
			case <-g.full:
			default:
			}
		}
		g.enough = 0
	}
	group := g.waiting
	g.waiting = g.spare
	now := time.Now()
	if passed := now.Sub(g.since).Seconds(); passed < 1 {
		const weight = 0.1
		g.rate += weight * (float64(len(group))/max(passed, 1e-6) - g.rate)
	} else {
		g.rate = 0
	}
	g.since = now
	return group
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
	var locked map[hold]bool
	if err != nil {
		clear(g.form.held)
	} else if len(g.form.held) < len(g.form.asked) {
		locked, err = g.locked(ctx)
	}
	if err != nil {
		err = fmt.Errorf("write the ledger: %w", err)
	}
	answers := g.form.answers[:0]
	committed := 0
	for _, t := range group {
		h := hold{t.claim.Batch, t.claim.Fence}
		answer := err
		switch {
		case g.form.held[h]:
			answer = nil
			if t.intent != nil {
				committed++
			}
		case err != nil:
		case !locked[h]:
			answer = ErrFenced
		case t.since.IsZero():
			t.since = time.Now()
			fallthrough
		case time.Since(t.since) < patience:
			answer = errLater
		default:
			answer = fmt.Errorf("write the ledger: somebody has locked the batch: %w", context.DeadlineExceeded)
		}
		answers = append(answers, answer)
	}
	g.form.answers = answers
	g.mu.Lock()
	g.out += committed // before any of them can come back
	g.mu.Unlock()
	var later []*Ticket
	for i, t := range group {
		if answers[i] == errLater {
			later = append(later, t)
		} else {
			t.done <- answers[i] // from here on the ticket is its holder's
		}
	}
	if later != nil {
		time.AfterFunc(lockPause, func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			for _, t := range later {
				g.queue(t)
			}
		})
	}
}

// lockPause is the time to the next try where somebody else has locked the batch, and errLater says so.
const lockPause = 50 * time.Millisecond

var errLater = errors.New("the batch is locked")

// locked tells which of the claims that were asked for and not found to hold may yet hold: somebody takes the batch over, or closes it,
// and has not committed that.
func (g *Gate) locked(ctx context.Context) (map[hold]bool, error) {
	rows, err := g.pool.Query(ctx, `
		SELECT b.mailing, b.number, b.fence FROM batches b
		JOIN unnest($1::bigint[], $2::int[], $3::bigint[]) AS c(mailing, number, fence)
			ON b.mailing = c.mailing AND b.number = c.number AND b.fence = c.fence
		WHERE b.closed_at IS NULL`, g.form.claims.mailing, g.form.claims.number, g.form.claims.fence)
	if err != nil {
		return nil, err
	}
	return collect(rows, map[hold]bool{})
}

// enterWith is the statement that commits a group. FOR SHARE makes a claim wait for it, and a batch
// that is being claimed is skipped: so an intent is either seen by the next claim or refused. It
// does not wait for the claimant, who may be stopped: other batches must go on.
func enterWith(outcome, results string) string {
	return `
	WITH held AS MATERIALIZED (
		SELECT b.mailing, b.number, b.fence FROM batches b
		JOIN unnest($1::bigint[], $2::int[], $3::bigint[]) AS c(mailing, number, fence)
			ON b.mailing = c.mailing AND b.number = c.number AND b.fence = c.fence
		WHERE b.closed_at IS NULL
		FOR SHARE OF b SKIP LOCKED
	), results AS (
		UPDATE deliveries d SET status = x.status::delivery_status, ` + outcome + `, code = nullif(x.code, 0),
			enhanced = nullif(x.enhanced, ''), reply = nullif(x.reply, ''), answered_at = now()
		FROM ` + results + `
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
}

const givenResults = `
		unnest($4::bigint[], $5::int[], $6::bigint[], $7::int[], $8::int[], $9::text[], $10::bool[], $11::smallint[], $12::text[], $13::text[])
			AS x(mailing, batch, fence, recipient, attempt, status, final, code, enhanced, reply)`

var enter = enterWith(`final = x.final`, givenResults)

// enterBesideOutcomes looks first whether a recipient has an outcome already, which costs too much to be done
// each time. The first of two outcomes stands. Whoever was sent to all the same may have got two.
var enterBesideOutcomes = enterWith(
	`final = x.final AND NOT x.second, possibly_twice = possibly_twice OR x.second AND x.status = 'sent'`, `(
		SELECT x.*, x.final AND (row_number() OVER (PARTITION BY x.mailing, x.recipient, x.final ORDER BY x.attempt) > 1 OR EXISTS (
			SELECT FROM deliveries o WHERE o.mailing = x.mailing AND o.recipient = x.recipient AND o.final)) AS second
		FROM `+givenResults+`) x`)

type hold struct {
	Batch
	fence int64
}

// write commits the group. A result that would be the second outcome of its recipient is written down without
// being one: whatever has gone wrong before, the other connections of the worker go on, and the batch can be closed.
func (g *Gate) write(ctx context.Context, group []*Ticket) error {
	args := g.form.fill(group)
	err := g.run(ctx, enter, args)
	if database.Duplicate(err) {
		err = g.run(ctx, enterBesideOutcomes, args)
	}
	return err
}

// run executes the statement in a transaction of its own, in one round trip.
func (g *Gate) run(ctx context.Context, sql string, args []any) error {
	clear(g.form.held)
	var batch pgx.Batch
	batch.Queue(database.BeginReadCommitted)
	batch.Queue(database.RaiseDurability)
	batch.Queue(sql, args...).Query(func(rows pgx.Rows) error {
		_, err := collect(rows, g.form.held)
		return err
	})
	batch.Queue(`COMMIT`)
	return g.pool.SendBatch(ctx, &batch).Close()
}

// collect adds the rows' claims to found.
func collect(rows pgx.Rows, found map[hold]bool) (map[hold]bool, error) {
	defer rows.Close()
	for rows.Next() {
		var h hold
		if err := rows.Scan(&h.Mailing, &h.Number, &h.fence); err != nil {
			return nil, err
		}
		found[h] = true
	}
	return found, rows.Err()
}

// form is room for a group's entries as the statement takes and answers them, used again for each group.
type form struct {
	claims, results, intents   batchColumns
	recipient, intentRecipient []int32
	attempt, intentAttempt     []int32
	code                       []int16
	status, enhanced, reply    []string
	dropPoint                  []string
	final, twice               []bool

	asked   map[hold]bool // claims that are in
	held    map[hold]bool // claims that the statement found to hold
	answers []error
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

func (c *batchColumns) reset() {
	c.mailing, c.number, c.fence = c.mailing[:0], c.number[:0], c.fence[:0]
}

func (f *form) reset() {
	if f.asked == nil {
		f.asked, f.held = map[hold]bool{}, map[hold]bool{}
	}
	f.claims.reset()
	f.results.reset()
	f.intents.reset()
	f.recipient, f.intentRecipient = f.recipient[:0], f.intentRecipient[:0]
	f.attempt, f.intentAttempt = f.attempt[:0], f.intentAttempt[:0]
	f.code, f.final, f.twice = f.code[:0], f.final[:0], f.twice[:0]
	f.status, f.enhanced, f.reply, f.dropPoint = f.status[:0], f.enhanced[:0], f.reply[:0], f.dropPoint[:0]
	clear(f.asked)
}

// fill lays the group's entries out as the arrays that the statement takes.
func (f *form) fill(group []*Ticket) []any {
	f.reset()
	for _, t := range group {
		if h := (hold{t.claim.Batch, t.claim.Fence}); !f.asked[h] {
			f.asked[h] = true
			f.claims.add(t.claim)
		}
		if r := t.result; r != nil {
			f.results.add(t.claim)
			f.recipient, f.attempt, f.code = append(f.recipient, r.Recipient), append(f.attempt, r.Attempt), append(f.code, r.Code)
			f.status, f.final = append(f.status, string(r.Status)), append(f.final, r.Final)
			f.enhanced, f.reply = append(f.enhanced, r.Enhanced), append(f.reply, storable(r.Reply))
		}
		if a := t.intent; a != nil {
			f.intents.add(t.claim)
			f.intentRecipient, f.intentAttempt = append(f.intentRecipient, a.Recipient), append(f.intentAttempt, a.Number)
			f.twice, f.dropPoint = append(f.twice, a.PossiblyTwice), append(f.dropPoint, a.DropPoint)
		}
	}
	return []any{
		f.claims.mailing, f.claims.number, f.claims.fence,
		f.results.mailing, f.results.number, f.results.fence, f.recipient, f.attempt, f.status, f.final, f.code, f.enhanced, f.reply,
		f.intents.mailing, f.intents.number, f.intents.fence, f.intentRecipient, f.intentAttempt, f.twice, f.dropPoint,
	}
}

// storable is a server's text as PostgreSQL takes it.
func storable(reply string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(reply, "\x00", ""), "?")
}
