// Package process runs a worker: it waits for PostgreSQL and Temporal, connects to them, serves
// health checks, and stops gracefully.
package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"directmailer/activities"
	"directmailer/internal/audience/query"
	"directmailer/internal/buildinfo"
	"directmailer/internal/config"
	"directmailer/internal/content/page"
	"directmailer/internal/database"
	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/feedback/token"
	"directmailer/internal/feedback/tokenkey"
	"directmailer/internal/neterr"
	"directmailer/internal/temporalclient"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// Run works until ctx ends. It then finishes its batches, or hands them back, within the configured
// time. While PostgreSQL or Temporal does not answer, it waits. A database that is not migrated is
// an error.
func Run(ctx context.Context, c config.Worker, log *slog.Logger) error {
	keys, warnings, err := c.DKIM.Load()
	if err != nil {
		return fmt.Errorf("DM_DKIM: %w", err)
	}
	for _, warning := range warnings {
		log.Warn("DM_DKIM: " + warning)
	}
	var ready atomic.Bool
	if c.HealthAddress != "" {
		stop, err := serveHealth(c.HealthAddress, &ready, log)
		if err != nil {
			return err
		}
		defer stop()
	}
	var back feedbackMail
	if err := back.listen(c, log); err != nil {
		return err
	}
	defer back.close(c)
	pool, err := await(
		ctx,
		log,
		"PostgreSQL at "+database.Place(c.DatabaseURL),
		func(ctx context.Context) (*pgxpool.Pool, error) {
			pool, err := database.Open(ctx, c.DatabaseURL, int32(config.DatabaseConnections(c.MaxBatches)))
			if err != nil {
				return nil, err
			}
			if err := database.CheckMigrated(ctx, pool); err != nil {
				pool.Close()
				return nil, err
			}
			return pool, nil
		},
		database.Unavailable,
	)
	if err != nil {
		return err
	}
	defer pool.Close()
	// What comes back needs no Temporal.
	tokenKeys := tokenkey.NewWatch(pool, token.Keys(c.TokenKeys), log)
	if c.PublicAddress != "" || c.InboundAddress.IsSet() || c.InboundMailbox.IsSet() {
		go tokenKeys.Run(ctx)
	}
	mailbox := back.begin(c, tokenKeys, pool, log)
	closePublic, err := servePublic(ctx, c, tokenKeys, pool, log)
	if err != nil {
		return err
	}
	defer closePublic()
	var attributes temporalclient.SearchAttributes
	temporal, err := await(ctx, log, "Temporal", func(ctx context.Context) (*temporalclient.Client, error) {
		temporal, err := temporalclient.Dial(ctx, log)
		if err != nil {
			return nil, err
		}
		if attributes, err = temporal.RegisterSearchAttributes(ctx, pool); err != nil {
			temporal.Close()
			return nil, err
		}
		return temporal, nil
	}, func(err error) bool { return temporalclient.Unreachable(err) || database.Unavailable(err) })
	if err != nil {
		return err
	}
	defer temporal.Close()
	if attributes.Warning != "" {
		log.Warn(attributes.Warning)
	}
	points := droppoint.NewSet(c.DropPoints)
	defer points.Close()
	sources := query.NewSet(c.Sources)
	go warnOfPowers(ctx, sources, log)
	pages := page.NewFetcher(c.PageHosts)
	defer pages.Close()
	all := activities.New(pool, points, sources, pages, c.MaxBatches, log)
	all.Keys = keys
	all.SearchAttributes = attributes.Usable
	if _, err := await(ctx, log, "PostgreSQL", all.SealKey, database.Unavailable); err != nil {
		return err
	}
	all.Feedback = c.Feedback()
	all.Mailbox = mailbox
	stop, err := await(ctx, log, "Temporal", func(context.Context) (func(), error) {
		return startWorkers(temporal.Client, c, all)
	}, temporalclient.Unreachable)
	if err != nil {
		return err
	}
	if c.InboundMailbox.IsSet() {
		if _, err := await(ctx, log, "Temporal", func(ctx context.Context) (client.WorkflowRun, error) {
			return startMailbox(ctx, temporal.Client, c.TaskQueue)
		}, temporalclient.Unreachable); err != nil {
			stop()
			return err
		}
	}
	ready.Store(true)
	log.Info("worker ready", "task_queue", c.TaskQueue, "namespace", temporal.Namespace, "drop_points", points.Names(),
		"sources", sources.Names(), "dkim", keys.Names(), "max_batches", c.MaxBatches)
	<-ctx.Done()
	ready.Store(false)
	log.Info("worker stopping", "at_most", c.StopTimeout)
	stop()
	back.close(c)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	all.Close(closing)
	log.Info("worker stopped")
	return nil
}

// warnOfPowers warns of sources whose role may do more than read. A source that does not answer now
// is not waited for.
func warnOfPowers(ctx context.Context, sources *query.Set, log *slog.Logger) {
	for _, name := range sources.Names() {
		powers, err := sources.Powers(ctx, name, 10*time.Second)
		switch {
		case err != nil && ctx.Err() == nil:
			log.Warn("a source cannot be used now", "source", name, "error", err)
		case len(powers) > 0:
			log.Warn(query.Advice(name, powers))
		}
	}
}

// closeTimeout is how long a worker that stops tries to write what it knows and the database does
// not.
const closeTimeout = 5 * time.Second

