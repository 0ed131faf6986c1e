package activities

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/temporalclient"
	"directmailer/workflows/policy"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

// stage is a real Temporal with one activity, tried under the policy.
type stage struct {
	*testing.T
	client   client.Client
	queue    string        // also the workflow's ID
	started  chan struct{} // closed when the first attempt has begun
	attempts atomic.Int32
	do       func(ctx context.Context, attempt int32) (string, error)
}

// stages tells the stages of one test from each other when it runs more than once.
var stages atomic.Int64

func newStage(t *testing.T, do func(ctx context.Context, attempt int32) (string, error)) *stage {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a Temporal")
	}
	return newStageAt(t, servertest.Temporal(t), do)
}

// newStageAt is newStage with the Temporal at the address.
func newStageAt(t *testing.T, address string, do func(ctx context.Context, attempt int32) (string, error)) *stage {
	t.Helper()
	return &stage{
		T:       t,
		client:  dialAsWorker(t, address),
		queue:   fmt.Sprintf("%s-%d", t.Name(), stages.Add(1)),
		started: make(chan struct{}),
		do:      do,
	}
}

// dialAsWorker connects to Temporal as a worker does.
func dialAsWorker(t *testing.T, address string) client.Client {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	options := client.Options{HostPort: address, Logger: quiet}
	options.ConnectionOptions.DialOptions = []grpc.DialOption{temporalclient.TolerateSilence(quiet)}
	c, err := client.DialContext(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// one is a workflow of one activity.
func one(ctx workflow.Context) (string, error) {
	var answer string
	options := policy.Options(policy.SendBatch, "a test", workflow.GetInfo(ctx).TaskQueueName, "m")
	ctx = workflow.WithActivityOptions(ctx, options)
	err := workflow.ExecuteActivity(ctx, policy.SendBatch).Get(ctx, &answer)
	return answer, err
}

func (s *stage) worker() worker.Worker {
	s.Helper()
	w := worker.New(
		s.client,
		s.queue,
		worker.Options{
			WorkerStopTimeout: 100 * time.Millisecond, DeadlockDetectionTimeout: time.Minute,
			MaxHeartbeatThrottleInterval: time.Second,
		},
	)
	w.RegisterWorkflowWithOptions(one, workflow.RegisterOptions{Name: "one"})
	w.RegisterActivityWithOptions(func(ctx context.Context) (string, error) {
		return attempt(ctx, retries, func(ctx context.Context) (string, error) {
			n := s.attempts.Add(1)
			if n == 1 {
				close(s.started)
			}
			return s.do(ctx, n)
		})
	}, activity.RegisterOptions{Name: policy.SendBatch})
	if err := w.Start(); err != nil {
		s.Fatal(err)
	}
	return w
}

func (s *stage) start() client.WorkflowRun {
	s.Helper()
	run, err := s.client.ExecuteWorkflow(
		s.Context(),
		client.StartWorkflowOptions{ID: s.queue, TaskQueue: s.queue},
		"one",
	)
	if err != nil {
		s.Fatal(err)
	}
	return run
}

func TestAWorkerThatHasToStopHandsItsWorkToAnother(t *testing.T) {
	t.Parallel()
	pool := servertest.Pool(t, servertest.Database(t), 2)
	var last atomic.Pointer[attemptCounts]
	s := newStage(t, func(ctx context.Context, attempt int32) (string, error) {
		if attempt == 1 { // in a statement when its time is over
			_, err := pool.Exec(ctx, `SELECT pg_sleep(600)`)
			return "", err
		}
		var failures attemptCounts
		_ = activity.GetHeartbeatDetails(ctx, &failures)
		last.Store(&failures)
		return "done", nil
	})
	first := s.worker()
	run := s.start()
	<-s.started
	first.Stop()
	failure := s.lastFailure(run)
	second := s.worker()
	defer second.Stop()
	var answer string
	if err := run.Get(t.Context(), &answer); err != nil || answer != "done" {
		t.Fatalf("got %q, %v", answer, err)
	}
	if n := s.attempts.Load(); n != 2 || *last.Load() != (attemptCounts{}) || failure != policy.WorkerStopping {
		t.Errorf("%d attempts, %+v counted, the first ended by %q", n, *last.Load(), failure)
	}
}

// lastFailure waits for the activity's failure to arrive and returns its type.
func (s *stage) lastFailure(run client.WorkflowRun) string {
	s.Helper()
	for {
		d, err := s.client.DescribeWorkflowExecution(s.Context(), run.GetID(), run.GetRunID())
		if err != nil {
			s.Fatal(err)
		}
		for _, p := range d.PendingActivities {
			if p.LastFailure != nil {
				return p.LastFailure.GetApplicationFailureInfo().GetType()
			}
		}
	}
}

func TestACancelledActivityEndsCancelledAtItsNextHeartbeat(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(ctx context.Context, _ int32) (string, error) {
		<-ctx.Done()
		return "", errors.New("torn off in the middle")
	})
	w := s.worker()
	defer w.Stop()
	run := s.start()
	<-s.started
	if err := s.client.CancelWorkflow(t.Context(), run.GetID(), run.GetRunID()); err != nil {
		t.Fatal(err)
	}
	if err := run.Get(t.Context(), nil); !temporal.IsCanceledError(err) {
		t.Errorf("got %v, want a cancellation", err)
	}
	if n := s.attempts.Load(); n != 1 {
		t.Errorf("%d attempts", n)
	}
}
