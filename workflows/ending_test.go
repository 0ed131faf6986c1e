package workflows_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// nextRun returns the input of the next run.
func (rig *testRig) nextRun() workflows.Input {
	rig.Helper()
	var next *workflow.ContinueAsNewError
	if err := rig.env.GetWorkflowError(); err == nil || !asError(err, &next) {
		rig.Fatalf("got %v, want continue-as-new", err)
	}
	var in workflows.Input
	if err := converter.GetDefaultDataConverter().FromPayloads(next.Input, &in); err != nil {
		rig.Fatal(err)
	}
	return in
}

// after returns a rig for a run that follows another by continue-as-new.
func after(t *testing.T, batches int) *testRig {
	t.Helper()
	rig := newRig(t, batches)
	rig.env.SetContinuedExecutionRunID("the run before")
	return rig
}

func away() error {
	return temporal.NewNonRetryableApplicationError(
		"PostgreSQL does not answer (attempt 10 of 10)",
		policy.DatabaseUnavailable,
		nil,
	)
}

// Temporal ends a run at 51,200 events. An outage of days must not add up to that, whatever the
// mailing waits for.
func TestAnOutageOfDaysGoesOverManyRunsWhileAMailingIsOpened(t *testing.T) {
	t.Parallel()
	first := newRig(t, 3)
	first.env.SetContinueAsNewSuggested(true)
	first.open = func(workflows.OpenCall) (workflows.Opened, error) { return workflows.Opened{}, away() }
	first.run(input())
	in := first.nextRun()
	if in.Resume.Step != workflows.StepOpen || in.Content.Text != input().Content.Text || in.Resume.Suspended == nil {
		t.Fatalf("the next run's input: %+v, %+v", in, in.Resume)
	}
	second := after(t, 3)
	var began, tried time.Time
	began = second.env.Now()
	second.open = func(c workflows.OpenCall) (workflows.Opened, error) {
		if tried.IsZero() {
			tried = second.env.Now()
		}
		if c.Retry.Attempts != 1 {
			t.Errorf("a probe has %d attempts", c.Retry.Attempts)
		}
		return workflows.Opened{DropPoints: []string{"a"}}, nil
	}
	second.env.RegisterDelayedCallback(func() {
		if s := second.status(); s.State != workflows.StateSuspended ||
			!strings.Contains(s.Doing, "PostgreSQL does not answer") ||
			s.Until.IsZero() {
			t.Errorf("while it waits: %+v", s)
		}
	}, time.Second)
	if r := second.run(in); r.State != workflows.StateCompleted {
		t.Errorf("result %+v, error %v", r, second.env.GetWorkflowError())
	}
	if waited := tried.Sub(began); waited < 5*time.Second {
		t.Errorf("the next run probed after %s: each run would begin with a probe", waited)
	}
}

func TestAnOutageOfDaysGoesOverManyRunsWhileAListIsPrepared(t *testing.T) {
	t.Parallel()
	first := newRig(t, 3)
	first.prepare = func() error {
		first.env.SetContinueAsNewSuggested(true)
		return away()
	}
	first.run(input())
	in := first.nextRun()
	if in.Resume.Step != workflows.StepPrepare || in.Content.Text != "" || len(in.Resume.DropPoints) != 2 {
		t.Fatalf("the next run's input: %+v, %+v", in, in.Resume)
	}
	second := after(t, 3)
	if r := second.run(in); r.State != workflows.StateCompleted {
		t.Errorf("result %+v, error %v", r, second.env.GetWorkflowError())
	}
	if second.calls[0] != "prepare" {
		t.Errorf("the next run began with %v", second.calls)
	}
	sentOnce(t, 3, second)
}

