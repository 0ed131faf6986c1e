package activities

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
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
	failed     chan failedAttempt
}

// failedAttempt is the error of an attempt, and the batch's fence at its end.
type failedAttempt struct {
	err   error
	fence int
}

func newSilence(t *testing.T) *silence {
	t.Helper()
	s := startSilence(t, func(*fixture) {})
	s.await("messages at both servers", func() bool { return s.slow.Waiting() == 2 && s.fast.Waiting() == 1 })
	return s
}

// startSilence starts to send the batch, after prepare.
func startSilence(t *testing.T, prepare func(*fixture)) *silence {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a Temporal")
	}
	s := &silence{T: t, muted: servertest.MutedTemporal(t, servertest.Temporal(t)), cancelled: make(chan struct{}),
		failed: make(chan failedAttempt, 1), slow: smtptest.NewStall("DOT", 0), fast: smtptest.NewStall("DOT", 0)}
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
		out, err := a.SendBatch(ctx, call)
		if err != nil {
			select {
			case s.failed <- failedAttempt{err, fenceOf(t, d.pool)}:
			default: // nobody asks
			}
		}
		return out, err
	}, activity.RegisterOptions{Name: policy.SendBatch})
	w.RegisterWorkflow(sendOnce)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	prepare(d)
	options := client.StartWorkflowOptions{ID: t.Name(), TaskQueue: t.Name()}
	var err error
	if s.run, err = c.ExecuteWorkflow(t.Context(), options, sendOnce, sendCall(workflows.Hold, "mx", "fast")); err != nil {
		t.Fatal(err)
	}
	return s
}

// fenceOf returns the fence of the only batch.
func fenceOf(t *testing.T, pool *pgxpool.Pool) (fence int) {
	if err := pool.QueryRow(context.WithoutCancel(t.Context()), `SELECT fence FROM batches`).Scan(&fence); err != nil {
		t.Error(err)
	}
	return fence
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

// An attempt waits for the database before it knows the fence of its batch. Meanwhile Temporal may
// have given the batch to another worker, from which the claim would take it.
func TestABatchIsNotClaimedAfterASilence(t *testing.T) {
	t.Parallel()
	var locked pgx.Tx
	var pool *pgxpool.Pool
	before := 0
	s := startSilence(t, func(d *fixture) {
		pool, before = d.pool, fenceOf(t, d.pool)
		var err error
		if locked, err = d.pool.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		// Otherwise the pool never closes after a failure.
		t.Cleanup(func() { _ = locked.Rollback(context.WithoutCancel(t.Context())) })
		if _, err := locked.Exec(t.Context(), `LOCK TABLE batches`); err != nil {
			t.Fatal(err)
		}
	})
	s.await("the attempt waits for the database", func() bool { return servertest.WaitsForLock(t, pool) })
	<-s.muted.Mute(int(maxSilence/time.Second) + 2)
	if err := locked.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.await("the attempt's end, or its messages", func() bool { return len(s.failed) > 0 || s.fast.Waiting() > 0 })
	failed := failedAttempt{fence: fenceOf(t, pool)}
	if len(s.failed) > 0 {
		failed = <-s.failed
	}
	var taken *temporal.ApplicationError
	if !errors.As(failed.err, &taken) || taken.Type() != string(policy.BatchTaken) || failed.fence != before {
		t.Errorf("the attempt ended with %v, and the fence rose from %d to %d", failed.err, before, failed.fence)
	}
	s.muted.Unmute()
	s.fast.ReleaseAll()
	s.wantAllSent()
}

// An attempt is stopped between its look at the silence and its claim. Meanwhile another worker
// claims the batch and has a message in flight.
func TestAnAttemptThatWasStoppedBeforeItsClaimTakesNoBatchFromAnother(t *testing.T) {
	t.Parallel()
	d := newFixture(t, nil)
	other, err := d.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Rollback(context.WithoutCancel(t.Context())) })
	if _, err := other.Exec(t.Context(), `UPDATE batches SET fence = fence + 1`); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := d.send(d.worker(), workflows.Resend)
		ended <- err
	}()
	for !servertest.WaitsForLock(t, d.pool) {
		if len(ended) > 0 {
			t.Fatalf("the attempt has not claimed its batch: %v", <-ended)
		}
	}
	const flight = `INSERT INTO deliveries (mailing, recipient, attempt, status, final) VALUES (1, 3, 1, 'intent', false)`
	if _, err := other.Exec(t.Context(), flight); err != nil {
		t.Fatal(err)
	}
	if err := other.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !isOfType(err, policy.BatchTaken) {
		t.Errorf("the attempt ended with %v", err)
	}
	var status string
	err = d.pool.QueryRow(t.Context(), `SELECT status FROM deliveries`).Scan(&status)
	if err != nil || status != "intent" {
		t.Errorf("the message in flight is %q, %v", status, err)
	}
	if n := len(d.server.Received()); n > 0 {
		t.Errorf("the server has got %d messages", n)
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
