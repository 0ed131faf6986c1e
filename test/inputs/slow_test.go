package inputs

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
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

// wantQuick sends a mailing while the slow ones are held: nothing of them has failed or been given
// up for its time. Then it cancels them.
func wantQuick(r *rig.Rig, quick workflows.Input, recipients int, slow []client.WorkflowRun) {
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
			if failure != "" && failure != policy.SlotsTaken {
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
	held.Content.PageURL += "&held=yes"
	slow := startSlow(r, held)
	r.Eventually("as many pages are asked for as a worker fetches at a time", func() bool { return asked.Load() >= 64 })
	paging := r.Another("paged")
	if result := paging.Result(paging.Start(paged(10, pages))); result.Counts.Sent != recipients {
		t.Errorf("%+v", result)
	}
	wantQuick(r, rig.Mailing(10), recipients, slow)
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
	slow := startSlow(r, audience(`SELECT name, "E-Mail" FROM customers, (SELECT pg_advisory_lock_shared(7)) l`))
	r.Eventually("eight queries have begun", func() bool {
		var n int
		err := source.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
			AND NOT granted`).Scan(&n)
		return err == nil && n == slowMailings
	})
	wantQuick(r, audience(gold), recipients, slow)
}
