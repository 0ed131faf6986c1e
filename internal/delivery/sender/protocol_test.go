package sender_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"directmailer/internal/delivery/sender"
	"directmailer/internal/dev/smtptest"
	"directmailer/internal/ledger"
)

// The gate's commit fails, and not because of the fence. The message must not get its dot, and the
// known result must be kept.
func TestNoDotFollowsAnIntentThatIsNotCommitted(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]string{
		"a statement that PostgreSQL refuses": `RAISE EXCEPTION 'no' USING ERRCODE = 'check_violation'`,
		"a session that is killed":            `PERFORM pg_terminate_backend(pg_backend_pid())`,
		"a disk that is full":                 `RAISE EXCEPTION 'no' USING ERRCODE = 'disk_full'`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "connections=1", nil)
			claim := r.claim("m", true)
			// The intent is there all the same, as if only the answer of its commit were lost.
			r.exec(`INSERT INTO deliveries (mailing, recipient, attempt, status, final) SELECT key, 3, 1, 'intent', false
				FROM mailings`)
			r.onDelivery(`NEW.recipient = 3 AND NEW.status = 'intent'`, fault)
			_, err := run(t.Context(), r.batch(claim, nil))
			if err == nil || errors.Is(err, ledger.ErrFenced) {
				t.Errorf("got %v, want an error of the database", err)
			}
			if got := r.server.Copies(); !maps.Equal(got, map[string]int{"r1@example.com": 1, "r2@example.com": 1}) {
				t.Errorf("the server has accepted %v, want only the two before the intent that was not committed", got)
			}
			if err := r.gate.WriteKept(t.Context()); err != nil {
				t.Fatal(err)
			}
			rows := r.deliveries()
			if len(rows) != 3 || rows["1/1"].status != "sent" || rows["2/1"].status != "sent" || !rows["2/1"].final {
				t.Errorf("the ledger has %v: the answer that was known has to be in it", rows)
			}
			if rows["3/1"].status != "not_sent" {
				t.Errorf("the ledger has %v of a message that has certainly got no dot", rows["3/1"])
			}
			r.exec(`DROP TRIGGER fault ON deliveries`)
			report, err := run(t.Context(), r.batch(r.reclaim(claim, true), nil))
			again := r.deliveries()["3/2"]
			if err != nil || !report.Complete || again.status != "sent" || again.twice {
				t.Errorf("%+v, %v; then the ledger has %v", report, err, again)
			}
		})
	}
}

// A batch keeps a connection until the last answer is in the ledger: two messages of one connection
// must not be uncertain at the same time.
func TestAConnectionIsGivenBackAfterItsLastAnswerIsWritten(t *testing.T) {
	t.Parallel()
	r := newRig(t, "connections=1", nil)
	claim := r.claim("m", false)
	release := r.blockDeliveries(fmt.Sprintf(`NEW.recipient = %d AND NEW.status = 'sent'`, recipients))
	done := make(chan error, 1)
	go func() {
		_, err := run(t.Context(), r.batch(claim, nil))
		done <- err
	}()
	r.waitForLock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if conn, err := r.dropPoint.Acquire(ctx); err == nil {
		t.Error("the connection was released before its last answer was written")
		conn.Release()
	}
	release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := r.server.Copies(); len(got) != recipients {
		t.Errorf("%d recipients have got their message", len(got))
	}
}

// An attempt fails on one connection while another connection is free.
func TestARetryBeginsAfterTheLastAttemptIsWritten(t *testing.T) {
	t.Parallel()
	var released atomic.Bool
	var tries atomic.Int32
	early := make(chan struct{})
	r := newRig(t, "connections=2", func(e smtptest.Event) *smtptest.Action {
		if e.Phase != "RCPT" || numberOf(e.To) != recipients {
			return nil
		}
		if tries.Add(1) == 1 {
			return &smtptest.Action{Reply: "421 4.3.2 closing down"}
		}
		if !released.Load() {
			close(early)
		}
		return nil
	})
	claim := r.claim("m", false)
	release := r.blockDeliveries(fmt.Sprintf(`NEW.recipient = %d AND NEW.status = 'not_sent'`, recipients))
	done := make(chan error, 1)
	go func() {
		_, err := run(t.Context(), r.batch(claim, nil))
		done <- err
	}()
	r.waitForLock()
	select {
	case <-early:
		t.Error("the message was tried again before its last attempt was written")
	case <-time.After(100 * time.Millisecond): // long enough for a free connection to take what it can
	}
	released.Store(true)
	release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := r.server.Copies(); len(got) != recipients || got["r100@example.com"] != 1 {
		t.Errorf("%d recipients have got their message, one of them %d times", len(got), got["r100@example.com"])
	}
}

