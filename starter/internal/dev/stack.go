//go:build unix

package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"directmailer/internal/config"
	"directmailer/internal/database"
	"directmailer/internal/dev/servers"
	"directmailer/internal/temporalclient"
	"directmailer/starter/internal/exit"
	"directmailer/worker/process"
	"directmailer/workflows"
)

// Stack is a PostgreSQL and a Temporal, private or the user's, and a worker in this process.
type Stack struct {
	dir         string
	databaseURL string
	say         func(format string, args ...any)
	err         io.Writer

	// exports names the variables that this process has set and that another shell needs. It leaves
	// out those of the user, which can hold secrets.
	exports []string

	publicAddress config.ListenAddress // of the worker's public listener; empty: it has none

	lock     io.Closer
	postgres *servers.Postgres // nil: it is the user's
	temporal *servers.Temporal // nil: it is the user's

	stopWorker context.CancelFunc
	worker     chan error // holds the worker's end
}

// Options tell how to start a stack.
type Options struct {
	// Dir is the folder for all data.
	Dir string
	// FixedPorts asks for the ports of Temporal's own defaults, where they are free.
	FixedPorts bool
	// Say tells the user what happens. Err takes the output of an installation.
	Say func(format string, args ...any)
	Err io.Writer
}

// The ports of Temporal's own defaults.
const (
	temporalPort = 7233
	uiPort       = 8233
)

// Start starts what the environment does not name, and sets the environment of this process to it.
// The caller calls [Stack.Stop], also after an error.
func Start(ctx context.Context, o Options) (*Stack, error) {
	s := &Stack{dir: o.Dir, say: o.Say, err: o.Err}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil { // PostgreSQL may run as another user, who has to enter it
		return s, fileError(err)
	}
	var err error
	if s.lock, err = lockFolder(o.Dir); err != nil {
		return s, err
	}
	if err := s.startServers(ctx, o.FixedPorts); err != nil {
		return s, err
	}
	if err := s.setEnvironment(); err != nil {
		return s, err
	}
	if _, _, err := database.Migrate(ctx, s.databaseURL); err != nil {
		return s, exit.With(exit.NoDatabase, err)
	}
	c, err := temporalclient.Dial(ctx, process.NewLogger(io.Discard, config.Worker{}))
	if err != nil {
		return s, exit.With(exit.NoTemporal, err)
	}
	defer c.Close()
	pool, err := database.Open(ctx, s.databaseURL, 1)
	if err != nil {
		return s, exit.With(exit.NoDatabase, err)
	}
	defer pool.Close()
	found, err := c.RegisterSearchAttributes(ctx, pool)
	if found.Warning != "" {
		s.say("warning: %s", found.Warning)
	}
	return s, exit.With(exit.NoTemporal, err)
}

// startServers starts both servers at the same time, each unless the environment names one.
func (s *Stack) startServers(ctx context.Context, fixedPorts bool) error {
	group, ctx := errgroup.WithContext(ctx)
	if s.databaseURL = config.Getenv("DATABASE_URL"); s.databaseURL == "" {
		group.Go(func() error { return exit.With(exit.NoDatabase, s.startPostgres(ctx)) })
	}
	if os.Getenv("TEMPORAL_ADDRESS") == "" {
		group.Go(func() error { return exit.With(exit.NoTemporal, s.startTemporal(ctx, fixedPorts)) })
	}
	return group.Wait()
}

func (s *Stack) startPostgres(ctx context.Context) error {
	if err := servers.InstallPostgres(ctx, s.err, s.say); err != nil {
		return err
	}
	dir := filepath.Join(s.dir, "postgres")
	s.say("starting PostgreSQL in %s", dir)
	var err error
	s.postgres, err = servers.StartPostgres(ctx, servers.PostgresOptions{Dir: dir, Progress: servers.Silent})
	if err != nil {
		return err
	}
	return s.postgres.CreateDatabase(ctx, "mail")
}

func (s *Stack) startTemporal(ctx context.Context, fixedPorts bool) error {
	o := servers.TemporalOptions{
		Dir:      filepath.Join(s.dir, "temporal"),
		Progress: s.say,
		SearchAttributes: map[string]string{
			workflows.StateAttribute.GetName(): workflows.StateAttribute.GetValueType().String(),
			workflows.ListAttribute.GetName():  workflows.ListAttribute.GetValueType().String(),
		},
	}
	if fixedPorts && free(temporalPort) && free(uiPort) {
		o.Port, o.UIPort = temporalPort, uiPort
	}
	if _, err := servers.TemporalBinary(ctx, s.say); err != nil {
		return err
	}
	s.say("starting Temporal in %s", o.Dir)
	var err error
	s.temporal, err = servers.StartTemporal(ctx, o)
	return err
}

