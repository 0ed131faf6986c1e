package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/counts"
	"directmailer/internal/database"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/ledger"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

// fixture is a mailing with recipients frozen into batches, all rendered.
type fixture struct {
	*testing.T
	pool   *pgxpool.Pool
	ledger *ledger.Ledger
	gate   *ledger.Gate
	key    int64
}

func newFixture(t *testing.T, recipients, batchSize int) *fixture {
	t.Helper()
	f := &fixture{T: t, pool: servertest.Pool(t, servertest.Database(t), 8)}
	f.fill(recipients, batchSize)
	return f
}

func (f *fixture) fill(recipients, batchSize int) {
	f.Helper()
	f.ledger, f.gate = ledger.New(f.pool), ledger.NewGate(f.pool)
	f.row(`INSERT INTO mailings (id, first_run_id, input, list, state, recipients, mailable)
		VALUES ('m', 'run', '{}', 'l', 'sending', $1, $1) RETURNING key`, recipients)(&f.key)
	f.exec(`INSERT INTO recipients SELECT $1, n, 'r' || n || '@example.com', 'r' || n || '@example.com', '{}'
		FROM generate_series(1, $2::int) n`, f.key, recipients)
	f.exec(`INSERT INTO batches (mailing, number, first, last) SELECT $1, n, (n-1)*$3+1, least(n*$3, $2)
		FROM generate_series(1, ceil($2::numeric/$3)::int) n`, f.key, recipients, batchSize)
	for n := 1; (n-1)*batchSize < recipients; n++ {
		if err := f.ledger.Store(f.Context(), f.batch(n), []byte("messages"), nil); err != nil {
			f.Fatal(err)
		}
	}
}

func (f *fixture) batch(n int) ledger.Batch { return ledger.Batch{Mailing: f.key, Number: int32(n)} }

func (f *fixture) exec(sql string, args ...any) {
	f.Helper()
	if _, err := f.pool.Exec(f.Context(), sql, args...); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) row(sql string, args ...any) func(into ...any) {
	return func(into ...any) {
		f.Helper()
		if err := f.pool.QueryRow(f.Context(), sql, args...).Scan(into...); err != nil {
			f.Fatal(err)
		}
	}
}

