package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jhillyerd/enmime/v2"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/protobuf/encoding/protojson"

	"directmailer/internal/audience/lists"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/dev/smtptest"
	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// A server that is not ours, a parser that is not ours: every recipient has got the message that was meant for him, once.
func TestEveryRecipientGetsHisOwnMessageOnce(t *testing.T) {
	t.Parallel()
	const recipients = 300
	inbox := startInbox(t)
	p := newPlant(t, "mx=smtp://"+inbox.addr+"?tls=none")
	p.importList(recipients)
	if _, err := lists.New(p.pool).AddOptOuts(t.Context(), []string{address(7)}, lists.Asked); err != nil {
		t.Fatal(err)
	}
	p.startWorker()
	r := p.result(p.start(mailing(50)))
	if want := (workflows.Counts{Sent: recipients - 1, OptedOut: 1}); r.Counts != want || r.State != workflows.StateCompleted || r.Batches != 6 {
		t.Errorf("result %+v", r)
	}
	p.judge(inbox.copies(), recipients)
	ids := map[string]bool{}
	for _, m := range inbox.messages() {
		e, err := enmime.ReadEnvelope(strings.NewReader(m.data))
		if err != nil || len(e.Errors) > 0 {
			t.Fatalf("message to %s: %v %v", m.to, err, e.Errors)
		}
		if !strings.Contains(e.Text, "you are "+m.to) || !strings.Contains(e.HTML, "you are "+m.to) || !strings.HasPrefix(e.GetHeader("Subject"), "Hello Nr ") || m.from != "news@example.com" {
			t.Errorf("message to %s:\n%s", m.to, m.data)
		}
		ids[e.GetHeader("Message-ID")] = true
	}
	if len(ids) != recipients-1 {
		t.Errorf("%d different Message-IDs", len(ids))
	}
}

// The room of a message that has its answer is used for another: whatever goes wrong between the two, each body is one recipient's alone.
func TestNoMessageHasOctetsOfAnotherWhateverGoesWrongOnTheWay(t *testing.T) {
	t.Parallel()
	const recipients = 600
	var seen atomic.Int32
	s := smtptest.Start(t, smtptest.Options{Script: sparing(func(e smtptest.Event) *smtptest.Action {
		switch n := seen.Add(1); {
		case e.Phase == "DOT" && n%11 == 0:
			return &smtptest.Action{Reply: "451 4.3.0 later"}
		case e.Phase == "RCPT" && n%17 == 0:
			return &smtptest.Action{Reply: "450 4.2.1 later"}
		case e.Phase == "BODY" && n%29 == 0, e.Phase == "DOT" && n%37 == 0:
			return &smtptest.Action{Die: true}
		}
		return nil
	})})
	p := newPlant(t, fmt.Sprintf("mx=smtp://%s?connections=6&next_behind_dot=true&tls=none", s.Addr()))
	// Of many lengths: room that is too short, and room with more in it than is wanted.
	if _, err := lists.New(p.pool).Import(p.Context(), "people", "people.csv", []string{"name"}, &people{n: recipients, name: ownWords}, true); err != nil {
		t.Fatal(err)
	}
	p.startWorker()
	in := mailing(100)
	in.Content = workflows.Content{Text: "{{.name}}"}
	in.Retry.DropPoint.Attempts = 100
	if r := p.result(p.start(in)); r.Counts.Sent != recipients {
		t.Errorf("result %+v", r)
	}
	p.judge(s.Copies(), recipients)
	for _, m := range s.Received() {
		e, err := enmime.ReadEnvelope(strings.NewReader(m.Data))
		if err != nil || len(e.Errors) > 0 {
			t.Fatalf("message to %s: %v %v", m.To, err, e.Errors)
		}
		var n int
		if _, err := fmt.Sscanf(m.To, "r%d@", &n); err != nil || strings.TrimSpace(e.Text) != ownWords(n) {
			t.Errorf("message to %s:\n%s", m.To, m.Data)
		}
	}
}

// ownWords are some 10 to 3,000 octets that are the recipient's alone.
func ownWords(n int) string {
	return strings.Repeat(fmt.Sprintf("only %d ", n), n*7%300) + fmt.Sprint(n)
}

