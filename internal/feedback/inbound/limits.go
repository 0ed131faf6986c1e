package inbound

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"directmailer/internal/feedback"
)

// The limits of what peers can ask for. A peer that reaches one of a session is told so (421), and
// goes on in another session.
const (
	maxLine       = 64 << 10 // octets of a line
	maxRecipients = 50       // of a message

	maxRefused  = 20   // recipients of a session that are not ours
	maxMessages = 1000 // of a session

	sessionTimeout = 15 * time.Minute
	commandTimeout = 5 * time.Minute // RFC 5321, 4.5.3.2.7; also for a whole message
	handleTimeout  = time.Minute     // to take a message over

	// maxWork is how many messages are being taken over at the same time, each with a connection to
	// the database. After each follows a rest, restFactor times as long.
	maxWork    = 2
	restFactor = 3
	maxRest    = 100 * time.Millisecond

	// MaxKept is how much of a message is looked at, in octets. What a report says comes before the
	// message that it returns.
	MaxKept = 256 << 10
)

// limits are those that a test makes smaller.
type limits struct {
	conns     int   // of all peers
	hostConns int   // of a host: the others are left to other peers
	message   int64 // octets of a message
	session   int64 // octets of a session
}

var defaultLimits = limits{conns: 100, hostConns: 50, message: 16 << 20, session: 64 << 20}

// boundedListener accepts a limited number of connections. One more is told to come again later.
type boundedListener struct {
	net.Listener
	limits limits

	mu    sync.Mutex
	conns map[*boundedConn]struct{}
	hosts map[netip.Prefix]int // see [feedback.ClientOf]
	ends  bool
}

func newBoundedListener(l net.Listener, limits limits) *boundedListener {
	return &boundedListener{Listener: l, limits: limits, conns: map[*boundedConn]struct{}{}, hosts: map[netip.Prefix]int{}}
}

// Accept returns the next connection that is within the limits.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.admit(conn); c != nil {
			return c, nil
		}
		// The answer fits into the socket's buffer, so a peer that does not read holds up nobody.
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = io.WriteString(conn, "421 4.7.0 too many connections, try again later\r\n")
		_ = conn.Close()
	}
}

func (l *boundedListener) admit(conn net.Conn) *boundedConn {
	var host netip.Prefix // of a socket: none
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		host = feedback.ClientOf(a.AddrPort().Addr())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ends || len(l.conns) >= l.limits.conns || host.IsValid() && l.hosts[host] >= l.limits.hostConns {
		return nil
	}
	c := &boundedConn{Conn: conn, listener: l, host: host, end: time.Now().Add(sessionTimeout)}
	l.conns[c] = struct{}{}
	l.hosts[host]++
	return c
}

func (l *boundedListener) forget(c *boundedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, there := l.conns[c]; !there {
		return
	}
	delete(l.conns, c)
	if l.hosts[c.host]--; l.hosts[c.host] == 0 {
		delete(l.hosts, c.host)
	}
}

// drain ends every session that waits for its peer. Sessions that take over a message answer it
// first.
func (l *boundedListener) drain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends = true
	for c := range l.conns {
		c.endAfterAnswer()
	}
}

// closeAll breaks every connection.
func (l *boundedListener) closeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		_ = c.Conn.Close()
	}
}

// boundedConn is a connection that reads a limited number of octets, in a limited time.
type boundedConn struct {
	net.Conn
	listener *boundedListener
	host     netip.Prefix
	end      time.Time
	octets   atomic.Int64
	ends     atomic.Bool
}

// Read reads until the session has had its share. A message that is being read then may come to its
// end.
func (c *boundedConn) Read(b []byte) (int, error) {
	if c.ends.Load() || c.octets.Load() > c.listener.limits.session+c.listener.limits.message {
		return 0, io.EOF
	}
	n, err := c.Conn.Read(b)
	c.octets.Add(int64(n))
	return n, err
}

// SetReadDeadline sets a deadline that is not later than the end of the session.
func (c *boundedConn) SetReadDeadline(t time.Time) error {
	if end := c.end.Add(commandTimeout); t.IsZero() || t.After(end) {
		t = end
	}
	if c.ends.Load() {
		t = time.Now()
	}
	return c.Conn.SetReadDeadline(t)
}

// spent reports whether the session has had its share.
func (c *boundedConn) spent() bool {
	return c.octets.Load() > c.listener.limits.session || time.Now().After(c.end)
}

// endAfterAnswer ends the session after the answer that comes next.
func (c *boundedConn) endAfterAnswer() {
	c.ends.Store(true)
	_ = c.Conn.SetReadDeadline(time.Now())
}

// Close closes the connection.
func (c *boundedConn) Close() error {
	c.listener.forget(c)
	return c.Conn.Close()
}
