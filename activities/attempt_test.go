package activities

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"directmailer/internal/audience/query"
	"directmailer/internal/content/page"
	"directmailer/internal/content/render"
	"directmailer/internal/delivery/spool"
	"directmailer/internal/feedback"
	"directmailer/internal/feedback/mailbox"
	"directmailer/internal/ledger"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

const (
	forever = 1 << 30
	many    = 9 // the SDK's test environment stops at ten attempts where the policy sets no limit
)

var retries = workflows.Retries{
	List:      workflows.Retry{Attempts: 5, Interval: workflows.Duration(5 * time.Second)},
	Database:  workflows.Retry{Attempts: 4, Interval: workflows.Duration(20 * time.Second)},
	Page:      workflows.Retry{Attempts: 3, Interval: workflows.Duration(10 * time.Second)},
	DropPoint: workflows.Retry{Attempts: 2, Interval: workflows.Duration(time.Minute)},
}

// run is the result of an activity: the number of its attempts, its time by the workflow's clock,
// and its last error.
type run struct {
	attempts int
	took     time.Duration
	err      error
}

// tryUntilDone runs an activity with the options of its policy. Each attempt ends with the error
// that fail returns.
func tryUntilDone(t *testing.T, fail func(attempt int) error) (r run) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(time.Minute)
	// The default of one second is too short for a machine without free processors.
	env.SetWorkerOptions(worker.Options{DeadlockDetectionTimeout: time.Minute})
	env.RegisterActivityWithOptions(func(ctx context.Context) (string, error) {
		r.attempts++
		return attempt(ctx, retries, func(context.Context) (string, error) { return "done", fail(r.attempts) })
	}, activity.RegisterOptions{Name: policy.SendBatch})
	env.ExecuteWorkflow(func(ctx workflow.Context) error {
		began := workflow.Now(ctx)
		answer, err := one(ctx)
		r.took = workflow.Now(ctx).Sub(began)
		if err == nil && answer != "done" {
			t.Errorf("answered %q", answer)
		}
		return err
	})
	if !env.IsWorkflowCompleted() {
		t.Fatal("the workflow has not ended")
	}
	r.err = env.GetWorkflowError()
	return r
}

func alwaysFail(err error) func(int) error { return func(int) error { return err } }

// failFirst returns a function that fails n times.
func failFirst(n int, err error) func(int) error {
	return func(attempt int) error {
		if attempt > n {
			return nil
		}
		return err
	}
}

// perType has the number of attempts of an activity that always fails with an error of the type.
var perType = map[policy.ErrorType]int{
	policy.InvalidInput:         1,
	policy.MailingExists:        1,
	policy.ListUnusable:         1,
	policy.BatchTooLarge:        1,
	policy.NothingRendered:      1,
	policy.PoisonBatch:          1,
	policy.SpoolMissing:         1,
	policy.DatabaseUnavailable:  4,
	policy.SourceUnavailable:    5,
	policy.PageUnavailable:      3,
	policy.DropPointUnavailable: 1,
	policy.DropPointRefuses:     1,
	policy.MailboxUnavailable:   1,
	policy.WorkerStopping:       forever,
	policy.BatchTaken:           forever,
	policy.WorkerBusy:           forever,
	policy.NoDropPoint:          forever,
	policy.NoTokenKey:           forever,
	policy.SlotsTaken:           forever,
	policy.Unexpected:           policy.UnexpectedAttempts,
}

