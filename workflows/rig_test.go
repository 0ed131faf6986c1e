package workflows_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// testRig runs the workflow in the SDK's test environment, with activities that a test can replace.
type testRig struct {
	*testing.T
	env *testsuite.TestWorkflowEnvironment

	mu        sync.Mutex
	over      bool // the run has ended: an activity that is still in flight changes nothing any more
	calls     []string
	sends     []workflows.SendCall
	closes    []workflows.CloseCall
	prepares  []workflows.PrepareCall
	rendered  int
	settled   int
	sending   int
	mostSends int
	mostAhead int

	batches  int
	prepared *workflows.Prepared // the answer of PrepareList; nil: ten recipients for each batch

	open    func(workflows.OpenCall) (workflows.Opened, error)
	prepare func() error
	render  func(workflows.RenderCall) error
	gather  func(workflows.GatherCall) (workflows.Gathered, error)
	check   func(workflows.CheckCall) (workflows.Checked, error)
	resolve func(workflows.ResolveCall) (workflows.Resolved, error)
	rate    func(workflows.RateCall) error
	send    func(workflows.SendCall) (workflows.SentBatch, error)
	close   func(workflows.CloseCall) (workflows.Closing, error)

	checkSeal func(workflows.SealCheck) bool // default: every seal is good
	seal      func() error
}

func newRig(t *testing.T, batches int) *testRig {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetDisableRegistrationAliasing(true)
	suite.SetLogger(slog.New(slog.DiscardHandler))
	rig := &testRig{T: t, env: suite.NewTestWorkflowEnvironment(), batches: batches}
	rig.env.SetStartWorkflowOptions(startOptions)
	// The defaults, one second and three seconds, are too short for a machine without free
	// processors.
	rig.env.SetWorkerOptions(worker.Options{DeadlockDetectionTimeout: time.Minute})
	rig.env.SetTestTimeout(time.Minute)
	rig.env.RegisterWorkflowWithOptions(workflows.Mailing, workflow.RegisterOptions{Name: workflows.MailingType})
	for name, do := range map[string]any{
		policy.OpenMailing:      rig.OpenMailing,
		policy.PrepareList:      rig.PrepareList,
		policy.RenderBatch:      rig.RenderBatch,
		policy.SendBatch:        rig.SendBatch,
		policy.GatherDeferred:   rig.GatherDeferred,
		policy.CheckDropPoint:   rig.CheckDropPoint,
		policy.SetRate:          rig.SetRate,
		policy.ResolveUncertain: rig.ResolveUncertain,
		policy.CloseMailing:     rig.CloseMailing,
	} {
		rig.env.RegisterActivityWithOptions(do, activity.RegisterOptions{Name: name})
	}
	rig.env.RegisterActivityWithOptions(rig.SealProgress, activity.RegisterOptions{Name: policy.SealProgress})
	rig.env.RegisterActivityWithOptions(rig.CheckSeal, activity.RegisterOptions{Name: policy.CheckSeal})
	return rig
}

// errOver is the answer to an activity that nobody waits for any more.
var errOver = errors.New("the run has ended")

func (rig *testRig) note(format string, args ...any) {
	rig.calls = append(rig.calls, fmt.Sprintf(format, args...))
}

func (rig *testRig) OpenMailing(_ context.Context, c workflows.OpenCall) (workflows.Opened, error) {
	rig.mu.Lock()
	defer rig.mu.Unlock()
	if rig.over {
		return workflows.Opened{}, errOver
	}
	rig.note("open")
	if rig.open != nil {
		return rig.open(c)
	}
	return workflows.Opened{DropPoints: []string{"a", "b"}}, nil
}

func (rig *testRig) SealProgress(_ context.Context, c workflows.SealCall) (string, error) {
	if rig.seal != nil {
		if err := rig.seal(); err != nil {
			return "", err
		}
	}
	return "sealed " + c.Digest, nil
}

func (rig *testRig) CheckSeal(_ context.Context, c workflows.SealCheck) (bool, error) {
	if rig.checkSeal != nil {
		return rig.checkSeal(c), nil
	}
	return true, nil
}

