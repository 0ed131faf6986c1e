package devstack

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// installer is a system's package manager.
type installer struct {
	program  string
	asRoot   bool // needs root
	commands [][]string
	typed    string // what a person types
}

var installers = []installer{
	{"apt-get", true, [][]string{
		{"apt-get", "update", "-q"},
		// Without the packages' own habit of making and starting a server for the whole system.
		{"sh", "-c", "mkdir -p /etc/postgresql-common && [ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf"},
		{"apt-get", "install", "-y", "-q", "--no-install-recommends", "postgresql"},
	}, "sudo apt-get update && sudo apt-get install postgresql"},
	{"dnf", true, [][]string{{"dnf", "install", "-y", "postgresql-server"}}, "sudo dnf install postgresql-server"},
	{"brew", false, [][]string{{"brew", "install", "postgresql@17"}}, "brew install postgresql@17"},
}

// InstallPostgres installs PostgreSQL with the system's package manager, showing what that prints, or says in its error exactly what to
// type. It does nothing when a PostgreSQL is there.
func InstallPostgres(ctx context.Context, out io.Writer, progress Progress) error {
	if _, err := findPostgres(); err == nil {
		return nil
	}
	for _, i := range installers {
		if _, err := exec.LookPath(i.program); err != nil {
			continue
		}
		if i.asRoot && os.Geteuid() != 0 {
			return fmt.Errorf("%w; type: %s\n(or set DATABASE_URL to a database that you have)", ErrNoPostgres, i.typed)
		}
		progress("no PostgreSQL is installed: installing it with %s", i.program)
		for _, args := range i.commands {
			cmd := exec.CommandContext(ctx, args[0], args[1:]...)
			cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
			cmd.Stdout, cmd.Stderr = out, out
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("install PostgreSQL: %s: %w; type: %s", args[0], err, i.typed)
			}
		}
		_, err := findPostgres()
		return err
	}
	return fmt.Errorf("%w, and no package manager that is known here: install PostgreSQL 14 or newer, or set DATABASE_URL to a database that you have", ErrNoPostgres)
}
