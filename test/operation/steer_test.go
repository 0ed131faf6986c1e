// Package operation shows how mailings are started, paused, cancelled, limited and continued, and
// what their histories hold.
package operation

import (
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"directmailer/internal/dev/smtptest"
	"directmailer/internal/ledger"
	"directmailer/test/rig"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

func TestPauseTakesEffectInTheMiddleOfABatchAndResumeGoesOnWithNobodyTwice(t *testing.T) {
	t.Parallel()
	const recipients, first = 1000, 100
	s, stall := rig.StalledServer(t, first)
	r := rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	r.StartWorker()
	run := r.Start(rig.Mailing(recipients)) // one batch
	r.AwaitStalled(s, stall, first)
	r.MustUpdate(workflows.PauseUpdate)
	r.AwaitCancelReceived()
	stall.ReleaseAll() // only the pause keeps the rest of the batch back now
	r.AwaitStatus("nothing is in flight any more", func(st workflows.Status) bool {
		return st.State == workflows.StatePaused && strings.Contains(st.Doing, "waits to be resumed")
	})
	if n := len(s.Received()); n != first+rig.Connections || !s.Quiet() {
		t.Errorf("%d of %d were sent before it was paused, want %d and those in flight", n, recipients, first)
	}
	if _, err := r.Update(workflows.PauseUpdate); err == nil {
		t.Error("a paused mailing was paused again")
	}
	r.MustUpdate(workflows.ResumeUpdate)
	result := r.Result(run)
	if d := r.Judge(s.Copies(), recipients); d > 0 || result.Counts.Sent != recipients ||
		result.Counts.PossiblyTwice > 0 {
		t.Errorf("%d duplicates; %+v", d, result.Counts)
	}
}

// A program starts a mailing whose text nobody can get. An operator sees why before anybody is
// failed, and decides.
func TestNobodyIsFailedForATemplateThatSuitsNobodyUntilTheMailingIsResumed(t *testing.T) {
	t.Parallel()
	const recipients = 60
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	r.StartWorker()
	in := rig.Mailing(25)
	in.Content = workflows.Content{Text: "Dear {{.name.first}}"}
	run := r.Start(in)
	r.AwaitStatus("it is suspended with the reason", func(st workflows.Status) bool {
		return st.State == workflows.StateSuspended && strings.HasPrefix(st.Doing,
			"waits to be resumed or cancelled, because none of the first 60 recipients can be rendered: content.text line 1")
	})
	for address, line := range r.Report() {
		if line.Outcome != ledger.Open {
			t.Fatalf("%s is %s", address, line.Outcome)
		}
	}
	r.MustUpdate(workflows.ResumeUpdate)
	if result := r.Result(run); result.Counts != (workflows.Counts{Failed: recipients}) || len(s.Received()) > 0 {
		t.Errorf("%+v, %d received", result, len(s.Received()))
	}
	r.SaveHistory(run.GetID(), run.GetRunID(), "nothing-rendered")
}

func TestTheUpdateCancelLeavesTheRestUnsentWithinSeconds(t *testing.T) {
	t.Parallel()
	const recipients, first = 1000, 100
	s, stall := rig.StalledServer(t, first)
	r := rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	r.StartWorker()
	run := r.Start(rig.Mailing(recipients))
	r.AwaitStalled(s, stall, first)
	r.MustUpdate(workflows.CancelUpdate)
	r.AwaitCancelReceived()
	if st, err := r.Status(); err != nil || st.Doing != "was cancelled: what is in flight is finished" {
		t.Errorf("while messages are in flight: %q, %v", st.Doing, err)
	}
	for _, update := range []string{workflows.PauseUpdate, workflows.ResumeUpdate} {
		if _, err := r.Update(update); err == nil || !strings.Contains(err.Error(), "the mailing is ending") {
			t.Errorf("%s of a cancelled mailing: %v", update, err)
		}
	}
	stall.ReleaseAll()
	result := r.Result(run)
	if d := r.Judge(s.Copies(), recipients); d > 0 || result.State != workflows.StateCancelled ||
		result.Counts != (workflows.Counts{Sent: first + rig.Connections,
			Unsent: recipients - first - rig.Connections}) ||
		len(s.Received()) != first+rig.Connections {
		t.Errorf("%d duplicates, %d received; %+v", d, len(s.Received()), result)
	}
}

// A recipient with an uncertain outcome is resolved while the mailing runs: the message is sent
// again and marked as possibly twice.
func TestAHeldRecipientIsSentToAgainWhenSomebodyDecidesSo(t *testing.T) {
	t.Parallel()
	var died, decided atomic.Bool
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "DOT" && e.To == rig.Address(3) && !died.Swap(true) {
			return &smtptest.Action{Die: true}
		}
		if e.Phase == "RCPT" && e.To == rig.Address(8) && !decided.Load() {
			return &smtptest.Action{Reply: "451 4.7.1 try again in 1 second"} // keeps the mailing open
		}
		return nil
	}})
	r := rig.New(t, rig.MX(s))
	r.ImportList(10)
	r.StartWorker()
	in := rig.Mailing(5)
	in.OnUncertain = workflows.Hold
	run := r.Start(in)
	r.AwaitStatus("one is held", func(s workflows.Status) bool { return s.Counts.Uncertain == 1 })
	var n int
	h, err := r.Temporal.UpdateWorkflow(t.Context(),
		client.UpdateWorkflowOptions{WorkflowID: r.ID(), UpdateName: workflows.ResolveUpdate,
			Args: []any{workflows.Resolution{As: "resend"}}, WaitForStage: client.WorkflowUpdateStageCompleted})
	if err == nil {
		err = h.Get(t.Context(), &n)
	}
	if err != nil || n != 1 {
		t.Fatal(n, err)
	}
	decided.Store(true)
	result := r.Result(run)
	r.Judge(s.Copies(), 10)
	if l := r.Report()[rig.Address(3)]; l.Outcome != ledger.Sent || !l.PossiblyTwice ||
		result.Counts != (workflows.Counts{Sent: 10, PossiblyTwice: 1}) {
		t.Errorf("%+v; %+v", result.Counts, l)
	}
}

