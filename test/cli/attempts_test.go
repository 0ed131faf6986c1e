package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"directmailer/internal/dev/smtptest"
	"directmailer/workflows"
)

// startRefusingServer starts an SMTP server that refuses every sender. It stalls each refusal until
// the test releases it.
func startRefusingServer(t *testing.T) (*smtptest.Server, *smtptest.Stall) {
	stall := smtptest.NewStall("MAIL", 0)
	return smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase != "MAIL" {
			return nil
		}
		return &smtptest.Action{Wait: stall.Wait(), Reply: "550 5.1.0 sender refused"}
	}}), stall
}

// startRefused starts a mailing through the server, with five attempts of the drop point.
func (s *shell) startRefused(server *smtptest.Server, interval string) (id string) {
	s.t.Helper()
	s.writeLetter()
	s.write("letter.yaml", letter+"retry:\n  drop_point: {attempts: 5, interval: "+interval+"}\n")
	s.env["DM_DROP_POINTS"] = "mx=smtp://" + server.Addr() + "?connections=1"
	s.worker()
	id = newID(s.t)
	s.rig.MailingID = id
	s.run("start", "-f", "letter.yaml", "--id", id).want(s.t, 3)
	return id
}

// The server's words follow the code, after the number of refusals in a row if there are many.
const (
	refusal  = "drop point mx refuses us: MAIL FROM was refused: 550 5.1.0"
	itsWords = `: "sender refused"`
)

func isRefusal(failure string) bool {
	return strings.HasPrefix(failure, refusal) && strings.HasSuffix(failure, itsWords)
}

func TestTheFirstFailureIsExplainedWithItsAttemptAndTheTimeOfTheNext(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	began := time.Now()
	server, stall := startRefusingServer(t)
	stall.ReleaseAll()
	id := s.startRefused(server, "2h")
	v := s.awaitMailing(id, "show explains the failure", func(m mailingStatus) bool { return len(m.Waiting) > 0 })
	w := v.Waiting[0]
	if len(v.Waiting) != 1 || w.Activity != "SendBatch" || w.What != "send through drop point mx" ||
		!isRefusal(w.Failure) || w.Count != 1 || w.Attempt != 1 || w.Of != 5 || w.Running {
		t.Errorf("%+v", v)
	}
	if w.NextAttempt.Before(began.Add(2*time.Hour)) || w.NextAttempt.After(time.Now().Add(2*time.Hour)) {
		t.Errorf("the next attempt is at %v, and it is %v", w.NextAttempt, time.Now())
	}
	at := w.NextAttempt.Local().Format("2006-01-02 15:04:05 MST")
	s.runShow(id).want(t, 0, "mx waits until "+at+", after attempt 1 of 5: "+refusal+itsWords)
	line := s.watch(id)
	if line.next(); !strings.Contains(line.lines.Text(), `"attempt":1,"of":5,"next_attempt":"`) {
		t.Errorf("watch: %s", line.lines.Text())
	}
	_ = line.cmd.Process.Kill()
	s.run("cancel", id).want(t, 0)
	s.run("watch", id).want(t, 8)
	if v := s.status(id); len(v.Waiting) > 0 {
		t.Errorf("a mailing that is over waits: %+v", v)
	}
}

func TestEachOfTheAttemptsIsCountedUntilTheMailingIsSuspended(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	server, stall := startRefusingServer(t)
	id := s.startRefused(server, "10ms")
	for failed := 1; failed < 5; failed++ {
		s.rig.Eventually(fmt.Sprintf("attempt %d has failed and the next one runs", failed), func() bool {
			n := stall.Waiting() // of the attempt that runs while the workflow is asked
			v, err := s.rig.Status()
			if err == nil && n > 0 && len(v.DropPoints) == 1 && v.DropPoints[0].Failures == failed {
				return true
			}
			stall.Release(n)
			return false
		})
		v := s.status(id)
		if len(v.Waiting) != 1 {
			t.Fatalf("%+v", v)
		}
		if w := v.Waiting[0]; !isRefusal(w.Failure) || w.Of != 5 || w.Attempt != failed || !w.Running ||
			!w.NextAttempt.IsZero() {
			t.Errorf("%+v", v)
		}
		s.runShow(id).want(t, 0, fmt.Sprintf("mx is retried, after attempt %d of 5: "+refusal, failed), itsWords)
	}
	s.rig.AwaitStatus("it is suspended", func(v workflows.Status) bool {
		stall.Release(stall.Waiting())
		return v.State == workflows.StateSuspended
	})
	// probed, or on trial
	if w := s.status(id).Waiting; len(w) != 1 || !isRefusal(w[0].Failure) || w[0].Attempt < 5 || w[0].Of != 5 {
		t.Errorf("%+v", w)
	}
	s.run("cancel", id).want(t, 0)
	stall.ReleaseAll()
	s.run("watch", id).want(t, 8)
}

// Only Temporal knows of an activity that it tries again.
func TestABatchWhosePagesAreAwayIsExplainedWhileItIsTriedAgain(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "60") // so that it is not asked twice more at once
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(server.Close)
	s := newShell(t)
	s.writeLetter()
	s.env["DM_PAGE_HOSTS"] = strings.TrimPrefix(server.URL, "http://")
	s.write("letter.yaml", strings.Split(letter,
		"content:")[0]+"content:\n  page_url: "+server.URL+"/page\nbatch_size: 1\nretry:\n  page: {attempts: 7, "+
		"interval: 2h}\n")
	s.worker()
	id := newID(t)
	began := time.Now()
	s.run("start", "-f", "letter.yaml", "--id", id).want(t, 3)
	v := s.awaitMailing(id, "each batch has failed", func(m mailingStatus) bool {
		return len(m.Waiting) == 1 && m.Waiting[0].Count == 3 && !m.Waiting[0].Running
	})
	w := v.Waiting[0]
	if v.State != "sending" || w.Activity != "RenderBatch" || w.What != "render 3 batches" ||
		w.Failure != "the page server is unavailable: 127.0.0.1 answered 503" ||
		w.Attempt != 1 || w.Of != 7 || w.NextAttempt.Before(began.Add(2*time.Hour)) ||
		w.NextAttempt.After(time.Now().Add(2*time.Hour)) {
		t.Errorf("%+v", v)
	}
	text := "render 3 batches: " + w.Failure + "; attempt 1 of 7 has failed, next attempt at " +
		w.NextAttempt.Local().Format("2006-01-02 15:04:05 MST")
	s.runShow(id).want(t, 0, text)
	s.run("cancel", id).want(t, 0)
	s.run("watch", id).want(t, 8)
}
