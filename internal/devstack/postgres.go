package devstack

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrNoPostgres says that no PostgreSQL 14 or newer was found on this system.
var ErrNoPostgres = errors.New("no PostgreSQL 14 or newer is installed")

// PostgresOptions says where a cluster lives.
type PostgresOptions struct {
	// Dir is the data folder. It is made, with a new cluster in it, if it is not there.
	Dir string
	// Port to listen on; 0 for one that is free.
	Port int
	// Settings are added to postgresql.conf's, on each start.
	Settings map[string]string
	Progress Progress
}

// Postgres is a running private server.
type Postgres struct {
	options PostgresOptions
	bin     string
	account *account
	process *process
	port    int
	secret  string
}

// StartPostgres starts the server, and makes its cluster first if need be. A server that an earlier process of ours left running on the
// same folder is stopped first. ErrNoPostgres.
func StartPostgres(ctx context.Context, o PostgresOptions) (*Postgres, error) {
	if o.Progress == nil {
		o.Progress = Silent
	}
	bin, err := findPostgres()
	if err != nil {
		return nil, err
	}
	p := &Postgres{options: o, bin: bin}
	if p.account, err = serverAccount(); err != nil {
		return nil, err
	}
	if err := p.prepare(ctx); err != nil {
		return nil, err
	}
	return p, p.Start(ctx)
}

func (p *Postgres) dir() string { return filepath.Join(p.options.Dir, "data") }
func (p *Postgres) log() string { return filepath.Join(p.options.Dir, "postgres.log") }

// prepare makes the folder and the cluster. A cluster that was not finished is made again.
func (p *Postgres) prepare(ctx context.Context) error {
	if err := os.MkdirAll(p.options.Dir, 0o700); err != nil {
		return fmt.Errorf("make PostgreSQL's data folder: %w", err)
	}
	if err := p.account.own(p.options.Dir); err != nil {
		return err
	}
	if err := p.account.canReach(p.options.Dir); err != nil {
		return err
	}
	secretFile := filepath.Join(p.options.Dir, "password")
	if secret, err := os.ReadFile(secretFile); err == nil {
		p.secret = string(secret)
		return nil // written last: the cluster is complete
	}
	p.options.Progress("making a PostgreSQL cluster in %s", p.options.Dir)
	if err := os.RemoveAll(p.dir()); err != nil {
		return err
	}
	p.secret = rand.Text()
	unfinished := secretFile + ".new"
	if err := os.WriteFile(unfinished, []byte(p.secret), 0o600); err != nil {
		return err
	}
	if err := p.account.own(unfinished); err != nil {
		return err
	}
	cmd := p.command(ctx, "initdb", "-D", p.dir(), "-U", "postgres", "-A", "scram-sha-256", "--pwfile="+unfinished, "-E", "UTF8", "--locale=C", "--no-sync")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return os.Rename(unfinished, secretFile)
}

// Start starts the server again after Stop or Kill, on the same port.
func (p *Postgres) Start(ctx context.Context) error {
	if err := p.endLeftover(ctx); err != nil {
		return err
	}
	var err error
	for range 5 { // a free port may be taken by somebody else before the server has it
		if err = p.startOnce(ctx); err == nil || p.options.Port != 0 || !strings.Contains(err.Error(), "could not bind") {
			return err
		}
		p.port = 0
	}
	return err
}

