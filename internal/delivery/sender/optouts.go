package sender

import (
	"context"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/ledger"
)

// lookedUp is the reason of an attempt that ends before its final step, because the recipient has
// opted out or because it is not known whether the recipient has.
const lookedUp = ledger.NotHandedOver + "the opt-outs were looked up before the final step"

// optedOut returns why the recipient must not be mailed any more, or "".
func (q *queue) optedOut(ctx context.Context, it *item) (why string, err error) {
	if q.batch.OptedOut == nil {
		return "", nil
	}
	return q.batch.OptedOut(ctx, it.To)
}

// exclude records that the recipient of a message that is not in flight has opted out. It needs mu.
func (q *queue) exclude(it *item, why string) {
	q.excluded = append(q.excluded, ledger.Exclusion{Recipient: it.Recipient, Why: why})
	q.forget(it)
}

// optedOut ends an attempt before its final step: the recipient has opted out, or it is not known
// (cause) whether the recipient has. The connection is closed, because only that makes the server
// drop the message.
func (c *connection) optedOut(it *item, why string, cause error) error {
	c.abort()
	c.result = resultOf(it, ledger.NotSent, droppoint.Answer{}, lookedUp)
	if cause != nil {
		if err := c.retry(it); err != nil {
			return err
		}
		return cause
	}
	if err := c.flush(); err != nil { // before the outcome: an intent that is left behind is uncertain
		return err
	}
	q := c.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	q.exclude(it, why)
	q.landed(it)
	q.broadcast()
	return nil
}

// leaveOut gives recipients who have opted out their outcome, after all connections have ended.
func (q *queue) leaveOut(ctx context.Context) error {
	q.mu.Lock()
	excluded := q.excluded
	q.mu.Unlock()
	if len(excluded) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	return q.batch.LeaveOut(ctx, excluded)
}