func TestNoRecipientDataAndNoCredentialGoesToTemporal(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{Password: "s3cret", Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "RCPT" && e.To == address(3) {
			return &smtptest.Action{Reply: "550 5.1.1 <" + e.To + "> unknown here"}
		}
		if e.Phase == "RCPT" && e.Message == 5 {
			return &smtptest.Action{Reply: "421 4.3.2 " + e.To + " closing"}
		}
		return nil
	}})
	p := newPlant(t, fmt.Sprintf("mx=smtp://user:s3cret@%s?tls=none", s.Addr()))
	p.importList(30)
	p.startWorker()
	run := p.start(mailing(10))
	p.result(run)
	history := p.temporal.GetWorkflowHistory(t.Context(), run.GetID(), "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	events := 0
	for history.HasNext() {
		event, err := history.Next()
		if err != nil {
			t.Fatal(err)
		}
		events++
		text, err := protojson.Marshal(event)
		if err != nil {
			t.Fatal(err)
		}
		// In JSON payloads are base64; in the text form they stand as they are.
		for _, secret := range []string{"@example.org", "s3cret", "Nr 3"} {
			if strings.Contains(string(text), secret) || strings.Contains(event.String(), secret) {
				t.Errorf("event %d (%s) holds %q", event.EventId, event.EventType, secret)
			}
		}
	}
	if events < 10 {
		t.Errorf("only %d events were looked at", events)
	}
}

func TestASecondStartIsRefusedByTemporalAndForEverByTheDatabase(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	p := newPlant(t, mx(s))
	p.importList(10)
	p.startWorker()
	p.result(p.start(mailing(10)))
	_, err := p.temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: p.id(), TaskQueue: p.queue,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE, WorkflowExecutionErrorWhenAlreadyStarted: true}, workflows.MailingType, mailing(10))
	if !temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		t.Errorf("Temporal: %v", err)
	}
	// The Web UI's start form allows a second run of an ID that has ended: then the database refuses.
	again := p.start(mailing(10))
	var app *temporal.ApplicationError
	if err := again.Get(t.Context(), nil); !errors.As(err, &app) || app.Type() != policy.MailingExists {
		t.Errorf("the database: %v", err)
	}
	p.judge(s.Copies(), 10)
	if n := len(s.Received()); n != 10 {
		t.Errorf("%d messages received", n)
	}
}

func TestEveryProblemOfAnInputIsReportedAtOnceAndNothingIsReserved(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "mx=smtp://127.0.0.1:1")
	p.startWorker()
	raw := json.RawMessage(`{"from": "nobody", "subject": "Hi {{.name", "list": "` + strings.Repeat("a@example.com ", 300) + `", "content": {"text": "x", "htlm": "y"}, "drop_points": ["mars"], "on_uncertain": "perhaps"}`)
	run, err := p.temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: p.id(), TaskQueue: p.queue}, workflows.MailingType, raw)
	if err != nil {
		t.Fatal(err)
	}
	var app *temporal.ApplicationError
	var problems []workflows.Problem
	if err := run.Get(t.Context(), nil); !errors.As(err, &app) || app.Type() != policy.InvalidInput || !app.NonRetryable() || app.Details(&problems) != nil {
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
	if err := p.pool.QueryRow(t.Context(), `SELECT count(*) FROM mailings`).Scan(&mailings); err != nil || mailings != 0 {
		t.Errorf("%d mailings in the database, %v", mailings, err)
	}
}

func TestCancelFinishesWhatIsInFlightAndTheRestIsUnsent(t *testing.T) {
	t.Parallel()
	const recipients, first = 500, 50
	s, stall := held(t, first)
	p := newPlant(t, mx(s))
	p.importList(recipients)
	p.startWorker()
	run := p.start(mailing(250))
	p.full(s, stall, first)
	if err := p.temporal.CancelWorkflow(t.Context(), run.GetID(), ""); err != nil {
		t.Fatal(err)
	}
	p.heard()
	stall.ReleaseAll()
	err := run.Get(t.Context(), nil)
	var cancelled *temporal.CanceledError
	var r workflows.Result
	if !errors.As(err, &cancelled) || cancelled.Details(&r) != nil {
		t.Fatalf("got %v", err)
	}
	p.judge(s.Copies(), recipients)
	if *record != "" {
		saveHistory(p, run.GetID(), run.GetRunID(), "cancelled")
	}
	if want := (workflows.Counts{Sent: first + lanes, Unsent: recipients - first - lanes}); r.State != workflows.StateCancelled || r.Counts != want || len(s.Received()) != first+lanes {
		t.Errorf("%d received; %+v", len(s.Received()), r)
	}
}