// A mailing ends in the same way if closing its ledger takes more than one run.
func TestAnOutageOfDaysGoesOverManyRunsWhileALedgerIsClosed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*testRig, *workflows.Input)
		end    func(*testing.T, workflows.Result, error)
	}{
		"completed": {func(*testRig, *workflows.Input) {}, func(t *testing.T, r workflows.Result, err error) {
			if r.State != workflows.StateCompleted {
				t.Errorf("%+v, %v", r, err)
			}
		}},
		"cancelled by the update": {func(rig *testRig, _ *workflows.Input) {
			var refusal error
			rig.update(time.Millisecond, workflows.CancelUpdate, &refusal)
		}, func(t *testing.T, r workflows.Result, err error) {
			if r.State != workflows.StateCancelled || err != nil {
				t.Errorf("%+v, %v", r, err)
			}
		}},
		"cancelled in Temporal": {func(rig *testRig, _ *workflows.Input) {
			rig.env.RegisterDelayedCallback(rig.env.CancelWorkflow, time.Millisecond)
		}, func(t *testing.T, _ workflows.Result, err error) {
			if !temporal.IsCanceledError(err) {
				t.Errorf("got %v", err)
			}
		}},
		"expired": {func(rig *testRig, in *workflows.Input) {
			in.NotAfter = rig.env.Now().Add(time.Millisecond)
		}, func(t *testing.T, r workflows.Result, err error) {
			if r.State != workflows.StateExpired || err != nil {
				t.Errorf("%+v, %v", r, err)
			}
		}},
		"a list that is gone": {func(rig *testRig, _ *workflows.Input) {
			rig.prepare = func() error {
				return temporal.NewNonRetryableApplicationError("no list is named \"people\"", policy.ListUnusable, nil)
			}
		}, func(t *testing.T, _ workflows.Result, err error) {
			var app *temporal.ApplicationError
			if !errors.As(err, &app) || app.Type() != policy.ListUnusable ||
				app.Message() != "no list is named \"people\"" {
				t.Errorf("got %v", err)
			}
		}},
		"given up": {func(rig *testRig, in *workflows.Input) {
			in.OnExhausted = workflows.Fail
			rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) { return workflows.SentBatch{}, lost(c) }
		}, func(t *testing.T, _ workflows.Result, err error) {
			var app *temporal.ApplicationError
			var r workflows.Result
			if !errors.As(err, &app) || app.Type() != "MailingFailed" ||
				app.Details(&r) != nil || r.State != workflows.StateFailed {
				t.Errorf("got %v with %+v", err, r)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first := newRig(t, 3)
			in := input()
			in.NotBefore = first.env.Now().Add(time.Second) // so that there is a time before anything is sent
			if name == "completed" || name == "given up" || name == "a list that is gone" {
				in.NotBefore = time.Time{}
			}
			c.change(first, &in)
			first.close = func(workflows.CloseCall) (workflows.Closing, error) {
				first.env.SetContinueAsNewSuggested(true)
				return workflows.Closing{}, away()
			}
			first.run(in)
			last := first.closes[len(first.closes)-1]
			second := after(t, 3)
			r := second.run(first.nextRun())
			if len(second.closes) != 1 || second.closes[0].State != last.State ||
				second.closes[0].Reason != last.Reason {
				t.Errorf("the next run closed %+v, the one before %+v", second.closes, last)
			}
			if len(second.sends) > 0 {
				t.Errorf("the next run sent %d batches", len(second.sends))
			}
			c.end(t, r, second.env.GetWorkflowError())
		})
	}
}

func TestProbesOfASuspendedMailingAreFartherAndFartherApart(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 1)
	began := rig.env.Now()
	var probes []time.Duration
	rig.open = func(c workflows.OpenCall) (workflows.Opened, error) {
		if probe := len(probes) > 0; probe != (c.Retry.Attempts == 1) {
			t.Errorf("call %d has %d attempts", len(probes)+1, c.Retry.Attempts)
		}
		probes = append(probes, rig.env.Now().Sub(began).Round(time.Second))
		if len(probes) < 12 {
			return workflows.Opened{}, away()
		}
		return workflows.Opened{DropPoints: []string{"a"}}, nil
	}
	if r := rig.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	for i := 1; i < len(probes); i++ {
		want := min(30*time.Second<<(i-1), 15*time.Minute)
		if got := probes[i] - probes[i-1]; got != want {
			t.Errorf("pause %d was %s, want %s (of %v)", i, got, want, probes)
		}
	}
}

