package workflows_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
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
	calls     []string
	sends     []workflows.SendCall
	closes    []workflows.CloseCall
	rendered  int
	settled   int
	sending   int
	mostSends int
	mostAhead int

	batches int
	open    func(workflows.OpenCall) (workflows.Opened, error)
	prepare func() error
	render  func(workflows.RenderCall) error
	gather  func(workflows.GatherCall) (workflows.Gathered, error)
	check   func(workflows.CheckCall) (workflows.Checked, error)
	resolve func(workflows.ResolveCall) (workflows.Resolved, error)
	rate    func(workflows.RateCall) error
	send    func(workflows.SendCall) (workflows.SentBatch, error)
	close   func(workflows.CloseCall) (workflows.Closing, error)
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
	return rig
}

func (rig *testRig) note(format string, args ...any) {
	rig.calls = append(rig.calls, fmt.Sprintf(format, args...))
}

func (rig *testRig) OpenMailing(_ context.Context, c workflows.OpenCall) (workflows.Opened, error) {
	rig.mu.Lock()
	defer rig.mu.Unlock()
	rig.note("open")
	if rig.open != nil {
		return rig.open(c)
	}
	return workflows.Opened{DropPoints: []string{"a", "b"}}, nil
}

func (rig *testRig) PrepareList(_ context.Context, c workflows.PrepareCall) (workflows.Prepared, error) {
	rig.mu.Lock()
	defer rig.mu.Unlock()
	rig.note("prepare")
	if rig.prepare != nil {
		if err := rig.prepare(); err != nil {
			return workflows.Prepared{}, err
		}
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
	rig.note("gather")
	if rig.gather == nil {
		return workflows.Gathered{}, nil
	}
	return rig.gather(c)
}

func (rig *testRig) CheckDropPoint(_ context.Context, c workflows.CheckCall) (workflows.Checked, error) {
	rig.mu.Lock()
	defer rig.mu.Unlock()
	rig.note("check %s", c.DropPoint)
	if rig.check == nil {
		return workflows.Checked{Usable: true}, nil
	}
	return rig.check(c)
}

func (rig *testRig) SetRate(_ context.Context, c workflows.RateCall) error {
	rig.mu.Lock()
	defer rig.mu.Unlock()
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
	rig.note("send %d", c.Batch)
	rig.sends = append(rig.sends, c)
	rig.sending++
	rig.mostSends = max(rig.mostSends, rig.sending)
	rig.mu.Unlock()
	defer func() { rig.mu.Lock(); rig.sending--; rig.settled++; rig.mu.Unlock() }()
	if rig.send != nil {
		return rig.send(c)
	}
	return closed(c), nil
}

func (rig *testRig) CloseMailing(_ context.Context, c workflows.CloseCall) (workflows.Closing, error) {
	rig.mu.Lock()
	defer rig.mu.Unlock()
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

func TestEachBatchIsRenderedThenSentThenTheLedgerIsClosed(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 3)
	r := rig.run(input())
	if r.State != workflows.StateCompleted || r.Counts.Sent != 30 {
		t.Errorf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	sentOnce(t, 3, rig)
	if rig.calls[0] != "open" || rig.calls[1] != "prepare" || rig.calls[len(rig.calls)-1] != "close completed" {
		t.Errorf("order: %v", rig.calls)
	}
	for n := 1; n <= 3; n++ {
		if slices.Index(rig.calls, fmt.Sprintf("render %d", n)) > slices.Index(rig.calls, fmt.Sprintf("send %d", n)) {
			t.Errorf("batch %d was sent before it was rendered", n)
		}
	}
	if s := rig.status(); s.State != workflows.StateCompleted || s.Closed != 3 {
		t.Errorf("status after the end: %+v", s)
	}
}

func TestContinueAsNewCarriesTheWholeState(t *testing.T) {
	t.Parallel()
	first := newRig(t, 20)
	sent, waits := 0, false
	first.env.SetOnActivityCompletedListener(func(info *activity.Info, answer converter.EncodedValue, err error) {
		var out workflows.SentBatch
		if info.ActivityType.Name != policy.SendBatch || err != nil || answer.Get(&out) != nil {
			return
		}
		sent++
		waits = waits || out.Deferred > 0
		if sent >= 8 && waits {
			first.env.SetContinueAsNewSuggested(true)
		}
	})
	var deferred atomic.Bool
	first.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		out := closed(c)
		if deferred.CompareAndSwap(false, true) {
			out.Deferred, out.NextRound = 3, first.env.Now().Add(time.Hour)
		}
		return out, nil
	}
	first.run(input())
	var next *workflow.ContinueAsNewError
	if err := first.env.GetWorkflowError(); err == nil || !workflow.IsContinueAsNewError(err) {
		t.Fatalf("got %v, want continue-as-new", err)
	} else if !asError(err, &next) {
		t.Fatal(err)
	}
	var in workflows.Input
	if err := converter.GetDefaultDataConverter().FromPayloads(next.Input, &in); err != nil {
		t.Fatal(err)
	}
	if in.Resume == nil || in.Content.Text != "" || in.Resume.Deferred != 3 || !in.Resume.DropPoints[0].Proven ||
		in.Resume.Step != workflows.StepSend ||
		in.Resume.Window.Size == 0 {
		t.Fatalf("the next run's input: %+v, %+v", in, in.Resume)
	}
	second := newRig(t, 20)
	second.env.SetContinuedExecutionRunID("the first")
	second.gather = func(c workflows.GatherCall) (workflows.Gathered, error) {
		if c.Known != 20 || c.BatchSize != 500 {
			t.Errorf("%+v", c)
		}
		return workflows.Gathered{Ready: []int{21}}, nil
	}
	r := second.run(in)
	if r.State != workflows.StateCompleted {
		t.Errorf("result %+v, error %v", r, second.env.GetWorkflowError())
	}
	if slices.Contains(second.calls, "open") || slices.Contains(second.calls, "prepare") {
		t.Errorf("the second run began anew: %v", second.calls)
	}
	// What was in flight in the first run was handed back and is sent on in the second.
	for n := 1; n <= 21; n++ {
		if !slices.ContainsFunc(
			append(first.sends, second.sends...),
			func(c workflows.SendCall) bool { return c.Batch == n },
		) {
			t.Errorf("batch %d was not sent", n)
		}
	}
	if s := second.status(); s.Closed != 21 || s.Batches != 21 {
		t.Errorf("closed batches over both runs: %+v", s)
	}
}

// slowly makes each batch take a while by the workflow's clock: the drop points need one turn each.
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

func TestADropPointThatFailsRestsThenLeavesTheListAndIsBackWhenItWorksAgain(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 8)
	began := rig.env.Now()
	passed := func() time.Duration { return rig.env.Now().Sub(began) }
	var failures, looks []time.Duration
	trials := 0
	turns := map[int]int{}
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		rig.mu.Lock()
		defer rig.mu.Unlock()
		out := closed(c)
		if turns[c.Batch]++; turns[c.Batch] < 15 {
			out.Closed, out.Counts, out.NotBefore = false, workflows.Counts{}, rig.env.Now().Add(time.Minute)
		}
		for i, p := range c.DropPoints {
			switch {
			case p.Name == "a" && passed() < 3*time.Minute:
				failures = append(failures, passed())
				out.Points[i] = workflows.DropPointReport{Name: "a", Failure: "drop point a: connection refused"}
			case p.Name == "a":
				trials++
			}
		}
		return out, nil
	}
	rig.check = func(workflows.CheckCall) (workflows.Checked, error) {
		looks = append(looks, passed())
		return workflows.Checked{Usable: passed() >= 4*time.Minute, Failure: "drop point a: still down"}, nil
	}
	rig.env.RegisterDelayedCallback(func() {
		s := rig.status()
		if p := s.DropPoints[0]; p.InList || p.Until.IsZero() || !strings.Contains(p.LastFailure, "down") ||
			s.State != workflows.StateSending {
			t.Errorf("while it is down: %+v", s)
		}
	}, 3*time.Minute+10*time.Second)
	if r := rig.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	if p := rig.status().DropPoints[0]; !p.InList || p.OnTrial || p.Failures != 0 || trials == 0 {
		t.Errorf("after it was back: %+v, %d batches", p, trials)
	}
	if len(looks) < 2 || looks[0]-failures[0] < time.Minute {
		t.Errorf("it failed at %v and was looked at at %v", failures, looks)
	}
}

