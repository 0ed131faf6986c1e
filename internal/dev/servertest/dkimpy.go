package servertest

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"directmailer/internal/dev/servers"
)

// Dkimpy returns a function that runs a Python program which may import dkimpy and its Ed25519. The
// test is skipped where they cannot be installed.
func Dkimpy(t testing.TB) func(args ...string) (output string, err error) {
	t.Helper()
	python, err := servers.InstallDkimpy(t.Context(), os.Stderr, say)
	if errors.Is(err, servers.ErrNoDkimpy) {
		t.Skipf("SKIPPED, signatures are not verified by dkimpy: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	return func(args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), python, args...).CombinedOutput()
		return string(out), err
	}
}
