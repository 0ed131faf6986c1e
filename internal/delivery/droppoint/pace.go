package droppoint

import (
	"sync"
	"time"

	"directmailer/internal/delivery/smtp"
)

const (
	// slowerBy and muchSlowerBy are what a rate is multiplied by when the server says that it is too
	// high: the former if messages were accepted since the last time, the latter if none was.
	slowerBy, muchSlowerBy = 0.85, 0.5
	// fasterBy is the part of the rate that was too high by which the rate grows in a second.
	fasterBy = 0.01
	// leastRate is the lowest rate, in messages per second.
	leastRate = 1.0 / 60
	// firstPause is the pause after a server has said that the rate is too high. It doubles while the
	// server accepts nothing, up to lastPause.
	firstPause, lastPause = time.Second, 2 * time.Minute
	// forgottenAfter is how long a server has not complained when its limit is forgotten.
	forgottenAfter = 10 * time.Minute
)

// pace is the rate at which a drop point lets this worker send, as its answers show: the rate falls
// by a factor with each answer that asks for less, and grows by the same amount each second. With
// several workers, each finds its own. pace is safe for concurrent use, and reads no clock.
type pace struct {
	mu       sync.Mutex
	rate     float64 // messages per second; 0 for no limit
	tooHigh  float64 // the rate at which the server complained last
	reason   error   // how it did
	next     time.Time
	resumes  time.Time // end of the last pause: no turn is earlier
	pause    time.Duration
	cutAt    time.Time // when it complained last
	grownAt  time.Time
	accepted recentCount
	anySince bool // a message was accepted since cutAt
}

// reserve takes the turn of a message. If the turn has not come, it returns the time until then.
func (p *pace) reserve(now time.Time) (wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if wait := p.waitLocked(now); wait > 0 || p.rate == 0 {
		return wait
	}
	interval := p.interval()
	if late := now.Add(-interval); p.next.Before(late) { // turns that were missed are lost, all but one
		p.next = late
	}
	p.next = p.next.Add(interval)
	return 0
}

// giveBack returns a turn that was not used. It may be one of before the last pause.
func (p *pace) giveBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rate == 0 {
		return
	}
	if p.next = p.next.Add(-p.interval()); p.next.Before(p.resumes) {
		p.next = p.resumes
	}
}

// wait returns the time until the next turn.
func (p *pace) wait(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waitLocked(now)
}

func (p *pace) waitLocked(now time.Time) time.Duration {
	if p.rate == 0 {
		return 0
	}
	p.grow(now)
	return max(p.next.Sub(now), 0)
}

func (p *pace) interval() time.Duration { return time.Duration(float64(time.Second) / p.rate) }

// grow raises the rate for the time that has passed. It needs mu.
func (p *pace) grow(now time.Time) {
	if now.Sub(p.cutAt) > forgottenAfter {
		p.rate, p.reason = 0, nil
		return
	}
	if passed := now.Sub(p.grownAt); passed > 0 && p.anySince {
		p.rate += passed.Seconds() * fasterBy * p.tooHigh
	}
	p.grownAt = now
}

// answered notes that the drop point has accepted a message.
func (p *pace) answered(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.accepted.add(now)
	p.anySince, p.pause = true, firstPause
}

// throttled notes that the drop point asks for a lower rate with an answer to a message that was
// begun at a time. Answers to messages that were on their way at the last such answer say nothing
// new.
func (p *pace) throttled(now, begun time.Time, reason error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rate > 0 && begun.Before(p.cutAt) {
		return
	}
	p.pause = max(p.pause, firstPause)
	p.waitLocked(now) // the rate as it is now: it may be forgotten
	switch {
	case p.rate == 0:
		p.tooHigh = max(p.accepted.perSecond(now), leastRate)
		p.rate = p.tooHigh * slowerBy
	case p.anySince:
		p.tooHigh = p.rate
		p.rate *= slowerBy
	default:
		p.rate *= muchSlowerBy
		p.pause = min(2*p.pause, lastPause)
	}
	p.rate = max(p.rate, leastRate)
	p.cutAt, p.grownAt, p.anySince, p.reason = now, now, false, reason
	p.resumes = now.Add(max(p.pause, askedPause(reason)))
	p.next = p.resumes
}

// askedPause returns the pause that the server asks for in its reply.
func askedPause(reason error) time.Duration {
	pause, _ := smtp.RetryAfter(AnswerOf(reason).Text)
	return min(pause, lastPause)
}

// limit returns the rate and its reason; 0 for no limit.
func (p *pace) limit(now time.Time) (perSecond float64, reason error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waitLocked(now)
	return p.rate, p.reason
}

// recentCount counts messages over the last second, as far as two counters can.
type recentCount struct {
	since        time.Time // when this second began
	this, before int
}

func (c *recentCount) add(now time.Time) {
	c.turn(now)
	c.this++
}

func (c *recentCount) turn(now time.Time) {
	switch passed := now.Sub(c.since); {
	case passed >= 2*time.Second:
		*c = recentCount{since: now}
	case passed >= time.Second:
		*c = recentCount{since: c.since.Add(time.Second), before: c.this}
	}
}

// perSecond returns how many messages there were in the last second.
func (c *recentCount) perSecond(now time.Time) float64 {
	c.turn(now)
	return float64(c.this) + float64(c.before)*(1-now.Sub(c.since).Seconds())
}
