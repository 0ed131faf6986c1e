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

// silence is a batch in the middle of its turn: both servers have messages, which they answer when
// they are released. Temporal can be muted.
type silence struct {
	*testing.T
	muted      *servertest.Muted
	slow, fast *smtptest.Stall
	fastServer *smtptest.Server
	slowServer *smtptest.Server
	run        client.WorkflowRun
	cancelled  chan struct{} // closed when the attempt is
}

func newSilence(t *testing.T) *silence {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a Temporal")
	}
	s := &silence{T: t, muted: servertest.MutedTemporal(t, servertest.Temporal(t)), cancelled: make(chan struct{}),
		slow: smtptest.NewStall("DOT", 0), fast: smtptest.NewStall("DOT", 0)}
	t.Cleanup(s.slow.ReleaseAll)
	t.Cleanup(s.fast.ReleaseAll)
	d := newFixture(t, s.slow.Script)
	s.slowServer = d.server
	s.fastServer = smtptest.Start(t, smtptest.Options{Script: s.fast.Script})
	a := d.worker(d.dropPoint("fast", s.fastServer, 1))
	c := dialAsWorker(t, s.muted.Address)
	w := worker.New(c, t.Name(), worker.Options{
		MaxHeartbeatThrottleInterval: time.Second, DeadlockDetectionTimeout: time.Minute,
	})
	w.RegisterActivityWithOptions(func(ctx context.Context, call workflows.SendCall) (workflows.SentBatch, error) {
		defer context.AfterFunc(ctx, func() { close(s.cancelled) })()
		return a.SendBatch(ctx, call)
	}, activity.RegisterOptions{Name: policy.SendBatch})
	w.RegisterWorkflow(sendOnce)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	options := client.StartWorkflowOptions{ID: t.Name(), TaskQueue: t.Name()}
	var err error
	if s.run, err = c.ExecuteWorkflow(t.Context(), options, sendOnce, sendCall(workflows.Hold, "mx", "fast")); err != nil {
		t.Fatal(err)
	}
	s.await("messages at both servers", func() bool { return s.slow.Waiting() == 2 && s.fast.Waiting() == 1 })
	return s
}

// await waits until something has happened. The attempt must not be cancelled before.
func (s *silence) await(what string, happened func() bool) {
	s.Helper()
	for !happened() {
		select {
		case <-s.cancelled:
			s.Fatal("the batch was cancelled before: " + what)
		case <-s.Context().Done():
			s.Fatal(what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// wantAllSent waits for the rest of the messages at the fast server, and then for the end.
func (s *silence) wantAllSent() {
	s.Helper()
	s.await("the other messages at the fast server", func() bool { return len(s.fastServer.Received()) == crowdSize-2 })
	s.slow.ReleaseAll()
	var out workflows.SentBatch
	err := s.run.Get(s.Context(), &out)
	if err != nil || !out.Closed || out.Counts != (workflows.Counts{Sent: crowdSize}) {
		s.Errorf("%+v, %v", out, err)
	}
	if n := len(s.slowServer.Received()) + len(s.fastServer.Received()); n != crowdSize {
		s.Errorf("the servers have got %d messages", n)
	}
}

// The fast server gets all other messages before the slow one answers its message.
func TestABatchGoesOnWhenTemporalHasNotAnsweredHeartbeats(t *testing.T) {
	t.Parallel()
	s := newSilence(t)
	<-s.muted.Mute(2)
	s.muted.Unmute()
	s.fast.ReleaseAll()
	s.wantAllSent()
}

// After its turn, the batch would go on through the fast server if Temporal answered.
func TestABatchBeginsNoMessageAfterItsTurnWhileTemporalIsSilent(t *testing.T) {
	t.Parallel()
	s := newSilence(t)
	over := time.Now().Add(turn + 2*time.Second)
	s.muted.Mute(0)
	s.await("the turn is over", func() bool { return time.Now().After(over) })
	s.fast.ReleaseAll()
	<-s.muted.Mute(3)
	if n := len(s.fastServer.Received()); n != 1 {
		t.Errorf("the fast server has got %d messages in the silence, want the one that it had", n)
	}
	s.muted.Unmute()
	s.wantAllSent()
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