// A slow server answers after more than a heartbeat's timeout: the cancelled batch is not taken for dead meanwhile.
func TestCancelWaitsForAnswersThatTakeLong(t *testing.T) {
	t.Parallel()
	const recipients = 50
	s, stall := held(t, 0)
	p := newPlant(t, mx(s))
	p.importList(recipients)
	p.startWorker()
	run := p.start(mailing(recipients))
	p.full(s, stall, 0)
	if err := p.temporal.CancelWorkflow(t.Context(), run.GetID(), ""); err != nil {
		t.Fatal(err)
	}
	asked := time.Now()
	p.eventually("more than a heartbeat's timeout is over", func() bool {
		return time.Since(asked) > policy.Heartbeat(policy.SendBatch)+2*time.Second
	})
	stall.ReleaseAll()
	var cancelled *temporal.CanceledError
	var r workflows.Result
	if err := run.Get(t.Context(), nil); !errors.As(err, &cancelled) || cancelled.Details(&r) != nil {
		t.Fatalf("got %v", err)
	}
	if p.judge(s.Copies(), recipients); r.Counts != (workflows.Counts{Sent: lanes, Unsent: recipients - lanes}) {
		t.Errorf("%+v", r.Counts)
	}
}

// The server takes a message at each look of the test, and after the termination as well. Terminate
// tells the worker nothing: it learns of it when Temporal answers its next heartbeat, which comes
// after a second or two. With the SDK's own throttle it comes eight seconds after the batch was
// begun.
func TestAfterATerminationNothingMoreIsSentAndTheLedgerAnswers(t *testing.T) {
	t.Parallel()
	const recipients, first, most = 1000, 50, 5 * time.Second // two seconds, and three more for a machine that is busy
	stall := smtptest.NewStall("DOT", first)
	var begun times
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "MAIL" {
			begun.add(time.Now())
		}
		return stall.Script(e)
	}})
	p := newPlant(t, mx(s))
	p.importList(recipients)
	w := p.startWorker()
	run := p.start(mailing(recipients))
	p.full(s, stall, first)
	if err := p.temporal.TerminateWorkflow(t.Context(), run.GetID(), "", "pressed"); err != nil {
		t.Fatal(err)
	}
	terminated := time.Now()
	released := 0
	p.eventually("no connection has a message, and none has brought one for a while", func() bool {
		released += stall.Release(1)
		_, last := begun.after(time.Time{})
		return stall.Waiting() == 0 && s.Quiet() && time.Since(last) > 3*time.Second && time.Since(terminated) > 3*time.Second
	})
	w.kill()
	<-w.exited
	n, last := begun.after(terminated)
	t.Logf("%d messages began after the termination, the last one after %v; %d were accepted", n, last.Sub(terminated), released)
	if n > 0 && last.Sub(terminated) > most {
		t.Errorf("messages began up to %v after the termination, want up to %v", last.Sub(terminated), most)
	}
	if got := len(s.Received()); got > first+lanes+n {
		t.Errorf("%d messages were accepted: more than were in flight or began before the worker knew", got)
	}
	p.judge(s.Copies(), recipients)
	sent := 0
	for _, l := range p.report() {
		if l.Outcome == ledger.Sent {
			sent++
		}
	}
	if sent != len(s.Received()) {
		t.Errorf("the ledger has %d sent, the server accepted %d", sent, len(s.Received()))
	}
}

func TestTheLossOfTheOnlyServerSuspendsTheMailingWhichGoesOnWhenItIsBack(t *testing.T) {
	t.Parallel()
	const recipients = 60
	var down atomic.Bool
	down.Store(true)
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "connect" && down.Load() {
			return &smtptest.Action{Reply: "554 5.7.1 <" + address(1) + "> your host is blocked"}
		}
		return nil
	}})
	p := newPlant(t, mx(s))
	p.importList(recipients)
	p.startWorker()
	in := mailing(20)
	in.Retry.DropPoint.Attempts = 2
	run := p.start(in)
	p.eventually("the mailing is suspended and says why", func() bool {
		s, err := p.status()
		return err == nil && s.State == workflows.StateSuspended && strings.Contains(s.Doing, "554") && !strings.Contains(s.Doing, "@")
	})
	down.Store(false)
	p.eventually("it takes a resume", func() bool { // or has noticed by itself
		h, err := p.temporal.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{WorkflowID: run.GetID(), UpdateName: workflows.ResumeUpdate, WaitForStage: client.WorkflowUpdateStageCompleted})
		if err == nil {
			err = h.Get(t.Context(), nil)
		}
		return err == nil || strings.Contains(err.Error(), "not suspended") || strings.Contains(err.Error(), "already completed")
	})
	if r := p.result(run); r.Counts.Sent != recipients {
		t.Errorf("%+v", r)
	}
	if d := p.judge(s.Copies(), recipients); d > 0 {
		t.Errorf("%d duplicates", d)
	}
}