func TestCancelFinishesWhatIsInFlightAndTheRestIsUnsent(t *testing.T) {
	t.Parallel()
	const recipients, first = 500, 50
	s, stall := rig.StalledServer(t, first)
	r := rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	r.StartWorker()
	run := r.Start(rig.Mailing(250))
	r.AwaitStalled(s, stall, first)
	if err := r.Temporal.CancelWorkflow(t.Context(), run.GetID(), ""); err != nil {
		t.Fatal(err)
	}
	r.AwaitCancelReceived()
	stall.ReleaseAll()
	err := run.Get(t.Context(), nil)
	var cancelled *temporal.CanceledError
	var result workflows.Result
	if !errors.As(err, &cancelled) || cancelled.Details(&result) != nil {
		t.Fatalf("got %v", err)
	}
	r.Judge(s.Copies(), recipients)
	r.SaveHistory(run.GetID(), run.GetRunID(), "cancelled")
	if want := (workflows.Counts{Sent: first + rig.Connections,
		Unsent: recipients - first - rig.Connections}); result.State != workflows.StateCancelled ||
		result.Counts != want || len(s.Received()) != first+rig.Connections {
		t.Errorf("%d received; %+v", len(s.Received()), result)
	}
}

// A slow server answers after more than a heartbeat's timeout. Temporal must not take the cancelled
// batch for dead meanwhile.
func TestCancelWaitsForAnswersThatTakeLong(t *testing.T) {
	t.Parallel()
	const recipients = 50
	s, stall := rig.StalledServer(t, 0)
	r := rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	r.StartWorker()
	run := r.Start(rig.Mailing(recipients))
	r.AwaitStalled(s, stall, 0)
	if err := r.Temporal.CancelWorkflow(t.Context(), run.GetID(), ""); err != nil {
		t.Fatal(err)
	}
	asked := time.Now()
	r.Eventually("more than a heartbeat's timeout is over", func() bool {
		return time.Since(asked) > policy.Options(policy.SendBatch, "", "", "").HeartbeatTimeout+2*time.Second
	})
	stall.ReleaseAll()
	var cancelled *temporal.CanceledError
	var result workflows.Result
	if err := run.Get(t.Context(), nil); !errors.As(err, &cancelled) || cancelled.Details(&result) != nil {
		t.Fatalf("got %v", err)
	}
	if r.Judge(s.Copies(), recipients); result.Counts != (workflows.Counts{Sent: rig.Connections,
		Unsent: recipients - rig.Connections}) {
		t.Errorf("%+v", result.Counts)
	}
}

// The server accepts a message at each check of the test, also after the termination. A termination
// tells the worker nothing: the worker learns of it from the answer to its next heartbeat, which
// comes after a second or two. With the SDK's own throttle the heartbeat comes eight seconds after
// the beginning of the batch. A busy machine may delay a heartbeat, so one of three mailings must
// be in time.
func TestAfterATerminationNothingMoreIsSentAndTheLedgerAnswers(t *testing.T) {
	t.Parallel()
	const most = 5 * time.Second
	var delay time.Duration
	for range 3 {
		if delay = delayAfterTermination(t); delay <= most {
			return
		}
	}
	t.Errorf("messages began up to %v after the termination, want up to %v", delay, most)
}

// delayAfterTermination terminates a mailing, and returns how long after that its last message
// began.
func delayAfterTermination(t *testing.T) time.Duration {
	const recipients, first = 1000, 50
	stall := smtptest.NewStall("DOT", first)
	var begun times
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "MAIL" {
			begun.add(time.Now())
		}
		return stall.Script(e)
	}})
	r := rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	w := r.StartWorker()
	run := r.Start(rig.Mailing(recipients))
	r.AwaitStalled(s, stall, first)
	if err := r.Temporal.TerminateWorkflow(t.Context(), run.GetID(), "", "pressed"); err != nil {
		t.Fatal(err)
	}
	terminated := time.Now()
	released := 0
	r.Eventually("no connection has a message, and none has brought one for a while", func() bool {
		released += stall.Release(1)
		_, last := begun.after(time.Time{})
		return stall.Waiting() == 0 && s.Quiet() && time.Since(last) > 3*time.Second &&
			time.Since(terminated) > 3*time.Second
	})
	r.Eventually("the ledger has each answer", func() bool { return sentIn(r) == len(s.Received()) })
	r.Kill(w)
	n, last := begun.after(terminated)
	t.Logf("%d messages began after the termination, the last one after %v; %d were accepted", n, last.Sub(terminated),
		released)
	if got := len(s.Received()); got > first+rig.Connections+n {
		t.Errorf("%d messages were accepted: more than were in flight or began before the worker knew", got)
	}
	r.Judge(s.Copies(), recipients)
	return max(0, last.Sub(terminated))
}

// sentIn returns how many recipients are sent in the ledger.
func sentIn(r *rig.Rig) (n int) {
	r.Helper()
	for _, l := range r.Report() {
		if l.Outcome == ledger.Sent {
			n++
		}
	}
	return n
}
