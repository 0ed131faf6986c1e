// Package smtp is the client side of SMTP, for sending many messages over one connection: RFC 5321 with pipelining (RFC 2920),
// STARTTLS (RFC 3207), AUTH (RFC 4954), 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531), SIZE (RFC 1870) and enhanced status codes
// (RFC 2034, 3463).
//
// A message is handed over in two steps, so that something can be made durable between them: Begin sends the envelope and the body, all
// but the final dot, and Finish sends the dot. Before Finish a message is certainly not accepted; once the dot may have left and no
// answer is seen, it is uncertain. With a body open no command may be sent: a message is abandoned only by Abort.
//
// Errors are a [*Refusal] (the server answered, the connection stays) or a [*ConnError] (the connection is of no more use); [Classify]
// says what they mean. Neither's text holds an address or a password.
package smtp

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"
)

// TLSPolicy says when a connection is encrypted. A certificate is always verified.
type TLSPolicy int

// The policies.
const (
	Opportunistic TLSPolicy = iota // if the server offers STARTTLS
	Required                       // or there is no session
	None                           // never
)

// Timeouts bound the waiting at each phase. RFC 5321, 4.5.3.2, asks for minutes where a server may be busy with the message.
type Timeouts struct {
	Connect, Greeting, Command, Body, Dot time.Duration
}

// DefaultTimeouts are short where nothing is lost by trying again, and those of the RFC where a duplicate would come of impatience.
var DefaultTimeouts = Timeouts{Connect: 20 * time.Second, Greeting: time.Minute, Command: 2 * time.Minute, Body: 3 * time.Minute, Dot: 10 * time.Minute}

// Options says how to reach a server and as whom.
type Options struct {
	Addr       string // host:port
	ServerName string // that the certificate must be for; default: the host of Addr
	Hello      string // our name in EHLO; default: the host's
	// ImplicitTLS begins with the handshake (port 465); otherwise TLS decides about STARTTLS.
	ImplicitTLS bool
	TLS         TLSPolicy
	RootCAs     *x509.CertPool // default: the system's
	// Username and Password are used if Username is set. They are never sent in the clear, unless TLS is None.
	Username, Password string
	// NextBehindDot sends the next message's envelope in one write with the final dot, which saves a round trip where the server does
	// not hold the dot's answer back meanwhile.
	NextBehindDot bool
	Timeouts      Timeouts // zero: DefaultTimeouts
}

// Message is a complete message and its envelope. Addresses are as on the wire, the domain in A-labels.
type Message struct {
	From, To string
	Data     []byte // lines end with CR LF
	UTF8     bool   // needs SMTPUTF8
	EightBit bool   // needs 8BITMIME
}

var (
	errClosed = errors.New("the server closed the connection")
	errNoTLS  = errors.New("the server does not offer STARTTLS, which is required")
	errNoAuth = errors.New("the server offers no way to log in that can be used here")
)

// Conn is a session with a server. It is for one goroutine.
type Conn struct {
	options Options
	nc      net.Conn
	r       *bufio.Reader
	secure  bool
	ext     map[string]string // by upper-case keyword, as the last EHLO said
	out     []byte

	announced *Message // its envelope is sent, and not yet answered
	open      bool     // a body is sent, without its dot
	reset     bool     // RSET is due before the next envelope
	lost      bool
	messages  int
}

// Dial connects and goes through greeting, EHLO, TLS and AUTH.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	if o.Timeouts == (Timeouts{}) {
		o.Timeouts = DefaultTimeouts
	}
	host, _, err := net.SplitHostPort(o.Addr)
	if err != nil {
		return nil, &ConnError{Phase: PhaseConnect, Cause: err}
	}
	if o.ServerName == "" {
		o.ServerName = host
	}
	if o.Hello == "" {
		o.Hello = helloName()
	}
	dialer := net.Dialer{Timeout: o.Timeouts.Connect}
	nc, err := dialer.DialContext(ctx, "tcp", o.Addr)
	if err != nil {
		return nil, &ConnError{Phase: PhaseConnect, Cause: plainNet(err)}
	}
	c := &Conn{options: o, nc: nc, r: bufio.NewReaderSize(nc, maxReplyLine)}
	defer c.interruptible(ctx)()
	if err := c.begin(ctx); err != nil {
		c.Abort()
		return nil, err
	}
	return c, nil
}

