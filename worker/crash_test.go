package main_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"directmailer/internal/dev/smtptest"
	"directmailer/internal/ledger"
	"directmailer/workflows"
)

const lanes = 4

func mx(s *smtptest.Server) string {
	return fmt.Sprintf("mx=smtp://%s?connections=%d", s.Addr(), lanes)
}

// after calls do when the server has got to phase for the nth time, and holds that message's answer back for as long as do takes.
func after(phase string, n int64, do func()) func(smtptest.Event) *smtptest.Action {
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
				var p *plant
				var victim *worker
				var mu sync.Mutex
				s := smtptest.Start(t, smtptest.Options{Script: after(phase, 50, func() {
					mu.Lock()
					defer mu.Unlock()
					victim.kill()
					<-victim.exited
				})})
				p = newPlant(t, mx(s))
				p.importList(recipients)
				mu.Lock()
				victim = p.startWorker()
				mu.Unlock()
				in := mailing(40)
				in.OnUncertain = policy
				run := p.start(in)
				<-victim.exited
				p.startWorker()
				r := p.result(run)
				duplicates := p.judge(s.Copies(), recipients)
				switch {
				case r.State != workflows.StateCompleted:
					t.Errorf("result %+v", r)
				case policy == workflows.Resend && (duplicates > lanes || r.Counts.Sent != recipients):
					t.Errorf("%d duplicates over %d connections; %+v", duplicates, lanes, r.Counts)
				case policy == workflows.Hold && (duplicates > 0 || r.Counts.Uncertain > lanes || r.Counts.Sent+r.Counts.Uncertain != recipients):
					t.Errorf("on hold: %d duplicates; %+v", duplicates, r.Counts)
				}
			})
		}
	}
}

func TestThreeWorkersShareAMailingAndOneOfThemDies(t *testing.T) {
	t.Parallel()
	const recipients = 400
	var victim *worker
	ready := make(chan struct{})
	s := smtptest.Start(t, smtptest.Options{Script: after("DOT", 100, func() { <-ready; victim.kill(); <-victim.exited })})
	p := newPlant(t, mx(s))
	p.importList(recipients)
	victim = p.startWorker("DM_MAX_BATCHES=2")
	p.startWorker("DM_MAX_BATCHES=2")
	p.startWorker("DM_MAX_BATCHES=2")
	close(ready)
	r := p.result(p.start(mailing(20)))
	if duplicates := p.judge(s.Copies(), recipients); duplicates > lanes || r.Counts.Sent != recipients {
		t.Errorf("%d duplicates over %d connections; %+v", duplicates, lanes, r.Counts)
	}
}

// A worker that hangs is taken for dead, and its batch is given to another; when it wakes up, its fence is gone.
func TestAWorkerThatWakesUpAfterItsBatchWasGivenAwaySendsAtMostWhatWasInFlight(t *testing.T) {
	t.Parallel()
	const recipients = 60
	var sleeper *worker
	ready := make(chan struct{})
	s := smtptest.Start(t, smtptest.Options{Script: after("DATA", 20, func() { <-ready; sleeper.signal(syscall.SIGSTOP) })})
	p := newPlant(t, mx(s))
	p.importList(recipients)
	sleeper = p.startWorker()
	close(ready)
	run := p.start(mailing(60))
	p.eventually("the worker has been stopped in the middle", func() bool { return len(s.Received()) >= 15 })
	p.startWorker()
	r := p.result(run)
	sleeper.signal(syscall.SIGCONT)
	p.eventually("the sleeper notices that it is fenced off", func() bool { return s.Quiet() })
	if duplicates := p.judge(s.Copies(), recipients); duplicates > lanes || r.Counts.Sent != recipients {
		t.Errorf("%d duplicates over %d connections; %+v", duplicates, lanes, r.Counts)
	}
}

