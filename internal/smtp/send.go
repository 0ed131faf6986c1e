package smtp

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"
)

// Begin hands over the message's envelope and body, all but the final dot. With any error the message was certainly not accepted; after
// a [*Refusal] the next one may begin on the same connection. The end of ctx breaks the connection.
func (c *Conn) Begin(ctx context.Context, m *Message) error {
	if c.lost || c.open {
		return &ConnError{Phase: PhaseMail, Cause: errors.New("the connection is not free")}
	}
	if c.announced != m {
		if c.announced != nil {
			return c.broken(PhaseMail, errors.New("another message was announced"))
		}
		if err := c.acceptable(m); err != nil {
			return err
		}
	}
	c.messages++
	defer c.interruptible(ctx)()
	if err := c.envelope(m); err != nil {
		return err
	}
	return c.body(m.Data)
}

// Finish sends the final dot, and with it next's envelope if the connection announces, and waits for the answer: as long as RFC 5321
// asks, whatever happens meanwhile, because an answer that is not waited for is a duplicate later. next must be the next message to
// begin. With a nil error the message is accepted.
func (c *Conn) Finish(next *Message) (Reply, error) {
	if !c.open {
		return Reply{}, &ConnError{Phase: PhaseDot, Cause: errors.New("no message was begun")}
	}
	c.open = false
	c.out = append(c.out[:0], ".\r\n"...)
	if next != nil && c.Announces() && c.acceptable(next) == nil {
		c.out = c.appendEnvelope(c.out, next)
		c.announced = next
	}
	_ = c.nc.SetWriteDeadline(time.Now().Add(c.options.Timeouts.Body))
	if _, err := c.nc.Write(c.out); err != nil {
		return Reply{}, c.uncertain(err)
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(c.options.Timeouts.Dot))
	reply, _, err := readReply(c.r)
	switch {
	case err != nil:
		return Reply{}, c.uncertain(err)
	case reply.Code == 421: // an answer, and it is no
		return reply, c.broken(PhaseDot, errors.New("the server says farewell: 421 "+reply.Enhanced.String()))
	case reply.Code/100 != 2:
		return reply, &Refusal{PhaseDot, reply}
	}
	return reply, nil
}

func (c *Conn) uncertain(err error) error {
	e := c.broken(PhaseDot, err)
	e.Uncertain = true
	return e
}

// acceptable refuses, before the server is bothered, what would be dangerous to say or what the server has said it does not take.
func (c *Conn) acceptable(m *Message) error {
	local := func(code int, e EnhancedCode, text string) error {
		return &Refusal{PhaseMail, Reply{Code: code, Enhanced: e, Text: text + " (not sent to the server)"}}
	}
	if !safePath(m.From) || !safePath(m.To) || m.To == "" {
		return &Refusal{PhaseRcpt, Reply{Code: 553, Enhanced: EnhancedCode{5, 1, 3}, Text: "the address cannot be said in SMTP (not sent to the server)"}}
	}
	if limit := sizeLimit(c.ext); limit > 0 && len(m.Data) > limit {
		return local(552, EnhancedCode{5, 3, 4}, "the message is longer than the server takes")
	}
	if m.UTF8 && !c.has("SMTPUTF8") {
		return local(553, EnhancedCode{5, 6, 7}, "the server does not take addresses that are not ASCII (SMTPUTF8)")
	}
	if m.EightBit && !c.has("8BITMIME") {
		return local(554, EnhancedCode{5, 6, 3}, "the server does not take 8-bit messages (8BITMIME)")
	}
	return nil
}

// safePath tells whether an address can stand between the brackets of MAIL FROM:<> without saying anything else.
func safePath(address string) bool {
	quoted := false
	for i := 0; i < len(address); i++ {
		switch b := address[i]; {
		case b < 0x20 || b == 0x7f:
			return false
		case b == '"':
			quoted = !quoted
		case quoted && b == '\\':
			i++
			if i == len(address) || address[i] < 0x20 || address[i] == 0x7f {
				return false
			}
		case !quoted && (b == '<' || b == '>' || b == ' '):
			return false
		}
	}
	return !quoted
}

func (c *Conn) appendEnvelope(out []byte, m *Message) []byte {
	if c.reset {
		out = append(out, "RSET\r\n"...)
	}
	out = c.appendMail(out, m)
	out = append(out, "\r\n"...)
	out = appendRcpt(out, m)
	return append(out, "DATA\r\n"...)
}

func (c *Conn) appendMail(out []byte, m *Message) []byte {
	out = append(out, "MAIL FROM:<"...)
	out = append(out, m.From...)
	out = append(out, '>')
	if c.has("SIZE") {
		out = append(out, " SIZE="...)
		out = strconv.AppendInt(out, int64(len(m.Data)), 10)
	}
	if m.EightBit {
		out = append(out, " BODY=8BITMIME"...)
	}
	if m.UTF8 {
		out = append(out, " SMTPUTF8"...)
	}
	return out
}

