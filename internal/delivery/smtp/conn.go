package smtp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"
)

// Conn is a session with a server. Only Abort is safe for concurrent use.
type Conn struct {
	options Options
	addr    netip.Addr // of the server
	socket  net.Conn
	nc      net.Conn // the socket, or TLS over it
	r       *bufio.Reader
	out     []byte      // commands to be written; reused
	reply   replyBuffer // the last reply; reused
	secure  bool        // TLS is used
	ext     extensions
	watch   contextWatch
	peek    peeker

	state      state
	next       Message // the message of state envelopeSent
	nextFormat format  // its format
	needsReset bool    // RSET must come before the next envelope
	messages   int
	lost       atomic.Bool // the connection cannot be used any more
}

// state is what the server expects next.
type state int

const (
	free         state = iota // an envelope
	envelopeSent              // nothing: an envelope is sent, and its replies are not read yet
	bodyOpen                  // the final dot
)

// Dial connects to the server and goes through greeting, EHLO, STARTTLS and AUTH. If the server has
// several addresses, one that gives no session does not matter while another one does. The end of
// ctx interrupts Dial.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	o.Timeouts = o.Timeouts.withDefaults()
	host, port, err := net.SplitHostPort(o.Addr)
	if err != nil {
		return nil, &ConnError{Phase: PhaseConnect, Cause: errors.New("the address is not host:port")}
	}
	if o.ServerName == "" {
		o.ServerName = host
	}
	o.begins(PhaseConnect)
	addresses, err := o.lookup(ctx, host)
	if err != nil {
		return nil, &ConnError{Phase: PhaseConnect, Cause: err}
	}
	if len(addresses) == 1 {
		return dialOne(ctx, o, addresses[0], net.JoinHostPort(addresses[0].String(), port))
	}
	return dialAny(ctx, o, addresses, port)
}

// dialOne opens a session with one address of the server.
func dialOne(ctx context.Context, o Options, addr netip.Addr, target string) (*Conn, error) {
	o.begins(PhaseConnect)
	dialer := net.Dialer{Timeout: o.Timeouts.Connect}
	socket, err := dialer.DialContext(ctx, "tcp", target)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, &ConnError{Phase: PhaseConnect, Cause: plainNet(err)}
	}
	if o.Hello == "" {
		o.Hello = helloName(socket.LocalAddr())
	}
	c := &Conn{options: o, addr: addr, socket: socket, nc: socket, r: bufio.NewReaderSize(socket, readerSize)}
	c.watch.socket = socket
	c.peek.init(socket)
	if err := c.watchContext(ctx, PhaseConnect); err != nil {
		c.Abort()
		return nil, err
	}
	err = c.openSession(ctx)
	if ended := c.unwatchContext(); ended != nil && err == nil {
		err = c.fail(PhaseConnect, ended)
	}
	if err != nil {
		c.Abort()
		return nil, err
	}
	return c, nil
}

// Messages returns how many messages have begun on the connection.
func (c *Conn) Messages() int { return c.messages }

// PipelinesNext reports whether Finish sends the envelope of the next message.
func (c *Conn) PipelinesNext() bool {
	return c.options.NextBehindDot && c.ext.pipelining && !c.lost.Load()
}

// Alive reports whether another message can begin, and whether the server still keeps the
// connection open. A server that has closed it, or has sent 421, has left something to read.
func (c *Conn) Alive() bool {
	return !c.lost.Load() && c.state == free && c.silent()
}

// silent reports whether the server has neither sent anything but blank lines nor closed the
// connection. With TLS, there may be records that contain nothing for us.
func (c *Conn) silent() bool {
	for range maxReplyLines {
		if c.skipBlank(); c.r.Buffered() > 0 {
			return false
		}
		if !c.peek.pending() {
			return true
		}
		if err := c.nc.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
			return false
		}
		if _, err := c.r.Peek(1); err != nil {
			return errors.Is(err, os.ErrDeadlineExceeded)
		}
	}
	return false
}

// skipBlank skips blank lines that are in the reader's buffer.
func (c *Conn) skipBlank() {
	buffered, _ := c.r.Peek(c.r.Buffered())
	_, _ = c.r.Discard(len(buffered) - len(bytes.TrimLeft(buffered, " \t\r\n")))
}