func TestPostgreSQLIsKilledAndComesBackAndNothingIsLost(t *testing.T) {
	t.Parallel()
	const recipients = 200
	server := servertest.OwnPostgres(t)
	s, stall := held(t, 60)
	p := newPlantOn(t, mx(s), server.URL("mail"), servertest.Temporal(t))
	p.importList(recipients)
	p.startWorker()
	run := p.start(mailing(50))
	p.full(s, stall, 60)
	server.Kill()
	stall.ReleaseAll() // the answers come while the ledger is away
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := p.result(run)
	if d := p.judge(s.Copies(), recipients); d > lanes || r.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", d, r.Counts)
	}
}

// The lock keeps the list from being frozen to the end until PostgreSQL is dead.
func TestPostgreSQLIsKilledWhileAListIsPreparedAndNothingIsThereTwice(t *testing.T) {
	t.Parallel()
	const recipients = 300
	server := servertest.OwnPostgres(t)
	s := smtptest.Start(t, smtptest.Options{})
	p := newPlantOn(t, mx(s), server.URL("mail"), servertest.Temporal(t))
	p.importList(recipients)
	lock, err := p.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Rollback(context.WithoutCancel(t.Context())) }() // gives its broken connection back
	if _, err := lock.Exec(t.Context(), `LOCK TABLE batches`); err != nil {
		t.Fatal(err)
	}
	p.startWorker()
	run := p.start(mailing(50))
	p.eventually("the list is being prepared", func() bool {
		var n int
		err := lock.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks WHERE relation = 'batches'::regclass AND NOT granted`).Scan(&n)
		return err == nil && n > 0
	})
	server.Kill()
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := p.result(run)
	if d := p.judge(s.Copies(), recipients); d > 0 || r.Recipients != recipients || r.Counts.Sent != recipients || r.Batches != recipients/50 {
		t.Errorf("%d duplicates; %+v", d, r)
	}
}

// The list is there when the mailing is opened. It is deleted in the moment in which the mailing
// wants to freeze it.
func TestAListThatIsGoneBeforeItIsPreparedFailsTheMailingByItsName(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	p := newPlant(t, mx(s))
	p.importList(3)
	deletion, err := p.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = deletion.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := deletion.Exec(t.Context(), `SELECT FROM lists FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	p.startWorker()
	run := p.start(mailing(50))
	p.eventually("the mailing waits for the list", func() bool {
		var n int
		err := p.pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&n)
		return err == nil && n > 0
	})
	if _, err := deletion.Exec(t.Context(), `DELETE FROM list_members`); err != nil {
		t.Fatal(err)
	}
	if _, err := deletion.Exec(t.Context(), `DELETE FROM lists`); err != nil {
		t.Fatal(err)
	}
	if err := deletion.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if failure, _ := p.failure(run); !strings.Contains(failure.Message(), `no list is named "people"`) {
		t.Errorf("%v", failure)
	}
	m, err := mailings.New(p.pool).Get(t.Context(), p.id())
	if err != nil || m.ClosedAt == nil || len(s.Copies()) > 0 {
		t.Errorf("%+v, %v", m, err)
	}
}

// With on_exhausted: fail, what cannot be had ends the mailing: by name, with everybody accounted for.
func TestTheLossOfTheOnlyServerEndsAMailingThatIsToFail(t *testing.T) {
	t.Parallel()
	const recipients = 60
	var down atomic.Bool
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "DOT" && e.To == address(25) {
			down.Store(true)
		}
		if down.Load() {
			return &smtptest.Action{Die: true}
		}
		return nil
	}})
	p := newPlant(t, mx(s))
	p.importList(recipients)
	p.startWorker()
	in := mailing(20)
	in.OnExhausted, in.Retry.DropPoint.Attempts = workflows.Fail, 2
	failure, r := p.failure(p.start(in))
	p.judge(s.Copies(), recipients)
	if failure.Type() != "MailingFailed" || !strings.Contains(failure.Message(), "drop point mx") || r.State != workflows.StateFailed || r.Counts.Unsent == 0 ||
		r.Counts.Total() != recipients {
		t.Errorf("%v; %+v", failure, r)
	}
}