func TestTheLossOfTheLastDropPointSuspendsUntilALookAndATrialSucceed(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 5)
	began := rig.env.Now()
	passed := func() time.Duration { return rig.env.Now().Sub(began) }
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		if passed() < 20*time.Minute {
			return workflows.SentBatch{}, lost(c)
		}
		return closed(c), nil
	}
	rig.check = func(workflows.CheckCall) (workflows.Checked, error) {
		return workflows.Checked{Usable: passed() >= 10*time.Minute, Failure: "connection refused"}, nil
	}
	rig.env.RegisterDelayedCallback(func() {
		s := rig.status()
		if s.State != workflows.StateSuspended || s.Until.IsZero() || !s.Since.Equal(began.Add(time.Minute)) ||
			!strings.Contains(s.Doing, "connection refused") {
			t.Errorf("while it is down: %+v", s)
		}
	}, 90*time.Second)
	if r := rig.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	if n := len(rig.sends); n > 5+2+12 {
		t.Errorf("%d batches were tried: a drop point on trial gets one", n)
	}
	looks := 0
	for _, c := range rig.calls {
		if strings.HasPrefix(c, "check") {
			looks++
		}
	}
	if looks < 4 || looks > 16 {
		t.Errorf("%d looks at two drop points", looks)
	}
}

