package sender_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/delivery/sender"
	"directmailer/internal/delivery/smtp"
	"directmailer/internal/dev/smtptest"
	"directmailer/internal/ledger"
)

// greeting returns a script that does this at each greeting.
func greeting(a *smtptest.Action) func(smtptest.Event) *smtptest.Action {
	return func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "connect" {
			return a
		}
		return nil
	}
}

// aTurnInVain sends the batch of a claim for a turn that ends while the greeting is waited for.
func (r *rig) aTurnInVain(claim *ledger.Claim) (sender.Report, error) {
	r.Helper()
	sending := sender.New(r.batch(claim, nil))
	go func() {
		for r.Context().Err() == nil {
			if _, step := r.dropPoint.Opening(); step == "greeting" && r.dropPoint.HasWaiters() {
				sending.EndTurn()
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	return sending.Run(r.Context())
}

// The greeting comes after several turns. Until then each turn says what it waits for, and no
// failure is counted.
func TestAGreetingThatComesAfterSeveralTurnsIsWaitedForAndUsed(t *testing.T) {
	t.Parallel()
	greet := make(chan struct{})
	r := newRig(t, "connections=2", greeting(&smtptest.Action{Wait: greet}))
	claim := r.claim("m", false)
	for n := range 3 {
		report, err := r.aTurnInVain(claim)
		if err != nil || report.Complete || len(report.DropPoints) != 1 {
			t.Fatalf("turn %d: %+v, %v", n, report, err)
		}
		if p := report.DropPoints[0]; p.Failure != nil || p.OpeningSince.IsZero() || p.OpeningStep != "greeting" {
			t.Errorf("turn %d: %+v", n, p)
		}
		claim = r.reclaim(claim, false)
	}
	close(greet)
	report, err := run(t.Context(), r.batch(claim, nil))
	if err != nil || !report.Complete || !report.DropPoints[0].OpeningSince.IsZero() {
		t.Errorf("after the greeting: %+v, %v", report, err)
	}
	if got := len(r.server.Copies()); got != recipients || r.server.Connections() != 2 {
		t.Errorf("%d recipients have their message, over %d connections", got, r.server.Connections())
	}
}

// The time for the greeting is longer than a turn. When it is over, the turn that waits fails.
func TestAServerThatNeverGreetsFailsInALaterTurn(t *testing.T) {
	t.Parallel()
	r := newRig(t, "connections=2", greeting(&smtptest.Action{Wait: make(chan struct{})}))
	const patience = 300 * time.Millisecond
	r.dropPoint = slowToGreet(t, r, patience)
	claim := r.claim("m", false)
	began := time.Now()
	for turn := 1; ; turn++ {
		report, err := run(t.Context(), r.batch(claim, func(b *sender.Batch) { b.Turn = 100 * time.Millisecond }))
		var unavailable *sender.UnavailableError
		if errors.As(err, &unavailable) {
			if took := time.Since(began); took < patience {
				t.Errorf("turn %d has failed after %v: the greeting had less than its time", turn, took)
			}
			if p := report.DropPoints[0]; p.Failure == nil || p.Failure.Error() != "greeting: timed out" {
				t.Errorf("%+v", p)
			}
			break
		}
		if err != nil || turn == 100 {
			t.Fatalf("turn %d: %+v, %v", turn, report, err)
		}
		claim = r.reclaim(claim, false)
	}
}

// slowToGreet returns the rig's drop point with another time for the greeting.
func slowToGreet(t *testing.T, r *rig, patience time.Duration) *droppoint.DropPoint {
	t.Helper()
	config, err := droppoint.Parse("mx", "smtp://"+r.server.Addr()+"?tls=none&connections=2")
	if err != nil {
		t.Fatal(err)
	}
	config.SMTP.Timeouts = smtp.Timeouts{Greeting: patience}
	set := droppoint.NewSet([]droppoint.Config{config})
	t.Cleanup(set.Close)
	d, _ := set.Get("mx")
	return d
}

// A worker that stops, and a mailing that is cancelled, do not wait for a greeting.
func TestAWorkerThatStopsDoesNotWaitForAGreeting(t *testing.T) {
	t.Parallel()
	r := newRig(t, "connections=2", greeting(&smtptest.Action{Wait: make(chan struct{})}))
	stop := make(chan struct{})
	ended := make(chan error, 1)
	claim := r.claim("m", false)
	go func() {
		_, err := run(t.Context(), r.batch(claim, func(b *sender.Batch) { b.Stop = stop }))
		ended <- err
	}()
	for r.server.Connections() == 0 {
		time.Sleep(time.Millisecond)
	}
	close(stop)
	if err := <-ended; !errors.Is(err, sender.ErrStopped) {
		t.Errorf("got %v", err)
	}
}

// The server gives three connections of eight, and says so where servers say it. Nothing is
// deferred, and the batch is sent in one turn without a failure.
func TestABatchGoesOverTheConnectionsThatTheServerGives(t *testing.T) {
	t.Parallel()
	for phase, reply := range map[string]string{
		"connect": "421 4.3.2 too many connections",
		"MAIL":    "421 4.7.0 try again later",
		"DOT":     "432 4.3.2 Concurrent connections limit exceeded",
	} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "connections=8", func(e smtptest.Event) *smtptest.Action {
				if e.Phase == phase && e.Conn > 3 {
					return &smtptest.Action{Reply: reply}
				}
				return nil
			})
			// The three are there first: they have sent for another batch.
			var first []droppoint.Conn
			for n := range 3 {
				conn, err := r.dropPoint.Acquire(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				first = append(first, conn)
				m := messageTo(1000+n, nil)
				if err := conn.Begin(t.Context(), &m.Message); err != nil {
					t.Fatal(err)
				}
				if _, err := conn.Finish(nil); err != nil {
					t.Fatal(err)
				}
			}
			for _, conn := range first {
				conn.Release()
			}
			report, err := run(t.Context(), r.batch(r.claim("m", false), nil))
			if err != nil || !report.Complete || report.DropPoints[0].Failure != nil {
				t.Fatalf("%+v, %v", report, err)
			}
			// On a slow machine, it is time to try one more before the last message is sent.
			if s := report.DropPoints[0].State; s.Connections > 4 || s.Reason == nil {
				t.Errorf("%+v", s)
			}
			for key, w := range r.deliveries() {
				if w.status != "sent" && w.status != "not_sent" {
					t.Errorf("%s is %+v", key, w)
				}
			}
			if got := len(r.server.Copies()); got != recipients+3 {
				t.Errorf("%d recipients have their message", got)
			}
		})
	}
}

