package servers

import (
	"context"
	"fmt"
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

// TemporalOptions describes a Temporal server.
type TemporalOptions struct {
	// Dir is the folder of the server's database, so that mailings survive a restart. If it is
	// empty, the database is in memory.
	Dir string
	// Port and UIPort are the ports to listen on. 0 means a free one.
	Port, UIPort int
	// SearchAttributes are registered at the start. The key is the name, the value the type, such
	// as "Keyword".
	SearchAttributes map[string]string
	// DynamicConfig has values of the server's dynamic configuration, as JSON.
	DynamicConfig map[string]string
	Progress      Progress
}

// Temporal is a running private server. Its methods are not safe for concurrent use.
type Temporal struct {
	options      TemporalOptions
	binary       string
	process      *process
	log          serverLog
	port, uiPort int
	ui           *webUI
	behind       string // host:port of the Web UI itself
}

// StartTemporal starts the server. The first call may build it, which takes some minutes. It first
// stops a server that an earlier process of this program has left on the same folder. The caller
// must see to it that two running programs do not use one folder.
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

func (t *Temporal) pidFile() string { return filepath.Join(t.options.Dir, "temporal.pid") }

// Start starts the server again after Stop or Kill, on the same ports.
func (t *Temporal) Start(ctx context.Context) error {
	if t.process.running() {
		return nil
	}
	if err := t.endLeftover(); err != nil {
		return err
	}
	var err error
	for range 5 { // another process may take a free port before the server does, also a port that the server chooses
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

func (t *Temporal) startOnce(ctx context.Context) (err error) {
	for _, port := range []*int{&t.port, &t.uiPort} {
		if *port == 0 {
			if *port, err = FreePort(); err != nil {
				return err
			}
		}
	}
	behind, err := FreePort()
	if err != nil {
		return err
	}
	t.behind = net.JoinHostPort(hiddenLoopback(), strconv.Itoa(behind))
	logFile, err := t.log.open()
	if err != nil {
		return fmt.Errorf("open Temporal's log: %w", err)
	}
	defer logFile.Close()
	if t.ui, err = serveWebUI(t.uiPort, t.behind); err != nil {
		return fmt.Errorf("serve Temporal's Web UI: %w", err)
	}
	cmd := exec.Command(t.binary, t.arguments()...)
	cmd.Env = serverEnvironment()
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if t.process, err = start(cmd); err != nil {
		t.ui.close()
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
	uiIP, uiPort, _ := net.SplitHostPort(t.behind)
	args := []string{"server", "start-dev", "--ip", "127.0.0.1", "--port", strconv.Itoa(t.port), "--ui-ip", uiIP,
		"--ui-port", uiPort,
		"--log-level", "warn", "--log-format", "json",
		"--dynamic-config-value", "matching.enableFairness=true"} // so that mailings take turns in a task queue
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

// serverEnvironment returns this program's environment without the variables that would connect the
// command to another Temporal server, or configure it for one.
func serverEnvironment() []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "TEMPORAL_") {
			env = append(env, entry)
		}
	}
	return append(env, "TEMPORAL_CONFIG_FILE="+os.DevNull)
}

// keepPID writes the server's PID to a file, so that the next start on the folder finds a server
// that was left. PostgreSQL does so itself.
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
		return nil // interrupted before the server was started
	}
	return endLeftover(pid, t.database(), syscall.SIGTERM)
}

// answers checks that the server has what a worker needs first: the namespace and its task queue.
func (t *Temporal) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	// gRPC waits for a second after a refused connection.
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

// Address returns host:port for clients and workers.
func (t *Temporal) Address() string { return fmt.Sprintf("127.0.0.1:%d", t.port) }

// UI returns the URL of the Web UI.
func (t *Temporal) UI() string { return fmt.Sprintf("http://127.0.0.1:%d", t.uiPort) }

// Stop stops the server in order. When ctx ends, the server stops at once. That loses nothing that
// it has acknowledged.
func (t *Temporal) Stop(ctx context.Context) {
	t.ui.close()
	if t.process.running() && !t.process.stop(ctx, 15*time.Second, syscall.SIGTERM) {
		t.Kill()
	}
	for _, file := range t.transient() {
		_ = os.Remove(file)
	}
}

// transient are the files that nobody needs after the server has stopped in order.
func (t *Temporal) transient() []string {
	if t.options.Dir == "" {
		return []string{t.log.path}
	}
	return []string{t.pidFile()}
}

// Kill ends the server as a crash does.
func (t *Temporal) Kill() {
	t.ui.close()
	if t.process.running() {
		_ = syscall.Kill(-t.process.pid(), syscall.SIGKILL)
		<-t.process.exited
	}
}

// silent is a logger that writes nothing: the SDK would log each attempt to connect to a server
// that is starting.
type silent struct{}

var _ log.Logger = silent{}

func (silent) Debug(string, ...any) {}
func (silent) Info(string, ...any)  {}
func (silent) Warn(string, ...any)  {}
func (silent) Error(string, ...any) {}
