// Package smtptest is an SMTP server for tests. It records the messages that it accepts, and fails
// exactly when the test says so.
package smtptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Event is something that the client has sent and the server is about to answer.
type Event struct {
	Conn    int // number of the connection, from 1
	Message int // number of the message on the connection, from 1
	// Phase is "connect", "EHLO", "STARTTLS", "AUTH", "RSET", "MAIL", "RCPT", "DATA", "BODY" (its
	// first line), "DOT" or "QUIT".
	Phase string
	// Mechanism is that of AUTH. A reply that begins with 334 is a challenge: the log-in goes on.
	Mechanism string
	From      string
	To        string
}

// Action is what the server does instead of its usual answer.
type Action struct {
	// Reply replaces the usual answer: "550 5.1.1 unknown". With a reply other than 2xx at DOT, the
	// message is not accepted.
	Reply string
	// Raw replaces the usual answer too, and is written octet by octet: nothing ends its line. With
	// Die, the connection is closed after it.
	Raw string
	// Die closes the connection without an answer. At DOT, the message is accepted and recorded if
	// Accept is set.
	Die    bool
	Accept bool
	// Cut closes the connection in the middle of the answer to the final dot. The message is
	// accepted.
	Cut bool
	// Wait delays the action until the channel is closed.
	Wait <-chan struct{}
}

// Options configures a server.
type Options struct {
	Script      func(Event) *Action // decides about each event; nil, or a nil action: the usual answer
	NoPipeline  bool
	STARTTLS    bool
	ImplicitTLS bool
	// Discard records neither commands nor the text of messages, only their Message-ID: for
	// benchmarks, and for millions of messages.
	Discard bool
	// Accepted is called for each accepted message, before the client gets its answer. The server
	// then records no message.
	Accepted func(Message)
	// Password is the password of "user", or the access token. If it is empty, the server does not
	// offer AUTH.
	Password string
	// PasswordNow returns the password at each log-in, instead of Password.
	PasswordNow func() string
	// Mechanisms are what the server offers with a password: PLAIN (the default), LOGIN, CRAM-MD5 and
	// XOAUTH2 work. Any other is refused with 504.
	Mechanisms []string
	// ServerName is the name in the certificate. The default is localhost and 127.0.0.1.
	ServerName string
	Extensions []string // further lines of the answer to EHLO, such as "SIZE 1000"
	Addr       string   // host:port to listen on; default: a free port of the loopback
	// MaxOpen limits the open connections. Each further one is greeted with TooMany, by default "421
	// 4.3.2 too many connections", and closed. 0 is no limit.
	MaxOpen int
	TooMany string
}

// Message is an accepted message.
type Message struct {
	Conn     int
	From, To string
	Params   string // after the address in MAIL
	ID       string // Message-ID
	Data     string // without dot-stuffing
	At       time.Time
}

// Server is a running server.
type Server struct {
	options  Options
	listener net.Listener
	tls      *tls.Config
	certPEM  []byte

	mu       sync.Mutex
	received []Message
	conns    map[net.Conn]struct{}
	opened   int
	admitted int // open connections that were not one too many
	busy     int // messages between MAIL and the answer to the final dot
	commands []string
	closed   bool
	stopped  chan struct{}
	wg       sync.WaitGroup
}

// Start runs a server until the end of the test, or until Stop.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s := &Server{options: o, conns: map[net.Conn]struct{}{}, stopped: make(chan struct{})}
	if o.STARTTLS || o.ImplicitTLS {
		s.makeCertificate(t)
	}
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	var err error
	if s.listener, err = Listen(o.Addr); err != nil {
		t.Fatal(err)
	}
	s.wg.Go(s.serve)
	t.Cleanup(s.Stop)
	return s
}

// Listen listens at host:port. If the address is in use, Listen waits up to a minute: a listener
// that was closed just now may still be open in a child process that is about to start its program.
func Listen(addr string) (net.Listener, error) {
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		l, err := net.Listen("tcp", addr)
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(end) {
			return l, err
		}
	}
}

// Addr returns host:port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// RootCAs returns a pool with the server's own certificate, for "localhost" and 127.0.0.1.
func (s *Server) RootCAs() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.certPEM)
	return pool
}

// CertPEM returns the server's own certificate.
func (s *Server) CertPEM() []byte { return s.certPEM }

// Received returns the messages accepted so far, in the order of acceptance.
func (s *Server) Received() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message(nil), s.received...)
}

// Copies returns how many messages each recipient has received.
func (s *Server) Copies() map[string]int {
	out := map[string]int{}
	for _, m := range s.Received() {
		out[m.To]++
	}
	return out
}

// Connections returns how many connections were opened so far.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened
}

// Commands returns every line that clients have sent, without those of messages.
func (s *Server) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.commands...)
}

// Stop closes the listener and every connection.
func (s *Server) Stop() {
	s.mu.Lock()
	if !s.closed {
		close(s.stopped)
	}
	s.closed = true
	_ = s.listener.Close()
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// Drop closes the open connections. The server goes on listening.
func (s *Server) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
}

func (s *Server) serve() {
	for {
		nc, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			_ = nc.Close()
			return
		}
		s.opened++
		session := &session{server: s, number: s.opened, nc: nc}
		s.conns[nc] = struct{}{}
		session.tooMany = s.options.MaxOpen > 0 && s.admitted >= s.options.MaxOpen
		if !session.tooMany {
			s.admitted++
		}
		s.mu.Unlock()
		s.wg.Go(func() {
			session.run()
			session.open(false)
			s.mu.Lock()
			delete(s.conns, nc)
			if !session.tooMany {
				s.admitted--
			}
			s.mu.Unlock()
			_ = nc.Close()
		})
	}
}

func (s *Server) makeCertificate(t testing.TB) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true,
		BasicConstraintsValid: true,
	}
	if s.options.ServerName != "" {
		template.DNSNames, template.IPAddresses = []string{s.options.ServerName}, nil
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	s.certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	s.tls = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// String describes the message without its text.
func (m Message) String() string {
	return fmt.Sprintf("connection %d: <%s> to <%s>", m.Conn, m.From, m.To)
}

// Quiet reports whether no message is between MAIL and the answer to its final dot.
func (s *Server) Quiet() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.busy == 0
}
