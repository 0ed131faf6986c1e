package activities

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"directmailer/internal/dev/servertest"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// failing makes the first attempt of one activity of a mailing fail when it is told to.
type failing struct {
	activity string
	last     bool   // the attempt is the last one that the mailing's setting allows
	update   string // "": a cancellation by Temporal
	want     workflows.State
	begun    chan struct{}
	fail     chan struct{}
	failed   atomic.Bool
}

func (f *failing) attempt(ctx context.Context, activity string) error {
	if f.activity != activity || f.failed.Swap(true) {
		return nil
	}
	close(f.begun)
	select {
	case <-f.fail:
	case <-ctx.Done():
	}
	return temporal.NewApplicationErrorWithOptions("the database does not answer", policy.DatabaseUnavailable,
		temporal.ApplicationErrorOptions{NonRetryable: f.last, NextRetryDelay: time.Millisecond})
}

// The worker learns of a cancellation within two seconds. If an attempt fails before, Temporal
// starts no other, however many the mailing's setting allows: none of these mailings fails,
// although each is to fail when its attempts are used up.
func TestAnAttemptThatFailsWhileItIsBeingCancelledFailsNoMailing(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs a Temporal")
	}
	mailings := map[string]*failing{}
	for i, f := range []*failing{
		{activity: policy.SendBatch, update: workflows.PauseUpdate, want: workflows.StateCompleted},
		{activity: policy.SendBatch, update: workflows.CancelUpdate, want: workflows.StateCancelled, last: true},
		{activity: policy.RenderBatch, update: workflows.CancelUpdate, want: workflows.StateCancelled},
		{activity: policy.PrepareList, want: workflows.StateCancelled},
	} {
		f.begun, f.fail = make(chan struct{}), make(chan struct{})
		mailings[fmt.Sprintf("cut-short-%d-%d", stages.Add(1), i)] = f
	}
	c := dialAsWorker(t, servertest.Temporal(t))
	queue := fmt.Sprintf("%s-%d", t.Name(), stages.Add(1))
	workOn(t, c, queue, func(ctx context.Context, name, mailing string) error {
		return mailings[mailing].attempt(ctx, name)
	})
	for id, f := range mailings {
		in := workflows.Input{OnExhausted: workflows.Fail}
		run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: queue},
			workflows.MailingType, in)
		if err != nil {
			t.Fatal(err)
		}
		<-f.begun
		if f.update != "" {
			update(t, c, id, f.update)
		} else {
			cancel(t, c, id)
		}
		close(f.fail)
		if f.update == workflows.PauseUpdate {
			update(t, c, id, workflows.ResumeUpdate)
		}
		var r workflows.Result
		err = run.Get(t.Context(), &r)
		if cancelled, ok := errors.AsType[*temporal.CanceledError](err); ok && f.update == "" {
			err = cancelled.Details(&r)
		}
		if err != nil || r.State != f.want {
			t.Errorf("%s fails during %q: result %+v, error %v", f.activity, f.update, r, err)
		}
	}
}

// cancel cancels a workflow, and returns when the cancellation of its activity is on the way.
func cancel(t *testing.T, c client.Client, id string) {
	t.Helper()
	if err := c.CancelWorkflow(t.Context(), id, ""); err != nil {
		t.Fatal(err)
	}
	for {
		d, err := c.DescribeWorkflowExecution(t.Context(), id, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range d.PendingActivities {
			if p.State == enumspb.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED {
				return
			}
		}
	}
}

func update(t *testing.T, c client.Client, id, name string) {
	t.Helper()
	h, err := c.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: id, UpdateName: name, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err == nil {
		err = h.Get(t.Context(), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// workOn starts workers for mailings of one batch, whose activities do nothing. try is asked for
// the error of each.
func workOn(t *testing.T, c client.Client, main string, try func(ctx context.Context, name, mailing string) error) {
	t.Helper()
	activities := map[string]any{
		policy.OpenMailing: func(ctx context.Context, c workflows.OpenCall) (workflows.Opened, error) {
			return workflows.Opened{DropPoints: []string{"mx"}}, try(ctx, policy.OpenMailing, c.Mailing)
		},
		policy.PrepareList: func(ctx context.Context, c workflows.PrepareCall) (workflows.Prepared, error) {
			return workflows.Prepared{Recipients: 1, Batches: 1}, try(ctx, policy.PrepareList, c.Mailing)
		},
		policy.RenderBatch: func(ctx context.Context, c workflows.RenderCall) (workflows.Rendered, error) {
			return workflows.Rendered{}, try(ctx, policy.RenderBatch, c.Mailing)
		},
		policy.SendBatch: func(ctx context.Context, c workflows.SendCall) (workflows.SentBatch, error) {
			return workflows.SentBatch{Closed: true}, try(ctx, policy.SendBatch, c.Mailing)
		},
		policy.CloseMailing: func(_ context.Context, c workflows.CloseCall) (workflows.Closing, error) {
			return workflows.Closing{Result: workflows.Result{ID: c.Mailing, State: c.State}}, nil
		},
	}
	workers := map[string]worker.Worker{}
	for name, do := range activities {
		queue := policy.Queue(name, main)
		if workers[queue] == nil {
			workers[queue] = worker.New(c, queue, worker.Options{
				DisableWorkflowWorker: queue != main, DeadlockDetectionTimeout: time.Minute,
				MaxConcurrentActivityTaskPollers: 1, MaxConcurrentWorkflowTaskPollers: 2,
			})
		}
		workers[queue].RegisterActivityWithOptions(do, activity.RegisterOptions{Name: name})
	}
	workers[main].RegisterWorkflowWithOptions(workflows.Mailing, workflow.RegisterOptions{Name: workflows.MailingType})
	for _, w := range workers {
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Stop)
	}
}
