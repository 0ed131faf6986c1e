package sender

import (
	"context"
	"errors"
	"io"
	"time"

	"directmailer/internal/droppoint"
	"directmailer/internal/ledger"
)

// lane is one connection's worth of a batch.
type lane struct {
	batch Batch
	queue *queue

	conn droppoint.Lane
	// proven is true after the connection has answered a message: if it breaks later, another one is worth a try.
	proven bool
	// result is what became of the previous message, to be committed with the next intent.
	result *ledger.Result
}

// run sends first and then whatever the queue holds. It leaves nothing in flight, and no result unwritten that could be written.
func (l *lane) run(ctx context.Context, first *item) error {
	err := l.sendAll(ctx, first)
	// Before the connection goes to another lane: two messages of one connection must never be uncertain at the same time.
	if flushErr := l.flush(); err == nil {
		err = flushErr
	}
	if l.conn != nil {
		l.conn.Release()
	}
	return err
}

func (l *lane) sendAll(ctx context.Context, it *item) error {
	for it != nil {
		next, err := l.send(ctx, it)
		if err != nil {
			return err
		}
		if it = next; it == nil {
			if it, err = l.queue.next(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// send makes one attempt. It returns the message that follows if that has been announced to the server already.
func (l *lane) send(ctx context.Context, it *item) (next *item, err error) {
	if l.conn == nil {
		if l.conn, err = l.batch.Point.Acquire(ctx); err != nil {
			l.conn = nil
			l.queue.put(it)
			return nil, l.unusable(ctx, err)
		}
		l.proven = false
	}
	known := l.result
	ticket := l.batch.Gate.Enter(l.batch.Claim, known, &ledger.Attempt{
		Recipient: it.Recipient, Number: it.attempt, PossiblyTwice: it.uncertain > 0, DropPoint: l.batch.Point.Name()})
	l.result = nil
	begun := l.conn.Begin(ctx, &it.Message.Message)
	if err := ticket.Wait(); err != nil {
		l.abort() // not without the ledger's leave: the final step is never taken
		l.result = known
		return nil, err
	}
	if begun != nil {
		return nil, l.notBegun(ctx, it, begun)
	}
	return l.finish(ctx, it)
}

// finish takes the final step. From here on the message is waited for, whatever happens to ctx: the drop point's own deadlines hold.
func (l *lane) finish(ctx context.Context, it *item) (*item, error) {
	var next *item
	var announced *droppoint.Message
	if l.conn.Announces() {
		var err error
		if next, err = l.queue.next(ctx); err == nil && next != nil {
			announced = &next.Message.Message
		}
	}
	answer, err := l.conn.Finish(announced)
	if err == nil {
		l.proven = true
		l.result = resultOf(it, ledger.Sent, answer, "")
		_ = l.queue.note(true, nil)
		return next, nil
	}
	err = l.refused(ctx, it, err)
	if err != nil && next != nil {
		l.queue.put(next) // announced only, so it is still to be sent by whoever comes
	}
	return next, err
}

// notBegun deals with a message that certainly was not handed over.
func (l *lane) notBegun(ctx context.Context, it *item, err error) error {
	if droppoint.OutcomeOf(err) != droppoint.Uncertain {
		return l.refused(ctx, it, err)
	}
	return err // unreachable by the drop point's contract: nothing is uncertain before the final step
}

// refused writes down an attempt that did not succeed and decides what the message does next.
func (l *lane) refused(ctx context.Context, it *item, err error) error {
	answer := droppoint.AnswerOf(err)
	switch droppoint.OutcomeOf(err) {
	case droppoint.Bounced:
		l.proven = true
		l.result = resultOf(it, ledger.Bounced, answer, err.Error())
		return l.queue.note(true, nil)
	case droppoint.Deferred:
		l.proven = true
		l.result = resultOf(it, ledger.Deferred, answer, err.Error())
		return l.queue.note(true, nil)
	case droppoint.Refused:
		l.proven = true
		l.result = resultOf(it, ledger.Refused, answer, err.Error())
		return l.queue.note(false, err)
	case droppoint.Uncertain:
		l.abort()
		l.result = resultOf(it, ledger.Uncertain, answer, err.Error())
		it.uncertain++
		l.result.Final = l.batch.Hold || it.uncertain >= ledger.MaxUncertain
		// Written before anybody tries again, so that no recipient ever has two attempts in flight.
		final := l.result.Final
		if err := l.flush(); err != nil || final {
			return err
		}
		return l.again(ctx, it, err)
	default:
		l.abort()
		l.result = resultOf(it, ledger.NotSent, answer, err.Error())
		if err := l.flush(); err != nil {
			return err
		}
		return l.again(ctx, it, err)
	}
}

// again gives the message back. The lane goes on with a new connection if the broken one had worked before.
func (l *lane) again(ctx context.Context, it *item, cause error) error {
	it.attempt++
	l.queue.put(it)
	if l.proven {
		l.proven = false
		return nil
	}
	return l.unusable(ctx, cause)
}

// unusable is the lane's error when its drop point cannot be used; an end of ctx is not the drop point's fault.
func (l *lane) unusable(ctx context.Context, cause error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if droppoint.OutcomeOf(cause) == droppoint.Refused {
		return &Refuses{cause}
	}
	return &Unavailable{cause}
}

// flushFor is how long a result that is known is kept for a database that is away: lost, it would be an uncertain recipient.
const flushFor = time.Minute

// flush commits the last result.
func (l *lane) flush() error {
	if l.result == nil {
		return nil
	}
	var err error
	for began := time.Now(); ; {
		err = l.batch.Gate.Enter(l.batch.Claim, l.result, nil).Wait() // the gate itself waits between its tries
		if err == nil || errors.Is(err, ledger.ErrFenced) || time.Since(began) > flushFor {
			break
		}
	}
	l.result = nil
	return err
}

func (l *lane) abort() {
	l.conn.Abort()
	l.conn = nil
}

// resultOf words an answer for the ledger. Without a server's text, the reason is kept.
func resultOf(it *item, status ledger.Status, answer droppoint.Answer, reason string) *ledger.Result {
	r := &ledger.Result{Recipient: it.Recipient, Attempt: it.attempt, Status: status,
		Final: status == ledger.Sent || status == ledger.Bounced,
		Code:  int16(answer.Code), Enhanced: answer.Enhanced, Reply: answer.Text}
	if r.Reply == "" {
		r.Reply = reason
	}
	return r
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) }
