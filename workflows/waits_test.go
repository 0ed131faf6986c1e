package workflows_test

import (
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// Temporal ends all attempts of an activity together after a time. A setting with few attempts and
// long pauses, such as three attempts a day apart, must not end before.
func TestAnActivityHasAllItsAttemptsHoweverLongItsPausesAre(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 1)
	tries := 0
	rig.render = func(workflows.RenderCall) error {
		if tries++; tries < 3 {
			return temporal.NewApplicationErrorWithOptions("page server", policy.PageUnavailable,
				temporal.ApplicationErrorOptions{NextRetryDelay: 24 * time.Hour})
		}
		return nil
	}
	in := input()
	in.OnExhausted = workflows.Fail
	in.Retry.Page = workflows.Retry{Attempts: 3, Interval: workflows.Duration(24 * time.Hour)}
	if r := rig.run(in); r.State != workflows.StateCompleted || tries != 3 {
		t.Errorf("%+v after %d attempts, error %v", r, tries, rig.env.GetWorkflowError())
	}
}

// Half of the first batches wait for the mailing's limit when the others find the database away. So
// no batch may be sent when the probe is due. The probe goes when the limit allows it.
func TestAProbeThatHasToWaitForTheRateLimitGoesWhenTheLimitAllowsIt(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 16)
	began := rig.env.Now()
	order, turns := map[int]int{}, map[int]int{}
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		rig.mu.Lock()
		defer rig.mu.Unlock()
		if turns[c.Batch]++; turns[c.Batch] == 1 {
			order[c.Batch] = len(order)
		}
		// Each is in flight before the first is answered, and the limit is known before the outage.
		late, away, pause := order[c.Batch] >= 8, turns[c.Batch] == 1, time.Second
		if late {
			away, pause = turns[c.Batch] <= 2, 5*time.Second
		}
		switch {
		case away:
			return workflows.SentBatch{}, temporal.NewApplicationErrorWithOptions("away", policy.DatabaseUnavailable,
				temporal.ApplicationErrorOptions{NonRetryable: turns[c.Batch] == 2, NextRetryDelay: pause})
		case turns[c.Batch] == 2:
			return workflows.SentBatch{NotBefore: began.Add(time.Minute), LimitsAll: true}, nil
		}
		return closed(c), nil
	}
	in := input()
	in.Retry.Database = workflows.Retry{Attempts: 2, Interval: workflows.Duration(10 * time.Second)}
	r := rig.run(in)
	if took := rig.env.Now().Sub(began); r.State != workflows.StateCompleted || took > 5*time.Minute {
		t.Errorf("result %+v after %s, error %v", r, took, rig.env.GetWorkflowError())
	}
}

// The operator asks for a probe while a batch is being rendered, so that the probe has to wait. A
// drop point out of the list must not be connected to again and again meanwhile.
func TestAResumeProbesEachDropPointOutOfTheListOnce(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 3)
	turns, checks := map[int]int{}, 0
	rig.render = func(c workflows.RenderCall) error {
		turns[c.Batch]++
		pause := 2 * time.Minute
		switch {
		case c.Batch == 1, c.Batch == 2 && turns[c.Batch] > 2, c.Batch == 3 && turns[c.Batch] > 1:
			return nil
		case c.Batch == 3: // it is in flight when the mailing is resumed
			pause = 10 * time.Minute
		}
		return temporal.NewApplicationErrorWithOptions("page server", policy.PageUnavailable,
			temporal.ApplicationErrorOptions{NonRetryable: turns[c.Batch] == 2, NextRetryDelay: pause})
	}
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		out := closed(c)
		for i, p := range c.DropPoints {
			if p.Name == "a" {
				out.Points[i] = workflows.DropPointReport{Name: "a", Failure: "drop point a: 535 wrong password"}
			}
		}
		return out, nil
	}
	rig.check = func(workflows.CheckCall) (workflows.Checked, error) {
		checks++
		return workflows.Checked{Usable: checks > 9, Failure: "drop point a: 535 wrong password"}, nil
	}
	var refusal error
	rig.update(5*time.Minute, workflows.ResumeUpdate, &refusal)
	in := input()
	in.Retry.DropPoint = workflows.Retry{Attempts: 1, Interval: workflows.Duration(time.Hour)}
	in.Retry.Page.Interval = workflows.Duration(30 * time.Minute)
	if r := rig.run(in); r.State != workflows.StateCompleted || refusal != nil {
		t.Fatalf("result %+v, error %v, resume %v", r, rig.env.GetWorkflowError(), refusal)
	}
	if checks != 1 {
		t.Errorf("%d probes", checks)
	}
}

