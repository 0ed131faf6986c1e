package operation

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/dev/smtptest"
	"directmailer/test/rig"
	"directmailer/workflows"
)

// onFirst returns a script that takes the action at the first times that the server gets to phase.
func onFirst(phase string, times int64, a *smtptest.Action) func(smtptest.Event) *smtptest.Action {
	var seen atomic.Int64
	return func(e smtptest.Event) *smtptest.Action {
		if e.Phase == phase && seen.Add(1) <= times {
			return a
		}
		return nil
	}
}

func TestNoRecipientDataAndNoCredentialGoesToTemporal(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{Password: "s3cret", Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "RCPT" && e.To == rig.Address(3) {
			return &smtptest.Action{Reply: "550 5.1.1 <" + e.To + "> unknown here"}
		}
		if e.Phase == "RCPT" && e.Message == 5 {
			return &smtptest.Action{Reply: "421 4.3.2 " + e.To + " closing"}
		}
		return nil
	}})
	r := rig.New(t, fmt.Sprintf("mx=smtp://user:s3cret@%s?tls=none", s.Addr()))
	r.ImportList(30)
	r.StartWorker()
	run := r.Start(rig.Mailing(10))
	r.Result(run)
	history := r.Temporal.GetWorkflowHistory(t.Context(), run.GetID(), "", false,
		enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
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
		// In JSON, payloads are base64. In the text form they are readable.
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

func TestALongMailingContinuesAsNewAndLosesNobody(t *testing.T) {
	t.Parallel()
	const recipients = 400
	server := servertest.OwnTemporal(t, map[string]string{"limit.historyCount.suggestContinueAsNew": "100"})
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.NewOn(t, rig.MX(s), servertest.Database(t), server.Address())
	r.ImportList(recipients)
	r.StartWorker()
	run := r.Start(rig.Mailing(5))
	first := run.GetRunID()
	result := r.Result(run)
	if d := r.Judge(s.Copies(), recipients); d > 0 || result.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", d, result.Counts)
	}
	d, err := r.Temporal.DescribeWorkflowExecution(t.Context(), run.GetID(), "")
	if err != nil || d.WorkflowExecutionInfo.Execution.RunId == first {
		t.Fatalf("it did not continue as new: %v", err)
	}
	r.SaveHistory(run.GetID(), first, "continued-first")
	r.SaveHistory(run.GetID(), d.WorkflowExecutionInfo.Execution.RunId, "continued-last")
}

// Each subtest takes a mailing through other states, for the histories that later versions must
// replay.
func TestHistories(t *testing.T) {
	t.Parallel()
	refuse := func(phase, reply string, times int64) func(smtptest.Event) *smtptest.Action {
		return onFirst(phase, times, &smtptest.Action{Reply: reply})
	}
	var known atomic.Bool
	for name, test := range map[string]struct {
		members int // 0: 20
		script  func(smtptest.Event) *smtptest.Action
		change  func(*workflows.Input)
		stalled bool // the server accepts two messages, and the others after steer
		steer   func(*rig.Rig)
	}{
		"completed": {},
		"deferred":  {script: refuse("RCPT", "451 4.7.1 later", 2)},
		"steered": {stalled: true, steer: func(r *rig.Rig) {
			r.MustUpdate(workflows.PauseUpdate)
			r.MustUpdate(workflows.RateUpdate, workflows.RateChange{DropPoint: "mx", Rate: "1000/s"})
			r.MustUpdate(workflows.ResumeUpdate)
		}},
		"cancelled-by-update": {stalled: true, steer: func(r *rig.Rig) { r.MustUpdate(workflows.CancelUpdate) }},
		// more than the first window of batches
		"error-limit": {members: 60, script: func(e smtptest.Event) *smtptest.Action {
			if e.Phase == "RCPT" && !known.Load() {
				return &smtptest.Action{Reply: "550 5.1.1 unknown"}
			}
			return nil
		}, steer: func(r *rig.Rig) {
			r.AwaitStatus("it is suspended", func(s workflows.Status) bool { return s.State == workflows.StateSuspended })
			known.Store(true)
			r.MustUpdate(workflows.ResumeUpdate)
		}, change: func(in *workflows.Input) { in.MaxErrorPercent, in.ErrorMinimum = 50, 5 }},
		"paced": {change: func(in *workflows.Input) { in.Rates.Mailing = "1/min" }, steer: func(r *rig.Rig) {
			r.AwaitStatus("it waits for its rate limit",
				func(s workflows.Status) bool { return strings.Contains(s.Doing, "rate limit") })
			r.MustUpdate(workflows.RateUpdate, workflows.RateChange{Rate: "none"})
		}},
		"suspended": {script: refuse("connect", "554 5.7.1 no", 6),
			change: func(in *workflows.Input) { in.Retry.DropPoint.Attempts = 1 }},
		"failed": {script: refuse("connect", "554 5.7.1 no", 1000), change: func(in *workflows.Input) {
			in.Retry.DropPoint.Attempts, in.OnExhausted = 1, workflows.Fail
		}},
		"invalid": {change: func(in *workflows.Input) { in.List = "nowhere" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stall := smtptest.NewStall("DOT", 2)
			if test.stalled {
				test.script = stall.Script
			}
			s := smtptest.Start(t, smtptest.Options{Script: test.script})
			r := rig.New(t, "mx=smtp://"+s.Addr()+"?connections=1")
			r.ImportList(cmp.Or(test.members, 20))
			r.StartWorker()
			in := rig.Mailing(5)
			if test.change != nil {
				test.change(&in)
			}
			run := r.Start(in)
			if test.steer != nil {
				r.AwaitStatus("it is sending", func(s workflows.Status) bool {
					return s.State == workflows.StateSending || s.State == workflows.StateSuspended
				})
				test.steer(r)
			}
			stall.ReleaseAll()
			err := run.Get(t.Context(), nil)
			if failed := name == "failed" || name == "invalid"; (err != nil) != failed {
				t.Fatalf("it ended with %v", err)
			}
			r.SaveHistory(run.GetID(), run.GetRunID(), name)
		})
	}
}

// A mailing may wait for days to be opened. Its content must not be in the history again for each
// probe.
func TestTheContentOfAMailingIsOnceInItsHistory(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, rig.MX(s))
	r.ImportList(20)
	r.StartWorker()
	in := rig.Mailing(10)
	const mark = "a line that nobody else writes"
	in.Content.Text += mark
	run := r.Start(in)
	r.Result(run)
	found := 0
	for events := r.Temporal.GetWorkflowHistory(t.Context(), run.GetID(), run.GetRunID(), false,
		enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
		event, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		data, err := proto.Marshal(event)
		if err != nil {
			t.Fatal(err)
		}
		found += bytes.Count(data, []byte(mark))
	}
	if found != 1 {
		t.Errorf("the content is %d times in the history", found)
	}
}
