package sender

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// item is a message on its way.
type item struct {
	Message
	attempt        int32           // number of the next attempt
	uncertain      int             // attempts without an answer: the next one is possibly the second mail
	refusals       int             // attempts that were refused for good, without a verdict
	othersAccepted bool            // the drop point has accepted others after it refused this recipient
	breaks         int             // attempts that have broken their connections, also of earlier turns
	lacks          int             // answers to it, in this turn, that asked for fewer connections
	firstAt        *dropPointState // where the first break of this turn was, and how much it had accepted then
	accepted       int
	begun          int               // how many messages takenBy had refused before
	refusing       bool              // takenBy had refused us before, and accepted nothing since
	failing        bool              // the same, or takenBy had failed in another way
	refusedBy      []*dropPointState // have refused the message in this turn: it is for the others
	takenBy        *dropPointState   // while it is in flight
	afterTurn      bool              // it was taken after the end of the turn
}

func (it *item) domain() string { return it.To[strings.LastIndexByte(it.To, '@')+1:] }

// mayGoTo reports whether the drop point may be asked to accept the message.
func (it *item) mayGoTo(d *dropPointState) bool { return !slices.Contains(it.refusedBy, d) }

// countFor returns how many of the messages may go to the drop point.
func countFor(items []*item, d *dropPointState) (n int) {
	for _, it := range items {
		if it.mayGoTo(d) {
			n++
		}
	}
	return n
}

// takeFor removes the first of the messages that may go to the drop point. It returns nil if there
// is none.
func takeFor(items *[]*item, d *dropPointState) *item {
	for i, it := range *items {
		if it.mayGoTo(d) {
			*items = slices.Delete(*items, i, i+1)
			return it
		}
	}
	return nil
}

// domainItem is a message that waits for the rate limit of its domain.
type domainItem struct {
	*item
	askAgain time.Time
	allowed  time.Time // when the limit allows it, as far as known
}

// mayRead reports whether more messages may be read from the spool. It needs mu.
func (q *queue) mayRead() bool { return !q.allRead && len(q.domainLimited) < maxWaiting }

// mayReadFor reports whether the drop point may read more messages. One that refuses everything
// must not take the whole batch into memory. It needs mu.
func (q *queue) mayReadFor(d *dropPointState) bool {
	return q.mayRead() && len(q.retries)-countFor(q.retries, d) < maxWaiting
}

// nextItem removes a message for the drop point from where it waits, or reads one. Messages to be
// sent again come last, unless too many of them wait. It returns nil if there is none. It needs mu.
func (q *queue) nextItem(d *dropPointState, now time.Time) (*item, error) {
	if it := takeFor(&q.returned, d); it != nil {
		return it, nil
	}
	for i, it := range q.domainLimited {
		if !it.askAgain.After(now) && it.mayGoTo(d) {
			q.domainLimited = append(q.domainLimited[:i], q.domainLimited[i+1:]...)
			return it.item, nil
		}
	}
	if len(q.retries) < maxWaiting && q.mayReadFor(d) {
		if it, err := q.readItem(); it != nil || err != nil {
			return it, err
		}
	}
	return takeFor(&q.retries, d), nil
}

// readItem reads the next message whose recipient has no outcome. It needs mu.
func (q *queue) readItem() (*item, error) {
	for q.mayRead() && len(q.retries) < maxWaiting {
		m, err := q.batch.Next(q.takeBuffer())
		if errors.Is(err, io.EOF) {
			q.allRead = true
			q.broadcast()
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the spool: %w", err)
		}
		if tried := q.batch.Claim.Tried[m.Recipient]; !tried.Final && !tried.Deferred {
			q.read++
			q.allRead = q.read == q.open
			it := &item{Message: m, attempt: tried.Attempts + 1, uncertain: tried.Uncertain,
				refusals: tried.Refusals, breaks: tried.Breaks}
			if it.refusals+it.breaks == 0 {
				return it, nil
			}
			q.retries = append(q.retries, it)
			continue
		}
		q.buffers = append(q.buffers, m.Data)
	}
	return nil, nil
}

// forget takes back the memory of a message. It needs mu.
func (q *queue) forget(it *item) {
	q.buffers = append(q.buffers, it.Data[:0])
	it.Data = nil
}

// takeBuffer returns memory for a message, or nil. It needs mu.
func (q *queue) takeBuffer() []byte {
	if len(q.buffers) == 0 {
		return nil
	}
	last := len(q.buffers) - 1
	buf := q.buffers[last]
	q.buffers = q.buffers[:last]
	return buf
}

// waiting returns the number of messages that were read and wait: to be sent, for a limit, or for
// evidence of what their refusal means. It needs mu.
func (q *queue) waiting() int {
	n := len(q.returned) + len(q.retries) + len(q.domainLimited)
	for _, d := range q.dropPoints {
		n += len(d.doubts)
	}
	return n
}

// done records that a message has its answer. Its memory is reused.
func (q *queue) done(it *item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.forget(it)
	q.landed(it)
	if q.inFlight == 0 && q.allRead {
		q.broadcast()
	}
}

// putBack returns a message that was not sent after all.
func (q *queue) putBack(it *item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.landed(it)
	q.returned = append(q.returned, it)
	q.broadcast()
}

// retry returns a message that has to be sent again, after all others: if it cannot be sent, it
// must not stop them.
func (q *queue) retry(it *item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.landed(it)
	q.retries = append(q.retries, it)
	q.broadcast()
}

// unanswered returns the number of messages without an answer. It needs mu.
func (q *queue) unanswered() int {
	return q.open - q.read + q.waiting() + q.inFlight
}