func (p *Postgres) startOnce(ctx context.Context) (err error) {
	if p.options.Port != 0 {
		p.port = p.options.Port
	}
	if p.port == 0 {
		if p.port, err = freePort(); err != nil {
			return err
		}
	}
	args := []string{"-D", p.dir(), "-p", strconv.Itoa(p.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
		"-c", "max_connections=300"}
	for name, value := range p.options.Settings {
		args = append(args, "-c", name+"="+value)
	}
	logFile, err := os.OpenFile(p.log(), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	cmd := p.command(context.WithoutCancel(ctx), "postgres", args...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if p.process, err = start(cmd); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := p.process.waitFor(ctx, "PostgreSQL", p.log(), p.answers); err != nil {
		p.Kill()
		return err
	}
	return nil
}

func (p *Postgres) answers(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, p.URL("postgres"))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// URL is that of a database of the server. It holds the password: it is for the environment of processes, not for command lines.
func (p *Postgres) URL(database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword("postgres", p.secret), Host: fmt.Sprintf("127.0.0.1:%d", p.port), Path: "/" + database}
	return u.String()
}

// CreateDatabase makes a database if it is not there.
func (p *Postgres) CreateDatabase(ctx context.Context, name string) error {
	conn, err := pgx.Connect(ctx, p.URL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var there bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, name).Scan(&there); err != nil || there {
		return err
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	return err
}

// Stop ends the server in order: connections are closed, everything is on disk.
func (p *Postgres) Stop(ctx context.Context) {
	if p.process != nil && p.process.running() {
		p.process.stop(ctx, syscall.SIGINT, syscall.SIGQUIT)
	}
}

// Kill ends the server and its children as a crash would.
func (p *Postgres) Kill() {
	if p.process != nil && p.process.running() {
		_ = syscall.Kill(-p.process.cmd.Process.Pid, syscall.SIGKILL)
		<-p.process.exited
	}
}

// endLeftover stops a server that still runs on our folder, which a killed process of ours has left.
func (p *Postgres) endLeftover(ctx context.Context) error {
	data, err := os.ReadFile(filepath.Join(p.dir(), "postmaster.pid"))
	if err != nil {
		return nil
	}
	first, _, _ := strings.Cut(string(data), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || syscall.Kill(pid, 0) != nil {
		return nil // a crash: the server itself takes the stale file away
	}
	// pg_ctl looks whether the process is a server on this folder before it signals.
	out, err := p.command(ctx, "pg_ctl", "stop", "-D", p.dir(), "-m", "fast", "-w", "-t", "30").CombinedOutput()
	if err != nil && !strings.Contains(string(out), "No such process") {
		return fmt.Errorf("stop the PostgreSQL that runs on %s already: %w\n%s", p.dir(), err, out)
	}
	return nil
}

func (p *Postgres) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, name), args...)
	cmd.Dir = p.options.Dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PGDATA="+p.dir())
	cmd.SysProcAttr = p.account.attr()
	return cmd
}

// findPostgres returns the folder of the newest server's binaries.
func findPostgres() (string, error) {
	var dirs []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin",
		"/opt/homebrew/bin", "/usr/local/pgsql/bin"} {
		found, _ := filepath.Glob(pattern)
		dirs = append(dirs, found...)
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	best, bestVersion := "", 0
	for _, dir := range dirs {
		if v := serverVersion(dir); v > bestVersion {
			best, bestVersion = dir, v
		}
	}
	if bestVersion < 14 {
		return "", ErrNoPostgres
	}
	return best, nil
}

// serverVersion is the major version of the server in dir, 0 if it is not complete.
func serverVersion(dir string) int {
	for _, name := range []string{"initdb", "pg_ctl"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return 0
		}
	}
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(out)) // postgres (PostgreSQL) 15.18 (Debian …)
	if len(fields) < 3 {
		return 0
	}
	major, _, _ := strings.Cut(fields[2], ".")
	n, _ := strconv.Atoi(strings.TrimRight(major, "abcdefghijklmnopqrstuvwxyz"))
	return n
}

// account is the user that the server runs as: PostgreSQL refuses to be root.
type account struct{ uid, gid uint32 }

// serverAccount returns nil unless we are root.
func serverAccount() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		return &account{uint32(uid), uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")
}

func (a *account) attr() *syscall.SysProcAttr {
	if a == nil {
		return nil
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: a.uid, Gid: a.gid}}
}

func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return os.Chown(path, int(a.uid), int(a.gid))
}

// canReach checks that the account may pass every folder above dir.
func (a *account) canReach(dir string) error {
	if a == nil {
		return nil
	}
	var above []string
	for d := filepath.Dir(dir); ; d = filepath.Dir(d) {
		above = append(above, d)
		if d == filepath.Dir(d) {
			break
		}
	}
	slices.Reverse(above)
	for _, d := range above {
		info, err := os.Stat(d)
		if err != nil {
			return err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			continue
		}
		mode := info.Mode().Perm()
		if !(mode&0o001 != 0 || stat.Uid == a.uid && mode&0o100 != 0 || stat.Gid == a.gid && mode&0o010 != 0) {
			return fmt.Errorf("PostgreSQL does not run as root, and its user may not pass the folder %s: choose another data folder (--data), or not to be root", d)
		}
	}
	return nil
}
