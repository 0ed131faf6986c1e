package smtptest

import "sync"

// Stall makes each message wait at one phase until the test releases it, so that the test sets the
// pace and not the machine. Its methods are safe for concurrent use.
type Stall struct {
	phase string

	mu      sync.Mutex
	free    int // messages that need not wait
	all     bool
	waiting []chan struct{}
}

// NewStall returns a Stall that lets n messages through the phase and stalls those after them.
func NewStall(phase string, n int) *Stall { return &Stall{phase: phase, free: n} }

// Script is a script for Options: each message waits at the phase, and otherwise gets the usual
// answer.
func (s *Stall) Script(e Event) *Action {
	if e.Phase != s.phase {
		return nil
	}
	return &Action{Wait: s.Wait()}
}

// Wait returns the channel that the next message must wait for. It is for scripts that do more.
func (s *Stall) Wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	done := make(chan struct{})
	switch {
	case s.all:
		close(done)
	case s.free > 0:
		s.free--
		close(done)
	default:
		s.waiting = append(s.waiting, done)
	}
	return done
}

// Release releases up to n of the waiting messages, and returns how many. Later messages wait.
func (s *Stall) Release(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = min(n, len(s.waiting))
	for _, done := range s.waiting[:n] {
		close(done)
	}
	s.waiting = s.waiting[n:]
	return n
}

// ReleaseAll releases all messages, also later ones.
func (s *Stall) ReleaseAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = true
	for _, done := range s.waiting {
		close(done)
	}
	s.waiting = nil
}

// Waiting returns how many messages wait now, including those whose connection has broken
// meanwhile.
func (s *Stall) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting)
}