// Two connections too many happen to carry the same message. That says nothing of its recipient. A
// third such answer may: see TestARecipientAtWhomEachConnectionBreaksIsDeferredAndAllOthersAreSent.
func TestAMessageThatMeetsTwoConnectionsTooManyIsSent(t *testing.T) {
	t.Parallel()
	for phase, reply := range map[string]string{
		"DOT":  "432 4.3.2 Concurrent connections limit exceeded",
		"RCPT": "421 4.7.0 Too many concurrent SMTP connections",
	} {
		var tries atomic.Int32
		r := newRig(t, "connections=4", func(e smtptest.Event) *smtptest.Action {
			if e.Phase == phase && numberOf(e.To) == 50 && tries.Add(1) <= 2 {
				return &smtptest.Action{Reply: reply}
			}
			return nil
		})
		report, err := run(t.Context(), r.batch(r.claim("m", false), nil))
		if got := r.statuses(); err != nil || !report.Complete || got["sent, final"] != recipients || got["deferred"] > 0 {
			t.Errorf("%s: %+v, %v; the ledger has %v", phase, report, err, got)
		}
	}
}

// sendInTurns sends a batch, turn after turn, each when the last one said. No turn may fail.
func (r *rig) sendInTurns(claim *ledger.Claim) sender.Report {
	r.Helper()
	for {
		report, err := run(r.Context(), r.batch(claim, nil))
		if err != nil {
			r.Fatalf("%+v, %v", report, err)
		}
		if report.Complete {
			return report
		}
		<-time.After(time.Until(report.NotBefore))
		claim = r.reclaim(claim, false)
	}
}

