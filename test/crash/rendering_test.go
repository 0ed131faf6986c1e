package crash

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"directmailer/internal/dev/smtptest"
	"directmailer/internal/ledger"
	"directmailer/test/rig"
	"directmailer/workflows"
)

// Workers are killed while they render, three times in the same batch. The fourth does not render
// it: the mailing is suspended, and another one on the same workers is sent. After a resume, the
// batch is tried again.
func TestABatchThatKillsThreeWorkersSuspendsItsMailingAndNotTheFourthWorker(t *testing.T) {
	t.Parallel()
	const recipients = 1 // a page for each attempt
	var mu sync.Mutex
	var victim *rig.Worker
	deaths := 0
	var r *rig.Rig
	start := func() { victim = r.StartWorker("DM_PAGE_HOSTS=127.0.0.0/8") }
	pages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if deaths < ledger.MaxDeaths { // the page is what kills a worker
			deaths++
			victim.Kill()
			<-victim.Exited
			start()
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, "<p>Hello")
	}))
	t.Cleanup(pages.Close)
	s := smtptest.Start(t, smtptest.Options{})
	r = rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	mu.Lock()
	start()
	mu.Unlock()
	in := rig.Mailing(recipients)
	in.Content = workflows.Content{PageURL: pages.URL + "/"}
	run := r.Start(in)
	r.AwaitStatus("suspended by the batch", func(s workflows.Status) bool {
		return s.State == workflows.StateSuspended && strings.Contains(s.Doing, "3 workers have died while they rendered")
	})
	if len(s.Received()) != 0 {
		t.Error("somebody got a message")
	}
	other := r.Another("other")
	other.Result(other.Start(rig.Mailing(recipients)))
	r.MustUpdate(workflows.ResumeUpdate)
	r.Result(run)
	if n := len(s.Received()); n != 2*recipients {
		t.Errorf("%d messages were received", n)
	}
}
