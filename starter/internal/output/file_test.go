package output_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"directmailer/starter/internal/output"
)

func writeX(w io.Writer) error {
	_, err := io.WriteString(w, "x")
	return err
}

func TestAFileAppearsWhenItIsComplete(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/report.csv"
	err := output.ToFile(path, func(w io.Writer) error {
		if _, err := os.Stat(path); err == nil {
			t.Error("the file is there before it is complete")
		}
		return writeX(w)
	})
	info, statErr := os.Stat(path)
	if err != nil || statErr != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v, %v", err, statErr, info)
	}
}

func TestAFileThatFailsLeavesNothingAndTheOldOneStays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := dir + "/report.csv"
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	failure := errors.New("the database is gone")
	err := output.ToFile(path, func(w io.Writer) error { return errors.Join(writeX(w), failure) })
	if !errors.Is(err, failure) {
		t.Errorf("the error is %v", err)
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != "old" {
		t.Errorf("the old file holds %q, %v", content, err)
	}
	if names, err := filepath.Glob(dir + "/.*"); err != nil || len(names) > 0 {
		t.Errorf("left behind: %v, %v", names, err)
	}
	err = output.ToFile(dir+"/nowhere/report.csv", nil)
	if err == nil || !strings.Contains(err.Error(), "nowhere/report.csv: no such file") {
		t.Errorf("a folder that does not exist: %v", err)
	}
}

// Somebody else can prepare names in a folder such as /tmp, to read what is written there or to
// have it written elsewhere.
func TestAFileIsNeverWrittenIntoWhatSomebodyElseHasPrepared(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, other := dir+"/report.csv", dir+"/other"
	if err := os.WriteFile(other, []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, path+".tmp"); err != nil {
		t.Fatal(err)
	}
	if err := output.ToFile(path, writeX); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
	link := dir + "/link.csv"
	if err := os.Symlink(other, link); err != nil {
		t.Fatal(err)
	}
	if err := output.ToFile(link, writeX); !errors.Is(err, output.ErrNotAFile) {
		t.Errorf("a link: %v", err)
	}
	if content, err := os.ReadFile(other); err != nil || string(content) != "other" {
		t.Errorf("what the links point to holds %q, %v", content, err)
	}
}

func TestAnOutputThatIsNoFileIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pipe := dir + "/pipe"
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, pipe, os.DevNull} {
		if err := output.ToFile(name, writeX); !errors.Is(err, output.ErrNotAFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if info, err := os.Lstat(pipe); err != nil || info.Mode().Type() != os.ModeNamedPipe {
		t.Errorf("the pipe is now %v, %v", info, err)
	}
}