// Two connections, with and without the next envelope behind the dot, and every kind of answer at
// every step.
func TestEachAnswerIsWrittenForItsOwnRecipient(t *testing.T) {
	t.Parallel()
	replyTo := func(phase string, n int) string {
		switch {
		case phase == "RCPT" && n%5 == 1:
			return fmt.Sprintf("550 5.1.1 at RCPT r%d", n)
		case phase == "RCPT" && n%5 == 2:
			return fmt.Sprintf("450 4.2.0 at RCPT r%d", n)
		case phase == "DOT" && n%5 == 3:
			return fmt.Sprintf("552 5.2.2 at DOT r%d", n)
		case phase == "DOT" && n%5 == 4:
			return fmt.Sprintf("451 4.3.0 at DOT r%d", n)
		case phase == "DOT":
			return fmt.Sprintf("250 2.0.0 taken r%d", n)
		}
		return ""
	}
	for _, behind := range []bool{false, true} {
		t.Run(fmt.Sprintf("next_behind_dot=%v", behind), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, fmt.Sprintf("connections=2&next_behind_dot=%v", behind),
				func(e smtptest.Event) *smtptest.Action {
					if reply := replyTo(e.Phase, numberOf(e.To)); reply != "" {
						return &smtptest.Action{Reply: reply}
					}
					return nil
				})
			report, err := run(t.Context(), r.batch(r.claim("m", false), nil))
			if err != nil || !report.Complete {
				t.Fatalf("%+v, %v", report, err)
			}
			rows := r.deliveries()
			for n := 1; n <= recipients; n++ {
				want := [...]written{{"sent", true, false, 250, "taken r"}, {"bounced", true, false, 550, "at RCPT r"},
					{"deferred", false, false, 450, "at RCPT r"},
					{"bounced", true, false, 552, "at DOT r"}, {"deferred", false, false, 451, "at DOT r"}}[n%5]
				want.reply += fmt.Sprint(n)
				if got := rows[fmt.Sprint(n, "/1")]; got != want {
					t.Errorf("recipient %d: the ledger has %+v, the server said %+v", n, got, want)
				}
			}
			if len(rows) != recipients {
				t.Errorf("%d attempts", len(rows))
			}
			for _, m := range r.server.Received() {
				if !strings.Contains(m.Data, fmt.Sprintf("Message-ID: <%d@example.com>", numberOf(m.To))) {
					t.Errorf("%s has got the message of another recipient: %q", m.To, m.Data)
				}
			}
		})
	}
}

// The server takes the message of recipient 5 and never answers.
func TestARecipientWhoseAnswerIsNeverSeenIsSentToAgainAndMarkedOrHeld(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		hold   bool
		silent int32 // attempts
		copies int
		want   map[string]written
	}{
		{"hold", true, 1, 1, map[string]written{"5/1": {status: "uncertain", final: true}}},
		{"resend", false, 1, 2, map[string]written{"5/1": {status: "uncertain"},
			"5/2": {status: "sent", final: true, twice: true}}},
		{"resend for ever", false, 1000, 3, map[string]written{"5/1": {status: "uncertain"},
			"5/2": {status: "uncertain", twice: true}, "5/3": {status: "uncertain", final: true, twice: true}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var tries atomic.Int32
			r := newRig(t, "connections=1", func(e smtptest.Event) *smtptest.Action {
				if e.Phase == "DOT" && numberOf(e.To) == 5 && tries.Add(1) <= c.silent {
					return &smtptest.Action{Die: true, Accept: true}
				}
				return nil
			})
			// The messages to others between the attempts show that the server works.
			claim := r.claim("m", c.hold)
			var err error
			for range ledger.MaxUncertain {
				if _, err = run(t.Context(), r.batch(claim, func(b *sender.Batch) { b.Hold = c.hold })); err == nil {
					break
				}
				claim = r.reclaim(claim, c.hold)
			}
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]written{}
			for key, w := range r.deliveries() {
				if strings.HasPrefix(key, "5/") {
					got[key] = written{status: w.status, final: w.final, twice: w.twice}
				}
			}
			copies := r.server.Copies()
			if !maps.Equal(got, c.want) || copies["r5@example.com"] != c.copies || len(copies) != recipients {
				t.Errorf("the ledger has %+v, want %+v; %d copies, want %d; %d recipients", got, c.want,
					copies["r5@example.com"], c.copies, len(copies))
			}
		})
	}
}

