package ledger_test

import (
	"testing"

	"directmailer/internal/counts"
	"directmailer/internal/database"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/ledger"
)

// keep gives the gate a result whose commit has failed, and waits until the gate has looked at it.
func (f *fixture) keep(c *ledger.Claim, r ledger.Result) {
	f.Helper()
	f.gate.Keep(c, &r)
	if err := f.gate.WriteKept(f.Context()); err != nil {
		f.Fatal(err)
	}
}

// attempts are the rows of a recipient, in order.
func (f *fixture) attempts(recipient int32) (rows []string) {
	f.Helper()
	f.row(`SELECT array_agg(attempt || ' ' || status || CASE WHEN final THEN ' final' ELSE '' END ORDER BY attempt)
		FROM deliveries WHERE recipient = $1`, recipient)(&rows)
	return rows
}

func sentLate(recipient, attempt int32) ledger.Result {
	return ledger.Result{Recipient: recipient, Attempt: attempt, Status: ledger.Sent, Final: true, Code: 250,
		Enhanced: "2.0.0", Reply: "ok"}
}

// The outage is longer than any time that the gate waits by itself.
func TestAnAnswerIsKeptUntilTheDatabaseIsBackAndWrittenBeforeAnyIntent(t *testing.T) {
	t.Parallel()
	server := servertest.OwnPostgres(t)
	pool := servertest.Pool(t, server.URL("mail"), 8)
	f := &fixture{T: t, pool: pool}
	f.fill(4, 2)
	first, second := f.claim(1, false), f.claim(2, false)
	f.intend(first, 1, 1)
	server.Kill()
	answer := sentLate(1, 1)
	if err := f.gate.Enter(first, &answer, nil).Wait(); !database.Unavailable(err) {
		t.Fatalf("got %v, want a database that is away", err)
	}
	f.gate.Keep(first, &answer)
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.intend(second, 3, 1)
	f.want(f.attempts(1), []string{"1 sent final"})
}

func TestAnAnswerIsKeptUntilItIsWrittenAlthoughNobodyAsks(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2, 2)
	c := f.claim(1, false)
	f.intend(c, 1, 1)
	lock := f.lock(`SELECT FROM mailings FOR UPDATE`)
	answer := sentLate(1, 1)
	f.gate.Keep(c, &answer)
	f.waitFor(1)
	f.intend(c, 2, 1) // a mailing that is locked holds up no other
	f.want(f.attempts(1), []string{"1 intent"})
	f.rollback(lock)
	for f.attempts(1)[0] != "1 sent final" {
		if t.Context().Err() != nil {
			t.Fatal("the answer was not written")
		}
	}
}

// The gate lets its other batches go on after a second. The next claim of the batch would make the
// recipient uncertain, and the message would be sent again.
func TestTheNextClaimOfABatchWaitsForItsKeptAnswers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 4, 2)
	c, other := f.claim(1, false), f.claim(2, false)
	f.intend(c, 1, 1)
	lock := f.lock(`SELECT FROM mailings FOR UPDATE`)
	answer := sentLate(1, 1)
	f.gate.Keep(c, &answer)
	f.want(f.gate.WriteKeptOf(t.Context(), other.Batch), nil) // does not wait
	written := make(chan error, 1)
	go func() { written <- f.gate.WriteKeptOf(t.Context(), c.Batch) }()
	for waits := false; !waits; { // for longer than the gate does
		select {
		case err := <-written:
			t.Fatalf("the claim does not wait: %v, %v", err, f.attempts(1))
		default:
		}
		f.row(`SELECT EXISTS (SELECT FROM pg_stat_activity WHERE clock_timestamp() - query_start > '2s' AND ` +
			servertest.WaitsForAnother + `)`)(&waits)
	}
	f.rollback(lock)
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	f.want(f.attempts(1), []string{"1 sent final"})
	f.want(f.claim(1, false).Tried[1], ledger.Tried{Attempts: 1, Final: true})
}

// Another worker has claimed the batch, and perhaps done more.
func TestALateAnswerIsTheTruthUnlessALaterAttemptWasMade(t *testing.T) {
	t.Parallel()
	bounced := ledger.Result{Recipient: 1, Attempt: 1, Status: ledger.Bounced, Final: true, Code: 550, Enhanced: "5.1.1"}
	deferred := ledger.Result{Recipient: 1, Attempt: 1, Status: ledger.Deferred, Code: 450}
	for name, c := range map[string]struct {
		hold bool
		then func(f *fixture)
		late ledger.Result
		want []string
	}{
		"claimed, to be sent again": {late: sentLate(1, 1), want: []string{"1 sent final"}},
		"claimed, refused for now":  {late: deferred, want: []string{"1 deferred"}},
		"claimed and held":          {hold: true, late: sentLate(1, 1), want: []string{"1 sent final"}},
		"claimed and held, bounced": {hold: true, late: bounced, want: []string{"1 bounced final"}},
		"claimed and held, refused for now": {hold: true, late: deferred,
			want: []string{"1 uncertain final"}},
		"sent again": {then: func(f *fixture) { f.intend(f.claim(1, false), 1, 2) }, late: sentLate(1, 1),
			want: []string{"1 uncertain", "2 intent"}},
		"sent again and answered": {then: func(f *fixture) {
			c := f.claim(1, false)
			f.intend(c, 1, 2)
			f.answer(c, 1, 2, ledger.Bounced, "5.1.1")
		}, late: sentLate(1, 1), want: []string{"1 uncertain", "2 bounced final"}},
		"resolved": {hold: true, then: func(f *fixture) {
			f.send(f.claim(1, true), 2)
			f.settle(f.claim(1, true))
			f.resolve(ledger.AsSent)
		}, late: bounced, want: []string{"1 sent final"}},
		"another outcome": {then: func(f *fixture) {
			f.exec(`INSERT INTO deliveries (mailing, recipient, attempt, status, final)
				VALUES ($1, 1, 0, 'failed', true)`, f.key)
		}, late: sentLate(1, 1), want: []string{"0 failed final", "1 uncertain"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, 2, 2)
			claim := f.claim(1, c.hold)
			f.intend(claim, 1, 1)
			f.claim(1, c.hold)
			if c.then != nil {
				c.then(f)
			}
			f.keep(claim, c.late)
			f.want(f.attempts(1), c.want)
			f.keep(claim, c.late) // a second time changes nothing
			f.want(f.attempts(1), c.want)
		})
	}
}

