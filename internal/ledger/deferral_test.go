package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"directmailer/internal/counts"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/ledger"
)

// gather makes a batch's blob of the numbers that blobs made by kept hold.
func (f *fixture) gather(known, size int) ledger.Gathered {
	f.Helper()
	g, err := f.ledger.Gather(f.Context(), f.key,
		ledger.Gathering{Known: known, Size: size, Linger: time.Hour,
			Pack: func(members []int32, blobs [][]byte) ([]byte, error) {
				have := bytes.Join(blobs, nil)
				for _, m := range members {
					if !bytes.Contains(have, fmt.Append(nil, m)) {
						return nil, nil
					}
				}
				return kept(members)
			}})
	if err != nil {
		f.Fatal(err)
	}
	return g
}

// refuse makes an attempt that is refused for now, with a reply.
func (f *fixture) refuse(c *ledger.Claim, recipient, attempt int32, reply string) {
	f.Helper()
	f.intend(c, recipient, attempt)
	if err := f.gate.Enter(c,
		&ledger.Result{Recipient: recipient, Attempt: attempt, Status: ledger.Deferred, Code: 451, Reply: reply},
		nil).Wait(); err != nil {
		f.Fatal(err)
	}
}

// makeDue lets the time come for everybody who waits.
func (f *fixture) makeDue() { f.exec(`UPDATE deferrals SET due = now() - interval '1 second'`) }

func (f *fixture) waiting() int {
	var n int
	f.row(`SELECT count(*) FROM deferrals`)(&n)
	return n
}

func TestDeferredRecipientsLeaveTheirBatchesAndMeetInAFullOneOfALaterRound(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 6, 2)
	for n := 1; n <= 3; n++ {
		c := f.claim(n, false)
		f.send(c, int32(2*n-1))
		f.refuse(c, int32(2*n), 1, "later")
		s := f.settle(c)
		f.want(s.NextRound.IsZero(), false)
		s.NextRound = time.Time{}
		f.want(s, ledger.Settled{Closed: true, Counts: counts.Counts{Sent: 1}, Deferred: 1})
	}
	f.makeDue()
	f.want(f.gather(3, 3), ledger.Gathered{Ready: []int{4}})
	f.want(f.gather(3, 3), ledger.Gathered{Ready: []int{4}}) // asked again after a lost answer: the same
	f.want(f.gather(4, 3), ledger.Gathered{})
	c := f.claim(4, false)
	f.want(c.Span.Members, []int32{2, 4, 6})
	f.want(string(c.Messages), "[2 4 6]")
	f.want(c.Tried, map[int32]ledger.Tried{2: {Attempts: 1}, 4: {Attempts: 1}, 6: {Attempts: 1}})
	for _, r := range c.Span.Members {
		f.intend(c, r, 2)
		f.answer(c, r, 2, ledger.Sent, "")
	}
	f.want(f.settle(c), ledger.Settled{Closed: true, Counts: counts.Counts{Sent: 3}})
	var blobs int
	f.row(`SELECT count(*) FROM spool`)(&blobs)
	f.want(blobs, 0)
	e, err := f.ledger.Close(t.Context(), f.key, true, "completed", "")
	if err != nil {
		t.Fatal(err)
	}
	f.want(e, ledger.Ending{Recipients: 6, Counts: counts.Counts{Sent: 6}})
}

