// Package crash shows what a mailing does when a process dies at a chosen step: a worker, an SMTP
// server, PostgreSQL or Temporal.
package crash

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"directmailer/internal/dev/smtptest"
	"directmailer/internal/ledger"
	"directmailer/test/rig"
	"directmailer/workflows"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

// onNth calls do when the server has got to phase for the nth time, and holds that message's answer back for as long as do takes.
func onNth(phase string, n int64, do func()) func(smtptest.Event) *smtptest.Action {
	var seen atomic.Int64
	return func(e smtptest.Event) *smtptest.Action {
		if e.Phase == phase && seen.Add(1) == n {
			do()
		}
		return nil
	}
}

// A worker that is killed at any step of the protocol loses nobody; at most one message a connection is sent twice, or, on hold, is
// uncertain and sent at most once.
func TestAWorkerKilledAtAnyStepLosesNobodyAndKeepsTheDuplicateBound(t *testing.T) {
	t.Parallel()
	for _, phase := range []string{"RCPT", "DATA", "BODY", "DOT"} {
		for _, policy := range []workflows.OnUncertain{workflows.Resend, workflows.Hold} {
			t.Run(fmt.Sprintf("%s,%s", phase, policy), func(t *testing.T) {
				t.Parallel()
				const recipients = 120
				var r *rig.Rig
				var victim *rig.Worker
				var mu sync.Mutex
				s := smtptest.Start(t, smtptest.Options{Script: onNth(phase, 50, func() {
					mu.Lock()
					defer mu.Unlock()
					victim.Kill()
					<-victim.Exited
				})})
				r = rig.New(t, rig.MX(s))
				r.ImportList(recipients)
				mu.Lock()
				victim = r.StartWorker()
				mu.Unlock()
				in := rig.Mailing(40)
				in.OnUncertain = policy
				run := r.Start(in)
				<-victim.Exited
				r.StartWorker()
				result := r.Result(run)
				duplicates := r.Judge(s.Copies(), recipients)
				switch {
				case result.State != workflows.StateCompleted:
					t.Errorf("result %+v", result)
				case policy == workflows.Resend && (duplicates > rig.Connections || result.Counts.Sent != recipients):
					t.Errorf("%d duplicates over %d connections; %+v", duplicates, rig.Connections, result.Counts)
				case policy == workflows.Hold && (duplicates > 0 || result.Counts.Uncertain > rig.Connections || result.Counts.Sent+result.Counts.Uncertain != recipients):
					t.Errorf("on hold: %d duplicates; %+v", duplicates, result.Counts)
				}
			})
		}
	}
}

func TestThreeWorkersShareAMailingAndOneOfThemDies(t *testing.T) {
	t.Parallel()
	const recipients = 400
	var victim *rig.Worker
	ready := make(chan struct{})
	s := smtptest.Start(t, smtptest.Options{Script: onNth("DOT", 100, func() { <-ready; victim.Kill(); <-victim.Exited })})
	r := rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	victim = r.StartWorker("DM_MAX_BATCHES=2")
	r.StartWorker("DM_MAX_BATCHES=2")
	r.StartWorker("DM_MAX_BATCHES=2")
	close(ready)
	result := r.Result(r.Start(rig.Mailing(20)))
	if duplicates := r.Judge(s.Copies(), recipients); duplicates > rig.Connections || result.Counts.Sent != recipients {
		t.Errorf("%d duplicates over %d connections; %+v", duplicates, rig.Connections, result.Counts)
	}
}

// A worker that hangs is taken for dead, and its batch is given to another; when it wakes up, its fence is gone.
func TestAWorkerThatWakesUpAfterItsBatchWasGivenAwaySendsAtMostWhatWasInFlight(t *testing.T) {
	t.Parallel()
	const recipients = 60
	var sleeper *rig.Worker
	ready := make(chan struct{})
	s := smtptest.Start(t, smtptest.Options{Script: onNth("DATA", 20, func() { <-ready; sleeper.Signal(syscall.SIGSTOP) })})
	r := rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	sleeper = r.StartWorker()
	close(ready)
	run := r.Start(rig.Mailing(60))
	r.Eventually("the worker has been stopped in the middle", func() bool { return len(s.Received()) >= 15 })
	r.StartWorker()
	result := r.Result(run)
	sleeper.Signal(syscall.SIGCONT)
	r.Eventually("the sleeper notices that it is fenced off", func() bool { return s.Quiet() })
	if duplicates := r.Judge(s.Copies(), recipients); duplicates > rig.Connections || result.Counts.Sent != recipients {
		t.Errorf("%d duplicates over %d connections; %+v", duplicates, rig.Connections, result.Counts)
	}
}

