package ratelimit

import (
	"sync/atomic"
	"testing"
	"time"

	"directmailer/internal/delivery/rate"
)

func TestEveryTurnOfAFrameIsGivenOnce(t *testing.T) {
	t.Parallel()
	for turns := int64(1); turns < 600; turns++ {
		given := make([]int, turns)
		f := newFrame(0, 1, turns)
		for first, n := int64(0), int64(1); first < turns; first, n = first+n, n*2 {
			f.add(first, min(n, turns-first))
			for {
				turn, at, ok := f.first()
				if !ok {
					break
				}
				if at != int64(turn) {
					t.Fatalf("turn %d is at %d", turn, at)
				}
				f.drop(turn)
				given[turn]++
			}
		}
		for turn, n := range given {
			if n != 1 {
				t.Fatalf("of %d turns, number %d is given %d times", turns, turn, n)
			}
		}
	}
}

// A worker with a tenth of the turns must not have to send them all at once.
func TestAShareOfTheTurnsIsSpreadOverTheFrame(t *testing.T) {
	t.Parallel()
	for _, turns := range []int64{10, 64, 150, 500, 999, 5000, 50000} {
		for parts := int64(2); parts <= turns/5 && parts <= 20; parts++ {
			for part := range parts {
				f := newFrame(0, 1, turns)
				share := turns / parts
				f.add(part*share, share)
				last, widest := int64(0), int64(0)
				for {
					turn, at, ok := f.first()
					if !ok {
						break
					}
					widest, last = max(widest, at-last), at
					f.drop(turn)
				}
				if widest = max(widest, turns-last); widest > 4*parts {
					t.Errorf("of %d turns, part %d of %d has a gap of %d", turns, part, parts, widest)
				}
			}
		}
	}
}

func TestATurnIsNeverEarlyWhateverTheClocksShow(t *testing.T) {
	t.Parallel()
	const second = int64(time.Second)
	const ahead = 1_700_000_000 * second // the database's clock minus ours
	var c clock
	c.observe(0, second/10, ahead+second/100) // a slow answer, read early
	if got := c.earliest(ahead + second); got < second {
		t.Errorf("taken %s early", time.Duration(second-got))
	}
	c.observe(second, second+second/1000, ahead+second+second/2000) // a quick one
	if got := c.earliest(ahead + 2*second); got < 2*second || got > 2*second+second/500 {
		t.Errorf("%s from its time", time.Duration(got-2*second))
	}
	c.observe(2*second, 3*second, ahead+2*second+second/10) // after a wait for the row, and then some
	if got := c.earliest(ahead + 4*second); got < 4*second || got > 4*second+second/200 {
		t.Errorf("after a slow answer it is %s from its time", time.Duration(got-4*second))
	}
	c.observe(5*second, 5*second+second/1000, ahead+3*second) // the server's clock was set back
	if got := c.earliest(ahead + 4*second); got < 6*second || got > 6*second+second/500 {
		t.Errorf("after a change of the server's clock it is %s from its time", time.Duration(got-6*second))
	}
}

// Late is not more than allowed, as far as the database's clock is known. But however far away the
// database is, there is time to take a turn.
func TestATurnCanBeTakenUntilItIsTooLate(t *testing.T) {
	t.Parallel()
	const ms = int64(time.Millisecond)
	for _, c := range []struct{ low, top, want int64 }{{0, 0, 10}, {-2, 2, 8}, {-400, 400, 405}} {
		at := &clock{known: true, low: c.low * ms, top: c.top * ms}
		if got := at.latest(0, 10*ms); got != c.want*ms || got <= at.earliest(0) {
			t.Errorf("%+v: a turn can be taken from %s to %s", c, time.Duration(at.earliest(0)), time.Duration(got))
		}
	}
}

// How many turns are asked for follows from what became of the last ones.
func TestAWorkerAsksForAsManyTurnsAsItUses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ taken, lost, refused, want int64 }{
		{0, 0, 0, 62}, {100, 300, 0, 126}, {100, 10, 0, 500}, {0, 100, 0, 1}, {50, 450, 101, 500}, {50, 450, 100, 63},
	} {
		l := &limit{rate: rate.Rate{Count: 1000, Per: time.Second}, more: never}
		l.taken, l.lost, l.refused = c.taken, c.lost, c.refused
		if got := l.due(1, &clock{}, false); got != c.want || l.taken+l.lost+l.refused != 0 {
			t.Errorf("%+v: asked for %d, and counts on from %+v", c, got, l)
		}
	}
	for name, l := range map[string]*limit{"an answer is on its way": {asking: true}, "the last one failed": {retry: 2}} {
		l.rate = rate.Rate{Count: 1, Per: time.Second}
		if got := l.due(1, &clock{}, true); got != 0 {
			t.Errorf("%s: asked for %d turns", name, got)
		}
	}
}

func TestLimitsThatAreNotUsedAreForgotten(t *testing.T) {
	t.Parallel()
	old, now := &atomic.Int64{}, &atomic.Int64{}
	p := &Pacer{began: time.Now().Add(-keepFor - time.Minute), mailings: map[int64]*atomic.Int64{1: old, 2: now}}
	(&limits{mailings: p.mailings}).cover(2, int64(2*time.Minute)) // somebody has asked
	if read := p.sent(); len(read) != 1 || read[2] != now || len(p.mailings) != 1 {
		t.Errorf("the limits of %v are read, and of %v the next time", read, p.mailings)
	}
}

// An answer of the database may be older than a change by this process, and a limit may come back.
func TestAnOldAnswerDoesNotUndoAChange(t *testing.T) {
	t.Parallel()
	mx, perDay := OfDropPoint("mx"), rate.Rate{Count: 1, Per: 24 * time.Hour}
	gone := &limit{scope: mx, rate: perDay, removed: true, more: never}
	p := &Pacer{last: map[Scope]*limit{mx: gone}, changes: 2}
	a := answer{before: 1, after: 2, now: 3, set: []Limit{{Scope: mx, Rate: perDay}}}
	if p.adopt(a, 1, nil) != nil || p.limits.Load() != nil {
		t.Error("an answer of before the change is used")
	}
	if known := p.adopt(a, 2, nil); known == nil || known.of[mx] == nil || known.of[mx].removed {
		t.Errorf("a limit that was removed and set again is %+v", known)
	}
}

func TestNothingWaitsForAClockThatWasSetBack(t *testing.T) {
	t.Parallel()
	const second, day = int64(time.Second), 24 * 3600 * int64(time.Second)
	l := &limit{
		rate:   rate.Rate{Count: 1, Per: time.Second},
		next:   day + second,
		frames: []frame{newFrame(day+second, second, 1)},
		more:   day,
	}
	p := &Pacer{last: map[Scope]*limit{OfDropPoint("mx"): l}}
	p.observe(0, second/1000, day)
	p.observe(second, second+second/1000, day+second)
	p.observe(61*second, 61*second+second/1000, day+61*second+second/100) // no two clocks go alike
	if len(l.frames) != 1 || l.next != day+second {
		t.Fatalf("two answers that agree are taken for a change: %+v", l)
	}
	p.observe(62*second, 62*second+second/1000, 0)
	if now := 62*second + second/100; l.wait(now, &p.clock) >= 0 || l.due(now, &p.clock, true) == 0 {
		t.Errorf("the worker waits for yesterday's time: %+v", l)
	}
}
