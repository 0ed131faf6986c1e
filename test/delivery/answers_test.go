package delivery

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"directmailer/internal/dev/smtptest"
	"directmailer/internal/ledger"
	"directmailer/test/rig"
	"directmailer/workflows"
)

func TestWhatAServerSaysOfEachRecipientIsInTheLedger(t *testing.T) {
	t.Parallel()
	answers := map[string]string{rig.Address(1): "550 5.1.1 unknown", rig.Address(2): "550 5.2.1 disabled",
		rig.Address(3): "554 5.7.1 not wanted"}
	var refused, greylisted atomic.Int64
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase != "RCPT" {
			return nil
		}
		if a, ok := answers[e.To]; ok && (e.To != rig.Address(3) || refused.Add(1) < 3) {
			return &smtptest.Action{Reply: a}
		}
		if e.To == rig.Address(4) && greylisted.Add(1) < 3 {
			return &smtptest.Action{Reply: "451 4.7.1 greylisted, come again"}
		}
		return nil
	}})
	r := rig.New(t, rig.MX(s))
	r.ImportList(10)
	r.StartWorker()
	result := r.Result(r.Start(rig.Mailing(10)))
	r.Judge(s.Copies(), 10)
	if result.Counts.Sent != 8 || result.Counts.Bounced != 2 {
		t.Errorf("%+v", result.Counts)
	}
	lines := r.Report()
	if l := lines[rig.Address(1)]; l.Outcome != ledger.Bounced || l.Code != 550 || l.Enhanced != "5.1.1" ||
		l.Reply != "unknown" || l.DropPoint != "mx" {
		t.Errorf("%+v", l)
	}
	if l := lines[rig.Address(4)]; l.Outcome != ledger.Sent || l.Attempts < 2 || l.PossiblyTwice {
		t.Errorf("%+v", l)
	}
	var suppressed []string
	err := r.Pool.QueryRow(t.Context(), `SELECT array_agg(address_key) FROM suppressions`).Scan(&suppressed)
	if err != nil || len(suppressed) != 1 || suppressed[0] != rig.Address(1) {
		t.Errorf("suppressed for later mailings: %v, %v", suppressed, err)
	}
}

// A 5.7.x refusal of one recipient must not take a working drop point off the list, and must not
// delay the other recipients.
func TestARecipientRefusedByPolicyDoesNotStopTheMailing(t *testing.T) {
	t.Parallel()
	const recipients = 11
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "RCPT" && e.To == rig.Address(recipients) { // alone in the last batch
			return &smtptest.Action{Reply: "550 5.7.1 not from you"}
		}
		return nil
	}})
	r := rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	r.StartWorker()
	in := rig.Mailing(10)
	in.Retry.DropPoint.Attempts = 1
	r.Start(in)
	r.Eventually("all others have got it and the one is tried again later", func() bool {
		st, err := r.Status()
		return err == nil && st.Counts.Sent == recipients-1 && st.State == workflows.StateSending &&
			st.DropPoints[0].InList && r.Report()[rig.Address(recipients)].Attempts > 1
	})
	if err := r.Temporal.CancelWorkflow(t.Context(), r.ID(), ""); err != nil {
		t.Fatal(err)
	}
	r.Eventually("the ledger is closed", func() bool {
		return r.Report()[rig.Address(recipients)].Outcome == ledger.Unsent
	})
	r.Judge(s.Copies(), recipients)
}

// Greylisting: the server refuses each recipient at first and says when to try again. Then all get
// their mail, in batches as large as those of the list.
func TestGreylistedRecipientsGetTheirMailInFullBatchesOfALaterRound(t *testing.T) {
	t.Parallel()
	const recipients = 300
	var mu sync.Mutex
	told := map[string]time.Time{} // the time at which each may try again, about the same for all
	var open time.Time
	early := 0
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase != "RCPT" {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		if open.IsZero() {
			open = now.Add(20 * time.Second)
		}
		at, known := told[e.To]
		if known && now.Before(at) {
			early++
		}
		if !known || now.Before(at) {
			seconds := max(1, int(open.Sub(now)/time.Second))
			told[e.To] = now.Add(time.Duration(seconds) * time.Second)
			return &smtptest.Action{Reply: fmt.Sprintf("450 4.2.0 Greylisted, try again in %d seconds", seconds)}
		}
		return nil
	}})
	r := rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	r.StartWorker()
	in := rig.Mailing(50)
	hour := workflows.Duration(time.Hour)
	in.Deferral.First, in.Deferral.Most = hour, hour // the server's answer says some seconds instead
	in.MaxErrorPercent, in.ErrorMinimum = 1, 1       // a deferral is no error
	result := r.Result(r.Start(in))
	if d := r.Judge(s.Copies(), recipients); d > 0 || result.Counts.Sent != recipients || early > 0 {
		t.Errorf("%d duplicates, %d tried too early; %+v", d, early, result.Counts)
	}
	var later, full int
	if err := r.Pool.QueryRow(t.Context(), `SELECT count(*), count(*) FILTER (WHERE cardinality(members) = 50)
		FROM batches WHERE members IS NOT NULL`).Scan(&later, &full); err != nil {
		t.Fatal(err)
	}
	if full < 4 || later > 10 { // six of 50 if all are tried within 20 seconds
		t.Errorf("%d batches of later rounds, %d of them full", later, full)
	}
}

