package workflows_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// refuses fails the test unless the workflow has refused the input and begun nothing.
func (rig *testRig) refuses() {
	rig.Helper()
	var app *temporal.ApplicationError
	if err := rig.env.GetWorkflowError(); !asError(err, &app) || app.Type() != policy.InvalidInput || len(rig.calls) > 0 {
		rig.Errorf("got %v after %v", err, rig.calls)
	}
}

func TestAStateThatSomebodyTypedIsRefused(t *testing.T) {
	t.Parallel()
	for name, previous := range map[string]string{
		"at a start": "", "with a previous run, as a cron schedule or another workflow gives it": "another",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rig := newRig(t, 1)
			rig.env.SetContinuedExecutionRunID(previous)
			rig.checkSeal = func(c workflows.SealCheck) bool {
				if c.Mailing != id || c.RunID != previous || c.Seal != "typed" {
					t.Errorf("asked for %+v", c)
				}
				return false
			}
			in := input()
			in.Resume = &workflows.Progress{Step: workflows.StepSend, Seal: "typed"}
			rig.run(in)
			rig.refuses()
		})
	}
}

func TestTheNextRunChecksTheSealOfWhatItWasHanded(t *testing.T) {
	t.Parallel()
	first := newRig(t, 20)
	first.env.SetContinueAsNewSuggested(true)
	in := input()
	in.Rates.DropPoints = map[string]workflows.Rate{"b": "2/s", "a": "1/s"}
	in.NotAfter = first.env.Now().Add(48 * time.Hour).In(time.FixedZone("here", 7200))
	first.run(in)
	var next *workflow.ContinueAsNewError
	if err := first.env.GetWorkflowError(); !asError(err, &next) {
		t.Fatalf("got %v, want continue-as-new", err)
	}
	var handed workflows.Input
	if err := converter.GetDefaultDataConverter().FromPayloads(next.Input, &handed); err != nil {
		t.Fatal(err)
	}
	second := newRig(t, 20)
	second.env.SetContinuedExecutionRunID("the first")
	checked := ""
	second.checkSeal = func(c workflows.SealCheck) bool {
		checked = c.Digest
		return c.Seal == "sealed "+c.Digest
	}
	if r := second.run(handed); r.State != workflows.StateCompleted || checked == "" {
		t.Errorf("result %+v, error %v, digest %q", r, second.env.GetWorkflowError(), checked)
	}
	for name, change := range map[string]func(*workflows.Input){
		"the progress": func(in *workflows.Input) { in.Resume.NextRender++ },
		"the rates":    func(in *workflows.Input) { in.Rates.DropPoints["a"] = "9/s" },
		"the end":      func(in *workflows.Input) { in.NotAfter = in.NotAfter.Add(time.Second) },
	} {
		other := newRig(t, 20)
		other.env.SetContinuedExecutionRunID("the first")
		other.checkSeal = func(c workflows.SealCheck) bool { return c.Seal == "sealed "+c.Digest }
		changed := handed
		progress := *handed.Resume
		changed.Resume = &progress
		changed.Rates.DropPoints = map[string]workflows.Rate{"b": "2/s", "a": "1/s"}
		change(&changed)
		other.run(changed)
		other.refuses()
		if t.Failed() {
			t.Fatalf("after a change of %s", name)
		}
	}
}

// The worker that checks a seal may be newer than the one that has made it. A new field of the
// input or the progress must be left out where it is empty: otherwise the new worker reads another
// text, and refuses each mailing that an earlier one has handed over.
func TestWhatAnEarlierVersionHasHandedOverReadsTheSame(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("testdata", "histories", "continued-last.json"))
	if err != nil {
		t.Fatal(err)
	}
	var history struct {
		Events []struct {
			Started struct {
				Input struct {
					Payloads []struct {
						Data []byte `json:"data"`
					} `json:"payloads"`
				} `json:"input"`
			} `json:"workflowExecutionStartedEventAttributes"`
		} `json:"events"`
	}
	if err := json.Unmarshal(data, &history); err != nil {
		t.Fatal(err)
	}
	handed := history.Events[0].Started.Input.Payloads[0].Data
	var in workflows.Input
	if err := json.Unmarshal(handed, &in); err != nil || in.Resume == nil {
		t.Fatalf("%+v, %v", in, err)
	}
	if again, err := json.Marshal(in); err != nil || !bytes.Equal(again, handed) {
		t.Errorf("handed over: %s\nread:        %s\n%v", handed, again, err)
	}
}