// startWorkers listens on the task queues, each with slots of its own.
func startWorkers(c client.Client, cfg config.Worker, a *activities.Activities) (stop func(), err error) {
	var running []worker.Worker
	stop = func() {
		var all sync.WaitGroup
		for _, w := range running {
			all.Go(w.Stop)
		}
		all.Wait()
	}
	// Temporal shows it with each worker, and keeps it in the histories. Without it, the SDK reads the
	// whole program to make a checksum.
	worker.SetBinaryChecksum(buildinfo.Read().ID())
	for _, q := range queuesOf(cfg) {
		pollers := worker.NewPollerBehaviorAutoscaling(worker.PollerBehaviorAutoscalingOptions{})
		if q.name == cfg.TaskQueue {
			// Temporal gives a task to the poller that has waited longest. With one poller each,
			// workers get batches in turn.
			pollers = worker.NewPollerBehaviorSimpleMaximum(
				worker.PollerBehaviorSimpleMaximumOptions{MaximumNumberOfPollers: 1},
			)
		}
		tuner, err := worker.NewFixedSizeTuner(worker.FixedSizeTunerOptions{NumActivitySlots: q.slots})
		if err != nil {
			stop()
			return nil, fmt.Errorf("set the slots of the worker on %s: %w", q.name, err)
		}
		if q.name == cfg.TaskQueue {
			tuner = sendTuner{tuner, a.SendSlots}
		}
		w := worker.New(c, q.name, worker.Options{
			Tuner:                 tuner,
			WorkerStopTimeout:     cfg.StopTimeout,
			DisableWorkflowWorker: q.name != cfg.TaskQueue,
			// A worker learns of a cancellation or termination from a heartbeat's answer. The
			// activities record a heartbeat once a second. With this throttle the SDK sends one at
			// least every two seconds.
			MaxHeartbeatThrottleInterval:     time.Second,
			DefaultHeartbeatThrottleInterval: time.Second,
			// The default of one second fails workflow tasks on a host without free processors.
			// Temporal itself gives a task ten.
			DeadlockDetectionTimeout:   10 * time.Second,
			WorkflowTaskPollerBehavior: worker.NewPollerBehaviorAutoscaling(worker.PollerBehaviorAutoscalingOptions{}),
			ActivityTaskPollerBehavior: pollers,
		})
		a.Register(w, cfg.TaskQueue, q.name)
		if q.name == cfg.TaskQueue {
			w.RegisterWorkflowWithOptions(workflows.Mailing, workflow.RegisterOptions{Name: workflows.MailingType})
			w.RegisterWorkflowWithOptions(workflows.MailingTest, workflow.RegisterOptions{Name: workflows.TestType})
			w.RegisterWorkflowWithOptions(workflows.Mailbox, workflow.RegisterOptions{Name: workflows.MailboxType})
		}
		if err := w.Start(); err != nil {
			stop()
			return nil, fmt.Errorf("start the worker on %s: %w", q.name, err)
		}
		running = append(running, w)
	}
	return stop, nil
}

// sendTuner gives the slots for sending.
type sendTuner struct {
	worker.WorkerTuner

	sends *activities.SendSlots
}

// GetActivityTaskSlotSupplier returns the slots for sending.
func (t sendTuner) GetActivityTaskSlotSupplier() worker.SlotSupplier { return t.sends }

// taskQueue is a task queue, and how many activities of it run at the same time.
type taskQueue struct {
	name  string
	slots int
}

func queuesOf(c config.Worker) []taskQueue {
	queues := []taskQueue{
		{policy.StepsQueue(c.TaskQueue), config.MaxSteps},
		{policy.PrepareQueue(c.TaskQueue), config.MaxPrepares},
		{policy.RenderQueue(c.TaskQueue), config.RenderSlots(c.MaxBatches)},
		{c.TaskQueue, c.MaxBatches},
	}
	if c.InboundMailbox.IsSet() { // a worker without the mailbox leaves its readings to the others
		queues = append(queues, taskQueue{policy.MailboxQueue(c.TaskQueue), 1})
	}
	return queues
}

// await calls connect until it succeeds, or fails with an error for which passing is false. It
// doubles the pause between two attempts, up to ten seconds.
func await[T any](ctx context.Context, log *slog.Logger, what string,
	connect func(context.Context) (T, error), passing func(error) bool) (T, error) {
	for pause := 250 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		v, err := connect(ctx)
		if err == nil || !passing(err) {
			return v, err
		}
		log.Warn("waiting for "+what, "error", err, "next_attempt_in", pause)
		select {
		case <-ctx.Done():
			return v, errors.Join(ctx.Err(), err)
		case <-time.After(pause):
		}
	}
}

// serveHealth answers /healthz while the process runs, and /readyz while the worker takes work.
func serveHealth(address string, ready *atomic.Bool, log *slog.Logger) (stop func(), err error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serve health checks at %s (DM_HEALTH_ADDRESS): %s", address, neterr.Reason(err))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !ready.Load() {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("health server ended", "error", err)
		}
	}()
	return func() { _ = server.Close() }, nil
}

// NewLogger returns the worker's log, as configured. It writes durations as people do, "250ms", in
// both formats.
func NewLogger(w io.Writer, c config.Worker) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.LogLevel, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Value.Kind() == slog.KindDuration {
			a.Value = slog.StringValue(a.Value.Duration().String())
		}
		return a
	}}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