func TestAMailingOfWhichOnlyTheDeferredAreLeftIsNotCalledSuspendedWhenADropPointIsBack(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 1)
	began := rig.env.Now()
	tries := 0
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		rig.mu.Lock()
		defer rig.mu.Unlock()
		switch tries++; tries {
		case 1:
			return workflows.SentBatch{}, lost(c)
		case 2: // the drop points can be used, and have refused the one recipient: which proves nothing
			out := workflows.SentBatch{Closed: true, Deferred: 1, NextRound: began.Add(2 * time.Hour)}
			for _, p := range c.DropPoints {
				out.Points = append(out.Points, workflows.DropPointReport{Name: p.Name})
			}
			return out, nil
		}
		return closed(c), nil
	}
	rig.gather = func(workflows.GatherCall) (workflows.Gathered, error) {
		return workflows.Gathered{Ready: []int{2}}, nil
	}
	rig.env.RegisterDelayedCallback(func() {
		if s := rig.status(); s.State != workflows.StateSending || s.Deferred != 1 {
			t.Errorf("while the deferred wait: %+v", s)
		}
	}, time.Hour)
	if r := rig.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	if tries != 3 {
		t.Errorf("tried %d times", tries)
	}
}

func TestResumeTriesAtOnceWhatIsWaitedForAndIsRefusedOtherwise(t *testing.T) {
	t.Parallel()
	// After one failure, with so many attempts:
	for state, attempts := range map[workflows.State]int{workflows.StateSuspended: 1, workflows.StateSending: 2} {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			resumeEndsTheWaiting(t, state, attempts)
		})
	}
}

func resumeEndsTheWaiting(t *testing.T, state workflows.State, attempts int) {
	t.Helper()
	rig := newRig(t, 2)
	up := false
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		if !up {
			return workflows.SentBatch{}, lost(c)
		}
		return closed(c), nil
	}
	began := rig.env.Now()
	var refused, accepted error
	rig.env.RegisterDelayedCallback(func() { up = true }, 4*time.Second)
	rig.update(5*time.Second, workflows.ResumeUpdate, &accepted)
	rig.update(time.Second, workflows.ResumeUpdate, &refused)
	in := input()
	in.Retry.DropPoint = workflows.Retry{Attempts: attempts, Interval: workflows.Duration(time.Hour)}
	rig.env.RegisterDelayedCallback(func() {
		if s := rig.status(); s.State != state || s.Until.IsZero() || !strings.Contains(s.Doing, "connection refused") {
			t.Errorf("before the resume: %+v", s)
		}
	}, 3*time.Second)
	in.NotBefore = began.Add(2 * time.Second)
	if r := rig.run(in); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	if accepted != nil || refused == nil {
		t.Errorf("resume while suspended: %v; while waiting: %v", accepted, refused)
	}
	if took := rig.env.Now().Sub(began); took > time.Minute {
		t.Errorf("it waited %v although it was resumed", took)
	}
}

func TestAPausedMailingSendsNothingUntilItIsResumed(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 40)
	rig.slowly(time.Minute, func(c workflows.SendCall) (workflows.SentBatch, error) { return closed(c), nil })
	var first, second, resumed error
	sent := 0
	rig.env.RegisterDelayedCallback(func() {
		if s := rig.status(); s.State != workflows.StatePaused || s.Since.IsZero() ||
			!strings.Contains(s.Doing, "paused") {
			t.Errorf("%+v", s)
		}
		sent = len(rig.sends)
	}, 31*time.Second)
	rig.update(30*time.Second, workflows.PauseUpdate, &first)
	rig.update(40*time.Second, workflows.PauseUpdate, &second)
	rig.env.RegisterDelayedCallback(func() {
		if n := len(rig.sends); n != sent {
			t.Errorf("%d batches were begun while it was paused", n-sent)
		}
	}, 2*time.Hour-time.Second)
	rig.update(2*time.Hour, workflows.ResumeUpdate, &resumed)
	if r := rig.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	if first != nil || second == nil || resumed != nil || sent == 0 || sent >= 80 {
		t.Errorf("pause %v, again %v, resume %v; %d batches before", first, second, resumed, sent)
	}
}

