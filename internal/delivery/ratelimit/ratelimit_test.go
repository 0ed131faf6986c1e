package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/database"
	"directmailer/internal/delivery/rate"
	"directmailer/internal/delivery/ratelimit"
	"directmailer/internal/dev/servertest"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

func open(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	pool := servertest.Pool(t, url, 4)
	return pool
}

// workers are pacers as they are in workers of their own: each with its own connections, clock and
// knowledge.
func workers(t testing.TB, url string, n int) []*ratelimit.Pacer {
	t.Helper()
	var all []*ratelimit.Pacer
	for range n {
		all = append(all, ratelimit.New(open(t, url)))
	}
	return all
}

func parse(t testing.TB, text string) rate.Rate {
	t.Helper()
	r, err := rate.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func set(t testing.TB, p *ratelimit.Pacer, s ratelimit.Scope, text string) {
	t.Helper()
	if err := p.Set(t.Context(), s, parse(t, text)); err != nil {
		t.Fatal(err)
	}
}

// take returns how long the caller has to wait before it asks again; 0: it has the turn.
func take(ctx context.Context, p *ratelimit.Pacer, scopes []ratelimit.Scope) (time.Duration, error) {
	refusal, err := p.Ask(ctx, scopes)
	return refusal.Wait, err
}

// wait asks until it has the turn.
func wait(ctx context.Context, p *ratelimit.Pacer, scopes ...ratelimit.Scope) error {
	for ctx.Err() == nil {
		pause, err := take(ctx, p, scopes)
		if pause == 0 || err != nil {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// turn is a message's, taken at some moment between the two.
type turn struct{ asked, had time.Time }

// record is what all workers together have taken.
type record struct {
	mu    sync.Mutex
	turns []turn
}

// run takes turns with the pacer in as many lanes, each as fast as it can, until the time is up.
func (r *record) run(ctx context.Context, t testing.TB, p *ratelimit.Pacer, lanes int, scopes ...ratelimit.Scope) {
	var all sync.WaitGroup
	for range lanes {
		all.Go(func() {
			for ctx.Err() == nil {
				asked := time.Now()
				wait, err := take(ctx, p, scopes)
				if err != nil {
					if ctx.Err() == nil {
						t.Error(err)
					}
					break
				}
				if wait == 0 {
					r.add(turn{asked, time.Now()})
					continue
				}
				select {
				case <-time.After(wait):
				case <-ctx.Done():
				}
			}
		})
	}
	all.Wait()
}

// excess is by how many messages the worst of all windows of time has more than the rate allows. A
// window of length w may have rate × w, and 1, and as many as the rate has in the time by which a
// turn may be late: two turns of the lowest rate that was set meanwhile, or 10 ms. Only turns that
// certainly lie within the window are counted.
func (r *record) excess(limit, lowest rate.Rate) float64 {
	interval := float64(limit.Interval())
	late := max(2*float64(lowest.Interval()), float64(10*time.Millisecond))
	asked, had := make([]time.Time, len(r.turns)), make([]time.Time, len(r.turns))
	for i, t := range r.turns {
		asked[i], had[i] = t.asked, t.had
	}
	slices.SortFunc(asked, time.Time.Compare)
	slices.SortFunc(had, time.Time.Compare)
	// From the i-th that was asked for to the j-th that was had there are at least j-i+1. Worst is
	// the i with the greatest asked-i×interval.
	worst, latest := math.Inf(-1), math.Inf(-1)
	for j := range had {
		latest = max(latest, float64(asked[j].Sub(asked[0]))-float64(j)*interval)
		worst = max(worst, (latest-late-(float64(had[j].Sub(asked[0]))-float64(j)*interval))/interval)
	}
	return worst
}

// check is the property that always holds.
func (r *record) check(t testing.TB, limit rate.Rate) {
	t.Helper()
	r.checkOfSeveral(t, limit, limit)
}

// checkOfSeveral is check for several rates, one after the other: the highest and the lowest.
func (r *record) checkOfSeveral(t testing.TB, limit, lowest rate.Rate) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if excess := r.excess(limit, lowest); excess > 0 {
		t.Errorf("%s: of %d messages, the worst window of time has %.1f too many", limit, len(r.turns), excess)
	}
}

func (r *record) add(t turn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turns = append(r.turns, t)
}

func (r *record) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.turns)
}

// since counts the turns that were asked for after a time.
func (r *record) since(at time.Time) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.turns {
		if t.asked.After(at) {
			n++
		}
	}
	return n
}

