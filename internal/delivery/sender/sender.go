package sender

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/ledger"
)

// ErrStopped means that the worker stops. Messages in flight have their result in the ledger. The
// other recipients have no outcome yet.
var ErrStopped = errors.New("the worker is stopping")

// RefusedError means that a drop point refuses all our mail. No recipient is to blame.
type RefusedError struct {
	Cause error
	Quote string // what the server has said, with addresses masked; may be empty
}

// Error returns the text of the cause and the quotation.
func (e *RefusedError) Error() string {
	if e.Quote == "" {
		return e.Cause.Error()
	}
	return fmt.Sprintf("%v: %q", e.Cause, e.Quote)
}

// Unwrap returns the cause.
func (e *RefusedError) Unwrap() error { return e.Cause }

// UnavailableError means that a drop point could not be used.
type UnavailableError struct{ Cause error }

// Error returns the text of the cause.
func (e *UnavailableError) Error() string { return e.Cause.Error() }

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Cause }

// Batch is a claimed batch, its messages, and the drop points that it may use.
type Batch struct {
	Claim      *ledger.Claim
	Gate       *ledger.Gate
	DropPoints []DropPoint
	// Others is true if the mailing has drop points that the batch cannot use now.
	Others bool
	// Hold is the policy "on_uncertain: hold": a recipient whose answer was never seen stays
	// uncertain. Without it, the message is sent again.
	Hold bool
	// Next returns the next rendered message, then io.EOF. It may use the memory of buf, which can
	// be nil, for the text. It is called by one goroutine at a time.
	Next func(buf []byte) (Message, error)
	// Allow asks the rate limits whether a message to the domain may be sent through the drop point
	// now. With the zero Wait it may. It is called by one goroutine at a time.
	Allow func(ctx context.Context, dropPoint, domain string) (Wait, error)
	// OptedOut returns why the address must not be mailed any more, or "". LeaveOut gives such
	// recipients their outcome. Both may be nil: then nobody opts out during a turn.
	OptedOut func(ctx context.Context, address string) (why string, err error)
	LeaveOut func(context.Context, []ledger.Exclusion) error
	// Turn is how long the batch is sent before it gives its place on the worker to another batch.
	Turn time.Duration
	// Stop is closed when the worker stops.
	Stop <-chan struct{}
	// Silent reports whether Temporal has been silent for so long that it may give the batch to
	// another worker. Then no message is begun after the end of the turn. It may be nil: then it is
	// never silent.
	Silent func() bool
}

// Wait is how long the rate limits make a message wait.
type Wait struct {
	AskAgain time.Duration // time until it makes sense to ask again
	Total    time.Duration // time until the message may be sent, as the limits are now
	Domain   bool          // the limit is that of the recipient's domain: messages to others may pass
}

// DropPoint is a drop point that the batch may use.
type DropPoint struct {
	*droppoint.DropPoint
	// Proven is true if the drop point has accepted mail of this mailing since it last failed. Then
	// a few refusals are about single recipients.
	Proven bool
	// HasAccepted is true if the drop point has accepted mail of this mailing at any time. Then a
	// recipient whom it refuses again and again does not make it fail for ever.
	HasAccepted bool
	// Failed is true if the drop point has failed, and has accepted nothing since. Refuses is true
	// if it has refused our mail meanwhile: then its refusals blame nobody.
	Failed, Refuses bool
	// Evidence is shared by all batches of the mailing on this worker. Nil is evidence of its own.
	Evidence *Evidence
}

// Message is one rendered message.
type Message struct {
	Recipient int32
	droppoint.Message
}

// Sending is a batch that is being sent. It is safe for concurrent use.
type Sending struct{ queue *queue }

// New returns the sending of a batch. Run starts it.
func New(b Batch) *Sending { return &Sending{newQueue(b)} }

// Run sends the messages of the batch whose recipients have no outcome, for one turn. It must be
// called once. When it returns, every known result is in the ledger.
//
// Its errors are: [*UnavailableError] or [*RefusedError] if none of the drop points could be used
// to the end, [ErrStopped], [ledger.ErrFenced], and errors of the database and of ctx. The other
// recipients then have no outcome yet. The report is valid with an error, too.
func (s *Sending) Run(ctx context.Context) (Report, error) {
	q := s.queue
	if q.open == 0 {
		return Report{Complete: true}, nil
	}
	group, ctx := errgroup.WithContext(ctx)
	acquiring, cancel := context.WithCancel(ctx)
	defer cancel()
	q.mu.Lock()
	q.stopAcquiring, q.began = cancel, time.Now()
	q.mu.Unlock()
	defer context.AfterFunc(ctx, q.wake)()
	defer q.stopOn(q.batch.Stop)()
	defer time.AfterFunc(q.batch.Turn, q.endTurn).Stop()
	for _, d := range q.dropPoints {
		for range d.connections {
			group.Go(func() error { return q.runConnection(ctx, acquiring, d) })
		}
	}
	err := group.Wait()
	if settled := q.settle(err == nil); err == nil {
		err = settled
	}
	if left := q.leaveOut(context.WithoutCancel(ctx)); err == nil {
		err = left
	}
	report, failure := q.report()
	if err == nil {
		err = failure
	}
	return report, err
}

// Load is how much a batch needs the connections of its drop points now.
type Load struct {
	Answered int // messages with an answer
	Left     int // messages without one
	// Idle is true if a drop point of the batch that works has a connection that nobody uses.
	Idle bool
	// Limited is true if rate limits of the mailing or of the drop points delay the next message:
	// more connections would not help.
	Limited bool
}

// Load returns the load of the batch.
func (s *Sending) Load() Load {
	q := s.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	l := Load{Left: q.unanswered(), Limited: q.allDropPointsLimited()}
	l.Answered = q.open - l.Left
	for _, d := range q.dropPoints {
		l.Idle = l.Idle || d.isUp() && d.HasFree()
	}
	return l
}