// lock leaves the statement's transaction open.
func (f *fixture) lock(sql string, args ...any) pgx.Tx {
	f.Helper()
	tx, err := f.pool.Begin(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	if _, err := tx.Exec(f.Context(), sql, args...); err != nil {
		f.Fatal(err)
	}
	return tx
}

func (f *fixture) rollback(tx pgx.Tx) {
	f.Helper()
	if err := tx.Rollback(f.Context()); err != nil {
		f.Fatal(err)
	}
}

// waitFor returns when so many statements in this database wait for a lock.
func (f *fixture) waitFor(n int) {
	f.Helper()
	for waiting := 0; waiting < n; {
		f.row(`SELECT count(*) FROM pg_stat_activity WHERE ` + servertest.WaitsForAnother)(&waiting)
	}
}

func (f *fixture) claim(n int, hold bool) *ledger.Claim {
	f.Helper()
	c, err := f.ledger.Claim(f.Context(), f.batch(n), f.fence(n), hold)
	if err != nil {
		f.Fatal(err)
	}
	return c
}

func (f *fixture) fence(n int) int64 {
	f.Helper()
	fence, err := f.ledger.Fence(f.Context(), f.batch(n))
	if err != nil {
		f.Fatal(err)
	}
	return fence
}

func (f *fixture) intend(c *ledger.Claim, recipient int32, attempt int32) {
	f.Helper()
	if err := f.gate.Enter(c, nil,
		&ledger.Attempt{Recipient: recipient, Number: attempt, DropPoint: "mx"}).Wait(); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) answer(c *ledger.Claim, recipient int32, attempt int32, status ledger.Status, enhanced string) {
	f.Helper()
	r := &ledger.Result{Recipient: recipient, Attempt: attempt, Status: status, Enhanced: enhanced,
		Final: status == ledger.Sent || status == ledger.Bounced}
	if err := f.gate.Enter(c, r, nil).Wait(); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) send(c *ledger.Claim, recipient int32) {
	f.Helper()
	f.intend(c, recipient, 1)
	f.answer(c, recipient, 1, ledger.Sent, "")
}

// soon is a schedule that does not keep tests waiting.
var soon = ledger.Schedule{First: time.Millisecond, Most: time.Millisecond, For: time.Hour, RetryAfter: told}

// told reads a reply that is nothing but a duration.
func told(reply string) (time.Duration, bool) {
	d, err := time.ParseDuration(reply)
	return d, err == nil
}

func kept(recipients []int32) ([]byte, error) { return fmt.Append(nil, recipients), nil }

func (f *fixture) settle(c *ledger.Claim) ledger.Settled {
	f.Helper()
	s, err := f.ledger.Settle(f.Context(), c, soon, kept)
	if err != nil {
		f.Fatal(err)
	}
	return s
}

func (f *fixture) outcomes() map[int32]ledger.Status {
	f.Helper()
	out := map[int32]ledger.Status{}
	err := f.ledger.Report(f.Context(), f.key, nil, func(l ledger.Line) error { out[l.Number] = l.Outcome; return nil })
	if err != nil {
		f.Fatal(err)
	}
	return out
}

func (f *fixture) want(got, want any) {
	f.Helper()
	if !reflect.DeepEqual(got, want) {
		f.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestABatchClosesOnlyWhenEveryRecipientHasAnOutcome(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 3, 3)
	c := f.claim(1, false)
	f.send(c, 1)
	f.send(c, 2)
	f.want(f.settle(c), ledger.Settled{Open: 1})
	f.intend(c, 3, 1)
	f.want(f.settle(c).Closed, false) // an intent is no outcome
	f.answer(c, 3, 1, ledger.Bounced, "5.1.1")
	f.want(f.settle(c), ledger.Settled{Closed: true, Counts: counts.Counts{Sent: 2, Bounced: 1}})
	again := f.claim(1, false)
	f.want(again.Settled, ledger.Settled{Closed: true, Counts: counts.Counts{Sent: 2, Bounced: 1}})
}

func TestWhoLostTheFenceWritesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2, 2)
	old := f.claim(1, false)
	f.intend(old, 1, 1)
	f.claim(1, false)
	for name, ticket := range map[string]*ledger.Ticket{
		"intent": f.gate.Enter(old, nil, &ledger.Attempt{Recipient: 2, Number: 1}),
		"result": f.gate.Enter(old, &ledger.Result{Recipient: 1, Attempt: 1, Status: ledger.Sent, Final: true}, nil),
	} {
		if err := ticket.Wait(); !errors.Is(err, ledger.ErrFenced) {
			t.Errorf("%s: got %v, want ErrFenced", name, err)
		}
	}
	if _, err := f.ledger.Settle(t.Context(), old, soon, kept); !errors.Is(err, ledger.ErrFenced) {
		t.Errorf("settle: got %v, want ErrFenced", err)
	}
	f.want(f.outcomes(), map[int32]ledger.Status{1: ledger.Open, 2: ledger.Open})
}

func TestOldAndNewClaimInOneGroupAreToldApart(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2, 2)
	old := f.claim(1, false)
	now := f.claim(1, false)
	var tickets [40]*ledger.Ticket
	for i := range tickets { // many at once, so that some share a commit
		c := old
		if i%2 == 0 {
			c = now
		}
		tickets[i] = f.gate.Enter(c, nil, &ledger.Attempt{Recipient: int32(i%2 + 1), Number: int32(i/2 + 1)})
	}
	for i, ticket := range tickets {
		if err := ticket.Wait(); (err == nil) != (i%2 == 0) {
			t.Fatalf("ticket %d: %v", i, err)
		}
	}
	var fromOld int
	f.row(`SELECT count(*) FROM deliveries WHERE recipient = 2`)(&fromOld)
	f.want(fromOld, 0)
}

