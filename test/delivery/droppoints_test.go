// Package delivery shows how a mailing's messages reach drop points: which drop point and which
// worker takes a message, and what follows from each answer of a server.
package delivery

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"directmailer/internal/dev/smtptest"
	"directmailer/test/rig"
	"directmailer/workflows"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

func TestADeadDropPointsRecipientsGoToTheOther(t *testing.T) {
	t.Parallel()
	const recipients = 100
	var served atomic.Int64
	dying := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "connect" && served.Load() >= 10 {
			return &smtptest.Action{Die: true}
		}
		if e.Phase == "MAIL" {
			if served.Add(1) > 10 {
				return &smtptest.Action{Die: true}
			}
		}
		return nil
	}})
	// The other server accepts a message at each check of the test until then, so that it cannot send
	// all the mail alone.
	alive, stall := rig.StalledServer(t, 0)
	r := rig.New(t, fmt.Sprintf("one=smtp://%s?connections=4 two=smtp://%s?connections=4", dying.Addr(), alive.Addr()))
	r.ImportList(recipients)
	r.StartWorker()
	in := rig.Mailing(10)
	in.Retry.DropPoint.Attempts = 2
	run := r.Start(in)
	r.AwaitStatus("the drop point has failed", func(s workflows.Status) bool {
		stall.Release(1)
		return len(s.DropPoints) == 2 && s.DropPoints[0].LastFailure != ""
	})
	stall.ReleaseAll()
	result := r.Result(run)
	if duplicates := r.Judge(rig.Copies(alive, dying), recipients); duplicates > 0 || result.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", duplicates, result.Counts)
	}
	s, err := r.Status()
	if err != nil || s.DropPoints[0].LastFailure == "" || s.DropPoints[1].LastFailure != "" {
		t.Errorf("status %+v, %v", s, err)
	}
	used := map[string]int{}
	for _, l := range r.Report() {
		used[l.DropPoint]++
	}
	if used["one"] == 0 || used["two"] == 0 {
		t.Errorf("drop points used: %v", used)
	}
}

// A server is unavailable for longer than its attempts. The mailing takes it off the list, sends
// through the other server, probes the first one, and uses it again when it is back. The other
// server accepts a message at each check of the test, so that there is always something left to
// send.
func TestADropPointThatComesBackIsUsedAgain(t *testing.T) {
	t.Parallel()
	const recipients, first = 1500, 50
	var down atomic.Bool
	flakyStall := smtptest.NewStall("DOT", first)
	flaky := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if down.Load() {
			return &smtptest.Action{Die: true}
		}
		return flakyStall.Script(e)
	}})
	steady, steadyStall := rig.StalledServer(t, 0)
	r := rig.New(t, fmt.Sprintf("flaky=smtp://%s?connections=1 steady=smtp://%s?connections=1", flaky.Addr(),
		steady.Addr()))
	r.ImportList(recipients)
	r.StartWorker()
	in := rig.Mailing(20)
	in.Retry.DropPoint = workflows.Retry{Attempts: 2, Interval: workflows.Duration(100 * time.Millisecond)}
	run := r.Start(in)
	r.Eventually("the server has taken some", func() bool {
		steadyStall.Release(1)
		return len(flaky.Received()) == first && flakyStall.Waiting() == 1
	})
	down.Store(true)
	flaky.Drop()
	flakyStall.ReleaseAll()
	r.AwaitStatus("it has left the list, and is looked at", func(s workflows.Status) bool {
		steadyStall.Release(1)
		return s.State == workflows.StateSending && !s.DropPoints[0].InList && s.DropPoints[0].LastFailure != "" &&
			s.DropPoints[1].InList
	})
	before := len(flaky.Received())
	down.Store(false)
	r.Eventually("it is used again", func() bool {
		steadyStall.Release(1)
		return len(flaky.Received()) > before+20
	})
	steadyStall.ReleaseAll()
	result := r.Result(run)
	if d := r.Judge(rig.Copies(steady, flaky), recipients); d > 2 || result.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", d, result.Counts)
	}
}

