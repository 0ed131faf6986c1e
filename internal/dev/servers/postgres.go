package servers

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// PostgresOptions describes a cluster and its server.
type PostgresOptions struct {
	// Dir is the data folder. It is created with a new cluster if it does not exist.
	Dir string
	// Port is the port to listen on. 0 means a free one.
	Port int
	// Settings overrides settings of postgresql.conf at each start.
	Settings map[string]string
	// Throwaway saves time and gives up the certainty that data survives a power failure. Data
	// still survives a crash of the server.
	Throwaway bool
	Progress  Progress
}

// Postgres is a running private server. Its methods are not safe for concurrent use.
type Postgres struct {
	options PostgresOptions
	bin     string
	account *account
	process *process
	log     serverLog
	port    int
	secret  string
}

// StartPostgres starts the server, and creates its cluster if need be. It first stops a server that
// an earlier process of this program has left on the same folder. The caller must see to it that
// two running programs do not use one folder. The error is ErrNoPostgres if PostgreSQL is not
// installed.
func StartPostgres(ctx context.Context, o PostgresOptions) (*Postgres, error) {
	o.Progress = o.Progress.orSilent()
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	p := &Postgres{options: o, port: o.Port, log: serverLog{path: filepath.Join(dir, "postgres.log")}}
	if p.account, err = serverAccount(); err != nil {
		return nil, err
	}
	if err := p.prepare(ctx); err != nil {
		return nil, err
	}
	if err := p.Start(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Postgres) dir() string { return filepath.Join(p.options.Dir, "data") }

// prepare creates the folder and the cluster, and finds the binaries that fit the cluster.
func (p *Postgres) prepare(ctx context.Context) error {
	major, err := p.madeBy()
	if err != nil {
		return err
	}
	if p.bin, err = findPostgres(major); err != nil {
		return err
	}
	if err := p.makeFolder(); err != nil {
		return err
	}
	if err := p.password(major != 0); err != nil || major != 0 {
		return err
	}
	p.options.Progress("making a PostgreSQL cluster in %s", p.options.Dir)
	return p.makeCluster(ctx)
}

// Start starts the server again after Stop or Kill, on the same port. The server recovers after a
// crash.
func (p *Postgres) Start(ctx context.Context) error {
	if p.process.running() {
		return nil
	}
	if err := p.endLeftover(); err != nil {
		return err
	}
	end := time.Now().Add(15 * time.Second)
	for {
		err := p.startOnce(ctx)
		switch {
		case err == nil || ctx.Err() != nil || time.Now().After(end):
			return err
		case strings.Contains(err.Error(), "shared memory block"):
			// Sessions of a killed server may still be ending.
		case taken(err) && p.options.Port == 0:
			p.port = 0
		default:
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (p *Postgres) startOnce(ctx context.Context) (err error) {
	if p.port == 0 {
		if p.port, err = FreePort(); err != nil {
			return err
		}
	}
	// There is no socket file: the user may not write to Debian's default folder, and the path of
	// the data folder can be too long.
	args := []string{"-D", p.dir(), "-p", strconv.Itoa(p.port), "-c", "listen_addresses=127.0.0.1", "-c",
		"unix_socket_directories=", "-c", "max_connections=300"}
	if p.options.Throwaway {
		args = append(args, "-c", "fsync=off", "-c", "full_page_writes=off")
	}
	for name, value := range p.options.Settings {
		args = append(args, "-c", name+"="+value)
	}
	logFile, err := p.log.open()
	if err != nil {
		return fmt.Errorf("open PostgreSQL's log: %w", err)
	}
	defer logFile.Close()
	cmd := p.command("postgres", args...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if p.process, err = start(cmd); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	// The recovery after a crash can take long.
	ready, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := p.process.waitFor(ready, "PostgreSQL", &p.log, p.answers); err != nil {
		p.Stop(ctx)
		return err
	}
	return nil
}

func (p *Postgres) answers(ctx context.Context) error { return canLogIn(ctx, p.URL("postgres")) }

// canLogIn returns nil if the server accepts a session within five seconds.
func canLogIn(ctx context.Context, databaseURL string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// URL returns the URL of a database of the server. It has the password, so it belongs in the
// environment of a process and not in its arguments.
func (p *Postgres) URL(database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword("postgres", p.secret),
		Host: fmt.Sprintf("127.0.0.1:%d", p.port), Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

// CreateDatabase creates the database if it does not exist.
func (p *Postgres) CreateDatabase(ctx context.Context, name string) error {
	conn, err := pgx.Connect(ctx, p.URL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var there bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`,
		name).Scan(&there); err != nil || there {
		return err
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	return err
}

// Stop stops the server in order: it closes connections and writes everything to disk. When ctx
// ends, the server stops at once. That loses nothing either, but the next start needs a recovery.
func (p *Postgres) Stop(ctx context.Context) {
	if p.process.running() && !p.process.stop(ctx, 30*time.Second, syscall.SIGINT, syscall.SIGQUIT) {
		p.Kill()
	}
}

// Kill ends the server and its sessions as a crash does. It returns when they have ended.
func (p *Postgres) Kill() {
	if !p.process.running() {
		return
	}
	pid := p.process.pid()
	_ = syscall.Kill(pid, syscall.SIGSTOP) // so that it starts no more sessions
	family := append([]int{pid}, children(pid)...)
	for _, member := range family {
		_ = syscall.Kill(member, syscall.SIGKILL)
	}
	<-p.process.exited
	gone(family, 10*time.Second)
}

// endLeftover stops a server that a killed process of this program has left on the data folder.
func (p *Postgres) endLeftover() error {
	pidFile := filepath.Join(p.dir(), "postmaster.pid")
	data, err := os.ReadFile(pidFile)
	if err != nil {
		return nil
	}
	first, _, _ := strings.Cut(string(data), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		return nil // the server reports what is wrong with the file
	}
	if err := endLeftover(pid, p.dir(), syscall.SIGINT); err != nil || !alive(pid) {
		return err
	}
	// Another program has the PID now. The server would take that program for a server. It checks
	// itself whether the shared memory is in use.
	return os.Remove(pidFile)
}

func (p *Postgres) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, name), args...)
	cmd.Dir = p.options.Dir
	cmd.Env = databaseEnvironment(p.dir())
	cmd.SysProcAttr = p.account.attr()
	return cmd
}

// databaseEnvironment returns what PostgreSQL's programs need, and no more.
func databaseEnvironment(dataFolder string) []string {
	return append(plainEnvironment(), "PGDATA="+dataFolder)
}

// plainEnvironment is the environment of servers that can run as another user: this program's own
// has passwords.
func plainEnvironment() []string {
	env := []string{"LC_ALL=C"}
	for _, name := range []string{"PATH", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"} {
		if value, set := os.LookupEnv(name); set {
			env = append(env, name+"="+value)
		}
	}
	return env
}