func TestEachErrorTypeIsTriedAsOftenAsItsSettingSays(t *testing.T) {
	t.Parallel()
	for kind, attempts := range perType {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			if attempts == forever {
				if r := tryUntilDone(t, failFirst(many, failf(kind, "something"))); r.attempts != many+1 ||
					r.err != nil {
					t.Errorf("%d attempts, then %v: want %d and success", r.attempts, r.err, many+1)
				}
				return
			}
			r := tryUntilDone(t, alwaysFail(failf(kind, "something")))
			var app *temporal.ApplicationError
			if r.attempts != attempts || !errors.As(r.err, &app) || app.Type() != kind || !app.NonRetryable() {
				t.Fatalf("%d attempts, then %v: want %d and a final error of the type", r.attempts, r.err, attempts)
			}
			want := "something"
			if attempts > 1 {
				want = fmt.Sprintf("something (attempt %d of %d)", attempts, attempts)
			}
			if app.Message() != want {
				t.Errorf("got %q, want %q", app.Message(), want)
			}
			if attempts > 1 { // and the last success is not too late
				if r := tryUntilDone(t, failFirst(attempts-1, failf(kind, "something"))); r.attempts != attempts ||
					r.err != nil {
					t.Errorf("%d attempts, then %v: want %d and success", r.attempts, r.err, attempts)
				}
			}
		})
	}
}

func TestTheTestKnowsEveryErrorType(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "../workflows/policy/policy.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "ErrorType" {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if _, known := perType[value]; err != nil || !known {
				t.Errorf("%s (%v) is not in the table of this test", value, err)
			}
			declared++
		}
		return true
	})
	if declared != len(perType) {
		t.Errorf("%d types are declared, the test has %d", declared, len(perType))
	}
}

func TestThePauseIsTheSettingsOwn(t *testing.T) {
	t.Parallel()
	for kind, want := range map[policy.ErrorType]time.Duration{
		policy.DatabaseUnavailable: 3 * 20 * time.Second,
		policy.SourceUnavailable:   4 * 5 * time.Second,
		policy.PageUnavailable:     2 * 10 * time.Second,
	} {
		if r := tryUntilDone(t, alwaysFail(failf(kind, "away"))); r.took < want || r.took > want+time.Second {
			t.Errorf("%s: given up after %s, want %s", kind, r.took, want)
		}
	}
	if r := tryUntilDone(t, failFirst(many, failf(policy.WorkerStopping, "stops"))); r.took > time.Second {
		t.Errorf("%d handovers between workers took %s", many, r.took)
	}
	if r := tryUntilDone(t, failFirst(many, errors.New("a fault"))); r.took < time.Minute ||
		r.took > many*30*time.Second {
		t.Errorf("%d unexpected errors took %s: the pauses must grow from 1 s to 30 s", many, r.took)
	}
}

func TestEachResourceIsCountedByItselfFromAttemptToAttempt(t *testing.T) {
	t.Parallel()
	errs := []error{
		failf(policy.DatabaseUnavailable, "away"), failf(policy.WorkerStopping, "stops"),
		failf(policy.DatabaseUnavailable, "away"), failf(policy.PageUnavailable, "away"),
		errors.New("a fault"), ledger.ErrFenced, failf(policy.PageUnavailable, "away"),
		failf(policy.DatabaseUnavailable, "away"), failf(policy.PageUnavailable, "is gone"), nil,
	}
	r := tryUntilDone(t, func(attempt int) error { return errs[attempt-1] })
	if r.attempts != 9 || !strings.Contains(r.err.Error(), "is gone (attempt 3 of 3)") {
		t.Errorf("%d attempts, then %v: want the ninth to be the page server's third and last", r.attempts, r.err)
	}
}

func TestAnErrorHasTheTypeOfItsCause(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want policy.ErrorType
	}{
		{ledger.ErrFenced, policy.BatchTaken},
		{ledger.ErrNoSpool, policy.SpoolMissing},
		{ledger.ErrPoison, policy.PoisonBatch},
		{render.ErrBatchTooSlow, policy.BatchTooLarge},
		{&query.Unavailable{}, policy.SourceUnavailable},
		{&query.Fault{}, policy.ListUnusable},
		{&page.Unavailable{}, policy.PageUnavailable},
		{&mailbox.UnavailableError{}, policy.MailboxUnavailable},
		{&feedback.NoKeyError{}, policy.NoTokenKey},
		{ledger.ErrTooLarge, policy.BatchTooLarge},
		{spool.ErrTooLarge, policy.BatchTooLarge},
		{failf(policy.PageUnavailable, "x"), policy.PageUnavailable},
		{&pgconn.PgError{Code: "57P01"}, policy.DatabaseUnavailable},
		{&pgconn.PgError{Code: "53300"}, policy.DatabaseUnavailable},
		{&pgconn.PgError{Code: "23505"}, policy.Unexpected},
		{errors.New("x"), policy.Unexpected},
	} {
		if got := classify(fmt.Errorf("while working: %w", c.err)).kind; got != c.want {
			t.Errorf("%v: got %s, want %s", c.err, got, c.want)
		}
	}
	if n := len(classify(errors.New(strings.Repeat("x", 1<<20))).text); n > maxFailure+3 {
		t.Errorf("the text of a failure has %d octets", n)
	}
}

