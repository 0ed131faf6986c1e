package ratelimit

import "time"

// Age makes the limits that p knows older.
func Age(p *Pacer, by time.Duration) {
	known := *p.limits.Load()
	known.at -= int64(by)
	p.limits.Store(&known)
}

// Known returns the number of limits that p knows.
func Known(p *Pacer) int { return len(p.limits.Load().of) }

// Holds reports whether p holds turns under the limit of s.
func Holds(p *Pacer, s Scope) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.last[s]
	return l != nil && len(l.frames) > 0
}
