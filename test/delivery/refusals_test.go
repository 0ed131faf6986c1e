package delivery

import (
	"strings"
	"sync/atomic"
	"testing"

	"directmailer/internal/dev/smtptest"
	"directmailer/internal/ledger"
	"directmailer/test/rig"
	"directmailer/workflows"
)

// wantOpen waits until those whose message the server has accepted are sent in the ledger. It fails
// the test unless nobody else has an outcome.
func wantOpen(t *testing.T, r *rig.Rig, s *smtptest.Server) {
	t.Helper()
	lines := map[string]ledger.Line{}
	r.Eventually("those who are sent are in the ledger", func() bool {
		sent := 0
		lines = r.Report()
		for _, l := range lines {
			if l.Outcome == ledger.Sent {
				sent++
			}
		}
		return sent == len(s.Received())
	})
	for address, l := range lines {
		if l.Outcome != ledger.Sent && l.Outcome != ledger.Open {
			t.Errorf("%s is %s: %+v", address, l.Outcome, l)
		}
	}
}

// A server refuses everybody, from the start or after some. The mailing says so in the server's
// words, and ends well when the server relents.
func TestAServerThatRefusesEverybodyBouncesNobodyAndTheMailingGoesOnWhenItRelents(t *testing.T) {
	t.Parallel()
	const recipients = 60
	for name, c := range map[string]struct {
		phase, reply, quote string
		first               int32
	}{
		"quota":             {"DOT", "550 5.4.5 Daily user sending limit exceeded", "Daily user sending limit", 24},
		"hourly limit":      {"DOT", "550 Domain example.com exceeded the max emails per hour", "max emails per hour", 24},
		"not verified":      {"DOT", "554 Message rejected: Email address is not verified", "not verified", 0},
		"sender identity":   {"DOT", "550 The from address does not match a verified Sender Identity", "Sender Identity", 0},
		"relaying":          {"RCPT", "550 relay not permitted", "relay not permitted", 0},
		"blocklist":         {"RCPT", "550 rejected because 192.0.2.1 is in a black list at bl.example.net", "black list", 0},
		"nobody knows":      {"DOT", "554 Nous sommes fermés <news@example.com>", "Nous sommes fermés", 24},
		"in the connection": {"MAIL", "550 5.1.0 no mail from <news@example.com>", "no mail from", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var accepted atomic.Int32
			var open atomic.Bool
			s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
				if e.Phase == c.phase && !open.Load() && accepted.Add(1) > c.first {
					return &smtptest.Action{Reply: c.reply}
				}
				return nil
			}})
			r := rig.New(t, rig.MX(s))
			r.ImportList(recipients)
			r.StartWorker()
			in := rig.Mailing(20)
			in.Retry.DropPoint.Attempts = 2
			run := r.Start(in)
			r.AwaitStatus("it is suspended and quotes the server", func(s workflows.Status) bool {
				return s.State == workflows.StateSuspended && strings.Contains(s.Doing, c.quote) &&
					!strings.Contains(s.Doing, "@")
			})
			wantOpen(t, r, s)
			open.Store(true)
			result := r.Result(run)
			if d := r.Judge(s.Copies(), recipients); d > 0 || result.Counts.Sent != recipients {
				t.Errorf("%d duplicates; %+v", d, result.Counts)
			}
		})
	}
}

