package droppoint

import (
	"context"

	"directmailer/internal/delivery/smtp"
)

type smtpTransport struct {
	options     smtp.Options
	idempotency string
}

func (t *smtpTransport) open(ctx context.Context) (connection, error) {
	c, err := smtp.Dial(ctx, t.options)
	if err != nil {
		return nil, err
	}
	return &smtpConnection{conn: c, idempotency: t.idempotency}, nil
}

// smtpConnection keeps the two messages that the connection may know at a time.
type smtpConnection struct {
	conn      *smtp.Conn
	slots     [2]smtp.Message
	next      int
	announced *Message

	idempotency string
	keyed       [2][]byte // messages with that field before them
}

func (c *smtpConnection) begin(ctx context.Context, m *Message) error {
	if c.announced == nil || c.announced != m {
		c.put(m)
	}
	c.announced = nil
	return c.conn.Begin(ctx, &c.slots[c.next])
}

func (c *smtpConnection) put(m *Message) *smtp.Message {
	c.next = 1 - c.next
	c.slots[c.next] = smtp.Message{From: m.From, To: m.To, Data: c.withKey(m), UTF8: m.UTF8}
	return &c.slots[c.next]
}

func (c *smtpConnection) withKey(m *Message) []byte {
	if c.idempotency == "" {
		return m.Data
	}
	b := append(c.keyed[c.next][:0], c.idempotency...)
	b = append(append(append(b, ": "...), m.Key...), "\r\n"...)
	c.keyed[c.next] = append(b, m.Data...)
	return c.keyed[c.next]
}

func (c *smtpConnection) finish(next *Message) (Answer, error) {
	var announced *smtp.Message
	if next != nil && c.conn.Announces() {
		announced = c.put(next)
		c.announced = next
	}
	reply, err := c.conn.Finish(announced)
	return answer(reply), err
}

func (c *smtpConnection) announces() bool { return c.conn.Announces() }
func (c *smtpConnection) alive() bool     { return c.conn.Alive() }
func (c *smtpConnection) used() int       { return c.conn.Messages() }
func (c *smtpConnection) close()          { c.conn.Close() }
func (c *smtpConnection) abort()          { c.conn.Abort() }
