package workflows_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// awayForTenMinutes is the error of an attempt. Temporal starts the next one in ten minutes.
func awayForTenMinutes() error {
	return temporal.NewApplicationErrorWithOptions("PostgreSQL does not answer", policy.DatabaseUnavailable,
		temporal.ApplicationErrorOptions{NextRetryDelay: 10 * time.Minute})
}

// The content and the statement of a query are in the database from the opening on. People's data
// may stand in both, and each run would have them once more in its history.
func TestTheNextRunGetsNeitherContentNorStatement(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 3)
	rig.env.SetContinueAsNewSuggested(true)
	in := input()
	in.List, in.Headers = "", map[string]string{"X-Campaign": "spring"}
	in.Query = &workflows.Query{Source: "crm", SQL: "SELECT email FROM people WHERE name = 'Anna'"}
	rig.run(in)
	next := rig.nextRun()
	if next.Content.Text != "" || next.Headers != nil || next.Query.SQL != "" || next.Audience() != in.Audience() {
		t.Errorf("the next run has %+v, %+v, %+v", next.Content, next.Headers, next.Query)
	}
}

// A run without the content must know that pages are fetched.
func TestTheNextRunKnowsOfPages(t *testing.T) {
	t.Parallel()
	for want, content := range map[bool][]workflows.Content{
		false: {{Text: "Hello"}},
		true:  {{PageURL: "https://pages.example.com/{{id}}"}, {PageColumn: "page"}},
	} {
		for _, c := range content {
			rig := newRig(t, 3)
			rig.env.SetContinueAsNewSuggested(true)
			in := input()
			in.Content = c
			rig.run(in)
			if next := rig.nextRun(); next.Resume == nil || next.Resume.Pages != want {
				t.Errorf("content %+v: the next run has %+v", c, next.Resume)
			}
		}
	}
}

func TestATestStaysATestInTheNextRun(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 3)
	rig.env.RegisterWorkflowWithOptions(workflows.MailingTest, workflow.RegisterOptions{Name: workflows.TestType})
	rig.env.SetContinueAsNewSuggested(true)
	rig.env.ExecuteWorkflow(workflows.TestType, input())
	var next *workflow.ContinueAsNewError
	if err := rig.env.GetWorkflowError(); !asError(err, &next) || next.WorkflowType.Name != workflows.TestType {
		t.Errorf("got %v, want a next run of the same type", err)
	}
}

// The ID is reserved for the first run of a mailing, whichever run opens the mailing or closes it.
func TestALaterRunOpensAndClosesTheMailingOfTheFirst(t *testing.T) {
	t.Parallel()
	rig := after(t, 1)
	var opened workflows.OpenCall
	rig.open = func(c workflows.OpenCall) (workflows.Opened, error) {
		opened = c
		return workflows.Opened{DropPoints: []string{"a"}}, nil
	}
	in := input()
	in.Resume = &workflows.Progress{Step: workflows.StepOpen}
	rig.run(in)
	if opened.RunID == "" || opened.FirstRunID == opened.RunID || len(rig.closes) != 1 ||
		rig.closes[0].FirstRunID != opened.FirstRunID {
		t.Errorf("opened with %+v, closed with %+v", opened, rig.closes)
	}
}

// The next run would not know why the mailing fails, and send on.
func TestAMailingThatFailsDoesNotGoOverToTheNextRun(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 4)
	rig.render = func(c workflows.RenderCall) error {
		if c.Batch < 4 {
			return nil
		}
		return temporal.NewNonRetryableApplicationError("too large", policy.BatchTooLarge, nil)
	}
	rig.env.SetOnActivityCompletedListener(func(_ *activity.Info, _ converter.EncodedValue, err error) {
		if err != nil {
			rig.env.SetContinueAsNewSuggested(true)
		}
	})
	rig.run(input())
	if err := rig.env.GetWorkflowError(); len(rig.closes) != 1 || rig.closes[0].State != workflows.StateFailed ||
		!strings.Contains(err.Error(), "too large") {
		t.Errorf("closed with %+v, and the workflow ends with %v", rig.closes, err)
	}
}

// The cancellation comes before the first task of the run: with the start, or between two runs.
func TestACancellationBeforeTheFirstTaskOfARunIsHeard(t *testing.T) {
	t.Parallel()
	var refusal error
	for name, cancel := range map[string]func(*testRig){
		"by the update": func(rig *testRig) { rig.update(0, workflows.CancelUpdate, &refusal) },
		"by Temporal":   func(rig *testRig) { rig.env.RegisterDelayedCallback(rig.env.CancelWorkflow, 0) },
	} {
		for _, later := range []bool{false, true} {
			rig, in := newRig(t, 3), input()
			if later {
				rig = after(t, 3)
				in.Resume = &workflows.Progress{
					Step: workflows.StepSend, State: workflows.StateSending,
					Prepared:      workflows.Prepared{Batches: 3, Recipients: 30},
					DropPoints:    []workflows.DropPointStatus{{Name: "a", InList: true}},
					BatchProgress: workflows.BatchProgress{NextRender: 1},
				}
			}
			cancel(rig)
			rig.run(in)
			if len(rig.closes) != 1 || rig.closes[0].State != workflows.StateCancelled || len(rig.sends) > 0 {
				t.Errorf("%s, in a later run: %v: calls %v, error %v", name, later, rig.calls, rig.env.GetWorkflowError())
			}
		}
	}
}

