package droppoint

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// If a drop point counted as slow until it answers again, batches that may not use a slow one would
// never use it.
func TestADropPointWithoutMessagesIsNotSlowForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &DropPoint{}
		answer := func(took time.Duration) {
			done := d.waiting()
			time.Sleep(took)
			d.lastAnswer.Store(time.Now().UnixNano())
			d.recordAnswer(took)
			done()
		}
		answer(5 * time.Second)
		time.Sleep(slowMemory - time.Nanosecond)
		if d.Speed() != Slow {
			t.Error("it is not slow after a slow answer")
		}
		time.Sleep(time.Nanosecond)
		if d.Speed() != Unknown {
			t.Error("it is known to be slow after a pause")
		}
		if answer(time.Millisecond); d.Speed() != Quick {
			t.Error("it is not quick after a quick answer")
		}
		answer(5 * time.Second)
		if answer(time.Millisecond); d.Speed() != Slow {
			t.Error("one quick answer after a slow one makes it quick")
		}
		for range 20 {
			answer(time.Millisecond)
		}
		time.Sleep(slowMemory)
		if d.Speed() != Quick {
			t.Error("it is not quick after a pause")
		}
		waits := d.waiting()
		if d.Speed() != Quick {
			t.Error("it is not quick while it has a message again")
		}
		time.Sleep(slowAnswer)
		if d.Speed() != Slow {
			t.Error("it is not slow while it does not answer")
		}
		waits()
	})
}

// A drop point that begins to wait was idle before, and not stalled.
func TestADropPointIsNotSlowWhileItBeginsToWait(t *testing.T) {
	t.Parallel()
	for range 2000 {
		d := &DropPoint{}
		slow := make(chan bool)
		go func() {
			found := false
			for range 1000 {
				found = found || d.Speed() == Slow
			}
			slow <- found
		}()
		d.waiting()
		if <-slow {
			t.Fatal("it is slow, and has just begun to wait")
		}
	}
}

// A server counts a connection until it is closed. One more would be one too many.
func TestNoConnectionIsOpenedInPlaceOfOneThatIsBeingClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, _ := fakePool()
		transport := &countingTransport{}
		d.transport = transport
		var conns []Conn
		for range d.Connections() {
			conns = append(conns, mustAcquire(t, d))
		}
		for _, c := range conns {
			c.Release()
		}
		time.Sleep(maxIdle) // now they are being closed, which takes a second
		synctest.Wait()
		for range d.Connections() {
			mustAcquire(t, d).Release()
		}
		if most := transport.most.Load(); most != int32(d.Connections()) {
			t.Errorf("%d connections were open at a time", most)
		}
		d.close()
	})
}

// countingTransport opens connections whose closing takes a second, and counts those that are open.
type countingTransport struct{ conns, most atomic.Int32 }

func (c *countingTransport) open(context.Context, func(string)) (rawConn, error) {
	if n := c.conns.Add(1); n > c.most.Load() {
		c.most.Store(n)
	}
	return &countedConn{transport: c}, nil
}

type countedConn struct {
	fakeConn
	transport *countingTransport
}

func (c *countedConn) close() {
	time.Sleep(time.Second)
	c.transport.conns.Add(-1)
	c.fakeConn.close()
}
