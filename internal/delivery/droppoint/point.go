package droppoint

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"directmailer/internal/delivery/smtp"
)

// slow is how long an answer takes that makes a drop point slow; seats is how many batches that could go elsewhere use such a one at once,
// as each must wait for its last answers there before it gives its place on the worker to another.
const (
	slow  = time.Second
	seats = 2
)

// idleFor is how long a connection waits for its next message before it is closed: servers count open ones.
const idleFor = time.Minute

// Point is a drop point with its connections, shared by all batches and mailings of a worker. It is safe for use by several goroutines.
type Point struct {
	config    Config
	transport transport
	slots     chan struct{} // one for each connection that may be open
	waiting   atomic.Int32  // who ask for one
	took      atomic.Int64  // what answers have taken lately, in nanoseconds
	seated    atomic.Int32  // batches that have a seat

	mu       sync.Mutex
	idle     []idleConnection // the most recently used last
	tidying  bool             // a timer is set
	shutting bool             // nothing is kept any more
}

type idleConnection struct {
	connection
	since time.Time
}

func newPoint(c Config) *Point {
	p := &Point{config: c, slots: make(chan struct{}, c.Connections)}
	if c.SMTP != nil {
		p.transport = &smtpTransport{*c.SMTP, c.Idempotency}
	} else {
		p.transport = &directory{path: c.Dir, files: realFiles}
	}
	return p
}

// Name is what mailings call the drop point.
func (p *Point) Name() string { return p.config.Name }

// Connections is how many lanes there can be at once.
func (p *Point) Connections() int { return p.config.Connections }

// Acquire returns a lane, on a connection that is idle or new. It waits while all are in use, until ctx ends.
func (p *Point) Acquire(ctx context.Context) (Lane, error) {
	p.waiting.Add(1)
	select {
	case p.slots <- struct{}{}:
		p.waiting.Add(-1)
	case <-ctx.Done():
		p.waiting.Add(-1)
		return nil, ctx.Err()
	}
	if err := ctx.Err(); err != nil { // both were ready
		<-p.slots
		return nil, err
	}
	if c := p.takeIdle(); c != nil {
		return &lane{point: p, connection: c}, nil
	}
	c, err := p.transport.open(ctx)
	if err != nil {
		<-p.slots
		return nil, err
	}
	return &lane{point: p, connection: c, fresh: true}, nil
}

// Crowded tells whether somebody waits for a connection.
func (p *Point) Crowded() bool { return p.waiting.Load() > 0 }

// Idle tells whether a connection could be had at once.
func (p *Point) Idle() bool { return len(p.slots) < cap(p.slots) }

// Slow tells whether answers have taken a second or more lately.
func (p *Point) Slow() bool { return p.took.Load() >= int64(slow) }

// answered remembers the time of an answer: a long one at once, while a few short ones do not make up for it.
func (p *Point) answered(took time.Duration) {
	if before := p.took.Load(); int64(took) > before {
		p.took.Store(int64(took))
	} else {
		p.took.Store(before - (before-int64(took))/8)
	}
}

// Sit takes a seat at a slow drop point for a batch that could go elsewhere, unless all are taken. Rise gives it back.
func (p *Point) Sit() bool {
	if p.seated.Add(1) > seats {
		p.seated.Add(-1)
		return false
	}
	return true
}

// Rise gives a seat back.
func (p *Point) Rise() { p.seated.Add(-1) }

func (p *Point) takeIdle() connection {
	for {
		p.mu.Lock()
		n := len(p.idle)
		if n == 0 {
			p.mu.Unlock()
			return nil
		}
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		if c.alive() {
			return c.connection
		}
		c.abort() // a server that closes between messages does nothing wrong
	}
}

func (p *Point) putIdle(c connection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shutting {
		go c.close()
		return
	}
	p.idle = append(p.idle, idleConnection{c, time.Now()})
	if !p.tidying {
		p.tidying = true
		time.AfterFunc(idleFor, p.tidy)
	}
}

// tidy closes what has been idle for long, and comes again while anything is idle.
func (p *Point) tidy() {
	p.closeIdle(idleFor)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tidying = len(p.idle) > 0; p.tidying {
		time.AfterFunc(idleFor/2, p.tidy)
	}
}

// shut closes what is idle, now and from now on.
func (p *Point) shut() {
	p.mu.Lock()
	p.shutting = true
	p.mu.Unlock()
	p.closeIdle(0)
}

func (p *Point) closeIdle(olderThan time.Duration) {
	p.mu.Lock()
	var old, kept []idleConnection
	for _, c := range p.idle {
		if time.Since(c.since) >= olderThan {
			old = append(old, c)
		} else {
			kept = append(kept, c)
		}
	}
	p.idle = kept
	p.mu.Unlock()
	for _, c := range old {
		c.close()
	}
}

// Check goes as far as one can without sending a message, and says how long that took.
func (p *Point) Check(ctx context.Context) Health {
	began := time.Now()
	c, err := p.transport.open(ctx)
	if err == nil {
		c.close()
	}
	return Health{Took: time.Since(began), Err: err}
}

// String describes the drop point without its credentials.
func (p *Point) String() string { return p.config.String() }

// lane is a connection in use.
type lane struct {
	point      *Point
	connection connection
	waited     time.Duration // for Begin
	fresh      bool          // nothing has begun on the connection yet: if it is closed, that is not a server's ordinary way
}

func (l *lane) Begin(ctx context.Context, m *Message) error {
	began := time.Now()
	defer func() { l.waited = time.Since(began) }()
	if limit := l.point.config.Messages; limit > 0 && l.connection.used() >= limit {
		l.connection.close()
		if err := l.renew(ctx); err != nil {
			return err
		}
	}
	err := l.connection.begin(ctx, m)
	if !l.fresh && smtp.ClosedBetweenMessages(err) && ctx.Err() == nil {
		l.connection.abort()
		if err := l.renew(ctx); err != nil {
			return err
		}
		err = l.connection.begin(ctx, m)
	}
	l.fresh = false
	return err
}

// renew replaces the connection; where that fails the old one, closed, stays to be given back.
func (l *lane) renew(ctx context.Context) error {
	l.fresh = true
	c, err := l.point.transport.open(ctx)
	if err != nil {
		return err
	}
	l.connection = c
	return nil
}

func (l *lane) Finish(next *Message) (Answer, error) {
	began := time.Now()
	defer func() { l.point.answered(l.waited + time.Since(began)) }()
	return l.connection.finish(next)
}

func (l *lane) Announces() bool {
	limit := l.point.config.Messages
	return l.connection.announces() && (limit == 0 || l.connection.used() < limit)
}

func (l *lane) Release() {
	if l.connection.alive() {
		l.point.putIdle(l.connection)
	} else {
		l.connection.close()
	}
	<-l.point.slots
}

func (l *lane) Abort() {
	l.connection.abort()
	<-l.point.slots
}
