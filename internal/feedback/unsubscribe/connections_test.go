package unsubscribe

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"directmailer/internal/feedback"
)

func TestAClientHasAFewConnections(t *testing.T) {
	t.Parallel()
	for proxies, want := range map[string]int{"192.0.2.0/24": maxPerClient, "127.0.0.0/8": maxPerClient + 20} {
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l := limitConnections(inner, []netip.Prefix{netip.MustParsePrefix(proxies)}, nil)
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = c.Write([]byte{1})
				go func() { _, _ = io.Copy(io.Discard, c); _ = c.Close() }() // when the client closes
			}
		}()
		served := 0
		for range maxPerClient + 20 {
			c, err := net.Dial("tcp", inner.Addr().String())
			if err != nil { // closed already
				continue
			}
			defer c.Close()
			if _, err := c.Read(make([]byte, 1)); err == nil {
				served++
			}
		}
		if served != want {
			t.Errorf("proxies %s: %d connections were served, want %d", proxies, served, want)
		}
	}
}

// person is who comes in the flood of another client.
var person = netip.AddrFrom4([4]byte{192, 0, 2, 1})

// flood is a listener with new connections of as many clients, or of one that has all connections
// that it may have. Time passes only while its limiter pauses.
type flood struct {
	net.Listener
	l           *connectionLimiter
	oneClient   bool
	client      netip.Addr // the first one
	left, n     int
	personAfter int // so many connections; 0: nobody comes
	pauses      int
	took        time.Duration
}

func newFlood(pair *keyPair, oneClient bool) *flood {
	f := &flood{oneClient: oneClient, client: netip.AddrFrom4([4]byte{10})}
	f.l = limitConnections(f, nil, pair)
	share := rate.Limit(connectionShare * 2 * float64(time.Second/time.Microsecond)) // of two processors
	f.l.spent = rate.NewLimiter(share, int(share))                                   // at once: that of a second
	if oneClient {
		f.l.open[feedback.ClientOf(f.client)] = maxPerClient
	}
	began := time.Now()
	f.l.now = func() time.Time { return began.Add(f.took) }
	f.l.pause = func(d time.Duration) {
		if f.took += d; d > 0 {
			f.pauses++
		}
	}
	return f
}

func (f *flood) Accept() (net.Conn, error) {
	if f.left--; f.left < 0 {
		return nil, net.ErrClosed
	}
	if f.personAfter > 0 {
		if f.personAfter--; f.personAfter == 0 {
			return &fakeConn{client: person}, nil
		}
	}
	if f.oneClient {
		return &fakeConn{client: f.client}, nil
	}
	f.n++
	return &fakeConn{client: netip.AddrFrom4([4]byte{10, byte(f.n >> 16), byte(f.n >> 8), byte(f.n)})}, nil
}

// acceptAll accepts and closes all connections that are left.
func (f *flood) acceptAll(t *testing.T) {
	t.Helper()
	for {
		c, err := f.l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
}

type fakeConn struct {
	net.Conn
	client netip.Addr
}

func (c *fakeConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.client, 1))
}

func (c *fakeConn) Close() error { return nil }

func rsaOf(bits uint) *rsa.PrivateKey {
	return &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), bits-1)}}
}

// Whatever a flood is made of, it leaves the processors to the mail that goes out.
func TestNewConnectionsTakeAShareOfTheProcessorTime(t *testing.T) {
	t.Parallel()
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	with := func(key any) *keyPair { return &keyPair{pair: &tls.Certificate{PrivateKey: key}} }
	for name, c := range map[string]struct {
		pair      *keyPair
		oneClient bool
		cost      time.Duration
	}{
		"HTTP": {nil, false, requestCost}, "an elliptic curve": {with(curve), false, requestCost + curveCost},
		"RSA":      {with(rsaOf(2048)), false, requestCost + rsaCost},
		"long RSA": {with(rsaOf(4096)), false, requestCost + 4*rsaCost}, "one client": {nil, true, closeCost},
	} {
		f := newFlood(c.pair, c.oneClient)
		burst := time.Duration(f.l.spent.Burst()) * time.Microsecond
		f.left = 2 * int(burst/c.cost)
		used := time.Duration(f.left)*c.cost - burst
		f.acceptAll(t)
		want := time.Duration(float64(used.Microseconds()) / float64(f.l.spent.Limit()) * float64(time.Second))
		if f.took > want || f.took < want-2*acceptPause {
			t.Errorf("%s: the connections take %v, want %v", name, f.took, want)
		}
	}
}

// A worker that wakes for each connection of a flood keeps PostgreSQL and its own sending from
// work.
func TestConnectionsOfAFloodAreAcceptedInBatches(t *testing.T) {
	t.Parallel()
	f := newFlood(nil, false)
	f.left = 2 * f.l.spent.Burst() / int(requestCost.Microseconds())
	f.acceptAll(t)
	if most := int(f.took/acceptPause) + 1; f.pauses < 2 || f.pauses > most {
		t.Errorf("the listener pauses %d times in %v, want at most %d", f.pauses, f.took, most)
	}
}

