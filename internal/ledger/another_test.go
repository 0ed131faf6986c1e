package ledger_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/ledger"
)

// another adds a mailing with the same numbers of recipients and batches, and rows in every state.
// It returns the function that reads all of its rows.
func (f *fixture) another() (rows func() []string) {
	f.Helper()
	var key int64
	f.row(`INSERT INTO mailings (id, first_run_id, input, list, state, recipients, mailable)
		VALUES ('another', 'run', '{}', 'l', 'sending', 13, 13) RETURNING key`)(&key)
	for _, sql := range []string{
		`INSERT INTO recipients SELECT $1, n, 's' || n || '@example.com', 's' || n || '@example.com', '{}'
			FROM generate_series(1, 13) n`,
		`INSERT INTO batches (mailing, number, first, last, fence, rendered_at, closed_at, uncertain, renderings)
			SELECT $1, n, n, n, n / 2, now(), CASE WHEN n <= 3 THEN now() END, 1, 1 FROM generate_series(1, 9) n`,
		`INSERT INTO spool SELECT $1, n, 'theirs' FROM generate_series(1, 9) n WHERE n <> 4`,
		`INSERT INTO deliveries (mailing, recipient, attempt, status, final, drop_point, enhanced, reply, answered_at)
			SELECT $1, recipient, attempt, status::delivery_status, final, 'mx', '5.1.1', 'theirs', now() - interval '2 hours'
			FROM (VALUES (1, 1, 'uncertain', false), (1, 2, 'intent', false), (2, 1, 'uncertain', true),
				(2, 2, 'not_sent', false), (3, 1, 'deferred', false), (3, 2, 'sent', true), (4, 1, 'bounced', true),
				(5, 1, 'intent', false), (6, 0, 'failed', true), (7, 1, 'intent', false), (7, 2, 'intent', false),
				(8, 1, 'intent', false), (8, 2, 'deferred', false), (9, 1, 'uncertain', false), (9, 2, 'intent', false),
				(10, 0, 'failed', true), (10, 1, 'uncertain', false), (10, 2, 'uncertain', false), (11, 2, 'sent', true))
			AS x (recipient, attempt, status, final)`,
		`INSERT INTO deferrals SELECT $1, n, 1, now() - interval '2 hours' FROM generate_series(1, 13) n`,
		`INSERT INTO events (mailing, recipient, kind, class, origin, at, identity)
			VALUES ($1, 1, 'bounce', 'hard', 'inbound', now(), '')`,
	} {
		f.exec(sql, key)
	}
	return func() (rows []string) {
		f.row(`SELECT array_agg(line ORDER BY line) FROM (
			SELECT m::text AS line FROM mailings m WHERE key = $1 UNION ALL
			SELECT b::text FROM batches b WHERE mailing = $1 UNION ALL SELECT s::text FROM spool s WHERE mailing = $1 UNION ALL
			SELECT d::text FROM deliveries d WHERE mailing = $1 UNION ALL
			SELECT w::text FROM deferrals w WHERE mailing = $1) all_rows`, key)(&rows)
		return rows
	}
}

// story is a mailing's life, with what its callers are told and what the tables have of it.
type story struct {
	*fixture
	seen []string
	main []string // those of seen that testdata/life.txt has
}

func (s *story) note(values ...any) {
	s.seen = append(s.seen, fmt.Sprintf("%+v", values))
	s.main = append(s.main, s.seen[len(s.seen)-1])
}

