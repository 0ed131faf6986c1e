package droppoint

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"directmailer/internal/delivery/smtp"
)

// fakeTransport opens connections that do nothing, or fails.
type fakeTransport struct {
	takes time.Duration
	err   error
}

func (f *fakeTransport) open(context.Context, func(string)) (rawConn, error) {
	time.Sleep(f.takes)
	if f.err != nil {
		return nil, f.err
	}
	return &fakeConn{}, nil
}

type fakeConn struct {
	messages int
	closed   bool
}

func (c *fakeConn) begin(context.Context, *Message) error { c.messages++; return nil }
func (c *fakeConn) fits(*Message) error                   { return nil }
func (c *fakeConn) finish(*Message) (Answer, error)       { return Answer{Code: 250}, nil }
func (c *fakeConn) pipelinesNext() bool                   { return false }
func (c *fakeConn) alive() bool                           { return !c.closed }
func (c *fakeConn) used() int                             { return c.messages }
func (c *fakeConn) close()                                { c.closed = true }
func (c *fakeConn) abort()                                { c.closed = true }

// fakePool is a drop point with up to eight connections, in a bubble with its own clock.
func fakePool() (*DropPoint, *fakeTransport) {
	transport := &fakeTransport{}
	d := newDropPoint(Config{Name: "mx", Connections: 8, Dir: "/"})
	d.transport = transport
	return d, transport
}

func mustAcquire(t *testing.T, d *DropPoint) Conn {
	t.Helper()
	conn, err := d.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

var errNoMore = &smtp.Refusal{Phase: smtp.PhaseGreeting, Reply: smtp.Reply{Code: 421, Text: "too many connections"}}

// Other workers may have all connections of a server. A server that gives none for long is
// unavailable all the same: nobody would hear of it otherwise.
func TestAServerThatGivesNoConnectionForLongIsAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, transport := fakePool()
		onlyLacks := func(want bool) {
			t.Helper()
			if _, err := d.Acquire(t.Context()); err == nil || OnlyLacksConnections(err) != want ||
				OutcomeOf(err) != Unavailable {
				t.Errorf("%v; it may only be busy: %v, want %v", err, OnlyLacksConnections(err), want)
			}
		}
		for range 2 { // the second time it begins anew, after one connection
			transport.err = errNoMore
			onlyLacks(true)
			time.Sleep(crowdedFor - time.Nanosecond)
			onlyLacks(true)
			time.Sleep(time.Nanosecond)
			onlyLacks(false)
			transport.err = nil
			mustAcquire(t, d).Abort()
		}
		transport.err = errNoMore
		onlyLacks(true)
		time.Sleep(worksFor + time.Nanosecond) // nobody has asked for a minute: it may have given some
		onlyLacks(true)
	})
}

// A failure that nobody waited for is told to the next who asks, unless it is old.
func TestAnOldFailureToConnectIsNotToldAnyMore(t *testing.T) {
	t.Parallel()
	for pause, told := range map[time.Duration]bool{missedFor - time.Second: true, missedFor: false} {
		synctest.Test(t, func(t *testing.T) {
			d, transport := fakePool()
			transport.takes, transport.err = time.Second, errors.New("refused")
			turn, end := context.WithTimeout(t.Context(), time.Second/2)
			defer end()
			if _, err := d.Acquire(turn); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			time.Sleep(time.Second / 2)
			synctest.Wait()
			transport.err = nil
			time.Sleep(pause)
			if conn, err := d.Acquire(t.Context()); (err != nil) != told {
				t.Errorf("after %v: %v, %v", pause, conn, err)
			}
		})
	}
}