func (rig *testRig) PrepareList(_ context.Context, c workflows.PrepareCall) (workflows.Prepared, error) {
	rig.mu.Lock()
	defer rig.mu.Unlock()
	if rig.over {
		return workflows.Prepared{}, errOver
	}
	rig.note("prepare")
	rig.prepares = append(rig.prepares, c)
	if rig.prepare != nil {
		if err := rig.prepare(); err != nil {
			return workflows.Prepared{}, err
		}
	}
	if rig.prepared != nil {
		return *rig.prepared, nil
	}
	return workflows.Prepared{
		Members:    int64(rig.batches) * 10,
		Recipients: int64(rig.batches) * 10,
		Batches:    rig.batches,
	}, nil
}

func (rig *testRig) RenderBatch(_ context.Context, c workflows.RenderCall) (workflows.Rendered, error) {
	rig.mu.Lock()
	defer rig.mu.Unlock()
	if rig.over {
		return workflows.Rendered{}, errOver
	}
	rig.note("render %d", c.Batch)
	rig.rendered++
	rig.mostAhead = max(rig.mostAhead, rig.rendered-rig.settled)
	if rig.render != nil {
		return workflows.Rendered{Messages: 10}, rig.render(c)
	}
	return workflows.Rendered{Messages: 10}, nil
}

func (rig *testRig) GatherDeferred(_ context.Context, c workflows.GatherCall) (workflows.Gathered, error) {
	rig.mu.Lock()
	defer rig.mu.Unlock()
	if rig.over {
		return workflows.Gathered{}, errOver
	}
	rig.note("gather")
	if rig.gather == nil {
		return workflows.Gathered{}, nil
	}
	return rig.gather(c)
}

func (rig *testRig) CheckDropPoint(_ context.Context, c workflows.CheckCall) (workflows.Checked, error) {
	rig.mu.Lock()
	defer rig.mu.Unlock()
	if rig.over {
		return workflows.Checked{}, errOver
	}
	rig.note("check %s", c.DropPoint)
	if rig.check == nil {
		return workflows.Checked{Usable: true}, nil
	}
	return rig.check(c)
}

func (rig *testRig) SetRate(_ context.Context, c workflows.RateCall) error {
	rig.mu.Lock()
	defer rig.mu.Unlock()
	if rig.over {
		return errOver
	}
	if rig.rate != nil {
		if err := rig.rate(c); err != nil {
			return err
		}
	}
	rig.note("rate %s%s %s", c.Change.DropPoint, c.Change.Domain, c.Change.Rate)
	return nil
}

func (rig *testRig) ResolveUncertain(_ context.Context, c workflows.ResolveCall) (workflows.Resolved, error) {
	rig.mu.Lock()
	defer rig.mu.Unlock()
	if rig.over {
		return workflows.Resolved{}, errOver
	}
	rig.note("resolve %s", c.As.As)
	if rig.resolve == nil {
		return workflows.Resolved{Recipients: 1}, nil
	}
	return rig.resolve(c)
}

// update sends an update after a time, and sets refusal to the error if it is refused.
func (rig *testRig) update(after time.Duration, name string, refusal *error, args ...any) {
	*refusal = errors.New("never asked")
	rig.env.RegisterDelayedCallback(func() {
		callback := &testsuite.TestUpdateCallback{
			OnAccept:   func() { *refusal = nil },
			OnReject:   func(err error) { *refusal = err },
			OnComplete: func(any, error) {},
		}
		rig.env.UpdateWorkflow(name, fmt.Sprint(name, after), callback, args...)
	}, after)
}

// closed returns the answer for a batch whose every message was accepted.
func closed(c workflows.SendCall) workflows.SentBatch {
	out := workflows.SentBatch{Closed: true, Counts: workflows.Counts{Sent: 10}}
	for _, p := range c.DropPoints {
		out.Points = append(out.Points, workflows.DropPointReport{Name: p.Name, Accepted: 5})
	}
	return out
}

