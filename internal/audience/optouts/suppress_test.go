package optouts_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/audience/optouts"
)

func TestAHardBounceSuppressesForGoodAndKeepsItsFirstEvidence(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.suppress(1, optouts.Finding{Key: "a@example.com", Code: "5.1.1", Mailing: "m", At: day(1)})
	f.suppress(0, optouts.Finding{Key: "a@example.com", Code: "5.1.10", Mailing: "n", At: day(9)})
	f.suppress(0, optouts.Finding{Key: "a@example.com", Mailing: "o", At: day(5)}) // it comes late
	f.suppress(0, soft("a@example.com", 1, 10, 11, 12, 13, 14)...)
	var got string
	err := f.pool.QueryRow(t.Context(), `SELECT concat_ws(' ', class, code, origin, mailing, count, first_at = $1,
		last_at = $2, expires_at) FROM suppressions`, day(1), day(9)).Scan(&got)
	if err != nil {
		t.Fatal(err)
	}
	f.want(got, "hard 5.1.1 report m 3 t t")
}

func TestSoftBouncesSuppressByTheirNumberOfMailingsInATime(t *testing.T) {
	t.Parallel()
	days := int(optouts.SoftWindow / (24 * time.Hour))
	for _, c := range []struct {
		name string
		days []int // of the bounces of one mailing each
		want bool
	}{
		{"one too few", []int{1, 2, 3, 4}, false},
		{"enough", []int{1, 2, 3, 4, 5}, true},
		{"within the time", []int{1, 2, 3, 4, days}, true},
		{"the first too long ago", []int{1, 2, 3, 4, days + 1}, false},
		{"all at once", []int{7, 7, 7, 7, 7}, true},
		{"over a longer time, the newest first", []int{220, 170, 120, 70, 20}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			bounces := soft("a@example.com", 1, c.days...)
			for _, b := range bounces[:len(bounces)-1] {
				f.suppress(0, b)
			}
			last := bounces[len(bounces)-1]
			if !c.want {
				f.suppress(0, last)
				return
			}
			f.suppress(1, last)
			var expires time.Time
			if err := f.pool.QueryRow(t.Context(), `SELECT expires_at FROM suppressions`).Scan(&expires); err != nil {
				t.Fatal(err)
			}
			f.want(expires.Equal(last.At.Add(optouts.SoftExpiry)), true)
			f.exec(`DELETE FROM suppressions`)
			f.suppress(0, soft("a@example.com", 6, c.days[4]+days)...) // the others are too long ago
		})
	}
}

// A server that repeats itself is not many mailings.
func TestTheSoftBouncesOfOneMailingCountOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for range 2 * optouts.SoftLimit {
		f.suppress(0, optouts.Finding{Key: "a@example.com", Class: optouts.Soft, Mailing: "m"})
	}
}

func TestAHardBounceReplacesASoftOne(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.suppress(1, soft("a@example.com", 1, 1, 2, 3, 4, 5)...)
	f.suppress(1, optouts.Finding{Key: "a@example.com", Code: "5.1.1", Mailing: "m-6", At: day(6)})
	f.want(f.all(), []string{"a@example.com all bounced m-6 hard 5.1.1"})
}

// A relay that is found out takes back what its bounce messages said, and nothing else.
func TestTheAnswerOfADropPointOutlivesTheBounceMessagesOfItsMailing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.sent("m", 100, true)
	recent := []optouts.Finding{}
	for n := 1; n <= optouts.SoftLimit; n++ {
		recent = append(recent, optouts.Finding{Key: "soft@example.com", Class: optouts.Soft, Mailing: fmt.Sprint("s-", n)})
	}
	f.suppress(1, recent...)
	answered := []optouts.Finding{{Key: "soft@example.com", Code: "5.1.1", Mailing: "m"},
		{Key: "new@example.com", Code: "5.1.1", Mailing: "m"}}
	err := pgx.BeginFunc(t.Context(), f.pool, func(tx pgx.Tx) error {
		_, err := optouts.SuppressAnswered(t.Context(), tx, answered)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	f.suppress(0, findings("m", optouts.Hard, 1, 6)...)
	f.want(f.all(), []string{"new@example.com all bounced m hard 5.1.1", "soft@example.com all bounced m hard 5.1.1"})
}

func TestASoftSuppressionLastsFromTheLastBounceOn(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	now := time.Now().UTC().Truncate(time.Second)
	bounce := func(n int, ago time.Duration) optouts.Finding {
		return optouts.Finding{Key: "a@example.com", Class: optouts.Soft, Mailing: fmt.Sprint("m-", n), At: now.Add(-ago)}
	}
	wantEnd := func(ago time.Duration) {
		t.Helper()
		var end time.Time
		if err := f.pool.QueryRow(t.Context(), `SELECT expires_at FROM suppressions`).Scan(&end); err != nil {
			t.Fatal(err)
		}
		f.want(end.UTC(), now.Add(optouts.SoftExpiry-ago))
	}
	for n := 1; n < optouts.SoftLimit; n++ {
		f.suppress(0, bounce(n, time.Hour))
	}
	f.suppress(1, bounce(5, 2*time.Hour)) // its message was longer on the way
	wantEnd(time.Hour)
	f.suppress(0, bounce(6, 0))
	wantEnd(0)
	f.exec(`UPDATE suppressions SET expires_at = now()`)
	f.suppress(1, bounce(7, 0)) // it had ended
	if _, err := f.store.Lift(t.Context(), []string{"a@example.com"}); err != nil {
		t.Fatal(err)
	}
	f.suppress(0, bounce(8, 0)) // it counts from the beginning
}

// sent makes a mailing that was sent to n recipients: ended, or with them in a closed batch.
func (f *fixture) sent(id string, n int, ended bool) {
	f.Helper()
	if ended {
		f.exec(`INSERT INTO mailings (id, first_run_id, input, list, state, counts)
			VALUES ($1, 'run', '{}', 'l', 'completed', jsonb_build_object('sent', $2::int))`, id, n)
		return
	}
	f.exec(`WITH m AS (INSERT INTO mailings (id, first_run_id, input, list, state)
			VALUES ($1, 'run', '{}', 'l', 'sending') RETURNING key)
		INSERT INTO batches (mailing, number, first, last, sent) SELECT key, 1, 1, $2, $2 FROM m`, id, n)
}

func findings(mailing string, class optouts.Class, from, to int) (all []optouts.Finding) {
	for i := from; i <= to; i++ {
		all = append(all, optouts.Finding{Key: fmt.Sprintf("r%d@example.com", i), Class: class, Mailing: mailing})
	}
	return all
}

// A relay whose recipient map is broken must not empty a list.
func TestAMailingThatBouncesTooOftenSuppressesNobody(t *testing.T) {
	t.Parallel()
	for _, ended := range []bool{false, true} {
		t.Run(fmt.Sprintf("ended %v", ended), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.sent("m", 200, ended)
			f.sent("n", 200, ended)
			f.sent("small", 99, ended)
			f.suppress(1, optouts.Finding{Key: "other@example.com", Code: "5.1.1", Mailing: "n"})
			f.suppress(10, findings("m", optouts.Hard, 1, 10)...) // 5 %
			f.want(len(f.all()), 11)
			f.suppress(0, findings("m", optouts.Hard, 11, 11)...) // one more: also the first are believed no more
			f.want(f.all(), []string{"other@example.com all bounced n hard 5.1.1"})
			f.suppress(0, findings("m", optouts.Hard, 12, 30)...)
			f.suppress(20, findings("small", optouts.Hard, 1, 20)...)
		})
	}
}