// Connections that nobody uses are closed: servers limit open connections.
func TestAnIdleConnectionIsClosedAfterAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, _ := fakePool()
		first, second := mustAcquire(t, d).(*pooledConn), mustAcquire(t, d).(*pooledConn)
		first.Release()
		time.Sleep(maxIdle / 2)
		second.Release()
		synctest.Wait()
		isClosed := func(c *pooledConn) bool { d.mu.Lock(); defer d.mu.Unlock(); return c.raw.(*fakeConn).closed }
		if isClosed(first) || isClosed(second) {
			t.Error("a connection was closed before its time")
		}
		time.Sleep(maxIdle / 2)
		synctest.Wait()
		if !isClosed(first) || isClosed(second) {
			t.Errorf("after its time the first is closed: %v; before its time the second: %v", isClosed(first),
				isClosed(second))
		}
		time.Sleep(maxIdle)
		synctest.Wait()
		if !isClosed(second) || d.open() != 0 {
			t.Errorf("the second is not closed, %d are open", d.open())
		}
	})
}

// A drop point that has not answered for long does not work, whatever connections are open: an
// error to open another one is its failure.
func TestOpenConnectionsWithoutAnAnswerForLongDoNotHideAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, transport := fakePool()
		defer mustAcquire(t, d).Release()
		transport.err = errors.New("refused")
		quick, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := d.Acquire(quick); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("while another connection works: %v", err)
		}
		time.Sleep(worksFor)
		later, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := d.Acquire(later); err == nil || later.Err() != nil || OnlyLacksConnections(err) {
			t.Errorf("after a minute without an answer: %v", err)
		}
	})
}

// What comes for a caller at the moment at which its time is over goes to another.
func TestWhatComesForSomebodyWhoHasLeftIsNotLost(t *testing.T) {
	t.Parallel()
	for _, heard := range []bool{false, true} {
		d, _ := fakePool()
		w := &waiter{answer: make(chan acquired, 1)}
		f := &failure{cause: errNoMore, at: time.Now(), heard: heard}
		w.answer <- acquired{failed: f}
		if err := d.leave(w, context.Canceled); !errors.Is(err, context.Canceled) || (d.missed == f) == heard {
			t.Errorf("heard %v: %v; kept for the next one: %v", heard, err, d.missed == f)
		}
	}
	for _, isNew := range []bool{false, true} {
		d, _ := fakePool()
		w, next := &waiter{answer: make(chan acquired, 1)}, &waiter{answer: make(chan acquired, 1)}
		d.inUse, d.waiters = 1, []*waiter{next}
		raw := &fakeConn{}
		w.answer <- acquired{raw: raw, isNew: isNew}
		_ = d.leave(w, context.Canceled)
		select {
		case got := <-next.answer:
			if got.raw != raw || got.isNew != isNew || d.inUse != 1 {
				t.Errorf("the next one has %+v, %d are in use", got, d.inUse)
			}
		default:
			t.Error("the next one has nothing")
		}
	}
}

// A connection may become idle after a caller has looked for one, and before the caller waits.
func TestNobodyWaitsWhileAConnectionIsIdle(t *testing.T) {
	t.Parallel()
	d, _ := fakePool()
	mustAcquire(t, d).Release()
	defer d.close()
	if d.wait() != nil {
		t.Error("a caller waits beside an idle connection")
	}
}

// A connection more than before has carried a message: the next one is tried soon.
func TestAMessageOnANewConnectionMakesTheNextTryComeSoon(t *testing.T) {
	t.Parallel()
	d, _ := fakePool()
	d.allowance.pause = lastTry
	c := &pooledConn{dropPoint: d, raw: &fakeConn{}, isNew: true}
	if err := c.Begin(t.Context(), &letter); err != nil || d.allowance.pause != lastTry {
		t.Errorf("%v; the pause is %v before an answer", err, d.allowance.pause)
	}
	if _, err := c.Finish(nil); err != nil || d.allowance.pause != firstTry {
		t.Errorf("%v; the pause is %v", err, d.allowance.pause)
	}
	d.allowance.pause = lastTry
	if err := c.Begin(t.Context(), &letter); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Finish(nil); err != nil || d.allowance.pause != lastTry {
		t.Errorf("%v; the pause is %v after another message of the same connection", err, d.allowance.pause)
	}
}
