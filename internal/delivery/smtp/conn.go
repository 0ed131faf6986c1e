package smtp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is a session with a server. It is for one goroutine; only Abort may be called from others.
type Conn struct {
	options Options
	raw     net.Conn // the socket
	nc      net.Conn // what is spoken on: the socket, or TLS over it
	r       *bufio.Reader
	out     []byte
	in      answer
	secure  bool
	ext     extensions
	watch   watch
	peek    peeker

	state    state
	next     Message // announced
	known    checked // about it
	reset    bool    // RSET is due before the next envelope
	messages int
	lost     atomic.Bool
}

// state is what the server waits for.
type state int

const (
	idle      state = iota // the next envelope
	announced              // nothing: an envelope is sent, and its answers are not read
	open                   // the final dot
)

// extensions are what the last EHLO has advertised.
type extensions struct {
	pipelining, eightBit, utf8, startTLS bool
	size                                 int64 // 0: no limit, or none that is known
	sizeKnown                            bool
	auth                                 []string // upper case
}

// Dial connects and goes through greeting, EHLO, TLS and AUTH. The end of ctx ends that.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	o.Timeouts = o.Timeouts.withDefaults()
	host, _, err := net.SplitHostPort(o.Addr)
	if err != nil {
		return nil, &ConnError{Phase: PhaseConnect, Cause: errors.New("the address is not host:port")}
	}
	if o.ServerName == "" {
		o.ServerName = host
	}
	dialer := net.Dialer{Timeout: o.Timeouts.Connect}
	raw, err := dialer.DialContext(ctx, "tcp", o.Addr)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, &ConnError{Phase: PhaseConnect, Cause: plainNet(err)}
	}
	if o.Hello == "" {
		o.Hello = helloName(raw.LocalAddr())
	}
	c := &Conn{options: o, raw: raw, nc: raw, r: bufio.NewReaderSize(raw, maxReplyLine)}
	c.watch.raw = raw
	c.peek.init(raw)
	if err := c.enter(ctx, PhaseConnect); err != nil {
		c.Abort()
		return nil, err
	}
	err = c.greet(ctx)
	if ended := c.leave(); ended != nil && err == nil {
		err = c.broken(PhaseConnect, ended)
	}
	if err != nil {
		c.Abort()
		return nil, err
	}
	return c, nil
}

func (c *Conn) greet(ctx context.Context) error {
	if c.options.ImplicitTLS {
		if err := c.handshake(ctx); err != nil {
			return err
		}
	}
	if err := c.expect(PhaseGreeting, c.options.Timeouts.Greeting, 220); err != nil {
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
	c.ext = extensions{}
	err := c.command(PhaseHello, "EHLO "+c.options.Hello, 250)
	var refusal *Refusal
	if errors.As(err, &refusal) && refusal.Code >= 500 {
		return c.command(PhaseHello, "HELO "+c.options.Hello, 250)
	}
	if err == nil {
		c.ext = readExtensions(c.in.lines)
	}
	return err
}

// readExtensions reads the lines of an answer to EHLO; the first is the server's name.
func readExtensions(lines []byte) (ext extensions) {
	_, lines, _ = bytes.Cut(lines, []byte{'\n'})
	for line := range strings.Lines(string(lines)) {
		words := strings.Fields(strings.ToUpper(line))
		if len(words) == 0 {
			continue
		}
		keyword, values := words[0], words[1:]
		if after, ok := strings.CutPrefix(keyword, "AUTH="); ok { // as it was written before RFC 2554, and some still do
			keyword, values = "AUTH", append([]string{after}, values...)
		}
		switch keyword {
		case "PIPELINING":
			ext.pipelining = true
		case "8BITMIME":
			ext.eightBit = true
		case "SMTPUTF8":
			ext.utf8 = true
		case "STARTTLS":
			ext.startTLS = true
		case "AUTH":
			ext.auth = append(ext.auth, values...)
		case "SIZE":
			ext.sizeKnown = true
			if len(values) > 0 {
				if n, err := strconv.ParseInt(values[0], 10, 64); err == nil && n > 0 {
					ext.size = n
				}
			}
		}
	}
	slices.Sort(ext.auth)
	ext.auth = slices.Compact(ext.auth)
	return ext
}

func (c *Conn) startTLS(ctx context.Context) error {
	if c.secure || c.options.TLS == None {
		return nil
	}
	if !c.ext.startTLS {
		if c.options.TLS == Required {
			return &ConnError{Phase: PhaseStartTLS, Cause: errNoTLS}
		}
		return nil
	}
	if err := c.command(PhaseStartTLS, "STARTTLS", 220); err != nil {
		return err
	}
	// In TLS it is the client who speaks first. What is there already was sent in the clear, perhaps by somebody between, to be taken
	// for an answer in TLS.
	if c.r.Buffered() > 0 {
		return &ConnError{Phase: PhaseStartTLS, Cause: errEarly}
	}
	if err := c.handshake(ctx); err != nil {
		return err
	}
	return c.hello()
}

func (c *Conn) handshake(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, c.options.Timeouts.Greeting)
	defer cancel()
	t := tls.Client(c.raw, &tls.Config{ServerName: c.options.ServerName, RootCAs: c.options.RootCAs, MinVersion: tls.VersionTLS12})
	if err := t.HandshakeContext(limited); err != nil {
		switch {
		case ctx.Err() != nil:
			err = ctx.Err()
		case limited.Err() != nil:
			err = errTime
		}
		return &ConnError{Phase: PhaseTLS, Cause: plainTLS(err)}
	}
	c.nc, c.secure = t, true
	c.r.Reset(t)
	return nil
}

// Messages is the number of messages that were begun on the connection.
func (c *Conn) Messages() int { return c.messages }

