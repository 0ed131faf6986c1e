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

// office plays the activities: the workflow's decisions are what is tested here, and Temporal's own test environment is real.
type office struct {
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

func newOffice(t *testing.T, batches int) *office {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetDisableRegistrationAliasing(true)
	suite.SetLogger(slog.New(slog.DiscardHandler))
	o := &office{T: t, env: suite.NewTestWorkflowEnvironment(), batches: batches}
	o.env.SetStartWorkflowOptions(startOptions)
	o.env.SetWorkerOptions(worker.Options{DeadlockDetectionTimeout: time.Minute}) // the default of a second needs free processors
	o.env.SetTestTimeout(time.Minute)                                             // so does the default of three seconds
	o.env.RegisterWorkflowWithOptions(workflows.Mailing, workflow.RegisterOptions{Name: workflows.MailingType})
	for name, do := range map[string]any{
		policy.OpenMailing: o.OpenMailing, policy.PrepareList: o.PrepareList, policy.RenderBatch: o.RenderBatch,
		policy.SendBatch: o.SendBatch, policy.GatherDeferred: o.GatherDeferred, policy.CheckDropPoint: o.CheckDropPoint,
		policy.SetRate: o.SetRate, policy.ResolveUncertain: o.ResolveUncertain, policy.CloseMailing: o.CloseMailing,
	} {
		o.env.RegisterActivityWithOptions(do, activity.RegisterOptions{Name: name})
	}
	return o
}

func (o *office) note(format string, args ...any) {
	o.calls = append(o.calls, fmt.Sprintf(format, args...))
}

func (o *office) OpenMailing(_ context.Context, c workflows.OpenCall) (workflows.Opened, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.note("open")
	if o.open != nil {
		return o.open(c)
	}
	return workflows.Opened{DropPoints: []string{"a", "b"}}, nil
}

func (o *office) PrepareList(_ context.Context, c workflows.PrepareCall) (workflows.Prepared, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.note("prepare")
	if o.prepare != nil {
		if err := o.prepare(); err != nil {
			return workflows.Prepared{}, err
		}
	}
	return workflows.Prepared{Members: int64(o.batches) * 10, Recipients: int64(o.batches) * 10, Batches: o.batches}, nil
}

func (o *office) RenderBatch(_ context.Context, c workflows.RenderCall) (workflows.Rendered, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.note("render %d", c.Batch)
	o.rendered++
	o.mostAhead = max(o.mostAhead, o.rendered-o.settled)
	if o.render != nil {
		return workflows.Rendered{Messages: 10}, o.render(c)
	}
	return workflows.Rendered{Messages: 10}, nil
}

func (o *office) GatherDeferred(_ context.Context, c workflows.GatherCall) (workflows.Gathered, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.note("gather")
	if o.gather == nil {
		return workflows.Gathered{}, nil
	}
	return o.gather(c)
}

func (o *office) CheckDropPoint(_ context.Context, c workflows.CheckCall) (workflows.Checked, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.note("check %s", c.DropPoint)
	if o.check == nil {
		return workflows.Checked{Usable: true}, nil
	}
	return o.check(c)
}

func (o *office) SetRate(_ context.Context, c workflows.RateCall) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.rate != nil {
		if err := o.rate(c); err != nil {
			return err
		}
	}
	o.note("rate %s%s %s", c.Change.DropPoint, c.Change.Domain, c.Change.Rate)
	return nil
}

func (o *office) ResolveUncertain(_ context.Context, c workflows.ResolveCall) (workflows.Resolved, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.note("resolve %s", c.As.As)
	if o.resolve == nil {
		return workflows.Resolved{Recipients: 1}, nil
	}
	return o.resolve(c)
}

// update asks for an update after a time, and tells whether it was refused.
func (o *office) update(after time.Duration, name string, refusal *error, args ...any) {
	*refusal = errors.New("never asked")
	o.env.RegisterDelayedCallback(func() {
		o.env.UpdateWorkflow(name, fmt.Sprint(name, after), &testsuite.TestUpdateCallback{
			OnAccept: func() { *refusal = nil }, OnReject: func(err error) { *refusal = err }, OnComplete: func(any, error) {}}, args...)
	}, after)
}

// closed is the answer for a batch in which the drop points have accepted mail.
func closed(c workflows.SendCall) workflows.SentBatch {
	out := workflows.SentBatch{Closed: true, Counts: workflows.Counts{Sent: 10}}
	for _, p := range c.DropPoints {
		out.Points = append(out.Points, workflows.DropPointReport{Name: p.Name, Accepted: 5})
	}
	return out
}