// A worker that is stopped while it claims a batch keeps the batch locked, for as long as it is
// stopped.
func TestAClaimThatIsNotCommittedHoldsUpNoOtherBatch(t *testing.T) {
	t.Parallel()
	for end, want := range map[string]error{"ROLLBACK": nil, "COMMIT": ledger.ErrFenced} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, 2, 1)
			first, second := f.claim(1, false), f.claim(2, false)
			claimant, err := f.pool.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer claimant.Release()
			for _, sql := range []string{`BEGIN`, `UPDATE batches SET fence = fence + 1 WHERE number = 1`} {
				if _, err := claimant.Exec(t.Context(), sql); err != nil {
					t.Fatal(err)
				}
			}
			contested := f.gate.Enter(first, nil, &ledger.Attempt{Recipient: 1, Number: 1})
			for n := range int32(3) { // the gate waits for the locked batch for five seconds
				f.intend(second, 2, n+1)
			}
			var written int
			f.row(`SELECT count(*) FROM deliveries WHERE recipient = 1`)(&written)
			f.want(written, 0)
			if _, err := claimant.Exec(t.Context(), end); err != nil {
				t.Fatal(err)
			}
			if err := contested.Wait(); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
			f.row(`SELECT count(*) FROM deliveries WHERE recipient = 1`)(&written)
			f.want(written == 1, want == nil)
		})
	}
}

func TestABatchThatStaysLockedIsAFailureOfTheDatabase(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1, 1)
	c := f.claim(1, false)
	err := pgx.BeginFunc(t.Context(), f.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `UPDATE batches SET fence = fence + 1`); err != nil {
			return err
		}
		return f.gate.Enter(c, nil, &ledger.Attempt{Recipient: 1, Number: 1}).Wait()
	})
	if errors.Is(err, ledger.ErrFenced) || !database.Unavailable(err) {
		t.Errorf("got %v", err)
	}
}

func TestALeftoverIntentIsUncertainByNameAtTheNextClaim(t *testing.T) {
	t.Parallel()
	for _, hold := range []bool{false, true} {
		t.Run(fmt.Sprintf("hold=%v", hold), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, 2, 2)
			c := f.claim(1, hold)
			f.intend(c, 1, 1) // and the process dies here
			c = f.claim(1, hold)
			f.want(c.Tried, map[int32]ledger.Tried{1: {Attempts: 1, Final: hold, Uncertain: 1}})
			want := map[int32]ledger.Status{1: ledger.Open, 2: ledger.Open}
			if hold {
				want[1] = ledger.Uncertain
			}
			f.want(f.outcomes(), want)
		})
	}
}

func TestASecondAttemptAfterAnUncertainOneIsMarkedPossiblyTwice(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1, 1)
	f.intend(f.claim(1, false), 1, 1)
	c := f.claim(1, false)
	if err := f.gate.Enter(c, nil, &ledger.Attempt{Recipient: 1, Number: 2, PossiblyTwice: true}).Wait(); err != nil {
		t.Fatal(err)
	}
	f.answer(c, 1, 2, ledger.Sent, "2.0.0")
	f.want(f.settle(c).Counts, counts.Counts{Sent: 1, PossiblyTwice: 1})
	var lines []ledger.Line
	if err := f.ledger.Report(t.Context(), f.key, nil,
		func(l ledger.Line) error { lines = append(lines, l); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(lines) != 1 || !lines[0].PossiblyTwice || lines[0].Attempts != 2 || lines[0].Address != "r1@example.com" {
		t.Errorf("the report does not name the recipient as possibly twice: %+v", lines)
	}
}

func TestWhoOptsOutAfterTheFreezeIsNotSentTo(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2, 2)
	f.exec(`INSERT INTO opt_outs (address_key, reason) VALUES ('r2@example.com', 'asked')`)
	c := f.claim(1, false)
	f.want(c.Tried[2].Final, true)
	f.send(c, 1)
	f.want(f.settle(c), ledger.Settled{Closed: true, Counts: counts.Counts{Sent: 1, OptedOut: 1}})
}

