package activities

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"

	"directmailer/internal/audience/recipients"
	"directmailer/internal/content/page"
	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/feedback"
	"directmailer/internal/mailings"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

func TestAMailingWhosePagesWouldBeRefusedIsNotStarted(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	t.Cleanup(s.Close)
	_, a := prepared(t, 3, workflows.Content{Text: "Hello"})
	a.dropPoints = droppoint.NewSet([]droppoint.Config{{Name: "drop", Dir: t.TempDir(), Connections: 1}})
	in := workflows.Input{ID: "summer", From: "News <news@example.com>", Subject: "Hello", List: "people",
		Unsubscribe: workflows.UnsubscribeNone, Content: workflows.Content{PageURL: s.URL + "/{{.n}}"}}.WithDefaults()
	if problems, err := a.check(t.Context(), in); err != nil || len(problems) > 0 {
		t.Errorf("allowed: %v, %v", problems, err)
	}
	a.pages = page.NewFetcher(page.Allowed{})
	host := strings.TrimPrefix(s.URL, "http://")
	want := workflows.Problem{Field: "content.page_url",
		Message: "line 1, column 1: " + host +
			" is refused: its address is not public; the operator can allow it with DM_PAGE_HOSTS=" + host}
	if problems, err := a.check(t.Context(), in); err != nil || len(problems) != 1 || problems[0] != want {
		t.Errorf("got %v, %v", problems, err)
	}
	if n := requests.Load(); n > 0 {
		t.Errorf("the page server was asked %d times before the start", n)
	}
}

// A refusal would be the same the next time, so nobody waits for the page server.
func TestAPageThatIsRefusedFailsItsRecipientAndIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	pool, a := prepared(t, 3, workflows.Content{PageURL: "http://127.0.0.1:9/{{.n}}?to={{.email}}"})
	a.pages = page.NewFetcher(page.Allowed{})
	if out, err := renderOnce(t, a); err != nil || out != (workflows.Rendered{Failed: 3}) {
		t.Fatalf("got %+v, %v", out, err)
	}
	var n int
	const reason = "content.page_url: 127.0.0.1:9 is refused: its address is not public; " +
		"the operator can allow it with DM_PAGE_HOSTS=127.0.0.1:9"
	const count = `SELECT count(*) FROM deliveries WHERE status = 'failed' AND final AND reply = $1`
	err := pool.QueryRow(t.Context(), count, reason).Scan(&n)
	if err != nil || n != 3 {
		t.Errorf("%d recipients have the reason (%v)", n, err)
	}
}

// One mailing's page server hangs, with more batches than slots, and another mailing is rendered.
func TestAPageServerThatHangsHoldsUpItsOwnMailingOnly(t *testing.T) {
	t.Parallel()
	const most, batches = 16, 5
	full, release := make(chan struct{}), make(chan struct{})
	var now atomic.Int64
	var once sync.Once
	hangs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if now.Add(1) == most {
			once.Do(func() { close(full) })
		}
		<-release
		now.Add(-1)
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, "late")
	}))
	t.Cleanup(hangs.Close)
	quick := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprintf(w, "page %s", r.URL.Path)
	}))
	t.Cleanup(quick.Close)
	pool, a := prepared(t, batches*most, workflows.Content{PageURL: quick.URL + "/{{.n}}"})
	a.slots.renders.patience = time.Hour // slow batches would be ended
	in := workflows.Input{ID: "hangs", From: "News <news@example.com>", Subject: "Hello", List: "people",
		Unsubscribe: workflows.UnsubscribeNone, Content: workflows.Content{PageURL: hangs.URL + "/{{.n}}"}}.WithDefaults()
	stored, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	store := mailings.New(pool)
	if err := store.Reserve(t.Context(), in.ID, "run", in.List, stored, feedback.Marks{}, "default"); err != nil {
		t.Fatal(err)
	}
	if _, err := recipients.New(pool).Freeze(t.Context(), in.ID, most); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for n := range batches {
		all.Go(func() {
			var suite testsuite.WorkflowTestSuite
			env := suite.NewTestActivityEnvironment()
			env.SetTestTimeout(time.Minute)
			env.RegisterActivityWithOptions(a.RenderBatch, activity.RegisterOptions{Name: policy.RenderBatch})
			var out workflows.Rendered
			v, err := env.ExecuteActivity(
				policy.RenderBatch,
				workflows.RenderCall{Mailing: in.ID, Batch: n + 1, Retry: retries},
			)
			if err == nil {
				err = v.Get(&out)
			}
			if err != nil || out.Messages != most {
				t.Errorf("batch %d: %+v, %v", n+1, out, err)
			}
		})
	}
	<-full
	out, err := renderOnce(t, a)
	if err != nil || out.Messages != batches*most {
		t.Errorf("the other mailing: %+v, %v", out, err)
	}
	if n := now.Load(); n != most {
		t.Errorf("the mailing that hangs has %d requests", n)
	}
	close(release)
	all.Wait()
}
