package output

import (
	"context"
	"io"
	"os"
	"sync"
)

// Ahead lets write run ahead of whoever reads w, for example in a pager: what the reader has not
// taken yet waits in a temporary file. So a slow reader does not make write hold a transaction of
// the database open. The file has no name, and only its owner may read it. If there can be no such
// file, or no room in it, write waits for the reader. Ahead returns when the reader has taken
// everything, or when ctx ends.
func Ahead(ctx context.Context, w io.Writer, write func(io.Writer) error) error {
	out, ok := w.(*os.File)
	if !ok {
		return write(w)
	}
	if info, err := out.Stat(); err == nil && info.Mode().IsRegular() {
		return write(w)
	}
	file, err := os.CreateTemp("", "starter.*")
	if err != nil {
		return write(w)
	}
	defer file.Close()
	if err := os.Remove(file.Name()); err != nil { // where a file that is open cannot be removed
		defer os.Remove(file.Name())
	}
	a := newAhead(ctx, out, file)
	stop := context.AfterFunc(ctx, a.wake)
	defer stop()
	go a.copy()
	err = write(a)
	if drained := a.drain(); err == nil {
		err = drained
	}
	return err
}

// ahead is a queue of octets in a file.
type ahead struct {
	ctx  context.Context
	out  io.Writer
	file queueFile

	mu            sync.Mutex
	moved         *sync.Cond
	read, written int64 // offsets in the file
	closed, ended bool  // by the writer; by the copier
	err           error // of out
}

// queueFile is what ahead needs of a file.
type queueFile interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
}

func newAhead(ctx context.Context, out io.Writer, file queueFile) *ahead {
	a := &ahead{ctx: ctx, out: out, file: file}
	a.moved = sync.NewCond(&a.mu)
	return a
}

// wake has everybody who waits look at the context.
func (a *ahead) wake() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.moved.Broadcast()
}

// Write puts p into the file. If there is no room, it waits until the reader has taken what is
// there, and gives p to the reader.
func (a *ahead) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return 0, a.err
	}
	if n, err := a.file.WriteAt(p, a.written); err == nil {
		a.written += int64(n)
		a.moved.Broadcast()
		return n, nil
	}
	for !a.ended && a.read < a.written && a.ctx.Err() == nil {
		a.moved.Wait()
	}
	switch {
	case a.err != nil:
		return 0, a.err
	case a.ctx.Err() != nil:
		return 0, a.ctx.Err()
	}
	_ = a.file.Truncate(0) // the offsets are 0
	return a.out.Write(p)
}

// copy gives the reader what is in the file, until everything is taken.
func (a *ahead) copy() {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.moved.Broadcast()
	defer func() { a.ended = true }()
	buffer := make([]byte, 64<<10)
	for {
		for a.read == a.written && !a.closed && a.ctx.Err() == nil {
			a.moved.Wait()
		}
		if a.read == a.written || a.ctx.Err() != nil {
			return
		}
		piece := buffer[:min(int64(len(buffer)), a.written-a.read)]
		_, err := a.file.ReadAt(piece, a.read)
		a.mu.Unlock()
		if err == nil {
			_, err = a.out.Write(piece)
		}
		a.mu.Lock()
		if err != nil {
			a.err = err
			return
		}
		if a.read += int64(len(piece)); a.read == a.written {
			a.read, a.written = 0, 0
		}
		a.moved.Broadcast()
	}
}

// drain waits until the reader has taken everything.
func (a *ahead) drain() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	a.moved.Broadcast()
	for !a.ended && a.ctx.Err() == nil {
		a.moved.Wait()
	}
	if a.err == nil && a.read < a.written {
		return a.ctx.Err()
	}
	return a.err
}
