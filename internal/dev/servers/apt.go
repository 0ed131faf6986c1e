package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"time"
)

// installWithApt installs packages of Debian, if this program runs as root. Otherwise the error is
// missing, with the command to type.
func installWithApt(ctx context.Context, out io.Writer, progress Progress, missing error, packages ...string) error {
	if err := canInstallWithApt(missing, packages...); err != nil {
		return err
	}
	return aptInstall(ctx, out, progress, packages...)
}

func canInstallWithApt(missing error, packages ...string) error {
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("%w: install it, on Debian and Ubuntu: sudo apt-get install %s", missing,
			strings.Join(packages, " "))
	}
	return nil
}

// aptInstall installs packages of Debian. It starts no service of theirs.
func aptInstall(ctx context.Context, out io.Writer, progress Progress, packages ...string) error {
	undo, err := withoutServices()
	if err != nil {
		return err
	}
	defer undo()
	install := []string{"apt-get", "install", "-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"}
	for _, args := range [][]string{{"apt-get", "update", "-q"}, append(install, packages...)} {
		progress.orSilent()("$ %s", strings.Join(args, " "))
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		cmd.Stdout, cmd.Stderr = out, out
		if err := run(ctx, cmd, 2*time.Minute); err != nil {
			return fmt.Errorf("`%s`: %w", strings.Join(args, " "), err)
		}
	}
	return nil
}

// withoutServices keeps Debian's packages from starting a service of their own at the installation.
func withoutServices() (undo func(), err error) {
	const path = "/usr/sbin/policy-rc.d"
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return func() {}, nil // the system, such as a container, has a policy
	}
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString("#!/bin/sh\nexit 101\n")
	return func() { _ = os.Remove(path) }, errors.Join(err, f.Close())
}