func TestTemporalIsKilledAndComesBackAndNothingIsLost(t *testing.T) {
	t.Parallel()
	const recipients = 200
	server := servertest.OwnTemporal(t, nil)
	s, stall := held(t, 60)
	p := newPlantOn(t, mx(s), servertest.Database(t), server.Address())
	p.importList(recipients)
	p.startWorker()
	run := p.start(mailing(50))
	p.full(s, stall, 60)
	server.Kill()
	stall.ReleaseAll()
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.eventually("the mailing has ended", func() bool {
		d, err := p.temporal.DescribeWorkflowExecution(t.Context(), run.GetID(), "")
		return err == nil && d.WorkflowExecutionInfo.Status != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING
	})
	r := p.result(p.temporal.GetWorkflow(t.Context(), run.GetID(), ""))
	if d := p.judge(s.Copies(), recipients); d > lanes || r.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", d, r.Counts)
	}
}

func TestALongMailingContinuesAsNewAndLosesNobody(t *testing.T) {
	t.Parallel()
	const recipients = 400
	server := servertest.OwnTemporal(t, map[string]string{"limit.historyCount.suggestContinueAsNew": "100"})
	s := smtptest.Start(t, smtptest.Options{})
	p := newPlantOn(t, mx(s), servertest.Database(t), server.Address())
	p.importList(recipients)
	p.startWorker()
	run := p.start(mailing(5))
	first := run.GetRunID()
	r := p.result(run)
	if d := p.judge(s.Copies(), recipients); d > 0 || r.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", d, r.Counts)
	}
	d, err := p.temporal.DescribeWorkflowExecution(t.Context(), run.GetID(), "")
	if err != nil || d.WorkflowExecutionInfo.Execution.RunId == first {
		t.Fatalf("it did not continue as new: %v", err)
	}
	if *record != "" {
		saveHistory(p, run.GetID(), first, "continued-first")
		saveHistory(p, run.GetID(), d.WorkflowExecutionInfo.Execution.RunId, "continued-last")
	}
}

// What docs/api.md tells users of other SDKs and of the command line.
func TestTheExampleInputIsStartedByTemporalsOwnCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := newPlant(t, "drop=dir:"+dir)
	if _, err := lists.New(p.pool).Import(t.Context(), "subscribers", "people.csv", []string{"name"}, &people{n: 5}, false); err != nil {
		t.Fatal(err)
	}
	if _, err := p.pool.Exec(t.Context(), `UPDATE list_members SET attributes = '{"first_name":"Ann","last_name":"O''Neil","city":"Cork","country":"IE","plan":"gold","points":"7"}'`); err != nil {
		t.Fatal(err)
	}
	p.startWorker()
	out, err := exec.CommandContext(t.Context(), servertest.TemporalCLI(t), "workflow", "start", "--address", p.address, "--type", "Mailing",
		"--task-queue", p.queue, "--workflow-id", p.id(), "--input-file", exampleFor(t, p.id())).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p.result(p.temporal.GetWorkflow(t.Context(), p.id(), ""))
	files, err := filepath.Glob(filepath.Join(dir, "*.eml"))
	if err != nil || len(files) != 5 {
		t.Errorf("%d files, %v", len(files), err)
	}
}