func TestWhatDoesNotFillABatchWaitsForOthers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 4, 4)
	c := f.claim(1, false)
	for r := int32(1); r <= 4; r++ {
		f.refuse(c, r, 1, "later")
	}
	f.settle(c)
	f.exec(
		`UPDATE deferrals SET due = now() + CASE WHEN recipient = 4 THEN interval '10 minutes' ELSE interval '-1 second' END`,
	)
	g := f.gather(1, 2)
	if g.Deferred != 2 || len(g.Ready) != 1 || time.Until(g.NextRound) < time.Minute {
		t.Errorf("%+v", g) // one full batch; the third waits for the fourth
	}
	f.exec(`UPDATE deferrals SET due = now() - interval '2 hours' WHERE recipient <> 4`) // longer than the rest lingers
	if g = f.gather(2, 2); len(g.Ready) != 1 || g.Deferred != 1 {
		t.Errorf("%+v", g)
	}
	// A caller whose clock is ahead waits as long as the others, and does not ask without a pause.
	for _, ahead := range []time.Duration{0, time.Minute, time.Hour} {
		asked := time.Now().Add(ahead)
		g, err := f.ledger.Gather(t.Context(), f.key,
			ledger.Gathering{Known: 3, Size: 2, Linger: time.Hour, Asked: asked})
		pause := g.NextRound.Sub(asked).Round(time.Minute)
		if want := 10*time.Minute - ahead%time.Hour; err != nil || g.Deferred != 1 || pause != want {
			t.Errorf("%v ahead: wait for %v, want %v (%+v, %v)", ahead, pause, want, g, err)
		}
	}
	// A batch can be filled before the first has waited for an hour.
	f.exec(`INSERT INTO deferrals SELECT mailing, n, 1, now() + n * interval '10 minutes'
		FROM deferrals, generate_series(5, 7) n`)
	if pause := time.Until(f.gather(3, 2).NextRound).Round(time.Minute); pause != 50*time.Minute {
		t.Errorf("wait for %v, want 50 minutes", pause)
	}
}

func TestWhoWasRefusedInThisRoundIsNotSentToAgainBeforeTheNext(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2, 2)
	c := f.claim(1, false)
	f.refuse(c, 1, 1, "later")
	c = f.claim(1, false) // the worker died before it could settle
	f.want(c.Tried, map[int32]ledger.Tried{1: {Attempts: 1, Deferred: true}})
	f.want(f.settle(c), ledger.Settled{Open: 1})
	f.want(f.waiting(), 0) // they leave when the batch is closed
	f.send(c, 2)
	f.settle(c)
	f.makeDue()
	f.gather(1, 2)
	f.want(f.claim(2, false).Tried, map[int32]ledger.Tried{1: {Attempts: 1}})
}

func TestPausesGrowAndAServerThatSaysWhenIsBelieved(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 3, 3)
	plan := ledger.Schedule{First: 10 * time.Minute, Most: 15 * time.Minute, For: time.Hour, RetryAfter: told}
	settle := func(c *ledger.Claim) {
		if _, err := f.ledger.Settle(t.Context(), c, plan, kept); err != nil {
			t.Fatal(err)
		}
	}
	pauses := func() (out []int) {
		f.row(`SELECT array_agg(round(extract(epoch FROM due - now()) / 60)::int ORDER BY recipient) FROM deferrals`)(&out)
		return out
	}
	c := f.claim(1, false)
	f.send(c, 3)
	f.refuse(c, 1, 1, "later")
	f.refuse(c, 2, 1, "5m0s")
	settle(c)
	f.want(pauses(), []int{10, 5})
	f.makeDue()
	f.gather(1, 3)
	c = f.claim(2, false)
	f.exec(`UPDATE deliveries SET answered_at = answered_at - interval '50 minutes' WHERE recipient = 2`)
	f.refuse(c, 1, 2, "later")
	f.refuse(c, 2, 2, "later")
	settle(c)
	f.want(pauses(), []int{15, 10}) // at most 15, and no later than an hour after the first refusal
	// For those of whom nothing is known the first pause is a shorter one, and never a longer one.
	f.makeDue()
	f.gather(2, 3)
	c = f.claim(3, false)
	f.refuse(c, 1, 3, "later")
	f.refuse(c, 2, 3, "3m0s")
	plan.Soon, plan.SoonPause = []int32{1, 2}, 4*time.Minute
	settle(c)
	f.want(pauses(), []int{4, 3})
}

