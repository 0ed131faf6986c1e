package servers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
)

// TemporalOptions says how a server is run.
type TemporalOptions struct {
	// Dir keeps its database, so that mailings go on after a restart; empty for memory only.
	Dir string
	// Port and UIPort to listen on; 0 for ones that are free.
	Port, UIPort int
	// SearchAttributes are registered at the start, by name, with their types ("Keyword").
	SearchAttributes map[string]string
	// DynamicConfig are values of the server's dynamic configuration, as JSON.
	DynamicConfig map[string]string
	Progress      Progress
}

// Temporal is a running private server. Its methods are not for use by several goroutines at once.
type Temporal struct {
	options      TemporalOptions
	binary       string
	process      *process
	log          serverLog
	port, uiPort int
}

// StartTemporal starts the server. A binary that has to be built first takes some minutes, once. A server that an earlier process of ours
// left running on the same folder is stopped first; keeping two live processes from sharing a folder is the caller's part.
func StartTemporal(ctx context.Context, o TemporalOptions) (*Temporal, error) {
	o.Progress = o.Progress.orSilent()
	binary, err := TemporalBinary(ctx, o.Progress)
	if err != nil {
		return nil, err
	}
	if o.Dir != "" {
		if o.Dir, err = filepath.Abs(o.Dir); err != nil {
			return nil, err
		}
	}
	t := &Temporal{options: o, binary: binary, port: o.Port, uiPort: o.UIPort}
	if t.log.path, err = t.makeLog(); err != nil {
		return nil, fmt.Errorf("make Temporal's data folder: %w", err)
	}
	if err := t.Start(ctx); err != nil {
		t.Stop(ctx)
		return nil, err
	}
	return t, nil
}

func (t *Temporal) makeLog() (string, error) {
	if t.options.Dir != "" {
		return filepath.Join(t.options.Dir, "temporal.log"), os.MkdirAll(t.options.Dir, 0o700)
	}
	f, err := os.CreateTemp("", "direct-mailer-temporal-*.log")
	if err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}

func (t *Temporal) database() string { return filepath.Join(t.options.Dir, "temporal.db") }
func (t *Temporal) pidFile() string  { return filepath.Join(t.options.Dir, "temporal.pid") }

// Start starts the server again after Stop or Kill, on the same ports.
func (t *Temporal) Start(ctx context.Context) error {
	if t.process.running() {
		return nil
	}
	if err := t.endLeftover(); err != nil {
		return err
	}
	var err error
	for range 5 { // a free port, also one of those that the server chooses itself, may be taken by somebody else before it has it
		if err := t.beginDatabase(); err != nil {
			return fmt.Errorf("prepare Temporal's data folder: %w", err)
		}
		if err = t.startOnce(ctx); err == nil {
			return t.databaseIsMade()
		}
		if ctx.Err() != nil || !taken(err) {
			return err
		}
		t.port, t.uiPort = t.options.Port, t.options.UIPort
	}
	return err
}

// unfinished is a file that is there from before the server makes its database until the server has
// answered. A server that is interrupted between leaves a database without all of its tables, with
// which no later one starts.
func (t *Temporal) unfinished() string { return t.database() + ".unfinished" }