func TestADeferredRecipientIsFailedWhenItsTimeIsOver(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "RCPT" && e.To == rig.Address(2) {
			return &smtptest.Action{Reply: "452 4.2.2 mailbox full"}
		}
		return nil
	}})
	r := rig.New(t, rig.MX(s))
	r.ImportList(3)
	r.StartWorker()
	run := r.Start(rig.Mailing(3)) // for an hour
	r.AwaitStatus("the recipient was refused twice", func(s workflows.Status) bool {
		return s.Counts.Sent == 2 && r.Report()[rig.Address(2)].Attempts >= 2
	})
	if _, err := r.Pool.Exec(t.Context(),
		`UPDATE deliveries SET answered_at = answered_at - interval '2 hours'`); err != nil {
		t.Fatal(err)
	}
	result := r.Result(run)
	r.Judge(s.Copies(), 3)
	if l := r.Report()[rig.Address(2)]; result.Counts.Failed != 1 || l.Outcome != ledger.Failed || l.Code != 452 ||
		l.Reply != "mailbox full" || l.Attempts < 2 {
		t.Errorf("%+v; %+v", result.Counts, l)
	}
}

func TestAServerThatRefusesUsIsLeftAndNoRecipientIsBlamed(t *testing.T) {
	t.Parallel()
	const recipients = 200
	refusing := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "MAIL" {
			return &smtptest.Action{Reply: "550 5.7.1 your host is on a list"}
		}
		return nil
	}})
	// It accepts a message at each check of the test, so that it cannot send all the mail before the
	// other one has refused some.
	good, stall := rig.StalledServer(t, 0)
	r := rig.New(t, fmt.Sprintf("bad=smtp://%s good=smtp://%s", refusing.Addr(), good.Addr()))
	r.ImportList(recipients)
	r.StartWorker()
	run := r.Start(rig.Mailing(20))
	r.AwaitStatus("the refusals are known", func(s workflows.Status) bool {
		stall.Release(1)
		return len(s.DropPoints) == 2 && strings.Contains(s.DropPoints[0].LastFailure, "5.7.1")
	})
	stall.ReleaseAll()
	result := r.Result(run)
	if d := r.Judge(good.Copies(), recipients); d > 0 || result.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", d, result.Counts)
	}
}

func TestTheErrorLimitStopsAMailingWhoseListIsBad(t *testing.T) {
	t.Parallel()
	const recipients = 2000
	stall := smtptest.NewStall("RCPT", 0) // the test releases one answer for each connection at a time
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase != "RCPT" {
			return nil
		}
		return &smtptest.Action{Wait: stall.Wait(), Reply: "550 5.1.1 unknown"}
	}})
	r := rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	r.StartWorker()
	in := rig.Mailing(20)
	in.MaxErrorPercent, in.ErrorMinimum = 10, 40
	r.Start(in)
	r.AwaitStatus("it is suspended, and says why", func(s workflows.Status) bool {
		stall.Release(rig.Connections)
		return s.State == workflows.StateSuspended && strings.Contains(s.Doing, "error limit") && !s.Since.IsZero()
	})
	stall.ReleaseAll()
	r.MustUpdate(workflows.CancelUpdate)
	result := r.Result(r.Temporal.GetWorkflow(t.Context(), r.ID(), ""))
	r.Judge(s.Copies(), recipients)
	if result.State != workflows.StateCancelled || result.Counts.Bounced > recipients/2 || result.Counts.Bounced < 40 ||
		result.Counts.Bounced+result.Counts.Unsent != recipients {
		t.Errorf("%+v", result)
	}
}
