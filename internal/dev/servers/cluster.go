package servers

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// makeFolder creates the data folder for the server's user only, and the folders above it for
// everybody to enter.
func (p *Postgres) makeFolder() error {
	above := filepath.Dir(p.options.Dir)
	if err := p.account.canReach(above); err != nil {
		return err
	}
	if err := p.account.makeFolder(above); err != nil {
		return fmt.Errorf("make PostgreSQL's data folder: %w", err)
	}
	if err := os.Mkdir(p.options.Dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make PostgreSQL's data folder: %w", err)
	}
	if err := p.account.own(p.options.Dir); err != nil {
		return fmt.Errorf("give PostgreSQL its data folder: %w", err)
	}
	return nil
}

// madeBy returns the major version of the existing cluster, or 0 if there is none.
func (p *Postgres) madeBy() (int, error) {
	text, err := os.ReadFile(filepath.Join(p.dir(), "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the PostgreSQL cluster that is there: %w (run as the user who made it, or "+
			"choose another data folder)", err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%s is not a PostgreSQL cluster of 14 or newer", p.dir())
	}
	return major, nil
}

func (p *Postgres) passwordFile() string { return filepath.Join(p.options.Dir, "password") }

// password reads the superuser's password, or creates one if there is no cluster yet.
func (p *Postgres) password(made bool) error {
	secret, err := os.ReadFile(p.passwordFile())
	if err == nil && len(secret) > 0 {
		p.secret = string(secret)
		return nil
	}
	if made {
		return fmt.Errorf("the password of the PostgreSQL cluster in %s cannot be read: %w", p.options.Dir,
			errors.Join(err))
	}
	p.secret = rand.Text()
	if err := os.WriteFile(p.passwordFile(), []byte(p.secret), 0o600); err != nil {
		return fmt.Errorf("keep PostgreSQL's password: %w", err)
	}
	return p.account.own(p.passwordFile())
}

// makeCluster creates the cluster in another folder and renames the folder when the cluster is
// complete. An interrupted call leaves nothing that looks like a cluster.
func (p *Postgres) makeCluster(ctx context.Context) error {
	unfinished := p.dir() + ".new"
	if err := os.RemoveAll(unfinished); err != nil {
		return fmt.Errorf("remove an unfinished PostgreSQL cluster: %w", err)
	}
	args := []string{"-D", unfinished, "-U", "postgres", "-A", "scram-sha-256", "--pwfile=" + p.passwordFile(), "-E",
		"UTF8", "--locale=C"}
	if p.options.Throwaway {
		args = append(args, "--no-sync")
	}
	cmd := p.command("initdb", args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := run(ctx, cmd, 5*time.Second); err != nil {
		return fmt.Errorf("make a PostgreSQL cluster: initdb: %w\n%s", err, bytes.TrimSpace(out.Bytes()))
	}
	if err := os.Rename(unfinished, p.dir()); err != nil {
		return fmt.Errorf("make a PostgreSQL cluster: %w", err)
	}
	return nil
}
