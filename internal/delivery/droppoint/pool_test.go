package droppoint_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/delivery/smtp"
	"directmailer/internal/dev/smtptest"
)

// dropPointWith is dropPoint with timeouts of the test's.
func dropPointWith(t *testing.T, url string, timeouts smtp.Timeouts) *droppoint.DropPoint {
	t.Helper()
	c, err := droppoint.Parse("mx", url)
	if err != nil {
		t.Fatal(err)
	}
	c.SMTP.Timeouts = timeouts
	set := droppoint.NewSet([]droppoint.Config{c})
	t.Cleanup(set.Close)
	d, _ := set.Get("mx")
	return d
}

// await waits until the condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within two minutes: ", what)
		}
	}
}

// acquireInVain is a turn that ends while the drop point is being connected to.
func acquireInVain(t *testing.T, d *droppoint.DropPoint, isOver func() bool) {
	t.Helper()
	turn, end := context.WithCancel(t.Context())
	defer end()
	ended := make(chan error, 1)
	go func() {
		conn, err := d.Acquire(turn)
		if err == nil {
			conn.Abort()
		}
		ended <- err
	}()
	await(t, "the server is connected to", isOver)
	end()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want the end of the turn", err)
	}
}

// atGreeting returns a script with the same action for each greeting.
func atGreeting(a *smtptest.Action) func(smtptest.Event) *smtptest.Action {
	return func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "connect" {
			return a
		}
		return nil
	}
}

func TestAConnectionThatIsOpenedLongerThanATurnIsUsedByALaterOne(t *testing.T) {
	t.Parallel()
	greet := make(chan struct{})
	s := smtptest.Start(t, smtptest.Options{Script: atGreeting(&smtptest.Action{Wait: greet})})
	d := dropPoint(t, "smtp://"+s.Addr()+"?connections=1")
	for range 3 {
		acquireInVain(t, d, func() bool { return s.Connections() > 0 })
	}
	if since, step := d.Opening(); since.IsZero() || step != "greeting" {
		t.Errorf("the drop point says that it waits for %q since %v", step, since)
	}
	close(greet)
	conn := acquire(t, d)
	defer conn.Release()
	if err := deliver(t, conn, message(1), nil); err != nil || s.Connections() != 1 {
		t.Errorf("%v, over %d connections", err, s.Connections())
	}
	if since, _ := d.Opening(); !since.IsZero() {
		t.Error("the drop point still says that it waits")
	}
}

// The connection breaks between two turns. The next turn learns of it, and the one after it does
// not.
func TestAFailureToConnectBetweenTwoTurnsIsToldOnce(t *testing.T) {
	t.Parallel()
	breaks := make(chan struct{})
	var greetings atomic.Int32
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "connect" && greetings.Add(1) == 1 {
			return &smtptest.Action{Wait: breaks, Die: true}
		}
		return nil
	}})
	d := dropPoint(t, "smtp://"+s.Addr()+"?connections=1")
	acquireInVain(t, d, func() bool { return greetings.Load() == 1 })
	close(breaks)
	await(t, "the connection is lost", func() bool { since, _ := d.Opening(); return since.IsZero() })
	if conn, err := d.Acquire(t.Context()); err == nil || droppoint.OutcomeOf(err) != droppoint.Unavailable {
		t.Fatalf("the next turn got %v, %v", conn, err)
	}
	if got := greetings.Load(); got != 1 {
		t.Errorf("the failure was found out again, by connection %d", got)
	}
	acquire(t, d).Release()
}

func TestAServerThatNeverGreetsIsAFailureOfAllWhoWaitWithinItsTime(t *testing.T) {
	t.Parallel()
	never := make(chan struct{})
	s := smtptest.Start(t, smtptest.Options{Script: atGreeting(&smtptest.Action{Wait: never})})
	d := dropPointWith(t, "smtp://"+s.Addr()+"?connections=2", smtp.Timeouts{Greeting: 50 * time.Millisecond})
	var wait sync.WaitGroup
	for range 5 {
		wait.Go(func() {
			_, err := d.Acquire(t.Context())
			if err == nil || err.Error() != "greeting: timed out" || droppoint.OutcomeOf(err) != droppoint.Unavailable {
				t.Errorf("got %v", err)
			}
		})
	}
	wait.Wait()
}