// lost is the error of a batch whose drop points could not be used at all.
func lost(c workflows.SendCall) error {
	var out workflows.SentBatch
	for _, p := range c.DropPoints {
		out.Points = append(out.Points, workflows.DropPointReport{Name: p.Name, Failure: "drop point " + p.Name + ": connection refused"})
	}
	return temporal.NewNonRetryableApplicationError("connection refused", policy.DropPointUnavailable, nil, out)
}

func (o *office) SendBatch(_ context.Context, c workflows.SendCall) (workflows.SentBatch, error) {
	o.mu.Lock()
	o.note("send %d", c.Batch)
	o.sends = append(o.sends, c)
	o.sending++
	o.mostSends = max(o.mostSends, o.sending)
	o.mu.Unlock()
	defer func() { o.mu.Lock(); o.sending--; o.settled++; o.mu.Unlock() }()
	if o.send != nil {
		return o.send(c)
	}
	return closed(c), nil
}

func (o *office) CloseMailing(_ context.Context, c workflows.CloseCall) (workflows.Closing, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.note("close %s", c.State)
	o.closes = append(o.closes, c)
	if o.close != nil {
		return o.close(c)
	}
	return workflows.Closing{Result: workflows.Result{ID: c.Mailing, State: c.State, Reason: c.Reason, Counts: workflows.Counts{Sent: int64(o.batches) * 10}}}, nil
}

const id = "spring-2026"

func input() workflows.Input {
	return workflows.Input{
		ID: id, From: "News <news@example.com>", Subject: "Hello", List: "people", Content: workflows.Content{Text: "Hello"},
		Retry: workflows.Retries{DropPoint: workflows.Retry{Attempts: 2, Interval: workflows.Duration(time.Minute)}},
	}
}

func (o *office) run(in workflows.Input) workflows.Result {
	o.Helper()
	o.env.ExecuteWorkflow(workflows.MailingType, in)
	if !o.env.IsWorkflowCompleted() {
		o.Fatal("the workflow has not ended")
	}
	var r workflows.Result
	if o.env.GetWorkflowError() == nil {
		if err := o.env.GetWorkflowResult(&r); err != nil {
			o.Fatal(err)
		}
	}
	return r
}

func (o *office) status() workflows.Status {
	o.Helper()
	v, err := o.env.QueryWorkflow(workflows.StatusQuery)
	if err != nil {
		o.Fatal(err)
	}
	var s workflows.Status
	if err := v.Get(&s); err != nil {
		o.Fatal(err)
	}
	return s
}

// sentOnce checks that each batch was sent exactly once over all offices.
func sentOnce(t *testing.T, batches int, offices ...*office) {
	t.Helper()
	got := map[int]int{}
	for _, o := range offices {
		for _, c := range o.sends {
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
	o := newOffice(t, 3)
	r := o.run(input())
	if r.State != workflows.StateCompleted || r.Counts.Sent != 30 {
		t.Errorf("result %+v, error %v", r, o.env.GetWorkflowError())
	}
	sentOnce(t, 3, o)
	if o.calls[0] != "open" || o.calls[1] != "prepare" || o.calls[len(o.calls)-1] != "close completed" {
		t.Errorf("order: %v", o.calls)
	}
	for n := 1; n <= 3; n++ {
		if slices.Index(o.calls, fmt.Sprintf("render %d", n)) > slices.Index(o.calls, fmt.Sprintf("send %d", n)) {
			t.Errorf("batch %d was sent before it was rendered", n)
		}
	}
	if s := o.status(); s.State != workflows.StateCompleted || s.Closed != 3 {
		t.Errorf("status after the end: %+v", s)
	}
}

func TestContinueAsNewCarriesTheWholeState(t *testing.T) {
	t.Parallel()
	first := newOffice(t, 20)
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
	if in.Resume == nil || in.Content.Text != "" || in.Resume.Deferred != 3 || !in.Resume.DropPoints[0].Proven || in.Resume.Step != workflows.StepSend || in.Resume.Window.Size == 0 {
		t.Fatalf("the next run's input: %+v, %+v", in, in.Resume)
	}
	second := newOffice(t, 20)
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
		if !slices.ContainsFunc(append(first.sends, second.sends...), func(c workflows.SendCall) bool { return c.Batch == n }) {
			t.Errorf("batch %d was not sent", n)
		}
	}
	if s := second.status(); s.Closed != 21 || s.Batches != 21 {
		t.Errorf("closed batches over both runs: %+v", s)
	}
}

// slowly makes each batch take a while by the workflow's clock: the drop points need one turn each.
func (o *office) slowly(turn time.Duration, send func(workflows.SendCall) (workflows.SentBatch, error)) {
	had := map[int]bool{}
	o.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		o.mu.Lock()
		first := !had[c.Batch]
		had[c.Batch] = true
		o.mu.Unlock()
		if first {
			return workflows.SentBatch{NotBefore: o.env.Now().Add(turn)}, nil
		}
		return send(c)
	}
}