// lost returns the error of a batch whose drop points are all unavailable.
func lost(c workflows.SendCall) error {
	var out workflows.SentBatch
	for _, p := range c.DropPoints {
		out.Points = append(
			out.Points,
			workflows.DropPointReport{Name: p.Name, Failure: "drop point " + p.Name + ": connection refused"},
		)
	}
	return temporal.NewNonRetryableApplicationError("connection refused", policy.DropPointUnavailable, nil, out)
}

func (rig *testRig) SendBatch(_ context.Context, c workflows.SendCall) (workflows.SentBatch, error) {
	rig.mu.Lock()
	if rig.over {
		rig.mu.Unlock()
		return workflows.SentBatch{}, errOver
	}
	rig.note("send %d", c.Batch)
	rig.sends = append(rig.sends, c)
	rig.sending++
	rig.mostSends = max(rig.mostSends, rig.sending)
	rig.mu.Unlock()
	defer func() {
		rig.mu.Lock()
		defer rig.mu.Unlock()
		if !rig.over {
			rig.sending--
			rig.settled++
		}
	}()
	if rig.send != nil {
		return rig.send(c)
	}
	return closed(c), nil
}

func (rig *testRig) CloseMailing(_ context.Context, c workflows.CloseCall) (workflows.Closing, error) {
	rig.mu.Lock()
	defer rig.mu.Unlock()
	if rig.over {
		return workflows.Closing{}, errOver
	}
	rig.note("close %s", c.State)
	rig.closes = append(rig.closes, c)
	if rig.close != nil {
		return rig.close(c)
	}
	return workflows.Closing{
		Result: workflows.Result{
			ID:     c.Mailing,
			State:  c.State,
			Reason: c.Reason,
			Counts: workflows.Counts{Sent: int64(rig.batches) * 10},
		},
	}, nil
}

const id = "spring-2026"

func input() workflows.Input {
	return workflows.Input{
		ID: id, From: "News <news@example.com>", Subject: "Hello", List: "people",
		Content: workflows.Content{Text: "Hello"},
		Retry:   workflows.Retries{DropPoint: workflows.Retry{Attempts: 2, Interval: workflows.Duration(time.Minute)}},
	}
}

func (rig *testRig) run(in workflows.Input) workflows.Result {
	rig.Helper()
	rig.env.ExecuteWorkflow(workflows.MailingType, in)
	rig.mu.Lock()
	rig.over = true
	rig.mu.Unlock()
	if !rig.env.IsWorkflowCompleted() {
		rig.Fatal("the workflow has not ended")
	}
	var r workflows.Result
	if rig.env.GetWorkflowError() == nil {
		if err := rig.env.GetWorkflowResult(&r); err != nil {
			rig.Fatal(err)
		}
	}
	return r
}

func (rig *testRig) status() workflows.Status {
	rig.Helper()
	v, err := rig.env.QueryWorkflow(workflows.StatusQuery)
	if err != nil {
		rig.Fatal(err)
	}
	var s workflows.Status
	if err := v.Get(&s); err != nil {
		rig.Fatal(err)
	}
	return s
}

// sentOnce fails the test unless each batch was sent exactly once over all rigs.
func sentOnce(t *testing.T, batches int, rigs ...*testRig) {
	t.Helper()
	got := map[int]int{}
	for _, rig := range rigs {
		for _, c := range rig.sends {
			got[c.Batch]++
		}
	}
	for n := 1; n <= batches; n++ {
		if got[n] != 1 {
			t.Errorf("batch %d was sent %d times", n, got[n])
		}
	}
}

// slowly makes each batch take the time of a turn by the workflow's clock.
func (rig *testRig) slowly(turn time.Duration, send func(workflows.SendCall) (workflows.SentBatch, error)) {
	had := map[int]bool{}
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		rig.mu.Lock()
		first := !had[c.Batch]
		had[c.Batch] = true
		rig.mu.Unlock()
		if first {
			return workflows.SentBatch{NotBefore: rig.env.Now().Add(turn)}, nil
		}
		return send(c)
	}
}

var startOptions = client.StartWorkflowOptions{ID: id, TaskQueue: "direct-mailer"}

func asError[T error](err error, into *T) bool { return errors.As(err, into) }