// Whoever comes while one client floods the listener waits for less than three seconds, although
// the kernel's queue is full of the flood: whether the client keeps its connections open, or ends
// each before the next one is accepted.
func TestAPersonIsAcceptedInTheFloodOfOneClient(t *testing.T) {
	t.Parallel()
	const queue = 4096
	rsaPair := &keyPair{pair: &tls.Certificate{PrivateKey: rsaOf(2048)}}
	for name, c := range map[string]struct {
		pair  *keyPair
		keeps bool
	}{"keeps": {nil, true}, "ends": {nil, false}, "ends, RSA": {rsaPair, false}} {
		f := newFlood(c.pair, true)
		if !c.keeps {
			clear(f.l.open)
		}
		f.left = 2 * f.l.spent.Burst() / int(closeCost.Microseconds())
		f.acceptAll(t)
		before := f.took
		f.left, f.personAfter = queue+1, queue
		for {
			accepted, err := f.l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			_ = accepted.Close()
			if addressOf(accepted.RemoteAddr().String()) == person {
				break
			}
		}
		if waited := f.took - before; waited > 3*time.Second {
			t.Errorf("%s: the person waits for %v", name, waited)
		}
	}
}

// noConn is a listener that cannot accept connections at the moment.
type noConn struct{ net.Listener }

func (noConn) Accept() (net.Conn, error) { return nil, errors.New("no memory") }

func TestAConnectionThatCannotBeAcceptedTakesNoSlot(t *testing.T) {
	t.Parallel()
	l := limitConnections(noConn{}, nil, nil)
	for range maxOpen + 1 { // one more would wait for ever
		if _, err := l.Accept(); err == nil {
			t.Fatal("a connection was accepted")
		}
	}
}

// A mail provider sends the requests of many people from one address.
func TestOneClientMayUseTheWholeShareWhenNobodyElseComes(t *testing.T) {
	t.Parallel()
	f := newFlood(nil, true)
	clear(f.l.open)
	accepted := 0
	f.left = f.l.spent.Burst() / int(requestCost.Microseconds()) / 2
	for want := f.left; ; accepted++ {
		c, err := f.l.Accept()
		if err != nil {
			if accepted != want {
				t.Errorf("%d connections are accepted at once, want %d", accepted, want)
			}
			return
		}
		_ = c.Close()
	}
}

// A proxy has the connections of all clients. It may have an IPv6 address.
func TestAProxyHasNoLimitOfItsOwn(t *testing.T) {
	t.Parallel()
	for _, proxy := range []string{"10.0.0.1", "::1", "2001:db8::7"} {
		f := newFlood(nil, true)
		f.client = netip.MustParseAddr(proxy)
		f.l.proxies = []netip.Prefix{netip.PrefixFrom(f.client, f.client.BitLen())}
		f.left = maxOpen
		for range maxOpen {
			if _, err := f.l.Accept(); err != nil {
				t.Fatalf("%s: %v", proxy, err)
			}
		}
		if n := f.l.open[feedback.ClientOf(f.client)]; n != maxOpen {
			t.Errorf("%s has %d connections, want %d", proxy, n, maxOpen)
		}
	}
}

// Connections that wait for another request keep nobody out.
func TestConnectionsThatAreKeptLeaveHalfOfTheLimitsToNewOnes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	limiter := f.server.listener.(*connectionLimiter)
	ends := func() bool {
		// Without a connection: nothing else can change the counts.
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/u/x", nil)
		f.server.http.Handler.ServeHTTP(w, r)
		return w.Header().Get("Connection") == "close"
	}
	r := httptest.NewRequest("GET", "/u/x", nil)
	client := feedback.ClientOf(addressOf(r.RemoteAddr))
	for open, want := range map[int]bool{1: false, maxPerClient / 2: false, maxPerClient/2 + 1: true} {
		limiter.open[client] = open
		if got := ends(); got != want {
			t.Errorf("with %d connections of the client: the connection ends: %v", open, got)
		}
	}
	limiter.proxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	if ends() {
		t.Error("a proxy has the limit of a client")
	}
	for range maxOpen/2 + 1 {
		limiter.slots <- struct{}{}
	}
	if !ends() {
		t.Errorf("with %d connections of all clients, one more is kept", len(limiter.slots))
	}
}

func TestThePublicListenerIsOneThatOutlivesErrors(t *testing.T) {
	t.Parallel()
	inner := newFixture(t).server.listener.(*connectionLimiter).Listener
	if _, ok := inner.(*net.TCPListener); ok {
		t.Error("an error of Accept can end it: use feedback.KeepAccepting")
	}
}

// A worker that stops does not wait until somebody ends one of the connections.
func TestAListenerWithAllItsConnectionsClosesInTime(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	limiter := limitConnections(l, nil, nil)
	for range maxOpen {
		limiter.slots <- struct{}{}
	}
	accepted := make(chan error, 1)
	go func() {
		_, err := limiter.Accept()
		accepted <- err
	}()
	_ = limiter.Close()
	select {
	case err := <-accepted:
		if !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("the listener still waits for a connection to end")
	}
}

// There is no way around the limits of requests.
func TestEveryRequestIsLimited(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	cert, key := writePair(t, t.TempDir(), 1)
	f.start(Options{Certificate: cert, Key: key})
	f.server.handler.limits.total.SetBurst(0)
	for _, request := range []string{"GET /u/x", "POST /u/x", "OPTIONS *", "OPTIONS /u/x", "BREW /", "GET /"} {
		c, err := tls.Dial("tcp", f.server.Addr(), &tls.Config{InsecureSkipVerify: true,
			NextProtos: []string{"h2", "http/1.1"}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if p := c.ConnectionState().NegotiatedProtocol; p != "http/1.1" {
			t.Errorf("the connection speaks %s", p)
		}
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.WriteString(c, request+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(c) // until the server closes
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 503 ") {
			t.Errorf("%s: %.40q, %v", request, answer, err)
		}
	}
}