// The cancellation comes when the ledger is closed, but before the workflow knows of it.
func TestACancellationAfterTheEndDoesNotChangeTheEnd(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 2)
	rig.close = func(workflows.CloseCall) (workflows.Closing, error) {
		if len(rig.closes) == 1 {
			return workflows.Closing{}, awayForTenMinutes()
		}
		return workflows.Closing{Result: workflows.Result{State: workflows.StateCompleted}}, nil
	}
	rig.env.RegisterDelayedCallback(rig.env.CancelWorkflow, 5*time.Minute)
	r := rig.run(input())
	if state := rig.status().State; r.State != workflows.StateCompleted || state != workflows.StateCompleted {
		t.Errorf("result %+v, state %s, error %v", r, state, rig.env.GetWorkflowError())
	}
}

// All recipients have an outcome, and only the database is missing.
func TestAResumeProbesTheDatabaseWhileTheLedgerIsClosed(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 2)
	began := rig.env.Now()
	rig.close = func(c workflows.CloseCall) (workflows.Closing, error) {
		if len(rig.closes) == 1 {
			return workflows.Closing{}, away()
		}
		return workflows.Closing{Result: workflows.Result{State: c.State}}, nil
	}
	var refusal error
	rig.update(5*time.Minute, workflows.ResumeUpdate, &refusal)
	in := input()
	in.Retry.Database.Interval = workflows.Duration(time.Hour)
	r := rig.run(in)
	if took := rig.env.Now().Sub(began); r.State != workflows.StateCompleted || refusal != nil || took > 10*time.Minute {
		t.Errorf("result %+v after %s, resume: %v", r, took, refusal)
	}
}

// The drop points were lost while the mailing waited for an operator.
func TestAMailingThatIsResumedWithoutADropPointSaysSo(t *testing.T) {
	t.Parallel()
	rig := after(t, 1)
	now := rig.env.Now()
	in := input()
	in.Resume = &workflows.Progress{
		Step: workflows.StepSend, State: workflows.StateSuspended,
		Prepared: workflows.Prepared{Batches: 1, Recipients: 10}, BatchProgress: workflows.BatchProgress{NextRender: 1},
		DropPoints: []workflows.DropPointStatus{{Name: "a", Until: now.Add(time.Hour), LastFailure: "connection refused"}},
		SuspensionProgress: workflows.SuspensionProgress{
			Suspended: &workflows.Suspension{Cause: workflows.CauseErrors, Reason: "the error limit", Since: now}},
	}
	var refusal error
	rig.update(time.Minute, workflows.ResumeUpdate, &refusal)
	rig.env.RegisterDelayedCallback(func() {
		if s := rig.status(); s.State != workflows.StateSuspended || !strings.Contains(s.Doing, "connection refused") ||
			!s.Until.Equal(now.Add(time.Hour)) {
			t.Errorf("after the resume: %s until %s, %s", s.State, s.Until, s.Doing)
		}
	}, 2*time.Minute)
	if r := rig.run(in); r.State != workflows.StateCompleted || refusal != nil {
		t.Errorf("result %+v, resume: %v", r, refusal)
	}
}
