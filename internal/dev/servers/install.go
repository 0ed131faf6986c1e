package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// installer is a system's package manager.
type installer struct {
	program  string
	asRoot   bool // needs root; the other package managers refuse root
	commands [][]string
	typed    string // the command for a person to type
}

var installers = []installer{
	{"apt-get", true, [][]string{
		{"apt-get", "update", "-q"},
		{"apt-get", "install", "-y", "-q", "--no-install-recommends", "postgresql"},
	}, "sudo apt-get update && sudo apt-get install postgresql"},
	{"dnf", true, [][]string{{"dnf", "install", "-y", "postgresql-server"}}, "sudo dnf install postgresql-server"},
	{"brew", false, [][]string{{"brew", "install", "postgresql@17"}}, "brew install postgresql@17"},
}

const orSetURL = "or set DATABASE_URL to a PostgreSQL that you have"

// InstallPostgres installs PostgreSQL with the system's package manager and shows its output. If
// that is not possible, the error has the command to type. It does nothing if PostgreSQL is
// installed.
func InstallPostgres(ctx context.Context, out io.Writer, progress Progress) error {
	if _, err := findPostgres(0); err == nil {
		return nil
	}
	var typed string
	for _, i := range installers {
		if _, err := exec.LookPath(i.program); err != nil {
			continue
		}
		if i.asRoot == (os.Geteuid() == 0) {
			return i.install(ctx, out, progress.orSilent())
		}
		if typed == "" {
			typed = i.typed
		}
	}
	if typed != "" {
		return fmt.Errorf("%w: type `%s`, %s", ErrNoPostgres, typed, orSetURL)
	}
	return fmt.Errorf("%w, nor a package manager that is known here: install PostgreSQL, %s", ErrNoPostgres, orSetURL)
}

func (i installer) install(ctx context.Context, out io.Writer, progress Progress) error {
	progress("%v: installing it with %s", ErrNoPostgres, i.program)
	if i.program == "apt-get" {
		undo, err := withoutMainCluster()
		if err != nil {
			return fmt.Errorf("install PostgreSQL: %w; type `%s`", err, i.typed)
		}
		defer undo()
	}
	for _, args := range i.commands {
		progress("$ %s", strings.Join(args, " "))
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		cmd.Stdout, cmd.Stderr = out, out
		// A package manager that is killed can leave the system in disorder, so it gets time to
		// end.
		if err := run(ctx, cmd, 2*time.Minute); err != nil {
			return fmt.Errorf("install PostgreSQL: `%s`: %w; %s", strings.Join(args, " "), err, orSetURL)
		}
	}
	if _, err := findPostgres(0); errors.Is(err, ErrNoPostgres) {
		return fmt.Errorf("%s has installed PostgreSQL, but none that is 14 or newer: install one from another "+
			"source, %s", i.program, orSetURL)
	} else if err != nil {
		return err
	}
	return nil
}

// withoutMainCluster stops Debian's package from creating and starting a cluster of its own at the
// installation.
func withoutMainCluster() (undo func(), err error) {
	const dir = "/etc/postgresql-common/createcluster.d"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "direct-mailer.conf")
	if err := os.WriteFile(path, []byte("create_main_cluster = false\n"), 0o644); err != nil {
		return nil, err
	}
	return func() {
		_ = os.Remove(path)
		_ = os.Remove(dir) // if it is empty: this function may have created it
	}, nil
}