// beginDatabase removes a database that was never finished, and marks one that is still to be made.
func (t *Temporal) beginDatabase() error {
	if t.options.Dir == "" {
		return nil
	}
	if _, err := os.Stat(t.unfinished()); err == nil {
		for _, file := range []string{"", "-wal", "-shm", "-journal"} {
			if err := os.Remove(t.database() + file); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	if _, err := os.Stat(t.database()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(t.unfinished(), nil, 0o600)
}

func (t *Temporal) databaseIsMade() error {
	if t.options.Dir == "" {
		return nil
	}
	if err := os.Remove(t.unfinished()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("prepare Temporal's data folder: %w", err)
	}
	return nil
}

func (t *Temporal) startOnce(ctx context.Context) (err error) {
	for _, port := range []*int{&t.port, &t.uiPort} {
		if *port == 0 {
			if *port, err = FreePort(); err != nil {
				return err
			}
		}
	}
	logFile, err := t.log.open()
	if err != nil {
		return fmt.Errorf("open Temporal's log: %w", err)
	}
	defer logFile.Close()
	cmd := exec.Command(t.binary, t.arguments()...)
	cmd.Env = serverEnvironment()
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if t.process, err = start(cmd); err != nil {
		return fmt.Errorf("start Temporal: %w", err)
	}
	if err := t.keepPID(); err != nil {
		t.Kill()
		return err
	}
	ready, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := t.process.waitFor(ready, "Temporal", &t.log, t.answers); err != nil {
		t.Kill()
		return err
	}
	return nil
}

func (t *Temporal) arguments() []string {
	args := []string{"server", "start-dev", "--ip", "127.0.0.1", "--port", strconv.Itoa(t.port), "--ui-ip", "127.0.0.1", "--ui-port", strconv.Itoa(t.uiPort),
		"--log-level", "warn", "--log-format", "json",
		"--dynamic-config-value", "matching.enableFairness=true"} // a large mailing's backlog does not keep a small one waiting
	if t.options.Dir != "" {
		args = append(args, "--db-filename", t.database())
	}
	for name, kind := range t.options.SearchAttributes {
		args = append(args, "--search-attribute", name+"="+kind)
	}
	for name, value := range t.options.DynamicConfig {
		args = append(args, "--dynamic-config-value", name+"="+value)
	}
	return args
}

// serverEnvironment is ours without what would have the command speak to, or be configured for, another Temporal.
func serverEnvironment() []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "TEMPORAL_") {
			env = append(env, entry)
		}
	}
	return append(env, "TEMPORAL_CONFIG_FILE="+os.DevNull)
}

// keepPID notes the server, for the next start on the folder to find it if it outlives us. PostgreSQL does so itself.
func (t *Temporal) keepPID() error {
	if t.options.Dir == "" {
		return nil
	}
	return os.WriteFile(t.pidFile(), []byte(strconv.Itoa(t.process.pid())), 0o600)
}

func (t *Temporal) endLeftover() error {
	if t.options.Dir == "" {
		return nil
	}
	data, err := os.ReadFile(t.pidFile())
	if err != nil {
		return nil
	}
	pid, err := strconv.Atoi(string(data))
	if err != nil {
		return nil // cut short: it was never started
	}
	return endLeftover(pid, t.database(), syscall.SIGTERM)
}

// answers asks for what a worker needs first: the namespace, and its task queue.
func (t *Temporal) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	// gRPC lets a second pass after a refused connection.
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", t.Address())
	if err != nil {
		return err
	}
	_ = conn.Close()
	c, err := client.DialContext(ctx, client.Options{HostPort: t.Address(), Logger: silent{}})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.DescribeTaskQueue(ctx, "direct-mailer", enums.TASK_QUEUE_TYPE_WORKFLOW)
	return err
}

// Address is host:port for clients and workers.
func (t *Temporal) Address() string { return fmt.Sprintf("127.0.0.1:%d", t.port) }

// UI is the address of the Web UI.
func (t *Temporal) UI() string { return fmt.Sprintf("http://127.0.0.1:%d", t.uiPort) }

// Stop ends the server in order; at once when ctx ends, which loses nothing that it has acknowledged.
func (t *Temporal) Stop(ctx context.Context) {
	if t.process.running() && !t.process.stop(ctx, 15*time.Second, syscall.SIGTERM) {
		t.Kill()
	}
	for _, file := range t.transient() {
		_ = os.Remove(file)
	}
}

// transient are the files that nobody needs after the server's orderly end.
func (t *Temporal) transient() []string {
	if t.options.Dir == "" {
		return []string{t.log.path}
	}
	return []string{t.pidFile()}
}

// Kill ends the server as a crash would.
func (t *Temporal) Kill() {
	if t.process.running() {
		_ = syscall.Kill(-t.process.pid(), syscall.SIGKILL)
		<-t.process.exited
	}
}

// silent keeps the SDK from telling about attempts to connect to a server that is starting.
type silent struct{}

var _ log.Logger = silent{}

func (silent) Debug(string, ...any) {}
func (silent) Info(string, ...any)  {}
func (silent) Warn(string, ...any)  {}
func (silent) Error(string, ...any) {}
