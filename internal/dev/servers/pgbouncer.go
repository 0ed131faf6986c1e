package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrNoPgBouncer is the error if PgBouncer is not installed and cannot be.
var ErrNoPgBouncer = errors.New("PgBouncer is not installed")

// PgBouncer is a running pooler.
type PgBouncer struct {
	process  *process
	upstream *url.URL
	port     int
}

// StartPgBouncer starts a pooler in front of the server of a URL, which has a user and a password.
// Apart from the mode ("session" or "transaction"), it has PgBouncer's own defaults. The error is
// ErrNoPgBouncer if PgBouncer is not installed.
func StartPgBouncer(ctx context.Context, dir, upstream, mode string) (*PgBouncer, error) {
	program, err := findPgBouncer()
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(upstream)
	if err != nil {
		return nil, errors.New("start PgBouncer: the URL of the server cannot be read")
	}
	account, err := serverAccount()
	if err != nil {
		return nil, err
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	secret, _ := u.User.Password()
	users, settings := filepath.Join(dir, "users.txt"), filepath.Join(dir, "pgbouncer.ini")
	files := map[string]string{
		users: fmt.Sprintf("%q %q\n", u.User.Username(), secret),
		settings: fmt.Sprintf("[databases]\n* = host=%s port=%s\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\n"+
			"unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = %s\npool_mode = %s\n",
			u.Hostname(), u.Port(), port, users, mode),
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("start PgBouncer: %w", err)
	}
	for path, text := range files {
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), account.own(path)); err != nil {
			return nil, fmt.Errorf("start PgBouncer: %w", err)
		}
	}
	log := serverLog{path: filepath.Join(dir, "pgbouncer.log")}
	logFile, err := log.open()
	if err != nil {
		return nil, fmt.Errorf("open PgBouncer's log: %w", err)
	}
	defer logFile.Close()
	cmd := exec.Command(program, settings)
	cmd.Dir, cmd.SysProcAttr, cmd.Stdout, cmd.Stderr = dir, account.attr(), logFile, logFile
	b := &PgBouncer{upstream: u, port: port}
	if b.process, err = start(cmd); err != nil {
		return nil, fmt.Errorf("start PgBouncer: %w", err)
	}
	ready, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := b.process.waitFor(ready, "PgBouncer", &log, b.answers); err != nil {
		b.Stop(ctx)
		return nil, err
	}
	return b, nil
}

func (b *PgBouncer) answers(ctx context.Context) error { return canLogIn(ctx, b.URL("postgres")) }

// URL returns the URL of a database of the server, through the pooler.
func (b *PgBouncer) URL(database string) string {
	u := *b.upstream
	u.Host, u.Path = "127.0.0.1:"+strconv.Itoa(b.port), "/"+database
	return u.String()
}

// Stop stops the pooler and breaks its connections.
func (b *PgBouncer) Stop(ctx context.Context) {
	if b.process.running() {
		b.process.stop(ctx, 5*time.Second, syscall.SIGTERM, syscall.SIGKILL)
	}
}

func findPgBouncer() (string, error) {
	for _, name := range []string{"pgbouncer", "/usr/sbin/pgbouncer"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNoPgBouncer
}

// InstallPgBouncer installs PgBouncer on Debian and its relatives, if this program runs as root.
// Otherwise the error has the command to type. It does nothing if PgBouncer is installed.
func InstallPgBouncer(ctx context.Context, out io.Writer, progress Progress) error {
	if _, err := findPgBouncer(); err == nil {
		return nil
	}
	const typed = "install it, on Debian and Ubuntu: sudo apt-get install pgbouncer"
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("%w: %s", ErrNoPgBouncer, typed)
	}
	if err := aptInstall(ctx, out, progress, "pgbouncer"); err != nil {
		return fmt.Errorf("install PgBouncer: %w", err)
	}
	_, err := findPgBouncer()
	return err
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