func TestWhoOptsOutAndMayHaveGotTheMailIsNotSaidToHaveBeenSpared(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2, 2)
	c := f.claim(1, false)
	f.send(c, 1)
	f.intend(c, 2, 1) // its answer is never seen
	f.intend(f.claim(1, false), 2, 2)
	f.exec(`INSERT INTO opt_outs (address_key, reason) VALUES ('r1@example.com', 'asked'), ('r2@example.com', 'asked')`)
	c = f.claim(1, false)
	f.want(c.Tried[2].Final, true)
	f.want(f.settle(c), ledger.Settled{Closed: true, Counts: counts.Counts{Sent: 1, Uncertain: 1}})
	var final []int32
	f.row(`SELECT array_agg(attempt) FROM deliveries WHERE recipient = 2 AND final`)(&final)
	f.want(final, []int32{2})
}

// A second mailing of a database whose statistics know only the first: the planner takes each of
// its tables for one row.
func TestNoStatementTakesMinutesWhileTheStatisticsDoNotKnowTheMailing(t *testing.T) {
	t.Parallel()
	const recipients, size, sent = 20_000, 100, 16_000
	f := newFixture(t, 1, 1)
	for _, table := range []string{"recipients", "deliveries", "batches", "opt_outs"} {
		f.exec(`ALTER TABLE ` + table + ` SET (autovacuum_enabled = off)`)
	}
	another := func(id string) {
		f.row(`INSERT INTO mailings (id, first_run_id, input, list, state, recipients, mailable)
			VALUES ($2, 'run', '{}', 'l', 'sending', $1, $1) RETURNING key`, recipients, id)(&f.key)
		f.exec(`INSERT INTO recipients SELECT $1, n, 'r' || n || '@example.com', 'r' || n || '@example.com', '{}'
			FROM generate_series(1, $2::int) n`, f.key, recipients)
		f.exec(`INSERT INTO batches (mailing, number, first, last) SELECT $1, n, (n-1)*$3+1, n*$3
			FROM generate_series(1, $2::int/$3) n`, f.key, recipients, size)
		f.exec(`INSERT INTO spool SELECT $1, n, 'x' FROM generate_series(1, $2::int/$3) n`, f.key, recipients, size)
		f.exec(
			`INSERT INTO deliveries (mailing, recipient, attempt, status, final, drop_point)
				SELECT $1, n, 1, 'sent', true, 'mx' FROM generate_series(1, $2::int) n`,
			f.key,
			sent,
		)
	}
	another("known")
	f.exec(`ANALYZE`)
	another("unknown")
	f.exec(
		`INSERT INTO opt_outs (address_key, reason) SELECT 'r' || n || '@example.com', 'asked'
			FROM generate_series(1, 20000, 7) n`,
	)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // all of it takes a second or two
	defer cancel()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const last = recipients / size
	for n := 100; n <= last; n += 10 {
		fence, err := f.ledger.Fence(ctx, f.batch(n))
		check(err)
		c, err := f.ledger.Claim(ctx, f.batch(n), fence, false)
		check(err)
		for r := c.Span.First; r <= c.Span.Last; r++ {
			if c.Tried[r].Final {
				continue
			}
			attempt := ledger.Attempt{Recipient: r, Number: 1}
			result := ledger.Result{Recipient: r, Attempt: 1, Status: ledger.Deferred}
			if r%2 == 0 {
				result.Status, result.Final, result.Enhanced = ledger.Bounced, true, "5.1.1"
			}
			check(f.gate.Enter(c, nil, &attempt).Wait())
			check(f.gate.Enter(c, &result, nil).Wait())
		}
		_, err = f.ledger.Settle(ctx, c, soon, kept)
		check(err)
	}
	_, err := f.ledger.Gather(
		ctx,
		f.key,
		ledger.Gathering{Known: last, Size: size, Pack: func([]int32, [][]byte) ([]byte, error) { return nil, nil }},
	)
	check(err)
	_, err = f.ledger.Resolve(ctx, f.key, ledger.Again)
	check(err)
	e, err := f.ledger.Close(ctx, f.key, false, "cancelled", "")
	check(err)
	if e.Counts.Sent != sent || e.Counts.Bounced == 0 || e.Counts.OptedOut == 0 || e.Counts.Unsent == 0 {
		t.Errorf("%+v", e.Counts)
	}
}

