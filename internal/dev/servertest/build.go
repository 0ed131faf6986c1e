package servertest

import (
	"os/exec"
	"path"
	"strings"
	"sync"
	"testing"
)

var (
	builds   = map[string]func() (string, error){}
	building sync.Mutex
)

// Build builds a program of this module, such as "./worker", with the race detector if the tests have it, once for the test binary, and
// returns its path.
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

// buildProgram returns the program's path, or with the error what the compiler has said.
func buildProgram(pkg string) (string, error) {
	dir, err := ownFolder("bin")
	if err != nil {
		return "", err
	}
	program := dir + "/" + path.Base(pkg)
	args := []string{"build", "-o", program}
	if raced {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, path.Join("directmailer", strings.TrimPrefix(pkg, "./")))...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return string(out), err
	}
	return program, nil
}