// Counts that have the recipient among the uncertain are corrected with the row.
func TestALateAnswerCorrectsTheCountsOfBatchAndMailing(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]ledger.Result{
		"sent":    sentLate(1, 1),
		"bounced": {Recipient: 1, Attempt: 1, Status: ledger.Bounced, Final: true},
		"failed":  {Recipient: 1, Attempt: 1, Status: ledger.Failed, Final: true},
	} {
		for _, ended := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, 2, 2)
				claim := f.claim(1, true)
				f.intend(claim, 1, 1)
				c := f.claim(1, true)
				f.send(c, 2)
				f.want(f.settle(c).Counts, counts.Counts{Sent: 1, Uncertain: 1})
				if ended {
					f.want(f.ended(true).Counts, counts.Counts{Sent: 1, Uncertain: 1})
				}
				f.keep(claim, late)
				want := counts.Counts{Sent: 2}
				switch late.Status {
				case ledger.Bounced:
					want = counts.Counts{Sent: 1, Bounced: 1}
				case ledger.Failed:
					want = counts.Counts{Sent: 1, Failed: 1}
				}
				f.want(f.progress(), want)
				f.want(f.ended(true).Counts, want)
			})
		}
	}
}

// The mailing is ended early while the answer is on its way, and its outcomes are being counted.
func TestALateAnswerIsCountedByACloseThatIsCounting(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2, 2)
	c := f.claim(1, true)
	f.send(c, 2)
	f.intend(c, 1, 1)
	tx := f.lock(`SELECT FROM batches FOR UPDATE`) // the late answer has raised the revision, and waits here
	answer := sentLate(1, 1)
	f.gate.Keep(c, &answer)
	f.waitFor(1)
	ending := f.close(false) // waits for the mailing's row
	f.waitFor(2)
	f.rollback(tx)
	f.want(<-ending, closed{Ending: ledger.Ending{Recipients: 2, Counts: counts.Counts{Sent: 2}}})
	f.want(f.attempts(1), []string{"1 sent final"})
}

// A result that PostgreSQL refuses for good must not hold up the others.
func TestAKeptAnswerThatCannotBeWrittenHoldsUpNobody(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 3, 3)
	c := f.claim(1, false)
	f.intend(c, 1, 1)
	f.intend(c, 2, 1)
	impossible := sentLate(1, 1)
	impossible.Status = "no such status"
	f.gate.Keep(c, &impossible)
	f.keep(c, sentLate(2, 1))
	f.want(f.attempts(2), []string{"1 sent final"})
	f.want(f.gate.Close(t.Context()), 0)
}

func TestAGateThatIsClosedTellsWhatItCouldNotWrite(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2, 2)
	c := f.claim(1, false)
	f.intend(c, 1, 1)
	other := &fixture{T: t, pool: f.pool, ledger: f.ledger, gate: f.gate, key: f.key + 1}
	f.exec(`INSERT INTO mailings (id, first_run_id, input, list, state) VALUES ('other', 'run', '{}', 'l', 'sending')`)
	f.exec(`INSERT INTO batches (mailing, number, first, last) VALUES ($1, 1, 1, 2)`, other.key)
	f.exec(`INSERT INTO spool VALUES ($1, 1, 'theirs')`, other.key)
	theirs := other.claim(1, false)
	other.intend(theirs, 2, 1)
	f.lock(`SELECT FROM mailings WHERE key = $1 FOR UPDATE`, f.key)
	for _, c := range []*ledger.Claim{c, theirs} {
		answer := sentLate(c.Span.First+int32(c.Mailing-f.key), 1)
		f.gate.Keep(c, &answer)
	}
	f.want(f.gate.Close(t.Context()), 1)
	f.want(f.attempts(2), []string{"1 sent final"}) // a mailing that is locked holds up no other
}

// The commit of an intent fails. The intent may be written all the same, and the number of the
// attempt may be used by a worker that has claimed the batch since.
func TestAnAttemptThatWasNotMadeIsWithdrawnOnlyFromItsOwnClaim(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 3, 3)
	withdraw := func(c *ledger.Claim, recipient int32) {
		t.Helper()
		f.gate.Withdraw(c, &ledger.Result{Recipient: recipient, Attempt: 1, Status: ledger.NotSent,
			Reply: ledger.NotHandedOver + "no commit"})
		if err := f.gate.WriteKept(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	first := f.claim(1, true)
	f.intend(first, 1, 1)
	f.intend(first, 3, 1)
	withdraw(first, 1)
	withdraw(first, 2) // it was not written
	second := f.claim(1, true)
	f.want(second.Tried, map[int32]ledger.Tried{1: {Attempts: 1}, 3: {Attempts: 1, Final: true, Uncertain: 1}})
	withdraw(first, 3)
	f.intend(second, 2, 1)
	withdraw(first, 2)
	f.want([][]string{f.attempts(2), f.attempts(3)}, [][]string{{"1 intent"}, {"1 uncertain final"}})
	f.answer(second, 2, 1, ledger.Sent, "")
	f.want(f.attempts(2), []string{"1 sent final"})
}
