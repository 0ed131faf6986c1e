package main_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"

	"directmailer/internal/audience/lists"
	"directmailer/internal/database"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
	"directmailer/workflows"
)

// patience is how long a mailing of a test may take on a machine that does much else at the same
// time. Several workers may have to be taken for dead before.
const patience = 6 * time.Minute

func TestMain(m *testing.M) {
	servertest.Parallel(6)
	os.Exit(servertest.Main(m))
}

// plant is everything a mailing needs: a database, Temporal, a task queue of its own, and worker processes that may be killed.
type plant struct {
	testing.TB
	url      string
	address  string
	queue    string
	name     string // of the mailing, if not the queue's
	pool     *pgxpool.Pool
	temporal client.Client
	points   string

	mu      sync.Mutex
	workers []*worker
}

// plants tells the queues and mailings of a test from each other when it runs more than once.
var plants atomic.Int64

// newPlant makes a plant whose workers have the drop points ("name=url …").
func newPlant(t testing.TB, points string) *plant {
	t.Helper()
	return newPlantOn(t, points, servertest.Database(t), servertest.Temporal(t))
}

func newPlantOn(t testing.TB, points, url, address string) *plant {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "-", "=", "-", ",", "-").Replace(t.Name()))
	p := &plant{TB: t, points: points, url: url, address: address, queue: fmt.Sprintf("q-%s-%d", name, plants.Add(1))}
	var err error
	if p.pool, err = database.Open(t.Context(), p.url, 4); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.pool.Close)
	p.temporal, err = client.Dial(client.Options{HostPort: p.address, Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.temporal.Close)
	return p
}

type quiet struct{}

var _ log.Logger = quiet{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}

// worker is a process of the real program.
type worker struct {
	cmd    *exec.Cmd
	log    *syncBuffer
	exited chan struct{}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// startWorker starts a worker; extra are further variables of its environment.
func (p *plant) startWorker(extra ...string) *worker {
	p.Helper()
	return p.launch(exec.Command(servertest.Build(p.TB, "./worker")), extra...)
}

// launch starts a command that becomes a worker.
func (p *plant) launch(cmd *exec.Cmd, extra ...string) *worker {
	p.Helper()
	w := &worker{cmd: cmd, log: &syncBuffer{}, exited: make(chan struct{})}
	w.cmd.Env = append(os.Environ(), append([]string{"DATABASE_URL=" + p.url, "TEMPORAL_ADDRESS=" + p.address, "DM_TASK_QUEUE=" + p.queue,
		"DM_DROP_POINTS=" + p.points, "DM_LOG_LEVEL=WARN"}, extra...)...)
	w.cmd.Stdout, w.cmd.Stderr = w.log, w.log
	if err := w.cmd.Start(); err != nil {
		p.Fatal(err)
	}
	go func() { _ = w.cmd.Wait(); close(w.exited) }()
	p.mu.Lock()
	p.workers = append(p.workers, w)
	p.mu.Unlock()
	p.Cleanup(func() {
		w.kill()
		<-w.exited
		if p.Failed() {
			p.Logf("worker %d:\n%s", w.cmd.Process.Pid, tail(w.log.String()))
		}
		if strings.Contains(w.log.String(), "@example.org") {
			p.Error("a recipient's address is in the worker's log")
		}
	})
	return w
}

func tail(s string) string { return s[max(0, len(s)-4000):] }

func (w *worker) kill()                   { _ = w.cmd.Process.Kill() }
func (w *worker) signal(s syscall.Signal) { _ = w.cmd.Process.Signal(s) }

// people is a list of n members, r1@example.org to rn@example.org, with one attribute, which name makes of the number; nil: "Nr 7".
type people struct {
	n, at int
	name  func(int) string
}

func (s *people) Next() (lists.Member, error) {
	if s.at++; s.at > s.n {
		return lists.Member{}, io.EOF
	}
	a, name := address(s.at), fmt.Sprintf("Nr %d", s.at)
	if s.name != nil {
		name = s.name(s.at)
	}
	return lists.Member{Position: int64(s.at), Address: a, Key: a, Attributes: fmt.Appendf(nil, `{"name":%q}`, name)}, nil
}

func (s *people) Rejected() int64 { return 0 }

func address(n int) string { return fmt.Sprintf("r%d@example.org", n) }

func (p *plant) importList(n int) {
	p.Helper()
	if _, err := lists.New(p.pool).Import(p.Context(), "people", "people.csv", []string{"name"}, &people{n: n}, true); err != nil {
		p.Fatal(err)
	}
}

// mailing is a good input with short retries.
func mailing(batchSize int) workflows.Input {
	quick := func(attempts int) workflows.Retry {
		return workflows.Retry{Attempts: attempts, Interval: workflows.Duration(200 * time.Millisecond)}
	}
	return workflows.Input{
		From: "News <news@example.com>", Subject: "Hello {{.name}}", List: "people", BatchSize: batchSize,
		Content: workflows.Content{Text: "Dear {{.name}},\nyou are {{.email}}.\n", HTML: "<p>Dear <b>{{.name}}</b>, you are {{.email}}.</p>"},
		Retry:   workflows.Retries{List: quick(20), Database: quick(100), DropPoint: quick(5)},
		Deferral: workflows.Deferral{First: workflows.Duration(200 * time.Millisecond), Most: workflows.Duration(time.Second),
			For: workflows.Duration(time.Hour)},
	}
}

// start starts the mailing under an ID of the test's own.
func (p *plant) start(in workflows.Input) client.WorkflowRun {
	p.Helper()
	run, err := p.tryStart(in)
	if err != nil {
		p.Fatal(err)
	}
	return run
}

func (p *plant) id() string {
	if p.name != "" {
		return p.name
	}
	return strings.TrimPrefix(p.queue, "q-")
}

func (p *plant) tryStart(in workflows.Input) (client.WorkflowRun, error) {
	return p.temporal.ExecuteWorkflow(p.Context(), client.StartWorkflowOptions{ID: p.id(), TaskQueue: p.queue}, workflows.MailingType, in)
}

// result waits for the end, and checks that the closed ledger adds up.
func (p *plant) result(run client.WorkflowRun) workflows.Result {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), patience)
	defer cancel()
	var r workflows.Result
	if err := run.Get(ctx, &r); err != nil {
		p.Fatalf("the mailing did not end well: %v\n%s", err, p.explain())
	}
	if r.Counts.Total() != r.Recipients {
		p.Errorf("the ledger is not closed: %+v", r)
	}
	return r
}