func (s *story) check(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// claimed claims a batch and notes what the claim knows.
func (s *story) claimed(n int, hold bool) *ledger.Claim {
	s.Helper()
	c := s.claim(n, hold)
	outcomes, err := s.ledger.Outcomes(s.Context(), c)
	s.check(err)
	s.note(c.Fence, c.Span, c.Tried, string(c.Messages), outcomes)
	return c
}

// settled settles a batch, and lets the time of those who wait come.
func (s *story) settled(c *ledger.Claim) {
	s.Helper()
	got := s.settle(c)
	s.note(got.Closed, got.Counts, got.Open, got.Deferred)
	main := s.main
	s.standing()
	s.main = main
	s.exec(`UPDATE deferrals SET due = now() - interval '1 second' WHERE mailing = $1`, s.key)
}

// standing notes how far the mailing is, and its rows.
func (s *story) standing() {
	s.Helper()
	p, err := s.ledger.Progress(s.Context(), s.key)
	s.check(err)
	soon := p.NextRound == nil || time.Until(*p.NextRound) > -time.Hour
	s.note(p.Counts, p.Rendered, p.Closed, p.Deferred, soon)
	s.check(s.ledger.Report(s.Context(), s.key, nil, func(l ledger.Line) error {
		l.At = nil
		s.note(l)
		return nil
	}))
	for _, sql := range []string{
		`SELECT array_agg(concat_ws(' ', recipient, attempt, status, final, possibly_twice, drop_point, code, enhanced, reply,
			answered_at IS NULL) ORDER BY recipient, attempt) FROM deliveries WHERE mailing = $1`,
		`SELECT array_agg(concat_ws(' ', number, first, last, fence, sent, bounced, failed, opted_out, uncertain, unsent,
			renderings, rendered_at IS NULL, closed_at IS NULL) ORDER BY number) FROM batches WHERE mailing = $1`,
		`SELECT array_agg(recipient || ' ' || batch ORDER BY recipient) FROM deferrals WHERE mailing = $1`,
		`SELECT array_agg(batch || ' ' || convert_from(messages, 'UTF8') ORDER BY batch) FROM spool WHERE mailing = $1`,
		`SELECT array_agg(address_key ORDER BY address_key) FROM suppressions WHERE $1::bigint > 0`,
		`SELECT array[concat_ws(' ', state, batches, counts, suppression, ending)] FROM mailings WHERE key = $1`,
	} {
		var rows []string
		s.row(sql, s.key)(&rows)
		s.note(strings.Join(rows, "\n"))
	}
}

// tell calls everything that reads or writes the ledger.
func (s *story) tell() {
	s.Helper()
	ctx := s.Context()
	s.exec(`DELETE FROM spool WHERE mailing = $1 AND batch = 1`, s.key)
	for range 2 {
		s.check(s.begin(1))
	}
	s.check(s.ledger.EndRendering(ctx, s.batch(1)))
	span, rendered, err := s.ledger.Range(ctx, s.batch(1))
	s.note(span, rendered, err)
	s.check(s.ledger.Store(ctx, s.batch(1), []byte("[1 2 3 4]"),
		[]ledger.Failure{{Recipient: 4, Reason: "no name"}, {Recipient: 3, Reason: "no page", Later: true}}))
	c := s.claimed(1, true)
	s.send(c, 1)
	s.intend(c, 2, 1)
	s.settled(s.claimed(1, true)) // 2 is held, 3 waits
	s.note(s.resolve(ledger.Again))
	s.note(s.gather(3, 4))
	s.check(s.begin(4))
	s.check(s.ledger.Store(ctx, s.batch(4), []byte("[2 3]"), nil))
	c = s.claimed(4, true)
	s.intend(c, 3, 2)
	s.answer(c, 3, 2, ledger.Bounced, "5.1.1")
	s.intend(c, 2, 2)
	s.settled(s.claimed(4, true))
	s.note(s.resolve(ledger.AsSent))

	c = s.claimed(2, true)
	s.check(s.ledger.LeaveOut(ctx, c, []ledger.Exclusion{{Recipient: 6, Why: "asked"}}))
	s.intend(c, 7, 1)
	late := c
	c = s.claimed(2, false)
	s.keep(late, sentLate(7, 1))
	s.send(c, 5)
	s.refuse(c, 8, 1, "later")
	s.settled(c)
	s.note(s.gather(4, 4))
	c = s.claimed(5, true)
	s.check(s.ledger.DropSpool(ctx, c))
	s.check(s.ledger.Store(ctx, s.batch(5), []byte("[8]"),
		[]ledger.Failure{{Recipient: 8, Reason: "no page", Later: true}}))
	s.exec(`UPDATE deliveries SET answered_at = now() - interval '61 minutes' WHERE mailing = $1 AND recipient = 8`, s.key)
	s.settled(s.claimed(5, true)) // 8 is given up

	c = s.claimed(3, true)
	s.note(s.ended(true)) // batch 3 is open
	s.intend(c, 10, 1)
	s.intend(c, 11, 1)
	c = s.claimed(3, false)
	s.check(s.ledger.LeaveOut(ctx, c, []ledger.Exclusion{{Recipient: 10, Why: "asked"}}))
	s.intend(c, 9, 1)
	s.intend(c, 12, 1)
	s.check(s.ledger.DropSpool(ctx, c))
	s.check(s.ledger.Store(ctx, s.batch(3), []byte("[11]"), []ledger.Failure{{Recipient: 9, Reason: "no page"}}))
	late, c = c, s.claimed(3, true)
	s.settled(c) // 11 is open
	s.intend(c, 11, 2)
	s.answer(c, 11, 2, ledger.Bounced, "5.1.6")
	s.settled(c)
	s.keep(late, sentLate(12, 1)) // it was held

	s.exec(`DELETE FROM deliveries WHERE mailing = $1 AND recipient IN (1, 4, 5)`, s.key)
	s.note(s.ended(true)) // 1, 4 and 5 are to be sent to after all
	s.note(s.gather(5, 4))
	s.check(s.ledger.Store(ctx, s.batch(6), []byte("[1 4 5]"), nil))
	c = s.claimed(6, true)
	s.intend(c, 1, 1)
	s.note(s.ended(false))
	s.keep(c, sentLate(1, 1))
	s.standing()
}

// A database has many mailings. Their recipients, attempts, batches and fences have the same
// numbers. The file testdata/life.txt has what the callers are told, and the rows at the end. The
// test prints a life that differs.
func TestAMailingIsNoneOfAnothersBusiness(t *testing.T) {
	t.Parallel()
	life, err := os.ReadFile("testdata/life.txt")
	if err != nil {
		t.Fatal(err)
	}
	tell := func(beside bool) (seen, before, after []string) {
		f := &fixture{T: t, pool: servertest.Pool(t, servertest.Database(t), 8)}
		f.exec(`INSERT INTO opt_outs (address_key, reason) SELECT 's' || n || '@example.com', 'asked'
			FROM generate_series(1, 13) n`)
		rows := func() []string { return nil }
		if beside {
			rows = f.another()
		}
		f.fill(12, 4)
		before = rows()
		s := &story{fixture: f}
		s.tell()
		if got := strings.Join(s.main, "\n") + "\n"; got != string(life) {
			t.Errorf("its life is\n%s\nand testdata/life.txt has\n%s", got, life)
		}
		return s.seen, before, rows()
	}
	want, _, _ := tell(false)
	got, before, after := tell(true)
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("step %d beside another mailing:\n%s\nalone:\n%s", i, got[i], want[i])
		}
	}
	if !slices.Equal(after, before) {
		t.Errorf("the other mailing is now\n%s\nand was\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
	}
}