// Close sends QUIT and closes the connection. If a message or an envelope is unfinished, it sends
// nothing.
func (c *Conn) Close() {
	if !c.lost.Load() && c.state == free {
		_ = c.socket.SetDeadline(time.Now().Add(2 * time.Second))
		if _, err := c.nc.Write([]byte("QUIT\r\n")); err == nil {
			_ = c.reply.read(c.r)
		}
	}
	c.Abort()
}

// Abort closes the socket. It is the only way to abandon a message whose body is open: the server
// would take any command for a line of the body.
func (c *Conn) Abort() {
	c.lost.Store(true)
	_ = c.socket.Close()
	c.watch.close()
}

// watchContext makes the end of ctx close the socket, until unwatchContext is called.
func (c *Conn) watchContext(ctx context.Context, phase Phase) error {
	if err := c.watch.start(ctx); err != nil {
		if c.unwatchContext() != nil {
			c.lost.Store(true)
		}
		return &ConnError{Phase: phase, Cause: err}
	}
	return nil
}

// unwatchContext returns the error of the context if its end has closed the socket.
func (c *Conn) unwatchContext() error { return c.watch.stop() }

// command sends one line and reads the reply, which must have the wanted code.
func (c *Conn) command(phase Phase, line string, want int) error {
	c.out = append(append(c.out[:0], line...), crlf...)
	if err := c.write(phase); err != nil {
		return err
	}
	return c.expect(phase, c.options.Timeouts.Command, want)
}

// expect reads the next reply, which must have the wanted code, or a code with the wanted first
// digit.
func (c *Conn) expect(phase Phase, timeout time.Duration, want int) error {
	if err := c.read(phase, timeout); err != nil {
		return err
	}
	return c.checkCode(phase, want)
}

// checkCode returns an error if the last reply does not have the wanted code. A success of another
// kind makes the connection useless: client and server disagree about which command is answered.
func (c *Conn) checkCode(phase Phase, want int) error {
	switch code := c.reply.code; {
	case code == want, code/100 == want:
		if c.reply.unclear && phase != PhaseDot { // the next reply could be the rest of this one
			return c.fail(phase, errReply)
		}
		return nil
	case code == 421:
		c.lost.Store(true)
		c.options.Addresses.note(c.addr, c.messages < 2) // another address may give more
		return &Refusal{Phase: phase, Reply: c.reply.copy()}
	case code >= 400:
		return &Refusal{Phase: phase, Reply: c.reply.copy()}
	}
	return c.fail(phase, errReply)
}

// read reads the next reply. If it is not known where the reply ends, the connection is lost.
func (c *Conn) read(phase Phase, timeout time.Duration) error {
	_ = c.nc.SetReadDeadline(time.Now().Add(timeout))
	if err := c.readReply(); err != nil {
		return c.fail(phase, err)
	}
	return nil
}

func (c *Conn) readReply() error {
	err := c.reply.read(c.r)
	if c.reply.unclear {
		c.lost.Store(true)
	}
	return err
}

// readDotReply reads the reply to the final dot. The long wait is for its code. The rest of a reply
// changes nothing any more, so it may take no longer than a reply to a command.
func (c *Conn) readDotReply() error {
	_ = c.nc.SetReadDeadline(time.Now().Add(c.options.Timeouts.Dot))
	for range maxReplyLines {
		if _, err := c.r.Peek(codeSize); err != nil {
			break
		}
		if c.skipBlank(); c.r.Buffered() >= codeSize {
			_ = c.nc.SetReadDeadline(time.Now().Add(c.options.Timeouts.Command))
			break
		}
	}
	return c.readReply()
}

// write writes the commands in c.out.
func (c *Conn) write(phase Phase) error {
	_ = c.nc.SetWriteDeadline(time.Now().Add(c.options.Timeouts.Command))
	if _, err := c.nc.Write(c.out); err != nil {
		return c.fail(phase, err)
	}
	return nil
}

// fail marks the connection as lost and returns the error for it. If the end of a context has
// closed the socket, the error is that of the context.
func (c *Conn) fail(phase Phase, err error) *ConnError {
	c.lost.Store(true)
	if cause := c.watch.reason(); cause != nil {
		return &ConnError{Phase: phase, Cause: cause}
	}
	return &ConnError{Phase: phase, Cause: plainNet(err)}
}