// start has each pacer run in the background until stop is called.
func (r *record) start(t testing.TB, all []*ratelimit.Pacer, lanes int, scopes ...ratelimit.Scope) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, p := range all {
		running.Go(func() { r.run(ctx, t, p, lanes, scopes...) })
	}
	return func() { cancel(); running.Wait() }
}

// until polls a condition that must come true.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in five minutes there was no sign of: %s", what)
		}
	}
}

var (
	domain = ratelimit.OfDomain("example.com")
	mx     = ratelimit.OfDropPoint("mx")
)

func TestNoWindowOfTimeHasMoreThanTheRate(t *testing.T) {
	t.Parallel()
	for _, limit := range []string{"30/min", "20/s", "300/s", "10000/s"} {
		t.Run(limit, func(t *testing.T) {
			r, url := parse(t, limit), servertest.Database(t)
			set(t, workers(t, url, 1)[0], domain, limit)
			var all record
			began := time.Now()
			stop := all.start(t, workers(t, url, 3), 3, domain)
			// Far less than there should be, for a machine that is busy with other things.
			length := max(2*time.Second, 2*r.Interval())
			until(
				t,
				"messages",
				func() bool { return time.Since(began) > length && all.count() > int(length/r.Interval())/4 },
			)
			stop()
			all.check(t, r)
			t.Logf("%d messages, %.1f %% of the rate, and %.1f from too many", len(all.turns),
				100*float64(len(all.turns))*float64(r.Interval())/float64(time.Since(began)), -all.excess(r, r))
		})
	}
}

func TestTurnsThatWereNotTakenInTimeAreLost(t *testing.T) {
	t.Parallel()
	for _, limit := range []string{"20/s", "2000/s"} {
		p, r := workers(t, servertest.Database(t), 1)[0], parse(t, limit)
		set(t, p, domain, limit)
		var all record
		for range 5 {
			stop := all.start(t, []*ratelimit.Pacer{p}, 2, domain)
			had := all.count()
			until(t, "a message", func() bool { return all.count() > had+int(r.Count)/5 }) // so that it holds turns
			stop()
			stopped := time.Now()
			until(t, "turns that pass", func() bool { return time.Since(stopped) > 150*time.Millisecond })
		}
		all.check(t, r)
	}
}

func TestWorkersThatAreKilledAndStartedAgainSendNoBurst(t *testing.T) {
	t.Parallel()
	for _, limit := range []string{"2/s", "1000/s"} {
		url, r := servertest.Database(t), parse(t, limit)
		set(t, workers(t, url, 1)[0], domain, limit)
		var all record
		for range 10 { // each time with its lease in hand
			had := all.count()
			stop := all.start(t, workers(t, url, 2), 3, domain)
			until(t, "a message", func() bool { return all.count() > had })
			stop()
		}
		all.check(t, r)
	}
}

func TestALowerRateIsKeptWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	url := servertest.Database(t)
	operator := workers(t, url, 1)[0]
	set(t, operator, domain, "1000/s")
	var all record
	stop := all.start(t, workers(t, url, 3), 3, domain)
	until(t, "messages", func() bool { return all.count() > 500 })
	set(t, operator, domain, "1/min")
	changed := time.Now()
	until(t, "time", func() bool { return time.Since(changed) > 3*time.Second })
	stop()
	all.check(t, parse(t, "1000/s"))
	if n := all.since(changed.Add(2 * time.Second)); n > 0 {
		t.Errorf("%d messages two seconds after the change, when the next was to come after a minute", n)
	}
}