// The server asks for a lower rate, where and how servers do. Each message is sent in the end, none
// is deferred, and no failure is counted. The rest of the batch is slower.
func TestABatchIsSentSlowerToAServerThatAsksForThat(t *testing.T) {
	t.Parallel()
	for at, reply := range map[string]string{
		"DOT":           "454 Throttling failure: Maximum sending rate exceeded.",
		"RCPT":          "450 4.7.1 Error: too many recipients from 192.0.2.1",
		"MAIL":          "421 4.4.2 Message submission rate for this client has exceeded the configured limit",
		"DOT, closing":  "421 4.7.28 mail from your IP address has been rate limited",
		"MAIL, staying": "451 4.7.651 The mail server has been temporarily rate limited",
	} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			phase, _, _ := strings.Cut(at, ",")
			var seen atomic.Int32
			r := newRig(t, "connections=4", func(e smtptest.Event) *smtptest.Action {
				if e.Phase == phase {
					if n := seen.Add(1); n > 80 && n <= 84 {
						return &smtptest.Action{Reply: reply}
					}
				}
				return nil
			})
			report := r.sendInTurns(r.claim("m", false))
			if report.Refused > 0 || report.DropPoints[0].Failure != nil {
				t.Fatalf("%+v", report)
			}
			if s := report.DropPoints[0].State; s.Rate <= 0 || s.RateReason == nil {
				t.Errorf("the drop point is not slowed down: %+v", s)
			}
			notSent := 0
			for key, w := range r.deliveries() {
				switch {
				case w.status == "not_sent" && w.code > 0:
					notSent++
					if !strings.HasPrefix(w.reply, ledger.LessAsked) {
						t.Errorf("%s looks like a break at the recipient: %+v", key, w)
					}
				case w.status != "sent":
					t.Errorf("%s is %+v", key, w)
				}
			}
			if notSent > 4 {
				t.Errorf("%d attempts were not sent", notSent)
			}
			if copies := r.server.Copies(); len(copies) != recipients || len(r.server.Received()) != recipients {
				t.Errorf("%d recipients have %d messages", len(copies), len(r.server.Received()))
			}
		})
	}
}

// The server greets with its complaint. Nothing can be sent meanwhile, and nothing has failed.
func TestARateThatIsTooHighAtTheGreetingIsNoFailure(t *testing.T) {
	t.Parallel()
	var greetings atomic.Int32
	r := newRig(t, "connections=2", func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "connect" && greetings.Add(1) <= 2 {
			return &smtptest.Action{Reply: "421 RP-001 The mail server IP has exceeded the rate limit allowed"}
		}
		return nil
	})
	claim := r.claim("m", false)
	for turn := 1; ; turn++ {
		// The first message is sent after a pause; then the rate is that of one message a second.
		report, err := run(t.Context(), r.batch(claim, nil))
		if err != nil {
			t.Fatalf("turn %d: %+v, %v", turn, report, err)
		}
		if len(r.server.Received()) > 0 {
			break
		}
		if !report.Limited && report.NotBefore.IsZero() {
			t.Errorf("turn %d does not say that it waits for a rate: %+v", turn, report)
		}
		claim = r.reclaim(claim, false)
	}
}

// Mail to one recipient comes too fast, from everybody. That is about the recipient.
func TestARecipientWhoseMailComesTooFastIsDeferred(t *testing.T) {
	t.Parallel()
	found, report, err := sendAndCount(t, false, func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "RCPT" && numberOf(e.To) == 5 {
			return &smtptest.Action{Reply: "450 4.2.1 The user you are trying to contact is receiving mail too quickly"}
		}
		return nil
	}, droppoint.Message{})
	if err != nil || found["deferred"] != 1 || found["sent, final"] != recipients-1 ||
		report.DropPoints[0].State.Rate > 0 {
		t.Errorf("%v, %+v, %v", found, report, err)
	}
}

