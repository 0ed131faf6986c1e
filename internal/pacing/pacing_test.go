package pacing_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/database"
	"directmailer/internal/devtest"
	"directmailer/internal/pacing"
	"directmailer/internal/rate"
)

func TestMain(m *testing.M) { os.Exit(devtest.Main(m)) }

func migrate(ctx context.Context, url string) error {
	_, _, err := database.Migrate(ctx, url)
	return err
}

func open(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := database.Open(t.Context(), url, 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// workers are pacers as they are in workers of their own: each with its own connections, clock and knowledge.
func workers(t testing.TB, url string, n int) []*pacing.Pacer {
	t.Helper()
	var all []*pacing.Pacer
	for range n {
		all = append(all, pacing.New(open(t, url)))
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

func set(t testing.TB, p *pacing.Pacer, s pacing.Scope, text string) {
	t.Helper()
	if err := p.Set(t.Context(), s, parse(t, text)); err != nil {
		t.Fatal(err)
	}
}

// turn is a message's, taken at some moment between the two.
type turn struct{ asked, had time.Time }

// record is what all workers together have taken.
type record struct {
	mu    sync.Mutex
	turns []turn
}

// run takes turns with the pacer in as many lanes, each as fast as it can, until the time is up.
func (r *record) run(ctx context.Context, t testing.TB, p *pacing.Pacer, lanes int, scopes ...pacing.Scope) {
	var all sync.WaitGroup
	for range lanes {
		all.Go(func() {
			var mine []turn
			for ctx.Err() == nil {
				asked := time.Now()
				wait, err := p.Take(ctx, scopes)
				if err != nil {
					if ctx.Err() == nil {
						t.Error(err)
					}
					break
				}
				if wait == 0 {
					mine = append(mine, turn{asked, time.Now()})
					continue
				}
				select {
				case <-time.After(wait):
				case <-ctx.Done():
				}
			}
			r.mu.Lock()
			r.turns = append(r.turns, mine...)
			r.mu.Unlock()
		})
	}
	all.Wait()
}

// excess is by how many messages the worst of all windows of time has more than the rate allows. A window of length w may have
// rate × w, and 1, and as many as the rate has in an interval or 10 ms. Only turns that certainly lie within the window are counted.
func (r *record) excess(limit rate.Rate) float64 {
	interval := float64(limit.Interval())
	late := max(interval, float64(10*time.Millisecond))
	asked, had := make([]time.Time, len(r.turns)), make([]time.Time, len(r.turns))
	for i, t := range r.turns {
		asked[i], had[i] = t.asked, t.had
	}
	slices.SortFunc(asked, time.Time.Compare)
	slices.SortFunc(had, time.Time.Compare)
	// From the i-th that was asked for to the j-th that was had there are at least j-i+1. Worst is the i with the greatest asked-i×interval.
	worst, latest := math.Inf(-1), math.Inf(-1)
	for j := range had {
		latest = max(latest, float64(asked[j].Sub(asked[0]))-float64(j)*interval)
		worst = max(worst, (latest-late-(float64(had[j].Sub(asked[0]))-float64(j)*interval))/interval)
	}
	return worst
}

func TestNoWindowOfTimeHasMoreThanTheRate(t *testing.T) {
	t.Parallel()
	for _, limit := range []string{"30/min", "5/s", "20/s", "300/s", "2000/s", "10000/s"} {
		t.Run(limit, func(t *testing.T) {
			r, domain := parse(t, limit), pacing.OfDomain("example.com")
			url := devtest.Database(t, migrate)
			set(t, workers(t, url, 1)[0], domain, limit)
			ctx, cancel := context.WithTimeout(t.Context(), max(2*time.Second, 3*r.Interval()))
			defer cancel()
			var all record
			var running sync.WaitGroup
			began := time.Now()
			for _, p := range workers(t, url, 3) {
				running.Go(func() { all.run(ctx, t, p, 3, domain) })
			}
			running.Wait()
			ideal := float64(time.Since(began)) / float64(r.Interval())
			if excess := all.excess(r); excess > 0 {
				t.Errorf("the worst window has %.1f messages too many", excess)
			}
			fmt.Printf("%s: %d of %.0f = %.1f%%, excess %.1f\n", limit, len(all.turns), ideal, 100*float64(len(all.turns))/ideal, all.excess(r))
			if float64(len(all.turns)) < ideal/2-1 {
				t.Errorf("%d messages in a time for %.0f", len(all.turns), ideal)
			}
		})
	}
}
