package smtp

import (
	"context"
	"errors"
	"strconv"
	"time"
)

// piece is how much of a body is written at once, under a deadline of its own; most messages are one piece.
const piece = 256 << 10

// Begin hands over the message's envelope and body, all but the final dot. With any error the message was certainly not accepted; after
// a [*Refusal] the next one may begin on the same connection, unless the code is 421. The end of ctx breaks the connection.
func (c *Conn) Begin(ctx context.Context, m *Message) error {
	if c.lost.Load() || c.state == open {
		return &ConnError{Phase: PhaseMail, Cause: errors.New("the connection is not free")}
	}
	k := c.known
	if c.state == announced {
		if !sameEnvelope(&c.next, m) {
			return c.broken(PhaseMail, errors.New("another message was announced"))
		}
		c.next = Message{}
	} else {
		var refusal *Refusal
		if k, refusal = c.check(m); refusal != nil {
			return refusal
		}
	}
	if err := c.enter(ctx, PhaseMail); err != nil {
		return err
	}
	c.messages++
	err := c.envelope(m, k)
	if err == nil {
		err = c.body(m.Data, k)
	}
	if ended := c.leave(); ended != nil && err == nil {
		err = c.broken(PhaseBody, ended)
	}
	return err
}

func sameEnvelope(a, b *Message) bool {
	return a.From == b.From && a.To == b.To && a.UTF8 == b.UTF8 && a.EightBit == b.EightBit && len(a.Data) == len(b.Data)
}

// Finish sends the final dot, and with it next's envelope if the connection announces, and waits for the answer: as long as RFC 5321
// asks, whatever happens meanwhile, because an answer that is not waited for is a duplicate later. Only Abort, from another goroutine,
// ends that. next must be the next message to begin. With a nil error the message is accepted.
//
// A server that is found to have given up before the dot was sent has certainly not accepted the message.
func (c *Conn) Finish(next *Message) (Reply, error) {
	if c.state != open {
		return Reply{}, &ConnError{Phase: PhaseDot, Cause: errors.New("no message was begun")}
	}
	if err := c.stillThere(); err != nil {
		return Reply{}, err
	}
	c.state = idle
	c.out = append(c.out[:0], ".\r\n"...)
	if next != nil && c.Announces() {
		if k, refusal := c.check(next); refusal == nil {
			c.out = c.appendEnvelope(c.out, next, k)
			c.next, c.known, c.state = *next, k, announced
		}
	}
	_ = c.nc.SetWriteDeadline(time.Now().Add(c.options.Timeouts.Body))
	if n, err := c.nc.Write(c.out); err != nil {
		return Reply{}, c.uncertain(err, n > 0 || c.secure)
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(c.options.Timeouts.Dot))
	if err := c.in.read(c.r); err != nil {
		return Reply{}, c.uncertain(err, true)
	}
	if err := c.judge(PhaseDot, 2); err != nil {
		var lost *ConnError
		if errors.As(err, &lost) {
			lost.Uncertain = true
		}
		return Reply{}, err
	}
	return c.in.reply(), nil
}

// stillThere looks, before the dot, whether the server has said or done anything since the body was begun: it can only have given up.
func (c *Conn) stillThere() error {
	if c.lost.Load() {
		return &ConnError{Phase: PhaseDot, Cause: errClosed}
	}
	if c.silent() {
		return nil
	}
	if err := c.farewell(PhaseBody); err != nil {
		return err
	}
	return c.broken(PhaseBody, errClosed)
}

// farewell reads what a server that gives up in the midst of a body may have said of it. The connection is lost in any case.
func (c *Conn) farewell(phase Phase) error {
	c.lost.Store(true)
	_ = c.nc.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if err := c.in.read(c.r); err != nil || c.in.code < 400 {
		return nil
	}
	reply := c.in.reply()
	if c.in.code < 500 { // too slow, or too full: not about the message
		return &ConnError{Phase: phase, Cause: errors.New("the server gave up: " + strconv.Itoa(reply.Code) + " " + reply.Enhanced.String())}
	}
	return &Refusal{PhaseDot, reply}
}

func (c *Conn) uncertain(err error, maybeSent bool) error {
	e := c.broken(PhaseDot, err)
	e.Uncertain = maybeSent
	return e
}

func (c *Conn) appendEnvelope(out []byte, m *Message, k checked) []byte {
	if c.reset {
		out = append(out, "RSET\r\n"...)
	}
	out = c.appendMail(out, m, k)
	out = appendRcpt(out, m)
	return append(out, "DATA\r\n"...)
}

func (c *Conn) appendMail(out []byte, m *Message, k checked) []byte {
	out = append(out, "MAIL FROM:<"...)
	out = append(out, m.From...)
	out = append(out, '>')
	if c.ext.sizeKnown {
		out = append(out, " SIZE="...)
		out = strconv.AppendInt(out, int64(k.size), 10)
	}
	if m.EightBit {
		out = append(out, " BODY=8BITMIME"...)
	}
	if k.utf8 {
		out = append(out, " SMTPUTF8"...)
	}
	return append(out, crlf...)
}

