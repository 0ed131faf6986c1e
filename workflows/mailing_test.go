package workflows_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"directmailer/activities/policy"
	"directmailer/workflows"
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
	o.env.RegisterWorkflowWithOptions(workflows.Mailing, workflow.RegisterOptions{Name: workflows.MailingType})
	for name, do := range map[string]any{
		policy.OpenMailing: o.OpenMailing, policy.PrepareList: o.PrepareList, policy.RenderBatch: o.RenderBatch,
		policy.SendBatch: o.SendBatch, policy.CloseMailing: o.CloseMailing,
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
	return workflows.Prepared{Members: int64(o.batches) * 10, Recipients: int64(o.batches) * 10, Batches: o.batches}, nil
}

func (o *office) RenderBatch(_ context.Context, c workflows.RenderCall) (workflows.Rendered, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.note("render %d", c.Batch)
	o.rendered++
	o.mostAhead = max(o.mostAhead, o.rendered-o.settled)
	return workflows.Rendered{Messages: 10}, nil
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
	return workflows.SentBatch{Closed: true, Counts: workflows.Counts{Sent: 10}}, nil
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

func TestTheWindowIsBoundedAndBothDropPointsAreUsed(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 120)
	full := make(chan struct{})
	o.send = func(workflows.SendCall) (workflows.SentBatch, error) {
		o.mu.Lock()
		if o.sending == 32 && o.settled == 0 {
			close(full)
		}
		o.mu.Unlock()
		<-full // nobody comes back before the window is full
		return workflows.SentBatch{Closed: true, Counts: workflows.Counts{Sent: 10}}, nil
	}
	o.run(input())
	sentOnce(t, 120, o)
	if o.mostSends != 32 || o.mostAhead > 32+16 {
		t.Errorf("%d batches were being sent at once (32 expected), %d rendered and not settled (48 allowed)", o.mostSends, o.mostAhead)
	}
	used := map[string]int{}
	for _, c := range o.sends {
		used[c.DropPoints[0].Name]++
	}
	if used["a"] < 40 || used["b"] < 40 {
		t.Errorf("batches by drop point: %v", used)
	}
}

func TestContinueAsNewCarriesTheWholeState(t *testing.T) {
	t.Parallel()
	first := newOffice(t, 20)
	sent := 0
	first.env.SetOnActivityCompletedListener(func(info *activity.Info, _ converter.EncodedValue, _ error) {
		if info.ActivityType.Name == policy.SendBatch {
			sent++
		}
		if sent == 8 {
			first.env.SetContinueAsNewSuggested(true)
		}
	})
	first.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		if c.Batch == 2 {
			return workflows.SentBatch{Deferred: 1}, nil
		}
		return workflows.SentBatch{Closed: true, Counts: workflows.Counts{Sent: 10}}, nil
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
	if in.Resume == nil || in.Content.Text != "" || len(in.Resume.Later) != 1 || in.Resume.Later[0].Batch != 2 {
		t.Fatalf("the next run's input: %+v, %+v", in, in.Resume)
	}
	second := newOffice(t, 20)
	second.env.SetContinuedExecutionRunID("the first")
	r := second.run(in)
	if r.State != workflows.StateCompleted {
		t.Errorf("result %+v, error %v", r, second.env.GetWorkflowError())
	}
	if slices.Contains(second.calls, "open") || slices.Contains(second.calls, "prepare") {
		t.Errorf("the second run began anew: %v", second.calls)
	}
	first.sends = slices.DeleteFunc(first.sends, func(c workflows.SendCall) bool { return c.Batch == 2 })
	sentOnce(t, 20, first, second)
	if s := second.status(); s.Closed != 20 {
		t.Errorf("closed batches over both runs: %d", s.Closed)
	}
}

func TestADropPointThatIsUsedUpLeavesTheListAndTheOthersTakeOver(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 10)
	o.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		if c.DropPoints[0].Name == "a" {
			return workflows.SentBatch{}, temporal.NewNonRetryableApplicationError("drop point a: connection refused (attempt 2 of 2)", policy.DropPointUnavailable, nil)
		}
		return workflows.SentBatch{Closed: true, Counts: workflows.Counts{Sent: 10}}, nil
	}
	if r := o.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, o.env.GetWorkflowError())
	}
	s := o.status()
	if s.DropPoints[0].InList || !strings.Contains(s.DropPoints[0].LastFailure, "connection refused") || !s.DropPoints[1].InList || s.Closed != 10 {
		t.Errorf("status %+v", s)
	}
}