func TestADropPointThatFailsRestsThenLeavesTheListAndIsBackWhenItWorksAgain(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 8)
	began := o.env.Now()
	passed := func() time.Duration { return o.env.Now().Sub(began) }
	var failures, looks []time.Duration
	trials := 0
	turns := map[int]int{}
	o.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		out := closed(c)
		if turns[c.Batch]++; turns[c.Batch] < 15 {
			out.Closed, out.Counts, out.NotBefore = false, workflows.Counts{}, o.env.Now().Add(time.Minute)
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
	o.check = func(workflows.CheckCall) (workflows.Checked, error) {
		looks = append(looks, passed())
		return workflows.Checked{Usable: passed() >= 4*time.Minute, Failure: "drop point a: still down"}, nil
	}
	o.env.RegisterDelayedCallback(func() {
		s := o.status()
		if p := s.DropPoints[0]; p.InList || p.Until.IsZero() || !strings.Contains(p.LastFailure, "down") || s.State != workflows.StateSending {
			t.Errorf("while it is down: %+v", s)
		}
	}, 3*time.Minute+10*time.Second)
	if r := o.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, o.env.GetWorkflowError())
	}
	if p := o.status().DropPoints[0]; !p.InList || p.OnTrial || p.Failures != 0 || trials == 0 {
		t.Errorf("after it was back: %+v, %d batches", p, trials)
	}
	if len(looks) < 2 || looks[0]-failures[0] < time.Minute {
		t.Errorf("it failed at %v and was looked at at %v", failures, looks)
	}
}

func TestTheLossOfTheLastDropPointSuspendsUntilALookAndATrialSucceed(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 5)
	began := o.env.Now()
	passed := func() time.Duration { return o.env.Now().Sub(began) }
	o.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		if passed() < 20*time.Minute {
			return workflows.SentBatch{}, lost(c)
		}
		return closed(c), nil
	}
	o.check = func(workflows.CheckCall) (workflows.Checked, error) {
		return workflows.Checked{Usable: passed() >= 10*time.Minute, Failure: "connection refused"}, nil
	}
	o.env.RegisterDelayedCallback(func() {
		s := o.status()
		if s.State != workflows.StateSuspended || s.Until.IsZero() || !s.Since.Equal(began.Add(time.Minute)) || !strings.Contains(s.Doing, "connection refused") {
			t.Errorf("while it is down: %+v", s)
		}
	}, 90*time.Second)
	if r := o.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, o.env.GetWorkflowError())
	}
	if n := len(o.sends); n > 5+2+12 {
		t.Errorf("%d batches were tried: a drop point on trial gets one", n)
	}
	looks := 0
	for _, c := range o.calls {
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
	o := newOffice(t, 1)
	began := o.env.Now()
	tries := 0
	o.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		o.mu.Lock()
		defer o.mu.Unlock()
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
	o.gather = func(workflows.GatherCall) (workflows.Gathered, error) {
		return workflows.Gathered{Ready: []int{2}}, nil
	}
	o.env.RegisterDelayedCallback(func() {
		if s := o.status(); s.State != workflows.StateSending || s.Deferred != 1 {
			t.Errorf("while the deferred wait: %+v", s)
		}
	}, time.Hour)
	if r := o.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, o.env.GetWorkflowError())
	}
	if tries != 3 {
		t.Errorf("tried %d times", tries)
	}
}

func TestResumeTriesAtOnceWhatIsWaitedForAndIsRefusedOtherwise(t *testing.T) {
	t.Parallel()
	for state, attempts := range map[workflows.State]int{workflows.StateSuspended: 1, workflows.StateSending: 2} { // after one failure
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			resumeEndsTheWaiting(t, state, attempts)
		})
	}
}

func resumeEndsTheWaiting(t *testing.T, state workflows.State, attempts int) {
	t.Helper()
	o := newOffice(t, 2)
	up := false
	o.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		if !up {
			return workflows.SentBatch{}, lost(c)
		}
		return closed(c), nil
	}
	began := o.env.Now()
	var refused, accepted error
	o.env.RegisterDelayedCallback(func() { up = true }, 4*time.Second)
	o.update(5*time.Second, workflows.ResumeUpdate, &accepted)
	o.update(time.Second, workflows.ResumeUpdate, &refused)
	in := input()
	in.Retry.DropPoint = workflows.Retry{Attempts: attempts, Interval: workflows.Duration(time.Hour)}
	o.env.RegisterDelayedCallback(func() {
		if s := o.status(); s.State != state || s.Until.IsZero() || !strings.Contains(s.Doing, "connection refused") {
			t.Errorf("before the resume: %+v", s)
		}
	}, 3*time.Second)
	in.NotBefore = began.Add(2 * time.Second)
	if r := o.run(in); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, o.env.GetWorkflowError())
	}
	if accepted != nil || refused == nil {
		t.Errorf("resume while suspended: %v; while waiting: %v", accepted, refused)
	}
	if took := o.env.Now().Sub(began); took > time.Minute {
		t.Errorf("it waited %v although it was resumed", took)
	}
}

