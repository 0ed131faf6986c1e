package droppoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// dropDirectory returns a drop directory with the given steps, and its path.
func dropDirectory(t *testing.T, files files) (*DropPoint, string) {
	t.Helper()
	dir := t.TempDir()
	d := newDropPoint(Config{Name: "drop", Connections: 1, Dir: dir})
	d.transport.(*directory).files = files
	t.Cleanup(d.close)
	return d, dir
}

var letter = Message{From: "news@example.com", To: "anna@example.org", Name: "spring.00000007",
	Data: []byte("Subject: x\r\n\r\nHello\r\n")}

const letterFile = "X-Sender: <news@example.com>\r\nX-Receiver: <anna@example.org>\r\nSubject: x\r\n\r\nHello\r\n"

// names returns the names of the files in a directory. Temporary names are shortened to ".part".
func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, shortName(e.Name()))
	}
	return out
}

func shortName(path string) string {
	if name := filepath.Base(path); !strings.HasSuffix(name, tempSuffix) {
		return name
	}
	return tempSuffix
}

// A message must be on the disk before it is visible, and its name before the ledger records it.
func TestADropDirectoryWritesSyncsRenamesAndSyncsInThisOrder(t *testing.T) {
	t.Parallel()
	var steps []string
	note := func(format string, args ...any) { steps = append(steps, fmt.Sprintf(format, args...)) }
	d, dir := dropDirectory(t, files{
		write: func(f *os.File, data []byte) (int, error) {
			if step := "write " + shortName(f.Name()); len(steps) == 0 || steps[len(steps)-1] != step {
				note("%s", step)
			}
			return f.Write(data)
		},
		sync: func(f *os.File) error {
			info, err := f.Stat()
			switch {
			case err != nil:
				return err
			case info.IsDir():
				note("sync folder with %v", names(t, f.Name()))
			default:
				note("sync %s of %d octets", shortName(f.Name()), info.Size())
			}
			return f.Sync()
		},
		rename: func(from, to string) error {
			data, err := os.ReadFile(from)
			if err != nil || string(data) != letterFile {
				t.Errorf("renamed: %q, %v", data, err)
			}
			note("rename %s %s", shortName(from), shortName(to))
			return os.Rename(from, to)
		},
	})
	conn, err := d.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"write .part", "sync .part of 22 octets", "sync folder with []"}; !slices.Equal(steps, want) {
		t.Errorf("opened:\n got %q\nwant %q", steps, want)
	}
	for range 2 { // the second replaces the first
		before := names(t, dir)
		steps = nil
		if err := conn.Begin(t.Context(), &letter); err != nil {
			t.Fatal(err)
		}
		want := []string{"write .part", fmt.Sprintf("sync .part of %d octets", len(letterFile))}
		if !slices.Equal(steps, want) {
			t.Errorf("begun:\n got %q\nwant %q", steps, want)
		}
		if got := names(t, dir); !slices.Equal(got, append([]string{".part"}, before...)) {
			t.Errorf("before the final step there are %v", got)
		}
		if answer, err := conn.Finish(nil); err != nil || answer.Text != "spring.00000007.eml" {
			t.Fatalf("%+v, %v", answer, err)
		}
		want = append(want, "rename .part spring.00000007.eml", "sync folder with [spring.00000007.eml]")
		if !slices.Equal(steps, want) {
			t.Errorf("finished:\n got %q\nwant %q", steps, want)
		}
	}
	conn.Release()
	if len(d.idle) != 1 {
		t.Error("a connection that works is not kept")
	}
}