// From the signal on, the server takes a message at each look of the test: it takes much longer to
// send all than to stop.
func TestAWorkerThatIsAskedToStopHandsItsBatchesBackWithNothingUncertain(t *testing.T) {
	t.Parallel()
	const recipients, first = 1000, 60
	s, stall := rig.StalledServer(t, first)
	r := rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	w := r.StartWorker()
	run := r.Start(rig.Mailing(recipients / 2))
	r.AwaitStalled(s, stall, first)
	w.Signal(syscall.SIGTERM)
	r.Eventually("the worker has ended", func() bool {
		stall.Release(1)
		select {
		case <-w.Exited:
			return true
		default:
			return false
		}
	})
	if code := w.Cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	// A turn of ten seconds is a hundred looks.
	if after := len(s.Received()) - first; after > 60 {
		t.Errorf("it did not stop: %d messages after the signal", after)
	} else {
		t.Logf("%d messages after the signal", after)
	}
	stall.ReleaseAll()
	r.StartWorker()
	result := r.Result(run)
	if duplicates := r.Judge(s.Copies(), recipients); duplicates > 0 || result.Counts.Sent != recipients || result.Counts.PossiblyTwice > 0 {
		t.Errorf("%d duplicates; %+v", duplicates, result.Counts)
	}
}

// The server dies at every step of the protocol, again and again: nothing is lost, and a duplicate comes only of an answer that was
// not given.
func TestAServerThatDiesAtAnyStepLosesNobody(t *testing.T) {
	t.Parallel()
	for _, phase := range []string{"connect", "EHLO", "MAIL", "RCPT", "DATA", "BODY", "DOT", "DOT accepted"} {
		for _, policy := range []workflows.OnUncertain{workflows.Resend, workflows.Hold} {
			t.Run(fmt.Sprintf("%s,%s", phase, policy), func(t *testing.T) {
				t.Parallel()
				const recipients, every = 60, 13
				var n atomic.Int64
				wanted, accept := phase, false
				if phase == "DOT accepted" {
					wanted, accept = "DOT", true
				}
				s := smtptest.Start(t, smtptest.Options{Script: rig.LimitDeaths(func(e smtptest.Event) *smtptest.Action {
					if e.Phase == wanted && n.Add(1)%every == 5 {
						return &smtptest.Action{Die: true, Accept: accept}
					}
					return nil
				})})
				r := rig.New(t, rig.MX(s))
				r.ImportList(recipients)
				r.StartWorker()
				in := rig.Mailing(30)
				in.OnUncertain = policy
				result := r.Result(r.Start(in))
				duplicates := r.Judge(s.Copies(), recipients)
				died := int(n.Load()/every + 1)
				switch {
				case policy == workflows.Hold && duplicates > 0, !accept && duplicates > 0, duplicates > died:
					t.Errorf("%d duplicates after %d faults", duplicates, died)
				case policy == workflows.Resend && result.Counts.Sent != recipients:
					t.Errorf("%+v", result.Counts)
				case result.Counts.Sent+result.Counts.Uncertain != recipients:
					t.Errorf("%+v", result.Counts)
				}
			})
		}
	}
}

// A server that takes every message and answers none: sending again has an end.
func TestAServerThatNeverAnswersIsNotSentToForEver(t *testing.T) {
	t.Parallel()
	const recipients = 6
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "DOT" {
			return &smtptest.Action{Die: true, Accept: true}
		}
		return nil
	}})
	r := rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	r.StartWorker()
	in := rig.Mailing(3)
	in.Retry.DropPoint = workflows.Retry{Attempts: 100, Interval: in.Retry.DropPoint.Interval}
	result := r.Result(r.Start(in))
	if result.Counts.Uncertain != recipients {
		t.Errorf("%+v", result.Counts)
	}
	for a, n := range s.Copies() {
		if n > ledger.MaxUncertain {
			t.Errorf("%s was sent to %d times", a, n)
		}
	}
}
