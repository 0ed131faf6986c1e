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

// onNth returns a script that calls do when the server gets to phase for the nth time. The server
// answers that event when do returns.
func onNth(phase string, n int64, do func()) func(smtptest.Event) *smtptest.Action {
	var seen atomic.Int64
	return func(e smtptest.Event) *smtptest.Action {
		if e.Phase == phase && seen.Add(1) == n {
			do()
		}
		return nil
	}
}

// A worker is killed at each step of the protocol. No recipient is lost. Each connection sends at
// most one message twice. With the policy hold, that message is uncertain and sent at most once.
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
				r.AwaitExit(victim)
				r.StartWorker()
				result := r.Result(run)
				duplicates := r.Judge(s.Copies(), recipients)
				switch {
				case result.State != workflows.StateCompleted:
					t.Errorf("result %+v", result)
				case policy == workflows.Resend && (duplicates > rig.Connections || result.Counts.Sent != recipients):
					t.Errorf("%d duplicates over %d connections; %+v", duplicates, rig.Connections, result.Counts)
				case policy == workflows.Hold &&
					(duplicates > 0 || result.Counts.Uncertain > rig.Connections ||
						result.Counts.Sent+result.Counts.Uncertain != recipients):
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
	s := smtptest.Start(t, smtptest.Options{Script: onNth("DOT", 100,
		func() { <-ready; victim.Kill(); <-victim.Exited })})
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

// Temporal takes a worker that hangs for dead and gives its batch to another worker. When the first
// one goes on, its fence is out of date.
func TestAWorkerThatWakesUpAfterItsBatchWasGivenAwaySendsAtMostWhatWasInFlight(t *testing.T) {
	t.Parallel()
	const recipients = 60
	var sleeper *rig.Worker
	ready := make(chan struct{})
	s := smtptest.Start(t, smtptest.Options{Script: onNth("DATA", 20,
		func() { <-ready; sleeper.Signal(syscall.SIGSTOP) })})
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

// After the signal, the server accepts a message at each check of the test, so sending all takes
// much longer than stopping.
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
	// The test makes a hundred checks in a turn of ten seconds.
	if after := len(s.Received()) - first; after > 60 {
		t.Errorf("it did not stop: %d messages after the signal", after)
	} else {
		t.Logf("%d messages after the signal", after)
	}
	stall.ReleaseAll()
	r.StartWorker()
	result := r.Result(run)
	if duplicates := r.Judge(s.Copies(), recipients); duplicates > 0 || result.Counts.Sent != recipients ||
		result.Counts.PossiblyTwice > 0 {
		t.Errorf("%d duplicates; %+v", duplicates, result.Counts)
	}
}

// The server closes the connection at a step of the protocol, again and again. No recipient is
// lost, and only a message without an answer is sent twice.
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
				script := rig.LimitDeaths(func(e smtptest.Event) *smtptest.Action {
					if e.Phase == wanted && n.Add(1)%every == 5 {
						return &smtptest.Action{Die: true, Accept: accept}
					}
					return nil
				})
				s := smtptest.Start(t, smtptest.Options{Script: script})
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

// The server accepts every message and answers none. The mailing stops sending again after a few
// attempts.
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
