package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
)

// ErrNoDkimpy is the error if dkimpy or its Ed25519 is not installed and cannot be.
var ErrNoDkimpy = errors.New("dkimpy is not installed")

// findDkimpy returns a Python that has dkimpy. Debian's packages are those of /usr/bin/python3,
// whatever else is on PATH.
func findDkimpy(ctx context.Context) (string, error) {
	for _, python := range []string{"/usr/bin/python3", "python3"} {
		if exec.CommandContext(ctx, python, "-c", "import dkim, nacl.signing").Run() == nil {
			return python, nil
		}
	}
	return "", ErrNoDkimpy
}

// InstallDkimpy installs dkimpy on Debian and its relatives, if this program runs as root, and
// returns the Python that has it. Otherwise the error has the command to type.
func InstallDkimpy(ctx context.Context, out io.Writer, progress Progress) (python string, err error) {
	if python, err := findDkimpy(ctx); err == nil {
		return python, nil
	}
	if err := installWithApt(ctx, out, progress, ErrNoDkimpy, "python3-dkim", "python3-nacl"); err != nil {
		return "", fmt.Errorf("install dkimpy: %w", err)
	}
	return findDkimpy(ctx)
}
