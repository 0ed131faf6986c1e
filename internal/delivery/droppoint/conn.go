package droppoint

import (
	"context"
	"errors"
	"time"

	"directmailer/internal/delivery/smtp"
)

// usualReopenPatience is how long a message waits for a connection in the place of one that the
// server has closed. Then the message is for any connection.
const usualReopenPatience = 5 * time.Second

// pooledConn is a [Conn] on a connection of the pool. It replaces the connection when it has
// carried its limit of messages, or when the server has closed it between two messages.
type pooledConn struct {
	dropPoint *DropPoint
	raw       rawConn       // nil after it was closed and could not be replaced
	began     time.Time     // when the present message has begun
	beginTook time.Duration // of the message that has begun
	isNew     bool          // no message has begun on raw: the server has no reason to close it
	isFirst   bool          // the message that has begun is the first on raw
}

// Begin is described at [Conn].
func (c *pooledConn) Begin(ctx context.Context, m *Message) error {
	c.began = time.Now()
	defer c.dropPoint.waiting()()
	defer func() { c.beginTook = time.Since(c.began) }()
	if limit := c.dropPoint.config.Messages; limit > 0 && c.raw.used() >= limit {
		c.raw.close()
		if err := c.reopen(ctx); err != nil {
			return err
		}
	}
	err := c.begin(ctx, m)
	if !c.isFirst && smtp.ClosedBetweenMessages(err) && ctx.Err() == nil {
		c.raw.abort()
		if err := c.reopen(ctx); err != nil {
			return err
		}
		err = c.begin(ctx, m)
	}
	return c.judge(err)
}

func (c *pooledConn) begin(ctx context.Context, m *Message) error {
	c.isFirst, c.isNew = c.isNew, false
	err := c.raw.begin(ctx, m)
	if err == nil {
		c.dropPoint.lastAnswer.Store(time.Now().UnixNano())
	}
	return err
}

// reopen replaces the connection, which is closed. A connection that takes long to open is for
// later messages.
func (c *pooledConn) reopen(ctx context.Context) error {
	c.raw = nil
	c.dropPoint.lost()
	limited, cancel := context.WithTimeout(ctx, c.dropPoint.reopenPatience)
	defer cancel()
	conn, err := c.dropPoint.Acquire(limited)
	switch {
	case err == nil:
		other := conn.(*pooledConn)
		c.raw, c.isNew = other.raw, other.isNew
		return nil
	case ctx.Err() != nil:
		return &smtp.ConnError{Phase: smtp.PhaseConnect, Cause: ctx.Err()}
	case limited.Err() != nil:
		return &noConnection{&smtp.ConnError{Phase: smtp.PhaseConnect, Cause: errNotYetOpen}}
	}
	return &notReopened{err}
}

var errNotYetOpen = errors.New("a new connection is not open yet")

// notReopened is an error of a message whose connection was closed, and could not be replaced.
type notReopened struct{ cause error }

func (e *notReopened) Error() string { return e.cause.Error() }
func (e *notReopened) Unwrap() error { return e.cause }

// NotReopened reports whether err, of Begin, is the failure to open a connection in place of one
// that was closed between two messages, such as a refused log-in. The drop point has not heard of
// the message then.
func NotReopened(err error) bool {
	_, ok := errors.AsType[*notReopened](err)
	return ok
}

// judge returns err, and makes the drop point slower if err asks for that. If err says that the
// drop point gives fewer connections, and others work, the error is a [noConnection].
func (c *pooledConn) judge(err error) error {
	switch {
	case err == nil:
	case OutcomeOf(err) == Throttled:
		c.dropPoint.pace.throttled(time.Now(), c.began, err)
	case smtp.WantsFewerConnections(err), c.isFirst && smtp.ClosedBetweenMessages(err):
		if c.dropPoint.refused(err) {
			return &noConnection{err}
		}
	}
	return err
}

// noConnection is an error of a message without a connection, although the drop point works.
type noConnection struct{ cause error }

func (e *noConnection) Error() string { return e.cause.Error() }
func (e *noConnection) Unwrap() error { return e.cause }

// OnlyLacksConnections reports whether err, of Acquire, Begin or Finish, means no failure of the
// drop point. It gives fewer connections than configured, or a new one is not open yet. After an
// error of Acquire, it gives this worker none, and may give them to others.
func OnlyLacksConnections(err error) bool {
	_, ok := errors.AsType[*noConnection](err)
	return ok
}

// Fits is described at [Conn].
func (c *pooledConn) Fits(m *Message) error { return c.raw.fits(m) }

// Finish is described at [Conn].
func (c *pooledConn) Finish(next *Message) (Answer, error) {
	began := time.Now()
	defer c.dropPoint.waiting()()
	answer, err := c.raw.finish(next)
	c.dropPoint.recordAnswer(c.beginTook + time.Since(began))
	if OutcomeOf(err) != Uncertain {
		c.dropPoint.lastAnswer.Store(time.Now().UnixNano())
	}
	if err != nil {
		return answer, c.judge(err)
	}
	c.dropPoint.pace.answered(time.Now())
	if c.isFirst {
		c.isFirst = false
		c.dropPoint.proven()
	}
	return answer, nil
}

// PipelinesNext is described at [Conn].
func (c *pooledConn) PipelinesNext() bool {
	limit := c.dropPoint.config.Messages
	return c.raw.pipelinesNext() && (limit == 0 || c.raw.used() < limit)
}

// Release is described at [Conn].
func (c *pooledConn) Release() {
	if c.raw != nil {
		c.dropPoint.release(c.raw)
	}
}

// Abort is described at [Conn].
func (c *pooledConn) Abort() {
	if c.raw != nil {
		c.raw.abort()
		c.dropPoint.lost()
	}
}
