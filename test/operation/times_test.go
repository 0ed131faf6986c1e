package operation

import (
	"sync"
	"time"
)

// times keeps when something happened.
type times struct {
	mu  sync.Mutex
	all []time.Time
}

func (m *times) add(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, at)
}

// first returns when it happened for the first time.
func (m *times) first() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.all[0]
}

// after returns how often it happened later than at, and when for the last time.
func (m *times) after(at time.Time) (n int, last time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.all {
		if t.After(at) {
			n++
			last = t
		}
	}
	return n, last
}
