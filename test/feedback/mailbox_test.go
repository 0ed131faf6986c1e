package feedback

import (
	"fmt"
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	sdkpb "go.temporal.io/api/sdk/v1"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/dev/smtptest"
	"directmailer/test/rig"
	"directmailer/workflows"
)

// A worker with a mailbox starts the workflow that reads it. Workers are killed meanwhile.
func TestAMailboxIsReadWhateverDies(t *testing.T) {
	t.Parallel()
	const reports = 60
	server := servertest.Dovecot(t)
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, rig.MX(s))
	r.ImportList(reports)
	environment := []string{"DM_TOKEN_KEYS=" + secret, "DM_BOUNCE_DOMAIN=" + domain, "DM_INBOUND_MAILBOX=" +
		server.URL()}
	w := r.StartWorker(environment...)
	r.Result(r.Start(rig.Mailing(20)))
	events := func() int { return len(texts(r, `SELECT 'x' FROM events`)) }
	r.Eventually("the empty mailbox was read", func() bool {
		return strings.Contains(mailboxDetails(r), "Messages so far: 0,")
	})
	r.Kill(w)
	n := 0
	for _, m := range sentTo(s) {
		if n++; n > reports {
			break
		}
		text := strings.Replace(dsn(m, "5.1.1"), "Status", "X-Number: "+fmt.Sprint(n)+"\r\nStatus", 1)
		if err := server.Deliver(fmt.Sprintf("%d.test", n), []byte("Delivered-To: "+m.From+"\r\n"+text)); err != nil {
			t.Fatal(err)
		}
	}
	id := workflows.MailboxID(r.TaskQueue)
	for kills := range 3 {
		// The workflow waits a minute on its timer, or ten seconds for a sign of the worker that is dead.
		// Without the workflow, a worker begins at once.
		if err := r.Temporal.TerminateWorkflow(t.Context(), id, "", "a test does not wait"); err != nil {
			t.Fatal(err)
		}
		w = r.StartWorker(environment...)
		r.Eventually("some more are read", func() bool { return events() > kills*reports/5 })
		r.Kill(w)
	}
	r.StartWorker(environment...) // here the workflow finds out by itself that the last worker is dead
	r.Eventually("all are read", func() bool { return events() == reports })
	if got := texts(r, `SELECT 'x' FROM events GROUP BY mailing, recipient HAVING count(*) <> 1`); len(got) > 0 {
		t.Errorf("%d recipients have several events", len(got))
	}
	history := r.Temporal.GetWorkflowHistory(t.Context(), id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for history.HasNext() {
		event, err := history.Next()
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"@example.org", domain, "dovecot-secret", "no such user"} {
			if strings.Contains(event.String(), secret) {
				t.Errorf("event %d of the workflow holds %q", event.EventId, secret)
			}
		}
	}
	r.SaveHistory(id, "", "mailbox")
}

// mailboxDetails returns what Temporal's Web UI shows of the workflow that reads the mailbox.
func mailboxDetails(r *rig.Rig) string {
	v, err := r.Temporal.QueryWorkflow(r.Context(), workflows.MailboxID(r.TaskQueue), "",
		"__temporal_workflow_metadata")
	if err != nil {
		return ""
	}
	var about sdkpb.WorkflowMetadata
	_ = v.Get(&about)
	return about.CurrentDetails
}
