package unsubscribe

import (
	"crypto/rsa"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"directmailer/internal/feedback"
	"directmailer/internal/fifo"
)

// The limits of open connections. Beyond maxOpen, connections wait in the kernel, which costs this
// process nothing. Beyond maxPerClient, those of the client are closed unread. At most half of
// either is for connections that wait for another request: see mayStay.
const (
	maxOpen      = 512
	maxPerClient = 64
)

// The limit of new connections: they may use connectionShare of the processor time of the machine,
// and up to that of shareBurst at once. Beyond that, connections wait in the kernel, and a batch of
// them is accepted after each acceptPause. A worker that wakes for each connection uses twice as
// much processor time, and takes it from PostgreSQL and from its own sending each time.
//
// While less than half of the burst is left, one client may use the share divided by clientPart.
// Its connections beyond that are closed unread, so that others do not wait until all are served.
const (
	connectionShare = 0.03
	shareBurst      = 10 * time.Second
	acceptPause     = 50 * time.Millisecond
	clientPart      = 4
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
	clients *fifo.Cache[netip.Prefix, *rate.Limiter]
	now     func() time.Time
	pause   func(time.Duration)

	closed chan struct{}
	close  func() // closes closed

	mu   sync.Mutex
	open map[netip.Prefix]int
}

// limitConnections limits the connections of a listener. pair is nil without TLS.
func limitConnections(l net.Listener, proxies []netip.Prefix, pair *keyPair) *connectionLimiter {
	share := connectionShare * float64(runtime.GOMAXPROCS(0)*int(time.Second/time.Microsecond))
	closed := make(chan struct{})
	return &connectionLimiter{
		Listener: l, proxies: proxies, slots: make(chan struct{}, maxOpen), open: map[netip.Prefix]int{}, pair: pair,
		spent:   rate.NewLimiter(rate.Limit(share), int(share*shareBurst.Seconds())),
		clients: fifo.New[netip.Prefix](maxClients, fifo.One[*rate.Limiter]),
		now:     time.Now, pause: time.Sleep,
		closed: closed, close: sync.OnceFunc(func() { close(closed) }),
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
		select {
		case l.slots <- struct{}{}:
		case <-l.closed:
			return nil, net.ErrClosed
		}
		c, err := l.Listener.Accept()
		if err != nil {
			<-l.slots
			return nil, err
		}
		address := addressOf(c.RemoteAddr().String())
		cost := requestCost + l.pair.handshakeCost()
		if l.allows(address, cost) && l.enter(address) {
			l.spend(cost)
			return &limitedConn{Conn: c, leave: sync.OnceFunc(func() { l.leave(address) })}, nil
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

// allows counts the processor time of a connection for its client, and reports whether the client
// may use it. Proxies have no part of their own.
func (l *connectionLimiter) allows(address netip.Addr, cost time.Duration) bool {
	own := l.clients.GetOrAdd(feedback.ClientOf(address), func() *rate.Limiter {
		return rate.NewLimiter(l.spent.Limit()/clientPart, l.spent.Burst()/clientPart)
	})
	now := l.now()
	return own.AllowN(now, int(cost.Microseconds())) || l.spent.TokensAt(now) > float64(l.spent.Burst()/2) ||
		contains(l.proxies, address)
}

// Close closes the listener. A call of Accept that waits for the end of other connections returns.
func (l *connectionLimiter) Close() error {
	l.close()
	return l.Listener.Close()
}

// enter counts a connection of the client, and reports whether it may have one more. Proxies have
// no limit of their own.
func (l *connectionLimiter) enter(address netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	client := feedback.ClientOf(address)
	if l.open[client] >= maxPerClient && !contains(l.proxies, address) {
		return false
	}
	l.open[client]++
	return true
}

func (l *connectionLimiter) leave(address netip.Addr) {
	client := feedback.ClientOf(address)
	l.mu.Lock()
	if l.open[client]--; l.open[client] == 0 {
		delete(l.open, client)
	}
	l.mu.Unlock()
	<-l.slots
}

// mayStay reports whether a connection from the address may wait for another request. If not, it
// ends with its answer. Otherwise the unused connections of browsers and mail providers would keep
// others out, and new connections of their own.
func (l *connectionLimiter) mayStay(address netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.slots) <= maxOpen/2 &&
		(l.open[feedback.ClientOf(address)] <= maxPerClient/2 || contains(l.proxies, address))
}

// endConnections returns a handler that answers as h does, and ends connections that may not stay.
func (l *connectionLimiter) endConnections(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !l.mayStay(addressOf(r.RemoteAddr)) {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
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