func TestAPausedMailingSendsNothingUntilItIsResumed(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 40)
	o.slowly(time.Minute, func(c workflows.SendCall) (workflows.SentBatch, error) { return closed(c), nil })
	var first, second, resumed error
	sent := 0
	o.env.RegisterDelayedCallback(func() {
		if s := o.status(); s.State != workflows.StatePaused || s.Since.IsZero() || !strings.Contains(s.Doing, "paused") {
			t.Errorf("%+v", s)
		}
		sent = len(o.sends)
	}, 31*time.Second)
	o.update(30*time.Second, workflows.PauseUpdate, &first)
	o.update(40*time.Second, workflows.PauseUpdate, &second)
	o.env.RegisterDelayedCallback(func() {
		if n := len(o.sends); n != sent {
			t.Errorf("%d batches were begun while it was paused", n-sent)
		}
	}, 2*time.Hour-time.Second)
	o.update(2*time.Hour, workflows.ResumeUpdate, &resumed)
	if r := o.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, o.env.GetWorkflowError())
	}
	if first != nil || second == nil || resumed != nil || sent == 0 || sent >= 80 {
		t.Errorf("pause %v, again %v, resume %v; %d batches before", first, second, resumed, sent)
	}
}

func TestTheUpdateCancelEndsTheMailingAndIsItsResult(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 40)
	o.slowly(time.Minute, func(c workflows.SendCall) (workflows.SentBatch, error) { return closed(c), nil })
	var refusal error
	o.update(30*time.Second, workflows.CancelUpdate, &refusal)
	if r := o.run(input()); r.State != workflows.StateCancelled || refusal != nil {
		t.Errorf("result %+v, error %v, refusal %v", r, o.env.GetWorkflowError(), refusal)
	}
	if len(o.closes) != 1 || o.closes[0].State != workflows.StateCancelled {
		t.Errorf("closes: %+v", o.closes)
	}
}

func TestTheErrorLimitSuspendsUntilSomebodyResumesAndCountsAnewThen(t *testing.T) {
	t.Parallel()
	for _, policy := range []workflows.OnExhausted{workflows.Suspend, workflows.Fail} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, 60)
			bad := 20
			o.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
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
			o.env.RegisterDelayedCallback(func() {
				bad = 0
				if s := o.status(); s.State != workflows.StateSuspended || !strings.Contains(s.Doing, "error limit") || !s.Until.IsZero() {
					t.Errorf("%+v", s)
				}
			}, time.Hour)
			if policy == workflows.Suspend {
				o.update(2*time.Hour, workflows.ResumeUpdate, &resumed)
			}
			r := o.run(in)
			switch err := o.env.GetWorkflowError(); {
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
	o := newOffice(t, 60)
	o.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		out := closed(c)
		if c.Batch <= 20 {
			out.Points = []workflows.DropPointReport{{Name: c.DropPoints[0].Name, Failure: "drop point mx: connection refused"}}
		}
		return out, nil
	}
	in := input()
	in.MaxErrorPercent, in.ErrorMinimum, in.Retry.DropPoint.Attempts = 1, 1, 1000
	if r := o.run(in); r.State != workflows.StateCompleted || o.env.GetWorkflowError() != nil {
		t.Errorf("result %+v, error %v", r, o.env.GetWorkflowError())
	}
}

func TestWhatWasInFlightWhenTheMailingWasResumedDoesNotSuspendItAgain(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 20)
	others, resumed := make(chan struct{}), make(chan struct{})
	var asked atomic.Bool
	var sends atomic.Int64
	o.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
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
		if _, err := o.env.QueryWorkflow(workflows.StatusQuery); err != nil || o.status().State != workflows.StateSuspended {
			o.env.RegisterDelayedCallback(look, time.Millisecond)
			return
		}
		asked.Store(true)
		o.update(0, workflows.ResumeUpdate, new(error))
		o.env.RegisterDelayedCallback(func() { close(resumed) }, time.Millisecond)
	}
	o.env.RegisterDelayedCallback(look, time.Millisecond)
	if r := o.run(in); r.State != workflows.StateCompleted {
		t.Errorf("result %+v, error %v", r, o.env.GetWorkflowError())
	}
}