// Pipelines tells whether the server takes several commands at once.
func (c *Conn) Pipelines() bool { return c.ext.pipelining }

// Secure tells whether the connection is encrypted.
func (c *Conn) Secure() bool { return c.secure }

// Announces tells whether Finish sends the next envelope along.
func (c *Conn) Announces() bool { return c.options.NextBehindDot && c.ext.pipelining && !c.lost.Load() }

// Alive tells whether the connection is free for another message and still there: a server that has closed it, or has said 421, has
// left something to read.
func (c *Conn) Alive() bool {
	return !c.lost.Load() && c.state == idle && c.r.Buffered() == 0 && c.silent()
}

// silent tells whether the server has neither said anything nor closed the connection. Over TLS there may be records that hold
// nothing for us.
func (c *Conn) silent() bool {
	if c.r.Buffered() > 0 {
		return false
	}
	if !c.peek.pending() {
		return true
	}
	if err := c.nc.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		return false
	}
	_, err := c.r.Peek(1)
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// Close ends the session politely, if nothing is in the air; otherwise it aborts.
func (c *Conn) Close() {
	if !c.lost.Load() && c.state == idle {
		_ = c.raw.SetDeadline(time.Now().Add(2 * time.Second))
		if _, err := c.nc.Write([]byte("QUIT\r\n")); err == nil {
			_ = c.in.read(c.r)
		}
	}
	c.Abort()
}

// Abort closes the socket. It is the one way to abandon a message whose body is open: any command would be taken for its text.
func (c *Conn) Abort() {
	c.lost.Store(true)
	_ = c.raw.Close()
	c.watch.forget()
}

// enter makes the end of ctx close the socket, until leave.
func (c *Conn) enter(ctx context.Context, phase Phase) error {
	if err := c.watch.enter(ctx); err != nil {
		if c.leave() != nil {
			c.lost.Store(true)
		}
		return &ConnError{Phase: phase, Cause: err}
	}
	return nil
}

// leave ends that; with an error, the socket has been closed for it.
func (c *Conn) leave() error { return c.watch.leave() }

// watch closes a socket when a context ends while it is busy. Messages of one batch have one context, and so need one registration:
// it is kept until another context comes along.
type watch struct {
	raw net.Conn

	mu      sync.Mutex
	done    <-chan struct{} // of the context that is registered
	stop    func() bool
	busy    bool
	cause   error // of the context whose end has closed the socket
	aborted bool
}

func (w *watch) enter(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy = true
	if done := ctx.Done(); done != w.done && !w.aborted {
		if w.stop != nil {
			w.stop()
		}
		w.done, w.stop = done, nil
		if done != nil {
			w.stop = context.AfterFunc(ctx, func() { w.ended(ctx, done) })
		}
	}
	return ctx.Err() // after busy is set: an end that ended has missed is seen here
}

func (w *watch) leave() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy = false
	return w.cause
}

func (w *watch) ended(ctx context.Context, done <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy && w.done == done {
		w.cause = ctx.Err()
		_ = w.raw.Close()
	}
}

func (w *watch) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.aborted = true
	if w.stop != nil {
		w.stop()
		w.stop = nil
	}
}

func (w *watch) reason() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cause
}

// command sends one line and reads its answer, which must have the code want.
func (c *Conn) command(phase Phase, line string, want int) error {
	c.out = append(append(c.out[:0], line...), crlf...)
	if err := c.flush(phase); err != nil {
		return err
	}
	return c.expect(phase, c.options.Timeouts.Command, want)
}

func (c *Conn) expect(phase Phase, timeout time.Duration, want int) error {
	if err := c.read(phase, timeout); err != nil {
		return err
	}
	return c.judge(phase, want)
}

// judge makes an error of an answer that is not the one wanted: a code, or its first digit alone. An answer out of place, a
// success of another kind, makes the connection useless: the two sides no longer talk of the same thing.
func (c *Conn) judge(phase Phase, want int) error {
	switch code := c.in.code; {
	case code == want, code/100 == want:
		return nil
	case code == 421:
		c.lost.Store(true)
		return &Refusal{phase, c.in.reply()}
	case code >= 400:
		return &Refusal{phase, c.in.reply()}
	}
	return c.broken(phase, errReply)
}

// read reads the next answer.
func (c *Conn) read(phase Phase, timeout time.Duration) error {
	if c.r.Buffered() == 0 {
		_ = c.nc.SetReadDeadline(time.Now().Add(timeout))
	}
	if err := c.in.read(c.r); err != nil {
		return c.broken(phase, err)
	}
	return nil
}

// flush writes what has been gathered.
func (c *Conn) flush(phase Phase) error {
	_ = c.nc.SetWriteDeadline(time.Now().Add(c.options.Timeouts.Command))
	if _, err := c.nc.Write(c.out); err != nil {
		return c.broken(phase, err)
	}
	return nil
}

func (c *Conn) broken(phase Phase, err error) *ConnError {
	c.lost.Store(true)
	if cause := c.watch.reason(); cause != nil {
		return &ConnError{Phase: phase, Cause: cause}
	}
	return &ConnError{Phase: phase, Cause: plainNet(err)}
}

// helloName is this host's name if it is one with a domain, as RFC 5321, 4.1.4, wants it, or else our address as a literal.
func helloName(local net.Addr) string {
	name, err := os.Hostname()
	if err == nil && strings.Contains(name, ".") && !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.')
	}) {
		return name
	}
	if tcp, ok := local.(*net.TCPAddr); ok {
		if v4 := tcp.IP.To4(); v4 != nil {
			return "[" + v4.String() + "]"
		}
		return "[IPv6:" + tcp.IP.String() + "]"
	}
	return "[127.0.0.1]"
}