// Everybody has an outcome when the ledger is closed, unless the ledger says otherwise.
func TestNotAfterThatComesWhileTheLedgerIsClosedEndsOnlyAMailingWithOpenBatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		open []int
		want workflows.State
	}{{nil, workflows.StateCompleted}, {[]int{2}, workflows.StateExpired}} {
		rig := newRig(t, 2)
		attempts := 0
		rig.close = func(call workflows.CloseCall) (workflows.Closing, error) {
			switch attempts++; attempts {
			case 1:
				return workflows.Closing{}, awayForTenMinutes()
			case 2:
				return workflows.Closing{Open: c.open, Result: workflows.Result{State: call.State}}, nil
			}
			return workflows.Closing{Result: workflows.Result{State: call.State}}, nil
		}
		in := input()
		in.NotAfter = rig.env.Now().Add(5 * time.Minute)
		var cancel, pause, rate error
		rig.update(3*time.Minute, workflows.CancelUpdate, &cancel)
		rig.update(3*time.Minute, workflows.PauseUpdate, &pause)
		rig.update(3*time.Minute, workflows.RateUpdate, &rate, workflows.RateChange{Rate: "1/s"})
		if r := rig.run(in); r.State != c.want || len(rig.sends) != 2 {
			t.Errorf("open %v: result %+v, error %v, %d batches sent", c.open, r, rig.env.GetWorkflowError(), len(rig.sends))
		}
		if cancel == nil || pause == nil || rate == nil {
			t.Errorf("updates while the ledger is closed: cancel %v, pause %v, rate %v", cancel, pause, rate)
		}
	}
}

// A mailing whose ledger does not close goes on, so an operator can still stop it.
func TestAMailingThatGoesOnAfterItsLedgerDidNotCloseTakesUpdates(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 2)
	rig.close = func(call workflows.CloseCall) (workflows.Closing, error) {
		if len(rig.closes) == 1 {
			return workflows.Closing{Open: []int{2}}, nil
		}
		return workflows.Closing{Result: workflows.Result{State: call.State}}, nil
	}
	var turns atomic.Int32
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		if turns.Add(1) != 3 {
			return closed(c), nil
		}
		return workflows.SentBatch{NotBefore: rig.env.Now().Add(time.Hour)}, nil
	}
	var refusal error
	rig.update(30*time.Minute, workflows.CancelUpdate, &refusal)
	if r := rig.run(input()); r.State != workflows.StateCancelled || refusal != nil {
		t.Errorf("result %+v, error %v, refusal %v", r, rig.env.GetWorkflowError(), refusal)
	}
}

// Nobody can send through the drop points, so the mailing must not only look as if it were sending.
func TestDropPointsThatNoWorkerHasFailTheMailing(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 1)
	var turns atomic.Int32
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		if turns.Add(1) > 10 {
			return closed(c), nil
		}
		return workflows.SentBatch{}, temporal.NewNonRetryableApplicationError("no worker has a drop point named a or b",
			policy.DropPointUnavailable, nil)
	}
	in := input()
	in.OnExhausted = workflows.Fail
	rig.run(in)
	err := rig.env.GetWorkflowError()
	if err == nil || !strings.Contains(err.Error(), "no worker has") || turns.Load() != 2 {
		t.Errorf("after %d turns: %v", turns.Load(), err)
	}
}

// The ID belongs to another start, and so does its ledger.
func TestAStartWhoseIDIsReservedClosesNoLedger(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 1)
	rig.open = func(workflows.OpenCall) (workflows.Opened, error) {
		return workflows.Opened{}, temporal.NewNonRetryableApplicationError("exists", policy.MailingExists, nil)
	}
	rig.run(input())
	var app *temporal.ApplicationError
	err := rig.env.GetWorkflowError()
	if !asError(err, &app) || app.Type() != policy.MailingExists || len(rig.calls) != 1 {
		t.Errorf("calls %v, error %v", rig.calls, err)
	}
}

// An operator who pauses a mailing and lets it go on has not looked at its errors.
func TestAPauseForgivesNoErrors(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 2)
	var late atomic.Bool
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		out := closed(c)
		out.Counts = workflows.Counts{Bounced: 10}
		if c.Batch == 2 && late.CompareAndSwap(false, true) {
			return workflows.SentBatch{NotBefore: rig.env.Now().Add(time.Hour)}, nil
		}
		return out, nil
	}
	var pause, resume error
	rig.update(10*time.Minute, workflows.PauseUpdate, &pause)
	rig.update(20*time.Minute, workflows.ResumeUpdate, &resume)
	in := input()
	in.MaxErrorPercent, in.ErrorMinimum, in.OnExhausted = 10, 20, workflows.Fail
	rig.run(in)
	err := rig.env.GetWorkflowError()
	if err == nil || !strings.Contains(err.Error(), "error limit") || pause != nil || resume != nil {
		t.Errorf("the mailing ended with %v; pause %v, resume %v", err, pause, resume)
	}
}

// No worker has taken the activity in days: nothing has failed.
func TestAStepThatNoWorkerTakesIsStartedAgain(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 1)
	attempts := 0
	rig.prepare = func() error {
		if attempts++; attempts == 1 {
			return temporal.NewTimeoutError(enumspb.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE, nil)
		}
		return nil
	}
	if r := rig.run(input()); r.State != workflows.StateCompleted || attempts != 2 {
		t.Errorf("result %+v after %d attempts, error %v", r, attempts, rig.env.GetWorkflowError())
	}
}