func TestTurnsOfAHigherRateAreGivenUp(t *testing.T) {
	t.Parallel()
	both := workers(t, servertest.Database(t), 2)
	set(t, both[0], domain, "1/s")
	ask := func() ratelimit.Refusal {
		t.Helper()
		r, err := both[1].Ask(t.Context(), []ratelimit.Scope{domain})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	until(t, "a turn in hand that has not come", func() bool {
		return ask() != ratelimit.Refusal{} && ratelimit.Holds(both[1], domain)
	})
	set(t, both[0], domain, "1/d")
	ratelimit.Age(both[1], 3*time.Second)        // the limits are read again
	until(t, "a turn a day later", func() bool { // an answer about the old rate may be on its way
		r := ask()
		if r == (ratelimit.Refusal{}) {
			t.Fatal("a message went under the old rate")
		}
		return r.Turn > time.Hour
	})
}

func TestAHigherRateIsUsedAtOnce(t *testing.T) {
	t.Parallel()
	url := servertest.Database(t)
	operator := workers(t, url, 1)[0]
	set(t, operator, domain, "1/d")
	var all record
	stop := all.start(t, workers(t, url, 2), 2, domain)
	until(t, "the one message of the day", func() bool { return all.count() == 1 })
	set(t, operator, domain, "500/s")
	changed := time.Now()
	until(t, "more messages", func() bool { return all.count() > 250 })
	stop()
	all.check(t, parse(t, "500/s"))
	// two seconds, on a machine that is not busy; the old rate would take months
	t.Logf("%d messages %s after the change", all.count(), time.Since(changed))
}

func TestALimitCanBeSetAndRemovedWhileMailGoesOut(t *testing.T) {
	t.Parallel()
	url := servertest.Database(t)
	operator := workers(t, url, 1)[0]
	sender := workers(t, url, 1)[0]
	scopes := []ratelimit.Scope{mx, domain}
	limited := func() bool {
		wait, err := take(t.Context(), sender, scopes)
		if err != nil {
			t.Fatal(err)
		}
		return wait > 0
	}
	for range 1000 {
		if limited() {
			t.Fatal("there is no limit, and a message must wait")
		}
	}
	set(t, operator, domain, "1/h")
	until(t, "the limit", limited)
	set(t, operator, domain, "none")
	until(t, "no limit", func() bool { return !limited() })
	for range 1000 {
		if limited() {
			t.Fatal("the limit is removed, and a message must wait")
		}
	}
	if list, err := operator.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("the list has %v, %v", list, err)
	}
}

// The worker that changes a limit does not go on with what it has read before.
func TestAChangeHoldsAtOnceForTheWorkerThatMakesIt(t *testing.T) {
	t.Parallel()
	p := workers(t, servertest.Database(t), 1)[0]
	mustWait := func(when string, want bool) {
		t.Helper()
		r, err := p.Ask(t.Context(), []ratelimit.Scope{domain})
		if err != nil {
			t.Fatal(err)
		}
		if r.Turn > time.Hour != want {
			t.Fatalf("%s: %+v", when, r)
		}
		ratelimit.Age(p, -time.Hour) // what it knows stays fresh
	}
	mustWait("without a limit", false)
	set(t, p, domain, "1/d")
	mustWait("the one message of the day", false)
	mustWait("the second message of the day", true)
	if err := p.Drop(t.Context(), domain); err != nil {
		t.Fatal(err)
	}
	mustWait("after the limit was removed", false)
}

// A worker that has just started holds no turn of before.
func TestAChangeGivesNoTurnAgain(t *testing.T) {
	t.Parallel()
	url := servertest.Database(t)
	operator := workers(t, url, 1)[0]
	set(t, operator, domain, "1/d")
	if err := wait(t.Context(), operator, domain); err != nil {
		t.Fatal(err)
	}
	for _, limit := range []string{"2/d", "1/d", "24/d", "3/d"} {
		set(t, operator, domain, limit)
		pause, err := take(t.Context(), workers(t, url, 1)[0], []ratelimit.Scope{domain})
		if err != nil || pause == 0 {
			t.Errorf("changed to %s: the next message waits for %v, %v", limit, pause, err)
		}
	}
}

// Each change and each repetition must take up where the last turn was given.
func TestChangesGiveNoBurst(t *testing.T) {
	t.Parallel()
	url := servertest.Database(t)
	operator := workers(t, url, 1)[0]
	set(t, operator, domain, "200/s")
	var all record
	stop := all.start(t, workers(t, url, 2), 2, domain)
	for i := range 40 {
		had := all.count()
		set(t, operator, domain, []string{"200/s", "200/s", "100/s", "150/s"}[i%4])
		until(t, "a message", func() bool { return all.count() > had })
	}
	stop()
	all.checkOfSeveral(t, parse(t, "200/s"), parse(t, "100/s"))
}