func TestTheUpdateCancelEndsTheMailingAndIsItsResult(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 40)
	rig.slowly(time.Minute, func(c workflows.SendCall) (workflows.SentBatch, error) { return closed(c), nil })
	var refusal error
	rig.update(30*time.Second, workflows.CancelUpdate, &refusal)
	if r := rig.run(input()); r.State != workflows.StateCancelled || refusal != nil {
		t.Errorf("result %+v, error %v, refusal %v", r, rig.env.GetWorkflowError(), refusal)
	}
	if len(rig.closes) != 1 || rig.closes[0].State != workflows.StateCancelled {
		t.Errorf("closes: %+v", rig.closes)
	}
}

func TestTheErrorLimitSuspendsUntilSomebodyResumesAndCountsAnewThen(t *testing.T) {
	t.Parallel()
	for _, policy := range []workflows.OnExhausted{workflows.Suspend, workflows.Fail} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			rig := newRig(t, 60)
			bad := 20
			rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
				out := closed(c)
				if c.Batch <= bad {
					out.Counts = workflows.Counts{Sent: 6, Bounced: 2, Failed: 1}
					out.Refused = 1
				}
				return out, nil
			}
			in := input()
			in.MaxErrorPercent, in.ErrorMinimum, in.OnExhausted = 30, 50, policy
			var resumed error
			rig.env.RegisterDelayedCallback(func() {
				bad = 0
				if s := rig.status(); s.State != workflows.StateSuspended ||
					!strings.Contains(s.Doing, "error limit") ||
					!s.Until.IsZero() {
					t.Errorf("%+v", s)
				}
			}, time.Hour)
			if policy == workflows.Suspend {
				rig.update(2*time.Hour, workflows.ResumeUpdate, &resumed)
			}
			r := rig.run(in)
			switch err := rig.env.GetWorkflowError(); {
			case policy == workflows.Suspend && (r.State != workflows.StateCompleted || resumed != nil):
				t.Errorf("result %+v, error %v, resume %v", r, err, resumed)
			case policy == workflows.Fail && (err == nil || !strings.Contains(err.Error(), "error limit")):
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestADropPointThatIsAwayDoesNotTouchTheErrorLimit(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 60)
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		out := closed(c)
		if c.Batch <= 20 {
			out.Points = []workflows.DropPointReport{
				{Name: c.DropPoints[0].Name, Failure: "drop point mx: connection refused"},
			}
		}
		return out, nil
	}
	in := input()
	in.MaxErrorPercent, in.ErrorMinimum, in.Retry.DropPoint.Attempts = 1, 1, 1000
	if r := rig.run(in); r.State != workflows.StateCompleted || rig.env.GetWorkflowError() != nil {
		t.Errorf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
}

func TestWhatWasInFlightWhenTheMailingWasResumedDoesNotSuspendItAgain(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 20)
	others, resumed := make(chan struct{}), make(chan struct{})
	var asked atomic.Bool
	var sends atomic.Int64
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		out := closed(c)
		if asked.Load() {
			return out, nil
		}
		switch sends.Add(1) {
		case 1:
			<-others
		case 2:
			close(others)
			fallthrough
		default:
			<-resumed
		}
		out.Counts = workflows.Counts{Bounced: 10}
		return out, nil
	}
	in := input()
	in.MaxErrorPercent, in.ErrorMinimum = 50, 5
	var look func()
	look = func() {
		if _, err := rig.env.QueryWorkflow(workflows.StatusQuery); err != nil ||
			rig.status().State != workflows.StateSuspended {
			rig.env.RegisterDelayedCallback(look, time.Millisecond)
			return
		}
		asked.Store(true)
		rig.update(0, workflows.ResumeUpdate, new(error))
		rig.env.RegisterDelayedCallback(func() { close(resumed) }, time.Millisecond)
	}
	rig.env.RegisterDelayedCallback(look, time.Millisecond)
	if r := rig.run(in); r.State != workflows.StateCompleted {
		t.Errorf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
}