func TestMailThatIsRenderedGoesOnBeingSentWhileThePageServerIsAway(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 12)
	began := o.env.Now()
	o.render = func(c workflows.RenderCall) error {
		if c.Batch > 6 && o.env.Now().Sub(began) < time.Hour {
			return temporal.NewNonRetryableApplicationError("the page server is away", policy.PageUnavailable, nil)
		}
		return nil
	}
	o.slowly(time.Minute, func(c workflows.SendCall) (workflows.SentBatch, error) { return closed(c), nil })
	o.env.RegisterDelayedCallback(func() {
		s := o.status()
		if s.State != workflows.StateSuspended || s.Closed != 6 || !strings.Contains(s.Doing, "the page server is away") {
			t.Errorf("%+v", s)
		}
	}, 30*time.Minute)
	in := input()
	in.Retry.Page = workflows.Retry{Attempts: 3, Interval: workflows.Duration(time.Minute)}
	if r := o.run(in); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, o.env.GetWorkflowError())
	}
	probes := 0
	for _, c := range o.calls {
		if strings.HasPrefix(c, "render") {
			probes++
		}
	}
	if probes > 65+8*(6+1) { // each of the six that succeed may let out a window of others
		t.Errorf("%d batches were begun to be rendered: one a minute is enough to see whether the pages are back", probes)
	}
}

func TestARateIsSetByAnUpdateAndWhatCannotBeALimitIsRefused(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 4)
	o.slowly(time.Minute, func(c workflows.SendCall) (workflows.SentBatch, error) { return closed(c), nil })
	var good, unknown, both, wrong error
	o.update(1*time.Second, workflows.RateUpdate, &good, workflows.RateChange{DropPoint: "a", Rate: "20/s"})
	o.update(2*time.Second, workflows.RateUpdate, &unknown, workflows.RateChange{DropPoint: "mars", Rate: "20/s"})
	o.update(3*time.Second, workflows.RateUpdate, &both, workflows.RateChange{DropPoint: "a", Domain: "example.com", Rate: "20/s"})
	o.update(4*time.Second, workflows.RateUpdate, &wrong, workflows.RateChange{Domain: "example.com", Rate: "quickly"})
	o.run(input())
	if good != nil || unknown == nil || both == nil || wrong == nil || !slices.Contains(o.calls, "rate a 20/s") {
		t.Errorf("%v; %v; %v; %v; %v", good, unknown, both, wrong, o.calls)
	}
}

func TestHeldRecipientsAreResolvedByAnUpdate(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 2)
	o.slowly(time.Minute, func(c workflows.SendCall) (workflows.SentBatch, error) {
		out := closed(c)
		if c.Batch == 1 {
			out.Counts = workflows.Counts{Sent: 8, Uncertain: 2}
		} else if c.Batch == 2 {
			out.Deferred, out.NextRound = 1, o.env.Now().Add(time.Hour)
		}
		return out, nil
	})
	gathered := 2
	o.gather = func(c workflows.GatherCall) (workflows.Gathered, error) {
		gathered++
		return workflows.Gathered{Unrendered: []int{gathered}}, nil
	}
	var early, wrong, good error
	o.update(time.Second, workflows.ResolveUpdate, &early, workflows.Resolution{As: "sent"})
	o.update(5*time.Minute, workflows.ResolveUpdate, &wrong, workflows.Resolution{As: "lost"})
	o.update(6*time.Minute, workflows.ResolveUpdate, &good, workflows.Resolution{As: "resend"})
	if r := o.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, o.env.GetWorkflowError())
	}
	if early == nil || wrong == nil || good != nil || !slices.Contains(o.calls, "resolve resend") || !slices.Contains(o.calls, "render 3") {
		t.Errorf("%v; %v; %v; %v", early, wrong, good, o.calls)
	}
}

// inAMinute fails until a minute has passed, so that what is done meanwhile comes in between.
func (o *office) inAMinute() func() error {
	tries := 0
	return func() error {
		if tries++; tries < 7 {
			return temporal.NewApplicationErrorWithOptions("the database is away", policy.DatabaseUnavailable, temporal.ApplicationErrorOptions{NextRetryDelay: 10 * time.Second})
		}
		return nil
	}
}

