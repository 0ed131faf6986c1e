package operation

import (
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	"google.golang.org/grpc/codes"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/dev/smtptest"
	"directmailer/test/rig"
	"directmailer/workflows"
)

// A workflow that sets a search attribute that is not there fails its workflow task for ever.
func TestAMailingGoesOnWithoutSearchAttributesThatCannotBeRegistered(t *testing.T) {
	t.Parallel()
	server := servertest.OwnTemporal(t, nil)
	for name, address := range map[string]string{
		"the operator service is denied": servertest.DenyingTemporal(t, server.Address(), codes.PermissionDenied,
			"operatorservice"),
		"the operator service is absent": servertest.DenyingTemporal(t, server.Address(), codes.Unimplemented,
			"operatorservice"),
		"others have all of them": server.Address(),
	} {
		t.Run(name, func(t *testing.T) {
			if address == server.Address() {
				servertest.FillSearchAttributes(t, address)
			}
			s := smtptest.Start(t, smtptest.Options{})
			r := rig.NewOn(t, rig.MX(s), servertest.Database(t), address)
			r.ImportList(20)
			w := r.StartWorker()
			run := r.Start(rig.Mailing(5))
			if result := r.Result(run); result.Counts.Sent != 20 {
				t.Errorf("%+v", result)
			}
			r.Judge(s.Copies(), 20)
			if log := w.Log(); !strings.Contains(log, "level=WARN") ||
				!strings.Contains(log,
					"temporal operator search-attribute create --namespace default --name MailingList") {
				t.Errorf("the worker says\n%s", log)
			}
			if n := upserts(r, run.GetID(), run.GetRunID()); n > 0 {
				t.Errorf("search attributes were set %d times", n)
			}
			if address == server.Address() {
				r.SaveHistory(run.GetID(), run.GetRunID(), "without-attributes")
			}
		})
	}
}

// The answer of OpenMailing decides, so a program that starts a mailing needs to know nothing.
func TestAMailingOfAProgramSetsSearchAttributesThatAreThere(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, rig.MX(s))
	r.ImportList(5)
	r.StartWorker()
	run := r.Start(rig.Mailing(5))
	r.Result(run)
	d, err := r.Temporal.DescribeWorkflow(t.Context(), run.GetID(), "")
	if err != nil {
		t.Fatal(err)
	}
	state, _ := d.TypedSearchAttributes.GetKeyword(workflows.StateAttribute)
	list, _ := d.TypedSearchAttributes.GetKeyword(workflows.ListAttribute)
	if state != string(workflows.StateCompleted) || list == "" {
		t.Errorf("state %q, list %q", state, list)
	}
}

func upserts(r *rig.Rig, id, run string) (n int) {
	r.Helper()
	events := r.Temporal.GetWorkflowHistory(r.Context(), id, run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			r.Fatal(err)
		}
		if e.EventType == enumspb.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES {
			n++
		}
	}
	return n
}