func TestMailThatIsRenderedGoesOnBeingSentWhileThePageServerIsAway(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 12)
	began := rig.env.Now()
	rig.render = func(c workflows.RenderCall) error {
		if c.Batch > 6 && rig.env.Now().Sub(began) < time.Hour {
			return temporal.NewNonRetryableApplicationError("the page server is away", policy.PageUnavailable, nil)
		}
		return nil
	}
	rig.slowly(time.Minute, func(c workflows.SendCall) (workflows.SentBatch, error) { return closed(c), nil })
	rig.env.RegisterDelayedCallback(func() {
		s := rig.status()
		if s.State != workflows.StateSuspended || s.Closed != 6 ||
			!strings.Contains(s.Doing, "the page server is away") {
			t.Errorf("%+v", s)
		}
	}, 30*time.Minute)
	in := input()
	in.Retry.Page = workflows.Retry{Attempts: 3, Interval: workflows.Duration(time.Minute)}
	if r := rig.run(in); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	probes := 0
	for _, c := range rig.calls {
		if strings.HasPrefix(c, "render") {
			probes++
		}
	}
	if probes > 65+8*(6+1) { // each of the six that succeed may let out a window of others
		t.Errorf(
			"%d batches were begun to be rendered: one a minute is enough to see whether the pages are back",
			probes,
		)
	}
}

func TestARateIsSetByAnUpdateAndWhatCannotBeALimitIsRefused(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 4)
	rig.slowly(time.Minute, func(c workflows.SendCall) (workflows.SentBatch, error) { return closed(c), nil })
	var good, unknown, both, wrong error
	rig.update(1*time.Second, workflows.RateUpdate, &good, workflows.RateChange{DropPoint: "a", Rate: "20/s"})
	rig.update(2*time.Second, workflows.RateUpdate, &unknown, workflows.RateChange{DropPoint: "mars", Rate: "20/s"})
	rig.update(
		3*time.Second,
		workflows.RateUpdate,
		&both,
		workflows.RateChange{DropPoint: "a", Domain: "example.com", Rate: "20/s"},
	)
	rig.update(
		4*time.Second,
		workflows.RateUpdate,
		&wrong,
		workflows.RateChange{Domain: "example.com", Rate: "quickly"},
	)
	rig.run(input())
	if good != nil || unknown == nil || both == nil || wrong == nil || !slices.Contains(rig.calls, "rate a 20/s") {
		t.Errorf("%v; %v; %v; %v; %v", good, unknown, both, wrong, rig.calls)
	}
}

func TestHeldRecipientsAreResolvedByAnUpdate(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 2)
	rig.slowly(time.Minute, func(c workflows.SendCall) (workflows.SentBatch, error) {
		out := closed(c)
		if c.Batch == 1 {
			out.Counts = workflows.Counts{Sent: 8, Uncertain: 2}
		} else if c.Batch == 2 {
			out.Deferred, out.NextRound = 1, rig.env.Now().Add(time.Hour)
		}
		return out, nil
	})
	gathered := 2
	rig.gather = func(c workflows.GatherCall) (workflows.Gathered, error) {
		gathered++
		return workflows.Gathered{Unrendered: []int{gathered}}, nil
	}
	var early, wrong, good error
	rig.update(time.Second, workflows.ResolveUpdate, &early, workflows.Resolution{As: "sent"})
	rig.update(5*time.Minute, workflows.ResolveUpdate, &wrong, workflows.Resolution{As: "lost"})
	rig.update(6*time.Minute, workflows.ResolveUpdate, &good, workflows.Resolution{As: "resend"})
	if r := rig.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	if early == nil || wrong == nil || good != nil || !slices.Contains(rig.calls, "resolve resend") ||
		!slices.Contains(rig.calls, "render 3") {
		t.Errorf("%v; %v; %v; %v", early, wrong, good, rig.calls)
	}
}

// inAMinute fails until a minute has passed, so that what is done meanwhile comes in between.
func (rig *testRig) inAMinute() func() error {
	tries := 0
	return func() error {
		if tries++; tries < 7 {
			return temporal.NewApplicationErrorWithOptions(
				"the database is away",
				policy.DatabaseUnavailable,
				temporal.ApplicationErrorOptions{NextRetryDelay: 10 * time.Second},
			)
		}
		return nil
	}
}

func TestOfTwoRatesTheLaterHolds(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 4)
	rig.slowly(10*time.Minute, func(c workflows.SendCall) (workflows.SentBatch, error) { return closed(c), nil })
	away := rig.inAMinute()
	rig.rate = func(c workflows.RateCall) error {
		if c.Change.Rate == "20/s" {
			return away()
		}
		return nil
	}
	var first, second error
	rig.update(1*time.Second, workflows.RateUpdate, &first, workflows.RateChange{DropPoint: "a", Rate: "20/s"})
	rig.update(2*time.Second, workflows.RateUpdate, &second, workflows.RateChange{DropPoint: "a", Rate: "30/s"})
	rig.run(input())
	earlier, later := slices.Index(rig.calls, "rate a 20/s"), slices.Index(rig.calls, "rate a 30/s")
	if first != nil || second != nil || earlier < 0 || later < earlier {
		t.Errorf("%v, %v; %v", first, second, rig.calls)
	}
}

