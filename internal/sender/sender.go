// Package sender hands the open messages of a claimed batch to one drop point, over several connections, under the ledger's protocol.
//
// Each connection runs a lane (lane.go). The lanes of a batch take messages from one queue, so a quick connection takes more. For
// each message k a lane (1) hands over envelope and body, all but the final step, while (2) the ledger commits the result of k-1 and
// the intent of k, and (3) takes the final step only after that commit. What a crash means at each point:
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
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"directmailer/internal/droppoint"
	"directmailer/internal/ledger"
)

// ErrStopped says that the worker is stopping: what was in flight is finished and written down, the rest is open.
var ErrStopped = errors.New("the worker is stopping")

// Refuses says that the drop point takes none of our mail: no recipient is to blame.
type Refuses struct{ Cause error }

func (e *Refuses) Error() string { return e.Cause.Error() }
func (e *Refuses) Unwrap() error { return e.Cause }

// Unavailable says that the drop point could not be used.
type Unavailable struct{ Cause error }

func (e *Unavailable) Error() string { return e.Cause.Error() }
func (e *Unavailable) Unwrap() error { return e.Cause }

// Batch is the work: a claim, its messages, and where they go.
type Batch struct {
	Claim *ledger.Claim
	Gate  *ledger.Gate
	Point *droppoint.Point
	// Hold leaves recipients uncertain whose answer was never seen; otherwise they are sent to again.
	Hold bool
	// Proven says that the drop point has accepted mail of this mailing before: a few refusals are then about single recipients.
	Proven bool
	// Next returns the next rendered message, then io.EOF. It is called by one goroutine at a time.
	Next func() (Message, error)
	// Stop is closed when the worker stops.
	Stop <-chan struct{}
}

// Message is one rendered message.
type Message struct {
	Recipient int32
	droppoint.Message
}

// refusalLimit is how many refusals, with nothing accepted, make clear that a server refuses us even if it has taken mail before.
const refusalLimit = 10

// Send sends every message of the batch whose recipient has no outcome. With a nil error, each of them has been answered; those that
// were deferred or refused for now are open. [*Unavailable], [*Refuses], [ErrStopped], ledger.ErrFenced, errors of the database and of
// ctx: the rest is open. In all cases everything that is known is in the ledger before Send returns.
func Send(ctx context.Context, b Batch) error {
	q := &queue{batch: b}
	group, ctx := errgroup.WithContext(ctx)
	for range b.Point.Connections() {
		group.Go(func() error {
			item, err := q.next(ctx) // no connection is opened for a lane that has nothing to do
			if item == nil {
				return err
			}
			l := &lane{batch: b, queue: q}
			err = l.run(ctx, item)
			if pointTrouble(err) {
				q.lost(err) // the other lanes go on: a server may allow fewer connections than we would like
				return nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return q.verdict()
}

// item is a message on its way.
type item struct {
	Message
	attempt   int32 // number of the next attempt
	uncertain int   // attempts whose answer was never seen: another is possibly the second mail
}

// queue hands messages to lanes and counts what the drop point does with them.
type queue struct {
	batch Batch

	mu       sync.Mutex
	again    []*item
	ended    bool
	accepted int // answers that show that the drop point works with us
	refused  int
	refusal  error
	trouble  error // of a lane that ended for it
}

// next returns the next open message, or nil when there is none, the worker stops, or ctx ends.
func (q *queue) next(ctx context.Context) (*item, error) {
	select {
	case <-q.batch.Stop:
		return nil, ErrStopped
	case <-ctx.Done():
		return nil, ctx.Err()
	default:
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := len(q.again); n > 0 {
		it := q.again[n-1]
		q.again = q.again[:n-1]
		return it, nil
	}
	for !q.ended {
		m, err := q.batch.Next()
		if isEOF(err) {
			q.ended = true
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the spool: %w", err)
		}
		tried := q.batch.Claim.Tried[m.Recipient]
		if tried.Final {
			continue
		}
		return &item{Message: m, attempt: tried.Attempts + 1, uncertain: tried.Uncertain}, nil
	}
	return nil, nil
}

// put gives a message back that has to be tried again.
func (q *queue) put(it *item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.again = append(q.again, it)
}

// note counts an answer and tells when the drop point turns out to refuse us.
func (q *queue) note(accepted bool, refusal error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case accepted:
		q.accepted++
	case refusal != nil:
		q.refused++
		q.refusal = refusal
		if q.accepted == 0 && q.refused >= refusalLimit {
			return &Refuses{refusal}
		}
	}
	return nil
}

// lost keeps why a lane ended.
func (q *queue) lost(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.trouble = err
}

// verdict is the batch's own error after all lanes have ended.
func (q *queue) verdict() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.ended || len(q.again) > 0 {
		return q.trouble
	}
	if !q.batch.Proven && q.accepted == 0 && q.refused > 0 {
		return &Refuses{q.refusal}
	}
	return nil
}

func pointTrouble(err error) bool {
	var unavailable *Unavailable
	var refuses *Refuses
	return errors.As(err, &unavailable) || errors.As(err, &refuses)
}
