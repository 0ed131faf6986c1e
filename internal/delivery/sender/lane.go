package sender

import (
	"context"
	"errors"
	"time"

	"directmailer/internal/database"
	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/ledger"
)

// lane is one connection's worth of a batch.
type lane struct {
	queue *queue
	point *point
	// connecting ends with the need for connections.
	connecting context.Context

	conn droppoint.Lane
	held time.Time // since when conn is
	// worked is true after the connection has answered a message: if it breaks later, another one is worth a try.
	worked bool
	// result is what became of the previous message, to be committed with the next intent.
	result *ledger.Result
}

// share is how long a lane keeps a connection for which others wait.
const share = time.Second

// runLane leaves nothing in flight, and no result unwritten that could be written.
func (q *queue) runLane(ctx, connecting context.Context, p *point) error {
	l := &lane{queue: q, point: p, connecting: connecting}
	err := l.sendAll(ctx)
	if idleErr := l.idle(); err == nil {
		err = idleErr
	}
	if isPointFailure(err) {
		q.leave(p, err) // the other lanes go on: a server may allow fewer connections than we would like
		return nil
	}
	q.leave(p, nil)
	return err
}

func (l *lane) sendAll(ctx context.Context) error {
	for {
		more, err := l.queue.ready(ctx, l.point, l.idle)
		if !more || err != nil {
			return err
		}
		if err := l.connect(); err != nil {
			l.queue.forgo(l.point)
			if l.connecting.Err() != nil { // not needed any more, which is nobody's fault
				return l.queue.why(ctx)
			}
			return err
		}
		it, err := l.queue.take(ctx, l.point, true)
		for it != nil && err == nil {
			it, err = l.send(ctx, it)
		}
		if err == nil && l.conn != nil && l.shareIsOver() {
			err = l.idle()
		}
		if err != nil {
			return err
		}
	}
}

// shareIsOver tells whether others wait for the connection that the lane has had for long enough.
func (l *lane) shareIsOver() bool { return time.Since(l.held) > share && l.point.Crowded() }

// connect takes a connection, before a message is taken: one that is waited for must hold back no message.
func (l *lane) connect() error {
	if l.conn != nil {
		return nil
	}
	conn, err := l.point.Acquire(l.connecting)
	if err != nil {
		return unusable(err)
	}
	l.conn, l.held, l.worked = conn, time.Now(), false
	return nil
}

// idle writes down what is known and gives the connection to whoever needs it. In this order: two messages of one connection must never be
// uncertain at the same time.
func (l *lane) idle() error {
	err := l.flush()
	if l.conn != nil {
		l.conn.Release()
		l.conn = nil
	}
	return err
}

// send makes one attempt. It returns the message that follows if that has been announced to the server already.
func (l *lane) send(ctx context.Context, it *item) (next *item, err error) {
	known := l.result
	ticket := l.queue.batch.Gate.Enter(l.queue.batch.Claim, known, &ledger.Attempt{
		Recipient: it.Recipient, Number: it.attempt, PossiblyTwice: it.uncertain > 0, DropPoint: l.point.Name()})
	l.result = nil
	begun := l.conn.Begin(ctx, &it.Message.Message)
	if err := ticket.Wait(); err != nil {
		l.abort() // not without the ledger's leave: the final step is never taken
		l.result = known
		l.queue.put(it)
		return nil, err
	}
	if begun != nil {
		return nil, l.refused(ctx, it, begun)
	}
	return l.finish(ctx, it)
}

// finish takes the final step. From here on the message is waited for, whatever happens to ctx: the drop point's own deadlines hold.
func (l *lane) finish(ctx context.Context, it *item) (*item, error) {
	var next *item
	var announced *droppoint.Message
	if l.conn.Announces() && !l.shareIsOver() {
		var err error
		if next, err = l.queue.take(ctx, l.point, false); err == nil && next != nil {
			announced = &next.Message.Message
		}
	}
	answer, err := l.conn.Finish(announced)
	if err == nil {
		l.worked = true
		l.result = resultOf(it, ledger.Sent, answer, "")
		l.queue.works(l.point)
		l.queue.done(it)
		return next, nil
	}
	err = l.refused(ctx, it, err)
	if next != nil && (err != nil || l.conn == nil) {
		l.queue.put(next) // announced only, so it is still to be sent by whoever comes
		next = nil
	}
	return next, err
}

// refused writes down an attempt that did not succeed and decides what the message does next.
func (l *lane) refused(ctx context.Context, it *item, err error) error {
	answer := droppoint.AnswerOf(err)
	outcome := droppoint.OutcomeOf(err)
	switch outcome {
	case droppoint.Bounced, droppoint.Deferred:
		status := ledger.Bounced
		if outcome == droppoint.Deferred {
			status = ledger.Deferred
		}
		l.result = resultOf(it, status, answer, err.Error())
		if answer.Code != 0 { // else it is we who refuse the message, and nothing is known of the server
			l.worked = true
			l.queue.works(l.point)
		}
		l.queue.done(it)
		return nil
	case droppoint.Refused:
		l.worked = true
		if l.queue.refuses(l.point, err) {
			l.result = resultOf(it, ledger.Refused, answer, err.Error())
			l.queue.done(it)
			return nil
		}
		// It may be the drop point that takes none of our mail: the recipient is open, for the others at once.
		l.result = resultOf(it, ledger.NotSent, answer, err.Error())
		it.refusedBy = l.point
		return l.again(it)
	case droppoint.Uncertain:
		l.abort()
		l.result = resultOf(it, ledger.Uncertain, answer, err.Error())
		it.uncertain++
		l.result.Final = l.queue.batch.Hold || it.uncertain >= ledger.MaxUncertain
		if l.result.Final {
			l.queue.done(it)
			if err := l.flush(); err != nil {
				return err
			}
			return l.broke(ctx, err)
		}
	default:
		l.abort()
		l.result = resultOf(it, ledger.NotSent, answer, err.Error())
	}
	if err := l.again(it); err != nil {
		return err
	}
	return l.broke(ctx, err)
}

// broke is what follows from a connection that could not be used to its end: nil if another one is worth a try.
func (l *lane) broke(ctx context.Context, cause error) error {
	if l.worked {
		l.worked = false
		return nil
	}
	if ctx.Err() != nil { // its end is not the drop point's fault
		return ctx.Err()
	}
	return unusable(cause)
}

// again gives the message back, after its attempt is written down, so that no recipient ever has two attempts in flight.
func (l *lane) again(it *item) error {
	err := l.flush()
	it.attempt++
	l.queue.put(it)
	return err
}

// unusable is the lane's error when its drop point cannot be used.
func unusable(cause error) error {
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
		err = l.queue.batch.Gate.Enter(l.queue.batch.Claim, l.result, nil).Wait() // the gate itself waits between its tries
		if err == nil || errors.Is(err, ledger.ErrFenced) || !database.Unavailable(err) || time.Since(began) > flushFor {
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
