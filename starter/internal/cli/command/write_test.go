package command

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// A report is read from the database while it is written. Nobody may look at the pager.
func TestTheStandardOutputMayBeReadSlowly(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	large := strings.Repeat("line\n", 1<<18) // more than a pipe holds
	wrote, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- App{Streams{Out: w}}.Write(t.Context(), "", func(w io.Writer) error {
			defer close(wrote)
			_, err := io.WriteString(w, large)
			return err
		})
		_ = w.Close()
	}()
	select {
	case <-wrote:
	case <-time.After(time.Minute):
		t.Fatal("the database waits for the reader")
	}
	got, err := io.ReadAll(r)
	if err != nil || string(got) != large {
		t.Errorf("read %d octets of %d: %v", len(got), len(large), err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
