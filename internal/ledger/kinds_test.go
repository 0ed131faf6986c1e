package ledger_test

import (
	"testing"

	"directmailer/internal/counts"
	"directmailer/internal/ledger"
)

func TestACancelledMailingDoesNotSayUnsentOfWhoMayHaveGotTheMailBefore(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 4, 4)
	c := f.claim(1, false)
	f.intend(c, 1, 1)
	f.intend(c, 2, 1)
	f.intend(c, 3, 1)
	c = f.claim(1, false) // three are uncertain, and open
	f.want(c.Tried[1], ledger.Tried{Attempts: 1, Uncertain: 1})
	f.refuse(c, 2, 2, "later") // the later attempt is known, the earlier is not
	f.intend(c, 3, 2)          // neither is known
	f.want(f.ended(false).Counts, counts.Counts{Uncertain: 3, Unsent: 1})
	f.want(
		[][]string{f.finals(1), f.finals(2), f.finals(3), f.finals(4)},
		[][]string{{"1 uncertain"}, {"1 uncertain"}, {"2 uncertain"}, {"0 unsent"}},
	)
}

func TestADeferredRecipientStaysDeferredHoweverOftenItsBatchIsClaimed(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 3, 3)
	c := f.claim(1, false)
	f.intend(c, 1, 1)
	c = f.claim(1, false)
	f.refuse(c, 1, 2, "later") // after an attempt without an answer
	f.intend(c, 2, 1)
	if err := f.gate.Enter(c, &ledger.Result{Recipient: 2, Attempt: 1, Status: ledger.Refused, Code: 550},
		nil).Wait(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c = f.claim(1, false)
		f.want(
			c.Tried,
			map[int32]ledger.Tried{
				1: {Attempts: 2, Deferred: true, Uncertain: 1}, 2: {Attempts: 1, Deferred: true, Refusals: 1}},
		)
		f.want(c.Open(), 1)
	}
	f.send(c, 3)
	s := f.settle(c)
	f.want([]any{s.Closed, s.Deferred, s.Counts}, []any{true, 2, counts.Counts{Sent: 1}})
	// In the next round it is open, and a certain failure of that round keeps it open.
	f.makeDue()
	f.want(f.gather(1, 3), ledger.Gathered{Ready: []int{2}})
	c = f.claim(2, false)
	f.intend(c, 1, 3)
	f.answer(c, 1, 3, ledger.NotSent, "")
	c = f.claim(2, false)
	f.want(c.Tried, map[int32]ledger.Tried{1: {Attempts: 3, Uncertain: 1, Breaks: 1}, 2: {Attempts: 1, Refusals: 1}})
	f.want(c.Open(), 2)
}

func TestTheLastAttemptWithoutAnAnswerIsTheOutcomeAndNoneBefore(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1, 1)
	for attempt := int32(1); attempt <= ledger.MaxUncertain; attempt++ {
		f.intend(f.claim(1, false), 1, attempt)
		c := f.claim(1, false)
		last := attempt == ledger.MaxUncertain
		f.want(c.Tried[1], ledger.Tried{Attempts: attempt, Final: last, Uncertain: int(attempt)})
		f.want(f.outcomes()[1] == ledger.Uncertain, last)
	}
	f.want(ledger.MaxUncertain, 3) // as the README promises
	f.want(f.finals(1), []string{"3 uncertain"})
}