// A claim waits while the batch is being settled. It finds the batch closed then.
func TestABatchThatIsBeingSettledIsNotClaimed(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1, 1)
	c := f.claim(1, false)
	f.refuse(c, 1, 1, "later")
	failed := errors.New("cannot be kept")
	fail := func([]int32) ([]byte, error) { return nil, failed }
	if _, err := f.ledger.Settle(t.Context(), c, soon, fail); !errors.Is(err, failed) {
		t.Errorf("got %v, want the caller's error", err)
	}
	next := make(chan bool, 1)
	claim := func() {
		c, err := f.ledger.Claim(f.Context(), ledger.Batch{Mailing: f.key, Number: 1}, 1, false)
		next <- err == nil && c.Settled.Closed && c.Settled.Deferred == 1
	}
	_, err := f.ledger.Settle(t.Context(), c, soon, func(r []int32) ([]byte, error) {
		go claim()
		for waiting := 0; waiting == 0 && len(next) == 0; {
			f.row(`SELECT count(*) FROM pg_stat_activity WHERE ` + servertest.WaitsForAnother)(&waiting)
		}
		return kept(r)
	})
	if err != nil {
		t.Fatal(err)
	}
	f.want(<-next, true)
}

func TestAfterTheLastRoundADeferredRecipientIsFailedWithTheServersWords(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1, 1)
	c := f.claim(1, false)
	f.refuse(c, 1, 1, "mailbox full")
	f.exec(`UPDATE deliveries SET answered_at = answered_at - interval '61 minutes'`)
	f.want(f.settle(c), ledger.Settled{Closed: true, Counts: counts.Counts{Failed: 1}})
	var reply string
	f.row(`SELECT reply FROM deliveries WHERE status = 'failed' AND code = 451`)(&reply)
	f.want(reply, "mailbox full")
}

// An earlier attempt has no answer: nobody may say that the recipient has no mail, and a
// continuation for those who failed must not send a second one.
func TestWhoIsGivenUpAndMayHaveTheMailIsUncertainAndNotFailed(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2, 2)
	c := f.claim(1, false)
	f.intend(c, 1, 1)
	c = f.claim(1, false)
	f.intend(c, 1, 2)
	c = f.claim(1, false)
	f.refuse(c, 1, 3, "later")
	f.refuse(c, 2, 1, "later")
	f.exec(`UPDATE deliveries SET answered_at = answered_at - interval '61 minutes'`)
	f.want(f.settle(c), ledger.Settled{Closed: true, Counts: counts.Counts{Failed: 1, Uncertain: 1}})
	var rows []string
	f.row(`SELECT array_agg(concat_ws(' ', recipient, attempt, status, final) ORDER BY recipient, attempt)
		FROM deliveries`)(&rows)
	f.want(rows, []string{"1 1 uncertain f", "1 2 uncertain t", "1 3 deferred f", "2 1 failed t"})
}

func TestAMailingWithDeferredRecipientsIsNotCompletedAndACancelledOneLeavesThemUnsent(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1, 1)
	c := f.claim(1, false)
	f.refuse(c, 1, 1, "later")
	f.settle(c)
	e, err := f.ledger.Close(t.Context(), f.key, true, "completed", "")
	if err != nil {
		t.Fatal(err)
	}
	f.want(e, ledger.Ending{Deferred: 1})
	if e, err = f.ledger.Close(t.Context(), f.key, false, "cancelled", ""); err != nil {
		t.Fatal(err)
	}
	f.want(e, ledger.Ending{Recipients: 1, Counts: counts.Counts{Unsent: 1}})
	f.want(f.gather(1, 1), ledger.Gathered{})
	f.want(f.waiting(), 0)
}

func TestAMailingThatIsEndedTwiceAtOnceKeepsItsFirstEnd(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1, 1)
	c := f.claim(1, false)
	f.send(c, 1)
	f.settle(c)
	tx := f.lock(`SELECT FROM mailings FOR UPDATE`)
	ended := make(chan error, 2)
	for i, state := range []string{"first", "second"} {
		go func() {
			_, err := f.ledger.Close(f.Context(), f.key, true, state, "")
			ended <- err
		}()
		f.waitFor(i + 1)
	}
	f.rollback(tx)
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	var state string
	f.row(`SELECT state FROM mailings`)(&state)
	f.want(state, "first")
}

