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
	"directmailer/internal/content/render"
	"directmailer/internal/database"
	"directmailer/internal/delivery/spool"
	"directmailer/internal/feedback"
	"directmailer/internal/feedback/mailbox"
	"directmailer/internal/foreign"
	"directmailer/internal/ledger"
	"directmailer/internal/temporalclient"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// attemptCounts counts the attempts that failed, by the resource that failed. The details of
// heartbeats carry the counts from attempt to attempt. So a crash of the worker, which ends an
// attempt as well, does not count as a failure of the database.
type attemptCounts struct {
	Database int `json:"database,omitempty"`
	Page     int `json:"page,omitempty"`
	List     int `json:"list,omitempty"`
	Bug      int `json:"bug,omitempty"`
	// Busy counts the workers that had no room for the work, Absent the workers that have none of
	// its drop points, or lack the mailing's token key.
	Busy   int `json:"busy,omitempty"`
	Absent int `json:"absent,omitempty"`
	// Slow counts how often slow work had to wait for a slot.
	Slow int `json:"slow,omitempty"`
}

// previousCounts returns the counts of the previous attempt.
func previousCounts(ctx context.Context) (c attemptCounts) {
	if activity.HasHeartbeatDetails(ctx) {
		_ = activity.GetHeartbeatDetails(ctx, &c) // on an error, counting starts from zero
	}
	return c
}

// attempt runs one attempt of an activity: it sends heartbeats while do runs, and turns the error
// of do into an error with a type of package policy.
func attempt[T any](ctx context.Context, retry workflows.Retries, do func(ctx context.Context) (T, error)) (T, error) {
	failures := previousCounts(ctx)
	ctx = temporalclient.WatchHeartbeats(ctx)
	stop := sync.OnceFunc(sendHeartbeats(ctx, failures))
	defer stop() // also after a panic of do
	result, err := do(ctx)
	stop()
	if err == nil {
		return result, nil
	}
	var none T
	return none, decide(ctx, retry, &failures, err)
}

// sendHeartbeats sends heartbeats until stop is called. Temporal takes a worker without heartbeats
// for dead. The answer of a heartbeat tells of a cancellation. Heartbeats go on after it, because
// the attempt may wait for the answer of a server: if Temporal took the attempt for dead, that
// recipient would become uncertain. A heartbeat without an answer changes nothing
// ([temporalclient.TolerateSilence]).
func sendHeartbeats(ctx context.Context, failures attemptCounts) (stop func()) {
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

// failure is an error with a type of package policy. Temporal shows its text, which names no
// recipient.
type failure struct {
	kind    policy.ErrorType
	text    string
	details []any
	after   time.Duration // the pause that a server has asked for; 0 if it has not
}

func (f *failure) Error() string { return f.text }

// failf returns a failure.
func failf(kind policy.ErrorType, format string, args ...any) error {
	return &failure{kind: kind, text: fmt.Sprintf(format, args...)}
}

// maxFailure is the length limit of a failure's text, in octets. Temporal keeps the text of each
// attempt that is the last of an activity.
const maxFailure = 4 << 10

// classify returns err as a failure, whose text is cut.
func classify(err error) *failure {
	f := *typed(err)
	f.text = foreign.Cut(foreign.Clean(f.text), maxFailure)
	return &f
}

func typed(err error) *failure {
	var f *failure
	var unreachable *page.Unavailable
	var noSource *query.Unavailable
	var fault *query.Fault
	var noKey *feedback.NoKeyError
	var noMailbox *mailbox.UnavailableError
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &noKey):
		return &failure{kind: policy.NoTokenKey, text: noKey.Error()}
	case errors.As(err, &noMailbox):
		return &failure{kind: policy.MailboxUnavailable, text: noMailbox.Error()}
	case errors.As(err, &unreachable):
		text := "the page server is unavailable: " + unreachable.Cause
		return &failure{kind: policy.PageUnavailable, text: text, after: unreachable.RetryAfter}
	case errors.As(err, &noSource):
		return &failure{kind: policy.SourceUnavailable, text: noSource.Error()}
	case errors.As(err, &fault):
		return &failure{kind: policy.ListUnusable, text: fault.Error()}
	case errors.Is(err, ledger.ErrFenced):
		return &failure{kind: policy.BatchTaken, text: ledger.ErrFenced.Error()}
	case errors.Is(err, ledger.ErrNoSpool):
		return &failure{kind: policy.SpoolMissing, text: ledger.ErrNoSpool.Error()}
	case errors.Is(err, ledger.ErrPoison):
		return &failure{kind: policy.PoisonBatch, text: ledger.ErrPoison.Error() + ": a template or a recipient's data " +
			"may need more memory than they have. Look at the workers' logs and memory, then resume or cancel the mailing"}
	case errors.Is(err, render.ErrBatchTooSlow):
		return &failure{kind: policy.BatchTooLarge, text: render.ErrBatchTooSlow.Error()}
	case errors.Is(err, spool.ErrTooLarge):
		return &failure{kind: policy.BatchTooLarge, text: spool.ErrTooLarge.Error()}
	case errors.Is(err, ledger.ErrTooLarge):
		return &failure{kind: policy.BatchTooLarge, text: ledger.ErrTooLarge.Error()}
	case database.Unavailable(err):
		return &failure{kind: policy.DatabaseUnavailable, text: database.Reason(err)}
	}
	return &failure{kind: policy.Unexpected, text: database.Redact(err)}
}

// maxAbsent is the number of workers without any of the drop points, or without the token key, that
// an activity is offered to before that counts as a failure.
const maxAbsent = 20

// decide applies the retry settings of the mailing to the error: whether there is another attempt,
// and when.
func decide(ctx context.Context, retry workflows.Retries, failures *attemptCounts, err error) error {
	f := classify(err)
	switch {
	case ctx.Err() == nil:
	case errors.Is(context.Cause(ctx), worker.ErrWorkerShutdown): // err is a consequence of the shutdown
		f = &failure{kind: policy.WorkerStopping, text: "the worker had to stop before the work was done"}
	default: // cancelled, timed out, paused, or unknown to Temporal
		return ctx.Err()
	}
	if f.kind == policy.NoDropPoint && failures.Absent >= maxAbsent {
		f = &failure{kind: policy.DropPointUnavailable, text: f.text}
	}
	if f.kind == policy.NoTokenKey && failures.Absent >= maxAbsent {
		f = &failure{kind: policy.Unexpected, text: f.text}
	}
	if policy.HandsOver(f.kind) {
		return handOver(ctx, failures, f)
	}
	var setting workflows.Retry
	var count *int
	pause := time.Duration(0) // the growing pause of the retry policy
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
		options := temporal.ApplicationErrorOptions{NonRetryable: true, Details: f.details}
		return temporal.NewApplicationErrorWithOptions(f.text, f.kind, options)
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

// handOver returns the error that offers the work to another worker. Nothing has failed.
func handOver(ctx context.Context, failures *attemptCounts, f *failure) error {
	n := 0
	switch f.kind {
	case policy.WorkerBusy:
		failures.Busy++
		n = failures.Busy
	case policy.NoDropPoint, policy.NoTokenKey:
		failures.Absent++
		n = failures.Absent
	case policy.SlotsTaken:
		failures.Slow++
		n = failures.Slow
	}
	if n > 0 {
		activity.RecordHeartbeat(ctx, *failures)
	}
	return temporal.NewApplicationErrorWithOptions(f.text, f.kind, temporal.ApplicationErrorOptions{
		NextRetryDelay: policy.HandOverPause(f.kind, n),
		Category:       temporal.ApplicationErrorCategoryBenign, // not logged as a failure
	})
}
