package activities

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"directmailer/internal/feedback"
	"directmailer/internal/feedback/token/tokentest"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// A worker with an older environment must not render: its links would be read by nobody.
func TestAWorkerWithoutTheMailingsTokenKeyLeavesItsBatchesToOthers(t *testing.T) {
	t.Parallel()
	pool, a := prepared(t, 3, workflows.Content{Text: "Hello"})
	opened := feedback.Settings{Keys: tokentest.Keys(t, "n"), PublicURL: "https://mail.example.com"}
	if _, err := pool.Exec(t.Context(), `UPDATE mailings SET marks = $1`, opened.Marks()); err != nil {
		t.Fatal(err)
	}
	a.Feedback.Keys = tokentest.Keys(t, "o")
	_, err := renderOnce(t, a)
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.Type() != policy.NoTokenKey {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(app.Message(), "set DM_TOKEN_KEYS alike on every worker") || spooled(t, pool) != nil {
		t.Errorf("got %v, and a spool of %d octets", err, len(spooled(t, pool)))
	}
	a.Feedback.Keys = tokentest.Keys(t, "x", "n") // rotated: the key is no longer the first
	if out, err := renderOnce(t, a); err != nil || out.Messages != 3 {
		t.Errorf("with the key: %v, %v", out, err)
	}
}

func TestALackingTokenKeySuspendsTheMailingInTheEnd(t *testing.T) {
	t.Parallel()
	var noKey error = &feedback.NoKeyError{Key: "0123456789abcdef"}
	noPoint := failf(policy.NoDropPoint, "no drop point named a")
	for _, c := range []struct {
		err    error
		absent int
		want   policy.ErrorType
	}{
		{noKey, maxAbsent - 1, policy.NoTokenKey},
		{noKey, maxAbsent, policy.Unexpected},
		{noPoint, maxAbsent - 1, policy.NoDropPoint},
		{noPoint, maxAbsent, policy.DropPointUnavailable},
	} {
		var suite testsuite.WorkflowTestSuite
		env := suite.NewTestActivityEnvironment()
		env.SetTestTimeout(time.Minute)
		env.SetHeartbeatDetails(attemptCounts{Absent: c.absent})
		env.RegisterActivityWithOptions(func(ctx context.Context) error {
			_, err := attempt(ctx, retries, func(context.Context) (int, error) { return 0, c.err })
			return err
		}, activity.RegisterOptions{Name: "lacking"})
		_, err := env.ExecuteActivity("lacking")
		var app *temporal.ApplicationError
		if !errors.As(err, &app) || app.Type() != c.want || !strings.Contains(app.Message(), c.err.Error()) {
			t.Errorf("%v after %d workers: got %v, want %s", c.err, c.absent, err, c.want)
		}
	}
}
