package servertest

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

var (
	builds   = map[string]func() (string, error){}
	building sync.Mutex
)

// Build returns the path of a program of this module, such as "./worker". The program has the race
// detector if the tests have it. It is built once for the test binary.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	building.Lock()
	build, ok := builds[pkg]
	if !ok {
		build = sync.OnceValues(func() (string, error) { return buildProgram(pkg) })
		builds[pkg] = build
	}
	building.Unlock()
	program, err := build()
	if err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, program)
	}
	return program
}

// buildProgram returns the program's path. With an error, it returns the compiler's output. It
// builds into a folder that all test binaries share, because the go command does not link an
// unchanged program again. It returns a link to the program, because another test binary may build
// another version meanwhile.
func buildProgram(pkg string) (string, error) {
	own, err := ownFolder("bin")
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	program := filepath.Join(cache, "directmailer", "tests", path.Base(pkg))
	args := []string{"build"}
	if raced {
		program += "-race"
		args = append(args, "-race")
	}
	if err := errors.Join(os.Mkdir(own, 0o755), os.MkdirAll(filepath.Dir(program), 0o755)); err != nil {
		return "", err
	}
	unlock, err := lock(program + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	cmd := exec.Command("go", append(args, "-o", program, path.Join("directmailer", strings.TrimPrefix(pkg, "./")))...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return string(out), err
	}
	target := filepath.Join(own, path.Base(pkg))
	if os.Link(program, target) == nil {
		return target, nil
	}
	return target, copyProgram(program, target) // another file system
}

// lock waits for the lock of the file. The lock ends with the process at the latest.
func lock(file string) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil
}

func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
