package operation

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"directmailer/internal/audience/lists"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/dev/smtptest"
	"directmailer/test/rig"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

func TestASecondStartIsRefusedByTemporalAndForEverByTheDatabase(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, rig.MX(s))
	r.ImportList(10)
	r.StartWorker()
	r.Result(r.Start(rig.Mailing(10)))
	_, err := r.Temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: r.ID(), TaskQueue: r.TaskQueue,
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true}, workflows.MailingType, rig.Mailing(10))
	if !temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		t.Errorf("Temporal: %v", err)
	}
	// The Web UI's start form allows a second run of an ID whose first run has ended. Then the
	// database refuses.
	again := r.Start(rig.Mailing(10))
	var app *temporal.ApplicationError
	if err := again.Get(t.Context(), nil); !errors.As(err, &app) || app.Type() != policy.MailingExists {
		t.Errorf("the database: %v", err)
	}
	r.Judge(s.Copies(), 10)
	if n := len(s.Received()); n != 10 {
		t.Errorf("%d messages received", n)
	}
}

func TestEveryProblemOfAnInputIsReportedAtOnceAndNothingIsReserved(t *testing.T) {
	t.Parallel()
	r := rig.New(t, "mx=smtp://127.0.0.1:1")
	r.StartWorker()
	raw := json.RawMessage(`{"from": "nobody", "subject": "Hi {{.name", "list": "` +
		strings.Repeat("a@example.com ", 300) +
		`", "content": {"text": "x", "htlm": "y"}, "drop_points": ["mars"], "on_uncertain": "perhaps"}`)
	run, err := r.Temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: r.ID(), TaskQueue: r.TaskQueue},
		workflows.MailingType, raw)
	if err != nil {
		t.Fatal(err)
	}
	var app *temporal.ApplicationError
	var problems []workflows.Problem
	if err := run.Get(t.Context(), nil); !errors.As(err, &app) || app.Type() != policy.InvalidInput ||
		!app.NonRetryable() || app.Details(&problems) != nil {
		t.Fatalf("got %v", err)
	}
	got := map[string]string{}
	for _, q := range problems {
		got[q.Field] = q.Message
	}
	for _, field := range []string{"from", "subject", "list", "content.htlm", "drop_points[0]", "on_uncertain"} {
		if got[field] == "" {
			t.Errorf("nothing is said about %s: %v", field, problems)
		}
	}
	var mailings int
	if err := r.Pool.QueryRow(t.Context(), `SELECT count(*) FROM mailings`).Scan(&mailings); err != nil ||
		mailings != 0 {
		t.Errorf("%d mailings in the database, %v", mailings, err)
	}
}

func TestAnInputWithThousandsOfUnknownFieldsIsRefusedAndNotTerminated(t *testing.T) {
	t.Parallel()
	r := rig.New(t, "mx=smtp://127.0.0.1:1")
	r.StartWorker()
	var unknown strings.Builder
	for i := range 60_000 {
		fmt.Fprintf(&unknown, `"field_%d": 1, `, i)
	}
	raw := json.RawMessage(`{` + unknown.String() + `"from": "news@example.com"}`)
	run, err := r.Temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: r.ID(), TaskQueue: r.TaskQueue},
		workflows.MailingType, raw)
	if err != nil {
		t.Fatal(err)
	}
	var app *temporal.ApplicationError
	var problems []workflows.Problem
	if err := run.Get(t.Context(), nil); !errors.As(err, &app) || app.Type() != policy.InvalidInput ||
		app.Details(&problems) != nil || len(problems) == 0 {
		t.Fatalf("got %v", err)
	}
	if text := fmt.Sprint(problems); !strings.Contains(text, "59950 further fields cannot be read") {
		t.Errorf("got %.5000s", text)
	}
}

// docs/api.md tells users of other SDKs and of the temporal command to start a mailing like this.
func TestTheExampleInputIsStartedByTemporalsOwnCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := rig.New(t, "drop=dir:"+dir)
	if _, err := lists.New(r.Pool).Import(t.Context(), "subscribers", "people.csv", []string{"name"},
		&rig.Members{N: 5}, false); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Pool.Exec(t.Context(), `UPDATE list_members SET attributes = '{"first_name":"Ann",
		"last_name":"O''Neil","city":"Cork","country":"IE","plan":"gold","points":"7"}'`); err != nil {
		t.Fatal(err)
	}
	r.StartWorker()
	out, err := exec.CommandContext(t.Context(), servertest.TemporalCLI(t), "workflow", "start", "--address",
		r.TemporalAddress, "--type", "Mailing",
		"--task-queue", r.TaskQueue, "--workflow-id", r.ID(), "--input-file", exampleFor(t, r.ID())).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r.Result(r.Temporal.GetWorkflow(t.Context(), r.ID(), ""))
	files, err := filepath.Glob(filepath.Join(dir, "*.eml"))
	if err != nil || len(files) != 5 {
		t.Errorf("%d files, %v", len(files), err)
	}
}

// exampleFor returns the path of a copy of examples/mailing.json with another ID.
func exampleFor(t *testing.T, id string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "examples", "mailing.json"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "mailing.json")
	if err := os.WriteFile(path, []byte(strings.Replace(string(data), `"spring-2026"`, `"`+id+`"`, 1)),
		0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
