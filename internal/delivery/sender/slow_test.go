package sender_test

import (
	"errors"
	"testing"
	"time"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/delivery/sender"
	"directmailer/internal/delivery/smtp"
	"directmailer/internal/dev/smtptest"
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

// The greeting comes after several turns. Until then each turn says what it waits for, and no
// failure is counted.
func TestAGreetingThatComesAfterSeveralTurnsIsWaitedForAndUsed(t *testing.T) {
	t.Parallel()
	greet := make(chan struct{})
	r := newRig(t, "connections=2", greeting(&smtptest.Action{Wait: greet}))
	claim := r.claim("m", false)
	short := func(b *sender.Batch) { b.Turn = 50 * time.Millisecond }
	for n := range 3 {
		report, err := run(t.Context(), r.batch(claim, short))
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
	r.dropPoint = slowToGreet(t, r, 300*time.Millisecond)
	claim := r.claim("m", false)
	for turn := 1; ; turn++ {
		report, err := run(t.Context(), r.batch(claim, func(b *sender.Batch) { b.Turn = 100 * time.Millisecond }))
		var unavailable *sender.UnavailableError
		if errors.As(err, &unavailable) {
			if turn == 1 {
				t.Error("the first turn has failed: the greeting had less than its time")
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
			if s := report.DropPoints[0].State; s.Connections > 3 || s.Reason == nil {
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
