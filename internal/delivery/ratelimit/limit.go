package ratelimit

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"directmailer/internal/delivery/rate"
)

const (
	// frameLength is how long the turns of a frame last, unless a single one lasts longer.
	frameLength = 500 * time.Millisecond
	// lookahead is how long before its start a frame is opened.
	lookahead = 200 * time.Millisecond
	// grace is how late a turn may be taken at least. It makes up for a scheduler that is late, and
	// is the burst at high rates.
	grace = 10 * time.Millisecond
	// graceTurns is how late a turn may be taken, in turns, if that is later: the burst at low
	// rates. With less, messages under several limits would too seldom find turns of all of them at
	// the same time.
	graceTurns = 2
)

const never = math.MaxInt64

// shapeOf is how a rate is laid out on the database's clock.
func shapeOf(r rate.Rate) (spacing, turns int64) {
	spacing = int64(r.Interval())
	return spacing, max(1, int64(frameLength)/spacing)
}

// limit is a limit as the worker has read it, and the turns that the worker holds. The Pacer's
// mutex guards it.
type limit struct {
	scope   Scope
	rate    rate.Rate
	removed bool // by somebody else, as a lease has found

	frames []frame // in order of time
	newest int64   // start of the newest frame that was asked for
	got    int64   // turns of it that we were given
	left   int64   // turns of it that nobody had, then

	next   int64 // when the frame after it can be asked for; times here are the database's
	more   int64 // when more of the newest can be asked for
	asking bool
	asked  int64 // since when; monotonic
	retry  int64 // not before; monotonic

	// What became of turns since a frame was last asked for. It decides how much to ask for next
	// time.
	taken, lost, refused int64
}

// change sets the limit's present rate. Turns that were given under a higher rate are given up.
func (l *limit) change(r rate.Rate) {
	if r == l.rate {
		return
	}
	if r.Interval() > l.rate.Interval() {
		l.frames = nil
	}
	l.rate, l.next, l.more = r, 0, never
}

// wait is how long it is until a turn may be taken, 0 for now and -1 if none is held.
func (l *limit) wait(now int64, c *clock) int64 {
	for len(l.frames) > 0 {
		f := &l.frames[0]
		turn, at, ok := f.first()
		if !ok {
			l.frames = slices.Delete(l.frames, 0, 1)
			continue
		}
		if now > c.latest(at, max(graceTurns*f.spacing, int64(grace))) {
			f.drop(turn)
			l.lost++
			continue
		}
		return max(0, c.earliest(at)-now)
	}
	return -1
}

// take takes the turn that wait has found.
func (l *limit) take() {
	f := &l.frames[0]
	turn, _, _ := f.first()
	f.drop(turn)
	l.taken++
}

// due is for how many turns the database should be asked now, 0 for not yet.
func (l *limit) due(now int64, c *clock, refused bool) int64 {
	switch {
	case l.asking || now < l.retry:
		return 0
	case l.next == 0 || now >= c.earliest(l.next):
		want := l.demand()
		l.taken, l.lost, l.refused = 0, 0, 0
		return want
	case refused && l.more != never && now >= c.earliest(l.more):
		return max(1, l.got, l.left/2)
	}
	return 0
}

// demand is how many turns of the next frame are wanted, by what became of those of the last one:
// all if a message waited for each of them.
func (l *limit) demand() int64 {
	_, turns := shapeOf(l.rate)
	switch passed := l.taken + l.lost; {
	case l.refused > 2*l.taken || passed > 0 && l.taken*10 >= passed*9:
		return turns
	case passed == 0:
		return max(1, turns/8)
	default:
		return 1 + l.taken*5/4
	}
}

// comes is how long it is until it is worth asking again. The next turn in hand comes after held;
// there is none if held is negative.
func (l *limit) comes(held, now int64, c *clock) int64 {
	if l.asking { // an answer is to be expected after about one round trip
		soon := min(max(int64(time.Millisecond), (now-l.asked)/2), int64(100*time.Millisecond))
		if held > 0 {
			return min(held, soon)
		}
		return soon
	}
	at := l.next
	if l.more != never {
		at = min(at, l.more)
	}
	return max(c.earliest(at), l.retry, now+int64(time.Millisecond)) - now
}

// lease is the database's answer.
type lease struct {
	rate           rate.Rate
	spacing, turns int64
	at             int64 // start of the frame
	first, n       int64
}

// grant takes the turns of a lease that was asked for want.
func (l *limit) grant(g lease, want int64) {
	l.change(g.rate)
	if g.at != l.newest {
		l.newest, l.got = g.at, 0
	}
	l.got += g.n
	if g.n > 0 {
		i := slices.IndexFunc(l.frames, func(f frame) bool { return f.at >= g.at })
		if i < 0 {
			i = len(l.frames)
		}
		if i == len(l.frames) || !l.frames[i].is(g) {
			l.frames = slices.Insert(l.frames, i, newFrame(g.at, g.spacing, g.turns))
		}
		l.frames[i].add(g.first, g.n)
	}
	// Workers ask in a random order: with few turns in a frame, those that ask late get none.
	l.next = g.at + g.turns*g.spacing - int64(lookahead) + rand.Int64N(int64(lookahead)/2)
	switch l.left = g.turns - g.first - g.n; {
	case l.left == 0:
		l.more = never
	case g.n < want: // our share; the turns that others do not want are free when they have asked
		l.more = g.at - int64(lookahead)/2 + rand.Int64N(int64(lookahead)/4)
	default: // turns that nobody wants by then are free
		l.more = g.at
	}
}

// is tells whether the turns of a lease are of the frame.
func (f *frame) is(g lease) bool { return f.at == g.at && f.spacing == g.spacing && f.turns == g.turns }
