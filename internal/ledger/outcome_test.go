package ledger_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"directmailer/internal/counts"
	"directmailer/internal/database"
	"directmailer/internal/ledger"
)

// finals are the attempts that are outcomes of the recipient.
func (f *fixture) finals(recipient int32) (attempts []string) {
	f.Helper()
	f.row(`SELECT coalesce(array_agg(attempt || ' ' || status ORDER BY attempt), '{}') FROM deliveries
		WHERE recipient = $1 AND final`, recipient)(&attempts)
	return attempts
}

func TestTheDatabaseRefusesASecondOutcome(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1, 1)
	f.send(f.claim(1, false), 1)
	_, err := f.pool.Exec(
		t.Context(),
		`INSERT INTO deliveries (mailing, recipient, attempt, status, final) VALUES ($1, 1, 2, 'failed', true)`,
		f.key,
	)
	if !database.Duplicate(err) {
		t.Errorf("got %v", err)
	}
}

// However a second outcome came about: nothing of it is lost, the others of the group are written,
// and the batch can be closed.
func TestAResultThatWouldBeASecondOutcomeIsKeptAndBlocksNobody(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 6, 6)
	lost := f.claim(1, false)
	f.intend(lost, 6, 1)
	c := f.claim(1, false)
	f.intend(c, 6, 2)
	f.intend(c, 1, 1)
	f.intend(c, 2, 1)
	f.intend(c, 2, 2)
	f.intend(c, 3, 1)
	f.intend(c, 4, 1)
	f.exec(
		`INSERT INTO deliveries (mailing, recipient, attempt, status, final) VALUES ($1, 1, 0, 'failed', true),
			($1, 3, 0, 'opted_out', true)`,
		f.key,
	)
	release := f.stopper(5) // while the first group is stopped, all others wait for the second one
	tickets := []*ledger.Ticket{f.gate.Enter(c, nil, &ledger.Attempt{Recipient: 5, Number: 1})}
	f.waitFor(1)
	for _, r := range []ledger.Result{
		{Recipient: 4, Attempt: 1, Status: ledger.Sent, Final: true},
		{Recipient: 1, Attempt: 1, Status: ledger.Sent, Final: true, Code: 250, Reply: "queued"},
		{Recipient: 2, Attempt: 1, Status: ledger.Sent, Final: true},
		{Recipient: 2, Attempt: 2, Status: ledger.Bounced, Final: true},
		{Recipient: 3, Attempt: 1, Status: ledger.Bounced, Final: true, Reply: "no such user"},
	} {
		tickets = append(tickets, f.gate.Enter(c, &r, nil))
	}
	// The answer under a claim that is lost is not written, and makes none of the others the second.
	late := f.gate.Enter(lost, &ledger.Result{Recipient: 6, Attempt: 1, Status: ledger.Sent, Final: true}, nil)
	tickets = append(tickets,
		f.gate.Enter(c, &ledger.Result{Recipient: 6, Attempt: 2, Status: ledger.Sent, Final: true}, nil))
	release()
	if err := late.Wait(); !errors.Is(err, ledger.ErrFenced) {
		t.Errorf("the lost claim: got %v", err)
	}
	for _, ticket := range tickets {
		if err := ticket.Wait(); err != nil {
			t.Error(err)
		}
	}
	f.answer(c, 5, 1, ledger.Sent, "")
	f.want(
		[][]string{f.finals(1), f.finals(2), f.finals(3), f.finals(4), f.finals(6)},
		[][]string{{"0 failed"}, {"1 sent"}, {"0 opted_out"}, {"1 sent"}, {"2 sent"}},
	)
	var kept []string
	f.row(`SELECT array_agg(recipient || ' ' || attempt || ' ' || status || ' ' || possibly_twice || ' '
		|| coalesce(reply, '') ORDER BY recipient)
		FROM deliveries WHERE NOT final`)(&kept)
	f.want(kept, []string{"1 1 sent true queued", "2 2 bounced false ", "3 1 bounced false no such user",
		"6 1 uncertain false the answer was never seen"})
	f.want(f.settle(c).Counts, counts.Counts{Sent: 4, Failed: 1, OptedOut: 1, PossiblyTwice: 1})
	f.want(f.ended(true).Recipients, int64(6))
}

func TestIntentsThatAreLeftBesideAnOutcomeMakeNoSecondOne(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 3, 3)
	c := f.claim(1, true)
	f.intend(c, 1, 1)
	f.intend(c, 2, 1)
	f.intend(c, 2, 2)
	f.exec(
		`INSERT INTO deliveries (mailing, recipient, attempt, status, final) VALUES ($1, 1, 0, 'failed', true)`,
		f.key,
	)
	c = f.claim(1, true)
	f.want(f.finals(1), []string{"0 failed"})
	f.want(f.finals(2), []string{"2 uncertain"})
	f.send(c, 3)
	f.want(f.settle(c).Counts, counts.Counts{Sent: 1, Failed: 1, Uncertain: 1})
}

