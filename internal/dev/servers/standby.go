package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// StartStandby starts a server that follows the primary by streaming replication, with the
// primary's settings, on the port or, with 0, on a free one. Its folder must not exist. It returns
// when the standby follows.
func StartStandby(ctx context.Context, primary *Postgres, dir string, port int) (*Postgres, error) {
	o := primary.options
	o.Dir, o.Port = dir, port
	p := &Postgres{options: o, bin: primary.bin, account: primary.account, secret: primary.secret, port: port,
		log: serverLog{path: filepath.Join(dir, "postgres.log")}}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("make a standby: the folder %s is there already", dir)
	}
	if err := p.makeFolder(); err != nil {
		return nil, err
	}
	// -R makes it a standby, and writes down how to reach the primary.
	program, err := findBaseBackup(p.bin)
	if err != nil {
		return nil, err
	}
	cmd := p.command("pg_basebackup", "-D", p.dir(), "-R", "-X", "stream", "-c", "fast", "-h", "127.0.0.1",
		"-p", strconv.Itoa(primary.port), "-U", "postgres")
	cmd.Path, cmd.Err = program, nil
	cmd.Env = append(cmd.Env, "PGPASSWORD="+p.secret)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := run(ctx, cmd, 5*time.Second); err != nil {
		return nil, fmt.Errorf("make a standby: pg_basebackup: %w\n%s", err, bytes.TrimSpace(out.Bytes()))
	}
	if err := p.Start(ctx); err != nil {
		return nil, err
	}
	return p, primary.awaitStandby(ctx, "streaming", `state = 'streaming'`)
}

// findBaseBackup returns the path of pg_basebackup, which a distribution may keep in another folder
// than the server.
func findBaseBackup(bin string) (string, error) {
	for _, dir := range append([]string{bin}, postgresCandidates()...) {
		if path, err := exec.LookPath(filepath.Join(dir, "pg_basebackup")); err == nil {
			return path, nil
		}
	}
	return exec.LookPath("pg_basebackup")
}

// Synchronous makes each commit of the primary wait until its standby has it on disk.
func (p *Postgres) Synchronous(ctx context.Context) error {
	for _, sql := range []string{`ALTER SYSTEM SET synchronous_standby_names = '*'`, `SELECT pg_reload_conf()`} {
		if err := p.exec(ctx, sql); err != nil {
			return err
		}
	}
	return p.awaitStandby(ctx, "synchronous", `sync_state = 'sync'`)
}

// Promote makes a standby the primary. It returns when the server accepts writes.
func (p *Postgres) Promote(ctx context.Context) error {
	return p.exec(ctx, `SELECT pg_promote(true, 60)`)
}

// HoldReplication stops the processes that send the primary's changes to its standbys, until the
// primary is killed: what is committed meanwhile is on no standby.
func (p *Postgres) HoldReplication(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, p.URL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, `SELECT pid FROM pg_stat_replication`)
	if err != nil {
		return err
	}
	senders, err := pgx.CollectRows(rows, pgx.RowTo[int])
	for _, pid := range senders {
		err = errors.Join(err, syscall.Kill(pid, syscall.SIGSTOP))
	}
	return err
}

// Port is the port that the server listens on.
func (p *Postgres) Port() int { return p.port }

// WithStandby returns the URL of a database that is on the primary or, after its end, on the other
// server.
func (p *Postgres) WithStandby(standby *Postgres, database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword("postgres", p.secret),
		Host: fmt.Sprintf("127.0.0.1:%d,127.0.0.1:%d", p.port, standby.port), Path: "/" + database,
		RawQuery: "sslmode=disable&target_session_attrs=read-write"}
	return u.String()
}

func (p *Postgres) exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, p.URL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, sql)
	return err
}

// awaitStandby waits until the primary has a standby for which the condition holds.
func (p *Postgres) awaitStandby(ctx context.Context, what, condition string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.URL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for {
		var there bool
		err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_stat_replication WHERE `+condition+`)`).Scan(&there)
		if err != nil {
			return fmt.Errorf("wait for the standby to be %s: %w", what, err)
		}
		if there {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
}