// A freeze that was under way when the mailing was cancelled commits while Close waits for it.
func TestACloseAccountsForAnAudienceThatWasFrozenWhileItWaited(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2, 2)
	f.exec(`UPDATE mailings SET recipients = 0, mailable = 0`)
	tx := f.lock(`UPDATE mailings SET recipients = 2, mailable = 2`)
	answer := f.close(false)
	f.waitFor(1)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.want(<-answer, closed{Ending: ledger.Ending{Recipients: 2, Counts: counts.Counts{Unsent: 2}}})
}

// A server may defer just the largest messages of all batches.
func TestDeferredRecipientsWhoseMessagesDoNotFitIntoOneSpoolGetSeveralBatches(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 5, 5)
	c := f.claim(1, false)
	for r := int32(1); r <= 5; r++ {
		f.refuse(c, r, 1, "later")
	}
	f.settle(c)
	f.makeDue()
	g, err := f.ledger.Gather(t.Context(), f.key, ledger.Gathering{Known: 1, Size: 5,
		Pack: func(members []int32, _ [][]byte) ([]byte, error) {
			if len(members) > 2 {
				return nil, ledger.ErrTooLarge
			}
			return kept(members)
		}})
	if err != nil {
		t.Fatal(err)
	}
	f.want(g, ledger.Gathered{Ready: []int{2, 3, 4}})
	var batches []string
	f.row(`SELECT array_agg(members::text ORDER BY number) FROM batches WHERE number > 1`)(&batches)
	f.want(batches, []string{"{1,2}", "{3}", "{4,5}"})
	f.want(f.gather(1, 5), ledger.Gathered{Ready: []int{2, 3, 4}}) // after a lost answer
}

// A worker that was stopped while it gathered goes on in the middle of a Close, and takes the last
// deferred recipient into a batch.
func TestACloseOverlooksNobodyWhoGoesFromTheDeferredToABatch(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1, 1)
	c := f.claim(1, false)
	f.refuse(c, 1, 1, "later")
	f.settle(c)
	tx := f.lock(`LOCK TABLE deferrals IN ACCESS EXCLUSIVE MODE`)
	answer := f.close(true)
	f.waitFor(1)
	for _, sql := range []string{`DELETE FROM deferrals`,
		`INSERT INTO batches (mailing, number, first, last, members, opened_at)
			SELECT key, 2, 1, 1, '{1}', now() FROM mailings`,
	} {
		if _, err := tx.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.want(<-answer, closed{Ending: ledger.Ending{Open: []int{2}}})
	f.want(f.waiting(), 0) // in the batch, and nowhere else
}

func TestDeferredRecipientsWhoseMessagesAreGoneAreRenderedAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1, 1)
	c := f.claim(1, false)
	f.refuse(c, 1, 1, "later")
	f.settle(c)
	f.makeDue()
	f.exec(`DELETE FROM spool`)
	f.want(f.gather(1, 1), ledger.Gathered{Unrendered: []int{2}})
	span, rendered, err := f.ledger.Range(t.Context(), f.batch(2))
	if err != nil || rendered {
		t.Fatal(rendered, err)
	}
	f.want(span.Members, []int32{1})
}

// heldBatch is a closed batch with recipient 1 sent and recipient 2 held as uncertain.
func heldBatch(t *testing.T) *fixture {
	f := newFixture(t, 2, 2)
	c := f.claim(1, true)
	f.send(c, 1)
	f.intend(c, 2, 1)
	c = f.claim(1, true)
	f.want(f.settle(c), ledger.Settled{Closed: true, Counts: counts.Counts{Sent: 1, Uncertain: 1}})
	return f
}

func (f *fixture) resolve(as ledger.Resolution) int {
	f.Helper()
	n, err := f.ledger.Resolve(f.Context(), f.key, as)
	if err != nil {
		f.Fatal(err)
	}
	return n
}

func (f *fixture) progress() counts.Counts {
	f.Helper()
	s, err := f.ledger.Progress(f.Context(), f.key)
	if err != nil {
		f.Fatal(err)
	}
	return s.Counts
}

