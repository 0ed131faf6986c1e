package devstack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
)

// temporalVersion is that of tools/temporal/go.mod.
const temporalVersion = "v1.5.1"

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

// Temporal is a running private server.
type Temporal struct {
	options      TemporalOptions
	binary       string
	process      *process
	port, uiPort int
	logFile      string
}

// StartTemporal starts the server. A binary that has to be built first takes some minutes, once.
func StartTemporal(ctx context.Context, o TemporalOptions) (*Temporal, error) {
	if o.Progress == nil {
		o.Progress = Silent
	}
	binary, err := TemporalBinary(ctx, o.Progress)
	if err != nil {
		return nil, err
	}
	t := &Temporal{options: o, binary: binary, port: o.Port, uiPort: o.UIPort}
	if o.Dir != "" {
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("make Temporal's data folder: %w", err)
		}
		t.logFile = filepath.Join(o.Dir, "temporal.log")
	} else {
		f, err := os.CreateTemp("", "direct-mailer-temporal-*.log")
		if err != nil {
			return nil, err
		}
		t.logFile = f.Name()
		f.Close()
	}
	return t, t.Start(ctx)
}

// Start starts the server again after Stop or Kill, on the same ports.
func (t *Temporal) Start(ctx context.Context) error {
	var err error
	for _, port := range []*int{&t.port, &t.uiPort} {
		if *port == 0 {
			if *port, err = freePort(); err != nil {
				return err
			}
		}
	}
	args := []string{"server", "start-dev", "--ip", "127.0.0.1", "--port", strconv.Itoa(t.port), "--ui-ip", "127.0.0.1", "--ui-port", strconv.Itoa(t.uiPort),
		"--log-level", "warn", "--log-format", "json"}
	if t.options.Dir != "" {
		args = append(args, "--db-filename", filepath.Join(t.options.Dir, "temporal.db"))
	}
	for name, kind := range t.options.SearchAttributes {
		args = append(args, "--search-attribute", name+"="+kind)
	}
	for name, value := range t.options.DynamicConfig {
		args = append(args, "--dynamic-config-value", name+"="+value)
	}
	logFile, err := os.OpenFile(t.logFile, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	cmd := exec.Command(t.binary, args...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if t.process, err = start(cmd); err != nil {
		return fmt.Errorf("start Temporal: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := t.process.waitFor(ctx, "Temporal", t.logFile, t.answers); err != nil {
		t.Kill()
		return err
	}
	return nil
}

// answers asks for what a worker needs first: the namespace.
func (t *Temporal) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	c, err := client.DialContext(ctx, client.Options{HostPort: t.Address(), Logger: silent{}})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.DescribeTaskQueue(ctx, "direct-mailer", 0)
	return err
}

// Address is host:port for clients and workers.
func (t *Temporal) Address() string { return fmt.Sprintf("127.0.0.1:%d", t.port) }

// UI is the address of the Web UI.
func (t *Temporal) UI() string { return fmt.Sprintf("http://127.0.0.1:%d", t.uiPort) }

// Stop ends the server in order.
func (t *Temporal) Stop(ctx context.Context) {
	if t.process != nil && t.process.running() {
		t.process.stop(ctx, syscall.SIGTERM)
	}
	if t.options.Dir == "" {
		_ = os.Remove(t.logFile)
	}
}

// Kill ends the server as a crash would.
func (t *Temporal) Kill() {
	if t.process != nil && t.process.running() {
		_ = syscall.Kill(-t.process.cmd.Process.Pid, syscall.SIGKILL)
		<-t.process.exited
	}
}

// TemporalBinary returns the path of a `temporal`: the one on PATH, the one built before, or one built now from tools/temporal, which
// takes some minutes and says so.
func TemporalBinary(ctx context.Context, progress Progress) (string, error) {
	if path, err := exec.LookPath("temporal"); err == nil {
		if err := exec.CommandContext(ctx, path, "--version").Run(); err == nil {
			return path, nil
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no folder for built programs: %w", err)
	}
	path := filepath.Join(cache, "directmailer", "temporal-"+temporalVersion)
	if exec.CommandContext(ctx, path, "--version").Run() == nil {
		return path, nil
	}
	return path, buildTemporal(ctx, path, progress)
}

// buildTemporal builds into a file of its own and renames it: a build that is cut short leaves nothing that could be taken for it.
func buildTemporal(ctx context.Context, path string, progress Progress) error {
	root, err := moduleRoot()
	if err != nil {
		return fmt.Errorf("%w; to go on, install the Temporal CLI (https://docs.temporal.io/cli) so that `temporal` is on PATH", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	progress("building the Temporal server %s (once; about 6 minutes on 2 cores)", temporalVersion)
	unfinished := fmt.Sprintf("%s.%d", path, os.Getpid())
	defer os.Remove(unfinished)
	cmd := exec.CommandContext(ctx, "go", "build", "-v", "-o", unfinished, "github.com/temporalio/cli/cmd/temporal")
	cmd.Dir = filepath.Join(root, "tools", "temporal")
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	output, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("build the Temporal server: %w", err)
	}
	var packages atomic.Int64
	done := make(chan struct{})
	go tellBuild(progress, &packages, done)
	var last string
	for lines := bufio.NewScanner(output); lines.Scan(); {
		packages.Add(1)
		last = lines.Text()
	}
	err = cmd.Wait()
	close(done)
	if err != nil {
		return fmt.Errorf("build the Temporal server: %w (%s)", err, last)
	}
	return os.Rename(unfinished, path)
}

func tellBuild(progress Progress, packages *atomic.Int64, done <-chan struct{}) {
	began := time.Now()
	ticker := time.NewTicker(10 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
			progress("  still building: %v, %d packages", time.Since(began).Round(time.Second), packages.Load())
		}
	}
}

// moduleRoot finds the checkout that the working directory is in.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(data), "module directmailer\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("not inside a checkout of Direct Mailer, which holds what builds the Temporal server")
		}
		dir = filepath.Dir(dir)
	}
}

// silent keeps the SDK from telling about attempts to connect to a server that is starting.
type silent struct{}

var _ log.Logger = silent{}

func (silent) Debug(string, ...any) {}
func (silent) Info(string, ...any)  {}
func (silent) Warn(string, ...any)  {}
func (silent) Error(string, ...any) {}