func TestTheLedgerIsNotClosedWhileSomebodyResolvesIt(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 2)
	rig.slowly(10*time.Minute, func(c workflows.SendCall) (workflows.SentBatch, error) { return closed(c), nil })
	usual := rig.send
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		if c.Batch == 1 {
			out := closed(c)
			out.Counts = workflows.Counts{Sent: 8, Uncertain: 2}
			return out, nil
		}
		return usual(c)
	}
	away := rig.inAMinute()
	rig.resolve = func(workflows.ResolveCall) (workflows.Resolved, error) {
		err := away()
		if err == nil {
			rig.note("resolved")
		}
		return workflows.Resolved{Recipients: 2}, err
	}
	var resolved, cancelled error
	rig.update(10*time.Second, workflows.ResolveUpdate, &resolved, workflows.Resolution{As: "sent"})
	rig.update(20*time.Second, workflows.CancelUpdate, &cancelled)
	rig.run(input())
	done, end := slices.Index(rig.calls, "resolved"), slices.Index(rig.calls, "close cancelled")
	if resolved != nil || cancelled != nil || done < 0 || end < done {
		t.Errorf("%v, %v; %v", resolved, cancelled, rig.calls)
	}
}

func TestOnExhaustedFailEndsTheMailingAndClosesItsLedger(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 5)
	rig.send = func(workflows.SendCall) (workflows.SentBatch, error) {
		return workflows.SentBatch{}, temporal.NewNonRetryableApplicationError(
			"the database is away",
			policy.DatabaseUnavailable,
			nil,
		)
	}
	in := input()
	in.OnExhausted = workflows.Fail
	rig.run(in)
	var app *temporal.ApplicationError
	if err := rig.env.GetWorkflowError(); !asError(err, &app) || app.Type() != "MailingFailed" ||
		!strings.Contains(app.Message(), "the database is away") {
		t.Errorf("got %v", err)
	}
	if rig.calls[len(rig.calls)-1] != "close failed" {
		t.Errorf("order: %v", rig.calls)
	}
}

func TestCancelWaitsForWhatIsInFlightAndClosesTheLedger(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 60)
	rig.env.RegisterDelayedCallback(rig.env.CancelWorkflow, time.Second)
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		return workflows.SentBatch{Closed: true, Deferred: 1, NextRound: rig.env.Now().Add(time.Hour)}, nil
	}
	rig.run(input())
	if err := rig.env.GetWorkflowError(); !temporal.IsCanceledError(err) {
		t.Errorf("got %v, want cancelled", err)
	}
	if len(rig.closes) != 1 || rig.closes[0].State != workflows.StateCancelled {
		t.Errorf("closes: %+v", rig.closes)
	}
}

func TestNothingIsDoneBeforeNotBeforeExceptChecking(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 1)
	in := input()
	in.NotBefore = rig.env.Now().Add(time.Hour)
	rig.env.RegisterDelayedCallback(func() {
		rig.mu.Lock()
		calls := slices.Clone(rig.calls)
		rig.mu.Unlock()
		if s := rig.status(); s.State != workflows.StateWaiting || !s.Until.Equal(in.NotBefore) ||
			!slices.Equal(calls, []string{"open"}) {
			t.Errorf("a minute before: %+v after %v", s, calls)
		}
	}, 59*time.Minute)
	if r := rig.run(in); r.State != workflows.StateCompleted {
		t.Errorf("result %+v", r)
	}
}

func TestNotAfterEndsTheMailingAsExpired(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 2)
	rig.send = func(workflows.SendCall) (workflows.SentBatch, error) {
		return workflows.SentBatch{Closed: true, Deferred: 3, NextRound: rig.env.Now().Add(2 * time.Hour)}, nil
	}
	in := input()
	in.NotAfter = rig.env.Now().Add(time.Hour)
	if r := rig.run(in); r.State != workflows.StateExpired || r.Reason == "" {
		t.Errorf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
}

