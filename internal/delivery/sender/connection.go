package sender

import (
	"context"
	"errors"
	"time"

	"directmailer/internal/database"
	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/delivery/smtp"
	"directmailer/internal/ledger"
)

const (
	// yieldAfter is how long a batch keeps a connection that another batch waits for.
	yieldAfter = time.Second
	// flushTimeout is how long a connection and its batch wait while the database is unavailable.
	// The gate keeps the result for longer.
	flushTimeout = time.Minute
)

// connection sends messages of the batch over one connection of a drop point, one after the other.
// It acquires the connection when there is a message, and releases it when it has to wait for one.
type connection struct {
	queue     *queue
	dropPoint *dropPointState
	acquiring context.Context // ends when the batch needs no more connections

	conn   droppoint.Conn // nil while none is acquired
	since  time.Time      // when conn was acquired
	worked bool           // conn has answered a message: if it breaks, a new one is worth a try

	result *ledger.Result // of the message before, until it is committed with the next intent
}

// runConnection sends messages until none is left for the drop point, or the turn ends. When it
// returns, no message is in flight, and every result is committed that could be.
func (q *queue) runConnection(ctx, acquiring context.Context, d *dropPointState) error {
	c := &connection{queue: q, dropPoint: d, acquiring: acquiring}
	err := c.sendAll(ctx)
	if flushErr := c.flushAndRelease(); err == nil {
		err = flushErr
	}
	if isDropPointError(err) {
		// The other connections go on: a server may allow fewer of them than are configured.
		q.connectionEnded(d, err)
		return nil
	}
	q.connectionEnded(d, nil)
	return err
}

func (c *connection) sendAll(ctx context.Context) error {
	for {
		reserved, err := c.queue.reserve(ctx, c.dropPoint, c.flushAndRelease)
		if !reserved || err != nil {
			return err
		}
		if err := c.acquire(); err != nil {
			c.queue.unreserve(c.dropPoint)
			if droppoint.OutcomeOf(err) == droppoint.Throttled {
				continue // reserve waits as long as the drop point asks for
			}
			if ended := c.acquiring.Err(); ended != nil && errors.Is(err, ended) { // the drop point has not failed
				return c.queue.stopError(ctx)
			}
			return err
		}
		it, err := c.queue.take(ctx, c.dropPoint, true)
		for it != nil && err == nil {
			it, err = c.send(ctx, it)
		}
		if err == nil && c.conn != nil && c.mustYield() {
			err = c.flushAndRelease()
		}
		if err != nil {
			return err
		}
	}
}

// acquire acquires a connection if there is none. It comes before a message is taken, so that no
// message waits for a connection while another connection could send it.
func (c *connection) acquire() error {
	if c.conn != nil {
		return nil
	}
	conn, err := c.dropPoint.Acquire(c.acquiring)
	if err != nil {
		return dropPointError(err)
	}
	c.conn, c.since, c.worked = conn, time.Now(), false
	return nil
}

// mustYield reports whether another batch waits for the connection, and this one had it long
// enough.
func (c *connection) mustYield() bool {
	return time.Since(c.since) > yieldAfter && c.dropPoint.HasWaiters()
}

// flushAndRelease commits the last result and releases the connection, in this order: two messages
// of one connection must never be uncertain at the same time.
func (c *connection) flushAndRelease() error {
	err := c.flush()
	if c.conn != nil {
		c.conn.Release()
		c.conn = nil
	}
	return err
}

// send makes one attempt. It returns the next message if its envelope was sent already.
func (c *connection) send(ctx context.Context, it *item) (next *item, err error) {
	if c.isUnfit(it) {
		c.queue.retry(it)
		return nil, nil
	}
	known := c.result
	ticket := c.queue.batch.Gate.Enter(c.queue.batch.Claim, known, &ledger.Attempt{
		Recipient: it.Recipient, Number: it.attempt, PossiblyTwice: it.uncertain > 0, DropPoint: c.dropPoint.Name()})
	c.result = nil
	begun := c.conn.Begin(ctx, &it.Message.Message)
	if err := ticket.Wait(); err != nil {
		c.abort() // not without a committed intent: the final step is never taken
		c.withdraw(it, err)
		c.result = known
		c.queue.putBack(it)
		return nil, err
	}
	if begun != nil {
		return nil, c.failed(ctx, it, begun)
	}
	return c.finish(ctx, it)
}

// finish takes the final step and waits for the answer, whatever happens to ctx: the drop point has
// its own timeout. It does not take it if the recipient has opted out meanwhile: the server may
// have taken long for the steps before.
func (c *connection) finish(ctx context.Context, it *item) (*item, error) {
	if why, err := c.queue.optedOut(ctx, it); why != "" || err != nil {
		return nil, c.optedOut(it, why, err)
	}
	var next *item
	var pipelined *droppoint.Message
	if c.conn.PipelinesNext() && !c.mustYield() {
		var err error
		if next, err = c.queue.take(ctx, c.dropPoint, false); err == nil && next != nil {
			pipelined = &next.Message.Message
		}
	}
	answer, err := c.conn.Finish(pipelined)
	if err == nil {
		c.worked = true
		c.result = resultOf(it, ledger.Sent, answer, "")
		c.queue.countAccepted(c.dropPoint, it)
		c.queue.done(it)
		return next, nil
	}
	err = c.failed(ctx, it, err)
	if next != nil && (err != nil || c.conn == nil) {
		c.queue.putBack(next) // only its envelope was sent: any connection can send it
		next = nil
	}
	return next, err
}

