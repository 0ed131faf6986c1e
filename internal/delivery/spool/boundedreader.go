package spool

import "io"

// boundedReader reads at most one octet more than a blob claims to hold, and counts what was taken.
// It has a small buffer for ReadByte.
type boundedReader struct {
	r     io.Reader
	buf   [4096]byte
	rest  []byte // the part of buf that was not taken yet
	taken int64
	left  int64 // octets that may still be read from r
}

func (b *boundedReader) reset(r io.Reader, size int64) {
	b.r, b.rest, b.taken = r, nil, 0
	b.left = size + 1 // the one more shows whether the blob holds more than it claims
}

// Read implements [io.Reader].
func (b *boundedReader) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		if len(p) >= len(b.buf) {
			n, err := b.fill(p)
			b.taken += int64(n)
			return n, err
		}
		n, err := b.fill(b.buf[:])
		if n == 0 {
			return 0, err
		}
		b.rest = b.buf[:n]
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	b.taken += int64(n)
	return n, nil
}

// ReadByte implements [io.ByteReader].
func (b *boundedReader) ReadByte() (byte, error) {
	if len(b.rest) == 0 {
		n, err := b.fill(b.buf[:])
		if n == 0 {
			return 0, err
		}
		b.rest = b.buf[:n]
	}
	octet := b.rest[0]
	b.rest = b.rest[1:]
	b.taken++
	return octet, nil
}

// fill reads into p what the bound allows. It returns an error only if it has read nothing.
func (b *boundedReader) fill(p []byte) (int, error) {
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	if len(p) == 0 {
		return 0, io.EOF
	}
	for {
		n, err := b.r.Read(p)
		b.left -= int64(n)
		if n > 0 {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
}
