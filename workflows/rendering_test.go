package workflows_test

import (
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"directmailer/workflows"
	"directmailer/workflows/policy"
)

const noField = `none of the first 100 recipients can be rendered: subject line 1, column 3: no field "x"`

// nothingRendered answers as RenderBatch does for a mailing whose first recipients have no message.
// Batches above the last one have messages.
func nothingRendered(last int) func(workflows.RenderCall) error {
	return func(c workflows.RenderCall) error {
		if c.Sample == 0 || c.Batch > last {
			return nil
		}
		return temporal.NewNonRetryableApplicationError(noField, policy.NothingRendered, nil)
	}
}

// Nobody is failed for a fault of the content before an operator has seen the reason.
func TestAMailingWhoseFirstRecipientsHaveNoMessageWaitsForAnOperator(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 20)
	var samples []int
	render := nothingRendered(10)
	rig.render = func(c workflows.RenderCall) error {
		samples = append(samples, c.Sample)
		return render(c)
	}
	var before, resumed int
	rig.env.RegisterDelayedCallback(func() { before = len(rig.calls) }, time.Minute)
	rig.env.RegisterDelayedCallback(func() {
		s := rig.status()
		if s.State != workflows.StateSuspended || !s.Until.IsZero() || len(rig.calls) != before ||
			s.Doing != "waits to be resumed or cancelled, because "+noField {
			t.Errorf("after a day: %+v, then %v", s, rig.calls[before:])
		}
		resumed = len(samples)
	}, 24*time.Hour)
	var refusal error
	rig.update(25*time.Hour, workflows.ResumeUpdate, &refusal)
	if r := rig.run(input()); r.State != workflows.StateCompleted || refusal != nil {
		t.Fatalf("result %+v, error %v, resume %v", r, rig.env.GetWorkflowError(), refusal)
	}
	for i, n := range samples {
		if want := map[bool]int{true: 100, false: 0}[i < resumed]; n != want {
			t.Errorf("rendering %d has the sample %d, want %d", i+1, n, want)
		}
	}
	sent := map[int]bool{}
	for _, c := range rig.sends {
		sent[c.Batch] = true
	}
	if len(sent) != 20 {
		t.Errorf("%d batches were sent", len(sent))
	}
}

func TestAMailingWithoutMessagesCanBeCancelled(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 20)
	rig.render = nothingRendered(20)
	var refusal error
	rig.update(time.Hour, workflows.CancelUpdate, &refusal)
	if r := rig.run(input()); r.State != workflows.StateCancelled || refusal != nil || len(rig.sends) > 0 {
		t.Errorf("result %+v, error %v, %d batches sent", r, rig.env.GetWorkflowError(), len(rig.sends))
	}
}

func TestAMailingWithoutMessagesFailsIfItIsTo(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 20)
	rig.render = nothingRendered(20)
	in := input()
	in.OnExhausted = workflows.Fail
	rig.run(in)
	if err := rig.env.GetWorkflowError(); err == nil || !strings.Contains(err.Error(), noField) || len(rig.sends) > 0 ||
		len(rig.closes) != 1 || rig.closes[0].State != workflows.StateFailed {
		t.Errorf("error %v, closed %+v, %d batches sent", err, rig.closes, len(rig.sends))
	}
}

// In a short list, the data alone may be wrong.
func TestTheFirstRecipientsOfAShortListMayAllHaveNoMessage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		recipients, optedOut int64
		sample               int
	}{
		{250, 0, 100}, {100, 0, 100}, {101, 2, 99}, {10, 0, 10}, {9, 0, 0}, {11, 2, 0}, {300, 300, 0},
	} {
		rig := newRig(t, 1)
		rig.prepared = &workflows.Prepared{Recipients: test.recipients, OptedOut: test.optedOut, Batches: 1}
		rig.render = func(c workflows.RenderCall) error {
			if c.Sample != test.sample {
				t.Errorf("%d recipients, %d of them opted out: a sample of %d, want %d",
					test.recipients, test.optedOut, c.Sample, test.sample)
			}
			return nil
		}
		rig.run(input())
	}
}

