package droppoint_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/dev/smtptest"
)

func TestARefusedMessageIsNotTriedOnAnotherConnection(t *testing.T) {
	t.Parallel()
	var tries atomic.Int32
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "RCPT" && e.To == "r2@example.org" {
			tries.Add(1)
			return &smtptest.Action{Reply: "450 4.2.0 later"}
		}
		return nil
	}})
	conn := acquire(t, dropPoint(t, "smtp://"+s.Addr()))
	defer conn.Release()
	if err := deliver(t, conn, message(1), nil); err != nil {
		t.Fatal(err)
	}
	if err := deliver(t, conn, message(2), nil); droppoint.OutcomeOf(err) != droppoint.Deferred {
		t.Errorf("got %v", err)
	}
	if tries.Load() != 1 || s.Connections() != 1 {
		t.Errorf("it was tried %d times over %d connections", tries.Load(), s.Connections())
	}
}

func TestAConnectionWithAMessageInTheAirIsNotKept(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	d := dropPoint(t, "smtp://"+s.Addr()+"?connections=1&next_behind_dot=true")
	conn := acquire(t, d)
	if err := deliver(t, conn, message(1), message(2)); err != nil { // the second is pipelined, and never begun
		t.Fatal(err)
	}
	conn.Release()
	conn = acquire(t, d)
	if err := deliver(t, conn, message(3), nil); err != nil {
		t.Errorf("the next batch: %v", err)
	}
	conn.Release()
	if got := s.Copies(); len(got) != 2 || got["r1@example.org"] != 1 || got["r3@example.org"] != 1 ||
		s.Connections() != 2 {
		t.Errorf("%v over %d connections", got, s.Connections())
	}
}

func TestAConnectionThatTheServerHasClosedIsNotTakenAgain(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	d := dropPoint(t, "smtp://"+s.Addr()+"?connections=1&messages=0")
	conn := acquire(t, d)
	if err := deliver(t, conn, message(1), nil); err != nil {
		t.Fatal(err)
	}
	conn.Release()
	s.Drop()
	// it takes a moment until the close arrives
	for deadline := time.Now().Add(time.Minute); s.Connections() == 1; {
		if time.Now().After(deadline) {
			t.Fatal("the pool still returns the connection that the server has closed")
		}
		acquire(t, d).Release()
	}
	conn = acquire(t, d)
	defer conn.Release()
	if err := deliver(t, conn, message(2), nil); err != nil {
		t.Error(err)
	}
}

func TestAMessageIsNotSentInTheEnvelopeOfAnother(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	conn := acquire(t, dropPoint(t, "smtp://"+s.Addr()+"?next_behind_dot=true"))
	if err := deliver(t, conn, message(1), message(2)); err != nil {
		t.Fatal(err)
	}
	if err := deliver(t, conn, message(3), nil); err == nil {
		t.Error("a message was sent although another was pipelined")
	}
	conn.Abort()
	s.Stop()
	if got := s.Received(); len(got) != 1 {
		t.Errorf("received %v", got)
	}
}

func TestAMessageThatNeedsSMTPUTF8IsAnnouncedOrDoesNotFit(t *testing.T) {
	t.Parallel()
	m := message(1)
	m.UTF8 = true
	s := smtptest.Start(t, smtptest.Options{Extensions: []string{"SMTPUTF8"}})
	conn := acquire(t, dropPoint(t, "smtp://"+s.Addr()))
	defer conn.Release()
	if err := conn.Fits(m); err != nil {
		t.Error(err)
	}
	if err := deliver(t, conn, m, nil); err != nil || s.Received()[0].Params != "SMTPUTF8" {
		t.Errorf("%v, received %+v", err, s.Received())
	}
	without := acquire(t, dropPoint(t, "smtp://"+smtptest.Start(t, smtptest.Options{}).Addr()))
	defer without.Release()
	if err := without.Fits(m); droppoint.OutcomeOf(err) != droppoint.Unfit {
		t.Errorf("got %v", err)
	}
}

func TestEveryAttemptHasTheKeyOfItsRecipient(t *testing.T) {
	t.Parallel()
	for _, behind := range []bool{false, true} {
		s := smtptest.Start(t, smtptest.Options{})
		conn := acquire(t, dropPoint(t, fmt.Sprintf("smtp://%s?idempotency=X-Key&next_behind_dot=%v", s.Addr(),
			behind)))
		messages := make([]*droppoint.Message, 4)
		for n := range messages {
			messages[n] = message(n / 2) // each twice
			messages[n].Key = fmt.Sprint("key-", n/2)
		}
		for n, m := range messages {
			var next *droppoint.Message
			if behind && n+1 < len(messages) {
				next = messages[n+1]
			}
			if err := deliver(t, conn, m, next); err != nil {
				t.Fatal(err)
			}
		}
		for n, m := range s.Received() {
			if want := fmt.Sprintf("X-Key: key-%d\r\nSubject: x\r\n", n/2); !strings.HasPrefix(m.Data, want) {
				t.Errorf("next_behind_dot=%v: message %d is %q", behind, n, m.Data)
			}
		}
		conn.Release()
	}
}

func TestAnAbortedConnectionGivesItsPlaceBack(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	d := dropPoint(t, "smtp://"+s.Addr()+"?connections=1")
	acquire(t, d).Abort()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, err := d.Acquire(ctx)
	if err != nil {
		t.Fatalf("the only place is taken for ever: %v", err)
	}
	conn.Release()
}
