package activities

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"directmailer/internal/audience/query"
	"directmailer/internal/content/page"
	"directmailer/internal/database"
	"directmailer/internal/delivery/spool"
	"directmailer/internal/ledger"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// tally counts, by what failed, the attempts that failed. It travels from attempt to attempt in the heartbeat's details, so that a
// crash of the worker, which also ends an attempt, is not counted to a database or a drop point.
type tally struct {
	Database int `json:"database,omitempty"`
	Page     int `json:"page,omitempty"`
	List     int `json:"list,omitempty"`
	Bug      int `json:"bug,omitempty"`
	// Busy and Absent count the workers that had no room for the work, and those that know none of its drop points.
	Busy   int `json:"busy,omitempty"`
	Absent int `json:"absent,omitempty"`
}

// earlier returns what earlier attempts of the activity have counted.
func earlier(ctx context.Context) (t tally) {
	if activity.HasHeartbeatDetails(ctx) {
		_ = activity.GetHeartbeatDetails(ctx, &t) // a hint: without it counting starts anew
	}
	return t
}

// attempt runs one attempt of an activity: it beats while do works, and turns do's error into one
// of the policy's types.
func attempt[T any](ctx context.Context, retry workflows.Retries, do func(ctx context.Context) (T, error)) (T, error) {
	failures := earlier(ctx)
	stop := sync.OnceFunc(beat(ctx, failures))
	defer stop() // also when do panics
	result, err := do(ctx)
	stop()
	if err == nil {
		return result, nil
	}
	var none T
	return none, decide(ctx, retry, &failures, err)
}

// beat heartbeats until stop is called; a worker that is silent is taken for dead. Heartbeats also bring the news of a cancellation, and
// go on after it: an answer that is still waited for would be given up as uncertain if the attempt were taken for dead meanwhile.
func beat(ctx context.Context, failures tally) (stop func()) {
	alive := context.WithoutCancel(ctx)
	activity.RecordHeartbeat(alive, failures)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				activity.RecordHeartbeat(alive, failures)
			}
		}
	}()
	return func() { close(done); <-ended }
}

// failure is an error of a policy's type. Its text is safe to be shown in Temporal: it names no recipient.
type failure struct {
	kind    policy.ErrorType
	text    string
	details []any
	after   time.Duration // how long the other side wants to be left alone; 0 when it has not said
}

func (f *failure) Error() string { return f.text }

func fail(kind policy.ErrorType, format string, args ...any) error {
	return &failure{kind: kind, text: fmt.Sprintf(format, args...)}
}

// classify gives err its type.
func classify(err error) *failure {
	var f *failure
	var away *page.Unavailable
	var gone *query.Unavailable
	var fault *query.Fault
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &away):
		return &failure{kind: policy.PageUnavailable, text: "the page server is unavailable: " + away.Cause, after: away.RetryAfter}
	case errors.As(err, &gone):
		return &failure{kind: policy.SourceUnavailable, text: gone.Error()}
	case errors.As(err, &fault):
		return &failure{kind: policy.ListUnusable, text: fault.Error()}
	case errors.Is(err, ledger.ErrFenced):
		return &failure{kind: policy.BatchTaken, text: ledger.ErrFenced.Error()}
	case errors.Is(err, ledger.ErrNoSpool):
		return &failure{kind: policy.SpoolMissing, text: ledger.ErrNoSpool.Error()}
	case errors.Is(err, spool.ErrTooLarge):
		return &failure{kind: policy.BatchTooLarge, text: spool.ErrTooLarge.Error()}
	case errors.Is(err, ledger.ErrTooLarge):
		return &failure{kind: policy.BatchTooLarge, text: ledger.ErrTooLarge.Error()}
	case database.Unavailable(err):
		return &failure{kind: policy.DatabaseUnavailable, text: database.Reason(err)}
	}
	return &failure{kind: policy.Unexpected, text: database.Redact(err)}
}

// mostAbsent is how many workers that know none of the drop points are asked before that counts as
// a failure of the drop points.
const mostAbsent = 20

// decide is where the retry settings of the mailing meet the error: which are tried again, when, and how often.
func decide(ctx context.Context, retry workflows.Retries, failures *tally, err error) error {
	f := classify(err)
	switch {
	case ctx.Err() == nil:
	case errors.Is(context.Cause(ctx), worker.ErrWorkerShutdown): // what err says comes of our own end, and is nobody's fault
		f = &failure{kind: policy.WorkerStopping, text: "the worker had to stop before the work was done"}
	default: // cancelled, out of time, paused, or forgotten by Temporal
		return ctx.Err()
	}
	if f.kind == policy.NoDropPoint && failures.Absent >= mostAbsent {
		f = &failure{kind: policy.DropPointUnavailable, text: f.text}
	}
	if policy.HandsOver(f.kind) {
		return handOver(ctx, failures, f)
	}
	var setting workflows.Retry
	var count *int
	pause := time.Duration(0) // that of the retry policy, which grows
	switch policy.SettingOf(f.kind) {
	case policy.Database:
		setting, count = retry.Database, &failures.Database
	case policy.Page:
		setting, count = retry.Page, &failures.Page
	case policy.List:
		setting, count = retry.List, &failures.List
	case policy.Bug:
		setting, count = workflows.Retry{Attempts: policy.UnexpectedAttempts}, &failures.Bug
	default: // permanent
		return temporal.NewApplicationErrorWithOptions(f.text, f.kind, temporal.ApplicationErrorOptions{NonRetryable: true, Details: f.details})
	}
	*count++
	activity.RecordHeartbeat(ctx, *failures)
	if setting.Interval > 0 {
		pause = max(time.Duration(setting.Interval), f.after)
	}
	text := fmt.Sprintf("%s (attempt %d of %d)", f.text, *count, setting.Attempts)
	return temporal.NewApplicationErrorWithOptions(text, f.kind, temporal.ApplicationErrorOptions{
		NonRetryable: *count >= setting.Attempts, NextRetryDelay: pause, Details: f.details})
}

// handOver gives the work to another worker. Nothing has failed.
func handOver(ctx context.Context, failures *tally, f *failure) error {
	n := 0
	switch f.kind {
	case policy.WorkerBusy:
		failures.Busy++
		n = failures.Busy
	case policy.NoDropPoint:
		failures.Absent++
		n = failures.Absent
	}
	if n > 0 {
		activity.RecordHeartbeat(ctx, *failures)
	}
	return temporal.NewApplicationErrorWithOptions(f.text, f.kind, temporal.ApplicationErrorOptions{
		NextRetryDelay: policy.HandOverPause(f.kind, n), Category: temporal.ApplicationErrorCategoryBenign}) // not logged as a failure
}
