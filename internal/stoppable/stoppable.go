// Package stoppable reads from pipes and terminals, whose readers wait for as long as nobody
// writes, and stops when a context is done. A program that catches signals would wait past them
// otherwise.
package stoppable

import (
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// Open opens a file for reading. The opening of a named pipe waits for a writer, until ctx is done.
func Open(ctx context.Context, name string) (*os.File, error) {
	if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
		return os.Open(name)
	}
	type opened struct {
		file *os.File
		err  error
	}
	result := make(chan opened, 1)
	go func() {
		f, err := os.Open(name)
		result <- opened{f, err}
	}()
	select {
	case r := <-result:
		return r.file, r.err
	case <-ctx.Done():
		go func() { // when somebody opens the pipe after all
			if r := <-result; r.err == nil {
				_ = r.file.Close()
			}
		}()
		return nil, context.Cause(ctx)
	}
}

// patience is how long ReadFile waits for the writer of a pipe.
const patience = 10 * time.Second

var errSilent = errors.New("is a pipe to which nobody writes")

// ReadFile reads a file of settings of up to most octets, and one octet more of a longer one. It
// waits at most 10 seconds for the writer of a pipe.
func ReadFile(name string, most int64) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, errSilent)
	defer cancel()
	f, err := Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(Reader(ctx, f), most+1))
}

// Reader returns a reader of r whose Read ends with the cause of ctx when ctx is done. A read of r
// that has begun then goes on, and what it reads is lost. Regular files are read as they are.
func Reader(ctx context.Context, r io.Reader) io.Reader {
	if f, ok := r.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			return r
		}
	}
	return &reader{ctx: ctx, r: r, result: make(chan answer, 1), space: make([]byte, 64<<10)}
}

// reader reads in a goroutine, one read at a time, into memory of its own.
type reader struct {
	ctx    context.Context
	r      io.Reader
	space  []byte
	rest   []byte // of space, read and not yet given out
	result chan answer
	err    error
}

type answer struct {
	n   int
	err error
}

func (r *reader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 && r.err == nil {
		if err := context.Cause(r.ctx); err != nil {
			r.err = err
			return 0, err
		}
		go func() {
			n, err := r.r.Read(r.space)
			r.result <- answer{n, err}
		}()
		select {
		case a := <-r.result:
			r.rest, r.err = r.space[:a.n], a.err
		case <-r.ctx.Done():
			r.err = context.Cause(r.ctx)
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	if n == 0 && len(r.rest) == 0 {
		return 0, r.err
	}
	return n, nil
}
