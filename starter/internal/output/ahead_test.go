package output

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// large is more than a pipe holds, and more than one piece.
var large = strings.Repeat("0123456789abcdef", 1<<16)

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return r, w
}

// begin runs Ahead with a writer of large. It returns when the writer has ended, before anybody
// reads.
func begin(ctx context.Context, t *testing.T, w *os.File) (done <-chan error) {
	t.Helper()
	wrote, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- Ahead(ctx, w, func(w io.Writer) error {
			defer close(wrote)
			_, err := io.WriteString(w, large)
			return err
		})
		_ = w.Close()
	}()
	select {
	case <-wrote:
	case <-time.After(time.Minute):
		t.Fatal("the writer waits for the reader")
	}
	return ended
}

// The writer reads the ledger in a transaction. The reader may be a pager that nobody looks at.
func TestAWriterDoesNotWaitForASlowReader(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	r, w := pipe(t)
	ended := begin(t.Context(), t, w)
	if names, _ := filepath.Glob(filepath.Join(temporary, "*")); len(names) > 0 {
		t.Errorf("a killed process would leave %v", names)
	}
	select {
	case err := <-ended:
		t.Fatalf("ended with %v before anybody has read", err)
	default:
	}
	got, err := io.ReadAll(r)
	if err != nil || string(got) != large {
		t.Errorf("read %d octets of %d: %v", len(got), len(large), err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAnInterruptEndsTheWaitForASlowReader(t *testing.T) {
	t.Parallel()
	_, w := pipe(t)
	ctx, interrupt := context.WithCancel(t.Context())
	ended := begin(ctx, t, w)
	interrupt()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAReaderThatGoesAwayEndsTheWriter(t *testing.T) {
	t.Parallel()
	r, w := pipe(t)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	err := Ahead(t.Context(), w, func(w io.Writer) error {
		for {
			if _, err := io.WriteString(w, large); err != nil {
				return err
			}
		}
	})
	if err == nil {
		t.Error("the reader is gone, and nobody says so")
	}
	want := errors.New("the database is away")
	r, w = pipe(t)
	err = Ahead(t.Context(), w, func(w io.Writer) error { _, _ = io.WriteString(w, "half"); return want })
	_ = w.Close()
	if got, _ := io.ReadAll(r); !errors.Is(err, want) || string(got) != "half" {
		t.Errorf("an error of the writer: %v, %q", err, got)
	}
}

// full is a file system that is full at times.
type full struct {
	*os.File
	writes int
}

func (f *full) WriteAt(p []byte, at int64) (int, error) {
	if f.writes++; f.writes%3 == 0 {
		return 0, errors.New("no space left on device")
	}
	return f.File.WriteAt(p, at)
}

func TestWithoutRoomTheWriterWaitsAndLosesNothing(t *testing.T) {
	t.Parallel()
	file, err := os.Create(filepath.Join(t.TempDir(), "queue"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var out bytes.Buffer
	a := newAhead(t.Context(), &out, &full{File: file})
	go a.copy()
	var want strings.Builder
	for n := range 1000 {
		line := strings.Repeat(string(rune('a'+n%26)), n) + "\n"
		want.WriteString(line)
		if _, err := io.WriteString(a, line); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.drain(); err != nil || out.String() != want.String() {
		t.Errorf("%d octets came of %d: %v", out.Len(), want.Len(), err)
	}
}
