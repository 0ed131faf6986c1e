package optouts_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"directmailer/internal/audience/optouts"
)

func (f *fixture) open(w *optouts.Watch, scopes ...string) *optouts.View {
	f.Helper()
	v, err := w.Open(f.Context(), scopes)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(v.Close)
	return v
}

func (f *fixture) why(v *optouts.View, address string) string {
	f.Helper()
	why, err := v.Why(f.Context(), address)
	if err != nil {
		f.Fatal(err)
	}
	return why
}

// learns waits until the view knows that the address has opted out. A question that is asked two
// seconds after the request, or later, must know of it, however slow the machine is.
func (f *fixture) learns(v *optouts.View, address, want string) {
	f.Helper()
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		late := time.Since(began) > 2*time.Second
		if why := f.why(v, address); why != "" || late {
			f.want(why, want)
			return
		}
	}
}

func TestAWatchLearnsOfRequestsOfTheMailingsScopesWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.add(1, optouts.Request{Key: "before@example.com"}) // the claim finds it
	w := optouts.NewWatch(f.pool)
	v, other := f.open(w, "all", "list:people", "topic:news"), f.open(w, "topic:offers")
	f.want(f.why(v, "a@example.com"), "")
	f.add(4, optouts.Request{Key: "a@example.com"}, optouts.Request{Key: "@example.org", Scope: optouts.List("people")},
		optouts.Request{Key: "c@example.com", Scope: optouts.Topic("news"), Reason: optouts.Complaint},
		optouts.Request{Key: "d@example.com", Scope: optouts.Topic("offers")})
	f.learns(v, "A@Example.com", "opted out of all mail (asked)")
	f.learns(v, "x@example.org", "opted out of list people (asked, whole domain)")
	f.learns(v, "c@example.com", "opted out of topic news (complaint)")
	f.learns(other, "d@example.com", "opted out of topic offers (asked)")
	for _, address := range []string{"a@example.com", "c@example.com", "x@example.org"} {
		f.want(f.why(other, address), "")
	}
	for _, address := range []string{"d@example.com", "before@example.com", "x@sub.example.org", "b@example.com"} {
		f.want(f.why(v, address), "")
	}
}

// A transaction that began before the view, and that others have overtaken, is found as well.
func TestAWatchFindsARequestThatIsCommittedLate(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	tx, err := f.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }()
	if _, err := optouts.Add(t.Context(), tx, []optouts.Request{{Key: "late@example.com"}}); err != nil {
		t.Fatal(err)
	}
	v := f.open(optouts.NewWatch(f.pool), "all")
	f.add(1, optouts.Request{Key: "a@example.com"})
	f.learns(v, "a@example.com", "opted out of all mail (asked)")
	f.want(f.why(v, "late@example.com"), "")
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.learns(v, "late@example.com", "opted out of all mail (asked)")
}

// What a view that was opened earlier has to know is not forgotten for one that was opened later.
func TestAWatchKeepsRequestsForTheOldestView(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := optouts.NewWatch(f.pool)
	v := f.open(w, "all")
	f.add(1, optouts.Request{Key: "a@example.com"})
	f.learns(v, "a@example.com", "opted out of all mail (asked)")
	f.open(w, "all").Close()
	for n := range 3 { // three more looks
		key := fmt.Sprintf("b%d@example.com", n)
		f.add(1, optouts.Request{Key: key})
		f.learns(v, key, "opted out of all mail (asked)")
	}
	f.want(f.why(v, "a@example.com"), "opted out of all mail (asked)")
}

// An import of a large file is more than a worker remembers: it asks about each message meanwhile.
func TestAWatchThatIsFloodedAsksForEachMessage(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	v := f.open(optouts.NewWatch(f.pool), "all")
	f.exec(`INSERT INTO opt_outs (address_key, scope, reason)
		SELECT 'r' || n || '@example.com', 'all', 'imported' FROM generate_series(1, 20000) n
		UNION ALL VALUES ('@example.org', 'all', 'imported')`)
	f.learns(v, "r20000@example.com", "opted out of all mail (imported)")
	f.want(f.why(v, "x@example.org"), "opted out of all mail (imported, whole domain)")
	f.learns(v, "r1@example.com", "opted out of all mail (imported)")
	f.want(f.why(v, "other@example.com"), "")
}

// Without an answer of the database nobody knows, and nothing is guessed.
func TestAWatchWithoutADatabaseSaysSo(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	v := f.open(optouts.NewWatch(f.pool), "all")
	f.want(f.why(v, "a@example.com"), "")
	f.exec(`ALTER TABLE opt_outs RENAME TO gone`)
	f.exec(`DROP VIEW exclusions`)
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		late := time.Since(began) > 2*time.Second
		if _, err := v.Why(t.Context(), "a@example.com"); err != nil {
			return
		}
		if late {
			t.Fatal("an old answer is taken for a new one")
		}
	}
}

// A database that was restored from another server has rows of transactions that this one has not
// reached yet.
func TestAWatchIgnoresTransactionNumbersOfAnotherServer(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.exec(`INSERT INTO opt_outs (address_key, reason, written_by) VALUES ('old@example.com', 'asked', '999999999')`)
	v := f.open(optouts.NewWatch(f.pool), "all")
	f.add(1, optouts.Request{Key: "a@example.com"})
	f.learns(v, "a@example.com", "opted out of all mail (asked)")
	f.want(f.why(v, "old@example.com"), "")
}