func TestAMailingWithoutMessagesWaitsInTheNextRunAsWell(t *testing.T) {
	t.Parallel()
	for anyway, want := range map[bool]string{false: "", true: "render 1"} {
		rig := newRig(t, 1)
		rig.render = nothingRendered(1)
		rig.env.SetContinuedExecutionRunID("the run before")
		in := input()
		in.Resume = &workflows.Progress{
			Step: workflows.StepSend, State: workflows.StateSending, RenderAnyway: anyway,
			Prepared:      workflows.Prepared{Recipients: 200, Batches: 1},
			DropPoints:    []workflows.DropPointStatus{{Name: "a", InList: true}},
			BatchProgress: workflows.BatchProgress{NextRender: 2, Redo: []int{1}},
			Window:        workflows.SendWindow{Size: 1},
		}
		if !anyway {
			in.Resume.Suspended = &workflows.Suspension{Cause: workflows.CauseRendering, Reason: noField}
		}
		rig.env.RegisterDelayedCallback(func() {
			if got := strings.Join(rig.calls, " "); !strings.HasPrefix(got, want) || want == "" && got != "" {
				t.Errorf("resumed before: %t: the run does %q", anyway, got)
			}
		}, time.Hour)
		var refusal error
		rig.update(2*time.Hour, workflows.ResumeUpdate, &refusal)
		if r := rig.run(in); r.State != workflows.StateCompleted || len(rig.sends) != 1 {
			t.Errorf("resumed before: %t: %+v, %v, %v", anyway, r, rig.env.GetWorkflowError(), rig.calls)
		}
	}
}

// Batches that were being rendered when an operator resumed the mailing do not suspend it again.
func TestAnOperatorResumesAMailingWithoutMessagesOnce(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 20)
	late := false
	rig.render = func(c workflows.RenderCall) error {
		switch {
		case c.Sample == 0:
			return nil
		case c.Batch == 2 && !late: // ends after the resume
			late = true
			return temporal.NewApplicationErrorWithOptions("away", policy.WorkerStopping,
				temporal.ApplicationErrorOptions{NextRetryDelay: 2 * time.Hour})
		}
		return nothingRendered(20)(c)
	}
	var refusal error
	rig.update(time.Hour, workflows.ResumeUpdate, &refusal)
	rig.env.RegisterDelayedCallback(func() {
		if s := rig.status(); s.State == workflows.StateSuspended {
			t.Errorf("suspended again: %s", s.Doing)
			rig.env.CancelWorkflow()
		}
	}, 3*time.Hour)
	if r := rig.run(input()); r.State != workflows.StateCompleted || refusal != nil {
		t.Errorf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
}

func TestAMailingWithABatchThatKillsWorkersWaitsForAnOperator(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 20)
	kills, attempts := true, 0
	rig.render = func(c workflows.RenderCall) error {
		if c.Batch != 3 {
			return nil
		}
		if attempts++; kills {
			return temporal.NewNonRetryableApplicationError("3 workers have died", policy.PoisonBatch, nil)
		}
		return nil
	}
	rig.env.RegisterDelayedCallback(func() {
		s := rig.status()
		if s.State != workflows.StateSuspended || !s.Until.IsZero() || attempts != 1 ||
			!strings.HasPrefix(s.Doing, "waits to be resumed or cancelled, because batch 3") ||
			!strings.HasSuffix(s.Doing, "3 workers have died") {
			t.Errorf("after a day: %+v, %d attempts", s, attempts)
		}
		kills = false
	}, 24*time.Hour)
	var refusal error
	rig.update(25*time.Hour, workflows.ResumeUpdate, &refusal)
	if r := rig.run(input()); r.State != workflows.StateCompleted || refusal != nil || attempts != 2 {
		t.Errorf("result %+v, error %v, resume %v, %d attempts", r, rig.env.GetWorkflowError(), refusal, attempts)
	}
}
