package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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
	if err := account.makeFolder(dir); err != nil {
		return nil, fmt.Errorf("start PgBouncer: %w", err)
	}
	for path, text := range files {
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), account.own(path)); err != nil {
			return nil, fmt.Errorf("start PgBouncer: %w", err)
		}
	}
	b := &PgBouncer{upstream: u, port: port}
	answers := func(ctx context.Context) error { return canLogIn(ctx, b.URL("postgres")) }
	b.process, err = startIn(ctx, dir, account, "PgBouncer", answers, program, settings)
	return b, err
}

// URL returns the URL of a database of the server, through the pooler.
func (b *PgBouncer) URL(database string) string {
	u := *b.upstream
	u.Host, u.Path = "127.0.0.1:"+strconv.Itoa(b.port), "/"+database
	return u.String()
}

// Stop stops the pooler and breaks its connections.
func (b *PgBouncer) Stop(ctx context.Context) { b.process.end(ctx) }

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
	if err := installWithApt(ctx, out, progress, ErrNoPgBouncer, "pgbouncer"); err != nil {
		return fmt.Errorf("install PgBouncer: %w", err)
	}
	_, err := findPgBouncer()
	return err
}