func TestABatchThatIsBeingSentIsCountedByItsRowsAndAClosedOneOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 9, 3)
	f.send(f.claim(1, false), 1) // goes on
	c := f.claim(2, false)
	f.send(c, 4)
	f.refuse(c, 5, 1, "later")
	f.want(f.progress(), counts.Counts{Sent: 2}) // and batch 3 is begun by nobody
	f.send(c, 6)
	if s := f.settle(c); !s.Closed || s.Deferred != 1 {
		t.Fatalf("got %+v", s)
	}
	f.want(f.progress(), counts.Counts{Sent: 3})
	f.makeDue()
	f.want(f.gather(3, 1), ledger.Gathered{Ready: []int{4}})
	c = f.claim(4, false)
	f.intend(c, 5, 2)
	f.answer(c, 5, 2, ledger.Bounced, "5.2.1")
	f.want(f.progress(), counts.Counts{Sent: 3, Bounced: 1})
}

func TestAnAddressThatDoesNotExistIsKeptAlsoFromAMailingThatEndsEarly(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 3, 3)
	c := f.claim(1, false)
	f.intend(c, 1, 1)
	f.answer(c, 1, 1, ledger.Bounced, "5.1.1")
	f.intend(c, 2, 1)
	f.answer(c, 2, 1, ledger.Bounced, "5.2.1")
	e, err := f.ledger.Close(t.Context(), f.key, false, "cancelled", "cancelled")
	if err != nil {
		t.Fatal(err)
	}
	f.want(e.Counts, counts.Counts{Bounced: 2, Unsent: 1})
	var kept string
	f.row(`SELECT string_agg(address_key || ' ' || code, ', ') FROM suppressions`)(&kept)
	f.want(kept, "r1@example.com 5.1.1")
}

func TestHeldRecipientsThatWereReceivedAreSentInRowsAndCounters(t *testing.T) {
	t.Parallel()
	for _, ended := range []bool{false, true} {
		t.Run(fmt.Sprintf("ended=%v", ended), func(t *testing.T) {
			t.Parallel()
			f := heldBatch(t)
			if ended {
				if _, err := f.ledger.Close(t.Context(), f.key, true, "completed", ""); err != nil {
					t.Fatal(err)
				}
			}
			f.want(f.resolve(ledger.AsSent), 1)
			f.want(f.resolve(ledger.AsSent), 0)
			f.want(f.progress(), counts.Counts{Sent: 2})
			f.want(f.outcomes(), map[int32]ledger.Status{1: ledger.Sent, 2: ledger.Sent})
			if _, err := f.ledger.Close(t.Context(), f.key, true, "completed", ""); err != nil {
				t.Fatal(err)
			}
			f.want(f.progress(), counts.Counts{Sent: 2})
		})
	}
}