// From the signal on, the server takes a message at each look of the test: it takes much longer to
// send all than to stop.
func TestAWorkerThatIsAskedToStopHandsItsBatchesBackWithNothingUncertain(t *testing.T) {
	t.Parallel()
	const recipients, first = 1000, 60
	s, stall := held(t, first)
	p := newPlant(t, mx(s))
	p.importList(recipients)
	w := p.startWorker()
	run := p.start(mailing(recipients / 2))
	p.full(s, stall, first)
	w.signal(syscall.SIGTERM)
	p.eventually("the worker has ended", func() bool {
		stall.Release(1)
		select {
		case <-w.exited:
			return true
		default:
			return false
		}
	})
	if code := w.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	// A turn of ten seconds is a hundred looks.
	if after := len(s.Received()) - first; after > 60 {
		t.Errorf("it did not stop: %d messages after the signal", after)
	} else {
		t.Logf("%d messages after the signal", after)
	}
	stall.ReleaseAll()
	p.startWorker()
	r := p.result(run)
	if duplicates := p.judge(s.Copies(), recipients); duplicates > 0 || r.Counts.Sent != recipients || r.Counts.PossiblyTwice > 0 {
		t.Errorf("%d duplicates; %+v", duplicates, r.Counts)
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
				s := smtptest.Start(t, smtptest.Options{Script: sparing(func(e smtptest.Event) *smtptest.Action {
					if e.Phase == wanted && n.Add(1)%every == 5 {
						return &smtptest.Action{Die: true, Accept: accept}
					}
					return nil
				})})
				p := newPlant(t, mx(s))
				p.importList(recipients)
				p.startWorker()
				in := mailing(30)
				in.OnUncertain = policy
				r := p.result(p.start(in))
				duplicates := p.judge(s.Copies(), recipients)
				died := int(n.Load()/every + 1)
				switch {
				case policy == workflows.Hold && duplicates > 0, !accept && duplicates > 0, duplicates > died:
					t.Errorf("%d duplicates after %d faults", duplicates, died)
				case policy == workflows.Resend && r.Counts.Sent != recipients:
					t.Errorf("%+v", r.Counts)
				case r.Counts.Sent+r.Counts.Uncertain != recipients:
					t.Errorf("%+v", r.Counts)
				}
			})
		}
	}
}

// sparing is the script of a server that dies at the messages of one recipient fewer times than the
// product sends without an answer. Where the deaths fall by chance, a recipient would else be
// uncertain for good now and then.
func sparing(script func(smtptest.Event) *smtptest.Action) func(smtptest.Event) *smtptest.Action {
	var mu sync.Mutex
	deaths := map[string]int{}
	return func(e smtptest.Event) *smtptest.Action {
		a := script(e)
		if a == nil || !a.Die || e.Phase != "BODY" && e.Phase != "DOT" {
			return a
		}
		mu.Lock()
		defer mu.Unlock()
		if deaths[e.To] == ledger.MaxUncertain-1 {
			return nil
		}
		deaths[e.To]++
		return a
	}
}

func TestADeadDropPointsRecipientsGoToTheOther(t *testing.T) {
	t.Parallel()
	const recipients = 100
	var served atomic.Int64
	dying := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "connect" && served.Load() >= 10 {
			return &smtptest.Action{Die: true}
		}
		if e.Phase == "MAIL" && served.Add(1) > 10 {
			return &smtptest.Action{Die: true}
		}
		return nil
	}})
	alive := smtptest.Start(t, smtptest.Options{})
	p := newPlant(t, fmt.Sprintf("one=smtp://%s two=smtp://%s", dying.Addr(), alive.Addr()))
	p.importList(recipients)
	p.startWorker()
	in := mailing(10)
	in.Retry.DropPoint.Attempts = 2
	r := p.result(p.start(in))
	copies := alive.Copies()
	for a, n := range dying.Copies() {
		copies[a] += n
	}
	if duplicates := p.judge(copies, recipients); duplicates > 0 || r.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", duplicates, r.Counts)
	}
	s, err := p.status()
	if err != nil || s.DropPoints[0].LastFailure == "" || s.DropPoints[1].LastFailure != "" {
		t.Errorf("status %+v, %v", s, err)
	}
	used := map[string]int{}
	for _, l := range p.report() {
		used[l.DropPoint]++
	}
	if used["one"] == 0 || used["two"] == 0 {
		t.Errorf("drop points used: %v", used)
	}
}