func TestARefusedMessageTakesNoTurnUnderItsOtherLimits(t *testing.T) {
	t.Parallel()
	p := workers(t, servertest.Database(t), 1)[0]
	mailing, free := ratelimit.OfMailing(7), ratelimit.OfDomain("example.org")
	for _, s := range []ratelimit.Scope{mailing, mx, domain} {
		set(t, p, s, "1/h")
	}
	take := func(want bool, scopes ...ratelimit.Scope) {
		t.Helper()
		if wait, err := take(t.Context(), p, scopes); err != nil || wait == 0 != want {
			t.Errorf("%v: wait %s (%v)", scopes, wait, err)
		}
	}
	take(true, domain, free)
	for range 100 {
		take(false, mailing, mx, domain)
		take(false, domain, mx, mailing)
	}
	take(true, mailing, free, mx)
	take(false, mailing, free)
	take(false, mx)
	take(true, free)
	take(true)
}

func TestUnderTwoLimitsBothAreKept(t *testing.T) {
	t.Parallel()
	url := servertest.Database(t)
	set(t, workers(t, url, 1)[0], mx, "400/s")
	set(t, workers(t, url, 1)[0], domain, "50/s")
	var slow, fast record
	all := workers(t, url, 3)
	stopSlow, stopFast := slow.start(t, all, 2, mx, domain), fast.start(t, all, 2, mx, ratelimit.OfDomain("example.org"))
	until(t, "messages", func() bool { return slow.count() > 75 && fast.count() > 300 })
	stopSlow()
	stopFast()
	slow.check(t, parse(t, "50/s"))
	both := record{turns: slices.Concat(slow.turns, fast.turns)}
	both.check(t, parse(t, "400/s"))
}

// Workers that can send little must not keep turns from one that can send more.
func TestTurnsGoWhereTheyAreUsed(t *testing.T) {
	t.Parallel()
	url := servertest.Database(t)
	set(t, workers(t, url, 1)[0], mx, "400/s")
	all := workers(t, url, 4)
	var little, much record
	ctx, cancel := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	for _, p := range all[1:] {
		busy.Go(func() {
			for wait(ctx, p, mx) == nil {
				little.add(turn{time.Now(), time.Now()})
				select {
				case <-ctx.Done():
				case <-time.After(50 * time.Millisecond): // its server is slow
				}
			}
		})
	}
	stop := much.start(t, all[:1], 3, mx)
	until(t, "messages", func() bool { return little.count() > 60 && much.count() > 200 }) // they find their shares
	// With equal shares, the quick one never has twice as many. As it should be, it has more than six
	// times as many. But a busy machine may make it slow for a while, too: then later messages count.
	untilSoon(t, "three times as many messages of the quick one", func(began time.Time) (enough, ok bool) {
		few, many := little.since(began), much.since(began)
		if enough = few > 100; enough {
			t.Logf("the slow ones have %d, the quick one %d", few, many)
		}
		return enough, many > 3*few
	})
	stop()
	cancel()
	busy.Wait()
}

// untilSoon polls what has happened since a moment until that is enough to judge. If it is not ok,
// it begins again with another moment: the machine may be busy for a while.
func untilSoon(t testing.TB, what string, check func(began time.Time) (enough, ok bool)) {
	t.Helper()
	began := time.Now()
	until(t, what, func() bool {
		enough, ok := check(began)
		if enough && !ok {
			began = time.Now()
		}
		return enough && ok
	})
}

func TestBusyWorkersShare(t *testing.T) {
	t.Parallel()
	url := servertest.Database(t)
	set(t, workers(t, url, 1)[0], mx, "600/s")
	var records [3]record
	for i, p := range workers(t, url, len(records)) {
		defer records[i].start(t, []*ratelimit.Pacer{p}, 3, mx)()
		until(t, "messages", func() bool { return records[i].count() > 100 }) // the first takes all, until there is a second
	}
	untilSoon(t, "messages of all workers, side by side", func(began time.Time) (enough, ok bool) {
		if slices.ContainsFunc([]int{0, 1, 2}, func(i int) bool { return records[i].since(began) < 200 }) {
			return false, false
		}
		by, changes := sharesSince(&records, began)
		all := by[0] + by[1] + by[2]
		t.Logf("of %d messages they had %d, and %d times the next was another's", all, by, changes)
		// The next is another's at two of three, if they send side by side, and next to never, if they
		// send one after the other.
		return true, slices.Max(by[:])*5 <= 3*all && changes*4 >= all
	})
}