func (c *Conn) begin(ctx context.Context) error {
	if c.options.ImplicitTLS {
		if err := c.handshake(ctx); err != nil {
			return err
		}
	}
	if _, err := c.expect(PhaseGreeting, c.options.Timeouts.Greeting, 220); err != nil {
		return err
	}
	if err := c.hello(); err != nil {
		return err
	}
	if err := c.startTLS(ctx); err != nil {
		return err
	}
	return c.login()
}

// hello says EHLO, or HELO to a server that does not know it, and learns the extensions anew.
func (c *Conn) hello() error {
	c.ext = map[string]string{}
	lines, err := c.commandLines(PhaseHello, "EHLO "+c.options.Hello, 250)
	var refusal *Refusal
	if errors.As(err, &refusal) && refusal.Code >= 500 {
		_, err = c.commandLines(PhaseHello, "HELO "+c.options.Hello, 250)
		return err
	}
	if err != nil {
		return err
	}
	for _, line := range lines[1:] {
		keyword, value, _ := strings.Cut(line, " ")
		c.ext[strings.ToUpper(keyword)] = value
	}
	return nil
}

func (c *Conn) has(extension string) bool {
	_, ok := c.ext[extension]
	return ok
}

func (c *Conn) startTLS(ctx context.Context) error {
	if c.secure || c.options.TLS == None {
		return nil
	}
	if !c.has("STARTTLS") {
		if c.options.TLS == Required {
			return &ConnError{Phase: PhaseStartTLS, Cause: errNoTLS}
		}
		return nil
	}
	if _, err := c.commandLines(PhaseStartTLS, "STARTTLS", 220); err != nil {
		return err
	}
	if c.r.Buffered() > 0 { // sent before TLS, and so perhaps not by the server
		return &ConnError{Phase: PhaseStartTLS, Cause: errors.New("the server, or somebody between, spoke before TLS had begun")}
	}
	if err := c.handshake(ctx); err != nil {
		return err
	}
	return c.hello()
}

func (c *Conn) handshake(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeouts.Greeting)
	defer cancel()
	t := tls.Client(c.nc, &tls.Config{ServerName: c.options.ServerName, RootCAs: c.options.RootCAs, MinVersion: tls.VersionTLS12})
	if err := t.HandshakeContext(ctx); err != nil {
		return &ConnError{Phase: PhaseTLS, Cause: plainNet(err)}
	}
	c.nc, c.secure = t, true
	c.r.Reset(t)
	return nil
}

// login authenticates with the strongest mechanism that both sides know.
func (c *Conn) login() error {
	if c.options.Username == "" {
		return nil
	}
	offered := strings.Fields(strings.ToUpper(c.ext["AUTH"]))
	auth := c.mechanism(offered)
	if auth == nil {
		return &ConnError{Phase: PhaseAuth, Cause: errNoAuth}
	}
	name, first, err := auth.Start(&smtp.ServerInfo{Name: c.options.ServerName, TLS: c.secure, Auth: offered})
	if err != nil {
		return &ConnError{Phase: PhaseAuth, Cause: errNoAuth}
	}
	line := "AUTH " + name
	if first != nil {
		line += " " + encode(first)
	}
	for {
		if err := c.write(PhaseAuth, line+"\r\n"); err != nil {
			return err
		}
		reply, _, err := c.reply(PhaseAuth, c.options.Timeouts.Command)
		switch {
		case err != nil:
			return err
		case reply.Code == 235:
			return nil
		case reply.Code != 334:
			return &Refusal{PhaseAuth, reply}
		}
		challenge, err := decode(reply.Text)
		if err != nil {
			return &ConnError{Phase: PhaseAuth, Cause: errReply}
		}
		answer, err := auth.Next(challenge, true)
		if err != nil { // the server failed to prove itself, or is not following the mechanism
			return &ConnError{Phase: PhaseAuth, Cause: errors.New("the server's part of the log-in is wrong")}
		}
		line = encode(answer)
	}
}

func (c *Conn) mechanism(offered []string) smtp.Auth {
	user, password := c.options.Username, c.options.Password
	plain := c.secure || c.options.TLS == None
	for _, m := range []struct {
		name string
		ok   bool
		auth func() smtp.Auth
	}{
		{"SCRAM-SHA-256", true, func() smtp.Auth { return smtp.ScramSHA256Auth(user, password) }},
		{"SCRAM-SHA-1", true, func() smtp.Auth { return smtp.ScramSHA1Auth(user, password) }},
		{"CRAM-MD5", true, func() smtp.Auth { return smtp.CRAMMD5Auth(user, password) }},
		{"PLAIN", plain, func() smtp.Auth { return smtp.PlainAuth("", user, password, c.options.ServerName, true) }},
		{"LOGIN", plain, func() smtp.Auth { return smtp.LoginAuth(user, password, c.options.ServerName, true) }},
		{"XOAUTH2", plain, func() smtp.Auth { return smtp.XOAuth2Auth(user, password) }},
	} {
		for _, o := range offered {
			if m.ok && o == m.name {
				return m.auth()
			}
		}
	}
	return nil
}