func TestTheLossOfTheLastDropPointSuspendsUntilAProbeSucceeds(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 5)
	began := o.env.Now()
	down := func() bool { return o.env.Now().Sub(began) < 10*time.Minute }
	o.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		if down() {
			return workflows.SentBatch{}, temporal.NewNonRetryableApplicationError("drop point "+c.DropPoints[0].Name+": connection refused", policy.DropPointUnavailable, nil)
		}
		return workflows.SentBatch{Closed: true, Counts: workflows.Counts{Sent: 10}}, nil
	}
	o.env.RegisterDelayedCallback(func() {
		s := o.status()
		if s.State != workflows.StateSuspended || s.Until.IsZero() || !strings.Contains(s.Doing, "connection refused") {
			t.Errorf("while it is down: %+v", s)
		}
	}, 90*time.Second)
	if r := o.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, o.env.GetWorkflowError())
	}
	probes := 0
	for _, c := range o.sends {
		if c.Retry.DropPoint.Attempts == 1 {
			probes++
		}
	}
	if probes < 10 || probes > 30 {
		t.Errorf("%d probes in ten minutes, one a minute at each of two drop points expected", probes)
	}
}

func TestResumeTriesASuspendedMailingAtOnceAndIsRefusedOtherwise(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 2)
	up := false
	o.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		if !up {
			return workflows.SentBatch{}, temporal.NewNonRetryableApplicationError("down", policy.DropPointUnavailable, nil)
		}
		return workflows.SentBatch{Closed: true}, nil
	}
	began := o.env.Now()
	var refused, accepted error
	callback := func(into *error) *testsuite.TestUpdateCallback {
		return &testsuite.TestUpdateCallback{OnAccept: func() {}, OnReject: func(err error) { *into = err }, OnComplete: func(any, error) {}}
	}
	o.env.RegisterDelayedCallback(func() {
		up = true
		o.env.UpdateWorkflow(workflows.ResumeUpdate, "1", callback(&accepted))
	}, 5*time.Second)
	in := input()
	in.Retry.DropPoint.Interval = workflows.Duration(time.Hour)
	in.NotBefore = began.Add(2 * time.Second)
	o.env.RegisterDelayedCallback(func() { o.env.UpdateWorkflow(workflows.ResumeUpdate, "0", callback(&refused)) }, time.Second)
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
		return workflows.SentBatch{Deferred: 1}, nil // so that the mailing waits for its next rounds
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
	o.send = func(workflows.SendCall) (workflows.SentBatch, error) { return workflows.SentBatch{Deferred: 3}, nil }
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
	in.Resume = &workflows.Progress{NextRender: 1}
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
	if len(o.sends) != 4 || o.sends[3].Batch != 2 || len(o.closes) != 2 {
		t.Errorf("sends %v, closes %d", o.sends, len(o.closes))
	}
}

func TestDeferredRecipientsAreTriedForFourDaysAtGrowingIntervalsAndThenFail(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 1)
	var at []time.Time
	o.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		at = append(at, o.env.Now())
		return workflows.SentBatch{Closed: c.LastRound, Deferred: 1}, nil
	}
	if r := o.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, o.env.GetWorkflowError())
	}
	total := at[len(at)-1].Sub(at[0])
	if total < 96*time.Hour || total > 101*time.Hour {
		t.Errorf("tried for %v, four days expected", total)
	}
	for i := 2; i < len(at); i++ {
		if at[i].Sub(at[i-1])+time.Second < at[i-1].Sub(at[i-2]) {
			t.Errorf("round %d came after %v, the one before after %v", i, at[i].Sub(at[i-1]), at[i-1].Sub(at[i-2]))
		}
	}
}

func TestALostSpoolIsRenderedAgain(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 2)
	o.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		if c.Batch == 1 && o.rendered == 2 {
			return workflows.SentBatch{}, temporal.NewNonRetryableApplicationError("no messages", policy.SpoolMissing, nil)
		}
		return workflows.SentBatch{Closed: true}, nil
	}
	if r := o.run(input()); r.State != workflows.StateCompleted || o.rendered != 3 {
		t.Errorf("result %+v, %d renderings", r, o.rendered)
	}
}
