package inputs

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jhillyerd/enmime/v2"
	enumspb "go.temporal.io/api/enums/v1"

	"directmailer/internal/dev/smtptest"
	"directmailer/internal/ledger"
	"directmailer/test/rig"
	"directmailer/workflows"
)

// pageServer is a web server that can be killed and started again at the same address.
type pageServer struct {
	*testing.T
	addr   string
	answer http.HandlerFunc
	asked  atomic.Int64

	mu     sync.Mutex
	server *http.Server
}

func startPages(t *testing.T, answer http.HandlerFunc) *pageServer {
	t.Helper()
	s := &pageServer{T: t, addr: rig.FreeAddress(t), answer: answer}
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *pageServer) start() {
	s.Helper()
	l, err := smtptest.Listen(s.addr)
	if err != nil {
		s.Error(err)
		return
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		s.answer(w, r)
	})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server = server
	go func() { _ = server.Serve(l) }()
}

// kill closes the listener and every connection.
func (s *pageServer) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.server.Close()
}

func personal(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<h1>Page of %s</h1><p>for {{%s}}", r.URL.Query().Get("to"), strings.TrimPrefix(r.URL.Path, "/"))
}

func paged(batchSize int, s *pageServer) workflows.Input {
	in := rig.Mailing(batchSize)
	in.Content = workflows.Content{PageURL: "http://" + s.addr + "/{{.name}}?to={{.email}}"}
	in.Retry.Page = workflows.Retry{Attempts: 2, Interval: in.Retry.DropPoint.Interval}
	return in
}

// An attempt that ends early, because Temporal did not answer for a while for example, has some
// pages fetched again: up to as many as a worker fetches at a time.
func TestEachRecipientGetsHisOwnPageAndTheOneWithoutIsFailed(t *testing.T) {
	t.Parallel()
	const recipients, again = 120, 64
	pages := startPages(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("to") == rig.Address(17) {
			http.Error(w, "nobody knows "+rig.Address(17), http.StatusNotFound)
			return
		}
		personal(w, r)
	})
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	r.StartWorker("DM_PAGE_HOSTS=127.0.0.0/8")
	run := r.Start(paged(50, pages))
	result := r.Result(run)
	r.Judge(s.Copies(), recipients)
	if asked := pages.asked.Load(); result.State != workflows.StateCompleted ||
		result.Counts != (workflows.Counts{Sent: recipients - 1, Failed: 1}) || asked < recipients ||
		asked > recipients+again {
		t.Errorf("%+v after %d requests", result, asked)
	}
	if l := r.Report()[rig.Address(17)]; l.Outcome != ledger.Failed ||
		l.Reply != "content.page_url: 127.0.0.1 answered 404" {
		t.Errorf("%+v", l)
	}
	for _, m := range s.Received() {
		e, err := enmime.ReadEnvelope(strings.NewReader(m.Data))
		if err != nil || !strings.Contains(e.HTML, "<h1>Page of "+m.To+"</h1><p>for {{Nr ") ||
			!strings.Contains(e.Text, "Page of "+m.To) {
			t.Fatalf("to %s: %v\n%s", m.To, err, m.Data)
		}
	}
	history := r.Temporal.GetWorkflowHistory(t.Context(), run.GetID(), "", false,
		enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for history.HasNext() {
		event, err := history.Next()
		if err != nil {
			t.Fatal(err)
		}
		if text := event.String(); strings.Contains(text, "example.org") || strings.Contains(text, "Nr 1") {
			t.Errorf("event %d (%s) holds a recipient's data", event.EventId, event.EventType)
		}
	}
}

// The page of one recipient always fails, until somebody mends it. All others have their mail
// before.
func TestOneRecipientWhosePageFailsDoesNotStopAMailing(t *testing.T) {
	t.Parallel()
	const recipients = 60
	var mended atomic.Bool
	pages := startPages(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("to") == rig.Address(17) && !mended.Load() {
			http.Error(w, "oops", http.StatusInternalServerError)
			return
		}
		personal(w, r)
	})
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	r.StartWorker("DM_PAGE_HOSTS=127.0.0.0/8")
	in := paged(20, pages)
	in.OnExhausted = workflows.Fail
	run := r.Start(in)
	r.AwaitStatus("all others are sent, and it waits for a later round", func(st workflows.Status) bool {
		return st.Counts.Sent == recipients-1 && st.State == workflows.StateSending &&
			r.Report()[rig.Address(17)].Attempts > 1
	})
	mended.Store(true)
	result := r.Result(run)
	if d := r.Judge(s.Copies(), recipients); d > 0 || result.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", d, result.Counts)
	}
}

// The page server is killed halfway through a mailing. Rendered messages are still sent. The others
// wait until the server is back.
func TestAMailingOutlivesItsPageServer(t *testing.T) {
	t.Parallel()
	const recipients, batch, served = 200, 10, 65
	died := make(chan struct{})
	var once sync.Once
	var n atomic.Int64
	var pages *pageServer
	pages = startPages(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) > served {
			once.Do(func() { go func() { pages.kill(); close(died) }() })
			<-r.Context().Done()
			return
		}
		personal(w, r)
	})
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "MAIL" { // no message is accepted before the page server is killed
			return &smtptest.Action{Wait: died}
		}
		return nil
	}})
	r := rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	r.StartWorker("DM_PAGE_HOSTS=127.0.0.0/8")
	run := r.Start(paged(batch, pages))
	var st workflows.Status
	r.Eventually("the mailing is suspended because of its pages", func() bool {
		var err error
		st, err = r.Status()
		return err == nil && st.State == workflows.StateSuspended
	})
	if !strings.Contains(st.Doing, "page") {
		t.Errorf("it does not say why: %q", st.Doing)
	}
	r.Eventually("all that is rendered has been sent", func() bool {
		var err error
		st, err = r.Status()
		return err == nil && st.Rendered > 0 && int(st.Counts.Sent) == st.Rendered*batch
	})
	if st.State != workflows.StateSuspended || st.Rendered < 1 || st.Rendered > served/batch {
		t.Errorf("%+v", st)
	}
	n.Store(-recipients * 10)
	pages.start()
	result := r.Result(run)
	r.Judge(s.Copies(), recipients)
	if result.State != workflows.StateCompleted || result.Counts != (workflows.Counts{Sent: recipients}) {
		t.Errorf("%+v", result)
	}
	if asked := pages.asked.Load(); asked > recipients+served+int64(time.Minute/time.Second) {
		t.Errorf("%d requests for %d pages: what was fetched before the failure is fetched again", asked, recipients)
	}
}

func TestTheLossOfThePageServerEndsAMailingThatIsToFail(t *testing.T) {
	t.Parallel()
	const recipients, batch, served = 100, 10, 35
	var n atomic.Int64
	pages := startPages(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) > served {
			http.Error(w, "too many readers", http.StatusServiceUnavailable)
			return
		}
		personal(w, r)
	})
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	r.StartWorker("DM_PAGE_HOSTS=127.0.0.0/8")
	in := paged(batch, pages)
	in.OnExhausted = workflows.Fail
	failure, result := r.Failure(r.Start(in))
	r.Judge(s.Copies(), recipients)
	if failure.Type() != "MailingFailed" || !strings.Contains(failure.Message(), "127.0.0.1 answered 503") ||
		result.State != workflows.StateFailed ||
		result.Counts.Sent > served || result.Counts.Sent+result.Counts.Unsent != recipients {
		t.Errorf("%v; %+v", failure, result)
	}
}