// Without a suspension, a mailing whose batch always fails would look as if it were sending, for
// ever.
func TestAMailingWhoseBatchAlwaysFailsIsSuspendedWithTheReason(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 4)
	healed := false
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		rig.mu.Lock()
		defer rig.mu.Unlock()
		if c.Batch == 3 && !healed {
			return workflows.SentBatch{}, temporal.NewNonRetryableApplicationError(
				"column \"fence\" does not exist (SQLSTATE 42703) (attempt 10 of 10)",
				policy.Unexpected,
				nil,
			)
		}
		return closed(c), nil
	}
	rig.env.RegisterDelayedCallback(func() {
		s := rig.status()
		if s.State != workflows.StateSuspended || !strings.Contains(s.Doing, "SQLSTATE 42703") || s.Until.IsZero() ||
			s.Closed != 3 {
			t.Errorf("after an hour: %+v", s)
		}
		rig.mu.Lock()
		healed = true
		rig.mu.Unlock()
	}, time.Hour+time.Minute)
	if r := rig.run(input()); r.State != workflows.StateCompleted {
		t.Errorf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
}

func TestASpoolThatIsDamagedAgainAndAgainSuspendsTheMailing(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 2)
	healed := false
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		rig.mu.Lock()
		defer rig.mu.Unlock()
		if c.Batch == 1 && !healed {
			return workflows.SentBatch{}, temporal.NewNonRetryableApplicationError(
				"batch 1 is rendered again: its checksum is wrong",
				policy.SpoolMissing,
				nil,
			)
		}
		return closed(c), nil
	}
	rig.env.RegisterDelayedCallback(func() {
		s := rig.status()
		if s.State != workflows.StateSuspended || !strings.Contains(s.Doing, "checksum is wrong") {
			t.Errorf("after ten seconds: %+v", s)
		}
		rig.mu.Lock()
		healed = true
		rig.mu.Unlock()
	}, 10*time.Second)
	if r := rig.run(input()); r.State != workflows.StateCompleted {
		t.Errorf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	if n := len(rig.sends); n > 20 {
		t.Errorf("the batches were sent %d times", n)
	}
}

// Batches that wait for the limits of domains are part of what one run hands to the next, so their
// number is limited.
func TestWhatARunHandsToTheNextIsBounded(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 500_000)
	in := input()
	in.BatchSize = 1
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		rig.mu.Lock()
		defer rig.mu.Unlock()
		if len(rig.sends) == 3000 {
			rig.env.SetContinueAsNewSuggested(true)
		}
		return workflows.SentBatch{NotBefore: rig.env.Now().Add(24 * time.Hour), Counts: workflows.Counts{Sent: 1}}, nil
	}
	rig.env.RegisterDelayedCallback(func() { rig.env.SetContinueAsNewSuggested(true) }, time.Hour)
	rig.run(in)
	next := rig.nextRun()
	payload, err := converter.GetDefaultDataConverter().ToPayload(next)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(payload.GetData()); len(next.Resume.Paced) < 500 || len(next.Resume.Paced) > 1100 || n > 256<<10 {
		t.Errorf("%d batches wait; the next run's input has %d octets", len(next.Resume.Paced), n)
	}
}

// The size of a batch cannot change after the list is prepared, so waiting would have no end.
func TestABatchThatIsTooLargeFailsTheMailingWithTheReason(t *testing.T) {
	t.Parallel()
	const reason = "the rendered messages of the batch are larger than 1 GiB: use a smaller batch_size"
	rig := newRig(t, 4)
	rig.render = func(c workflows.RenderCall) error {
		if c.Batch == 3 {
			return temporal.NewNonRetryableApplicationError(reason, policy.BatchTooLarge, nil)
		}
		return nil
	}
	rig.run(input())
	var app *temporal.ApplicationError
	var r workflows.Result
	err := rig.env.GetWorkflowError()
	if !errors.As(err, &app) || app.Type() != "MailingFailed" || app.Message() != reason ||
		app.Details(&r) != nil || r.State != workflows.StateFailed {
		t.Errorf("got %v with %+v", err, r)
	}
	calls := slices.DeleteFunc(rig.calls, func(call string) bool { return call != "render 3" })
	if len(calls) != 1 {
		t.Errorf("the batch was rendered %d times", len(calls))
	}
}
