package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"directmailer/internal/dev/smtptest"
)

// waiting is what `show --output json` and `watch --output json` say of work that is tried again.
type waiting struct {
	State   string
	Waiting []struct {
		Activity, What, Failure string
		Count, Attempt, Of      int
		NextAttempt             time.Time `json:"next_attempt"`
		Running                 bool
	}
}

func (s *shell) waiting(id string) (w waiting) {
	s.t.Helper()
	s.run("show", id, "--output", "json").want(s.t, 0).decode(s.t, &w)
	return w
}

// refusing is a mail server that refuses every sender, one command at a time, when it is told to.
type refusing struct {
	*smtptest.Server
	mu   sync.Mutex
	held []chan struct{}
}

func newRefusing(t *testing.T, hold bool) *refusing {
	r := &refusing{}
	r.Server = smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase != "MAIL" {
			return nil
		}
		a := &smtptest.Action{Reply: "550 5.1.0 sender refused"}
		if hold {
			next := make(chan struct{})
			a.Wait = next
			r.mu.Lock()
			r.held = append(r.held, next)
			r.mu.Unlock()
		}
		return a
	}})
	return r
}

// holds tells how many commands wait for their answer; answer answers the first so many.
func (r *refusing) holds() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.held)
}

func (r *refusing) answer(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, next := range r.held[:n] {
		close(next)
	}
	r.held = r.held[n:]
}

func (s *shell) refused(server *refusing, interval string) (id string) {
	s.t.Helper()
	s.letter()
	s.write("letter.yaml", letter+"retry:\n  drop_point: {attempts: 5, interval: "+interval+"}\n")
	s.env["DM_DROP_POINTS"] = "mx=smtp://" + server.Addr() + "?connections=1"
	s.worker()
	id = fmt.Sprintf("%s-%d", s.t.Name(), queues.Add(1))
	s.run("start", "-f", "letter.yaml", "--id", id).want(s.t, 3)
	return id
}

const refusal = "drop point mx refuses us: MAIL FROM was refused: 550 5.1.0"

func TestTheFirstFailureIsExplainedWithItsAttemptAndTheTimeOfTheNext(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	began := time.Now()
	id := s.refused(newRefusing(t, false), "2h")
	until(t, "show explains the failure", func() bool { return len(s.waiting(id).Waiting) > 0 })
	v := s.waiting(id)
	w := v.Waiting[0]
	if len(v.Waiting) != 1 || w.Activity != "SendBatch" || w.What != "send through drop point mx" || w.Failure != refusal || w.Count != 1 || w.Attempt != 1 || w.Of != 5 || w.Running {
		t.Errorf("%+v", v)
	}
	if w.NextAttempt.Before(began.Add(2*time.Hour)) || w.NextAttempt.After(time.Now().Add(2*time.Hour)) {
		t.Errorf("the next attempt is at %v, and it is %v", w.NextAttempt, time.Now())
	}
	at := w.NextAttempt.Local().Format("2006-01-02 15:04:05 MST")
	s.run("show", id).want(t, 0, "mx waits until "+at+", after attempt 1 of 5: "+refusal)
	line := s.watch(id)
	if line.next(); !strings.Contains(line.lines.Text(), `"attempt":1,"of":5,"next_attempt":"`) {
		t.Errorf("watch: %s", line.lines.Text())
	}
	_ = line.cmd.Process.Kill()
	s.run("cancel", id).want(t, 0)
	s.run("watch", id).want(t, 8)
	if v := s.waiting(id); len(v.Waiting) > 0 {
		t.Errorf("a mailing that is over waits: %+v", v)
	}
}

func TestEachOfTheAttemptsIsCountedUntilTheMailingIsSuspended(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	server := newRefusing(t, true)
	id := s.refused(server, "10ms")
	for failed := 1; failed < 5; failed++ {
		until(t, fmt.Sprintf("attempt %d has failed and the next one runs", failed), func() bool {
			n := server.holds() // by the attempt that runs while show is asked
			v := s.waiting(id)
			if len(v.Waiting) == 1 && v.Waiting[0].Attempt == failed && v.Waiting[0].Running {
				return true
			}
			server.answer(n)
			return false
		})
		v := s.waiting(id)
		if w := v.Waiting[0]; w.Failure != refusal || w.Of != 5 || w.Attempt != failed || !w.NextAttempt.IsZero() {
			t.Errorf("%+v", v)
		}
		s.run("show", id).want(t, 0, fmt.Sprintf("mx is tried again, after attempt %d of 5: "+refusal, failed))
	}
	until(t, "it is suspended", func() bool { server.answer(server.holds()); return s.waiting(id).State == "suspended" })
	if w := s.waiting(id).Waiting; len(w) != 1 || w[0].Failure != refusal || w[0].Attempt < 5 || w[0].Of != 5 { // probed, or on trial
		t.Errorf("%+v", w)
	}
	s.run("cancel", id).want(t, 0)
	until(t, "it has ended", func() bool { server.answer(server.holds()); return s.waiting(id).State == "cancelled" })
}

// What an activity itself tries again is known to Temporal only.
func TestABatchWhosePagesAreAwayIsExplainedWhileItIsTriedAgain(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "60") // so that it is not asked twice more at once
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(server.Close)
	s := newShell(t)
	s.letter()
	s.env["DM_PAGE_HOSTS"] = strings.TrimPrefix(server.URL, "http://")
	s.write("letter.yaml", strings.Split(letter, "content:")[0]+"content:\n  page_url: "+server.URL+"/page\nbatch_size: 1\nretry:\n  page: {attempts: 7, interval: 2h}\n")
	s.worker()
	id := id(t)
	began := time.Now()
	s.run("start", "-f", "letter.yaml", "--id", id).want(t, 3)
	until(t, "each batch has failed", func() bool { w := s.waiting(id).Waiting; return len(w) == 1 && w[0].Count == 3 && !w[0].Running })
	v := s.waiting(id)
	w := v.Waiting[0]
	if v.State != "sending" || w.Activity != "RenderBatch" || w.What != "render 3 batches" || w.Failure != "the page server is unavailable: 127.0.0.1 answered 503" ||
		w.Attempt != 1 || w.Of != 7 || w.NextAttempt.Before(began.Add(2*time.Hour)) || w.NextAttempt.After(time.Now().Add(2*time.Hour)) {
		t.Errorf("%+v", v)
	}
	text := "render 3 batches: " + w.Failure + "; attempt 1 of 7 has failed, next attempt at " + w.NextAttempt.Local().Format("2006-01-02 15:04:05 MST")
	s.run("show", id).want(t, 0, text)
	s.run("cancel", id).want(t, 0)
	s.run("watch", id).want(t, 8)
}