func TestWhatAnErrorOfTheFileSystemSaysAboutTheMessage(t *testing.T) {
	t.Parallel()
	const sent Outcome = -1
	only := func(err error) func(from, to string) error { // nothing is renamed
		return func(from, to string) error { return &os.LinkError{Op: "rename", Old: from, New: to, Err: err} }
	}
	after := func(do func(from, to string) error, err error) func(from, to string) error {
		return func(from, to string) error {
			if err := do(from, to); err != nil {
				t.Error(err)
			}
			return only(err)(from, to)
		}
	}
	collected := func(from, _ string) error { return os.Remove(from) } // renamed, and then taken by a collector
	folderGone := func(from, _ string) error { return os.RemoveAll(filepath.Dir(from)) }
	rename := func(rename func(from, to string) error) func(*files) {
		return func(f *files) { f.rename = rename }
	}
	// syncFails fails the n-th sync after the drop point is open, which takes two.
	syncFails := func(n int) func(*files) {
		return func(f *files) {
			calls := 0
			f.sync = func(f *os.File) error {
				if calls++; calls == n+2 {
					return &os.PathError{Op: "sync", Path: f.Name(), Err: syscall.EIO}
				}
				return f.Sync()
			}
		}
	}
	diskFull := func(f *files) {
		f.write = func(f *os.File, data []byte) (int, error) {
			if string(data) != string(letter.Data) {
				return f.Write(data)
			}
			n, _ := f.Write(data[:5])
			return n, &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
		}
	}
	type test struct {
		faults  []func(*files)
		outcome Outcome
		visible bool
	}
	tests := map[string]test{
		"the disk is full":       {[]func(*files){diskFull}, Unavailable, false},
		"the file is not synced": {[]func(*files){syncFails(1)}, Unavailable, false},
		"the name is not synced": {[]func(*files){syncFails(2)}, Uncertain, true},
		"renamed, ENOENT":        {[]func(*files){rename(after(os.Rename, syscall.ENOENT))}, sent, true},
		"renamed, EIO":           {[]func(*files){rename(after(os.Rename, syscall.EIO))}, sent, true},
		"renamed, ENOENT, no sync": {[]func(*files){rename(after(os.Rename, syscall.ENOENT)), syncFails(2)},
			Uncertain, true},
		"collected, ENOENT":          {[]func(*files){rename(after(collected, syscall.ENOENT))}, Uncertain, false},
		"collected, EACCES":          {[]func(*files){rename(after(collected, syscall.EACCES))}, Uncertain, false},
		"the directory is gone":      {[]func(*files){rename(after(folderGone, syscall.ENOENT))}, Unavailable, false},
		"ENOENT, and nothing is":     {[]func(*files){rename(only(syscall.ENOENT))}, Uncertain, false},
		"an error of another system": {[]func(*files){rename(only(syscall.EPROTO))}, Uncertain, false},
		"an error without a number":  {[]func(*files){rename(only(os.ErrDeadlineExceeded))}, Uncertain, false},
	}
	for _, err := range []error{syscall.EIO, syscall.ESTALE, syscall.ETIMEDOUT, syscall.EINTR} {
		tests["the answer is lost: "+err.Error()] = test{[]func(*files){rename(only(err))}, Uncertain, false}
	}
	for _, err := range []error{syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.ENOSPC, syscall.EDQUOT,
		syscall.EXDEV, syscall.EISDIR,
		syscall.ENOTDIR, syscall.EBUSY, syscall.EMLINK, syscall.ELOOP, syscall.ENAMETOOLONG, syscall.EINVAL} {
		tests["not renamed: "+err.Error()] = test{[]func(*files){rename(only(err))}, Unavailable, false}
	}
	for name, c := range tests {
		for _, earlier := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/earlier attempt %v", name, earlier), func(t *testing.T) {
				f := realFiles
				for _, fault := range c.faults {
					fault(&f)
				}
				d, dir := dropDirectory(t, f)
				final := filepath.Join(dir, "spring.00000007.eml")
				if earlier { // a file of that name proves nothing about this attempt
					if err := os.WriteFile(final, []byte("of an earlier attempt"), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				conn, err := d.Acquire(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				err = conn.Begin(t.Context(), &letter)
				begun := err == nil
				if begun {
					_, err = conn.Finish(nil)
				}
				if got := OutcomeOf(err); err == nil != (c.outcome == sent) || err != nil && got != c.outcome {
					t.Errorf("got %v (%v), want %v", err, got, c.outcome)
				}
				if err != nil && (strings.Contains(err.Error(), dir) || strings.Contains(err.Error(), "spring")) {
					t.Errorf("the error names the file: %v", err)
				}
				conn.Release()
				if kept := len(d.idle) > 0; begun && kept != (c.outcome == sent) {
					t.Errorf("the connection is kept: %v", kept)
				}
				data, _ := os.ReadFile(final)
				if (string(data) == letterFile) != c.visible || slices.Contains(names(t, dir), tempSuffix) {
					t.Errorf("%v are left; the message's file is %q", names(t, dir), data)
				}
			})
		}
	}
}

func TestADirectoryThatCannotBeSyncedIsKnownBeforeAMessageIsBegun(t *testing.T) {
	t.Parallel()
	files := realFiles
	files.sync = func(f *os.File) error {
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return &os.PathError{Op: "sync", Path: f.Name(), Err: syscall.EINVAL}
		}
		return f.Sync()
	}
	d, dir := dropDirectory(t, files)
	_, err := d.Acquire(t.Context())
	if err == nil || OutcomeOf(err) != Unavailable ||
		!strings.Contains(err.Error(), "sync the drop directory: invalid argument") || len(names(t, dir)) > 0 {
		t.Errorf("got %v; left: %v", err, names(t, dir))
	}
	if h := d.Check(t.Context()); h.Err == nil {
		t.Error("the check finds it usable")
	}
}

// The other tests replace the steps. This test checks that a real drop directory has real ones.
func TestADropDirectoryReallySyncs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	d := newDropPoint(Config{Name: "drop", Connections: 1, Dir: dir}).transport.(*directory)
	if err := d.files.sync(f); err != nil {
		t.Errorf("an open folder: %v", err)
	}
	_ = f.Close()
	if err := d.files.sync(f); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a closed folder: %v", err)
	}
	if _, err := d.files.write(f, nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("written to a closed folder: %v", err)
	}
}