// sharesSince returns how many turns each worker has had since a moment, and how often the next one
// was another worker's.
func sharesSince(records *[3]record, began time.Time) (by [3]int, changes int) {
	type whose struct {
		turn
		worker int
	}
	var all []whose
	for i := range records {
		records[i].mu.Lock()
		for _, had := range records[i].turns {
			if had.asked.After(began) {
				all = append(all, whose{had, i})
			}
		}
		records[i].mu.Unlock()
	}
	slices.SortFunc(all, func(a, b whose) int { return a.had.Compare(b.had) })
	for i, w := range all {
		by[w.worker]++
		if i > 0 && all[i-1].worker != w.worker {
			changes++
		}
	}
	return by, changes
}

func TestWithoutTheDatabaseNothingIsSent(t *testing.T) {
	t.Parallel()
	server := servertest.OwnPostgres(t)
	url := server.URL("mail")
	all := workers(t, url, 2)
	set(t, all[0], domain, "200/s")
	var sent record
	// untilItFails takes turns until there is an error, which must say that the database is away.
	untilItFails := func(p *ratelimit.Pacer, scope ratelimit.Scope) {
		until(t, "an error", func() bool {
			asked := time.Now()
			wait, err := take(t.Context(), p, []ratelimit.Scope{scope})
			if err == nil && wait == 0 && scope == domain {
				sent.add(turn{asked, time.Now()})
			}
			if err != nil && !database.Unavailable(err) {
				t.Errorf("got %v, which does not say that the database is away", err)
			}
			return err != nil
		})
	}
	for _, p := range all {
		for range 100 {
			asked := time.Now()
			if err := wait(t.Context(), p, domain); err != nil {
				t.Fatal(err)
			}
			sent.add(turn{asked, time.Now()})
		}
	}
	server.Kill()
	killed := time.Now()
	untilItFails(all[0], domain)
	untilItFails(all[1], ratelimit.OfDomain("example.org")) // nobody knows whether it has a limit by now
	if n := sent.since(killed); n > 200 {
		t.Errorf("%d messages without the database", n)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		for n := 0; n < 50; {
			asked := time.Now()
			if err := wait(t.Context(), p, domain); err == nil {
				sent.add(turn{asked, time.Now()})
				n++
			} else if !database.Unavailable(err) {
				t.Fatal(err)
			}
		}
	}
	sent.check(t, parse(t, "200/s"))
}

func TestAServersClockThatIsSetBackStopsNothing(t *testing.T) {
	t.Parallel()
	url := servertest.Database(t)
	p := workers(t, url, 1)[0]
	set(t, p, domain, "10/s")
	if err := wait(t.Context(), p, domain); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, url).Exec(t.Context(),
		`UPDATE rate_limits SET frame_at = frame_at + 86400 * 1000000000::bigint`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := wait(ctx, workers(t, url, 1)[0], domain); err != nil {
		t.Error(err)
	}
}

