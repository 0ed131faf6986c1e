package unsubscribe

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
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

// newConnections is a listener with any number of new connections of as many clients, or of one.
type newConnections struct {
	net.Listener
	oneClient bool
	left, n   int
}

func (l *newConnections) Accept() (net.Conn, error) {
	if l.left--; l.left < 0 {
		return nil, net.ErrClosed
	}
	if !l.oneClient {
		l.n++
	}
	return &fakeConn{client: netip.AddrFrom4([4]byte{10, byte(l.n >> 16), byte(l.n >> 8), byte(l.n)})}, nil
}

type fakeConn struct {
	net.Conn
	client netip.Addr
}

func (c *fakeConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.client, 1))
}

func (c *fakeConn) Close() error { return nil }

// Whatever a flood is made of, it leaves the processors to the mail that goes out.
func TestNewConnectionsTakeAShareOfTheProcessorTime(t *testing.T) {
	t.Parallel()
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	with := func(key any) *keyPair { return &keyPair{pair: &tls.Certificate{PrivateKey: key}} }
	rsaOf := func(bits uint) *rsa.PrivateKey {
		return &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), bits-1)}}
	}
	for name, c := range map[string]struct {
		pair      *keyPair
		oneClient bool
		cost      time.Duration
	}{
		"HTTP": {nil, false, requestCost}, "an elliptic curve": {with(curve), false, requestCost + curveCost},
		"RSA":      {with(rsaOf(2048)), false, requestCost + rsaCost},
		"long RSA": {with(rsaOf(4096)), false, requestCost + 4*rsaCost}, "one client": {nil, true, closeCost},
	} {
		inner := &newConnections{oneClient: c.oneClient}
		l := limitConnections(inner, nil, c.pair)
		burst := time.Duration(l.spent.Burst()) * time.Microsecond
		if c.oneClient {
			l.open[networkOf(netip.AddrFrom4([4]byte{10}))] = maxPerClient
		}
		inner.left = 2 * int(burst/c.cost)
		var waits time.Duration // of the newest connection
		l.pause = func(d time.Duration) { waits = d }
		used := time.Duration(inner.left)*c.cost - burst
		began := time.Now()
		for {
			conn, err := l.Accept()
			if err != nil {
				break
			}
			conn.Close()
		}
		want := time.Duration(float64(used.Microseconds()) / float64(l.spent.Limit()) * float64(time.Second))
		if waits < want-time.Since(began)-time.Millisecond || waits > want+time.Millisecond {
			t.Errorf("%s: the last connection waits for %v, want %v", name, waits, want)
		}
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