func TestPostgreSQLsOwnWordsStayOutOfErrors(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"23505", "22P02", "57P01", "53300", "XX000"} {
		quoted := &pgconn.PgError{
			Severity: "ERROR", Code: code, Message: `invalid input "ann@example.com"`,
			Detail: "Key (address_key)=(ann@example.com) already exists.",
			Hint:   "ann@example.com", Where: "COPY list_members, line 7: ann@example.com",
		}
		var app *temporal.ApplicationError
		err := decideOutside(t, fmt.Errorf("store the batch: %w", errors.Join(errors.New("one"), quoted)))
		if !errors.As(err, &app) {
			t.Fatalf("%s: got %v", code, err)
		}
		if text := fmt.Sprintf("%v %+v %v", app, app, app.HasDetails()); strings.Contains(text, "ann") ||
			!strings.Contains(text, code) {
			t.Errorf("%s: %s", code, text)
		}
		if app.Unwrap() != nil {
			t.Errorf("%s: the cause would travel too: %v", code, app.Unwrap())
		}
	}
}

// decideOutside has an activity's first attempt fail with err and returns what Temporal is told.
func decideOutside(t *testing.T, err error) error {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	failing := func(ctx context.Context) error {
		_, out := attempt(ctx, retries, func(context.Context) (string, error) { return "", err })
		return out
	}
	env.RegisterActivity(failing)
	_, out := env.ExecuteActivity(failing)
	return out
}

func TestProblemsOfAnInputTravelFieldByField(t *testing.T) {
	t.Parallel()
	problems := []workflows.Problem{{Field: "from", Message: "is missing"}, {Field: "list", Message: "is missing"}}
	var app *temporal.ApplicationError
	if err := decideOutside(t, invalid(problems)); !errors.As(err, &app) ||
		app.Message() != "invalid input: from: is missing; list: is missing" {
		t.Fatalf("got %v", err)
	}
	var got []workflows.Problem
	if err := app.Details(&got); err != nil || !reflect.DeepEqual(got, problems) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestACancelledAttemptIsCountedToNobody(t *testing.T) {
	t.Parallel()
	away := &pgconn.PgError{Code: "57P01"} // as a connection that is torn off looks
	t.Run("cancelled by Temporal", func(t *testing.T) {
		t.Parallel()
		var counted attemptCounts
		if err := decide(endedBy(t, temporal.NewCanceledError()), retries, &counted, away); err != context.Canceled ||
			counted != (attemptCounts{}) {
			t.Errorf("got %v, %+v", err, counted)
		}
	})
	t.Run("out of time", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
		defer cancel()
		var counted attemptCounts
		if err := decide(ctx, retries, &counted, away); err != context.DeadlineExceeded ||
			counted != (attemptCounts{}) {
			t.Errorf("got %v, %+v", err, counted)
		}
	})
	t.Run("forgotten by Temporal", func(t *testing.T) {
		t.Parallel()
		var counted attemptCounts
		err := decide(endedBy(t, errors.New("activity not found")), retries, &counted, away)
		if err != context.Canceled || counted != (attemptCounts{}) {
			t.Errorf("got %v, %+v", err, counted)
		}
	})
	t.Run("the worker's time to stop is over", func(t *testing.T) {
		t.Parallel()
		var counted attemptCounts
		var app *temporal.ApplicationError
		err := decide(endedBy(t, worker.ErrWorkerShutdown), retries, &counted, away)
		if !errors.As(err, &app) || app.Type() != policy.WorkerStopping || app.NonRetryable() ||
			app.NextRetryDelay() != policy.HandOverPause(policy.WorkerStopping, 0) ||
			counted != (attemptCounts{}) {
			t.Errorf("got %v, %+v: want a handover to another worker", err, counted)
		}
	})
}