func TestOfTwoRatesTheLaterHolds(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 4)
	o.slowly(10*time.Minute, func(c workflows.SendCall) (workflows.SentBatch, error) { return closed(c), nil })
	away := o.inAMinute()
	o.rate = func(c workflows.RateCall) error {
		if c.Change.Rate == "20/s" {
			return away()
		}
		return nil
	}
	var first, second error
	o.update(1*time.Second, workflows.RateUpdate, &first, workflows.RateChange{DropPoint: "a", Rate: "20/s"})
	o.update(2*time.Second, workflows.RateUpdate, &second, workflows.RateChange{DropPoint: "a", Rate: "30/s"})
	o.run(input())
	earlier, later := slices.Index(o.calls, "rate a 20/s"), slices.Index(o.calls, "rate a 30/s")
	if first != nil || second != nil || earlier < 0 || later < earlier {
		t.Errorf("%v, %v; %v", first, second, o.calls)
	}
}

func TestTheLedgerIsNotClosedWhileSomebodyResolvesIt(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 2)
	o.slowly(10*time.Minute, func(c workflows.SendCall) (workflows.SentBatch, error) { return closed(c), nil })
	usual := o.send
	o.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		if c.Batch == 1 {
			out := closed(c)
			out.Counts = workflows.Counts{Sent: 8, Uncertain: 2}
			return out, nil
		}
		return usual(c)
	}
	away := o.inAMinute()
	o.resolve = func(workflows.ResolveCall) (workflows.Resolved, error) {
		err := away()
		if err == nil {
			o.note("resolved")
		}
		return workflows.Resolved{Recipients: 2}, err
	}
	var resolved, cancelled error
	o.update(10*time.Second, workflows.ResolveUpdate, &resolved, workflows.Resolution{As: "sent"})
	o.update(20*time.Second, workflows.CancelUpdate, &cancelled)
	o.run(input())
	done, end := slices.Index(o.calls, "resolved"), slices.Index(o.calls, "close cancelled")
	if resolved != nil || cancelled != nil || done < 0 || end < done {
		t.Errorf("%v, %v; %v", resolved, cancelled, o.calls)
	}
}

func TestOnExhaustedFailEndsTheMailingAndClosesItsLedger(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 5)
	o.send = func(workflows.SendCall) (workflows.SentBatch, error) {
		return workflows.SentBatch{}, temporal.NewNonRetryableApplicationError("the database is away", policy.DatabaseUnavailable, nil)
	}
	in := input()
	in.OnExhausted = workflows.Fail
	o.run(in)
	var app *temporal.ApplicationError
	if err := o.env.GetWorkflowError(); !asError(err, &app) || app.Type() != "MailingFailed" || !strings.Contains(app.Message(), "the database is away") {
		t.Errorf("got %v", err)
	}
	if o.calls[len(o.calls)-1] != "close failed" {
		t.Errorf("order: %v", o.calls)
	}
}

func TestCancelWaitsForWhatIsInFlightAndClosesTheLedger(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 60)
	o.env.RegisterDelayedCallback(o.env.CancelWorkflow, time.Second)
	o.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		return workflows.SentBatch{Closed: true, Deferred: 1, NextRound: o.env.Now().Add(time.Hour)}, nil
	}
	o.run(input())
	if err := o.env.GetWorkflowError(); !temporal.IsCanceledError(err) {
		t.Errorf("got %v, want cancelled", err)
	}
	if len(o.closes) != 1 || o.closes[0].State != workflows.StateCancelled {
		t.Errorf("closes: %+v", o.closes)
	}
}

func TestNothingIsDoneBeforeNotBeforeExceptChecking(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 1)
	in := input()
	in.NotBefore = o.env.Now().Add(time.Hour)
	o.env.RegisterDelayedCallback(func() {
		o.mu.Lock()
		calls := slices.Clone(o.calls)
		o.mu.Unlock()
		if s := o.status(); s.State != workflows.StateWaiting || !s.Until.Equal(in.NotBefore) || !slices.Equal(calls, []string{"open"}) {
			t.Errorf("a minute before: %+v after %v", s, calls)
		}
	}, 59*time.Minute)
	if r := o.run(in); r.State != workflows.StateCompleted {
		t.Errorf("result %+v", r)
	}
}

func TestNotAfterEndsTheMailingAsExpired(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 2)
	o.send = func(workflows.SendCall) (workflows.SentBatch, error) {
		return workflows.SentBatch{Closed: true, Deferred: 3, NextRound: o.env.Now().Add(2 * time.Hour)}, nil
	}
	in := input()
	in.NotAfter = o.env.Now().Add(time.Hour)
	if r := o.run(in); r.State != workflows.StateExpired || r.Reason == "" {
		t.Errorf("result %+v, error %v", r, o.env.GetWorkflowError())
	}
}