// failed handles an attempt that did not succeed: it makes the result, and decides whether the
// message is tried again. A nil error means that the connection can go on, with conn or with a new
// one.
func (c *connection) failed(ctx context.Context, it *item, err error) error {
	if droppoint.NotReopened(err) { // says nothing of the message: acquire finds out what it means
		return c.lacking(it, droppoint.Answer{}, err)
	}
	answer := droppoint.AnswerOf(err)
	switch kind := droppoint.OutcomeOf(err); kind {
	case droppoint.Bounced, droppoint.Unclear, droppoint.Refused:
		return c.refused(it, kind, answer, err)
	case droppoint.Unfit:
		return c.unfit(it, answer, err)
	case droppoint.Deferred:
		c.answered(it, resultOf(it, ledger.Deferred, answer, err.Error()))
		return nil
	case droppoint.Throttled:
		return c.throttled(it, answer, err)
	case droppoint.Uncertain:
		return c.uncertain(ctx, it, answer, err)
	}
	if c.onlyLacksConnection(it, err) {
		return c.lacking(it, answer, err)
	}
	return c.broken(ctx, it, answer, err)
}

// answered handles a refusal of the recipient or the message.
func (c *connection) answered(it *item, r *ledger.Result) {
	c.result = r
	if r.Code != 0 { // with 0 the message was refused by us, and the server was not asked
		c.worked = true
		c.queue.countAnswered(c.dropPoint)
	}
	c.queue.done(it)
}

// uncertain handles a message that was handed over or not: no answer was seen.
func (c *connection) uncertain(ctx context.Context, it *item, answer droppoint.Answer, err error) error {
	c.abort()
	c.result = resultOf(it, ledger.Uncertain, answer, err.Error())
	it.uncertain++
	c.result.Final = c.queue.batch.Hold || it.uncertain >= ledger.MaxUncertain
	if c.result.Final {
		c.queue.done(it)
		if err := c.flush(); err != nil {
			return err
		}
	} else if err := c.retry(it); err != nil {
		return err
	}
	if it.uncertain > 1 && ctx.Err() == nil && c.queue.isProven(c.dropPoint) {
		return nil // the same message again: no other recipient can become uncertain by it
	}
	return c.afterLoss(ctx, err)
}

// retry commits the result of the attempt and then puts the message back. In this order no
// recipient ever has two attempts in flight.
func (c *connection) retry(it *item) error {
	err := c.flush()
	it.attempt++
	c.queue.retry(it)
	return err
}

// afterLoss returns nil if a new connection is worth a try after one was lost, or else the error of
// the drop point.
func (c *connection) afterLoss(ctx context.Context, cause error) error {
	if c.worked {
		c.worked = false
		return nil
	}
	if ctx.Err() != nil { // the end of ctx is not a failure of the drop point
		return ctx.Err()
	}
	return dropPointError(cause)
}

// flush commits the last result. If that fails, the gate keeps the result: the drop point has
// answered, whoever has the batch now.
func (c *connection) flush() error {
	if c.result == nil {
		return nil
	}
	var err error
	for began := time.Now(); ; { // the gate itself waits between its attempts
		err = c.queue.batch.Gate.Enter(c.queue.batch.Claim, c.result, nil).Wait()
		if err == nil || errors.Is(err, ledger.ErrFenced) || !database.Unavailable(err) ||
			time.Since(began) > flushTimeout {
			break
		}
	}
	if err != nil {
		c.queue.batch.Gate.Keep(c.queue.batch.Claim, c.result)
	}
	c.result = nil
	return err
}

func (c *connection) abort() {
	c.conn.Abort()
	c.conn = nil
}

// dropPointError returns the error of a connection whose drop point cannot be used.
func dropPointError(cause error) error {
	if droppoint.OutcomeOf(cause) == droppoint.Refused {
		return &RefusedError{cause, smtp.Quoted(cause, "")}
	}
	return &UnavailableError{cause}
}

func isDropPointError(err error) bool {
	var unavailable *UnavailableError
	var refused *RefusedError
	return errors.As(err, &unavailable) || errors.As(err, &refused)
}

// resultOf returns the result of an attempt. Its text is that of the server, or else the reason.
func resultOf(it *item, status ledger.Status, answer droppoint.Answer, reason string) *ledger.Result {
	r := &ledger.Result{Recipient: it.Recipient, Attempt: it.attempt, Status: status,
		Final: status == ledger.Sent || status == ledger.Bounced,
		Code:  int16(answer.Code), Enhanced: answer.Enhanced, Reply: answer.Text}
	if r.Reply == "" {
		r.Reply = reason
	}
	return r
}