func TestFindingsThatCanSuppressNobodyAnyMoreAreDropped(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.sent("closed", 10, true)
	f.sent("open", 10, false)
	f.exec(`UPDATE mailings SET closed_at = now() WHERE id = 'closed'`)
	old, recent := time.Now().Add(-optouts.SoftWindow-time.Hour), time.Now().Add(-optouts.SoftWindow+time.Hour)
	for _, mailing := range []string{"closed", "open", ""} {
		f.suppress(1, optouts.Finding{Key: "hard@" + mailing, Mailing: mailing, At: old},
			optouts.Finding{Key: "soft@" + mailing, Class: optouts.Soft, Mailing: mailing, At: old},
			optouts.Finding{Key: "recent@" + mailing, Class: optouts.Soft, Mailing: mailing, At: recent})
	}
	if err := pgx.BeginFunc(t.Context(), f.pool, func(tx pgx.Tx) error {
		return optouts.Reconsider(t.Context(), tx, "open")
	}); err != nil {
		t.Fatal(err)
	}
	var left []string
	if err := f.pool.QueryRow(t.Context(),
		`SELECT array_agg(address_key ORDER BY address_key) FROM bounce_findings`).Scan(&left); err != nil {
		t.Fatal(err)
	}
	f.want(left, []string{"hard@open", "recent@", "recent@closed", "recent@open", "soft@open"})
	f.want(len(f.all()), 3) // the suppressions stay
}

func TestSoftBouncesOfAMailingThatBouncesTooOftenDoNotCount(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for n := 1; n <= optouts.SoftLimit; n++ {
		f.sent(fmt.Sprintf("m-%d", n), 100, true)
	}
	for n := 1; n < optouts.SoftLimit; n++ {
		f.suppress(0, findings(fmt.Sprintf("m-%d", n), optouts.Soft, 1, 5)...)
	}
	f.suppress(0, findings("m-1", optouts.Soft, 6, 6)...)
	f.suppress(0, findings("m-5", optouts.Soft, 1, 5)...) // the fifth for each, but the first does not count
	f.sent("m-6", 100, true)
	f.suppress(5, findings("m-6", optouts.Soft, 1, 5)...)
}

// At the end of a mailing, the share of its bounces is another than while it ran.
func TestAtTheEndOfAMailingItsBouncesAreReconsidered(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for n := 1; n < optouts.SoftLimit; n++ {
		f.suppress(0, findings(fmt.Sprintf("m-%d", n), optouts.Soft, 1, 10)...)
	}
	f.sent("m", 99, false)
	f.suppress(10, findings("m", optouts.Soft, 1, 10)...)
	f.suppress(10, findings("m", optouts.Hard, 11, 20)...)
	reconsidered := func(sent, want int) {
		t.Helper()
		f.exec(`UPDATE batches SET sent = $1`, sent)
		err := pgx.BeginFunc(t.Context(), f.pool, func(tx pgx.Tx) error {
			return optouts.Reconsider(t.Context(), tx, "m")
		})
		if err != nil {
			t.Fatal(err)
		}
		f.want(len(f.all()), want)
	}
	reconsidered(200, 20)
	reconsidered(200, 20)
	var most int
	err := f.pool.QueryRow(t.Context(), `SELECT max(count) FROM suppressions WHERE class = 'hard'`).Scan(&most)
	if err != nil {
		t.Fatal(err)
	}
	f.want(most, 1) // repeated, it is no further evidence
	reconsidered(199, 0)
	reconsidered(200, 10) // the hard ones again
	if n, err := f.store.LiftMailing(t.Context(), "m"); err != nil || n != 10 {
		t.Errorf("an operator lifts %d, %v", n, err)
	}
	reconsidered(200, 0) // no machine overrules the operator
}
