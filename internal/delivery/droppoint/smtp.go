package droppoint

import (
	"context"

	"directmailer/internal/delivery/smtp"
)

// smtpTransport opens connections to an SMTP server.
type smtpTransport struct {
	options     smtp.Options
	idempotency string // name of the header field, or empty
}

func (t *smtpTransport) open(ctx context.Context, at func(step string)) (rawConn, error) {
	options := t.options
	options.OnPhase = func(p smtp.Phase) { at(string(p)) }
	c, err := smtp.Dial(ctx, options)
	if err != nil {
		return nil, err
	}
	return &smtpConn{conn: c, idempotency: t.idempotency}, nil
}

// smtpConn is a session with an SMTP server. It has room for two messages: one that has begun, and
// one whose envelope is sent together with the first one's dot.
type smtpConn struct {
	conn      *smtp.Conn
	messages  [2]smtp.Message
	last      int      // index of the message that was put last
	pipelined *Message // the message whose envelope is sent

	idempotency string
	withField   [2][]byte // the messages' texts with the idempotency field
}

func (c *smtpConn) begin(ctx context.Context, m *Message) error {
	if c.pipelined == nil || c.pipelined != m {
		c.put(m)
	}
	c.pipelined = nil
	return c.conn.Begin(ctx, &c.messages[c.last])
}

func (c *smtpConn) finish(next *Message) (Answer, error) {
	var nextMessage *smtp.Message
	if next != nil && c.conn.PipelinesNext() {
		nextMessage = c.put(next)
		c.pipelined = next
	}
	reply, err := c.conn.Finish(nextMessage)
	return answerOf(reply), err
}

// put stores a message in the place of the older one.
func (c *smtpConn) put(m *Message) *smtp.Message {
	c.last = 1 - c.last
	c.messages[c.last] = smtp.Message{From: m.From, To: m.To, Data: c.addIdempotencyField(m), UTF8: m.UTF8}
	return &c.messages[c.last]
}

// addIdempotencyField returns the text of the message, with the header field if one is configured.
func (c *smtpConn) addIdempotencyField(m *Message) []byte {
	if c.idempotency == "" {
		return m.Data
	}
	b := append(c.withField[c.last][:0], c.idempotency...)
	b = append(append(append(b, ": "...), m.Key...), "\r\n"...)
	c.withField[c.last] = append(b, m.Data...)
	return c.withField[c.last]
}

// fits does not count the idempotency field, so that a message that hardly fits is left to begin.
func (c *smtpConn) fits(m *Message) error {
	return c.conn.Fits(&smtp.Message{From: m.From, To: m.To, Data: m.Data, UTF8: m.UTF8})
}

func (c *smtpConn) pipelinesNext() bool { return c.conn.PipelinesNext() }
func (c *smtpConn) alive() bool         { return c.conn.Alive() }
func (c *smtpConn) used() int           { return c.conn.Messages() }
func (c *smtpConn) close()              { c.conn.Close() }
func (c *smtpConn) abort()              { c.conn.Abort() }
