package workflows_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"directmailer/workflows"
	"directmailer/workflows/policy"
)

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
	rig.env.RegisterDelayedCallback(func() { up = true }, 4*time.Minute)
	rig.update(5*time.Minute, workflows.ResumeUpdate, &accepted)
	rig.update(time.Minute, workflows.ResumeUpdate, &refused)
	in := input()
	in.Retry.DropPoint = workflows.Retry{Attempts: attempts, Interval: workflows.Duration(time.Hour)}
	rig.env.RegisterDelayedCallback(func() {
		if s := rig.status(); s.State != state || s.Until.IsZero() || !strings.Contains(s.Doing, "connection refused") {
			t.Errorf("before the resume: %+v", s)
		}
	}, 3*time.Minute)
	in.NotBefore = began.Add(2 * time.Minute)
	if r := rig.run(in); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	if accepted != nil || refused == nil {
		t.Errorf("resume while suspended: %v; while waiting: %v", accepted, refused)
	}
	if took := rig.env.Now().Sub(began); took > 10*time.Minute {
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

func TestARateIsSetByAnUpdateAndWhatCannotBeALimitIsRefused(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 4)
	rig.slowly(10*time.Minute, func(c workflows.SendCall) (workflows.SentBatch, error) { return closed(c), nil })
	var good, unknown, both, wrong error
	rig.update(time.Minute, workflows.RateUpdate, &good, workflows.RateChange{DropPoint: "a", Rate: "20/s"})
	rig.update(2*time.Minute, workflows.RateUpdate, &unknown, workflows.RateChange{DropPoint: "mars", Rate: "20/s"})
	rig.update(
		3*time.Minute,
		workflows.RateUpdate,
		&both,
		workflows.RateChange{DropPoint: "a", Domain: "example.com", Rate: "20/s"},
	)
	rig.update(
		4*time.Minute,
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
	usual := rig.send
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		out, err := usual(c)
		if c.Batch == 1 && !out.Closed {
			out.Counts.Uncertain = 2
		}
		return out, err
	}
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
	if early == nil || !strings.Contains(early.Error(), "not closed yet") {
		t.Errorf("before the batch is closed: %v", early)
	}
	if wrong == nil || good != nil || !slices.Contains(rig.calls, "resolve resend") ||
		!slices.Contains(rig.calls, "render 3") {
		t.Errorf("%v; %v; %v; %v", early, wrong, good, rig.calls)
	}
}

// inAMinute returns a function that fails until a minute has passed by the workflow's clock.
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
	rig.update(time.Minute, workflows.RateUpdate, &first, workflows.RateChange{DropPoint: "a", Rate: "20/s"})
	rig.update(90*time.Second, workflows.RateUpdate, &second, workflows.RateChange{DropPoint: "a", Rate: "30/s"})
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
	rig.update(time.Minute, workflows.ResolveUpdate, &resolved, workflows.Resolution{As: "sent"})
	rig.update(90*time.Second, workflows.CancelUpdate, &cancelled)
	rig.run(input())
	done, end := slices.Index(rig.calls, "resolved"), slices.Index(rig.calls, "close cancelled")
	if resolved != nil || cancelled != nil || done < 0 || end < done {
		t.Errorf("%v, %v; %v", resolved, cancelled, rig.calls)
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
