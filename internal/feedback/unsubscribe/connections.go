package unsubscribe

import (
	"crypto/rsa"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// The limits of open connections. Beyond maxOpen, connections wait in the kernel, which costs this
// process nothing. Beyond maxPerClient, those of the client are closed unread.
const (
	maxOpen      = 512
	maxPerClient = 64
)

// The limit of new connections: they may use connectionShare of the processor time of the machine,
// and up to that of shareBurst at once. Beyond that, connections wait in the kernel, and a batch of
// them is accepted after each acceptPause. A worker that wakes for each connection uses twice as
// much processor time, and takes it from PostgreSQL and from its own sending each time.
const (
	connectionShare = 0.03
	shareBurst      = 10 * time.Second
	acceptPause     = 50 * time.Millisecond
)

// The processor time that a new connection uses, about. A connection has at most one request that
// is refused, because the server closes it then. The limits of requests bound all other requests.
const (
	closeCost   = 30 * time.Microsecond // to close it unread
	requestCost = 150 * time.Microsecond
	curveCost   = 400 * time.Microsecond  // of TLS, with an elliptic curve
	rsaCost     = 2500 * time.Microsecond // of TLS, with RSA and 2,048 bits
)

// connectionLimiter limits connections.
type connectionLimiter struct {
	net.Listener
	proxies []netip.Prefix
	slots   chan struct{}
	pair    *keyPair      // nil without TLS
	spent   *rate.Limiter // of processor time; a token is a microsecond
	now     func() time.Time
	pause   func(time.Duration)

	mu   sync.Mutex
	open map[netip.Prefix]int
}

// limitConnections limits the connections of a listener. pair is nil without TLS.
func limitConnections(l net.Listener, proxies []netip.Prefix, pair *keyPair) *connectionLimiter {
	share := connectionShare * float64(runtime.GOMAXPROCS(0)*int(time.Second/time.Microsecond))
	return &connectionLimiter{
		Listener: l, proxies: proxies, slots: make(chan struct{}, maxOpen), open: map[netip.Prefix]int{}, pair: pair,
		spent: rate.NewLimiter(rate.Limit(share), int(share*shareBurst.Seconds())),
		now:   time.Now, pause: time.Sleep,
	}
}

// handshakeCost returns the processor time that a handshake takes, about. It is 0 without TLS.
func (k *keyPair) handshakeCost() time.Duration {
	if k == nil {
		return 0
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	key, ok := k.pair.PrivateKey.(*rsa.PrivateKey)
	if !ok {
		return curveCost
	}
	size := time.Duration(key.Size())
	return rsaCost * size * size / (256 * 256)
}

func (l *connectionLimiter) Accept() (net.Conn, error) {
	for {
		l.pause(l.owed())
		l.slots <- struct{}{}
		c, err := l.Listener.Accept()
		if err != nil {
			<-l.slots
			return nil, err
		}
		client := networkOf(addressOf(c.RemoteAddr().String()))
		if l.enter(client) {
			l.spend(requestCost + l.pair.handshakeCost())
			return &limitedConn{Conn: c, leave: sync.OnceFunc(func() { l.leave(client) })}, nil
		}
		abort(c)
		<-l.slots
		l.spend(closeCost)
	}
}

// owed returns how long no connection is accepted, because earlier ones have used more than their
// share of the processor time. It is 0 as long as that is less than acceptPause.
func (l *connectionLimiter) owed() time.Duration {
	tokens := l.spent.TokensAt(l.now())
	owed := time.Duration(-tokens / float64(l.spent.Limit()) * float64(time.Second))
	if owed < acceptPause {
		return 0
	}
	return owed
}

// spend counts the processor time of a connection. The count may go below zero.
func (l *connectionLimiter) spend(cost time.Duration) {
	l.spent.ReserveN(l.now(), int(cost.Microseconds()))
}

// enter counts a connection of the client, and reports whether it may have one more. Proxies have
// no limit of their own.
func (l *connectionLimiter) enter(client netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[client] >= maxPerClient && !contains(l.proxies, client.Addr()) {
		return false
	}
	l.open[client]++
	return true
}

func (l *connectionLimiter) leave(client netip.Prefix) {
	l.mu.Lock()
	if l.open[client]--; l.open[client] == 0 {
		delete(l.open, client)
	}
	l.mu.Unlock()
	<-l.slots
}

// abort closes a connection without the states that TCP keeps of an orderly end.
func abort(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

type limitedConn struct {
	net.Conn
	leave func()
}

func (c *limitedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
