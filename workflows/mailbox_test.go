package workflows_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// runMailbox runs the workflow with answers of ReadMailbox, and then until the end of the test's
// patience. It returns the times between two readings.
func runMailbox(t *testing.T, in workflows.MailboxInput, change func(*testsuite.TestWorkflowEnvironment),
	answers ...func() (workflows.MailboxRead, error)) (pauses []time.Duration, env *testsuite.TestWorkflowEnvironment) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetDisableRegistrationAliasing(true)
	suite.SetLogger(slog.New(slog.DiscardHandler))
	env = suite.NewTestWorkflowEnvironment()
	env.SetWorkerOptions(worker.Options{DeadlockDetectionTimeout: time.Minute})
	env.SetTestTimeout(time.Minute)
	env.RegisterWorkflowWithOptions(workflows.Mailbox, workflow.RegisterOptions{Name: workflows.MailboxType})
	var last time.Time
	read := func(context.Context, workflows.MailboxCall) (workflows.MailboxRead, error) {
		if !last.IsZero() {
			pauses = append(pauses, env.Now().Sub(last).Round(time.Second))
		}
		last = env.Now()
		if len(answers) == 0 {
			env.CancelWorkflow()
			return workflows.MailboxRead{}, nil
		}
		answer := answers[0]
		answers = answers[1:]
		return answer()
	}
	env.RegisterActivityWithOptions(read, activity.RegisterOptions{Name: policy.ReadMailbox})
	if change != nil {
		change(env)
	}
	env.ExecuteWorkflow(workflows.MailboxType, in)
	if !env.IsWorkflowCompleted() {
		t.Fatal("the workflow has not ended")
	}
	return pauses, env
}

func found(r workflows.MailboxRead) func() (workflows.MailboxRead, error) {
	return func() (workflows.MailboxRead, error) { return r, nil }
}

func unavailable() (workflows.MailboxRead, error) {
	return workflows.MailboxRead{}, temporal.NewNonRetryableApplicationError(
		"the mailbox is unavailable: log in: the server answers NO", policy.MailboxUnavailable, nil)
}

func TestAMailboxIsReadAtItsIntervalAndAtOnceWhileThereIsMore(t *testing.T) {
	t.Parallel()
	pauses, env := runMailbox(t, workflows.MailboxInput{}, nil,
		found(workflows.MailboxRead{Messages: 500, Reports: 400, Events: 390, More: true}),
		found(workflows.MailboxRead{Messages: 3}), found(workflows.MailboxRead{}))
	want := []time.Duration{0, time.Minute, time.Minute}
	if len(pauses) != 3 || pauses[0] != want[0] || pauses[1] != want[1] || pauses[2] != want[2] {
		t.Errorf("the pauses are %v, want %v", pauses, want)
	}
	if err := env.GetWorkflowError(); !temporal.IsCanceledError(errors.Unwrap(err)) && !temporal.IsCanceledError(err) {
		t.Errorf("a workflow that was cancelled ends with %v", err)
	}
}

func TestAMailboxThatIsUnavailableIsReadAtGrowingPauses(t *testing.T) {
	t.Parallel()
	answers := []func() (workflows.MailboxRead, error){}
	for range 7 {
		answers = append(answers, unavailable)
	}
	answers = append(answers, found(workflows.MailboxRead{Messages: 1}), found(workflows.MailboxRead{}))
	pauses, _ := runMailbox(t, workflows.MailboxInput{}, nil, answers...)
	want := []time.Duration{1, 2, 4, 8, 15, 15, 15, 1, 1}
	for i, w := range want {
		if i >= len(pauses) || pauses[i] != w*time.Minute {
			t.Fatalf("the pauses are %v, want %v minutes", pauses, want)
		}
	}
}

func TestALongMailboxContinuesAsNewWithItsProgress(t *testing.T) {
	t.Parallel()
	in := workflows.MailboxInput{Interval: workflows.Duration(5 * time.Second)}
	in.Progress.Messages, in.Progress.Failures, in.Progress.Failure = 10, 2, "away"
	_, env := runMailbox(t, in, func(env *testsuite.TestWorkflowEnvironment) { env.SetContinueAsNewSuggested(true) },
		found(workflows.MailboxRead{Messages: 5, Events: 4, Skipped: 1}))
	var next *workflow.ContinueAsNewError
	if err := env.GetWorkflowError(); !errors.As(err, &next) {
		t.Fatalf("it ends with %v", err)
	}
	var got workflows.MailboxInput
	if err := converter.GetDefaultDataConverter().FromPayloads(next.Input, &got); err != nil {
		t.Fatal(err)
	}
	want := in
	want.Progress = workflows.MailboxProgress{MailboxRead: workflows.MailboxRead{Messages: 15, Events: 4, Skipped: 1}}
	if got != want {
		t.Errorf("the next run gets %+v, want %+v", got, want)
	}
}

func TestNoMailingHasTheIDOfAMailbox(t *testing.T) {
	t.Parallel()
	in := input()
	in.ID = workflows.MailboxID("direct-mailer")
	for _, p := range in.Validate() {
		if p.Field == "id" {
			return
		}
	}
	if !strings.Contains(in.ID, "/") {
		t.Error("a mailing may have the ID of a mailbox")
	}
	t.Error("the ID of a mailbox is accepted for a mailing")
}
