package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"directmailer/internal/config"
	"directmailer/internal/database"
	"directmailer/internal/dev/servers"
	"directmailer/worker/process"
	"directmailer/workflows"
)

// stack is a PostgreSQL and a Temporal, ours or the user's, and a worker in this process.
type stack struct {
	dir         string
	databaseURL string
	ui          string // address of the Web UI; empty when Temporal is the user's
	ours        bool   // PostgreSQL is ours, and so is everything in it

	// exports names the variables that were set here and that another shell needs; those of the user are his own, with their secrets.
	exports []string

	lock     *os.File
	postgres *servers.Postgres
	temporal *servers.Temporal

	stopWorker context.CancelFunc
	worker     chan error // holds the worker's end
}

// The ports of Temporal's own defaults, which `starter dev` takes where they are free.
const (
	temporalPort = 7233
	uiPort       = 8233
)

// startStack starts what the environment does not name, and points the environment of this process at it. The caller stops it, also
// after an error.
func (a *app) startStack(ctx context.Context, dir string, fixedPorts bool) (*stack, error) {
	s := &stack{dir: dir}
	if err := os.MkdirAll(dir, 0o755); err != nil { // PostgreSQL may run as another user, who has to pass it
		return s, fileFailure(err)
	}
	var err error
	if s.lock, err = lockFolder(dir); err != nil {
		return s, err
	}
	if err := a.startServers(ctx, s, fixedPorts); err != nil {
		return s, err
	}
	if err := s.point(); err != nil {
		return s, err
	}
	if _, _, err := database.Migrate(ctx, s.databaseURL); err != nil {
		return s, &failure{NoDatabase, err}
	}
	c, err := dial(ctx)
	if err != nil {
		return s, err
	}
	defer c.Close()
	return s, temporalFailure("register search attributes", c.RegisterSearchAttributes(ctx))
}

// startServers starts both at the same time, each unless the environment names one.
func (a *app) startServers(ctx context.Context, s *stack, fixedPorts bool) error {
	group, ctx := errgroup.WithContext(ctx)
	if s.databaseURL = os.Getenv("DATABASE_URL"); s.databaseURL == "" {
		group.Go(func() error {
			if err := a.startPostgres(ctx, s); err != nil {
				return &failure{NoDatabase, err}
			}
			return nil
		})
	}
	if os.Getenv("TEMPORAL_ADDRESS") == "" {
		group.Go(func() error {
			if err := a.startTemporal(ctx, s, fixedPorts); err != nil {
				return &failure{NoTemporal, err}
			}
			return nil
		})
	}
	return group.Wait()
}

func (a *app) startPostgres(ctx context.Context, s *stack) error {
	if err := servers.InstallPostgres(ctx, a.Err, a.say); err != nil {
		return err
	}
	a.say("starting PostgreSQL in %s", filepath.Join(s.dir, "postgres"))
	var err error
	if s.postgres, err = servers.StartPostgres(ctx, servers.PostgresOptions{Dir: filepath.Join(s.dir, "postgres"), Progress: servers.Silent}); err != nil {
		return err
	}
	return s.postgres.CreateDatabase(ctx, "mail")
}

func (a *app) startTemporal(ctx context.Context, s *stack, fixedPorts bool) error {
	o := servers.TemporalOptions{
		Dir:      filepath.Join(s.dir, "temporal"),
		Progress: a.say,
		SearchAttributes: map[string]string{
			workflows.StateAttribute.GetName(): workflows.StateAttribute.GetValueType().String(),
			workflows.ListAttribute.GetName():  workflows.ListAttribute.GetValueType().String(),
		},
	}
	if fixedPorts && free(temporalPort) && free(uiPort) {
		o.Port, o.UIPort = temporalPort, uiPort
	}
	if _, err := servers.TemporalBinary(ctx, a.say); err != nil {
		return err
	}
	a.say("starting Temporal in %s", o.Dir)
	var err error
	s.temporal, err = servers.StartTemporal(ctx, o)
	return err
}

// point points the environment of this process at the servers that are ours.
func (s *stack) point() error {
	if s.postgres != nil {
		s.ours, s.databaseURL = true, s.postgres.URL("mail")
		s.exports = append(s.exports, "DATABASE_URL")
		if err := os.Setenv("DATABASE_URL", s.databaseURL); err != nil {
			return err
		}
	}
	if s.temporal != nil {
		s.ui = s.temporal.UI()
		s.exports = append(s.exports, "TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE")
		return useTemporal(s.temporal.Address())
	}
	return nil
}

// useTemporal points the environment at our own server: a profile or a key of another one must not mix with it.
func useTemporal(address string) error {
	var errs []error
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "TEMPORAL_") {
			errs = append(errs, os.Unsetenv(name))
		}
	}
	return errors.Join(append(errs, os.Setenv("TEMPORAL_ADDRESS", address), os.Setenv("TEMPORAL_NAMESPACE", "default"),
		os.Setenv("TEMPORAL_CONFIG_FILE", os.DevNull))...)
}

func free(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// lockFolder keeps two of us from running servers on the same data.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fileFailure(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, usage("%s is in use by another `starter dev` or `starter demo`: choose another folder with --data", dir)
	}
	return f, nil
}

// work runs a worker until stop, writing its log to w.
func (s *stack) work(ctx context.Context, c config.Worker, w io.Writer) {
	ctx, s.stopWorker = context.WithCancel(context.WithoutCancel(ctx))
	s.worker = make(chan error, 1)
	go func() { s.worker <- process.Run(ctx, c, process.NewLogger(w, c)) }()
}

// stop ends everything in order. It takes its time even when the program is being interrupted: what is written must be on disk.
func (s *stack) stop(ctx context.Context) {
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

// dataFolder is where data is kept for a purpose when --data does not say.
func dataFolder(purpose string) (string, error) {
	root := "/var/lib"
	if os.Geteuid() != 0 {
		if root = os.Getenv("XDG_DATA_HOME"); root == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return "", usage("there is no home folder to keep data in: name a folder with --data")
			}
			root = filepath.Join(home, ".local", "share")
		}
	}
	return filepath.Join(root, "direct-mailer", purpose), nil
}
