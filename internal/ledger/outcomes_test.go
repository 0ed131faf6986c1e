package ledger_test

import (
	"errors"
	"testing"
	"time"

	"directmailer/internal/counts"
	"directmailer/internal/ledger"
)

func TestABatchThatIsClosedTakesNoIntent(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1, 1)
	c := f.claim(1, false)
	f.send(c, 1)
	f.want(f.settle(c).Closed, true)
	if err := f.gate.Enter(c, nil, &ledger.Attempt{Recipient: 1, Number: 2}).Wait(); !errors.Is(err, ledger.ErrFenced) {
		t.Errorf("an intent of a closed batch: got %v, want ErrFenced", err)
	}
	if _, err := f.ledger.Settle(t.Context(), c, soon, kept); !errors.Is(err, ledger.ErrFenced) {
		t.Errorf("it is settled again: got %v, want ErrFenced", err)
	}
	if err := f.ledger.LeaveOut(t.Context(), c, []ledger.Exclusion{{Recipient: 1}}); !errors.Is(err, ledger.ErrFenced) {
		t.Errorf("a recipient is left out: got %v, want ErrFenced", err)
	}
	if rendered, _, err := f.ledger.BeginRendering(t.Context(), f.batch(1)); err != nil || !rendered {
		t.Errorf("it is rendered again: %v", err)
	}
	// An attempt to render the batch that took long comes too late.
	if err := f.ledger.Store(t.Context(), f.batch(1), []byte("late"), nil); err != nil {
		t.Fatal(err)
	}
	var blobs int
	f.row(`SELECT count(*) FROM spool`)(&blobs)
	f.want(blobs, 0)
}

// The gate repeats a commit whose answer was lost.
func TestAnEntryThatIsRepeatedChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2, 2)
	c := f.claim(1, false)
	f.intend(c, 1, 1)
	f.intend(c, 1, 1)
	f.answer(c, 1, 1, ledger.Sent, "2.0.0")
	f.intend(c, 1, 1) // must not open the recipient again
	f.answer(c, 1, 1, ledger.Bounced, "5.1.1")
	f.want(f.outcomes(), map[int32]ledger.Status{1: ledger.Sent, 2: ledger.Open})
}

func TestAnAnswerIsWrittenForItsOwnRecipientAndAttempt(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 3, 3)
	c := f.claim(1, false)
	for r := int32(1); r <= 3; r++ {
		f.intend(c, r, 1)
	}
	f.answer(c, 2, 1, ledger.Bounced, "5.1.1")
	f.answer(c, 3, 7, ledger.Sent, "2.0.0") // of an attempt that was never made
	f.want(f.outcomes(), map[int32]ledger.Status{1: ledger.Open, 2: ledger.Bounced, 3: ledger.Open})
}

// A refusal is "not sent" until it is known whom it means.
func TestOnlyAVerdictChangesAnAttemptThatWasNotSent(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 3, 3)
	c := f.claim(1, false)
	for r := int32(1); r <= 3; r++ {
		f.intend(c, r, 1)
		f.answer(c, r, 1, ledger.NotSent, "no")
	}
	f.want(f.claim(1, false).Open(), 3) // whoever dies now blames nobody
	c = f.claim(1, false)
	f.answer(c, 1, 1, ledger.Bounced, "no")
	f.answer(c, 2, 1, ledger.Refused, "no")
	f.answer(c, 3, 1, ledger.Sent, "no")
	var got []string
	f.row(`SELECT array_agg(status || ' ' || final ORDER BY recipient) FROM deliveries`)(&got)
	f.want(got, []string{"bounced true", "refused false", "not_sent false"})
}

func TestTheThirdAttemptWithoutAnAnswerIsTheOutcome(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1, 1)
	c := f.claim(1, false)
	for n := int32(1); n <= ledger.MaxUncertain; n++ {
		f.want(c.Tried[1].Final, false)
		f.intend(c, 1, n) // and the process dies here
		c = f.claim(1, false)
	}
	f.want(
		c.Tried,
		map[int32]ledger.Tried{1: {Attempts: ledger.MaxUncertain, Final: true, Uncertain: ledger.MaxUncertain}},
	)
	f.want(f.settle(c), ledger.Settled{Closed: true, Counts: counts.Counts{Uncertain: 1}})
}