func TestWhatAServerSaysOfEachRecipientIsInTheLedger(t *testing.T) {
	t.Parallel()
	answers := map[string]string{address(1): "550 5.1.1 unknown", address(2): "550 5.2.1 disabled", address(3): "554 5.7.1 not wanted"}
	var deferred atomic.Int64
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase != "RCPT" {
			return nil
		}
		if a, ok := answers[e.To]; ok && (e.To != address(3) || deferred.Add(1) < 3) {
			return &smtptest.Action{Reply: a}
		}
		if e.To == address(4) && deferred.Add(1) < 3 {
			return &smtptest.Action{Reply: "451 4.7.1 greylisted, come again"}
		}
		return nil
	}})
	p := newPlant(t, mx(s))
	p.importList(10)
	p.startWorker()
	r := p.result(p.start(mailing(10)))
	p.judge(s.Copies(), 10)
	if r.Counts.Sent != 8 || r.Counts.Bounced != 2 {
		t.Errorf("%+v", r.Counts)
	}
	lines := p.report()
	if l := lines[address(1)]; l.Outcome != ledger.Bounced || l.Code != 550 || l.Enhanced != "5.1.1" || l.Reply != "unknown" || l.DropPoint != "mx" {
		t.Errorf("%+v", l)
	}
	if l := lines[address(4)]; l.Outcome != ledger.Sent || l.Attempts < 2 || l.PossiblyTwice {
		t.Errorf("%+v", l)
	}
	var suppressed []string
	if err := p.pool.QueryRow(t.Context(), `SELECT array_agg(address_key) FROM opt_outs`).Scan(&suppressed); err != nil || len(suppressed) != 1 || suppressed[0] != address(1) {
		t.Errorf("suppressed for later mailings: %v, %v", suppressed, err)
	}
}

// One recipient's own server rule must not take a drop point that works off the list, nor hold up the others.
func TestARecipientRefusedByPolicyDoesNotStopTheMailing(t *testing.T) {
	t.Parallel()
	const recipients = 11
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "RCPT" && e.To == address(recipients) { // alone in the last batch
			return &smtptest.Action{Reply: "550 5.7.1 not from you"}
		}
		return nil
	}})
	p := newPlant(t, mx(s))
	p.importList(recipients)
	p.startWorker()
	in := mailing(10)
	in.Retry.DropPoint.Attempts = 1
	p.start(in)
	p.eventually("all others have got it and the one is tried again later", func() bool {
		st, err := p.status()
		return err == nil && st.Counts.Sent == recipients-1 && st.State == workflows.StateSending && st.DropPoints[0].InList && p.report()[address(recipients)].Attempts > 1
	})
	if err := p.temporal.CancelWorkflow(t.Context(), p.id(), ""); err != nil {
		t.Fatal(err)
	}
	p.eventually("the ledger is closed", func() bool { return p.report()[address(recipients)].Outcome == ledger.Unsent })
	p.judge(s.Copies(), recipients)
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
	p := newPlant(t, mx(s))
	p.importList(recipients)
	p.startWorker()
	in := mailing(3)
	in.Retry.DropPoint = workflows.Retry{Attempts: 100, Interval: in.Retry.DropPoint.Interval}
	r := p.result(p.start(in))
	if r.Counts.Uncertain != recipients {
		t.Errorf("%+v", r.Counts)
	}
	for a, n := range s.Copies() {
		if n > ledger.MaxUncertain {
			t.Errorf("%s was sent to %d times", a, n)
		}
	}
}

// afterEach does the same the first times that the server gets to phase.
func afterEach(phase string, times int64, a *smtptest.Action) func(smtptest.Event) *smtptest.Action {
	var seen atomic.Int64
	return func(e smtptest.Event) *smtptest.Action {
		if e.Phase == phase && seen.Add(1) <= times {
			return a
		}
		return nil
	}
}
