package inputs

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/client"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/dev/smtptest"
	"directmailer/test/rig"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// slowMailings is how many slow mailings there are at once: as many as a worker has slots of each
// kind.
const slowMailings = 8

// startSlow starts the slow mailings.
func startSlow(r *rig.Rig, in workflows.Input) []client.WorkflowRun {
	r.Helper()
	var runs []client.WorkflowRun
	for n := range slowMailings {
		runs = append(runs, r.Another(fmt.Sprint("slow-", n)).Start(in))
	}
	return runs
}

// awaitBegun waits until each slow mailing has an activity of this type that has begun: it runs, or
// has ended to wait for a slot.
func awaitBegun(r *rig.Rig, activity string, slow []client.WorkflowRun) {
	r.Helper()
	r.Eventually("every slow mailing has begun", func() bool {
		for _, run := range slow {
			d, err := r.Temporal.DescribeWorkflowExecution(r.Context(), run.GetID(), "")
			if err != nil || !slices.ContainsFunc(d.PendingActivities, func(a *workflowpb.PendingActivityInfo) bool {
				return a.ActivityType.Name == activity &&
					(a.State == enumspb.PENDING_ACTIVITY_STATE_STARTED || a.Attempt > 1)
			}) {
				return false
			}
		}
		return true
	})
}

// wantQuick sends a mailing while the slow ones are held: nothing of them has failed or been given
// up for its time. Then it cancels them.
func wantQuick(r *rig.Rig, quick workflows.Input, recipients int, slow []client.WorkflowRun, began time.Time) {
	r.Helper()
	result := r.Result(r.Start(quick))
	if result.State != workflows.StateCompleted || result.Counts.Sent != int64(recipients) {
		r.Errorf("%+v", result)
	}
	for n := range slow {
		other := r.Another(fmt.Sprint("slow-", n))
		d, err := r.Temporal.DescribeWorkflowExecution(r.Context(), other.ID(), "")
		if err != nil {
			r.Fatal(err)
		}
		for _, a := range d.PendingActivities {
			failure := a.GetLastFailure().GetApplicationFailureInfo().GetType()
			overdue := failure == policy.PageUnavailable && time.Since(began) > time.Minute // the limit of a page
			if failure != "" && failure != policy.SlotsTaken && !overdue {
				r.Errorf("slow mailing %d has failed: %s", n, failure)
			}
		}
		if len(d.PendingActivities) == 0 {
			r.Errorf("slow mailing %d is not held", n)
		}
		other.MustUpdate(workflows.CancelUpdate)
	}
	for _, run := range slow {
		if result := r.Result(run); result.State != workflows.StateCancelled || result.Counts.Sent > 0 {
			r.Errorf("%+v", result)
		}
	}
}

// Every page of eight mailings is held, in more batches than the worker has slots. A mailing
// without pages and one with quick pages of the same server come to their ends meanwhile.
func TestEightMailingsWithSlowPagesDoNotStopAQuickOne(t *testing.T) {
	t.Parallel()
	const recipients = 30
	var asked atomic.Int64
	pages := startPages(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("held") != "" {
			w.Header().Set("Content-Type", "text/plain")
			w.(http.Flusher).Flush()
			asked.Add(1)
			<-r.Context().Done()
			return
		}
		personal(w, r)
	})
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	r.StartWorker("DM_PAGE_HOSTS=127.0.0.0/8")
	held := paged(10, pages)
	held.Retry.Page.Attempts = 1000 // on a busy machine, the pages are given up after a minute
	held.Content.PageURL += "&held=yes"
	began, slow := time.Now(), startSlow(r, held)
	r.Eventually("as many pages are asked for as a worker fetches at a time", func() bool { return asked.Load() >= 64 })
	awaitBegun(r, policy.RenderBatch, slow)
	paging := r.Another("paged")
	if result := paging.Result(paging.Start(paged(10, pages))); result.Counts.Sent != recipients {
		t.Errorf("%+v", result)
	}
	wantQuick(r, rig.Mailing(10), recipients, slow, began)
}

// The queries of eight mailings wait for a lock.
func TestEightMailingsWithSlowQueriesDoNotStopAQuickOne(t *testing.T) {
	t.Parallel()
	const recipients = 30
	at := servertest.EmptyDatabase(t)
	fill(t, at, recipients)
	source, err := pgx.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = source.Close(context.WithoutCancel(t.Context())) })
	if _, err := source.Exec(t.Context(), "SELECT pg_advisory_lock(7)"); err != nil {
		t.Fatal(err)
	}
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, rig.MX(s))
	r.StartWorker("DM_SOURCES=crm=" + at)
	began := time.Now()
	slow := startSlow(r, audience(`SELECT name, "E-Mail" FROM customers, (SELECT pg_advisory_lock_shared(7)) l`))
	awaitBegun(r, policy.PrepareList, slow)
	wantQuick(r, audience(gold), recipients, slow, began)
}

// costlyBatch is how many messages a batch of a mailing with a costly template has.
const costlyBatch = 90

// costlyText takes 2.8 of the 4.2 million steps that a message may take. A batch takes almost all
// its 268 million. The first messages take their steps in milliseconds, because a comparison of a
// large text with itself costs as much as any other. So a batch is soon known as slow, and cheaply.
// The other messages of all batches together take minutes of processor time.
const costlyText = `{{$x := repeat 900000 "a"}}{{if eq .name "Nr 1" "Nr 2" "Nr 3" "Nr 4"}}` +
	`{{range 6}}{{if eq $x $x}}{{end}}{{end}}{{else}}{{range 2850000}}{{end}}{{end}}Dear {{.name}}`

// Half of the worker's slots render batches with a costly template, and the other batches have been
// told that they have no slot. A mailing comes to its end before any of these batches is rendered.
func TestEightMailingsWithCostlyTemplatesDoNotStopAQuickOne(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, rig.MX(s))
	r.ImportList(costlyBatch)
	r.StartWorker()
	costly := rig.Mailing(costlyBatch)
	costly.Content = workflows.Content{Text: costlyText}
	began, slow := time.Now(), startSlow(r, costly)
	r.Eventually("half of the slots are taken, and the other mailings wait for them", func() bool {
		return withoutSlot(r, slow) >= slowMailings/2
	})
	wantQuick(r, rig.Mailing(costlyBatch), costlyBatch, slow, began)
	var rendered int
	if err := r.Pool.QueryRow(t.Context(), `SELECT count(*) FROM batches WHERE rendered_at IS NOT NULL`).
		Scan(&rendered); err != nil || rendered != 1 {
		t.Errorf("%d batches are rendered, want that of the quick mailing only: %v", rendered, err)
	}
}

// withoutSlot returns how many slow mailings have been told that they have no slot.
func withoutSlot(r *rig.Rig, slow []client.WorkflowRun) (n int) {
	r.Helper()
	for _, run := range slow {
		d, err := r.Temporal.DescribeWorkflowExecution(r.Context(), run.GetID(), "")
		if err != nil {
			r.Fatal(err)
		}
		if slices.ContainsFunc(d.PendingActivities, func(a *workflowpb.PendingActivityInfo) bool {
			return a.GetLastFailure().GetApplicationFailureInfo().GetType() == policy.SlotsTaken
		}) {
			n++
		}
	}
	return n
}
