package droppoint

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// slowAnswer is the time to an answer from which a drop point counts as slow.
	slowAnswer = time.Second
	// slowSlots is how many batches that could use a faster drop point may use a slow one at a
	// time. Each of them waits there for its last answers before it leaves the worker.
	slowSlots = 2
	// maxIdle is how long a connection may be idle before it is closed: servers limit open
	// connections.
	maxIdle = time.Minute
)

// DropPoint is a drop point and its pool of connections. All batches and mailings of a worker share
// it. It is safe for concurrent use.
type DropPoint struct {
	config    Config
	transport transport
	inUse     chan struct{} // holds a value for each connection in use; its capacity is their limit
	waiters   atomic.Int32  // callers of Acquire that wait
	speed     atomic.Int64  // recent time to an answer, in nanoseconds
	slowUsers atomic.Int32  // batches that have one of the slowSlots

	mu         sync.Mutex
	idle       []idleConn // the most recently used is the last
	timerIsSet bool       // closeExpired will run
	closed     bool       // connections that are released are closed
}

// transport opens connections to one kind of drop point.
type transport interface {
	open(ctx context.Context) (rawConn, error)
}

// rawConn is a connection as its transport opens it. A [Conn] wraps it.
type rawConn interface {
	begin(ctx context.Context, m *Message) error
	finish(next *Message) (Answer, error)
	pipelinesNext() bool
	alive() bool // the connection is free, and the peer has not closed it
	used() int   // messages that have begun
	close()      // ends the session as the protocol says
	abort()
}

type idleConn struct {
	rawConn
	since time.Time
}

func newDropPoint(c Config) *DropPoint {
	d := &DropPoint{config: c, inUse: make(chan struct{}, c.Connections)}
	if c.SMTP != nil {
		d.transport = &smtpTransport{*c.SMTP, c.Idempotency}
	} else {
		d.transport = &directory{path: c.Dir, files: realFiles}
	}
	return d
}

// Name returns the name that mailings use for the drop point.
func (d *DropPoint) Name() string { return d.config.Name }

// String describes the drop point without its credentials.
func (d *DropPoint) String() string { return d.config.String() }

// Connections returns how many connections can be in use at a time.
func (d *DropPoint) Connections() int { return d.config.Connections }

// Acquire returns an idle connection, or opens one. While all connections are in use, it waits
// until one is released or ctx ends. The caller must call Release or Abort on the connection.
func (d *DropPoint) Acquire(ctx context.Context) (Conn, error) {
	d.waiters.Add(1)
	select {
	case d.inUse <- struct{}{}:
		d.waiters.Add(-1)
	case <-ctx.Done():
		d.waiters.Add(-1)
		return nil, ctx.Err()
	}
	if err := ctx.Err(); err != nil { // both cases were ready
		<-d.inUse
		return nil, err
	}
	if c := d.takeIdle(); c != nil {
		return &pooledConn{dropPoint: d, raw: c}, nil
	}
	c, err := d.transport.open(ctx)
	if err != nil {
		<-d.inUse
		return nil, err
	}
	return &pooledConn{dropPoint: d, raw: c, isNew: true}, nil
}

// HasWaiters reports whether a caller of Acquire waits for a connection.
func (d *DropPoint) HasWaiters() bool { return d.waiters.Load() > 0 }

// HasFree reports whether Acquire would return a connection without waiting for another caller.
func (d *DropPoint) HasFree() bool { return len(d.inUse) < cap(d.inUse) }

// IsSlow reports whether recent answers took a second or more.
func (d *DropPoint) IsSlow() bool { return d.speed.Load() >= int64(slowAnswer) }

// recordAnswer takes up the time to an answer. One slow answer makes the drop point slow at once.
// It takes several fast answers until it counts as fast again.
func (d *DropPoint) recordAnswer(took time.Duration) {
	if before := d.speed.Load(); int64(took) > before {
		d.speed.Store(int64(took))
	} else {
		d.speed.Store(before - (before-int64(took))/8)
	}
}

// AcquireSlowSlot reserves one of the two slots for batches that use this slow drop point although
// they could use a faster one. It returns false if both are taken. After true, the caller must call
// [DropPoint.ReleaseSlowSlot].
func (d *DropPoint) AcquireSlowSlot() bool {
	if d.slowUsers.Add(1) > slowSlots {
		d.slowUsers.Add(-1)
		return false
	}
	return true
}

// ReleaseSlowSlot returns a slot.
func (d *DropPoint) ReleaseSlowSlot() { d.slowUsers.Add(-1) }

// Check opens a connection and closes it, without sending a message.
func (d *DropPoint) Check(ctx context.Context) Health {
	began := time.Now()
	c, err := d.transport.open(ctx)
	if err == nil {
		c.close()
	}
	return Health{Took: time.Since(began), Err: err}
}

// takeIdle returns an idle connection that is alive, or nil.
func (d *DropPoint) takeIdle() rawConn {
	for {
		d.mu.Lock()
		n := len(d.idle)
		if n == 0 {
			d.mu.Unlock()
			return nil
		}
		c := d.idle[n-1]
		d.idle = d.idle[:n-1]
		d.mu.Unlock()
		if c.alive() {
			return c.rawConn
		}
		c.abort() // a server may close a connection between messages
	}
}

func (d *DropPoint) putIdle(c rawConn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		go c.close()
		return
	}
	d.idle = append(d.idle, idleConn{c, time.Now()})
	if !d.timerIsSet {
		d.timerIsSet = true
		time.AfterFunc(maxIdle, d.closeExpired)
	}
}

// closeExpired closes connections that were idle for too long. It sets the timer for its next run
// while any connection is idle.
func (d *DropPoint) closeExpired() {
	d.closeIdle(maxIdle)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timerIsSet = len(d.idle) > 0; d.timerIsSet {
		time.AfterFunc(maxIdle/2, d.closeExpired)
	}
}

// close closes the idle connections, and makes Release close the others.
func (d *DropPoint) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.closeIdle(0)
}

// closeIdle closes connections that were idle for at least olderThan.
func (d *DropPoint) closeIdle(olderThan time.Duration) {
	d.mu.Lock()
	var expired, kept []idleConn
	for _, c := range d.idle {
		if time.Since(c.since) >= olderThan {
			expired = append(expired, c)
		} else {
			kept = append(kept, c)
		}
	}
	d.idle = kept
	d.mu.Unlock()
	for _, c := range expired {
		c.close()
	}
}