func TestAMailingWithSomebodyLeftOutIsNotCompleted(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 4, 2)
	c := f.claim(1, false)
	f.send(c, 1)
	f.send(c, 2)
	f.settle(c)
	e, err := f.ledger.Close(t.Context(), f.key, true, "completed", "")
	if err != nil {
		t.Fatal(err)
	}
	f.want(e.Open, []int{2})
	c = f.claim(2, false)
	f.send(c, 3)
	f.send(c, 4)
	f.settle(c)
	f.exec(`DELETE FROM deliveries WHERE recipient = 3`) // a counter would not notice
	if e, err = f.ledger.Close(t.Context(), f.key, true, "completed", ""); err != nil {
		t.Fatal(err)
	}
	f.want(e, ledger.Ending{Deferred: 1}) // to be sent to after all
	f.want(f.gather(2, 10), ledger.Gathered{Unrendered: []int{3}})
	var state string
	f.row(`SELECT state FROM mailings`)(&state)
	f.want(state, "sending")
}

func TestAnEndedMailingAccountsForEverybody(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 5, 2)
	c := f.claim(1, false)
	f.send(c, 1)
	f.intend(c, 2, 1) // its answer is never seen
	for range 2 {     // repeated after a crash, it answers the same
		e, err := f.ledger.Close(t.Context(), f.key, false, "cancelled", "cancelled")
		if err != nil {
			t.Fatal(err)
		}
		f.want(e, ledger.Ending{Recipients: 5, Counts: counts.Counts{Sent: 1, Uncertain: 1, Unsent: 3}})
	}
	f.want(f.outcomes(), map[int32]ledger.Status{1: ledger.Sent, 2: ledger.Uncertain, 3: ledger.Unsent, 4: ledger.Unsent,
		5: ledger.Unsent})
	if err := f.gate.Enter(c, &ledger.Result{Recipient: 2, Attempt: 1, Status: ledger.Sent, Final: true},
		nil).Wait(); !errors.Is(err, ledger.ErrFenced) {
		t.Errorf("a late answer after the end: got %v, want ErrFenced", err)
	}
	var spooled int
	f.row(`SELECT count(*) FROM spool`)(&spooled)
	f.want(spooled, 0)
}

func TestFailedRenderingIsAnOutcome(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2, 2)
	f.exec(`DELETE FROM spool`)
	if err := f.ledger.Store(t.Context(), f.batch(1), []byte("x"),
		[]ledger.Failure{{Recipient: 2, Reason: "content.text: no field"}}); err != nil {
		t.Fatal(err)
	}
	// Another attempt of the same rendering changes nothing.
	if err := f.ledger.Store(t.Context(), f.batch(1), []byte("y"),
		[]ledger.Failure{{Recipient: 1, Reason: "other"}}); err != nil {
		t.Fatal(err)
	}
	c := f.claim(1, false)
	f.want(string(c.Messages), "x")
	f.want(c.Tried, map[int32]ledger.Tried{2: {Final: true}})
	var reply string
	f.row(`SELECT reply FROM deliveries WHERE status = 'failed'`)(&reply)
	f.want(reply, "content.text: no field")
}