// A relay loses its map of recipients and calls everybody unknown. Small batches try again and
// again whether it works.
func TestARelayThatLosesItsMapOfRecipientsBouncesNobody(t *testing.T) {
	t.Parallel()
	const recipients = 60
	var asked, refused atomic.Int32
	var open atomic.Bool
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "RCPT" && !open.Load() && asked.Add(1) > 20 {
			refused.Add(1)
			return &smtptest.Action{Reply: "550 5.1.1 <" + e.To + "> unknown"}
		}
		return nil
	}})
	r := rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	if _, err := r.Pool.Exec(t.Context(), `
		UPDATE list_members SET address = replace(address, '@', '@d' || position % 7 || '.'),
			address_key = replace(address_key, '@', '@d' || position % 7 || '.')`); err != nil {
		t.Fatal(err)
	}
	r.StartWorker()
	in := rig.Mailing(5)
	in.Retry.DropPoint.Attempts = 2
	run := r.Start(in)
	suspended := func(s workflows.Status) bool {
		return s.State == workflows.StateSuspended && strings.Contains(s.Doing, "unknown")
	}
	r.AwaitStatus("it is suspended and quotes the server", suspended)
	before := refused.Load()
	r.AwaitStatus("two batches have tried again", func(s workflows.Status) bool {
		return suspended(s) && refused.Load() > before+5
	})
	wantOpen(t, r, s)
	open.Store(true)
	result := r.Result(run)
	if d := r.Judge(s.Copies(), recipients); d > 0 || result.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", d, result.Counts)
	}
}

// Of two relays one has used up its quota: the other sends the rest.
func TestTheQuotaOfOneOfTwoRelaysBouncesNobody(t *testing.T) {
	t.Parallel()
	const recipients = 200
	var accepted atomic.Int32
	poor := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "DOT" && accepted.Add(1) > 30 {
			return &smtptest.Action{Reply: "550 nothing more today"}
		}
		return nil
	}})
	rich, stall := rig.StalledServer(t, 0)
	r := rig.New(t, "poor=smtp://"+poor.Addr()+"?connections=2 rich=smtp://"+rich.Addr()+"?connections=2")
	r.ImportList(recipients)
	r.StartWorker()
	run := r.Start(rig.Mailing(50))
	r.AwaitStatus("the first relay is left", func(s workflows.Status) bool {
		stall.Release(1)
		return len(s.DropPoints) == 2 && strings.Contains(s.DropPoints[0].LastFailure, "nothing more today")
	})
	stall.ReleaseAll()
	result := r.Result(run)
	if d := r.Judge(rig.Copies(rich, poor), recipients); d > 0 || result.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", d, result.Counts)
	}
}

// A policy daemon closes the connection at one recipient. With on_exhausted: fail, that must not
// fail the mailing either.
func TestOneRecipientAtWhomConnectionsBreakDoesNotStopAMailing(t *testing.T) {
	t.Parallel()
	const recipients = 300
	var open atomic.Bool
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "RCPT" && e.To == rig.Address(150) && !open.Load() {
			return &smtptest.Action{Reply: "421 4.7.0 policy"}
		}
		return nil
	}})
	r := rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	r.StartWorker()
	in := rig.Mailing(50)
	in.OnExhausted, in.Retry.DropPoint.Attempts = workflows.Fail, 1
	run := r.Start(in)
	r.AwaitStatus("all others are sent, and it waits for a later round", func(s workflows.Status) bool {
		return s.Counts.Sent == recipients-1 && s.State == workflows.StateSending &&
			r.Report()[rig.Address(150)].Attempts > 4 &&
			s.DropPoints[0].InList && s.DropPoints[0].LastFailure == ""
	})
	open.Store(true)
	result := r.Result(run)
	if d := r.Judge(s.Copies(), recipients); d > 0 || result.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", d, result.Counts)
	}
}

// A mailing whose every recipient is unknown ends, although the server never accepts anything.
func TestASmallMailingWhoseRecipientsAreAllUnknownEnds(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "RCPT" {
			return &smtptest.Action{Reply: "550 5.1.1 <" + e.To + "> unknown"}
		}
		return nil
	}})
	r := rig.New(t, rig.MX(s))
	r.ImportList(3)
	r.StartWorker()
	result := r.Result(r.Start(rig.Mailing(3)))
	if l := r.Report()[rig.Address(2)]; result.Counts.Bounced != 3 || l.Code != 550 || l.Attempts != 2 {
		t.Errorf("%+v; %+v", result.Counts, l)
	}
}
