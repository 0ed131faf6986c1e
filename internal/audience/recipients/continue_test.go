package recipients_test

import (
	"context"
	"errors"
	"testing"

	"directmailer/internal/audience/recipients"
	"directmailer/internal/database"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/mailings"
)

// newEnded is a fixture whose mailing "m", to six people, has ended: sent, unsent, failed, bounced,
// uncertain, unsent, in this order. The mailing "m-2" is reserved.
func newEnded(t testing.TB) *fixture {
	t.Helper()
	f := newFixture(
		t,
		"a@example.com",
		"B@example.com",
		"c@example.com",
		"d@example.com",
		"e@example.com",
		"f@example.com",
	)
	f.freeze(2)
	f.exec(
		`INSERT INTO deliveries (mailing, recipient, attempt, status, final) SELECT key, n, 1, s::delivery_status, true
		FROM mailings, unnest('{sent,unsent,failed,bounced,uncertain,unsent}'::text[]) WITH ORDINALITY AS u(s, n)`,
	)
	// An attempt before the last one counts for nothing.
	f.exec(
		`INSERT INTO deliveries (mailing, recipient, attempt, status, final) SELECT key, 1, 0, 'uncertain', false
			FROM mailings`,
	)
	f.exec(
		`UPDATE mailings SET state = 'cancelled', closed_at = now(),
			counts = '{"sent": 1, "unsent": 2, "failed": 1, "bounced": 1, "uncertain": 1}'`,
	)
	f.list("stranger@example.com") // what the list is now means nothing
	f.reserve("m-2")
	return f
}

func (f *fixture) proceed(batchSize int, outcomes ...string) mailings.Frozen {
	f.Helper()
	frozen, err := f.store.Continue(f.Context(), "m-2", "m", outcomes, batchSize)
	if err != nil {
		f.Fatal(err)
	}
	return frozen
}

// second is the continuation's recipients.
func (f *fixture) second() []string {
	f.Helper()
	return f.strings(`SELECT r.number || ' ' || address || ' ' || address_key || ' row ' || (attributes->>'row')
		FROM recipients r JOIN mailings m ON m.key = r.mailing WHERE m.id = 'm-2' ORDER BY r.number`)
}

func TestAContinuationHasThoseWithTheOutcomesAsTheyWereFrozenThen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		outcomes []string
		want     []string
	}{
		{[]string{"unsent"}, []string{"1 B@example.com b@example.com row 2", "2 f@example.com f@example.com row 6"}},
		{[]string{"failed"}, []string{"1 c@example.com c@example.com row 3"}},
		{[]string{"bounced"}, []string{"1 d@example.com d@example.com row 4"}},
		{[]string{"uncertain"}, []string{"1 e@example.com e@example.com row 5"}},
		{[]string{"uncertain", "unsent"},
			[]string{"1 B@example.com b@example.com row 2", "2 e@example.com e@example.com row 5",
				"3 f@example.com f@example.com row 6"}},
	} {
		f := newEnded(t)
		f.want(
			f.proceed(2, c.outcomes...),
			mailings.Frozen{
				Members:    int64(len(c.want)),
				Recipients: int64(len(c.want)),
				Batches:    (len(c.want) + 1) / 2,
			},
		)
		f.want(f.second(), c.want)
		left, err := f.store.Left(t.Context(), "m", c.outcomes)
		if err != nil || left != int64(len(c.want)) {
			t.Errorf("%s: %d left, %v", c.outcomes, left, err)
		}
	}
}

func TestWhoOptedOutSinceIsLastInAContinuationAndInNoBatch(t *testing.T) {
	t.Parallel()
	f := newEnded(t)
	f.exec(`INSERT INTO opt_outs VALUES ('b@example.com', 'asked')`)
	f.exec(`INSERT INTO suppressions (address_key, class, code, origin)
		VALUES ('d@example.com', 'hard', '5.1.1', 'answer')`)
	f.want(
		f.proceed(2, "unsent", "bounced", "failed"),
		mailings.Frozen{Members: 4, Recipients: 4, OptedOut: 2, Batches: 1},
	)
	f.want(f.second(), []string{"1 c@example.com c@example.com row 3", "2 f@example.com f@example.com row 6",
		"3 B@example.com b@example.com row 2", "4 d@example.com d@example.com row 4"})
	f.want(f.strings(`SELECT recipient || ' ' || attempt || ' ' || status || ' ' || final || ' ' || reply FROM deliveries
		WHERE mailing = (SELECT key FROM mailings WHERE id = 'm-2') ORDER BY recipient`),
		[]string{"3 0 opted_out true opted out of all mail (asked)",
			"4 0 opted_out true suppressed (hard bounce 5.1.1)"})
	f.want(
		f.strings(
			`SELECT first || '-' || last FROM batches WHERE mailing = (SELECT key FROM mailings WHERE id = 'm-2')`,
		),
		[]string{"1-2"},
	)
}

