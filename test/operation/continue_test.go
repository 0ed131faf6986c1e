package operation

import (
	"errors"
	"strings"
	"testing"

	"go.temporal.io/sdk/temporal"

	"directmailer/test/rig"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// A mailing is cancelled halfway, with some recipients failed. Another mailing continues it. Over
// both, each recipient gets the message exactly once.
func TestAContinuationSendsToEverybodyWhomTheFirstMailingHasLeft(t *testing.T) {
	t.Parallel()
	const recipients, sent = 2000, 50
	s, stall := rig.StalledServer(t, sent)
	r := rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	r.StartWorker()
	next, in := rig.Mailing(400), rig.Mailing(400)
	in.Content.Text = "{{slice .name 0 5}}" // fails for recipients with a short name, as "Nr 1"
	run := r.Start(in)
	r.AwaitStalled(s, stall, sent)
	r.AwaitStatus("all batches are rendered", func(s workflows.Status) bool { return s.Rendered == recipients/400 })

	second := r.Another("2")
	next.List, next.Continue = "", &workflows.Continuation{Mailing: r.ID(), Outcomes: []string{"failed", "unsent"}}
	refused := r.Another("too-early")
	var app *temporal.ApplicationError
	var problems []workflows.Problem
	err := refused.Start(next).Get(t.Context(), nil)
	if !errors.As(err, &app) || app.Type() != policy.InvalidInput || app.Details(&problems) != nil ||
		len(problems) != 1 || problems[0].Field != "continue.mailing" {
		t.Errorf("a mailing that has not ended is continued: %v", err)
	}

	if err := r.Temporal.CancelWorkflow(t.Context(), run.GetID(), ""); err != nil {
		t.Fatal(err)
	}
	r.AwaitCancelReceived()
	stall.ReleaseAll()
	var cancelled *temporal.CanceledError
	var first workflows.Result
	if err := run.Get(t.Context(), nil); !errors.As(err, &cancelled) || cancelled.Details(&first) != nil {
		t.Fatalf("got %v", err)
	}
	if first.Counts.Failed != 9 || first.Counts.Unsent == 0 || first.Counts.Uncertain > 0 || first.Counts.Bounced > 0 ||
		int(first.Counts.Sent) != len(s.Received()) {
		t.Fatalf("%d received; %+v", len(s.Received()), first)
	}

	r.ImportList(10) // the continuation must not read the list again
	result := second.Result(second.Start(next))
	if left := first.Counts.Failed + first.Counts.Unsent; result.State != workflows.StateCompleted ||
		result.Counts != (workflows.Counts{Sent: left}) {
		t.Errorf("%d were left, %+v", left, result)
	}
	copies := s.Copies()
	if len(copies) != recipients {
		t.Errorf("%d recipients have the message", len(copies))
	}
	for a, n := range copies {
		if n != 1 {
			t.Errorf("%s has %d", a, n)
		}
	}
	for _, m := range s.Received() {
		if !strings.Contains(m.Data, "\r\nList-Id: <people.example.com>\r\n") {
			t.Fatalf("a message has another list:\n%s", m.Data)
		}
	}
	var list string
	if err := r.Pool.QueryRow(t.Context(), `SELECT list FROM mailings WHERE id = $1`,
		second.ID()).Scan(&list); err != nil || list != "continue:"+r.ID() {
		t.Errorf("the mailing's row has the list %q, %v", list, err)
	}
	d, err := r.Temporal.DescribeWorkflow(t.Context(), second.ID(), "")
	if err != nil {
		t.Fatal(err)
	}
	if list, _ := d.TypedSearchAttributes.GetKeyword(workflows.ListAttribute); list != "continue:"+r.ID() {
		t.Errorf("the Web UI finds the mailing under the list %q", list)
	}

	last := r.Another("3")
	next.Continue = &workflows.Continuation{Mailing: second.ID()}
	if err := last.Start(next).Get(t.Context(), nil); !errors.As(err, &app) || app.Type() != policy.InvalidInput ||
		!strings.Contains(app.Message(), "nothing to continue") {
		t.Errorf("a mailing that has nobody left is continued: %v", err)
	}
	next.Continue = &workflows.Continuation{Mailing: "never-was"}
	if err := last.Another("4").Start(next).Get(t.Context(), nil); !errors.As(err, &app) ||
		app.Type() != policy.InvalidInput || !strings.Contains(app.Message(), "no mailing never-was") {
		t.Errorf("a mailing that never was is continued: %v", err)
	}
}