// setEnvironment sets the environment of this process to the private servers.
func (s *Stack) setEnvironment() error {
	if s.postgres != nil {
		s.databaseURL = s.postgres.URL("mail")
		if err := s.export("DATABASE_URL", s.databaseURL); err != nil {
			return err
		}
	}
	if s.temporal == nil {
		return nil
	}
	// A profile or an API key of another server must not mix with the private one.
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "TEMPORAL_") {
			if err := os.Unsetenv(name); err != nil {
				return err
			}
		}
	}
	return errors.Join(
		s.export("TEMPORAL_ADDRESS", s.temporal.Address()),
		s.export("TEMPORAL_NAMESPACE", "default"),
		s.export("DM_WEB_UI", s.temporal.UI()),
		os.Setenv("TEMPORAL_CONFIG_FILE", os.DevNull))
}

// export sets a variable of this process that another shell needs as well.
func (s *Stack) export(name, value string) error {
	s.exports = append(s.exports, name)
	return os.Setenv(name, value)
}

// UseDropDirectory makes a drop directory the only drop point of this process.
func (s *Stack) UseDropDirectory(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fileError(err)
	}
	return errors.Join(
		os.Unsetenv("DM_DROP_POINTS_FILE"),
		s.export("DM_DROP_POINTS", "drop=dir:"+(&url.URL{Path: dir}).EscapedPath()))
}

// UI returns the address of the private Temporal's Web UI, or "".
func (s *Stack) UI() string {
	if s.temporal == nil {
		return ""
	}
	return s.temporal.UI()
}

// Work runs a worker until [Stack.Stop], which writes its log to w.
func (s *Stack) Work(ctx context.Context, c config.Worker, w io.Writer) {
	ctx, s.stopWorker = context.WithCancel(context.WithoutCancel(ctx))
	s.worker = make(chan error, 1)
	go func() { s.worker <- process.Run(ctx, c, process.NewLogger(w, c)) }()
}

// Wait returns nil when ctx ends, or an error when the worker ends before that.
func (s *Stack) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.worker:
		s.worker <- err
		return fmt.Errorf("the worker has ended: %w", err)
	}
}

// Stop ends everything in order. It does so even when the program is being interrupted, because
// what is written must be on disk.
func (s *Stack) Stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 40*time.Second)
	defer cancel()
	if s.stopWorker != nil {
		s.stopWorker()
		select {
		case <-s.worker:
		case <-ctx.Done():
		}
	}
	if s.temporal != nil {
		s.temporal.Stop(ctx)
	}
	if s.postgres != nil {
		s.postgres.Stop(ctx)
	}
	if s.lock != nil {
		_ = s.lock.Close()
	}
}

// PrintAddresses says where everything is, and what another shell needs to use it.
func (s *Stack) PrintAddresses(w io.Writer) {
	if s.UI() != "" {
		fmt.Fprintf(w, "\nWeb UI: %s\n", s.UI())
	}
	if len(s.exports) > 0 {
		fmt.Fprintln(w, "\nFor another shell:")
	}
	for _, name := range s.exports {
		fmt.Fprintf(w, "  export %s=%s\n", name, shellQuoted(os.Getenv(name)))
	}
	fmt.Fprintln(w, "\nCtrl-C stops everything. The data stays.")
}

func shellQuoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func free(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// Folder returns the folder for data as an absolute path. Without a name it is the default one for
// the purpose, "dev" or "demo".
func Folder(dir, purpose string) (string, error) {
	if dir == "" {
		return defaultFolder(purpose)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fileError(err)
	}
	return abs, nil
}

func defaultFolder(purpose string) (string, error) {
	root := "/var/lib"
	if os.Geteuid() != 0 {
		if root = os.Getenv("XDG_DATA_HOME"); root == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return "", exit.Usagef("there is no home folder to keep data in: name a folder with --data")
			}
			root = filepath.Join(home, ".local", "share")
		}
	}
	return filepath.Join(root, "direct-mailer", purpose), nil
}

// fileError gives an error about a file that the user named its exit code.
func fileError(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return exit.Usagef("%s: %w", path.Path, path.Err)
	}
	return err
}
