package operation

import (
	"sync"
	"time"
)

// times records when something happened. It is safe for concurrent use.
type times struct {
	mu  sync.Mutex
	all []time.Time
}

func (m *times) add(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, at)
}

// first returns the time of the first event.
func (m *times) first() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.all[0]
}

// after returns the number of events later than at, and the time of the last of them.
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
