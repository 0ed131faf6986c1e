package sender_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/delivery/sender"
	"directmailer/internal/dev/smtptest"
	"directmailer/internal/ledger"
)

// messageTo is the message of one recipient of an office's batch.
func messageTo(n int) sender.Message {
	return sender.Message{Recipient: int32(n), Message: droppoint.Message{
		From: "a@example.com", To: fmt.Sprintf("r%d@example.com", n), Name: fmt.Sprint("m", n),
		Data: fmt.Appendf(nil, "Message-ID: <%d@example.com>\r\nSubject: x\r\n\r\nhello\r\n", n)}}
}

// numberOf is the recipient's number in the address that messageTo has made of it.
func numberOf(address string) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(strings.TrimSuffix(address, "@example.com"), "r"))
	return n
}

// batch is that of a claim, with change made to it. Its messages are those of all recipients, as in
// a spool.
func (o *office) batch(claim *ledger.Claim, change func(*sender.Batch)) sender.Batch {
	n := 0
	b := sender.Batch{Claim: claim, Gate: o.gate, Points: []sender.Point{{Point: o.point}}, Turn: time.Hour,
		Next: func([]byte) (sender.Message, error) {
			if n++; n > recipients {
				return sender.Message{}, io.EOF
			}
			return messageTo(n), nil
		},
		Pace: func(context.Context, string, string) (sender.Wait, error) { return sender.Wait{}, nil }}
	if change != nil {
		change(&b)
	}
	return b
}

// reclaim claims the batch that an earlier claim was for, as another worker does.
func (o *office) reclaim(claim *ledger.Claim, hold bool) *ledger.Claim {
	o.Helper()
	again, err := ledger.New(o.pool).Claim(o.Context(), claim.Batch, hold)
	if err != nil {
		o.Fatal(err)
	}
	return again
}

func (o *office) exec(sql string) {
	o.Helper()
	if _, err := o.pool.Exec(o.Context(), sql); err != nil {
		o.Fatal(err)
	}
}

// onDelivery has PostgreSQL run PL/pgSQL for each row of deliveries that is written and for which
// the condition holds.
func (o *office) onDelivery(when, do string) {
	o.Helper()
	o.exec(`CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ` + do + `; RETURN NEW; END $$`)
	o.exec(`CREATE TRIGGER fault BEFORE INSERT OR UPDATE ON deliveries FOR EACH ROW WHEN (` + when + `) EXECUTE FUNCTION fault()`)
}

