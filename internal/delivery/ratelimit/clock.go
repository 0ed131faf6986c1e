package ratelimit

import "time"

// drift is how fast two clocks may part, at most: what NTP corrects by.
const drift = 500e-6

// clock tells when, by this process's monotonic clock, the database's clock shows a time. Both are
// in nanoseconds. Their difference lies between two bounds, which each answer of the database
// narrows.
//
// The host's clock is never used, so it may show anything.
type clock struct {
	known    bool
	low, top int64 // bounds of monotonic time minus the database's
	at       int64 // monotonic time of the bounds
}

// observe narrows the bounds: the database's clock showed db at some moment between before and
// after. It returns whether one of the clocks was set, so that the bounds did not fit.
func (c *clock) observe(before, after, db int64) (set bool) {
	low, top := before-db, after-db
	if c.known {
		slack := int64(drift * float64(after-c.at))
		low, top = max(low, c.low-slack), min(top, c.top+slack)
		if set = low > top; set {
			low, top = before-db, after-db
		}
	}
	*c = clock{known: true, low: low, top: top, at: after}
	return set
}

// observe is that of the clock. If a clock was set, turns and times to ask are by the old one, and
// are forgotten. The caller holds p.mu.
func (p *Pacer) observe(before, after, db int64) {
	if !p.clock.observe(before, after, db) {
		return
	}
	for _, l := range p.last {
		l.frames, l.next, l.more = nil, 0, never
	}
}

// earliest is when db has certainly come.
func (c *clock) earliest(db int64) int64 { return db + c.top }

// latest is the last moment that is certainly not later than the tolerance after db. For a database
// that is far away it leaves the round trip out, so that there is always time to take a turn.
func (c *clock) latest(db, tolerance int64) int64 {
	return max(db+c.low+tolerance, db+c.top+tolerance/2)
}

// monotonic is the process's own clock, which nobody sets.
func (p *Pacer) monotonic() int64 { return int64(time.Since(p.began)) }