// Another worker claims the batch while a message on each connection waits for the answer to its
// dot.
func TestAfterItsFenceIsGoneABatchSendsNothingMore(t *testing.T) {
	t.Parallel()
	const connections, before = 2, 10
	var dots atomic.Int32
	reached, answerDots := make(chan struct{}), make(chan struct{})
	r := newRig(t, fmt.Sprintf("connections=%d", connections), func(e smtptest.Event) *smtptest.Action {
		if e.Phase != "DOT" {
			return nil
		}
		n := dots.Add(1)
		if n == before+connections {
			close(reached)
		}
		if n > before {
			return &smtptest.Action{Wait: answerDots}
		}
		return nil
	})
	claim := r.claim("m", false)
	done := make(chan error, 1)
	go func() {
		_, err := run(t.Context(), r.batch(claim, nil))
		done <- err
	}()
	<-reached
	r.reclaim(claim, false)
	close(answerDots)
	if err := <-done; !errors.Is(err, ledger.ErrFenced) {
		t.Errorf("got %v, want ErrFenced", err)
	}
	if got := len(r.server.Received()); got != before+connections {
		t.Errorf("%d messages were accepted, %d before the fence was lost and one in flight on each of %d connections",
			got, before, connections)
	}
	r.wantAllInLedger()
}

// The worker stops in the middle of a batch. Messages in flight get their answers, and nothing more
// is sent, however long the turn is.
func TestAWorkerThatStopsFinishesWhatIsInFlightAndNoMore(t *testing.T) {
	t.Parallel()
	const connections, before = 2, 10
	var dots atomic.Int32
	reached, answerDots, stop := make(chan struct{}), make(chan struct{}), make(chan struct{})
	r := newRig(t, fmt.Sprintf("connections=%d", connections), func(e smtptest.Event) *smtptest.Action {
		if e.Phase != "DOT" {
			return nil
		}
		n := dots.Add(1)
		if n == before+connections {
			close(reached)
		}
		if n > before {
			return &smtptest.Action{Wait: answerDots}
		}
		return nil
	})
	claim := r.claim("m", false)
	done := make(chan error, 1)
	go func() {
		_, err := run(t.Context(), r.batch(claim, func(b *sender.Batch) { b.Stop = stop }))
		done <- err
	}()
	<-reached
	close(stop)
	// by then the sender has seen that the worker stops
	time.AfterFunc(50*time.Millisecond, func() { close(answerDots) })
	if err := <-done; !errors.Is(err, sender.ErrStopped) {
		t.Errorf("got %v, want ErrStopped", err)
	}
	sent := 0
	for key, w := range r.deliveries() {
		if w.status != "sent" || !w.final {
			t.Errorf("%s is %+v: a message in flight must get its answer", key, w)
		}
		sent++
	}
	if got := len(r.server.Received()); got >= recipients || got != sent {
		t.Errorf("%d messages were accepted, %d are sent in the ledger", got, sent)
	}
}

// A worker dies, and another takes the batch over. Recipients with an outcome, or refused for now,
// get no further message.
func TestABatchThatIsTakenUpAgainMailsNobodyTwice(t *testing.T) {
	t.Parallel()
	var asked sync.Map // RCPT commands for recipient 7
	r := newRig(t, "connections=1", func(e smtptest.Event) *smtptest.Action {
		switch {
		case e.Phase == "RCPT" && numberOf(e.To) == 7:
			asked.Store(e.Conn*1000+e.Message, true)
			return &smtptest.Action{Reply: "450 4.2.0 greylisted"}
		case e.Phase == "RCPT" && numberOf(e.To) == 8:
			return &smtptest.Action{Reply: "550 5.1.1 unknown"}
		}
		return nil
	})
	claim := r.claim("m", false)
	r.onDelivery(`NEW.recipient = 20 AND NEW.status = 'intent'`,
		`RAISE EXCEPTION 'no' USING ERRCODE = 'check_violation'`)
	if _, err := run(t.Context(), r.batch(claim, nil)); err == nil {
		t.Fatal("the first attempt was to fail")
	}
	r.exec(`DROP TRIGGER fault ON deliveries`)
	report, err := run(t.Context(), r.batch(r.reclaim(claim, false), nil))
	if err != nil || !report.Complete {
		t.Fatalf("%+v, %v", report, err)
	}
	copies := r.server.Copies()
	for to, n := range copies {
		if n != 1 {
			t.Errorf("%s has got %d copies", to, n)
		}
	}
	tries := 0
	asked.Range(func(any, any) bool { tries++; return true })
	if len(copies) != recipients-2 || tries != 1 {
		t.Errorf("%d recipients have got their message; the one that was refused for now was tried %d times",
			len(copies), tries)
	}
}

func TestAnAttemptThatFailsIsARowOfItsOwn(t *testing.T) {
	t.Parallel()
	var tries atomic.Int32
	r := newRig(t, "connections=1", func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "RCPT" && numberOf(e.To) == 50 && tries.Add(1) == 1 {
			return &smtptest.Action{Reply: "421 4.3.2 closing down"}
		}
		return nil
	})
	if report, err := run(t.Context(), r.batch(r.claim("m", false), nil)); err != nil || !report.Complete {
		t.Fatalf("%+v, %v", report, err)
	}
	rows := r.deliveries()
	if first, second := rows["50/1"], rows["50/2"]; first.status != "not_sent" || first.final ||
		second.status != "sent" || !second.final || second.twice {
		t.Errorf("the ledger has %+v, then %+v", first, second)
	}
	if got := r.server.Copies()["r50@example.com"]; got != 1 {
		t.Errorf("%d copies", got)
	}
}