func TestABatchWithoutMessagesSaysSo(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1, 1)
	f.exec(`DELETE FROM spool`)
	if _, err := f.ledger.Claim(t.Context(), f.batch(1), f.fence(1), false); !errors.Is(err, ledger.ErrNoSpool) {
		t.Errorf("got %v, want ErrNoSpool", err)
	}
	if _, err := f.ledger.Fence(t.Context(), f.batch(9)); !errors.Is(err, ledger.ErrNoBatch) {
		t.Errorf("got %v, want ErrNoBatch", err)
	}
}

// A claim and a gate that meet: an intent that the gate let through must be visible to the claim
// that comes next.
func TestNoIntentSlipsPastARacingClaim(t *testing.T) {
	t.Parallel()
	const rounds = 60
	f := newFixture(t, rounds, rounds)
	c := f.claim(1, false)
	for n := int32(1); n <= rounds; n++ {
		var wg sync.WaitGroup
		var passed error
		wg.Go(func() { passed = f.gate.Enter(c, nil, &ledger.Attempt{Recipient: n, Number: 1}).Wait() })
		next := f.claim(1, false)
		wg.Wait()
		if _, seen := next.Tried[n]; seen != (passed == nil) {
			t.Fatalf("recipient %d: the gate said %v, the next claim saw the intent: %v", n, passed, seen)
		}
		c = next
	}
}

func TestManyConnectionsShareCommitsAndLoseNothing(t *testing.T) {
	t.Parallel()
	const connections, each = 16, 25
	f := newFixture(t, connections*each, connections*each)
	c := f.claim(1, false)
	var wg sync.WaitGroup
	for connection := range connections {
		wg.Go(func() {
			var result *ledger.Result
			for i := range each {
				recipient := int32(connection*each + i + 1)
				if err := f.gate.Enter(c, result, &ledger.Attempt{Recipient: recipient, Number: 1}).Wait(); err != nil {
					t.Error(err)
					return
				}
				result = &ledger.Result{Recipient: recipient, Attempt: 1, Status: ledger.Sent, Final: true}
			}
			if err := f.gate.Enter(c, result, nil).Wait(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	f.want(f.settle(c), ledger.Settled{Closed: true, Counts: counts.Counts{Sent: connections * each}})
}

func BenchmarkGate(b *testing.B) {
	for _, connections := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("connections=%d", connections), func(b *testing.B) {
			url := servertest.OwnPostgres(b).URL("mail") // one that syncs
			pool, err := database.Open(b.Context(), url, 8)
			if err != nil {
				b.Fatal(err)
			}
			defer pool.Close()
			l, g := ledger.New(pool), ledger.NewGate(pool)
			var key int64
			err = pool.QueryRow(b.Context(),
				`INSERT INTO mailings (id, first_run_id, input, list, state) VALUES ('m', 'r', '{}', 'l', 'sending')
					RETURNING key`).Scan(&key)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := pool.Exec(b.Context(), `INSERT INTO batches (mailing, number, first, last) VALUES ($1, 1, 1, 1)`,
				key); err != nil {
				b.Fatal(err)
			}
			if err := l.Store(b.Context(), ledger.Batch{Mailing: key, Number: 1}, []byte("x"), nil); err != nil {
				b.Fatal(err)
			}
			c, err := l.Claim(b.Context(), ledger.Batch{Mailing: key, Number: 1}, 0, false)
			if err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			var wg sync.WaitGroup
			for connection := range connections {
				wg.Go(func() {
					var result *ledger.Result
					for n := connection; n < b.N; n += connections {
						if err := g.Enter(c, result,
							&ledger.Attempt{Recipient: int32(n + 1), Number: 1, DropPoint: "mx"}).Wait(); err != nil {
							b.Error(err)
							return
						}
						result = &ledger.Result{
							Recipient: int32(n + 1),
							Attempt:   1,
							Status:    ledger.Sent,
							Final:     true,
							Code:      250,
							Enhanced:  "2.0.0",
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