func TestAnInvalidInputFailsWithEveryProblemAndNothingIsDone(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 1)
	problems := []workflows.Problem{
		{Field: "from", Message: "is missing"},
		{Field: "list", Message: "no list is named \"x\""},
	}
	rig.open = func(workflows.OpenCall) (workflows.Opened, error) {
		return workflows.Opened{}, temporal.NewNonRetryableApplicationError(
			"invalid input: …",
			policy.InvalidInput,
			nil,
			problems,
		)
	}
	rig.run(input())
	var app *temporal.ApplicationError
	var got []workflows.Problem
	if err := rig.env.GetWorkflowError(); !asError(err, &app) || app.Type() != policy.InvalidInput ||
		!app.NonRetryable() ||
		app.Details(&got) != nil ||
		!slices.Equal(got, problems) {
		t.Errorf("got %v with %v", err, got)
	}
	if !slices.Equal(rig.calls, []string{"open"}) {
		t.Errorf("calls: %v", rig.calls)
	}
}

func TestAnIDOtherThanTheWorkflowsIsRefused(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 1)
	in := input()
	in.ID = "another"
	rig.run(in)
	if err := rig.env.GetWorkflowError(); err == nil || len(rig.calls) > 0 {
		t.Errorf("got %v after %v", err, rig.calls)
	}
}

func TestAStateThatSomebodyTypedIsRefused(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 1)
	in := input()
	in.Resume = &workflows.Progress{Step: workflows.StepSend}
	rig.run(in)
	var app *temporal.ApplicationError
	if err := rig.env.GetWorkflowError(); !asError(err, &app) || app.Type() != policy.InvalidInput ||
		len(rig.calls) > 0 {
		t.Errorf("got %v after %v", err, rig.calls)
	}
}

func TestALedgerThatDoesNotCloseSendsItsOpenBatchesAgain(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 3)
	rig.close = func(c workflows.CloseCall) (workflows.Closing, error) {
		if len(rig.closes) == 1 {
			return workflows.Closing{Open: []int{2}}, nil
		}
		return workflows.Closing{Result: workflows.Result{State: c.State}}, nil
	}
	if r := rig.run(input()); r.State != workflows.StateCompleted {
		t.Errorf("result %+v", r)
	}
	if len(rig.sends) != 4 || rig.sends[3].Batch != 2 || len(rig.closes) != 2 || rig.status().Closed != 3 {
		t.Errorf("sends %v, closes %d", rig.sends, len(rig.closes))
	}
}

func TestDeferredRecipientsAreGatheredIntoBatchesWhenTheirTimeHasCome(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 4)
	began := rig.env.Now()
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		out := closed(c)
		if c.Batch <= 4 {
			out.Deferred, out.NextRound = 2, rig.env.Now().Add(30*time.Minute)
		}
		return out, nil
	}
	var at []time.Duration
	rig.gather = func(c workflows.GatherCall) (workflows.Gathered, error) {
		at = append(at, rig.env.Now().Sub(began).Round(time.Minute))
		switch len(at) {
		case 1:
			return workflows.Gathered{Ready: []int{5}, Deferred: 2, NextRound: rig.env.Now().Add(time.Hour)}, nil
		}
		return workflows.Gathered{Ready: []int{6}}, nil
	}
	rig.env.RegisterDelayedCallback(func() {
		s := rig.status()
		if s.Deferred != 8 || s.NextRound.IsZero() || !s.Until.Equal(s.NextRound) ||
			!strings.Contains(s.Doing, "next round") {
			t.Errorf("%+v", s)
		}
	}, 10*time.Minute)
	if r := rig.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	if !slices.Equal(at, []time.Duration{30 * time.Minute, 90 * time.Minute}) {
		t.Errorf("gathered after %v", at)
	}
	sentOnce(t, 6, rig)
}

func TestALostSpoolIsRenderedAgain(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 2)
	var lost atomic.Bool
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		if c.Batch == 1 && !lost.Swap(true) {
			return workflows.SentBatch{}, temporal.NewNonRetryableApplicationError(
				"no messages",
				policy.SpoolMissing,
				nil,
			)
		}
		return workflows.SentBatch{Closed: true}, nil
	}
	if r := rig.run(input()); r.State != workflows.StateCompleted || rig.rendered != 3 {
		t.Errorf("result %+v, %d renderings", r, rig.rendered)
	}
}