func TestAnInvalidInputFailsWithEveryProblemAndNothingIsDone(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 1)
	problems := []workflows.Problem{{Field: "from", Message: "is missing"}, {Field: "list", Message: "no list is named \"x\""}}
	o.open = func(workflows.OpenCall) (workflows.Opened, error) {
		return workflows.Opened{}, temporal.NewNonRetryableApplicationError("invalid input: …", policy.InvalidInput, nil, problems)
	}
	o.run(input())
	var app *temporal.ApplicationError
	var got []workflows.Problem
	if err := o.env.GetWorkflowError(); !asError(err, &app) || app.Type() != policy.InvalidInput || !app.NonRetryable() || app.Details(&got) != nil || !slices.Equal(got, problems) {
		t.Errorf("got %v with %v", err, got)
	}
	if !slices.Equal(o.calls, []string{"open"}) {
		t.Errorf("calls: %v", o.calls)
	}
}

func TestAnIDOtherThanTheWorkflowsIsRefused(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 1)
	in := input()
	in.ID = "another"
	o.run(in)
	if err := o.env.GetWorkflowError(); err == nil || len(o.calls) > 0 {
		t.Errorf("got %v after %v", err, o.calls)
	}
}

func TestAStateThatSomebodyTypedIsRefused(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 1)
	in := input()
	in.Resume = &workflows.Progress{Step: workflows.StepSend}
	o.run(in)
	var app *temporal.ApplicationError
	if err := o.env.GetWorkflowError(); !asError(err, &app) || app.Type() != policy.InvalidInput || len(o.calls) > 0 {
		t.Errorf("got %v after %v", err, o.calls)
	}
}

func TestALedgerThatDoesNotCloseSendsItsOpenBatchesAgain(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 3)
	o.close = func(c workflows.CloseCall) (workflows.Closing, error) {
		if len(o.closes) == 1 {
			return workflows.Closing{Open: []int{2}}, nil
		}
		return workflows.Closing{Result: workflows.Result{State: c.State}}, nil
	}
	if r := o.run(input()); r.State != workflows.StateCompleted {
		t.Errorf("result %+v", r)
	}
	if len(o.sends) != 4 || o.sends[3].Batch != 2 || len(o.closes) != 2 || o.status().Closed != 3 {
		t.Errorf("sends %v, closes %d", o.sends, len(o.closes))
	}
}

func TestDeferredRecipientsAreGatheredIntoBatchesWhenTheirTimeHasCome(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 4)
	began := o.env.Now()
	o.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		out := closed(c)
		if c.Batch <= 4 {
			out.Deferred, out.NextRound = 2, o.env.Now().Add(30*time.Minute)
		}
		return out, nil
	}
	var at []time.Duration
	o.gather = func(c workflows.GatherCall) (workflows.Gathered, error) {
		at = append(at, o.env.Now().Sub(began).Round(time.Minute))
		switch len(at) {
		case 1:
			return workflows.Gathered{Ready: []int{5}, Deferred: 2, NextRound: o.env.Now().Add(time.Hour)}, nil
		}
		return workflows.Gathered{Ready: []int{6}}, nil
	}
	o.env.RegisterDelayedCallback(func() {
		s := o.status()
		if s.Deferred != 8 || s.NextRound.IsZero() || !s.Until.Equal(s.NextRound) || !strings.Contains(s.Doing, "next round") {
			t.Errorf("%+v", s)
		}
	}, 10*time.Minute)
	if r := o.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, o.env.GetWorkflowError())
	}
	if !slices.Equal(at, []time.Duration{30 * time.Minute, 90 * time.Minute}) {
		t.Errorf("gathered after %v", at)
	}
	sentOnce(t, 6, o)
}

func TestALostSpoolIsRenderedAgain(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 2)
	var lost atomic.Bool
	o.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		if c.Batch == 1 && !lost.Swap(true) {
			return workflows.SentBatch{}, temporal.NewNonRetryableApplicationError("no messages", policy.SpoolMissing, nil)
		}
		return workflows.SentBatch{Closed: true}, nil
	}
	if r := o.run(input()); r.State != workflows.StateCompleted || o.rendered != 3 {
		t.Errorf("result %+v, %d renderings", r, o.rendered)
	}
}