// A worker that stops closes its drop points, and must not wait for a server that does not answer.
func TestAnEndOfTheWorkerEndsWhatIsBeingConnectedTo(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{Script: atGreeting(&smtptest.Action{Wait: make(chan struct{})})})
	c, err := droppoint.Parse("mx", "smtp://"+s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	set := droppoint.NewSet([]droppoint.Config{c})
	d, _ := set.Get("mx")
	ended := make(chan error)
	go func() { _, err := d.Acquire(t.Context()); ended <- err }()
	await(t, "the server is connected to", func() bool { return s.Connections() > 0 })
	set.Close()
	if err := <-ended; err == nil {
		t.Error("a connection was opened after the end")
	}
}

// sendAll sends n messages over as many connections as the drop point may open. It fails the test
// if a message is not accepted, whichever way the server asks for fewer connections.
func sendAll(t *testing.T, d *droppoint.DropPoint, n int) {
	t.Helper()
	var next atomic.Int32
	var users sync.WaitGroup
	for range d.Connections() {
		users.Go(func() {
			for m := next.Add(1); m <= int32(n); {
				conn, err := d.Acquire(t.Context())
				for err == nil && m <= int32(n) {
					if err = deliver(t, conn, message(int(m)), nil); err == nil {
						m = next.Add(1)
					}
				}
				switch {
				case err == nil:
					conn.Release()
				case droppoint.OnlyLacksConnections(err):
					conn.Abort()
				default:
					t.Errorf("message %d: %v", m, err)
					return
				}
			}
		})
	}
	users.Wait()
}

// The server gives three connections, and eight may be opened. It says so in each of the ways that
// servers have.
func TestADropPointThatGivesFewerConnectionsIsUsedWithThose(t *testing.T) {
	t.Parallel()
	const given, messages = 3, 200
	over := func(phase string, a *smtptest.Action) func(smtptest.Event) *smtptest.Action {
		return func(e smtptest.Event) *smtptest.Action {
			if e.Phase == phase && e.Conn > given {
				return a
			}
			return nil
		}
	}
	for name, o := range map[string]smtptest.Options{
		"421 at the banner":    {MaxOpen: given},
		"554 at the banner":    {MaxOpen: given, TooMany: "554 5.7.1 too many connections from you"},
		"closed at the banner": {Script: over("connect", &smtptest.Action{Die: true})},
		"421 at EHLO":          {Script: over("EHLO", &smtptest.Action{Reply: "421 4.7.0 try again later"})},
		"421 at MAIL":          {Script: over("MAIL", &smtptest.Action{Reply: "421 4.3.2 come back later"})},
		"closed at MAIL":       {Script: over("MAIL", &smtptest.Action{Die: true})},
		"451 at RCPT":          {Script: over("RCPT", &smtptest.Action{Reply: "451 4.7.1 Too many open connections"})},
		"550 at RCPT":          {Script: over("RCPT", &smtptest.Action{Reply: "550 Too many connections from your host"})},
		"432 at the dot": {Script: over("DOT",
			&smtptest.Action{Reply: "432 4.3.2 STOREDRV; sender thread limit exceeded"})},
		"421 with words, at dot": {Script: over("DOT", &smtptest.Action{Reply: "421 too many concurrent SMTP connections"})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := smtptest.Start(t, o)
			d := dropPoint(t, "smtp://"+s.Addr()+"?connections=8")
			// Those whom the server accepts are there first, so that the others are too many.
			var first []droppoint.Conn
			for range given {
				first = append(first, acquire(t, d))
			}
			for n, conn := range first {
				if err := deliver(t, conn, message(1000+n), nil); err != nil {
					t.Fatal(err)
				}
			}
			done := make(chan struct{})
			go func() { defer close(done); sendAll(t, d, messages) }()
			await(t, "the others are refused", func() bool { return d.State().Connections == given })
			for _, conn := range first {
				conn.Release()
			}
			<-done
			if got := len(s.Received()); got != messages+given || len(s.Copies()) != got {
				t.Errorf("%d messages were received", got)
			}
			// On a slow machine, it is time to try one more before the last message is sent.
			if state := d.State(); state.Connections < given || state.Connections > given+1 || state.Reason == nil {
				t.Errorf("it is used with %d connections: %v", state.Connections, state.Reason)
			}
			if most := 2*8 + given; s.Connections() > most {
				t.Errorf("%d connections were tried, at most %d expected", s.Connections(), most)
			}
		})
	}
}

