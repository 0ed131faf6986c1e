package smtp

import (
	"context"
	"errors"
	"strconv"
	"time"
)

// writeSize is how much of a body one write contains. Each write has a deadline of its own. Most
// messages are one write.
const writeSize = 256 << 10

// Begin sends the envelope and the body of m, all but the final dot. After any error the message is
// certainly not accepted. After a [*Refusal] another message may begin on the connection, unless
// the code is 421. The end of ctx interrupts Begin and breaks the connection.
func (c *Conn) Begin(ctx context.Context, m *Message) error {
	switch {
	case c.lost.Load():
		return &ConnError{Phase: PhaseMail, Cause: errClosed}
	case c.state == bodyOpen:
		return &ConnError{Phase: PhaseMail, Cause: errors.New("the connection is not free")}
	}
	f := c.nextFormat
	if c.state == envelopeSent {
		if !sameEnvelope(&c.next, m) {
			return c.fail(PhaseMail, errors.New("the envelope of another message was sent"))
		}
		c.next = Message{}
	} else {
		var refusal *Refusal
		if f, refusal = c.check(m); refusal != nil {
			return refusal
		}
	}
	if err := c.watchContext(ctx, PhaseMail); err != nil {
		return err
	}
	c.messages++
	err := c.sendEnvelope(m, f)
	if err == nil {
		err = c.sendBody(m.Data, f)
	}
	if ended := c.unwatchContext(); ended != nil && err == nil {
		err = c.fail(PhaseBody, ended)
	}
	return err
}

func sameEnvelope(a, b *Message) bool {
	return a.From == b.From && a.To == b.To && a.UTF8 == b.UTF8 && a.EightBit == b.EightBit &&
		len(a.Data) == len(b.Data)
}

// Finish sends the final dot and waits for the answer. If PipelinesNext is true and next is not
// nil, it sends the envelope of next with the dot. next must then be the message that begins next.
// With a nil error the message is accepted.
//
// Finish waits as long as RFC 5321 asks for, whatever happens to the context of Begin: an answer
// that is not waited for becomes a duplicate. Only Abort, from another goroutine, ends the wait.
//
// If the server has given up before the dot is sent, the message is certainly not accepted.
func (c *Conn) Finish(next *Message) (Reply, error) {
	if c.state != bodyOpen {
		return Reply{}, &ConnError{Phase: PhaseDot, Cause: errors.New("no message was begun")}
	}
	if err := c.checkStillOpen(); err != nil {
		return Reply{}, err
	}
	c.state = free
	c.out = append(c.out[:0], ".\r\n"...)
	if next != nil && c.PipelinesNext() {
		if f, refusal := c.check(next); refusal == nil {
			c.out = c.appendEnvelope(c.out, next, f)
			c.next, c.nextFormat, c.state = *next, f, envelopeSent
		}
	}
	_ = c.nc.SetWriteDeadline(time.Now().Add(c.options.Timeouts.Body))
	if n, err := c.nc.Write(c.out); err != nil {
		return Reply{}, c.uncertain(err, n > 0 || c.secure)
	}
	if err := c.readDotReply(); err != nil {
		return Reply{}, c.uncertain(err, true)
	}
	if err := c.checkCode(PhaseDot, 2); err != nil {
		var lost *ConnError
		if errors.As(err, &lost) {
			lost.Uncertain = true
		}
		return Reply{}, err
	}
	return c.reply.copy(), nil
}

// checkStillOpen returns an error if the server has sent anything or closed the connection while
// the body was open: it has given up.
func (c *Conn) checkStillOpen() error {
	if c.lost.Load() {
		return &ConnError{Phase: PhaseDot, Cause: errClosed}
	}
	if c.silent() {
		return nil
	}
	if err := c.readEarlyReply(PhaseBody); err != nil {
		return err
	}
	return c.fail(PhaseBody, errClosed)
}

// readEarlyReply reads the reply of a server that gives up while a body is open. It returns nil if
// there is none. The connection is lost in any case.
func (c *Conn) readEarlyReply(phase Phase) error {
	c.lost.Store(true)
	_ = c.nc.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if err := c.reply.read(c.r); err != nil || c.reply.code < 400 {
		return nil
	}
	reply := c.reply.copy()
	if c.reply.code < 500 { // the connection is too slow, or the server too full: not about the message
		cause := errors.New("the server gave up: " + strconv.Itoa(reply.Code) + " " + reply.Enhanced.String())
		return &ConnError{Phase: phase, Cause: cause}
	}
	return &Refusal{Phase: PhaseDot, Reply: reply}
}

// uncertain returns the error of a dot that failed. maybeSent is true if the dot may have left.
func (c *Conn) uncertain(err error, maybeSent bool) error {
	e := c.fail(PhaseDot, err)
	e.Uncertain = maybeSent
	return e
}

// sendBody sends the message. A message that is neither long nor needs dot-stuffing, as rendered
// messages do not, is one write without a copy.
func (c *Conn) sendBody(data []byte, f format) error {
	if f.dotStuffing || f.endsLine {
		c.out = c.out[:0]
		if f.dotStuffing {
			c.out = appendStuffed(c.out, data)
		} else {
			c.out = append(c.out, data...)
		}
		if f.endsLine {
			c.out = append(c.out, crlf...)
		}
		data = c.out
	}
	c.state = bodyOpen
	for len(data) > 0 {
		part := data[:min(len(data), writeSize)]
		_ = c.nc.SetWriteDeadline(time.Now().Add(c.options.Timeouts.Body))
		if _, err := c.nc.Write(part); err != nil {
			lost := c.fail(PhaseBody, err)
			if lost.Cause == errClosed {
				if err := c.readEarlyReply(PhaseBody); err != nil {
					return err
				}
			}
			return lost
		}
		data = data[len(part):]
	}
	return nil
}

// ClosedBetweenMessages reports whether err, of Begin, means only that the server has closed the
// connection, or sent 421, before it replied to anything of the message. Servers do that after a
// number of messages or some idle time. It is no failure.
func ClosedBetweenMessages(err error) bool {
	if err == nil { // the usual case, without the allocations that errors.As needs
		return false
	}
	var lost *ConnError
	var refusal *Refusal
	switch {
	case errors.As(err, &lost):
		return (lost.Phase == PhaseReset || lost.Phase == PhaseMail) && lost.Cause == errClosed && !lost.Uncertain
	case errors.As(err, &refusal):
		return (refusal.Phase == PhaseReset || refusal.Phase == PhaseMail) && refusal.Code == 421 &&
			!refusal.wantsSlowerRate()
	}
	return false
}