func TestPossiblyTwiceCountsOnlyWhoHasAnOutcomeAndWasHandedOverAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 4, 4)
	c := f.claim(1, false)
	for r := int32(1); r <= 3; r++ {
		f.intend(c, r, 1)
	}
	c = f.claim(1, false)
	again := func(recipient, attempt int32, status ledger.Status) {
		t.Helper()
		if err := f.gate.Enter(c, nil,
			&ledger.Attempt{Recipient: recipient, Number: attempt, PossiblyTwice: true}).Wait(); err != nil {
			t.Fatal(err)
		}
		if status != ledger.Intent {
			f.answer(c, recipient, attempt, status, "")
		}
	}
	reported := func() (twice []int32) {
		t.Helper()
		if err := f.ledger.Report(t.Context(), f.key, nil, func(l ledger.Line) error {
			if l.PossiblyTwice {
				twice = append(twice, l.Number)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return twice
	}
	again(1, 2, ledger.Intent)
	f.want([]any{f.progress(), reported()}, []any{counts.Counts{}, []int32(nil)}) // nothing is known yet
	f.answer(c, 1, 2, ledger.Sent, "")
	again(2, 2, ledger.NotSent) // certainly not handed over: once at most
	again(3, 2, ledger.Sent)
	f.want([]any{f.progress(), reported()}, []any{counts.Counts{Sent: 2, PossiblyTwice: 2}, []int32{1, 3}})
	// The mailing ends. Recipient 2 had one attempt without an answer, and a second that was not
	// handed over.
	f.want(f.ended(false).Counts, counts.Counts{Sent: 2, Uncertain: 1, Unsent: 1, PossiblyTwice: 2})
}

func TestWhoWaitsForALaterRoundIsCountedPossiblyTwiceWhenItsOutcomeIsKnown(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2, 2)
	c := f.claim(1, false)
	f.intend(c, 1, 1)
	c = f.claim(1, false)
	if err := f.gate.Enter(c, nil, &ledger.Attempt{Recipient: 1, Number: 2, PossiblyTwice: true}).Wait(); err != nil {
		t.Fatal(err)
	}
	c = f.claim(1, false) // two attempts without an answer, the second possibly the second mail
	f.refuse(c, 1, 3, "later")
	f.send(c, 2)
	f.want(f.settle(c).Counts, counts.Counts{Sent: 1})
	f.makeDue()
	f.want(f.gather(1, 1), ledger.Gathered{Ready: []int{2}})
	c = f.claim(2, false)
	f.intend(c, 1, 4)
	f.answer(c, 1, 4, ledger.Sent, "")
	f.want(f.settle(c).Counts, counts.Counts{Sent: 1, PossiblyTwice: 1})
	f.want(f.ended(true).Counts, counts.Counts{Sent: 2, PossiblyTwice: 1})
}

func TestEachOutcomeIsCountedAsItself(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 21, 21)
	first := int32(1)
	// so many of each that no two counts are the same
	for n, status := range []ledger.Status{ledger.Sent, ledger.Bounced, ledger.Failed, ledger.OptedOut, ledger.Uncertain,
		ledger.Unsent} {
		f.answered("mx", first, first+int32(n), status, "")
		first += int32(n) + 1
	}
	want := counts.Counts{Sent: 1, Bounced: 2, Failed: 3, OptedOut: 4, Uncertain: 5, Unsent: 6}
	c := f.claim(1, false)
	f.want(c.Open(), 0)
	f.want(f.progress(), want) // by rows
	f.want(f.settle(c).Counts, want)
	f.want(f.progress(), want) // by the batch's counters
	f.want(f.claim(1, false).Settled.Counts, want)
	f.want(f.ended(true), ledger.Ending{Recipients: 21, Counts: want})
	f.want(f.progress(), want)
	f.want(f.ended(true), ledger.Ending{Recipients: 21, Counts: want})
}

func TestAResultThatIsNotFinalIsNoOutcome(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1, 1)
	c := f.claim(1, false)
	for attempt, status := range []ledger.Status{ledger.NotSent, ledger.Refused, ledger.Deferred, ledger.Uncertain} {
		f.intend(c, 1, int32(attempt+1))
		f.answer(c, 1, int32(attempt+1), status, "")
		f.want(f.outcomes()[1], ledger.Open)
	}
	f.want(f.finals(1), []string{})
	f.intend(c, 1, 5)
	f.answer(c, 1, 5, ledger.Sent, "")
	f.answer(c, 1, 5, ledger.NotSent, "") // a result that is repeated after a lost answer, or comes late, changes nothing
	f.want(f.finals(1), []string{"5 sent"})
}
