package droppoint

import (
	"errors"
	"math"
	"testing"
	"time"

	"directmailer/internal/delivery/smtp"
)

var errTooFast = errors.New("too fast")

// quota is a server that accepts so many messages in each period, by a clock of the test's.
type quota struct {
	most    int
	period  time.Duration
	since   time.Time
	taken   int
	refused int
}

func (l *quota) accepts(now time.Time) bool {
	if now.Sub(l.since) >= l.period {
		l.since, l.taken = now, 0
	}
	if l.taken == l.most {
		l.refused++
		return false
	}
	l.taken++
	return true
}

// simulate sends for a time, each message as soon as its turn comes, and returns how many were
// accepted.
func simulate(p *pace, l *quota, start time.Time, lasts time.Duration) (accepted int) {
	for now := start; now.Before(start.Add(lasts)); {
		if wait := p.reserve(now); wait > 0 {
			now = now.Add(wait)
			continue
		}
		if l.accepts(now) {
			accepted++
			p.answered(now)
		} else {
			p.throttled(now, now, errTooFast)
		}
		now = now.Add(time.Millisecond) // the time of a message
	}
	return accepted
}

// The servers allow what providers allow: so many a second, a minute, an hour.
func TestTheRateOfAServerIsFoundAndKeptTo(t *testing.T) {
	t.Parallel()
	start := time.Unix(1e9, 0)
	for _, c := range []struct {
		most       int
		period     time.Duration
		lasts      time.Duration
		least      float64 // part of what the server allows that is sent
		mostTries  float64 // refused messages for each accepted one
		upperBound float64
	}{
		{1, time.Second, 2 * time.Minute, 0.6, 0.10, 1},
		{14, time.Second, time.Minute, 0.8, 0.03, 1},
		{14, time.Second, 10 * time.Minute, 0.85, 0.02, 1},
		{200, time.Second, time.Minute, 0.8, 0.03, 1},
		{100, time.Minute, 10 * time.Minute, 0.6, 0.15, 1},
		{500, time.Hour, 6 * time.Hour, 0.5, 0.30, 1},
	} {
		var p pace
		l := &quota{most: c.most, period: c.period, since: start}
		accepted := simulate(&p, l, start, c.lasts)
		allowed := float64(c.most) * math.Ceil(c.lasts.Seconds()/c.period.Seconds())
		t.Logf("%d in %v, for %v: %d of %v were sent, %d were refused", c.most, c.period, c.lasts, accepted, allowed,
			l.refused)
		if part := float64(accepted) / allowed; part < c.least {
			t.Errorf("%d in %v: %.2f of what the server allows was sent, want %.2f", c.most, c.period, part, c.least)
		}
		if tries := float64(l.refused) / float64(accepted); tries > c.mostTries {
			t.Errorf("%d in %v: %d were refused of %d", c.most, c.period, l.refused, accepted)
		}
	}
}

func TestAServerThatNeverComplainsIsNotSlowedDown(t *testing.T) {
	t.Parallel()
	var p pace
	now := time.Unix(1e9, 0)
	for range 1000 {
		if p.reserve(now) != 0 {
			t.Fatal("a message waits")
		}
		p.answered(now)
	}
	if rate, reason := p.limit(now); rate != 0 || reason != nil {
		t.Errorf("%v messages a second: %v", rate, reason)
	}
}

// Turns that nobody took do not come all at once later.
func TestTurnsThatWereMissedAreLost(t *testing.T) {
	t.Parallel()
	var p pace
	now := time.Unix(1e9, 0)
	for range 20 {
		p.answered(now)
	}
	p.throttled(now, now, errTooFast)
	now = now.Add(5 * time.Minute)
	burst := 0
	for p.reserve(now) == 0 && burst < 100 {
		burst++
	}
	if burst != 2 {
		t.Errorf("%d messages go at once after a pause", burst)
	}
}

// While the server accepts nothing, the pauses grow to two minutes. An acceptance makes them short
// again.
func TestThePauseGrowsWhileTheServerAcceptsNothing(t *testing.T) {
	t.Parallel()
	var p pace
	now := time.Unix(1e9, 0)
	p.answered(now)
	want := firstPause
	for range 12 {
		p.throttled(now, now, errTooFast)
		if wait := p.wait(now); wait != want {
			t.Errorf("the pause is %v, want %v", wait, want)
		}
		now = now.Add(want)
		want = min(2*want, lastPause)
	}
	if rate, _ := p.limit(now); rate != leastRate {
		t.Errorf("%v messages a second, want %v", rate, leastRate)
	}
	p.answered(now)
	p.throttled(now, now, errTooFast)
	if wait := p.wait(now); wait != firstPause {
		t.Errorf("the pause is %v after an acceptance", wait)
	}
}

// Eight messages are on their way when the server begins to complain. It complains of each.
func TestAnswersToMessagesThatWereOnTheirWayCountOnce(t *testing.T) {
	t.Parallel()
	var p pace
	begun := time.Unix(1e9, 0)
	for range 20 {
		p.answered(begun)
	}
	at := begun.Add(10 * time.Millisecond)
	for range 8 {
		p.throttled(at, begun, errTooFast)
	}
	if rate, _ := p.limit(at); math.Abs(rate-20*slowerBy) > 0.01 {
		t.Errorf("%v messages a second, want %v", rate, 20*slowerBy)
	}
	if wait := p.wait(at); wait != firstPause {
		t.Errorf("the next message waits for %v", wait)
	}
}

func TestAPauseThatTheServerAsksForIsKept(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	for text, want := range map[string]time.Duration{
		"rate limited, try again in 30 seconds": 30 * time.Second, "rate limited, try again in 3 hours": lastPause,
		"rate limited": firstPause,
	} {
		var p pace
		p.answered(now)
		p.throttled(now, now, &smtp.Refusal{Phase: smtp.PhaseRcpt, Reply: smtp.Reply{Code: 450, Text: text}})
		if wait := p.wait(now); wait != want {
			t.Errorf("%q: %v", text, wait)
		}
	}
}

func TestALimitThatIsNotHeardOfForLongIsForgotten(t *testing.T) {
	t.Parallel()
	var p pace
	now := time.Unix(1e9, 0)
	p.answered(now)
	p.throttled(now, now, errTooFast)
	if rate, reason := p.limit(now.Add(forgottenAfter + 1)); rate != 0 || reason != nil {
		t.Errorf("%v messages a second: %v", rate, reason)
	}
	// The server complains again of messages that had their turns before.
	p = pace{}
	p.answered(now)
	p.throttled(now, now, errTooFast)
	now = now.Add(forgottenAfter + 1)
	for range 20 {
		p.answered(now)
	}
	p.throttled(now, now, errTooFast)
	if rate, _ := p.limit(now); math.Abs(rate-20*slowerBy) > 0.01 {
		t.Errorf("%v messages a second after a new complaint, want %v", rate, 20*slowerBy)
	}
}

func TestATurnThatIsNotUsedIsGivenBack(t *testing.T) {
	t.Parallel()
	var p pace
	now := time.Unix(1e9, 0)
	p.answered(now)
	p.throttled(now, now, errTooFast)
	if p.giveBack(); p.wait(now) != firstPause { // a turn of before
		t.Errorf("the pause is %v", p.wait(now))
	}
	now = now.Add(firstPause)
	if p.reserve(now) != 0 {
		t.Fatal("there is no turn after the pause")
	}
	if p.reserve(now) == 0 {
		t.Error("there is a second turn at once")
	}
	p.giveBack()
	if p.reserve(now) != 0 {
		t.Error("the turn is lost")
	}
}