func TestWhoCannotBeRenderedAgainAndMayHaveTheMailIsUncertainAndNotFailed(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 4, 4)
	c := f.claim(1, false)
	f.intend(c, 1, 1)
	f.intend(f.claim(1, false), 1, 2)
	c = f.claim(1, false) // both attempts are uncertain
	f.send(c, 2)
	f.refuse(c, 3, 1, "later")
	if err := f.ledger.DropSpool(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	var failures []ledger.Failure
	for r := int32(1); r <= 4; r++ {
		failures = append(failures, ledger.Failure{Recipient: r, Reason: "no page"})
	}
	if err := f.ledger.Store(t.Context(), f.batch(1), []byte("again"), failures); err != nil {
		t.Fatal(err)
	}
	f.want(
		[][]string{f.finals(1), f.finals(2), f.finals(3), f.finals(4)},
		[][]string{{"2 uncertain"}, {"1 sent"}, {"0 failed"}, {"0 failed"}},
	)
	f.want(f.settle(f.claim(1, false)).Counts, counts.Counts{Sent: 1, Failed: 2, Uncertain: 1})
}

func TestADatabaseWithTwoOutcomesOfOneRecipientIsMigrated(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1, 1)
	f.exec(`DROP INDEX deliveries_outcome`)
	f.exec(`ALTER TABLE mailings DROP COLUMN suppression`)
	f.exec(`INSERT INTO deliveries (mailing, recipient, attempt, status, final) VALUES
		(1, 1, 0, 'failed', true), (1, 1, 1, 'uncertain', true), (1, 1, 2, 'sent', true), (1, 1, 3, 'bounced', true),
		(1, 2, 1, 'sent', true), (1, 2, 2, 'sent', true), (1, 3, 1, 'sent', true), (1, 3, 2, 'intent', false)`)
	migration, err := os.ReadFile("../database/migrations/00006_one_outcome.sql")
	if err != nil {
		t.Fatal(err)
	}
	up, _, _ := strings.Cut(string(migration), "-- +goose Down")
	f.exec(up)
	f.want([][]string{f.finals(1), f.finals(2), f.finals(3)}, [][]string{{"2 sent"}, {"2 sent"}, {"1 sent"}})
}

func TestABatchThatIsTooLargeForPostgreSQLSaysWhatToDo(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1, 1)
	// Nobody may read that memory: who tries to send it dies.
	unreadable, err := syscall.Mmap(-1, 0, 1<<30, syscall.PROT_NONE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Munmap(unreadable) }()
	for _, size := range []int{ledger.MaxSpool + 1, 1 << 30} {
		err := f.ledger.Store(t.Context(), f.batch(1), unreadable[:size], nil)
		if !errors.Is(err, ledger.ErrTooLarge) {
			t.Errorf("%d bytes: got %v", size, err)
		}
	}
}

// Kept messages that cannot be read are no reason to stop: they are rendered again.
func TestDeferredRecipientsWhoseMessagesCannotBeReadAreRenderedAgain(t *testing.T) {
	t.Parallel()
	nothing := func([]int32, [][]byte) ([]byte, error) { return nil, nil }
	for _, damaged := range []string{"when the batch is settled", "when they are gathered"} {
		t.Run(damaged, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, 4, 2)
			for n, keep := range map[int]func([]int32) ([]byte, error){1: kept, 2: kept} {
				if damaged == "when the batch is settled" {
					keep = func([]int32) ([]byte, error) { return nil, nil }
				}
				c := f.claim(n, false)
				f.send(c, int32(2*n-1))
				f.refuse(c, int32(2*n), 1, "later")
				s, err := f.ledger.Settle(t.Context(), c, soon, keep)
				if err != nil || !s.Closed || s.Deferred != 1 || s.NextRound.IsZero() {
					t.Fatalf("%+v, %v", s, err)
				}
				again := f.claim(n, false).Settled // as the next attempt is told after a lost answer
				f.want(fmt.Sprint(again.Closed, again.Deferred, again.NextRound.Equal(s.NextRound)), "true 1 true")
			}
			f.makeDue()
			g, err := f.ledger.Gather(
				t.Context(),
				f.key,
				ledger.Gathering{Known: 2, Size: 2, Linger: time.Hour, Pack: nothing},
			)
			if err != nil {
				t.Fatal(err)
			}
			f.want(g, ledger.Gathered{Unrendered: []int{3}})
			f.want(f.rendered(3), false)
			var blobs, marked int
			f.row(`SELECT (SELECT count(*) FROM spool),
				(SELECT count(rendered_at) FROM batches WHERE number = 3)`)(&blobs, &marked)
			f.want([]int{blobs, marked}, []int{0, 0})
			if err := f.ledger.Store(t.Context(), f.batch(3), []byte("again"), nil); err != nil {
				t.Fatal(err)
			}
			c := f.claim(3, false)
			f.want(c.Tried, map[int32]ledger.Tried{2: {Attempts: 1}, 4: {Attempts: 1}})
		})
	}
}