func TestTooManyOpenFilesMeanFewerConnections(t *testing.T) {
	t.Parallel()
	for _, err := range []error{syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL} {
		if !smtp.WantsFewerConnections(&smtp.ConnError{Phase: smtp.PhaseConnect, Cause: fmt.Errorf("socket: %w", err)}) {
			t.Errorf("%v does not mean that", err)
		}
	}
}

// When the last connection is lost, nobody waits for what the others give: the drop point is away.
func TestADropPointThatGaveFewerConnectionsAndIsGoneIsUnavailable(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{MaxOpen: 1})
	d := dropPoint(t, "smtp://"+s.Addr()+"?connections=3")
	conn := acquire(t, d)
	if err := deliver(t, conn, message(1), nil); err != nil {
		t.Fatal(err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 45*time.Second) // for a minute after an answer, others work
	defer cancel()
	ended := make(chan error, 2)
	for range 2 {
		go func() { _, err := d.Acquire(soon); ended <- err }()
	}
	await(t, "the others are refused", func() bool { return d.State().Connections == 1 })
	s.Stop()
	conn.Abort()
	for range 2 {
		if err := <-ended; err == nil || soon.Err() != nil || droppoint.OutcomeOf(err) != droppoint.Unavailable {
			t.Errorf("got %v", err)
		}
	}
	if state := d.State(); state.Connections != 3 {
		t.Errorf("after the end of all, %d connections are tried", state.Connections)
	}
}

// A probe of a drop point whose connections are all in use by other mailings must not call it
// unusable.
func TestACheckOfADropPointThatGivesNoFurtherConnectionIsGood(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{MaxOpen: 1})
	d := dropPoint(t, "smtp://"+s.Addr())
	conn := acquire(t, d)
	if h := d.Check(t.Context()); h.Err != nil {
		t.Errorf("while one is in use: %v", h.Err)
	}
	s.Stop()
	conn.Abort()
	if h := d.Check(t.Context()); h.Err == nil {
		t.Error("a server that is gone is usable")
	}
}

// A new connection that takes long is not waited for with a message in hand.
func TestAMessageDoesNotWaitLongForAConnectionInPlaceOfAClosedOne(t *testing.T) {
	t.Parallel()
	greet := make(chan struct{})
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		switch {
		case e.Phase == "MAIL" && e.Message == 2:
			return &smtptest.Action{Reply: "421 4.3.0 one message is enough"}
		case e.Phase == "connect" && e.Conn == 2:
			return &smtptest.Action{Wait: greet}
		}
		return nil
	}})
	d := dropPoint(t, "smtp://"+s.Addr()+"?connections=1")
	droppoint.SetReopenPatience(d, time.Millisecond)
	conn := acquire(t, d)
	if err := deliver(t, conn, message(1), nil); err != nil {
		t.Fatal(err)
	}
	err := conn.Begin(t.Context(), message(2))
	if err == nil || !droppoint.OnlyLacksConnections(err) || droppoint.OutcomeOf(err) != droppoint.Unavailable {
		t.Errorf("got %v, want a message that is not sent and no failure", err)
	}
	conn.Abort()
	close(greet)
	conn = acquire(t, d)
	defer conn.Release()
	if err := deliver(t, conn, message(2), nil); err != nil || s.Connections() != 2 {
		t.Errorf("%v, over %d connections", err, s.Connections())
	}
	if got := s.Received(); len(got) != 2 || !slices.ContainsFunc(got, func(m smtptest.Message) bool {
		return m.To == "r2@example.org"
	}) {
		t.Errorf("received %v", got)
	}
}