func TestWhatAClaimKnowsOfEarlierAttempts(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 5, 5)
	c := f.claim(1, false)
	f.send(c, 1)
	f.intend(c, 2, 1)
	f.answer(c, 2, 1, ledger.NotSent, "")
	f.refuse(c, 2, 2, "later")
	f.refuse(c, 3, 1, "later")
	f.intend(c, 3, 2)
	f.answer(c, 3, 2, ledger.NotSent, "")
	f.intend(c, 4, 1)
	f.answer(c, 4, 1, ledger.Refused, "5.7.1")
	// What was refused for good broke no connection. What was not sent because the drop point asked
	// for less or cannot take it, or because we ended the attempt, was neither refused nor broken.
	for n, r := range []ledger.Result{{Code: 550}, {Code: 421, Reply: ledger.LessAsked + "a lower rate"},
		{Code: 550, Reply: ledger.LessAsked + "too many connections"}, {Reply: ledger.NotHandedOver + "cancelled"},
		{Code: 552, Reply: ledger.CannotTake + "too big"}, {Enhanced: "5.3.4", Reply: ledger.CannotTake + "too big"},
		{Code: 554, Reply: ledger.Broke + "too many connections"}} {
		r.Recipient, r.Attempt, r.Status = 5, int32(n+1), ledger.NotSent
		f.intend(c, 5, r.Attempt)
		if err := f.gate.Enter(c, &r, nil).Wait(); err != nil {
			t.Fatal(err)
		}
	}
	f.want(f.claim(1, false).Tried, map[int32]ledger.Tried{
		1: {
			Attempts: 1,
			Final:    true,
		}, 2: {Attempts: 2, Deferred: true, Breaks: 1}, 3: {Attempts: 2, Breaks: 1},
		4: {Attempts: 1, Deferred: true, Refusals: 1}, 5: {Attempts: 7, Refusals: 1, Breaks: 1}})
}

// The spool is lost, and the template fails now for recipients who have their outcome already.
func TestABatchThatIsRenderedAgainChangesNoOutcome(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2, 2)
	c := f.claim(1, false)
	f.send(c, 1)
	f.exec(`DELETE FROM spool`)
	if err := f.ledger.Store(t.Context(), f.batch(1), []byte("x"),
		[]ledger.Failure{{Recipient: 1, Reason: "fails"}, {Recipient: 2, Reason: "fails"}}); err != nil {
		t.Fatal(err)
	}
	f.want(f.settle(f.claim(1, false)), ledger.Settled{Closed: true, Counts: counts.Counts{Sent: 1, Failed: 1}})
	f.want(f.outcomes(), map[int32]ledger.Status{1: ledger.Sent, 2: ledger.Failed})
}

