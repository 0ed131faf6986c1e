package rig

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"

	enumspb "go.temporal.io/api/enums/v1"

	"directmailer/internal/dev/servertest"
)

// Worker is a process of the worker program.
type Worker struct {
	Cmd    *exec.Cmd
	Exited chan struct{} // closed when the process has ended
	log    logBuffer
}

// PublicURL is where the unsubscribe links of tests lead.
const PublicURL = "https://mail.example.com"

// TokenKeys are those of the workers of tests.
const TokenKeys = "keys-of-tests-are-known-to-everybody"

// PublicEnvironment returns the variables of a worker whose messages have unsubscribe links. It has
// no listener.
func PublicEnvironment() []string {
	return []string{"DM_TOKEN_KEYS=" + TokenKeys, "DM_PUBLIC_URL=" + PublicURL}
}

// StartWorker starts a worker, which is killed at the end of the test. Each extra is a further
// variable of its environment: "NAME=value".
func (r *Rig) StartWorker(extra ...string) *Worker {
	r.Helper()
	return r.Launch(exec.Command(servertest.Build(r.TB, "./worker")), extra...)
}

// Launch is StartWorker with a command that becomes a worker.
func (r *Rig) Launch(cmd *exec.Cmd, extra ...string) *Worker {
	r.Helper()
	w := &Worker{Cmd: cmd, Exited: make(chan struct{})}
	cmd.Env = append(os.Environ(), "DATABASE_URL="+r.DatabaseURL, "TEMPORAL_ADDRESS="+r.TemporalAddress,
		"DM_TASK_QUEUE="+r.TaskQueue, "DM_DROP_POINTS="+r.DropPoints, "DM_LOG_LEVEL=WARN")
	cmd.Env = append(cmd.Env, PublicEnvironment()...)
	cmd.Env = append(cmd.Env, extra...)
	cmd.Stdout, cmd.Stderr = &w.log, &w.log
	if err := cmd.Start(); err != nil {
		r.Fatal(err)
	}
	go func() { _ = cmd.Wait(); close(w.Exited) }()
	r.mu.Lock()
	r.workers = append(r.workers, w)
	r.mu.Unlock()
	r.Cleanup(func() {
		r.Kill(w)
		if r.Failed() {
			r.Logf("worker %d:\n%s", cmd.Process.Pid, Tail(w.Log()))
		}
		if strings.Contains(w.Log(), "@example.org") {
			r.Error("a recipient's address is in the worker's log")
		}
	})
	return w
}

// Workers returns every worker that was started, also those that have ended.
func (r *Rig) Workers() []*Worker {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.workers)
}

// AwaitPollers waits until so many workers poll for batches. A mailing that starts earlier goes to
// the workers that are quick to start.
func (r *Rig) AwaitPollers(workers int) {
	r.Helper()
	r.Eventually("every worker polls", func() bool {
		d, err := r.Temporal.DescribeTaskQueue(r.Context(), r.TaskQueue, enumspb.TASK_QUEUE_TYPE_ACTIVITY)
		return err == nil && len(d.Pollers) >= workers
	})
}

// Kill ends the process as a crash does.
func (w *Worker) Kill() { _ = w.Cmd.Process.Kill() }

// Kill ends the worker as a crash does, and waits for its end.
func (r *Rig) Kill(w *Worker) {
	r.Helper()
	w.Kill()
	Await(r, "the killed worker has ended", w.Exited)
}

// Signal sends the process a signal.
func (w *Worker) Signal(s syscall.Signal) { _ = w.Cmd.Process.Signal(s) }

// Log returns what the worker has written so far.
func (w *Worker) Log() string { return w.log.String() }

// Tail returns the last 4,000 octets of a log.
func Tail(s string) string { return s[max(0, len(s)-4000):] }

// logBuffer is a buffer that is safe for concurrent use.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