// failure waits for the end of a mailing that fails, and returns why and, if it has one, its result.
func (p *plant) failure(run client.WorkflowRun) (*temporal.ApplicationError, workflows.Result) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), patience)
	defer cancel()
	var app *temporal.ApplicationError
	if err := run.Get(ctx, nil); !errors.As(err, &app) {
		p.Fatalf("the mailing did not fail: %v\n%s", err, p.explain())
	}
	var r workflows.Result
	if app.HasDetails() {
		_ = app.Details(&r) // some have another kind of detail
	}
	return app, r
}

// explain tells what the mailing is doing, for a test that waits in vain.
func (p *plant) explain() string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.Context()), 5*time.Second)
	defer cancel()
	d, err := p.temporal.DescribeWorkflowExecution(ctx, p.id(), "")
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	fmt.Fprintln(&b, d.WorkflowExecutionInfo.Status)
	for _, a := range d.PendingActivities {
		fmt.Fprintln(&b, a.ActivityType.Name, a.State, "attempt", a.Attempt, a.LastFailure.GetMessage())
	}
	return b.String()
}

// report is the ledger by recipient's address.
func (p *plant) report() map[string]ledger.Line {
	p.Helper()
	m, err := mailings.New(p.pool).Get(p.Context(), p.id())
	if err != nil {
		p.Fatal(err)
	}
	out := map[string]ledger.Line{}
	err = ledger.New(p.pool).Report(p.Context(), m.Key, nil, func(l ledger.Line) error { out[l.Address] = l; return nil })
	if err != nil {
		p.Fatal(err)
	}
	return out
}

// status asks the workflow.
func (p *plant) status() (workflows.Status, error) {
	var s workflows.Status
	v, err := p.temporal.QueryWorkflow(p.Context(), p.id(), "", workflows.StatusQuery)
	if err != nil {
		return s, err
	}
	return s, v.Get(&s)
}

// eventually waits until the condition holds. It looks less often as time goes on: each look may
// cost a query of the workflow.
func (p *plant) eventually(what string, holds func() bool) {
	p.Helper()
	deadline := time.Now().Add(patience)
	for pause := 20 * time.Millisecond; !holds(); pause = min(pause*5/4, 100*time.Millisecond) {
		if time.Now().After(deadline) {
			s, err := p.status()
			p.Fatalf("it did not happen in %v that %s; status: %+v, %v\n%s", patience, what, s, err, p.explain())
		}
		select {
		case <-p.Context().Done():
			p.Fatal(errors.New("the test was ended"))
		case <-time.After(pause):
		}
	}
}

// judge holds the receiving side's record against the ledger: whoever is sent has got it, whoever got it twice is named, and nobody who
// has not been sent to got anything, unless that is uncertain.
func (p *plant) judge(copies map[string]int, recipients int) (duplicates int) {
	p.Helper()
	lines := p.report()
	if len(lines) != recipients {
		p.Errorf("the ledger has %d recipients, %d expected", len(lines), recipients)
	}
	for a, l := range lines {
		n := copies[a]
		switch {
		case l.Outcome == ledger.Sent && n == 0:
			p.Errorf("%s is sent in the ledger and was not received", a)
		case n > 1 && !l.PossiblyTwice:
			p.Errorf("%s was received %d times and the ledger does not say so: %+v", a, n, l)
		case n > 0 && l.Outcome != ledger.Sent && l.Outcome != ledger.Uncertain:
			p.Errorf("%s was received and is %s in the ledger", a, l.Outcome)
		}
		duplicates += max(n-1, 0)
	}
	for a := range copies {
		if _, ok := lines[a]; !ok {
			p.Errorf("%s was received and is no recipient", a)
		}
	}
	return duplicates
}
