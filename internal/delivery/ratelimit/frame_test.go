package ratelimit

import (
	"testing"
	"time"

	"directmailer/internal/delivery/rate"
)

func TestEveryTurnOfAFrameIsGivenOnce(t *testing.T) {
	t.Parallel()
	for turns := int64(1); turns < 600; turns++ {
		given := make([]int, turns)
		for first, n := int64(0), int64(1); first < turns; first, n = first+n, n*2 {
			f := newFrame(0, 1, turns)
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
	if len(l.frames) != 1 || l.next != day+second {
		t.Fatalf("two answers that agree are taken for a change: %+v", l)
	}
	p.observe(2*second, 2*second+second/1000, 0)
	if now := 2*second + second/100; l.wait(now, &p.clock) >= 0 || l.due(now, &p.clock, true) == 0 {
		t.Errorf("the worker waits for yesterday's time: %+v", l)
	}
}
