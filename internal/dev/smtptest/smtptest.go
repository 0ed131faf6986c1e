// Package smtptest is an SMTP server for tests. It records the messages that it accepts, and fails
// exactly when the test says so.
package smtptest

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
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

type session struct {
	server    *Server
	number    int
	nc        net.Conn
	r         *bufio.Reader
	w         *bufio.Writer
	secure    bool
	message   int
	from      string
	params    string
	to        string
	opened    bool
	mechanism string // of the AUTH that is being answered
	raw       bool   // nothing ends the line of the next reply
	tooMany   bool
}

func (c *session) run() {
	o := c.server.options
	if c.tooMany {
		reply := o.TooMany
		if reply == "" {
			reply = "421 4.3.2 too many connections"
		}
		_, _ = io.WriteString(c.nc, reply+"\r\n")
		return
	}
	if o.ImplicitTLS {
		c.nc, c.secure = tls.Server(c.nc, c.server.tls), true
	}
	c.r, c.w = bufio.NewReader(c.nc), bufio.NewWriter(c.nc)
	if !c.answer("connect", "220 test ready") {
		return
	}
	for {
		if c.r.Buffered() == 0 || o.NoPipeline {
			if c.w.Flush() != nil {
				return
			}
		}
		line, err := c.r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		if !o.Discard {
			c.server.mu.Lock()
			c.server.commands = append(c.server.commands, line)
			c.server.mu.Unlock()
		}
		if !c.command(line) {
			_ = c.w.Flush()
			return
		}
	}
}

// answer sends the usual reply, or that of the script, and reports whether the session goes on.
func (c *session) answer(phase, usual string) bool {
	reply, ok := c.decide(phase, usual)
	return ok && c.say(reply) && (phase != "connect" || c.w.Flush() == nil)
}

func (c *session) decide(phase, usual string) (reply string, ok bool) {
	a := c.action(phase)
	switch {
	case a == nil:
		return usual, true
	case a.Raw != "":
		c.raw = true
		if a.Die {
			c.say(a.Raw)
			_ = c.w.Flush()
		}
		return a.Raw, !a.Die
	case a.Reply != "":
		return a.Reply, true
	}
	return usual, !a.Die
}

func (c *session) action(phase string) *Action {
	if c.server.options.Script == nil {
		return nil
	}
	a := c.server.options.Script(Event{Conn: c.number, Message: c.message, Phase: phase, Mechanism: c.mechanism,
		From: c.from, To: c.to})
	if a != nil && a.Wait != nil {
		_ = c.w.Flush()
		select {
		case <-a.Wait:
		case <-c.server.stopped:
		}
	}
	if a != nil && a.Die {
		_ = c.w.Flush()
	}
	return a
}

func (c *session) command(line string) bool {
	verb, rest, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "EHLO":
		return c.answer("EHLO", c.ehlo())
	case "HELO":
		return c.answer("HELO", "250 test")
	case "STARTTLS":
		return c.startTLS()
	case "AUTH":
		return c.auth(rest)
	case "RSET":
		c.open(false)
		return c.answer("RSET", "250 2.0.0 ok")
	case "NOOP":
		return c.answer("NOOP", "250 2.0.0 ok")
	case "QUIT":
		c.answer("QUIT", "221 2.0.0 bye")
		return false
	case "MAIL":
		return c.mail(rest)
	case "RCPT":
		return c.rcpt(rest)
	case "DATA":
		return c.data()
	}
	return c.answer("unknown", "500 5.5.1 what?")
}

func (c *session) ehlo() string {
	lines := []string{"test"}
	o := c.server.options
	if !o.NoPipeline {
		lines = append(lines, "Pipelining") // keywords are case-insensitive
	}
	if o.STARTTLS && !c.secure {
		lines = append(lines, "STARTTLS")
	}
	if (o.Password != "" || o.PasswordNow != nil) && (c.secure || !o.STARTTLS) {
		lines = append(lines, "AUTH "+strings.Join(c.server.mechanisms(), " "))
	}
	lines = append(lines, o.Extensions...)
	lines = append(lines, "ENHANCEDSTATUSCODES")
	for i, l := range lines {
		if i < len(lines)-1 {
			lines[i] = "250-" + l
		} else {
			lines[i] = "250 " + l
		}
	}
	return strings.Join(lines, "\r\n")
}