func TestARecipientLeftUncertainByAnotherWorkerIsMarked(t *testing.T) {
	t.Parallel()
	r := newRig(t, "connections=1", nil)
	claim := r.claim("m", false)
	if err := r.gate.Enter(claim, nil, &ledger.Attempt{Recipient: 5, Number: 1, DropPoint: "mx"}).Wait(); err != nil {
		t.Fatal(err)
	}
	if report, err := run(t.Context(), r.batch(r.reclaim(claim, false), nil)); err != nil || !report.Complete {
		t.Fatalf("%+v, %v", report, err)
	}
	rows := r.deliveries()
	if first, second := rows["5/1"], rows["5/2"]; first.status != "uncertain" || first.final ||
		second.status != "sent" || !second.twice {
		t.Errorf("the ledger has %+v, then %+v", first, second)
	}
}

func TestARefusalOfUsAfterTheServerHasAcceptedMailBlamesNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t, "connections=1", func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "RCPT" && numberOf(e.To) == 50 {
			return &smtptest.Action{Reply: "550 5.7.1 not from you"}
		}
		return nil
	})
	report, err := run(t.Context(), r.batch(r.claim("m", false), nil))
	if err != nil || !report.Complete || report.Refused != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	if got := r.deliveries()["50/1"]; got.status != "refused" || got.final {
		t.Errorf("the ledger has %+v", got)
	}
	if got := len(r.server.Copies()); got != recipients-1 {
		t.Errorf("%d recipients have got their message", got)
	}
}

func TestADropPointThatRefusesTenAndAcceptsNobodyIsGivenUp(t *testing.T) {
	t.Parallel()
	r := newRig(t, "connections=1", refusing("550 5.7.1 not from you"))
	_, err := run(t.Context(), r.batch(r.claim("m", false), nil))
	var refused *sender.RefusedError
	if rows := r.deliveries(); !errors.As(err, &refused) || len(rows) != 10 {
		t.Errorf("%d recipients were tried, then %v", len(rows), err)
	}
}

// The connection breaks at a dot that was sent with the envelope of the next message.
func TestAMessageWhoseEnvelopeAloneWasSentIsSentAgain(t *testing.T) {
	t.Parallel()
	var tries atomic.Int32
	r := newRig(t, "connections=1&next_behind_dot=true", func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "DOT" && numberOf(e.To) == 10 && tries.Add(1) == 1 {
			return &smtptest.Action{Die: true}
		}
		return nil
	})
	if report, err := run(t.Context(), r.batch(r.claim("m", false), nil)); err != nil || !report.Complete {
		t.Errorf("%+v, %v", report, err)
	}
	copies := r.server.Copies()
	for n := 1; n <= recipients; n++ {
		if got := copies[fmt.Sprintf("r%d@example.com", n)]; got != 1 {
			t.Errorf("recipient %d has got %d copies", n, got)
		}
	}
}

// The worker was stopped for long, and another one has claimed the batch. What the server answers
// then is still the truth.
func TestAnAnswerThatComesAfterTheFenceIsGoneIsWritten(t *testing.T) {
	t.Parallel()
	for _, hold := range []bool{false, true} {
		t.Run(fmt.Sprintf("hold=%v", hold), func(t *testing.T) {
			t.Parallel()
			stall := smtptest.NewStall("DOT", 3)
			r := newRig(t, "connections=1", stall.Script)
			claim := r.claim("m", hold)
			done := make(chan error, 1)
			go func() {
				_, err := run(t.Context(), r.batch(claim, func(b *sender.Batch) { b.Hold = hold }))
				done <- err
			}()
			for stall.Waiting() == 0 && t.Context().Err() == nil {
				time.Sleep(time.Millisecond)
			}
			r.reclaim(claim, hold)
			if w := r.deliveries()["4/1"]; w.status != "uncertain" || w.final != hold {
				t.Fatalf("the other worker's claim makes it %+v", w)
			}
			stall.ReleaseAll()
			if err := <-done; !errors.Is(err, ledger.ErrFenced) {
				t.Errorf("got %v, want ErrFenced", err)
			}
			if err := r.gate.WriteKept(t.Context()); err != nil {
				t.Fatal(err)
			}
			if w := r.deliveries()["4/1"]; w.status != "sent" || !w.final {
				t.Errorf("the ledger has %+v", w)
			}
		})
	}
}