// One gate commits for all batches of a worker. A claim that is lost must not be taken for one that
// holds because the number of the batch, its fence or its mailing is the same.
func TestAGroupOfManyBatchesTellsTheirClaimsApart(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 4, 2)
	other := &fixture{T: t, pool: f.pool, ledger: f.ledger, gate: f.gate, key: f.key + 1}
	f.exec(`INSERT INTO mailings (id, first_run_id, input, list, state) VALUES ('other', 'run', '{}', 'l', 'sending')`)
	f.exec(`INSERT INTO batches (mailing, number, first, last) VALUES ($1, 1, 1, 2)`, other.key)
	f.exec(`INSERT INTO spool VALUES ($1, 1, 'theirs')`, other.key)
	lost := f.claim(1, false)
	f.intend(lost, 1, 1)
	f.answer(lost, 1, 1, ledger.NotSent, "") // until it is known whom the refusal means
	holds := []*ledger.Claim{f.claim(1, false), f.claim(2, false), other.claim(1, false)}
	f.want([]int64{lost.Fence, holds[1].Fence, holds[2].Fence}, []int64{1, 1, 1})
	release := f.stopper(9) // while the first group is stopped, all others wait for the second one
	tickets := []*ledger.Ticket{f.gate.Enter(holds[1], nil, &ledger.Attempt{Recipient: 9, Number: 1})}
	f.waitFor(1)
	for i, c := range holds {
		tickets = append(tickets, f.gate.Enter(c, nil, &ledger.Attempt{Recipient: int32(i + 1), Number: 5}))
	}
	refused := f.gate.Enter(lost, &ledger.Result{Recipient: 1, Attempt: 1, Status: ledger.Bounced, Final: true},
		&ledger.Attempt{Recipient: 2, Number: 1})
	release()
	for i, ticket := range tickets {
		if err := ticket.Wait(); err != nil {
			t.Errorf("claim %d: %v", i, err)
		}
	}
	if err := refused.Wait(); !errors.Is(err, ledger.ErrFenced) {
		t.Errorf("the lost claim: got %v", err)
	}
	var rows []string
	f.row(`SELECT array_agg(concat_ws(' ', mailing, recipient, attempt, status) ORDER BY mailing, recipient, attempt)
		FROM deliveries`)(&rows)
	f.want(rows, []string{"1 1 1 not_sent", "1 1 5 intent", "1 2 5 intent", "1 9 1 intent", "2 3 5 intent"})
}
