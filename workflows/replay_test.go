package workflows_test

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// histories returns the files of real mailings' histories. They were recorded with `go test
// ./test/operation -run 'TestHistories|TestALong|TestCancel|TestNobodyIsFailed' -args -record
// ../../workflows/testdata/histories`, and in the same way `./test/feedback -run
// 'TestBouncesThatComeBack|TestAMailboxIsRead'`. They stand for mailings that run when a new
// version comes: none is removed.
func histories(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "histories", "*.json"))
	if err != nil || len(files) < 7 {
		t.Fatalf("%d histories, %v", len(files), err)
	}
	return files
}

func replay(t *testing.T, file string, mailing any) error {
	t.Helper()
	// The detector's limit of one second is too short for a machine without free processors, and
	// the replayer has no other limit.
	r, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{DisableDeadlockDetection: true})
	if err != nil {
		t.Fatal(err)
	}
	r.RegisterWorkflowWithOptions(mailing, workflow.RegisterOptions{Name: workflows.MailingType})
	r.RegisterWorkflowWithOptions(workflows.Mailbox, workflow.RegisterOptions{Name: workflows.MailboxType})
	return r.ReplayWorkflowHistoryFromJSONFile(sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler)), file)
}

func TestEveryRecordedMailingCanBeReplayed(t *testing.T) {
	t.Parallel()
	for _, file := range histories(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			if err := replay(t, file, workflows.Mailing); err != nil {
				t.Error(err)
			}
		})
	}
}

// A version that does things in another order must be caught, or the test above proves nothing.
func TestAVersionThatBreaksMailingsUnderWayIsCaught(t *testing.T) {
	t.Parallel()
	bad := func(ctx workflow.Context, in workflows.Input) (workflows.Result, error) {
		if err := workflow.Sleep(ctx, time.Second); err != nil { // before anything else: not what was recorded
			return workflows.Result{}, err
		}
		ctx = workflow.WithActivityOptions(ctx, policy.Options(policy.CloseMailing, "", "q", "m"))
		return workflows.Result{}, workflow.ExecuteActivity(ctx, policy.CloseMailing, in).Get(ctx, nil)
	}
	for _, file := range histories(t) {
		if strings.HasPrefix(filepath.Base(file), "mailbox") {
			continue // of another workflow
		}
		if err := replay(t, file, bad); err == nil {
			t.Errorf("%s: the bad version was not caught", file)
		}
	}
}
