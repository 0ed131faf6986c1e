package droppoint

import (
	"context"
	"time"

	"directmailer/internal/delivery/smtp"
)

// pooledConn is a [Conn] on a connection of the pool. It replaces the connection when it has
// carried its limit of messages, or when the server has closed it between two messages.
type pooledConn struct {
	dropPoint *DropPoint
	raw       rawConn
	beginTook time.Duration // of the message that has begun
	isNew     bool          // no message has begun on raw: the server has no reason to close it
}

// Begin is described at [Conn].
func (c *pooledConn) Begin(ctx context.Context, m *Message) error {
	began := time.Now()
	defer func() { c.beginTook = time.Since(began) }()
	if limit := c.dropPoint.config.Messages; limit > 0 && c.raw.used() >= limit {
		c.raw.close()
		if err := c.reopen(ctx); err != nil {
			return err
		}
	}
	err := c.raw.begin(ctx, m)
	if !c.isNew && smtp.ClosedBetweenMessages(err) && ctx.Err() == nil {
		c.raw.abort()
		if err := c.reopen(ctx); err != nil {
			return err
		}
		err = c.raw.begin(ctx, m)
	}
	c.isNew = false
	return err
}

// reopen replaces the connection. If that fails, the closed one stays, and the caller releases it.
func (c *pooledConn) reopen(ctx context.Context) error {
	c.isNew = true
	raw, err := c.dropPoint.transport.open(ctx)
	if err != nil {
		return err
	}
	c.raw = raw
	return nil
}

// Finish is described at [Conn].
func (c *pooledConn) Finish(next *Message) (Answer, error) {
	began := time.Now()
	defer func() { c.dropPoint.recordAnswer(c.beginTook + time.Since(began)) }()
	return c.raw.finish(next)
}

// PipelinesNext is described at [Conn].
func (c *pooledConn) PipelinesNext() bool {
	limit := c.dropPoint.config.Messages
	return c.raw.pipelinesNext() && (limit == 0 || c.raw.used() < limit)
}

// Release is described at [Conn].
func (c *pooledConn) Release() {
	if c.raw.alive() {
		c.dropPoint.putIdle(c.raw)
	} else {
		c.raw.close()
	}
	<-c.dropPoint.inUse
}

// Abort is described at [Conn].
func (c *pooledConn) Abort() {
	c.raw.abort()
	<-c.dropPoint.inUse
}