// waitForLock returns when a statement in this database waits for a lock.
func (o *office) waitForLock() {
	o.Helper()
	ctx, cancel := context.WithTimeout(o.Context(), time.Minute)
	defer cancel()
	for waiting := false; !waiting; {
		row := o.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`)
		if err := row.Scan(&waiting); err != nil {
			o.Fatal(err)
		}
	}
}

// holdDeliveries keeps each row for which the condition holds from being written until release is
// called.
func (o *office) holdDeliveries(when string) (release func()) {
	o.Helper()
	o.onDelivery(when, `PERFORM pg_advisory_xact_lock(1)`)
	tx, err := o.pool.Begin(o.Context())
	if err != nil {
		o.Fatal(err)
	}
	o.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	if _, err := tx.Exec(o.Context(), `SELECT pg_advisory_xact_lock(1)`); err != nil {
		o.Fatal(err)
	}
	return func() { _ = tx.Rollback(o.Context()) }
}

// written is a row of the ledger.
type written struct {
	status string
	final  bool
	twice  bool
	code   int
	reply  string
}

// deliveries are the rows of the ledger by recipient and attempt: "3/1".
func (o *office) deliveries() map[string]written {
	o.Helper()
	rows, err := o.pool.Query(o.Context(), `SELECT recipient || '/' || attempt, status::text, final, possibly_twice, coalesce(code, 0), coalesce(reply, '') FROM deliveries`)
	if err != nil {
		o.Fatal(err)
	}
	defer rows.Close()
	out := map[string]written{}
	for rows.Next() {
		var key string
		var w written
		if err := rows.Scan(&key, &w.status, &w.final, &w.twice, &w.code, &w.reply); err != nil {
			o.Fatal(err)
		}
		out[key] = w
	}
	if err := rows.Err(); err != nil {
		o.Fatal(err)
	}
	return out
}

// wantAllInLedger checks that the ledger has an attempt for each message that the server has
// accepted.
func (o *office) wantAllInLedger() {
	o.Helper()
	rows := o.deliveries()
	for _, m := range o.server.Received() {
		if _, ok := rows[fmt.Sprint(numberOf(m.To), "/1")]; !ok {
			o.Errorf("%s was accepted by the server, and the ledger knows of no attempt", m.To)
		}
	}
}

// The gate's commit fails, and not because the fence is another's. The message must not get its
// dot, and what was known must be kept.
func TestNoDotFollowsAnIntentThatIsNotCommitted(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]string{
		"a statement that PostgreSQL refuses": `RAISE EXCEPTION 'no' USING ERRCODE = 'check_violation'`,
		"a session that is killed":            `PERFORM pg_terminate_backend(pg_backend_pid())`,
		"a disk that is full":                 `RAISE EXCEPTION 'no' USING ERRCODE = 'disk_full'`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, "connections=1", nil)
			o.onDelivery(`NEW.recipient = 3 AND NEW.status = 'intent'`, fault)
			_, err := sender.Send(t.Context(), o.batch(o.claim("m", false), nil))
			if err == nil || errors.Is(err, ledger.ErrFenced) {
				t.Errorf("got %v, want an error of the database", err)
			}
			if got := o.server.Copies(); !maps.Equal(got, map[string]int{"r1@example.com": 1, "r2@example.com": 1}) {
				t.Errorf("the server has accepted %v, want only the two before the intent that was not committed", got)
			}
			rows := o.deliveries()
			if len(rows) != 2 || rows["1/1"].status != "sent" || rows["2/1"].status != "sent" || !rows["2/1"].final {
				t.Errorf("the ledger has %v: the answer that was known has to be in it", rows)
			}
		})
	}
}

// Until the last answer is in the ledger, its connection belongs to the batch: two messages of one
// connection must not be uncertain at once.
func TestAConnectionIsGivenBackAfterItsLastAnswerIsWritten(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "connections=1", nil)
	claim := o.claim("m", false)
	release := o.holdDeliveries(fmt.Sprintf(`NEW.recipient = %d AND NEW.status = 'sent'`, recipients))
	done := make(chan error, 1)
	go func() {
		_, err := sender.Send(t.Context(), o.batch(claim, nil))
		done <- err
	}()
	o.waitForLock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if lane, err := o.point.Acquire(ctx); err == nil {
		t.Error("the connection was given away before its last answer was written")
		lane.Release()
	}
	release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := o.server.Copies(); len(got) != recipients {
		t.Errorf("%d recipients have got their message", len(got))
	}
}

// An attempt comes to nothing on one connection while another is free to take the message at once.
func TestARetryBeginsAfterTheLastAttemptIsWritten(t *testing.T) {
	t.Parallel()
	var released atomic.Bool
	var tries atomic.Int32
	early := make(chan struct{})
	o := newOffice(t, "connections=2", func(e smtptest.Event) *smtptest.Action {
		if e.Phase != "RCPT" || numberOf(e.To) != 50 {
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
	claim := o.claim("m", false)
	release := o.holdDeliveries(`NEW.recipient = 50 AND NEW.status = 'not_sent'`)
	done := make(chan error, 1)
	go func() {
		_, err := sender.Send(t.Context(), o.batch(claim, nil))
		done <- err
	}()
	o.waitForLock()
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
	if got := o.server.Copies(); len(got) != recipients || got["r50@example.com"] != 1 {
		t.Errorf("%d recipients have got their message, one of them %d times", len(got), got["r50@example.com"])
	}
}

// Two connections, each of which announces the next envelope behind the dot or not; every kind of
// answer at every step.
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
			o := newOffice(t, fmt.Sprintf("connections=2&next_behind_dot=%v", behind), func(e smtptest.Event) *smtptest.Action {
				if reply := replyTo(e.Phase, numberOf(e.To)); reply != "" {
					return &smtptest.Action{Reply: reply}
				}
				return nil
			})
			report, err := sender.Send(t.Context(), o.batch(o.claim("m", false), nil))
			if err != nil || !report.Over {
				t.Fatalf("%+v, %v", report, err)
			}
			rows := o.deliveries()
			for n := 1; n <= recipients; n++ {
				want := [...]written{{"sent", true, false, 250, "taken r"}, {"bounced", true, false, 550, "at RCPT r"}, {"deferred", false, false, 450, "at RCPT r"},
					{"bounced", true, false, 552, "at DOT r"}, {"deferred", false, false, 451, "at DOT r"}}[n%5]
				want.reply += fmt.Sprint(n)
				if got := rows[fmt.Sprint(n, "/1")]; got != want {
					t.Errorf("recipient %d: the ledger has %+v, the server said %+v", n, got, want)
				}
			}
			if len(rows) != recipients {
				t.Errorf("%d attempts", len(rows))
			}
			for _, m := range o.server.Received() {
				if !strings.Contains(m.Data, fmt.Sprintf("Message-ID: <%d@example.com>", numberOf(m.To))) {
					t.Errorf("%s has got another's message: %q", m.To, m.Data)
				}
			}
		})
	}
}

// The server takes the message of recipient 5 and never answers.
func TestWhoseAnswerIsNeverSeenIsSentToAgainAndMarkedOrHeld(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		hold   bool
		silent int32 // attempts
		copies int
		want   map[string]written
	}{
		{"hold", true, 1, 1, map[string]written{"5/1": {status: "uncertain", final: true}}},
		{"resend", false, 1, 2, map[string]written{"5/1": {status: "uncertain"}, "5/2": {status: "sent", final: true, twice: true}}},
		{"resend for ever", false, 1000, 3, map[string]written{"5/1": {status: "uncertain"}, "5/2": {status: "uncertain", twice: true}, "5/3": {status: "uncertain", final: true, twice: true}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var tries atomic.Int32
			o := newOffice(t, "connections=1", func(e smtptest.Event) *smtptest.Action {
				if e.Phase == "DOT" && numberOf(e.To) == 5 && tries.Add(1) <= c.silent {
					return &smtptest.Action{Die: true, Accept: true}
				}
				return nil
			})
			// The messages of the others between the attempts show that the server works.
			claim := o.claim("m", c.hold)
			var err error
			for range ledger.MaxUncertain {
				if _, err = sender.Send(t.Context(), o.batch(claim, func(b *sender.Batch) { b.Hold = c.hold })); err == nil {
					break
				}
				claim = o.reclaim(claim, c.hold)
			}
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]written{}
			for key, w := range o.deliveries() {
				if strings.HasPrefix(key, "5/") {
					got[key] = written{status: w.status, final: w.final, twice: w.twice}
				}
			}
			copies := o.server.Copies()
			if !maps.Equal(got, c.want) || copies["r5@example.com"] != c.copies || len(copies) != recipients {
				t.Errorf("the ledger has %+v, want %+v; %d copies, want %d; %d recipients", got, c.want, copies["r5@example.com"], c.copies, len(copies))
			}
		})
	}
}

// Another worker claims the batch while a message of each connection waits for the answer to its
// dot.
func TestAfterItsFenceIsGoneABatchSendsNothingMore(t *testing.T) {
	t.Parallel()
	const connections, before = 2, 10
	var dots atomic.Int32
	reached, goOn := make(chan struct{}), make(chan struct{})
	o := newOffice(t, fmt.Sprintf("connections=%d", connections), func(e smtptest.Event) *smtptest.Action {
		if e.Phase != "DOT" {
			return nil
		}
		n := dots.Add(1)
		if n == before+connections {
			close(reached)
		}
		if n > before {
			return &smtptest.Action{Wait: goOn}
		}
		return nil
	})
	claim := o.claim("m", false)
	done := make(chan error, 1)
	go func() {
		_, err := sender.Send(t.Context(), o.batch(claim, nil))
		done <- err
	}()
	<-reached
	o.reclaim(claim, false)
	close(goOn)
	if err := <-done; !errors.Is(err, ledger.ErrFenced) {
		t.Errorf("got %v, want ErrFenced", err)
	}
	if got := len(o.server.Received()); got != before+connections {
		t.Errorf("%d messages were accepted, %d before the fence was lost and one in flight on each of %d connections", got, before, connections)
	}
	o.wantAllInLedger()
}

// The worker stops in the middle of a batch: what is in flight gets its answer, and nothing more is
// sent, however long the turn lasts.
func TestAWorkerThatStopsFinishesWhatIsInFlightAndNoMore(t *testing.T) {
	t.Parallel()
	const connections, before = 2, 10
	var dots atomic.Int32
	reached, goOn, stop := make(chan struct{}), make(chan struct{}), make(chan struct{})
	o := newOffice(t, fmt.Sprintf("connections=%d", connections), func(e smtptest.Event) *smtptest.Action {
		if e.Phase != "DOT" {
			return nil
		}
		n := dots.Add(1)
		if n == before+connections {
			close(reached)
		}
		if n > before {
			return &smtptest.Action{Wait: goOn}
		}
		return nil
	})
	claim := o.claim("m", false)
	done := make(chan error, 1)
	go func() {
		_, err := sender.Send(t.Context(), o.batch(claim, func(b *sender.Batch) { b.Stop = stop }))
		done <- err
	}()
	<-reached
	close(stop)
	time.AfterFunc(50*time.Millisecond, func() { close(goOn) }) // the news has arrived by then
	if err := <-done; !errors.Is(err, sender.ErrStopped) {
		t.Errorf("got %v, want ErrStopped", err)
	}
	sent := 0
	for key, w := range o.deliveries() {
		if w.status != "sent" || !w.final {
			t.Errorf("%s is %+v: what was in flight has its answer", key, w)
		}
		sent++
	}
	if got := len(o.server.Received()); got >= recipients || got != sent {
		t.Errorf("%d messages were accepted, %d are sent in the ledger", got, sent)
	}
}

// A worker dies, and another goes on: whoever has an outcome or was refused for now is left alone.
func TestABatchThatIsTakenUpAgainMailsNobodyTwice(t *testing.T) {
	t.Parallel()
	var asked sync.Map // recipient 7's RCPTs
	o := newOffice(t, "connections=1", func(e smtptest.Event) *smtptest.Action {
		switch {
		case e.Phase == "RCPT" && numberOf(e.To) == 7:
			asked.Store(e.Conn*1000+e.Message, true)
			return &smtptest.Action{Reply: "450 4.2.0 greylisted"}
		case e.Phase == "RCPT" && numberOf(e.To) == 8:
			return &smtptest.Action{Reply: "550 5.1.1 unknown"}
		}
		return nil
	})
	claim := o.claim("m", false)
	o.onDelivery(`NEW.recipient = 20 AND NEW.status = 'intent'`, `RAISE EXCEPTION 'no' USING ERRCODE = 'check_violation'`)
	if _, err := sender.Send(t.Context(), o.batch(claim, nil)); err == nil {
		t.Fatal("the first attempt was to fail")
	}
	o.exec(`DROP TRIGGER fault ON deliveries`)
	report, err := sender.Send(t.Context(), o.batch(o.reclaim(claim, false), nil))
	if err != nil || !report.Over {
		t.Fatalf("%+v, %v", report, err)
	}
	copies := o.server.Copies()
	for to, n := range copies {
		if n != 1 {
			t.Errorf("%s has got %d copies", to, n)
		}
	}
	tries := 0
	asked.Range(func(any, any) bool { tries++; return true })
	if len(copies) != recipients-2 || tries != 1 {
		t.Errorf("%d recipients have got their message; the one that was refused for now was tried %d times", len(copies), tries)
	}
}

// Every attempt asks for a turn under the limits of its drop point and of its recipient's domain,
// and goes only when it has one.
func TestEachMessageHasATurnOfItsOwnUnderTheRateLimits(t *testing.T) {
	t.Parallel()
	const turns = 37
	o := newOffice(t, "connections=2", nil)
	given := 0
	report, err := sender.Send(t.Context(), o.batch(o.claim("m", false), func(b *sender.Batch) {
		b.Pace = func(_ context.Context, point, domain string) (sender.Wait, error) {
			if point != "mx" || domain != "example.com" {
				t.Errorf("a turn was asked for drop point %q and domain %q", point, domain)
			}
			if given == turns {
				return sender.Wait{Ask: time.Hour, Turn: time.Hour}, nil
			}
			given++
			return sender.Wait{}, nil
		}
	}))
	if err != nil || report.Over || report.NotBefore.IsZero() || !report.Everybody {
		t.Errorf("%+v, %v: the batch waits for the limit", report, err)
	}
	if got := len(o.server.Received()); got != turns {
		t.Errorf("%d messages were accepted, %d turns were given", got, turns)
	}
}

// A domain that is at its limit holds up nobody of another domain.
func TestALimitOfADomainHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "connections=1", nil)
	asked := 0
	report, err := sender.Send(t.Context(), o.batch(o.claim("m", false), func(b *sender.Batch) {
		b.Pace = func(context.Context, string, string) (sender.Wait, error) {
			if asked++; asked == 1 {
				return sender.Wait{Ask: time.Hour, Turn: time.Hour, Domain: true}, nil
			}
			return sender.Wait{}, nil
		}
	}))
	if got := len(o.server.Received()); err != nil || got != recipients-1 || report.Over || report.NotBefore.IsZero() || report.Everybody {
		t.Errorf("%d messages; %+v, %v", got, report, err)
	}
}

func TestAnAttemptThatFailsIsARowOfItsOwn(t *testing.T) {
	t.Parallel()
	var tries atomic.Int32
	o := newOffice(t, "connections=1", func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "RCPT" && numberOf(e.To) == 50 && tries.Add(1) == 1 {
			return &smtptest.Action{Reply: "421 4.3.2 closing down"}
		}
		return nil
	})
	if report, err := sender.Send(t.Context(), o.batch(o.claim("m", false), nil)); err != nil || !report.Over {
		t.Fatalf("%+v, %v", report, err)
	}
	rows := o.deliveries()
	if first, second := rows["50/1"], rows["50/2"]; first.status != "not_sent" || first.final || second.status != "sent" || !second.final || second.twice {
		t.Errorf("the ledger has %+v, then %+v", first, second)
	}
	if got := o.server.Copies()["r50@example.com"]; got != 1 {
		t.Errorf("%d copies", got)
	}
}

func TestWhoeverAnotherWorkerLeftUncertainIsMarked(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "connections=1", nil)
	claim := o.claim("m", false)
	if err := o.gate.Enter(claim, nil, &ledger.Attempt{Recipient: 5, Number: 1, DropPoint: "mx"}).Wait(); err != nil {
		t.Fatal(err)
	}
	if report, err := sender.Send(t.Context(), o.batch(o.reclaim(claim, false), nil)); err != nil || !report.Over {
		t.Fatalf("%+v, %v", report, err)
	}
	rows := o.deliveries()
	if first, second := rows["5/1"], rows["5/2"]; first.status != "uncertain" || first.final || second.status != "sent" || !second.twice {
		t.Errorf("the ledger has %+v, then %+v", first, second)
	}
}

func TestARefusalOfUsAfterTheServerHasAcceptedMailBlamesNobody(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "connections=1", func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "RCPT" && numberOf(e.To) == 50 {
			return &smtptest.Action{Reply: "550 5.7.1 not from you"}
		}
		return nil
	})
	report, err := sender.Send(t.Context(), o.batch(o.claim("m", false), nil))
	if err != nil || !report.Over || report.Refused != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	if got := o.deliveries()["50/1"]; got.status != "refused" || got.final {
		t.Errorf("the ledger has %+v", got)
	}
	if got := len(o.server.Copies()); got != recipients-1 {
		t.Errorf("%d recipients have got their message", got)
	}
}

func TestADropPointThatRefusesTenAndAcceptsNobodyIsGivenUp(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "connections=1", refusing("550 5.7.1 not from you"))
	_, err := sender.Send(t.Context(), o.batch(o.claim("m", false), nil))
	var refuses *sender.Refuses
	if rows := o.deliveries(); !errors.As(err, &refuses) || len(rows) != 10 {
		t.Errorf("%d recipients were tried, then %v", len(rows), err)
	}
}

// The connection breaks at a dot that has announced the next message.
func TestWhatIsAnnouncedOnlyIsSentByWhoeverComes(t *testing.T) {
	t.Parallel()
	var tries atomic.Int32
	o := newOffice(t, "connections=1&next_behind_dot=true", func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "DOT" && numberOf(e.To) == 10 && tries.Add(1) == 1 {
			return &smtptest.Action{Die: true}
		}
		return nil
	})
	if report, err := sender.Send(t.Context(), o.batch(o.claim("m", false), nil)); err != nil || !report.Over {
		t.Errorf("%+v, %v", report, err)
	}
	copies := o.server.Copies()
	for n := 1; n <= recipients; n++ {
		if got := copies[fmt.Sprintf("r%d@example.com", n)]; got != 1 {
			t.Errorf("recipient %d has got %d copies", n, got)
		}
	}
}

func TestABatchWhoseTurnIsOverIsHandedBack(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "connections=1", nil)
	report, err := sender.Send(t.Context(), o.batch(o.claim("m", false), func(b *sender.Batch) { b.Turn = time.Nanosecond }))
	if got := len(o.server.Received()); err != nil || report.Over || got == recipients {
		t.Errorf("%d messages; %+v, %v", got, report, err)
	}
}

func TestABatchIsNotOverWhileItsLastMessageWaits(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "connections=1", nil)
	given := 0
	report, err := sender.Send(t.Context(), o.batch(o.claim("m", false), func(b *sender.Batch) {
		b.Pace = func(context.Context, string, string) (sender.Wait, error) {
			if given == recipients-1 {
				return sender.Wait{Ask: time.Hour, Turn: time.Hour}, nil
			}
			given++
			return sender.Wait{}, nil
		}
	}))
	if err != nil || report.Over || report.NotBefore.IsZero() {
		t.Errorf("%+v, %v", report, err)
	}
}