func appendRcpt(out []byte, m *Message) []byte {
	out = append(out, "RCPT TO:<"...)
	out = append(out, m.To...)
	return append(out, ">\r\n"...)
}

// envelope sends MAIL, RCPT and DATA, in one group where the server pipelines, and reads their answers.
func (c *Conn) envelope(m *Message, k checked) error {
	if c.state == idle {
		if !c.ext.pipelining {
			return c.envelopeByStep(m, k)
		}
		c.out = c.appendEnvelope(c.out[:0], m, k)
		if err := c.flush(PhaseMail); err != nil {
			return err
		}
	}
	c.state = announced
	if c.reset {
		if err := c.expectReset(); err != nil {
			return err
		}
	}
	return c.groupAnswers()
}

// groupAnswers reads the answers to a group. The first refusal is the one that counts, and it stands whatever comes after it.
func (c *Conn) groupAnswers() error {
	var first error
	var accepted [2]bool
	for i, phase := range [...]Phase{PhaseMail, PhaseRcpt} {
		if err := c.expect(phase, c.options.Timeouts.Command, 2); err != nil {
			if c.lost.Load() {
				return firstRefusal(first, err)
			}
			first = firstRefusal(first, err)
			continue
		}
		accepted[i] = true
	}
	err := c.expect(PhaseData, c.options.Timeouts.Command, 354)
	switch {
	case err == nil && first == nil:
		return nil
	case c.lost.Load():
		return firstRefusal(first, err)
	case err != nil:
		c.state, c.reset = idle, accepted[0]
		return firstRefusal(first, err)
	case accepted[1]: // a body is awaited, and somebody would get it: there is no way back but the socket's end
		c.Abort()
		return first
	}
	return c.emptyBody(first)
}

// emptyBody ends a body that the server awaits although it has refused the only recipient (RFC 2920, 3.1).
func (c *Conn) emptyBody(refusal error) error {
	c.state = idle
	c.out = append(c.out[:0], ".\r\n"...)
	if c.flush(PhaseData) == nil && c.read(PhaseData, c.options.Timeouts.Body) == nil && c.in.code == 421 {
		c.lost.Store(true)
	}
	c.reset = true
	return refusal
}

func firstRefusal(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

func (c *Conn) envelopeByStep(m *Message, k checked) error {
	if c.reset {
		c.out = append(c.out[:0], "RSET\r\n"...)
		if err := c.flush(PhaseReset); err != nil {
			return err
		}
		if err := c.expectReset(); err != nil {
			return err
		}
	}
	c.out = c.appendMail(c.out[:0], m, k)
	if err := c.step(PhaseMail, 2); err != nil {
		return err
	}
	c.reset = true // until DATA is accepted
	c.out = appendRcpt(c.out[:0], m)
	if err := c.step(PhaseRcpt, 2); err != nil {
		return err
	}
	c.out = append(c.out[:0], "DATA\r\n"...)
	if err := c.step(PhaseData, 354); err != nil {
		return err
	}
	c.reset = false
	return nil
}

func (c *Conn) step(phase Phase, want int) error {
	if err := c.flush(phase); err != nil {
		return err
	}
	return c.expect(phase, c.options.Timeouts.Command, want)
}

// expectReset: a server that refuses RSET is of no more use.
func (c *Conn) expectReset() error {
	c.reset = false
	err := c.expect(PhaseReset, c.options.Timeouts.Command, 2)
	var refusal *Refusal
	if errors.As(err, &refusal) && refusal.Code != 421 {
		return c.broken(PhaseReset, refusal)
	}
	return err
}

// body sends the message, in one write if it is neither long nor needs dot-stuffing, which rendered messages do not.
func (c *Conn) body(data []byte, k checked) error {
	if k.stuff || k.crlf {
		c.out = c.out[:0]
		if k.stuff {
			c.out = appendStuffed(c.out, data)
		} else {
			c.out = append(c.out, data...)
		}
		if k.crlf {
			c.out = append(c.out, crlf...)
		}
		data = c.out
	}
	c.state = open
	for len(data) > 0 {
		part := data[:min(len(data), piece)]
		_ = c.nc.SetWriteDeadline(time.Now().Add(c.options.Timeouts.Body))
		if _, err := c.nc.Write(part); err != nil {
			broken := c.broken(PhaseBody, err)
			if broken.Cause == errClosed {
				if err := c.farewell(PhaseBody); err != nil {
					return err
				}
			}
			return broken
		}
		data = data[len(part):]
	}
	return nil
}

// ClosedBetweenMessages tells whether err, of Begin, says no more than that the server has closed the connection, or said 421, before
// it answered anything of this message: servers do that after so many messages, or so much idle time, and it is nothing wrong.
func ClosedBetweenMessages(err error) bool {
	var lost *ConnError
	var refusal *Refusal
	switch {
	case errors.As(err, &lost):
		return (lost.Phase == PhaseReset || lost.Phase == PhaseMail) && lost.Cause == errClosed && !lost.Uncertain
	case errors.As(err, &refusal):
		return (refusal.Phase == PhaseReset || refusal.Phase == PhaseMail) && refusal.Code == 421
	}
	return false
}