func TestARepeatedContinuationAnswersTheSameAndChangesNothing(t *testing.T) {
	t.Parallel()
	f := newEnded(t)
	first, rows := f.proceed(1, "unsent", "failed"), f.everything()
	f.want(first, mailings.Frozen{Members: 3, Recipients: 3, Batches: 3})
	f.want(f.proceed(1, "unsent", "failed"), first)
	f.want(f.everything(), rows)
}

func TestAContinuationOfAContinuationTakesWhatThatHasLeft(t *testing.T) {
	t.Parallel()
	f := newEnded(t)
	f.proceed(5, "unsent", "failed")
	f.exec(
		`INSERT INTO deliveries (mailing, recipient, attempt, status, final) SELECT key, n, 1, s::delivery_status, true
		FROM mailings, unnest('{sent,unsent,sent}'::text[]) WITH ORDINALITY AS u(s, n) WHERE id = 'm-2'`,
	)
	f.exec(`UPDATE mailings SET closed_at = now(), counts = '{"sent": 2, "unsent": 1}' WHERE id = 'm-2'`)
	f.reserve("m-3")
	if _, err := f.store.Continue(t.Context(), "m-3", "m-2", []string{"unsent"}, 5); err != nil {
		t.Fatal(err)
	}
	f.want(
		f.strings(
			`SELECT number || ' ' || address FROM recipients WHERE mailing = (SELECT key FROM mailings WHERE id = 'm-3')`,
		),
		[]string{"1 c@example.com"},
	)
}

func TestAContinuationWhoseConnectionIsKilledInTheMiddleLeavesNothing(t *testing.T) {
	t.Parallel()
	f := newEnded(t)
	rows := f.everything()
	holder := f.lock(`LOCK TABLE batches IN ACCESS EXCLUSIVE MODE`)
	ended := make(chan error, 1)
	go func() {
		_, err := f.store.Continue(context.WithoutCancel(t.Context()), "m-2", "m", []string{"unsent"}, 1)
		ended <- err
	}()
	f.someoneWaits()
	f.exec(
		`SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE ` + servertest.WaitsForAnother,
	)
	if err := <-ended; !database.Unavailable(err) {
		t.Errorf("got %v, want a database that is away", err)
	}
	f.rollback(holder)
	f.want(f.everything(), rows)
	f.want(f.proceed(1, "unsent"), mailings.Frozen{Members: 2, Recipients: 2, Batches: 2})
}

func TestWhatCannotBeContinuedIsToldApart(t *testing.T) {
	t.Parallel()
	f := newEnded(t)
	f.reserve("open")
	f.exec(
		`INSERT INTO mailings (id, first_run_id, input, list, state, closed_at, counts)
			VALUES ('all-sent', 'run', '{}', 'people', 'completed', now(), '{"sent": 3}')`,
	)
	rows := f.everything()
	for _, c := range []struct {
		id, earlier string
		want, left  error
	}{
		{"m-2", "never", recipients.ErrNoEarlier, recipients.ErrNoEarlier},
		{"m-2", "open", recipients.ErrNotEnded, recipients.ErrNotEnded},
		{"m-2", "m-2", recipients.ErrNotEnded, recipients.ErrNotEnded},
		{"m-2", "all-sent", recipients.ErrNobodyLeft, recipients.ErrNobodyLeft},
		{"unreserved", "m", mailings.ErrNotFound, nil},
	} {
		if _, err := f.store.Continue(t.Context(), c.id, c.earlier, []string{"unsent", "failed"}, 1); !errors.Is(
			err,
			c.want,
		) {
			t.Errorf("%s continues %s: got %v, want %v", c.id, c.earlier, err, c.want)
		}
		if _, err := f.store.Left(t.Context(), c.earlier, []string{"unsent", "failed"}); !errors.Is(err, c.left) {
			t.Errorf("left of %s: got %v, want %v", c.earlier, err, c.left)
		}
	}
	for _, sent := range []string{"sent", "opted_out", "x"} { // they have got it, or must not
		if _, err := f.store.Continue(t.Context(), "m-2", "m", []string{"unsent", sent}, 1); err == nil {
			t.Errorf("%s are continued", sent)
		}
		if _, err := f.store.Left(t.Context(), "m", []string{sent}); !errors.Is(err, recipients.ErrNobodyLeft) {
			t.Errorf("left of those %s: %v", sent, err)
		}
	}
	f.want(f.everything(), rows)
	f.exec(`UPDATE mailings SET counts = '{"sent": 9, "unsent": 1, "failed": 2, "bounced": 3, "uncertain": 4}'
		WHERE id = 'm'`)
	for i, outcome := range []string{"unsent", "failed", "bounced", "uncertain"} {
		if n, err := f.store.Left(t.Context(), "m", []string{outcome}); err != nil || n != int64(i+1) {
			t.Errorf("%s: %d are left, %v", outcome, n, err)
		}
	}
}