func TestPossiblyTwiceCountsOnlyAmongOutcomes(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 3, 3)
	c := f.claim(1, false)
	for r := int32(1); r <= 3; r++ {
		f.intend(c, r, 1)
	}
	c = f.claim(1, false) // all three are uncertain
	twice := func(recipient, number int32, status ledger.Status) {
		t.Helper()
		if err := f.gate.Enter(c, nil,
			&ledger.Attempt{Recipient: recipient, Number: number, PossiblyTwice: true}).Wait(); err != nil {
			t.Fatal(err)
		}
		f.answer(c, recipient, number, status, "")
	}
	marked := func() (out []int32) {
		t.Helper()
		err := f.ledger.Report(t.Context(), f.key, nil, func(l ledger.Line) error {
			if l.PossiblyTwice {
				out = append(out, l.Number)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	twice(1, 2, ledger.NotSent)
	f.want(marked(), []int32(nil))
	twice(2, 2, ledger.Sent)
	twice(3, 2, ledger.Uncertain)
	f.want(marked(), []int32{2, 3})
	f.want(f.progress(), counts.Counts{Sent: 1, PossiblyTwice: 1})
	// The first one bounces at last: only one copy can have arrived. The third may have two, but
	// waits for its outcome.
	f.intend(c, 1, 3)
	f.answer(c, 1, 3, ledger.Bounced, "5.1.1")
	f.refuse(c, 3, 3, "later")
	f.want(f.settle(c).Counts, counts.Counts{Sent: 1, Bounced: 1, PossiblyTwice: 1})
}

func TestAServerIsBelievedForADayAtMost(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1, 1)
	c := f.claim(1, false)
	f.refuse(c, 1, 1, "100h")
	plan := ledger.Schedule{First: time.Minute, Most: time.Hour, For: 200 * time.Hour, RetryAfter: told}
	if _, err := f.ledger.Settle(t.Context(), c, plan, kept); err != nil {
		t.Fatal(err)
	}
	var hours int
	f.row(`SELECT round(extract(epoch FROM due - now()) / 3600)::int FROM deferrals`)(&hours)
	f.want(hours, 24)
}

func TestAMailingThatEndsEarlyKeepsWhatIsUncertainAndWhatIsSent(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 4, 4)
	c := f.claim(1, false)
	for r := int32(1); r <= 3; r++ {
		f.intend(c, r, 1)
	}
	c = f.claim(1, false) // attempt 1 of each is uncertain
	f.intend(c, 1, 2)
	f.answer(c, 1, 2, ledger.Sent, "2.0.0")
	f.intend(c, 2, 2)
	f.answer(c, 2, 2, ledger.NotSent, "")
	f.intend(c, 3, 2) // its answer is never seen
	e, err := f.ledger.Close(t.Context(), f.key, false, "cancelled", "somebody asked")
	if err != nil {
		t.Fatal(err)
	}
	f.want(e.Counts.Sent+e.Counts.Uncertain*10+e.Counts.Unsent*100, int64(1+20+100))
	f.want(
		f.outcomes(),
		map[int32]ledger.Status{1: ledger.Sent, 2: ledger.Uncertain, 3: ledger.Uncertain, 4: ledger.Unsent},
	)
	var finals []int32
	f.row(`SELECT array_agg(attempt ORDER BY recipient) FROM deliveries WHERE final`)(&finals)
	f.want(finals, []int32{2, 1, 2, 0})
	var state, reason string
	f.row(`SELECT state, reason FROM mailings`)(&state, &reason)
	f.want(state+": "+reason, "cancelled: somebody asked")
}

// Close is held while it counts: a worker that still has a batch must not get a message out that
// the counts do not know of.
func TestNothingIsSentFromAMailingThatIsBeingEnded(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2, 2)
	c := f.claim(1, false)
	f.send(c, 1)
	tx := f.lock(`SELECT pg_advisory_xact_lock(1)`)
	f.exec(
		`CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END $$`,
	)
	f.exec(
		`CREATE TRIGGER wait_here BEFORE INSERT ON deliveries FOR EACH ROW WHEN (NEW.status = 'unsent')
			EXECUTE FUNCTION wait_here()`,
	)
	answer := f.close(false)
	f.waitFor(1)
	if err := f.gate.Enter(c, nil, &ledger.Attempt{Recipient: 2, Number: 1}).Wait(); !errors.Is(err, ledger.ErrFenced) {
		t.Errorf("got %v, want ErrFenced", err)
	}
	f.rollback(tx)
	f.want(<-answer, closed{Ending: ledger.Ending{Recipients: 2, Counts: counts.Counts{Sent: 1, Unsent: 1}}})
}

func TestOnlyOutcomesAreResolved(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2, 2)
	c := f.claim(1, false)
	f.intend(c, 1, 1)
	c = f.claim(1, false) // attempt 1 is uncertain, and no outcome
	f.intend(c, 1, 2)
	f.answer(c, 1, 2, ledger.Bounced, "5.2.1")
	f.send(c, 2)
	f.want(f.settle(c).Closed, true)
	for _, as := range []ledger.Resolution{ledger.AsSent, ledger.Again} {
		f.want(f.resolve(as), 0)
	}
	f.want(f.waiting(), 0)
	f.want(f.outcomes(), map[int32]ledger.Status{1: ledger.Bounced, 2: ledger.Sent})
}

// The outcome of a recipient need not be the latest row: an attempt of a batch that was rendered
// again is numbered 0.
func TestAReportShowsTheOutcomeAndNotALaterAttempt(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1, 1)
	c := f.claim(1, false)
	f.intend(c, 1, 1)
	f.answer(c, 1, 1, ledger.NotSent, "")
	f.exec(`DELETE FROM spool`)
	if err := f.ledger.Store(t.Context(), f.batch(1), []byte("x"),
		[]ledger.Failure{{Recipient: 1, Reason: "the page is gone"}}); err != nil {
		t.Fatal(err)
	}
	f.want(f.outcomes(), map[int32]ledger.Status{1: ledger.Failed})
}

func TestWhoOptedOutBeforeTheFreezeIsCounted(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2, 2)
	f.exec(`INSERT INTO recipients SELECT $1, 3, 'r3@example.com', 'r3@example.com', '{}'`, f.key)
	f.exec(
		`INSERT INTO deliveries (mailing, recipient, attempt, status, final) VALUES ($1, 3, 0, 'opted_out', true)`,
		f.key,
	)
	f.exec(`UPDATE mailings SET recipients = 3`)
	c := f.claim(1, false)
	f.send(c, 1)
	f.want(f.progress(), counts.Counts{Sent: 1, OptedOut: 1})
}