// endedBy is an activity's context as the SDK builds it, ended for the cause.
func endedBy(t *testing.T, cause error) context.Context {
	above, cancel := context.WithCancelCause(t.Context())
	ctx, done := context.WithDeadline(above, time.Now().Add(time.Hour))
	t.Cleanup(done)
	cancel(cause)
	return ctx
}

func TestEveryActivityIsBoundedAndHeard(t *testing.T) {
	t.Parallel()
	for _, name := range policy.Names() {
		o := policy.Options(name, "a summary", "q", "m")
		if o.HeartbeatTimeout <= 0 || o.HeartbeatTimeout >= o.StartToCloseTimeout ||
			o.StartToCloseTimeout > o.ScheduleToCloseTimeout {
			t.Errorf("%s: heartbeat %s, start to close %s, schedule to close %s",
				name, o.HeartbeatTimeout, o.StartToCloseTimeout, o.ScheduleToCloseTimeout)
		}
		if o.HeartbeatTimeout != 10*time.Second || !o.WaitForCancellation || o.Summary != "a summary" {
			t.Errorf("%s: %+v", name, o)
		}
		if r := o.RetryPolicy; r == nil || r.MaximumAttempts != 0 || r.InitialInterval <= 0 ||
			r.MaximumInterval < r.InitialInterval ||
			len(r.NonRetryableErrorTypes) > 0 {
			t.Errorf("%s: retries %+v", name, r)
		}
		o.RetryPolicy.MaximumAttempts = 1
		if policy.Options(name, "", "q", "m").RetryPolicy.MaximumAttempts != 0 {
			t.Errorf("%s: one call's options are another's", name)
		}
	}
}

// registry keeps the names that are registered.
type registry struct {
	worker.ActivityRegistry
	names []string
}

func (r *registry) RegisterActivityWithOptions(_ any, o activity.RegisterOptions) {
	r.names = append(r.names, o.Name)
}

func TestThePolicyNamesWhatIsRegistered(t *testing.T) {
	t.Parallel()
	var r registry
	for _, queue := range []string{"q", policy.RenderQueue("q"), policy.PrepareQueue("q"), policy.StepsQueue("q"),
		policy.MailboxQueue("q")} {
		before := len(r.names)
		if (&Activities{}).Register(&r, "q", queue); len(r.names) == before {
			t.Errorf("nothing is done in %s", queue)
		}
	}
	want := append(policy.Names(), policy.LocalNames()...)
	slices.Sort(want)
	slices.Sort(r.names)
	if !slices.Equal(r.names, want) {
		t.Errorf("registered %q, the policy has %q", r.names, want)
	}
}

// The text is the reason of a suspended mailing.
func TestAFailureOfTheDatabaseSaysWhatToChange(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]*failure{
		"53300": {kind: policy.DatabaseUnavailable, text: "max_connections"},
		"57014": {kind: policy.DatabaseUnavailable, text: "statement_timeout"},
		"25006": {kind: policy.DatabaseUnavailable, text: "target_session_attrs"},
		"42501": {kind: policy.Unexpected, text: "grant the role"},
		"42P01": {kind: policy.Unexpected, text: "starter migrate"},
		"26000": {kind: policy.Unexpected, text: "default_query_exec_mode"},
	} {
		f := classify(fmt.Errorf("claim the batch: %w", &pgconn.PgError{Code: code, Message: "secret@example.com"}))
		if f.kind != want.kind || !strings.Contains(f.text, want.text) || strings.Contains(f.text, "secret") {
			t.Errorf("%s: %s: %s", code, f.kind, f.text)
		}
	}
}
