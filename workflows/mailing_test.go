package workflows_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"directmailer/workflows"
	"directmailer/workflows/policy"
)

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
			return workflows.SentBatch{NotBefore: next, LimitsAll: true}, nil
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
