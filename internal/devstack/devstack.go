// Package devstack runs a private PostgreSQL and a private Temporal for `starter dev`, `starter demo` and the tests.
//
// PostgreSQL's binaries are the system's own (postgres.go), Temporal's server is a `temporal` on PATH or is built once from the module
// in tools/temporal (temporal.go). Both listen on the loopback only, keep their data in a folder of ours, run in process groups of
// their own, so that Ctrl-C reaches us and not them, and end when we end, however we end (on Linux).
package devstack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Progress is told what is being done, one line at a time.
type Progress func(format string, args ...any)

// Silent tells nobody.
func Silent(string, ...any) {}

// process is a child that ends with us.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended
	err    error
}

// start runs the command. The goroutine that starts it keeps its thread: Linux ends a child when the thread that started it ends.
func start(cmd *exec.Cmd) (*process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	endWithUs(cmd.SysProcAttr)
	p := &process{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.exited)
		}
	}()
	return p, <-started
}

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// stop sends each signal in turn, waiting for the process to end after each; the last is SIGKILL.
func (p *process) stop(ctx context.Context, signals ...syscall.Signal) {
	for _, s := range append(signals, syscall.SIGKILL) {
		_ = p.cmd.Process.Signal(s)
		select {
		case <-p.exited:
			return
		case <-ctx.Done():
		case <-time.After(10 * time.Second):
		}
	}
	<-p.exited
}

// freePort returns a port of the loopback that nobody listens on now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// waitFor calls ready until it works, the process ends, or ctx does.
func (p *process) waitFor(ctx context.Context, what, logFile string, ready func(context.Context) error) error {
	var last error
	for {
		if last = ready(ctx); last == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s ended while it was starting: %w%s", what, errors.Join(p.err), tail(logFile))
		case <-ctx.Done():
			return fmt.Errorf("%s did not start: %w (%v)%s", what, ctx.Err(), last, tail(logFile))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tail is the end of a log, for an error.
func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil || len(data) == 0 {
		return ""
	}
	return "\n" + string(data[max(0, len(data)-2000):])
}