func TestSetRepeatedChangesNothingAndListShowsAll(t *testing.T) {
	t.Parallel()
	p := workers(t, servertest.Database(t), 1)[0]
	want := []ratelimit.Limit{{Scope: mx, Rate: parse(t, "500/s")}, {Scope: domain, Rate: parse(t, "20/min")},
		{
			Scope: ratelimit.OfMailing(9),
			Rate:  parse(t, "86400000000/d"),
		}, {Scope: ratelimit.OfMailing(10), Rate: parse(t, "1000/h")}}
	var first []ratelimit.Limit
	for range 2 {
		for _, l := range slices.Backward(want) {
			set(t, p, l.Scope, l.Rate.String())
		}
		list, err := p.List(t.Context())
		if err != nil || len(list) != len(want) {
			t.Fatalf("%v, %v", list, err)
		}
		for i, l := range list {
			if l.Scope != want[i].Scope || l.Rate != want[i].Rate || time.Since(l.UpdatedAt).Abs() > time.Hour {
				t.Errorf("%v, want %v", l, want[i])
			}
			if first != nil && !l.UpdatedAt.Equal(first[i].UpdatedAt) {
				t.Errorf("%v is taken for a change", l)
			}
		}
		first = list
	}
	if err := p.Drop(t.Context(), ratelimit.OfMailing(9)); err != nil {
		t.Fatal(err)
	}
	if list, err := p.List(t.Context()); err != nil || len(list) != 3 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestWhatCannotBeALimitIsRefused(t *testing.T) {
	t.Parallel()
	p := workers(t, servertest.Database(t), 1)[0]
	for _, s := range []ratelimit.Scope{
		{}, ratelimit.OfMailing(0),
		{Kind: 9, Name: "x"}, {Kind: ratelimit.Mailing, Name: "spring"}, {Kind: ratelimit.Mailing, Name: "+1"},
		ratelimit.OfDomain(""), ratelimit.OfDomain("Example.com"), ratelimit.OfDomain("müller.example"),
		ratelimit.OfDomain("a@example.com"),
		ratelimit.OfDropPoint(""), ratelimit.OfDropPoint("m x"), ratelimit.OfDropPoint("m\x00"),
	} {
		if err := p.Set(t.Context(), s, parse(t, "1/s")); err == nil {
			t.Errorf("%v is taken", s)
		}
	}
	if err := p.Set(t.Context(), mx, rate.Rate{Count: 1, Per: time.Millisecond}); err == nil {
		t.Error("a rate that cannot be written is taken")
	}
	if list, err := p.List(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestAScopeIsReadAsPeopleWriteIt(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]ratelimit.Scope{
		"mx": mx, "example.com": domain, "Example.COM": domain, "Müller.example": ratelimit.OfDomain("xn--mller-kva.example"),
		"mx-2": ratelimit.OfDropPoint("mx-2"),
	} {
		if got, err := ratelimit.ParseScope(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "a b", "ann@example.com", ".", "example.", ".com", "exa mple.com",
		"example.com\r\nx", "[192.0.2.1]", "MX", "a--b", "-mx", "mx!", strings.Repeat("x", 64)} {
		if got, err := ratelimit.ParseScope(text); err == nil {
			t.Errorf("%q is taken as %v", text, got)
		}
	}
}

func TestATakeThatIsCancelledEnds(t *testing.T) {
	t.Parallel()
	p := workers(t, servertest.Database(t), 1)[0]
	set(t, p, domain, "1/d")
	if err := wait(t.Context(), p, domain); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- wait(ctx, p, domain) }()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestMessagesWithoutALimitCostNoMemory(t *testing.T) {
	p := workers(t, servertest.Database(t), 1)[0]
	set(t, p, domain, "1/s")
	scopes := []ratelimit.Scope{ratelimit.OfMailing(1), mx, {}}
	domains := make([]string, 10000)
	for i := range domains {
		domains[i] = fmt.Sprintf("d%d.example", i)
	}
	i := 0
	allocated := testing.AllocsPerRun(len(domains), func() {
		scopes[2] = ratelimit.OfDomain(domains[i%len(domains)])
		if wait, err := take(t.Context(), p, scopes); err != nil || wait != 0 {
			t.Error(wait, err)
		}
		i++
	})
	if allocated >= 1 { // the limits are read again now and then
		t.Errorf("%.1f allocations a message", allocated)
	}
}

// A mailing may have a thousand limits of its own, and thousands of mailings may wait for their
// date. They cost the workers that send others nothing.
func TestAWorkerReadsTheLimitsOfTheMailingsThatItSendsOnly(t *testing.T) {
	t.Parallel()
	url := servertest.Database(t)
	both := workers(t, url, 2)
	for mailing := int64(1); mailing <= 5; mailing++ {
		set(t, both[0], ratelimit.OfMailing(mailing), "1/d")
		set(t, both[0], domain.In(mailing), "1/d")
	}
	set(t, both[0], domain, "1000/s")
	p := both[1]
	ask := func(scopes ...ratelimit.Scope) bool {
		t.Helper()
		r, err := p.Ask(t.Context(), scopes)
		if err != nil {
			t.Fatal(err)
		}
		return r == ratelimit.Refusal{}
	}
	ask(domain)
	if n := ratelimit.Known(p); n != 1 {
		t.Errorf("%d limits are known, want that of all mailings", n)
	}
	for mailing := int64(2); mailing <= 3; mailing++ {
		if !ask(domain.In(mailing)) || ask(domain.In(mailing)) || ask(ratelimit.OfMailing(mailing), domain.In(mailing)) {
			t.Errorf("the first message of mailing %d did not keep to its limits", mailing)
		}
	}
	if n := ratelimit.Known(p); n != 5 {
		t.Errorf("%d limits are known, want those of two mailings besides", n)
	}
	listed := func(want int, removed error) {
		t.Helper()
		all, err := p.List(t.Context())
		if err != nil || removed != nil || len(all) != want {
			t.Errorf("%d limits are listed, want %d; %v, %v", len(all), want, err, removed)
		}
	}
	listed(11, nil)
	listed(9, p.DropMailing(t.Context(), 2))
	listed(9, p.DropMailing(t.Context(), 0)) // no mailing: the limits of all stay
	listed(8, p.Drop(t.Context(), domain.In(3)))
	listed(7, p.Drop(t.Context(), domain))
}

func BenchmarkTake(b *testing.B) {
	scopes := []ratelimit.Scope{ratelimit.OfMailing(1), mx, ratelimit.OfDomain("example.org")}
	bench := func(b *testing.B, p *ratelimit.Pacer) {
		turns := 0
		b.ReportAllocs()
		for b.Loop() {
			if wait, err := take(b.Context(), p, scopes); err != nil {
				b.Fatal(err)
			} else if wait == 0 {
				turns++
			}
		}
		b.ReportMetric(float64(turns)/b.Elapsed().Seconds(), "turns/s")
	}
	b.Run("no limits", func(b *testing.B) { bench(b, workers(b, servertest.Database(b), 1)[0]) })
	b.Run("no limits on these", func(b *testing.B) {
		p := workers(b, servertest.Database(b), 1)[0]
		set(b, p, domain, "20/s")
		bench(b, p)
	})
	b.Run("100000 a second", func(b *testing.B) { // most are refused: it is how long one call takes
		p := workers(b, servertest.Database(b), 1)[0]
		set(b, p, mx, "100000/s")
		bench(b, p)
	})
}

// How much of a rate is reached by workers that always have messages.
func BenchmarkRate(b *testing.B) {
	for _, limit := range []string{"1/s", "20/s", "300/s", "1000/s", "10000/s"} {
		for _, n := range []int{1, 3} {
			b.Run(fmt.Sprintf("%s, %d workers", limit, n), func(b *testing.B) {
				url, r := servertest.Database(b), parse(b, limit)
				all := workers(b, url, n)
				set(b, all[0], mx, limit)
				var had record
				stop := had.start(b, all, 8, mx)
				began := time.Now()
				until(b, "messages", func() bool { return had.count() > 3 && time.Since(began) > 3*time.Second })
				stop()
				first, last := had.turns[0].had, had.turns[len(had.turns)-1].had
				b.ReportMetric(100*float64(len(had.turns)-1)*float64(r.Interval())/float64(last.Sub(first)), "%ofrate")
				b.ReportMetric(0, "ns/op")
				had.check(b, r)
			})
		}
	}
}

// A batch that hears of a long time gives its place back and rests. So a worker looks at the limits
// before it says so: another one may have removed them a moment ago.
func TestALongWaitIsNotToldByALimitThatIsGone(t *testing.T) {
	t.Parallel()
	both := workers(t, servertest.Database(t), 2)
	mx := []ratelimit.Scope{ratelimit.OfDropPoint("mx")}
	set(t, both[0], mx[0], "1/d")
	if refusal, err := both[1].Ask(t.Context(), mx); err != nil || refusal.Turn != 0 {
		t.Fatalf("the first message: %+v, %v", refusal, err)
	}
	refused := func() ratelimit.Refusal {
		refusal, err := both[1].Ask(t.Context(), mx)
		if err != nil {
			t.Fatal(err)
		}
		return refusal
	}
	if r := refused(); r.Turn < time.Hour || r.Wait > time.Second || r.Of != ratelimit.DropPoint {
		t.Fatalf("the second message: %+v", r)
	}
	// The limit that is waited for longest is named, in whichever order they stand.
	set(t, both[1], domain, "1/min")
	if r, err := both[1].Ask(t.Context(), []ratelimit.Scope{domain}); err != nil || r.Turn != 0 {
		t.Fatalf("the first message to the domain: %+v, %v", r, err)
	}
	for _, scopes := range [][]ratelimit.Scope{{mx[0], domain}, {domain, mx[0]}} {
		if r, err := both[1].Ask(t.Context(), scopes); err != nil || r.Turn < time.Hour || r.Of != ratelimit.DropPoint {
			t.Errorf("under two limits: %+v, %v", r, err)
		}
	}
	if err := both[0].Drop(t.Context(), mx[0]); err != nil {
		t.Fatal(err)
	}
	ratelimit.Age(both[1], 500*time.Millisecond) // still fresh enough to be used
	if r := refused(); r != (ratelimit.Refusal{}) {
		t.Errorf("without a limit: %+v", r)
	}
}