func appendRcpt(out []byte, m *Message) []byte {
	out = append(out, "RCPT TO:<"...)
	out = append(out, m.To...)
	return append(out, ">\r\n"...)
}

// envelope sends MAIL, RCPT and DATA, in one group where the server pipelines, and reads their answers.
func (c *Conn) envelope(m *Message) error {
	if c.announced == nil && !c.Pipelines() {
		return c.envelopeByStep(m)
	}
	reset := c.reset
	if c.announced == nil {
		c.out = c.appendEnvelope(c.out[:0], m)
		if err := c.writeOut(PhaseMail); err != nil {
			return err
		}
	}
	c.announced, c.reset = nil, false
	if reset {
		if _, _, err := c.reply(PhaseReset, c.options.Timeouts.Command); err != nil {
			return err
		}
	}
	var first error
	for _, phase := range []Phase{PhaseMail, PhaseRcpt} {
		reply, _, err := c.reply(phase, c.options.Timeouts.Command)
		if err != nil {
			return err
		}
		if reply.Code/100 != 2 && first == nil {
			first = &Refusal{phase, reply}
		}
	}
	reply, _, err := c.reply(PhaseData, c.options.Timeouts.Command)
	switch {
	case err != nil:
		return err
	case reply.Code == 354 && first == nil:
		return nil
	case reply.Code == 354: // it waits for a message that nobody gets: an empty one ends that (RFC 2920, 3.1)
		if err := c.write(PhaseData, ".\r\n"); err != nil {
			return err
		}
		if _, _, err := c.reply(PhaseData, c.options.Timeouts.Body); err != nil {
			return err
		}
	case first == nil:
		first = &Refusal{PhaseData, reply}
	}
	c.reset = true
	return first
}

func (c *Conn) envelopeByStep(m *Message) error {
	if c.reset {
		if _, err := c.commandLines(PhaseReset, "RSET", 250); err != nil {
			return asConn(err, c)
		}
		c.reset = false
	}
	c.reset = true // until the message is through
	step := func(phase Phase, line []byte, class int) error {
		c.out = append(c.out[:0], line...)
		if err := c.writeOut(phase); err != nil {
			return err
		}
		reply, _, err := c.reply(phase, c.options.Timeouts.Command)
		if err != nil {
			return err
		}
		if reply.Code/100 != class {
			return &Refusal{phase, reply}
		}
		return nil
	}
	if err := step(PhaseMail, append(c.appendMail(nil, m), "\r\n"...), 2); err != nil {
		return err
	}
	if err := step(PhaseRcpt, appendRcpt(nil, m), 2); err != nil {
		return err
	}
	if err := step(PhaseData, []byte("DATA\r\n"), 3); err != nil {
		return err
	}
	c.reset = false
	return nil
}

// asConn: a server that refuses RSET is of no more use.
func asConn(err error, c *Conn) error {
	var r *Refusal
	if errors.As(err, &r) {
		return c.broken(r.Phase, err)
	}
	return err
}

func (c *Conn) writeOut(phase Phase) error {
	_ = c.nc.SetWriteDeadline(time.Now().Add(c.options.Timeouts.Command))
	if _, err := c.nc.Write(c.out); err != nil {
		return c.broken(phase, err)
	}
	return nil
}

var crlf = []byte("\r\n")

// body sends the message, in one write if it needs no dot-stuffing, which rendered messages do not.
func (c *Conn) body(data []byte) error {
	out := data
	stuff := bytes.HasPrefix(data, []byte(".")) || bytes.Contains(data, []byte("\n."))
	if stuff || !bytes.HasSuffix(data, crlf) {
		c.out = c.out[:0]
		if stuff {
			c.out = appendStuffed(c.out, data)
		} else {
			c.out = append(c.out, data...)
		}
		if !bytes.HasSuffix(c.out, crlf) {
			c.out = append(c.out, crlf...)
		}
		out = c.out
	}
	_ = c.nc.SetWriteDeadline(time.Now().Add(c.options.Timeouts.Body))
	if _, err := c.nc.Write(out); err != nil {
		return c.broken(PhaseBody, err)
	}
	c.open = true
	return nil
}

// appendStuffed doubles each dot at the beginning of a line (RFC 5321, 4.5.2).
func appendStuffed(out, data []byte) []byte {
	for len(data) > 0 {
		if data[0] == '.' {
			out = append(out, '.')
		}
		end := bytes.IndexByte(data, '\n') + 1
		if end == 0 {
			end = len(data)
		}
		out = append(out, data[:end]...)
		data = data[end:]
	}
	return out
}

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func decode(s string) ([]byte, error) { return base64.StdEncoding.DecodeString(strings.TrimSpace(s)) }