func TestAnErrorLimitIsNotLiftedByAnotherFailure(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 60)
	tries := map[int]int{}
	// The page server is unavailable when the limit is reached, and its attempts end later.
	rig.render = func(c workflows.RenderCall) error {
		if c.Batch < 8 {
			return nil
		}
		tries[c.Batch]++
		return temporal.NewApplicationErrorWithOptions("page server", policy.PageUnavailable,
			temporal.ApplicationErrorOptions{NonRetryable: tries[c.Batch] >= 3, NextRetryDelay: 30 * time.Second})
	}
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		out := closed(c)
		out.Counts = workflows.Counts{Bounced: 10}
		return out, nil
	}
	sent := map[time.Duration]int{}
	for _, at := range []time.Duration{20 * time.Second, 15 * time.Minute} {
		rig.env.RegisterDelayedCallback(func() {
			if s := rig.status(); s.State != workflows.StateSuspended || !strings.Contains(s.Doing, "error limit") {
				t.Errorf("after %v: %s, %s", at, s.State, s.Doing)
			}
			rig.mu.Lock()
			defer rig.mu.Unlock()
			sent[at] = len(rig.sends)
		}, at)
	}
	var refusal error
	rig.update(20*time.Minute, workflows.CancelUpdate, &refusal)
	in := input()
	in.MaxErrorPercent, in.ErrorMinimum = 5, 10
	rig.run(in)
	if before, after := sent[20*time.Second], sent[15*time.Minute]; before == 0 || before != after {
		t.Errorf("%d batches were sent before the limit was reached, and %d before somebody decided", before, after)
	}
}

func TestTheLossOfTheLastDropPointOutlastsAnOutageOfTheDatabase(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 60)
	began := rig.env.Now()
	passed := func() time.Duration { return rig.env.Now().Sub(began) }
	// The database is unavailable for batches that are rendered after the first window.
	rig.render = func(c workflows.RenderCall) error {
		if c.Batch > 8 && passed() < 5*time.Minute {
			return temporal.NewNonRetryableApplicationError("the database is away", policy.DatabaseUnavailable, nil)
		}
		return nil
	}
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		if passed() < 30*time.Minute {
			return workflows.SentBatch{}, lost(c)
		}
		return closed(c), nil
	}
	rig.check = func(workflows.CheckCall) (workflows.Checked, error) {
		return workflows.Checked{Usable: passed() >= 30*time.Minute, Failure: "connection refused"}, nil
	}
	for _, at := range []time.Duration{20 * time.Minute, 25 * time.Minute} { // it is back, and was probed
		rig.env.RegisterDelayedCallback(func() {
			if s := rig.status(); s.State != workflows.StateSuspended ||
				!strings.Contains(s.Doing, "connection refused") {
				t.Errorf("after %v: %s, %s", at, s.State, s.Doing)
			}
		}, at)
	}
	if r := rig.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
}

func TestAResumeOfOneSuspensionDoesNotLiftALaterOne(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 200)
	began := rig.env.Now()
	bad := false
	rig.render = func(c workflows.RenderCall) error {
		at := rig.env.Now().Sub(began)
		switch {
		case bad || c.Batch < 20:
			return nil
		case at < 30*time.Second:
			return temporal.NewNonRetryableApplicationError("page server", policy.PageUnavailable, nil)
		case at < 100*time.Second: // the probe takes its time
			return temporal.NewApplicationErrorWithOptions(
				"crash",
				"crash",
				temporal.ApplicationErrorOptions{NextRetryDelay: 10 * time.Second},
			)
		}
		bad = true
		return nil
	}
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		rig.mu.Lock()
		defer rig.mu.Unlock()
		out := closed(c)
		if bad {
			out.Counts = workflows.Counts{Bounced: 10}
		}
		return out, nil
	}
	rig.env.RegisterDelayedCallback(func() {
		if s := rig.status(); s.State != workflows.StateSuspended || !strings.Contains(s.Doing, "error limit") ||
			s.Closed > 20 {
			t.Errorf("%s, %s; %d batches closed", s.State, s.Doing, s.Closed)
		}
	}, 15*time.Minute)
	var refusal, end error
	rig.update(75*time.Second, workflows.ResumeUpdate, &refusal)
	rig.update(20*time.Minute, workflows.CancelUpdate, &end)
	in := input()
	in.MaxErrorPercent, in.ErrorMinimum = 50, 10
	in.Retry.Page = workflows.Retry{Attempts: 1, Interval: workflows.Duration(time.Minute)}
	rig.run(in)
	if refusal != nil || end != nil {
		t.Error(refusal, end)
	}
}

func TestALowRateDoesNotHaveTheWholeListRenderedAndTriedInVain(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 200)
	var next time.Time // the limit's next turn: one batch's worth of messages every 20 s
	inVain := 0
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		rig.mu.Lock()
		defer rig.mu.Unlock()
		now := rig.env.Now()
		if now.Before(next) {
			inVain++
			return workflows.SentBatch{NotBefore: next, Everybody: true}, nil
		}
		next = now.Add(20 * time.Second)
		return closed(c), nil
	}
	if r := rig.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	if rig.mostAhead > 48 || inVain > 600 {
		t.Errorf("%d batches were rendered and not settled, %d were tried in vain", rig.mostAhead, inVain)
	}
}
