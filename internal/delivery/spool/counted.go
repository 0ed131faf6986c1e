package spool

import "io"

// counted reads through a small buffer and counts, so that no more is taken than a blob said it holds.
type counted struct {
	r     io.Reader
	b     [4096]byte
	have  []byte // the part of b not yet taken
	taken int64
	left  int64 // of what the blob said, not yet asked of r
}

func (c *counted) reset(r io.Reader, size int64) {
	c.r, c.have, c.taken = r, nil, 0
	c.left = size + 1 // one more, to see that there is none
}

func (c *counted) Read(p []byte) (int, error) {
	if len(c.have) == 0 {
		if len(p) >= len(c.b) {
			n, err := c.pull(p)
			c.taken += int64(n)
			return n, err
		}
		n, err := c.pull(c.b[:])
		if n == 0 {
			return 0, err
		}
		c.have = c.b[:n]
	}
	n := copy(p, c.have)
	c.have = c.have[n:]
	c.taken += int64(n)
	return n, nil
}

func (c *counted) pull(p []byte) (int, error) {
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	if len(p) == 0 {
		return 0, io.EOF
	}
	for {
		n, err := c.r.Read(p)
		c.left -= int64(n)
		if n > 0 {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

func (c *counted) ReadByte() (byte, error) {
	if len(c.have) == 0 {
		n, err := c.pull(c.b[:])
		if n == 0 {
			return 0, err
		}
		c.have = c.b[:n]
	}
	b := c.have[0]
	c.have = c.have[1:]
	c.taken++
	return b, nil
}
