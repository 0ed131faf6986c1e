package operation

import (
	"context"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"directmailer/internal/dev/smtptest"
	"directmailer/test/rig"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// TestNobodySendsAMailingThatItsOwnerHasTerminated tries every way in which Temporal gives a run a
// previous run and an input of somebody's choice.
func TestNobodySendsAMailingThatItsOwnerHasTerminated(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, rig.MX(s))
	r.ImportList(10)
	lock, err := r.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := lock.Exec(t.Context(), `SELECT FROM lists FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	r.Start(rig.Mailing(10))
	r.StartWorker()
	r.MustUpdate(workflows.PauseUpdate) // before its list is prepared
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.AwaitStatus("prepared and paused", func(s workflows.Status) bool { return s.Recipients == 10 })
	status, err := r.Status()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Temporal.TerminateWorkflow(t.Context(), r.ID(), "", "the owner"); err != nil {
		t.Fatal(err)
	}
	in := rig.Mailing(10)
	in.Resume = &workflows.Progress{
		Step: workflows.StepSend, State: workflows.StateSending, DropPoints: status.DropPoints,
		Prepared: workflows.Prepared{Members: 10, Recipients: 10, Batches: 1},
		Seal:     "00",
	}
	for name, start := range map[string]func(t *testing.T, o client.StartWorkflowOptions) client.WorkflowRun{
		"a start": func(t *testing.T, o client.StartWorkflowOptions) client.WorkflowRun {
			return forge(t, r, o, workflows.MailingType, in)
		},
		"a signal with the start": func(t *testing.T, o client.StartWorkflowOptions) client.WorkflowRun {
			run, err := r.Temporal.SignalWithStartWorkflow(t.Context(), o.ID, "x", nil, o, workflows.MailingType, in)
			if err != nil {
				t.Fatal(err)
			}
			return run
		},
		"a cron schedule": func(t *testing.T, o client.StartWorkflowOptions) client.WorkflowRun {
			o.CronSchedule = "@every 1s"
			return forge(t, r, o, workflows.MailingType, in)
		},
		"a retry policy": func(t *testing.T, o client.StartWorkflowOptions) client.WorkflowRun {
			o.RetryPolicy = &temporal.RetryPolicy{MaximumAttempts: 2}
			return forge(t, r, o, workflows.MailingType, in)
		},
		"another workflow that continues as a mailing": func(t *testing.T, o client.StartWorkflowOptions) client.WorkflowRun {
			o.TaskQueue = authors(t, r)
			return forge(t, r, o, "Continues", in)
		},
		"a parent": func(t *testing.T, o client.StartWorkflowOptions) client.WorkflowRun {
			o.TaskQueue, o.ID = authors(t, r), o.ID+"-parent"
			return forge(t, r, o, "Parent", in)
		},
	} {
		t.Run(name, func(t *testing.T) {
			run := start(t, client.StartWorkflowOptions{ID: r.ID(), TaskQueue: r.TaskQueue})
			next := refusedRun(t, r, run.GetID(), run.GetRunID())
			if next != "" {
				refusedRun(t, r, run.GetID(), next)
			}
			// A cron schedule goes on. Another run has ended already.
			_ = r.Temporal.TerminateWorkflow(t.Context(), run.GetID(), "", "the test")
		})
	}
	if n := len(s.Received()); n != 0 {
		t.Errorf("%d messages of the terminated mailing were sent", n)
	}
}

// refusedRun waits for the end of a run, which must be a refusal of its input unless it continues
// as new. It returns the next run, if there is one.
func refusedRun(t *testing.T, r *rig.Rig, id, run string) (next string) {
	t.Helper()
	events := r.Temporal.GetWorkflowHistory(t.Context(), id, run, true, enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)
	if !events.HasNext() {
		t.Fatal("the run has no last event")
	}
	event, err := events.Next()
	if err != nil {
		t.Fatal(err)
	}
	if continued := event.GetWorkflowExecutionContinuedAsNewEventAttributes(); continued != nil {
		return continued.GetNewExecutionRunId()
	}
	failed := event.GetWorkflowExecutionFailedEventAttributes()
	kind := failed.GetFailure().GetApplicationFailureInfo().GetType()
	if child := failed.GetFailure().GetCause(); child != nil {
		kind = child.GetApplicationFailureInfo().GetType()
	}
	if kind != policy.InvalidInput {
		t.Errorf("the run ended so: %v", event)
	}
	return failed.GetNewExecutionRunId()
}

func forge(t *testing.T, r *rig.Rig, o client.StartWorkflowOptions, kind string,
	in workflows.Input) client.WorkflowRun {
	t.Helper()
	run, err := r.Temporal.ExecuteWorkflow(t.Context(), o, kind, in)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// authors starts a worker of somebody who may start workflows, with workflows that become, or
// start, a mailing of the same ID. It returns the worker's task queue.
func authors(t *testing.T, r *rig.Rig) string {
	t.Helper()
	queue := r.TaskQueue + "-author"
	w := worker.New(r.Temporal, queue, worker.Options{})
	continues := func(ctx workflow.Context, in workflows.Input) (workflows.Result, error) {
		ctx = workflow.WithWorkflowTaskQueue(ctx, r.TaskQueue)
		return workflows.Result{}, workflow.NewContinueAsNewError(ctx, workflows.MailingType, in)
	}
	parent := func(ctx workflow.Context, in workflows.Input) (out workflows.Result, err error) {
		ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: r.ID(), TaskQueue: r.TaskQueue})
		err = workflow.ExecuteChildWorkflow(ctx, workflows.MailingType, in).Get(ctx, &out)
		return out, err
	}
	w.RegisterWorkflowWithOptions(continues, workflow.RegisterOptions{Name: "Continues"})
	w.RegisterWorkflowWithOptions(parent, workflow.RegisterOptions{Name: "Parent"})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return queue
}
