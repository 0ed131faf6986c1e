// Package process runs a worker: it connects to PostgreSQL and Temporal, waits for either if it is away, serves health, and stops
// gracefully.
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
	"directmailer/internal/config"
	"directmailer/internal/content/page"
	"directmailer/internal/database"
	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/temporalclient"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// Run works until ctx ends, then finishes or hands back what is in hand within the configured time. What is not there when it starts
// (PostgreSQL, Temporal) is waited for; a database that is not migrated is an error.
func Run(ctx context.Context, c config.Worker, log *slog.Logger) error {
	var ready atomic.Bool
	if c.HealthAddress != "" {
		stop, err := serveHealth(c.HealthAddress, &ready, log)
		if err != nil {
			return err
		}
		defer stop()
	}
	// One for each batch that is sent or rendered, for each list that is prepared, for each step, for the gate, and some to spare.
	pool, err := await(ctx, log, "PostgreSQL at "+database.Place(c.DatabaseURL), func(ctx context.Context) (*pgxpool.Pool, error) {
		pool, err := database.Open(ctx, c.DatabaseURL, int32(2*c.MaxBatches+maxPrepares+maxSteps+4))
		if err != nil {
			return nil, err
		}
		if err := database.CheckMigrated(ctx, pool); err != nil {
			pool.Close()
			return nil, err
		}
		return pool, nil
	}, database.Unavailable)
	if err != nil {
		return err
	}
	defer pool.Close()
	temporal, err := await(ctx, log, "Temporal", func(ctx context.Context) (*temporalclient.Cluster, error) {
		temporal, err := temporalclient.Dial(ctx, log)
		if err != nil {
			return nil, err
		}
		if err := temporal.RegisterSearchAttributes(ctx); err != nil {
			temporal.Close()
			return nil, err
		}
		return temporal, nil
	}, temporalclient.Unreachable)
	if err != nil {
		return err
	}
	defer temporal.Close()
	points := droppoint.NewSet(c.DropPoints)
	defer points.Close()
	sources := query.NewSet(c.Sources)
	pages := page.NewFetcher(c.PageHosts)
	defer pages.Close()
	all := activities.New(pool, points, sources, pages, log)
	stop, err := await(ctx, log, "Temporal", func(context.Context) (func(), error) {
		return startWorkers(temporal.Client, c, all)
	}, temporalclient.Unreachable)
	if err != nil {
		return err
	}
	ready.Store(true)
	log.Info("worker ready", "task_queue", c.TaskQueue, "namespace", temporal.Namespace, "drop_points", points.Names(), "sources", sources.Names(), "max_batches", c.MaxBatches)
	<-ctx.Done()
	ready.Store(false)
	log.Info("worker stopping", "at_most", c.StopTimeout)
	stop()
	log.Info("worker stopped")
	return nil
}

// maxPrepares bounds the lists that are prepared at the same time, maxSteps the short activities: opening, closing, and what operators ask for.
const maxPrepares, maxSteps = 8, 8

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
	for _, q := range []struct {
		name  string
		slots int
	}{{policy.StepsQueue(cfg.TaskQueue), maxSteps}, {policy.PrepareQueue(cfg.TaskQueue), maxPrepares}, {policy.RenderQueue(cfg.TaskQueue), cfg.MaxBatches}, {cfg.TaskQueue, cfg.MaxBatches}} {
		pollers := worker.NewPollerBehaviorAutoscaling(worker.PollerBehaviorAutoscalingOptions{})
		if q.name == cfg.TaskQueue {
			// Temporal gives a batch to whoever has waited longest: with one poller each, workers take turns.
			pollers = worker.NewPollerBehaviorSimpleMaximum(worker.PollerBehaviorSimpleMaximumOptions{MaximumNumberOfPollers: 1})
		}
		w := worker.New(c, q.name, worker.Options{
			MaxConcurrentActivityExecutionSize: q.slots,
			WorkerStopTimeout:                  cfg.StopTimeout,
			DisableWorkflowWorker:              q.name != cfg.TaskQueue,
			// A worker learns of a cancellation or termination from a heartbeat's answer. The
			// activities beat once a second, so with this throttle the worker asks at least every
			// two seconds.
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
		}
		if err := w.Start(); err != nil {
			stop()
			return nil, fmt.Errorf("start the worker on %s: %w", q.name, err)
		}
		running = append(running, w)
	}
	return stop, nil
}

// await calls connect until it works, or fails for another reason than that the other side is away.
func await[T any](ctx context.Context, log *slog.Logger, what string, connect func(context.Context) (T, error), away func(error) bool) (T, error) {
	for pause := 250 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		v, err := connect(ctx)
		if err == nil || !away(err) {
			return v, err
		}
		log.Warn("waiting for "+what, "error", err, "next_try_in", pause)
		select {
		case <-ctx.Done():
			return v, errors.Join(ctx.Err(), err)
		case <-time.After(pause):
		}
	}
}

// serveHealth answers /healthz as long as the process lives and /readyz while it takes work.
func serveHealth(address string, ready *atomic.Bool, log *slog.Logger) (stop func(), err error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("DM_HEALTH_ADDRESS: %w", err)
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

// NewLogger returns the worker's log, as configured.
func NewLogger(w io.Writer, c config.Worker) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
