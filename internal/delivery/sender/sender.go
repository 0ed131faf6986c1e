// Package sender hands the open messages of a claimed batch to drop points, over several connections, under the ledger's protocol.
//
// Each connection runs a lane (lane.go). The lanes of all drop points take messages from one queue (queue.go), so whichever is free takes
// the next: a slow drop point holds no more than the message on each of its connections, and of batches that could go elsewhere no more than
// two. For each message k a lane (1) hands over
// envelope and body, all but the final step, while (2) the ledger commits the result of k-1 and the intent of k, and (3) takes the final
// step only after that commit. What a crash means at each point:
//
//	before the intent is committed    nothing was sent; the next claim finds the recipient open
//	after it, before the final step   nothing was sent, but the ledger cannot know: uncertain
//	after the final step              sent or not: uncertain
//	after the result is committed     the outcome stands
//
// So at most one message per connection is uncertain, and the ledger names it.
package sender

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/ledger"
)

// ErrStopped says that the worker is stopping: what was in flight is finished and written down, the rest is open.
var ErrStopped = errors.New("the worker is stopping")

// Refuses says that a drop point takes none of our mail: no recipient is to blame.
type Refuses struct{ Cause error }

func (e *Refuses) Error() string { return e.Cause.Error() }
func (e *Refuses) Unwrap() error { return e.Cause }

// Unavailable says that a drop point could not be used.
type Unavailable struct{ Cause error }

func (e *Unavailable) Error() string { return e.Cause.Error() }
func (e *Unavailable) Unwrap() error { return e.Cause }

// Batch is the work: a claim, its messages, and where they may go.
type Batch struct {
	Claim  *ledger.Claim
	Gate   *ledger.Gate
	Points []Point
	// Hold leaves recipients uncertain whose answer was never seen; otherwise they are sent to again.
	Hold bool
	// Next returns the next rendered message, in the room given if it fits, then io.EOF. It is called by one goroutine at a time.
	Next func(room []byte) (Message, error)
	// Pace asks for a message's turn under the rate limits; the zero Wait lets it go now. It is called by one goroutine at a time.
	Pace func(ctx context.Context, point, domain string) (Wait, error)
	// Turn is how long the batch may be sent before others get their turn.
	Turn time.Duration
	// Stop is closed when the worker stops.
	Stop <-chan struct{}
}

// Wait is what a rate limit says of a message that may not go yet.
type Wait struct {
	Ask    time.Duration // until it is worth asking again
	Turn   time.Duration // until its turn, as the limits are now
	Domain bool          // it waits for the limit of its recipient's domain: messages to others may overtake it
}

// Point is a drop point that the batch may go through.
type Point struct {
	*droppoint.Point
	// Proven says that it has accepted mail of this mailing before: a few refusals are then about single recipients.
	Proven bool
}

// Message is one rendered message.
type Message struct {
	Recipient int32
	droppoint.Message
}

// Report is how a batch went.
type Report struct {
	// Over: every recipient of the batch has been answered, or was refused for now. Otherwise the turn ended first.
	Over bool
	// NotBefore is when the rate limits let the next message go, if nothing but they was waited for when the turn ended.
	NotBefore time.Time
	// Everybody is true if it is limits of the mailing or of the drop points that NotBefore tells of: other batches would wait for them as well.
	Everybody bool
	// Limited is true if the batch has spent most of its time waiting for limits of the mailing or of the drop points.
	Limited bool
	// Refused counts answers that refuse us, not the recipient, and drop points that refuse us before any message.
	Refused int
	Points  []PointReport
}

// PointReport is how a drop point did.
type PointReport struct {
	Name     string
	Accepted int // answers that show that it works with us
	// Failure is why it could not be used to the end: an [*Unavailable], a [*Refuses], or nil.
	Failure error
}

// refusalLimit is how many refusals, with nothing accepted, make clear that a server refuses us.
const refusalLimit = 10

// Sending is a batch that is being sent. Its methods may be called by several goroutines; Run is called once.
type Sending struct{ queue *queue }

// New returns the sending of a batch, which Run begins.
func New(b Batch) *Sending { return &Sending{newQueue(b)} }

// Send sends a batch: see [Sending.Run].
func Send(ctx context.Context, b Batch) (Report, error) { return New(b).Run(ctx) }

// Run sends the messages of the batch whose recipients have no outcome. In all cases everything
// that is known is in the ledger before it returns. Errors: [*Unavailable] or [*Refuses] if none of
// the drop points could be used to the end, [ErrStopped], ledger.ErrFenced, errors of the database
// and of ctx: the rest is open. The report is good with an error, too.
func (s *Sending) Run(ctx context.Context) (Report, error) {
	q := s.queue
	if q.open == 0 {
		return Report{Over: true}, nil
	}
	group, ctx := errgroup.WithContext(ctx)
	connecting, cancel := context.WithCancel(ctx)
	defer cancel()
	q.mu.Lock()
	q.cancel, q.began = cancel, time.Now()
	q.mu.Unlock()
	defer context.AfterFunc(ctx, q.wake)()
	defer q.stopWith(q.batch.Stop)()
	defer time.AfterFunc(q.batch.Turn, q.endTurn).Stop()
	for _, p := range q.points {
		for range p.lanes {
			group.Go(func() error { return q.runLane(ctx, connecting, p) })
		}
	}
	err := group.Wait()
	report, failure := q.report()
	if err == nil {
		err = failure
	}
	return report, err
}

// Load is what a batch asks of the connections of its drop points just now.
type Load struct {
	Answered int // messages that have their answer
	Left     int // messages that have none
	// Idle is true if a drop point of the batch that works has a connection that nobody uses.
	Idle bool
	// Limited is true if rate limits of the mailing or of the drop points hold the next message
	// back: more connections would not help.
	Limited bool
}

// Load returns the load of the batch.
func (s *Sending) Load() Load {
	q := s.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	l := Load{Left: q.left(), Limited: q.allPointsWait()}
	l.Answered = q.open - l.Left
	for _, p := range q.points {
		l.Idle = l.Idle || p.down == nil && p.lanes > 0 && p.Idle()
	}
	return l
}

func isPointFailure(err error) bool {
	var unavailable *Unavailable
	var refuses *Refuses
	return errors.As(err, &unavailable) || errors.As(err, &refuses)
}
