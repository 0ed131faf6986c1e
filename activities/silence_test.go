package activities

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/dev/smtptest"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// Both servers have a message while Temporal answers no heartbeat. Then the fast server gets all
// other messages before the slow one answers its message.
func TestABatchGoesOnWhenTemporalHasNotAnsweredHeartbeats(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs a Temporal")
	}
	slow, fast := smtptest.NewStall("DOT", 0), smtptest.NewStall("DOT", 0)
	t.Cleanup(slow.ReleaseAll)
	t.Cleanup(fast.ReleaseAll)
	d := newFixture(t, slow.Script)
	server := smtptest.Start(t, smtptest.Options{Script: fast.Script})
	a := d.worker(d.dropPoint("fast", server, 1))
	muted := servertest.MutedTemporal(t, servertest.Temporal(t))
	c := dialAsWorker(t, muted.Address)
	w := worker.New(c, t.Name(), worker.Options{
		MaxHeartbeatThrottleInterval: time.Second, DeadlockDetectionTimeout: time.Minute,
	})
	cancelled := make(chan struct{})
	w.RegisterActivityWithOptions(func(ctx context.Context, call workflows.SendCall) (workflows.SentBatch, error) {
		defer context.AfterFunc(ctx, func() { close(cancelled) })()
		return a.SendBatch(ctx, call)
	}, activity.RegisterOptions{Name: policy.SendBatch})
	w.RegisterWorkflow(sendOnce)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	options := client.StartWorkflowOptions{ID: t.Name(), TaskQueue: t.Name()}
	run, err := c.ExecuteWorkflow(t.Context(), options, sendOnce, sendCall(workflows.Hold, "mx", "fast"))
	if err != nil {
		t.Fatal(err)
	}
	await := func(what string, happened func() bool) {
		t.Helper()
		for !happened() {
			select {
			case <-cancelled:
				t.Fatal("the batch was cancelled before: " + what)
			case <-t.Context().Done():
				t.Fatal(what)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	await("messages at both servers", func() bool { return slow.Waiting() == 2 && fast.Waiting() == 1 })
	<-muted.Mute(2)
	muted.Unmute()
	fast.ReleaseAll()
	await("the other messages at the fast server", func() bool { return len(server.Received()) == crowdSize-2 })
	slow.ReleaseAll()
	var out workflows.SentBatch
	if err := run.Get(t.Context(), &out); err != nil || !out.Closed || out.Counts != (workflows.Counts{Sent: crowdSize}) {
		t.Errorf("%+v, %v", out, err)
	}
	if n := len(d.server.Received()) + len(server.Received()); n != crowdSize {
		t.Errorf("the servers have got %d messages", n)
	}
}

// sendOnce is a workflow that sends one batch.
func sendOnce(ctx workflow.Context, call workflows.SendCall) (out workflows.SentBatch, err error) {
	options := policy.Options(policy.SendBatch, "a test", workflow.GetInfo(ctx).TaskQueueName, "m")
	err = workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, options), policy.SendBatch, call).Get(ctx, &out)
	return out, err
}

func TestAnActivityLearnsOfACancellationAfterASilence(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs a Temporal")
	}
	muted := servertest.MutedTemporal(t, servertest.Temporal(t))
	silenceOver := make(chan struct{})
	s := newStageAt(t, muted.Address, func(ctx context.Context, attempt int32) (string, error) {
		if attempt > 1 {
			return "", temporal.NewNonRetryableApplicationError("the silence has ended the first attempt", "Test", nil)
		}
		<-muted.Mute(2)
		muted.Unmute()
		if ctx.Err() == nil {
			close(silenceOver)
		}
		<-ctx.Done()
		return "", errors.New("torn off in the middle")
	})
	w := s.worker()
	defer w.Stop()
	run := s.start()
	failed := make(chan error, 1)
	go func() { failed <- run.Get(context.WithoutCancel(t.Context()), nil) }()
	select {
	case <-silenceOver:
	case err := <-failed:
		t.Fatal(err)
	}
	if err := s.client.CancelWorkflow(t.Context(), run.GetID(), run.GetRunID()); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !temporal.IsCanceledError(err) {
		t.Errorf("got %v, want a cancellation", err)
	}
}
