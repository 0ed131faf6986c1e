package smtp

import (
	"errors"
	"strconv"
)

// sendEnvelope sends MAIL, RCPT and DATA and reads the replies. A server with pipelining (RFC 2920)
// gets them in one write. They may have been sent already, with the dot of the message before.
func (c *Conn) sendEnvelope(m *Message, f format) error {
	if c.state == free {
		if !c.ext.pipelining {
			return c.sendEnvelopeByStep(m, f)
		}
		c.out = c.appendEnvelope(c.out[:0], m, f)
		if err := c.write(PhaseMail); err != nil {
			return err
		}
	}
	c.state = envelopeSent
	if c.needsReset {
		if err := c.expectReset(); err != nil {
			return err
		}
	}
	return c.readEnvelopeReplies()
}

// readEnvelopeReplies reads the replies to MAIL, RCPT and DATA. The first refusal counts, whatever
// comes after it.
func (c *Conn) readEnvelopeReplies() error {
	var first error
	var accepted [2]bool
	for i, phase := range [...]Phase{PhaseMail, PhaseRcpt} {
		if err := c.expect(phase, c.options.Timeouts.Command, 2); err != nil {
			if c.lost.Load() {
				return firstError(first, err)
			}
			first = firstError(first, err)
			continue
		}
		accepted[i] = true
	}
	err := c.expect(PhaseData, c.options.Timeouts.Command, 354)
	switch {
	case err == nil && first == nil:
		return nil
	case c.lost.Load():
		return firstError(first, err)
	case err != nil:
		c.state, c.needsReset = free, accepted[0]
		return firstError(first, err)
	case accepted[1]:
		// The server refused the sender, accepted the recipient and waits for a body. A dot would
		// send an empty message, so only the end of the connection helps.
		c.Abort()
		return first
	}
	return c.endEmptyBody(first)
}

// endEmptyBody ends a body that the server waits for although it has refused the only recipient
// (RFC 2920, section 3.1).
func (c *Conn) endEmptyBody(refusal error) error {
	c.state = free
	c.out = append(c.out[:0], ".\r\n"...)
	if c.write(PhaseData) == nil && c.read(PhaseData, c.options.Timeouts.Body) == nil && c.reply.code == 421 {
		c.lost.Store(true)
	}
	c.needsReset = true
	return refusal
}

func firstError(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// sendEnvelopeByStep waits for the reply to each command, for servers without pipelining.
func (c *Conn) sendEnvelopeByStep(m *Message, f format) error {
	if c.needsReset {
		c.out = append(c.out[:0], "RSET\r\n"...)
		if err := c.write(PhaseReset); err != nil {
			return err
		}
		if err := c.expectReset(); err != nil {
			return err
		}
	}
	c.out = c.appendMail(c.out[:0], m, f)
	if err := c.step(PhaseMail, 2); err != nil {
		return err
	}
	c.needsReset = true // until DATA is accepted
	c.out = appendRcpt(c.out[:0], m)
	if err := c.step(PhaseRcpt, 2); err != nil {
		return err
	}
	c.out = append(c.out[:0], "DATA\r\n"...)
	if err := c.step(PhaseData, 354); err != nil {
		return err
	}
	c.needsReset = false
	return nil
}

func (c *Conn) step(phase Phase, want int) error {
	if err := c.write(phase); err != nil {
		return err
	}
	return c.expect(phase, c.options.Timeouts.Command, want)
}

// expectReset reads the reply to RSET. A server that refuses RSET cannot be used any more.
func (c *Conn) expectReset() error {
	c.needsReset = false
	err := c.expect(PhaseReset, c.options.Timeouts.Command, 2)
	var refusal *Refusal
	if errors.As(err, &refusal) && refusal.Code != 421 {
		return c.fail(PhaseReset, refusal)
	}
	return err
}

func (c *Conn) appendEnvelope(out []byte, m *Message, f format) []byte {
	if c.needsReset {
		out = append(out, "RSET\r\n"...)
	}
	out = c.appendMail(out, m, f)
	out = appendRcpt(out, m)
	return append(out, "DATA\r\n"...)
}

func (c *Conn) appendMail(out []byte, m *Message, f format) []byte {
	out = append(out, "MAIL FROM:<"...)
	out = append(out, m.From...)
	out = append(out, '>')
	if c.ext.sizeKnown {
		out = append(out, " SIZE="...)
		out = strconv.AppendInt(out, int64(f.size), 10)
	}
	if m.EightBit {
		out = append(out, " BODY=8BITMIME"...)
	}
	if f.utf8 {
		out = append(out, " SMTPUTF8"...)
	}
	return append(out, crlf...)
}

func appendRcpt(out []byte, m *Message) []byte {
	out = append(out, "RCPT TO:<"...)
	out = append(out, m.To...)
	return append(out, ">\r\n"...)
}
