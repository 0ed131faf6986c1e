package spool

import "sync"

// BufferPool keeps encoders and readers for the next batch. Making their tables and windows anew
// costs more than packing a batch of short messages. It keeps as many as were in use at a time. The
// zero value is empty. It is safe for concurrent use.
type BufferPool struct {
	mu       sync.Mutex
	encoders []*Encoder
	readers  []*Reader
}

// GetEncoder returns an Encoder with an empty blob begun. The caller must call PutEncoder.
func (p *BufferPool) GetEncoder() (*Encoder, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.encoders)
	if n == 0 {
		return NewEncoder()
	}
	e := p.encoders[n-1]
	p.encoders = p.encoders[:n-1]
	e.Reset()
	return e, nil
}

// PutEncoder takes an Encoder back. The blob that it has returned is no longer valid.
func (p *BufferPool) PutEncoder(e *Encoder) {
	e.large = nil // it is rarely needed, and large
	p.mu.Lock()
	defer p.mu.Unlock()
	p.encoders = append(p.encoders, e)
}

// GetReader returns a Reader without a blob. The caller must call PutReader.
func (p *BufferPool) GetReader() (*Reader, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.readers)
	if n == 0 {
		return NewReader()
	}
	r := p.readers[n-1]
	p.readers = p.readers[:n-1]
	return r, nil
}

// PutReader takes a Reader back. It need not have read its whole blob.
func (p *BufferPool) PutReader(r *Reader) {
	r.releaseBlob()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readers = append(p.readers, r)
}