// Messages is the number of messages that were begun on the connection.
func (c *Conn) Messages() int { return c.messages }

// Pipelines tells whether the server takes several commands at once.
func (c *Conn) Pipelines() bool { return c.has("PIPELINING") }

// Announces tells whether Finish sends the next envelope along.
func (c *Conn) Announces() bool { return c.options.NextBehindDot && c.Pipelines() && !c.lost }

// Alive tells whether an idle connection is still there: a server that has closed it, or has said 421, has left something to read.
func (c *Conn) Alive() bool {
	if c.lost || c.open || c.announced != nil || c.r.Buffered() > 0 {
		return false
	}
	if err := c.nc.SetReadDeadline(time.Now().Add(50 * time.Microsecond)); err != nil {
		return false
	}
	_, err := c.r.Peek(1)
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// Close ends the session politely, if nothing is in the air; otherwise it aborts.
func (c *Conn) Close() {
	if !c.lost && !c.open && c.announced == nil {
		_ = c.nc.SetDeadline(time.Now().Add(2 * time.Second))
		if _, err := c.nc.Write([]byte("QUIT\r\n")); err == nil {
			_, _, _ = readReply(c.r)
		}
	}
	c.Abort()
}

// Abort closes the socket. It is the one way to abandon a message whose body is open: any command would be taken for its text.
func (c *Conn) Abort() {
	c.lost = true
	_ = c.nc.Close()
}

// interruptible has the end of ctx break whatever the connection waits for; the returned function ends that.
func (c *Conn) interruptible(ctx context.Context) func() {
	if ctx.Done() == nil {
		return func() {}
	}
	stop := context.AfterFunc(ctx, func() { _ = c.nc.SetDeadline(time.Unix(1, 0)) })
	return func() { stop() }
}

func (c *Conn) commandLines(phase Phase, line string, want int) ([]string, error) {
	if err := c.write(phase, line+"\r\n"); err != nil {
		return nil, err
	}
	return c.expect(phase, c.options.Timeouts.Command, want)
}

func (c *Conn) expect(phase Phase, timeout time.Duration, want int) ([]string, error) {
	reply, lines, err := c.reply(phase, timeout)
	if err != nil {
		return nil, err
	}
	if reply.Code != want {
		return nil, &Refusal{phase, reply}
	}
	return lines, nil
}

// reply reads the next reply. A 421 is the server's farewell at whatever phase.
func (c *Conn) reply(phase Phase, timeout time.Duration) (Reply, []string, error) {
	_ = c.nc.SetReadDeadline(time.Now().Add(timeout))
	reply, lines, err := readReply(c.r)
	if err != nil {
		return Reply{}, nil, c.broken(phase, err)
	}
	if reply.Code == 421 {
		return reply, nil, c.broken(phase, fmt.Errorf("the server says farewell: 421 %s", reply.Enhanced))
	}
	return reply, lines, nil
}

func (c *Conn) write(phase Phase, text string) error {
	_ = c.nc.SetWriteDeadline(time.Now().Add(c.options.Timeouts.Command))
	if _, err := c.nc.Write([]byte(text)); err != nil {
		return c.broken(phase, err)
	}
	return nil
}

func (c *Conn) broken(phase Phase, err error) *ConnError {
	c.lost = true
	return &ConnError{Phase: phase, Cause: plainNet(err)}
}

// plainNet shortens an error of package net to its cause: the addresses in it are known to whoever reads.
func plainNet(err error) error {
	var op *net.OpError
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("timed out")
	}
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// helloName is this host's name if it is one that SMTP knows, or else its loopback address as a literal.
func helloName() string {
	name, err := os.Hostname()
	if err != nil || name == "" || strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.')
	}) {
		return "[127.0.0.1]"
	}
	return name
}

func sizeLimit(ext map[string]string) int {
	n, err := strconv.Atoi(strings.TrimSpace(ext["SIZE"]))
	if err != nil {
		return 0
	}
	return n
}
