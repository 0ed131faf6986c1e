package smtp

import (
	"slices"
	"sync"
)

// LogIns remembers which mechanisms a server has accepted and refused, for all connections to it. A
// server that closes the connection after a refusal gets another mechanism over the next one. It is
// safe for concurrent use. A nil LogIns remembers nothing.
type LogIns struct {
	mu       sync.Mutex
	last     string          // the mechanism that worked last
	rejected map[string]bool // refused since the last success, or since all were refused
}

// order returns the names in the order in which to try them: first the one that worked last, and
// last those that were refused.
func (l *LogIns) order(names []string) []string {
	if l == nil {
		return names
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.ContainsFunc(names, func(name string) bool { return !l.rejected[name] }) {
		clear(l.rejected) // the password was wrong, not a mechanism
	}
	rank := func(name string) int {
		switch {
		case l.rejected[name]:
			return 2
		case name == l.last:
			return 0
		}
		return 1
	}
	ordered := slices.Clone(names)
	slices.SortStableFunc(ordered, func(a, b string) int { return rank(a) - rank(b) })
	return ordered
}

func (l *LogIns) worked(name string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = name
	delete(l.rejected, name)
}

func (l *LogIns) refused(name string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rejected == nil {
		l.rejected = map[string]bool{}
	}
	l.rejected[name] = true
}