func (c *session) startTLS() bool {
	if !c.answer("STARTTLS", "220 2.0.0 go on") || c.w.Flush() != nil {
		return false
	}
	c.nc, c.secure = tls.Server(c.nc, c.server.tls), true
	c.r, c.w = bufio.NewReader(c.nc), bufio.NewWriter(c.nc)
	return true
}

func (c *session) mail(rest string) bool {
	if c.opened {
		return c.answer("nested", "503 5.5.1 nested MAIL")
	}
	c.message++
	path, params, _ := strings.Cut(strings.TrimPrefix(rest, "FROM:<"), ">")
	c.from, c.params, c.to = path, strings.TrimSpace(params), ""
	reply, ok := c.decide("MAIL", "250 2.1.0 ok")
	c.open(begins(reply, "2"))
	return ok && c.say(reply)
}

func (c *session) open(yes bool) {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	switch {
	case yes && !c.opened:
		c.server.busy++
	case !yes && c.opened:
		c.server.busy--
	}
	c.opened = yes
}

func (c *session) rcpt(rest string) bool {
	if !c.opened {
		return c.answer("early", "503 5.5.1 MAIL first")
	}
	c.to, _, _ = strings.Cut(strings.TrimPrefix(rest, "TO:<"), ">")
	reply, ok := c.decide("RCPT", "250 2.1.5 ok")
	if !begins(reply, "2") {
		c.to = ""
	}
	return ok && c.say(reply)
}

func (c *session) data() bool {
	usual := "354 go on"
	if c.to == "" {
		usual = "554 5.5.1 no valid recipients"
	}
	reply, ok := c.decide("DATA", usual)
	if !ok || !c.say(reply) || c.w.Flush() != nil {
		return false
	}
	if !begins(reply, "354") {
		return true
	}
	var body bytes.Buffer
	for first := true; ; first = false {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			break
		}
		if first {
			if a := c.action("BODY"); a != nil && a.Die {
				return false
			}
		}
		body.WriteString(strings.TrimPrefix(line, "."))
	}
	return c.dot(body.String())
}

func (c *session) dot(body string) bool {
	defer c.open(false)
	if c.to == "" {
		return c.say("554 5.5.1 no valid recipients")
	}
	a := c.action("DOT")
	reply := "250 2.0.0 accepted"
	switch {
	case a != nil && a.Raw != "":
		reply, c.raw = a.Raw, true
	case a != nil && a.Reply != "":
		reply = a.Reply
	}
	if begins(reply, "2") && (a == nil || !a.Die || a.Accept) {
		m := Message{Conn: c.number, From: c.from, To: c.to, Params: c.params, ID: messageID(body), At: time.Now()}
		if !c.server.options.Discard {
			m.Data = body
		}
		c.server.keep(m)
	}
	switch {
	case a != nil && a.Die:
		if c.raw {
			c.say(reply)
			_ = c.w.Flush()
		}
		return false
	case a != nil && a.Cut:
		_, _ = io.WriteString(c.w, reply[:2])
		_ = c.w.Flush()
		return false
	}
	return c.say(reply)
}

func (s *Server) keep(m Message) {
	if s.options.Accepted != nil {
		s.options.Accepted(m)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.received = append(s.received, m)
}

// messageID returns the Message-ID of a message. It does not keep the memory of the message.
func messageID(body string) string {
	head, _, _ := strings.Cut(body, "\r\n\r\n")
	_, after, found := strings.Cut(head, "Message-ID: ")
	if !found {
		return ""
	}
	id, _, _ := strings.Cut(after, "\r\n")
	return strings.Clone(id)
}

func (c *session) say(reply string) bool {
	if !c.raw {
		reply += "\r\n"
	}
	c.raw = false
	_, err := io.WriteString(c.w, reply)
	return err == nil && !begins(reply, "421")
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