// Later turns, and other workers, do not take such an attempt for a break at the recipient.
func TestAnAttemptAtWhichTheServerAskedForLessIsNoBreak(t *testing.T) {
	t.Parallel()
	r := newRig(t, "connections=1", nil)
	claim := r.claim("m", false)
	for recipient, reply := range map[int]string{5: ledger.LessAsked + "454 Throttling failure", 6: "421 closing"} {
		for attempt := 1; attempt <= 3; attempt++ {
			r.exec(fmt.Sprintf(`INSERT INTO deliveries (mailing, recipient, attempt, status, final, drop_point, code,
				reply, possibly_twice)
				VALUES (%d, %d, %d, 'not_sent', false, 'mx', 454, '%s', false)`, claim.Mailing, recipient, attempt, reply))
		}
	}
	again := r.reclaim(claim, false)
	if got := again.Tried[5]; got.Breaks != 0 || got.Attempts != 3 {
		t.Errorf("asked for less: %+v", got)
	}
	if got := again.Tried[6]; got.Breaks != 3 {
		t.Errorf("broken: %+v", got)
	}
}

// A message of another batch has no answer. Two more batches may use that drop point, and do.
func TestABatchUsesNoDropPointThatHasStoppedAnsweringWhileAnotherAnswers(t *testing.T) {
	t.Parallel()
	stall := smtptest.NewStall("DOT", 0)
	r := newRig(t, "connections=2", stall.Script)
	t.Cleanup(stall.ReleaseAll)
	conn, err := r.dropPoint.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	message := messageTo(1, nil).Message
	if err := conn.Begin(t.Context(), &message); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := conn.Finish(nil)
		conn.Release()
		answered <- err
	}()
	for r.dropPoint.Speed() != droppoint.Slow && t.Context().Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	for range 2 {
		if !r.dropPoint.AcquireSlowSlot() {
			t.Fatal("it has no slots")
		}
	}
	server := smtptest.Start(t, smtptest.Options{})
	config, err := droppoint.Parse("fast", "smtp://"+server.Addr()+"?tls=none&connections=8")
	if err != nil {
		t.Fatal(err)
	}
	set := droppoint.NewSet([]droppoint.Config{config})
	t.Cleanup(set.Close)
	fast, _ := set.Get("fast")
	ended := make(chan error, 1)
	claim := r.claim("m", false)
	go func() {
		_, err := run(context.WithoutCancel(t.Context()), r.batch(claim, func(b *sender.Batch) {
			b.DropPoints = append(b.DropPoints, sender.DropPoint{DropPoint: fast})
		}))
		ended <- err
	}()
	for running := true; running && stall.Waiting() < 2; {
		select {
		case err := <-ended:
			running = false
			if err != nil || len(server.Received()) != recipients {
				t.Errorf("%v, %d messages", err, len(server.Received()))
			}
		case <-time.After(5 * time.Millisecond):
		}
	}
	if n := stall.Waiting(); n != 1 {
		t.Errorf("%d messages wait at the server that does not answer, want the one of before", n)
	}
	stall.ReleaseAll()
	if err := <-answered; err != nil {
		t.Error(err)
	}
	// With its slots free again, a batch takes one and gives it back.
	r.dropPoint.ReleaseSlowSlot()
	r.dropPoint.ReleaseSlowSlot()
	if _, err := run(t.Context(), r.batch(r.claim("n", false), func(b *sender.Batch) {
		b.DropPoints = append(b.DropPoints, sender.DropPoint{DropPoint: fast})
	})); err != nil {
		t.Error(err)
	}
	for range 2 {
		if !r.dropPoint.AcquireSlowSlot() {
			t.Error("a batch that has ended keeps its slot")
		}
	}
}
