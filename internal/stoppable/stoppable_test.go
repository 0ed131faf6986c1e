//go:build unix

package stoppable_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/iotest"

	"directmailer/internal/stoppable"
)

func TestAPipeThatNobodyOpensForWritingIsLeftWhenTheContextIsDone(t *testing.T) {
	t.Parallel()
	name := pipe(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("told to stop")
	cancel(stop)
	if _, err := stoppable.Open(ctx, name); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

func TestAPipeWhoseWriterIsSilentIsLeftWhenTheContextIsDone(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	in := stoppable.Reader(ctx, r)
	if _, err := w.WriteString("one line\n"); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 100)
	if n, err := in.Read(first[:3]); n != 3 || err != nil {
		t.Fatalf("got %d octets, %v", n, err)
	}
	ended := make(chan error)
	go func() {
		rest, err := io.ReadAll(in)
		if string(rest) != " line\n" {
			t.Errorf("the rest is %q", rest)
		}
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if n, err := in.Read(first); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("afterwards: %d octets, %v", n, err)
	}
}

// waiting is a reader that never reads anything. It says when a read has begun.
type waiting struct{ begun chan struct{} }

func (w waiting) Read([]byte) (int, error) {
	close(w.begun)
	select {}
}

// What was read until then must not be taken for the whole.
func TestAReadThatIsLeftIsNotTheEndOfTheFile(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("told to stop")
	w := waiting{make(chan struct{})}
	go func() { <-w.begun; cancel(stop) }()
	in := stoppable.Reader(ctx, w)
	for range 2 {
		if n, err := in.Read(make([]byte, 10)); n != 0 || !errors.Is(err, stop) {
			t.Errorf("got %d octets, %v", n, err)
		}
	}
}

func TestWhatIsWrittenArrivesAsItIs(t *testing.T) {
	t.Parallel()
	want := bytes.Repeat([]byte("0123456789"), 20_000)
	if err := iotest.TestReader(stoppable.Reader(t.Context(), bytes.NewReader(want)), want); err != nil {
		t.Error(err)
	}
	together := iotest.DataErrReader(bytes.NewReader(want)) // the last octets, and their end
	if err := iotest.TestReader(stoppable.Reader(t.Context(), together), want); err != nil {
		t.Error(err)
	}
	name := pipe(t)
	go func() { _ = os.WriteFile(name, want, 0o600) }()
	if got, err := stoppable.ReadFile(name, int64(len(want))); err != nil || !bytes.Equal(got, want) {
		t.Errorf("a pipe: %d octets, %v", len(got), err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, want, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := stoppable.ReadFile(file, 10); err != nil || len(got) != 11 {
		t.Errorf("a file that is longer than its limit: %d octets, %v", len(got), err)
	}
	if _, err := stoppable.Open(t.Context(), file+".not"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func pipe(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