func TestAnErrorLimitIsNotLiftedByAnotherFailure(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 60)
	tries := map[int]int{}
	o.render = func(c workflows.RenderCall) error { // the page server is away when the limit is reached, and its tries end later
		if c.Batch < 8 {
			return nil
		}
		tries[c.Batch]++
		return temporal.NewApplicationErrorWithOptions("page server", policy.PageUnavailable,
			temporal.ApplicationErrorOptions{NonRetryable: tries[c.Batch] >= 3, NextRetryDelay: 30 * time.Second})
	}
	o.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		out := closed(c)
		out.Counts = workflows.Counts{Bounced: 10}
		return out, nil
	}
	sent := map[time.Duration]int{}
	for _, at := range []time.Duration{20 * time.Second, 15 * time.Minute} {
		o.env.RegisterDelayedCallback(func() {
			if s := o.status(); s.State != workflows.StateSuspended || !strings.Contains(s.Doing, "error limit") {
				t.Errorf("after %v: %s, %s", at, s.State, s.Doing)
			}
			o.mu.Lock()
			defer o.mu.Unlock()
			sent[at] = len(o.sends)
		}, at)
	}
	var refusal error
	o.update(20*time.Minute, workflows.CancelUpdate, &refusal)
	in := input()
	in.MaxErrorPercent, in.ErrorMinimum = 5, 10
	o.run(in)
	if before, after := sent[20*time.Second], sent[15*time.Minute]; before == 0 || before != after {
		t.Errorf("%d batches were sent before the limit was reached, and %d before somebody decided", before, after)
	}
}

func TestTheLossOfTheLastDropPointOutlastsAnOutageOfTheDatabase(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 60)
	began := o.env.Now()
	passed := func() time.Duration { return o.env.Now().Sub(began) }
	o.render = func(c workflows.RenderCall) error { // the database is away for renderings that begin after the first window
		if c.Batch > 8 && passed() < 5*time.Minute {
			return temporal.NewNonRetryableApplicationError("the database is away", policy.DatabaseUnavailable, nil)
		}
		return nil
	}
	o.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		if passed() < 30*time.Minute {
			return workflows.SentBatch{}, lost(c)
		}
		return closed(c), nil
	}
	o.check = func(workflows.CheckCall) (workflows.Checked, error) {
		return workflows.Checked{Usable: passed() >= 30*time.Minute, Failure: "connection refused"}, nil
	}
	for _, at := range []time.Duration{20 * time.Minute, 25 * time.Minute} { // it is back, and was probed
		o.env.RegisterDelayedCallback(func() {
			if s := o.status(); s.State != workflows.StateSuspended || !strings.Contains(s.Doing, "connection refused") {
				t.Errorf("after %v: %s, %s", at, s.State, s.Doing)
			}
		}, at)
	}
	if r := o.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, o.env.GetWorkflowError())
	}
}

func TestAResumeOfOneSuspensionDoesNotLiftALaterOne(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 200)
	began := o.env.Now()
	bad := false
	o.render = func(c workflows.RenderCall) error {
		at := o.env.Now().Sub(began)
		switch {
		case bad || c.Batch < 20:
			return nil
		case at < 30*time.Second:
			return temporal.NewNonRetryableApplicationError("page server", policy.PageUnavailable, nil)
		case at < 100*time.Second: // the probe takes its time
			return temporal.NewApplicationErrorWithOptions("crash", "crash", temporal.ApplicationErrorOptions{NextRetryDelay: 10 * time.Second})
		}
		bad = true
		return nil
	}
	o.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		out := closed(c)
		if bad {
			out.Counts = workflows.Counts{Bounced: 10}
		}
		return out, nil
	}
	o.env.RegisterDelayedCallback(func() {
		if s := o.status(); s.State != workflows.StateSuspended || !strings.Contains(s.Doing, "error limit") || s.Closed > 20 {
			t.Errorf("%s, %s; %d batches closed", s.State, s.Doing, s.Closed)
		}
	}, 15*time.Minute)
	var refusal, end error
	o.update(75*time.Second, workflows.ResumeUpdate, &refusal)
	o.update(20*time.Minute, workflows.CancelUpdate, &end)
	in := input()
	in.MaxErrorPercent, in.ErrorMinimum = 50, 10
	in.Retry.Page = workflows.Retry{Attempts: 1, Interval: workflows.Duration(time.Minute)}
	o.run(in)
	if refusal != nil || end != nil {
		t.Error(refusal, end)
	}
}

func TestALowRateDoesNotHaveTheWholeListRenderedAndTriedInVain(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 200)
	var next time.Time // the limit's next turn: one batch's worth of messages every 20 s
	inVain := 0
	o.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		now := o.env.Now()
		if now.Before(next) {
			inVain++
			return workflows.SentBatch{NotBefore: next, Everybody: true}, nil
		}
		next = now.Add(20 * time.Second)
		return closed(c), nil
	}
	if r := o.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, o.env.GetWorkflowError())
	}
	if o.mostAhead > 48 || inVain > 600 {
		t.Errorf("%d batches were rendered and not settled, %d were tried in vain", o.mostAhead, inVain)
	}
}
