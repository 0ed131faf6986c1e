package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// process is a child process that ends with this program.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended
	err    error
}

// start runs the command in a process group of its own. The goroutine that starts it keeps its
// thread, because Linux ends the child when that thread ends.
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
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// run runs the command until it ends. When ctx ends, run interrupts the whole process group, and
// kills it after the grace time.
func run(ctx context.Context, cmd *exec.Cmd, grace time.Duration) error {
	cmd.WaitDelay = 5 * time.Second // a grandchild may keep a pipe open
	p, err := start(cmd)
	if err != nil {
		return err
	}
	select {
	case <-p.exited:
		if errors.Is(p.err, exec.ErrWaitDelay) { // success, but a service that it has started holds its output
			return nil
		}
		return p.err
	case <-ctx.Done():
	}
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		_ = syscall.Kill(-p.pid(), s)
		select {
		case <-p.exited:
		case <-time.After(grace):
		}
	}
	<-p.exited
	return ctx.Err()
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// stop sends the signals one after the other until the process ends, and reports whether it has
// ended. After the first signal it waits for the grace time, or until ctx ends. After each later
// one it waits for five seconds.
func (p *process) stop(ctx context.Context, grace time.Duration, signals ...syscall.Signal) bool {
	done := ctx.Done()
	for _, s := range signals {
		_ = p.cmd.Process.Signal(s)
		select {
		case <-p.exited:
			return true
		case <-done:
		case <-time.After(grace):
		}
		done, grace = nil, 5*time.Second
	}
	return !p.running()
}

// serverLog is the file that a server appends its log to. The log of the latest start begins at
// from.
type serverLog struct {
	path string
	from int64
}

func (l *serverLog) open() (*os.File, error) {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	l.from = info.Size()
	return f, nil
}

// tail returns the end of the log of the latest start, for an error.
func (l *serverLog) tail() string {
	f, err := os.Open(l.path)
	if err != nil {
		return ""
	}
	defer f.Close()
	data, err := io.ReadAll(io.NewSectionReader(f, l.from, 1<<20))
	if data = bytes.TrimSpace(data); err != nil || len(data) == 0 {
		return ""
	}
	return "\n" + string(data[max(0, len(data)-2000):])
}

// startIn starts a server of the account whose files are in dir, with its output in a log there. It
// waits a minute for its first answer. A server that does not answer is stopped.
func startIn(ctx context.Context, dir string, a *account, name string, answers func(context.Context) error,
	program string, args ...string) (*process, error) {
	log := serverLog{path: filepath.Join(dir, strings.ToLower(name)+".log")}
	logFile, err := log.open()
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", name, err)
	}
	defer logFile.Close()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.SysProcAttr, cmd.Stdout, cmd.Stderr = dir, a.attr(), logFile, logFile
	cmd.Env = plainEnvironment()
	p, err := start(cmd)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	waiting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := p.waitFor(waiting, name, &log, answers); err != nil {
		p.end(ctx)
		return nil, err
	}
	return p, nil
}

// end stops a process that is running. A process that does not end within five seconds is killed.
func (p *process) end(ctx context.Context) {
	if p.running() {
		p.stop(ctx, 5*time.Second, syscall.SIGTERM, syscall.SIGKILL)
	}
}

// greets returns nil if the first words of a server are these.
func greets(ctx context.Context, address, words string) error {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	greeting := make([]byte, len(words))
	if _, err := io.ReadFull(conn, greeting); err != nil {
		return err
	}
	if string(greeting) != words {
		return fmt.Errorf("it greets with %q", greeting)
	}
	return nil
}

// waitFor calls ready until it returns nil, the process ends, or ctx ends.
func (p *process) waitFor(ctx context.Context, what string, log *serverLog, ready func(context.Context) error) error {
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s ended while it was starting: %w%s", what, errors.Join(p.err), log.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s did not start: %w (%w)%s", what, ctx.Err(), err, log.tail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// endLeftover ends a server that an earlier process of this program has left, with its child
// processes. The PID comes from a file and may belong to another program by now. It belongs to the
// server only if mark is among the arguments of the process.
func endLeftover(pid int, mark string, first syscall.Signal) error {
	if pid <= 1 || !hasArgument(pid, mark) {
		return nil
	}
	family := append(children(pid), pid)
	_ = syscall.Kill(pid, first)
	if gone(family, 30*time.Second) {
		return nil
	}
	for _, member := range append(children(pid), family...) {
		_ = syscall.Kill(member, syscall.SIGKILL)
	}
	if !gone(family, 10*time.Second) {
		return fmt.Errorf("process %d, which an earlier run has left on %s, does not end", pid, mark)
	}
	return nil
}

// gone waits until all processes have ended, and reports whether they have.
func gone(pids []int, timeout time.Duration) bool {
	for end := time.Now().Add(timeout); ; time.Sleep(10 * time.Millisecond) {
		left := 0
		for _, pid := range pids {
			if alive(pid) {
				left++
			}
		}
		if left == 0 || time.Now().After(end) {
			return left == 0
		}
	}
}