func TestHeldRecipientsAreSentToAgainInABatchOfTheirOwn(t *testing.T) {
	t.Parallel()
	f := heldBatch(t)
	f.want(f.resolve(ledger.Again), 1)
	f.want(f.progress(), counts.Counts{Sent: 1})
	f.want(f.gather(1, 2), ledger.Gathered{Unrendered: []int{2}})
	if err := f.ledger.Store(t.Context(), f.batch(2), []byte("[2]"), nil); err != nil {
		t.Fatal(err)
	}
	c := f.claim(2, true)
	f.want(c.Tried, map[int32]ledger.Tried{2: {Attempts: 1, Uncertain: 1}})
	f.intend(c, 2, 2)
	f.answer(c, 2, 2, ledger.Sent, "")
	f.want(f.settle(c).Counts, counts.Counts{Sent: 1})
	if _, err := f.ledger.Close(t.Context(), f.key, true, "completed", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ledger.Resolve(t.Context(), f.key, ledger.Again); err == nil {
		t.Error("an ended mailing sends again")
	}
}

// Recipients who may have got two messages leave the counters with their outcome.
func TestAHeldRecipientWhoMayHaveTwoIsCountedOnceWhenSentToAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2, 2)
	again := func(n int, attempt int32) *ledger.Claim {
		t.Helper()
		c := f.claim(n, false)
		if err := f.gate.Enter(c, nil,
			&ledger.Attempt{Recipient: 1, Number: attempt, PossiblyTwice: attempt > 1}).Wait(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	for attempt := int32(1); attempt <= ledger.MaxUncertain; attempt++ {
		again(1, attempt)
	}
	c := f.claim(1, false)
	f.send(c, 2)
	f.want(f.settle(c).Counts, counts.Counts{Sent: 1, Uncertain: 1, PossiblyTwice: 1})
	f.want(f.resolve(ledger.Again), 1)
	f.want(f.progress(), counts.Counts{Sent: 1})
	f.want(f.gather(1, 1), ledger.Gathered{Unrendered: []int{2}})
	if err := f.ledger.Store(t.Context(), f.batch(2), []byte("[1]"), nil); err != nil {
		t.Fatal(err)
	}
	c = again(2, ledger.MaxUncertain+1)
	f.answer(c, 1, ledger.MaxUncertain+1, ledger.Sent, "")
	f.settle(c)
	f.want(f.progress(), counts.Counts{Sent: 2, PossiblyTwice: 1})
	f.want(f.ended(true).Counts, counts.Counts{Sent: 2, PossiblyTwice: 1})
}

type closed struct {
	ledger.Ending
	err error
}

// close lets Close run beside the test.
func (f *fixture) close(complete bool) <-chan closed {
	answer := make(chan closed, 1)
	go func() {
		e, err := f.ledger.Close(f.Context(), f.key, complete, "ended", "")
		answer <- closed{e, err}
	}()
	return answer
}

// A worker that was stopped in the middle of a resolution goes on when the rows are counted, and
// before the counts are written down.
func TestACountThatIsOvertakenByAResolutionIsTakenAgain(t *testing.T) {
	t.Parallel()
	f := heldBatch(t)
	tx := f.lock(`SELECT FROM mailings FOR UPDATE`)
	resolved := make(chan error, 1)
	go func() { _, err := f.ledger.Resolve(f.Context(), f.key, ledger.AsSent); resolved <- err }()
	f.waitFor(1)
	answer := f.close(true)
	f.waitFor(2) // behind the resolution, to write its counts
	f.rollback(tx)
	if err := <-resolved; err != nil {
		t.Fatal(err)
	}
	f.want(<-answer, closed{Ending: ledger.Ending{Recipients: 2, Counts: counts.Counts{Sent: 2}}})
	f.want(f.progress(), counts.Counts{Sent: 2})
}

func TestAMailingThatIsBeingEndedEarlyCountsWhatIsResolvedAndSendsNothingAgain(t *testing.T) {
	t.Parallel()
	const chunk = 3 // recipients that are counted at a time
	for _, as := range []ledger.Resolution{ledger.AsSent, ledger.Again} {
		t.Run(string(as), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, chunk+1, chunk)
			f.ledger = ledger.NewChunked(f.pool, chunk)
			f.intend(f.claim(1, true), 1, 1)
			f.claim(1, true) // recipient 1 is held
			f.intend(f.claim(2, true), chunk+1, 1)
			tx := f.lock(`SELECT FROM deliveries WHERE recipient > $1 FOR UPDATE`, chunk)
			answer := f.close(false)
			f.waitFor(1) // the first chunk is counted
			n, err := f.ledger.Resolve(t.Context(), f.key, as)
			want := counts.Counts{Uncertain: 2, Unsent: chunk - 1}
			switch as {
			case ledger.AsSent:
				want = counts.Counts{Sent: 1, Uncertain: 1, Unsent: chunk - 1}
				if err != nil || n != 1 {
					t.Errorf("%d are resolved (%v)", n, err)
				}
			case ledger.Again:
				if !errors.Is(err, ledger.ErrEnded) {
					t.Errorf("got %v, want ErrEnded", err)
				}
			}
			f.rollback(tx)
			f.want(<-answer, closed{Ending: ledger.Ending{Recipients: chunk + 1, Counts: want}})
			f.want(f.progress(), want)
			var open int
			f.row(`SELECT count(*) FROM recipients r WHERE
				NOT EXISTS (SELECT FROM deliveries d WHERE d.mailing = r.mailing AND d.recipient = r.number AND d.final)`)(&open)
			f.want(open, 0)
		})
	}
}