// The slow server has a message on each of its two connections, and answers neither. The fast
// server accepts all other messages, also those of a batch whose turn ends before.
func TestASlowDropPointDoesNotHoldAFastOneBack(t *testing.T) {
	t.Parallel()
	const recipients, batch = 1000, 50
	release := make(chan struct{})
	slow := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "DOT" {
			return &smtptest.Action{Wait: release}
		}
		return nil
	}})
	fast := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, fmt.Sprintf("slow=smtp://%s?connections=2 fast=smtp://%s?connections=2", slow.Addr(), fast.Addr()))
	r.ImportList(recipients)
	r.StartWorker()
	run := r.Start(rig.Mailing(batch))
	r.Eventually("the fast server has accepted everything that does not wait at the slow one", func() bool {
		return len(fast.Received()) >= recipients-2
	})
	close(release)
	result := r.Result(run)
	if d := r.Judge(rig.Copies(fast, slow), recipients); d > 0 || result.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", d, result.Counts)
	}
}

// The slow server answers its first messages one after the other, so that its connections go from
// batch to batch, and then it answers none. If each connection then had a message of another batch,
// all eight batches of the worker would wait for the slow server.
func TestASlowDropPointKeepsOnlyAFewBatchesWaiting(t *testing.T) {
	t.Parallel()
	const recipients, batch, connections, between = 2000, 50, 8, 60
	var (
		mu      sync.Mutex
		had     int // final dots at the fast server
		asked   int // final dots at the slow server
		known   = make(chan struct{})
		answers [2 * connections]chan struct{}
		release = make(chan struct{})
	)
	for i := range answers {
		answers[i] = make(chan struct{})
	}
	slow := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase != "DOT" {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if asked++; asked == 1 {
			// A server that answers after more than a second is slow.
			time.AfterFunc(1200*time.Millisecond, func() { close(known); close(answers[0]) })
		}
		if asked > len(answers) {
			return &smtptest.Action{Wait: release}
		}
		return &smtptest.Action{Wait: answers[asked-1]}
	}})
	fast := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase != "DOT" {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if had++; had%between == 0 && had/between < len(answers) {
			close(answers[had/between])
		}
		return &smtptest.Action{Wait: known}
	}})
	r := rig.New(t, fmt.Sprintf("slow=smtp://%s?connections=%d fast=smtp://%s?connections=%d", slow.Addr(), connections,
		fast.Addr(), connections))
	r.ImportList(recipients)
	r.StartWorker()
	run := r.Start(rig.Mailing(batch))
	r.Eventually("the fast server has accepted everything that the slow one has not got", func() bool {
		return len(fast.Received()) >= recipients-len(answers)-connections
	})
	close(release)
	result := r.Result(run)
	if d := r.Judge(rig.Copies(fast, slow), recipients); d > 0 || result.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", d, result.Counts)
	}
}

func TestTheLossOfTheOnlyServerSuspendsTheMailingWhichGoesOnWhenItIsBack(t *testing.T) {
	t.Parallel()
	const recipients = 60
	var down atomic.Bool
	down.Store(true)
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "connect" && down.Load() {
			return &smtptest.Action{Reply: "554 5.7.1 <" + rig.Address(1) + "> your host is blocked"}
		}
		return nil
	}})
	r := rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	r.StartWorker()
	in := rig.Mailing(20)
	in.Retry.DropPoint.Attempts = 2
	run := r.Start(in)
	r.Eventually("the mailing is suspended and says why", func() bool {
		s, err := r.Status()
		return err == nil && s.State == workflows.StateSuspended && strings.Contains(s.Doing, "554") &&
			!strings.Contains(s.Doing, "@")
	})
	down.Store(false)
	r.Resume()
	if result := r.Result(run); result.Counts.Sent != recipients {
		t.Errorf("%+v", result)
	}
	if d := r.Judge(s.Copies(), recipients); d > 0 {
		t.Errorf("%d duplicates", d)
	}
}

// With on_exhausted: fail, the loss of the only drop point fails the mailing. The error names the
// drop point, and every recipient has an outcome.
func TestTheLossOfTheOnlyServerEndsAMailingThatIsToFail(t *testing.T) {
	t.Parallel()
	const recipients = 60
	var down atomic.Bool
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "DOT" && e.To == rig.Address(25) {
			down.Store(true)
		}
		if down.Load() {
			return &smtptest.Action{Die: true}
		}
		return nil
	}})
	r := rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	r.StartWorker()
	in := rig.Mailing(20)
	in.OnExhausted, in.Retry.DropPoint.Attempts = workflows.Fail, 2
	failure, result := r.Failure(r.Start(in))
	r.Judge(s.Copies(), recipients)
	if failure.Type() != "MailingFailed" || !strings.Contains(failure.Message(), "drop point mx") ||
		result.State != workflows.StateFailed || result.Counts.Unsent == 0 ||
		result.Counts.Total() != recipients {
		t.Errorf("%v; %+v", failure, result)
	}
}