// exampleFor is examples/mailing.json under an ID that no other run of this test has used.
func exampleFor(t *testing.T, id string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "examples", "mailing.json"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "mailing.json")
	if err := os.WriteFile(path, []byte(strings.Replace(string(data), `"spring-2026"`, `"`+id+`"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestHealthTellsWhetherAWorkerIsReady(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "files=dir:"+t.TempDir())
	listener := freeAddress(t)
	w := p.startWorker("DM_HEALTH_ADDRESS=" + listener)
	for _, path := range []string{"/healthz", "/readyz"} {
		p.eventually(path+" answers 200", func() bool {
			r, err := http.Get("http://" + listener + path)
			if err != nil {
				return false
			}
			_ = r.Body.Close()
			return r.StatusCode == http.StatusOK
		})
	}
	w.signal(syscall.SIGINT)
	<-w.exited
	if code := w.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d after SIGINT", code)
	}
}

// Each connection to Temporal breaks a little later in the worker's start than the one before.
func TestAWorkerStartsThoughTemporalDiesMeanwhile(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "files=dir:"+t.TempDir())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var broken atomic.Int32
	upstream := p.address
	go func() {
		for allowed := int64(200); ; allowed += allowed / 3 { // octets to Temporal
			c, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", upstream)
			if err != nil {
				t.Error(err)
				return
			}
			go func() { _, _ = io.Copy(c, server) }()
			go func() {
				if allowed > 10_000 {
					allowed = math.MaxInt64
				}
				if n, _ := io.CopyN(server, c, allowed); n == allowed {
					broken.Add(1)
				}
				_, _ = c.Close(), server.Close()
			}()
		}
	}()
	health := freeAddress(t)
	p.address = listener.Addr().String()
	w := p.startWorker("DM_HEALTH_ADDRESS=" + health)
	p.eventually("it is ready", func() bool {
		select {
		case <-w.exited:
			t.Fatal("it has ended")
		default:
		}
		r, err := http.Get("http://" + health + "/readyz")
		if err != nil {
			return false
		}
		_ = r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
	if broken.Load() < 3 {
		t.Errorf("%d connections were broken", broken.Load())
	}
}

func TestAWorkerSaysWhatIsWrongWithItsEnvironment(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(servertest.Build(t, "./worker"))
	cmd.Env = []string{"DM_DROP_POINTS=mx=smtp://user:s3cret@mx.example.com?tls=maybe", "DM_MAX_BATCHES=0", "DM_STOP_TIMEOUT=soon"}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Errorf("got %v", err)
	}
	for _, part := range []string{"DATABASE_URL is not set", "drop point mx: tls", "DM_MAX_BATCHES", "DM_STOP_TIMEOUT"} {
		if !strings.Contains(string(out), part) {
			t.Errorf("it does not say %q:\n%s", part, out)
		}
	}
	if strings.Contains(string(out), "s3cret") {
		t.Errorf("a password is shown:\n%s", out)
	}
}

func TestADatabaseThatIsNotMigratedStopsTheWorkerWithWordsThatHelp(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(servertest.Build(t, "./worker"))
	cmd.Env = append(os.Environ(), "DATABASE_URL="+servertest.EmptyDatabase(t), "DM_DROP_POINTS=files=dir:"+t.TempDir(), "TEMPORAL_ADDRESS="+servertest.Temporal(t))
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "starter migrate") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestNobodyIsLostWhenADropDirectoryVanishesForAWhile(t *testing.T) {
	t.Parallel()
	const recipients = 40
	dir := filepath.Join(t.TempDir(), "drop") // not there yet
	p := newPlant(t, "files=dir:"+dir)
	p.importList(recipients)
	p.startWorker()
	in := mailing(10)
	in.Retry.DropPoint.Attempts = 1
	run := p.start(in)
	p.eventually("the mailing is suspended", func() bool { s, err := p.status(); return err == nil && s.State == workflows.StateSuspended })
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if r := p.result(run); r.Counts.Sent != recipients {
		t.Errorf("%+v", r)
	}
	p.judge(p.dropped(dir), recipients)
}

// dropped counts the files of a drop directory by recipient. Each must be whole.
func (p *plant) dropped(dir string) map[string]int {
	p.Helper()
	copies := map[string]int{}
	files, _ := filepath.Glob(filepath.Join(dir, "*.eml"))
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			p.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(data), "X-Receiver: <")
		to, _, _ := strings.Cut(rest, ">")
		if copies[to]++; !strings.HasSuffix(string(data), "--\r\n") {
			p.Errorf("the message of %s is cut off", to)
		}
	}
	return copies
}

func TestARecipientWhoseTemplateFailsIsFailedAndTheBatchGoesOn(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	p := newPlant(t, mx(s))
	p.importList(10)
	if _, err := p.pool.Exec(t.Context(), `UPDATE list_members SET attributes = '{}' WHERE position = 4`); err != nil {
		t.Fatal(err)
	}
	p.startWorker()
	r := p.result(p.start(mailing(5)))
	p.judge(s.Copies(), 10)
	l := p.report()[address(4)]
	if r.Counts.Sent != 9 || r.Counts.Failed != 1 || l.Outcome != ledger.Failed || !strings.Contains(l.Reply, "name") {
		t.Errorf("%+v; %+v", r.Counts, l)
	}
}