// A run whose history is long waits for the answers of updates before it hands over. The next run
// does not know of a cancellation, so the run must not hand over after one.
func TestAMailingThatIsCancelledWhileItHandsOverIsCancelled(t *testing.T) {
	t.Parallel()
	for name, cancel := range map[string]func(*testRig){
		"by the update": func(rig *testRig) {
			var refusal error
			rig.update(3*time.Minute, workflows.CancelUpdate, &refusal)
		},
		"by Temporal": func(rig *testRig) { rig.env.RegisterDelayedCallback(rig.env.CancelWorkflow, 3*time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rig := newRig(t, 20)
			attempts := 0
			rig.rate = func(workflows.RateCall) error {
				if attempts++; attempts == 1 {
					return temporal.NewApplicationErrorWithOptions("away", policy.DatabaseUnavailable,
						temporal.ApplicationErrorOptions{NextRetryDelay: 10 * time.Minute})
				}
				return nil
			}
			rig.env.SetOnActivityCompletedListener(func(info *activity.Info, _ converter.EncodedValue, _ error) {
				if info.ActivityType.Name == policy.SendBatch {
					rig.env.SetContinueAsNewSuggested(true)
				}
			})
			var refusal error
			in := input()
			in.NotBefore = rig.env.Now().Add(2 * time.Minute)
			rig.update(time.Minute, workflows.RateUpdate, &refusal, workflows.RateChange{Rate: "1/s"})
			cancel(rig)
			rig.run(in)
			if len(rig.closes) != 1 || rig.closes[0].State != workflows.StateCancelled {
				t.Errorf("it is closed with %+v, and the workflow ends with %v", rig.closes, rig.env.GetWorkflowError())
			}
			if len(rig.sends) == 0 || len(rig.sends) == 20 || refusal != nil {
				t.Errorf("%d batches were sent; the update: %v", len(rig.sends), refusal)
			}
		})
	}
}

// The next run knows nothing of the operator, so what he has asked for must be due in it.
func TestAResumeThatComesWhileARunHandsOverIsNotForgotten(t *testing.T) {
	t.Parallel()
	rig := after(t, 3)
	rig.env.SetContinueAsNewSuggested(true)
	attempts := 0
	rig.seal = func() error {
		if attempts++; attempts < 5 { // longer than ten seconds
			return errors.New("no seal")
		}
		return nil
	}
	now := rig.env.Now()
	later := now.Add(time.Hour)
	in := input()
	in.Resume = &workflows.Progress{
		Step: workflows.StepSend, State: workflows.StateSuspended,
		Prepared: workflows.Prepared{Batches: 3, Recipients: 30}, BatchProgress: workflows.BatchProgress{NextRender: 1},
		DropPoints: []workflows.DropPointStatus{{Name: "a", InList: true}, {Name: "b", Until: later}},
		SuspensionProgress: workflows.SuspensionProgress{Suspended: &workflows.Suspension{
			Cause: workflows.CauseDatabase, Reason: "away", Since: now, Until: later}},
	}
	var refusal error
	rig.update(10*time.Second, workflows.ResumeUpdate, &refusal)
	rig.run(in)
	next := after(t, 3)
	began := next.env.Now()
	r := next.run(rig.nextRun())
	if took := next.env.Now().Sub(began); r.State != workflows.StateCompleted || took > time.Minute || refusal != nil ||
		!slices.Contains(next.calls, "check b") {
		t.Errorf("result %+v after %s, %v; resume: %v", r, took, next.calls, refusal)
	}
}

// The worker may hang for longer than an attempt may take.
func TestASealThatComesLateEndsNoMailing(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 20)
	rig.env.SetContinueAsNewSuggested(true)
	attempts := 0
	rig.seal = func() error {
		if attempts++; attempts < 8 { // more than a minute
			return errors.New("no seal")
		}
		return nil
	}
	rig.run(input())
	if err := rig.env.GetWorkflowError(); !workflow.IsContinueAsNewError(err) || attempts != 8 {
		t.Errorf("got %v after %d attempts, want continue-as-new", err, attempts)
	}
}
