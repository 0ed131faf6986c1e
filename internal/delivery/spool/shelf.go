package spool

import "sync"

// Shelf keeps encoders and readers between batches: making their tables and windows anew costs more than packing a batch of short
// messages. It holds as many as were in use at a time. The zero value is empty; it is safe for use by several goroutines.
type Shelf struct {
	mu       sync.Mutex
	encoders []*Encoder
	readers  []*Reader
}

// Encoder returns an Encoder with an empty blob begun. KeepEncoder must follow.
func (s *Shelf) Encoder() (*Encoder, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.encoders)
	if n == 0 {
		return NewEncoder()
	}
	e := s.encoders[n-1]
	s.encoders = s.encoders[:n-1]
	e.Reset()
	return e, nil
}

// KeepEncoder takes an Encoder back; what it has returned is no longer valid.
func (s *Shelf) KeepEncoder(e *Encoder) {
	e.large = nil // rare, and large
	s.mu.Lock()
	defer s.mu.Unlock()
	s.encoders = append(s.encoders, e)
}

// Reader returns a Reader without a blob. KeepReader must follow.
func (s *Shelf) Reader() (*Reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.readers)
	if n == 0 {
		return NewReader()
	}
	r := s.readers[n-1]
	s.readers = s.readers[:n-1]
	return r, nil
}

// KeepReader takes a Reader back, wherever it has stopped.
func (s *Shelf) KeepReader(r *Reader) {
	r.forget()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readers = append(s.readers, r)
}
