package smtptest

import "sync"

// Hold makes every message wait at one phase until the test lets it go on, so that the test and not
// the machine sets the pace. Its methods are safe for concurrent use.
type Hold struct {
	phase string

	mu      sync.Mutex
	free    int // messages that need not wait
	all     bool
	waiting []chan struct{}
}

// NewHold returns a Hold that lets n messages through the phase and holds those after them.
func NewHold(phase string, n int) *Hold { return &Hold{phase: phase, free: n} }

// Script is the server's script: it waits at the phase, and otherwise gives the usual answer.
func (h *Hold) Script(e Event) *Action {
	if e.Phase != h.phase {
		return nil
	}
	return &Action{Wait: h.Wait()}
}

// Wait is for a script of the test's own: it returns what the next message has to wait for.
func (h *Hold) Wait() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	done := make(chan struct{})
	switch {
	case h.all:
		close(done)
	case h.free > 0:
		h.free--
		close(done)
	default:
		h.waiting = append(h.waiting, done)
	}
	return done
}

// Release lets up to n of the messages go on that wait now, and returns how many those were. Later
// messages wait.
func (h *Hold) Release(n int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n = min(n, len(h.waiting))
	for _, done := range h.waiting[:n] {
		close(done)
	}
	h.waiting = h.waiting[n:]
	return n
}

// ReleaseAll lets all messages go on, also those to come.
func (h *Hold) ReleaseAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = true
	for _, done := range h.waiting {
		close(done)
	}
	h.waiting = nil
}

// Waiting returns how many messages wait now. Those count whose connection has broken meanwhile.
func (h *Hold) Waiting() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.waiting)
}
