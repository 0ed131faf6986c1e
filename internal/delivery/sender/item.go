package sender

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// item is a message on its way.
type item struct {
	Message
	attempt   int32           // number of the next attempt
	uncertain int             // attempts without an answer: the next one is possibly the second mail
	refusedBy *dropPointState // has refused the message, and gets it again only when it has accepted others
	takenBy   *dropPointState // while it is in flight
	afterTurn bool            // it was taken after the end of the turn
}

func (it *item) domain() string { return it.To[strings.LastIndexByte(it.To, '@')+1:] }

// mayGoTo reports whether the drop point may be asked to accept the message.
func (it *item) mayGoTo(d *dropPointState) bool { return it.refusedBy != d || d.proven() }

// domainItem is a message that waits for the rate limit of its domain.
type domainItem struct {
	*item
	askAgain time.Time
	allowed  time.Time // when the limit allows it, as far as known
}

// mayRead reports whether more messages may be read from the spool. It needs mu.
func (q *queue) mayRead() bool { return !q.allRead && len(q.domainLimited) < maxDomainLimited }

// nextItem removes a message for the drop point from where it waits, or reads one. It returns nil
// if there is none. It needs mu.
func (q *queue) nextItem(d *dropPointState, now time.Time) (*item, error) {
	for i := len(q.returned) - 1; i >= 0; i-- {
		if it := q.returned[i]; it.mayGoTo(d) {
			q.returned = append(q.returned[:i], q.returned[i+1:]...)
			return it, nil
		}
	}
	for i, it := range q.domainLimited {
		if !it.askAgain.After(now) && it.mayGoTo(d) {
			q.domainLimited = append(q.domainLimited[:i], q.domainLimited[i+1:]...)
			return it.item, nil
		}
	}
	return q.readItem()
}

// readItem reads the next message whose recipient has no outcome. It needs mu.
func (q *queue) readItem() (*item, error) {
	for q.mayRead() {
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
			return &item{Message: m, attempt: tried.Attempts + 1, uncertain: tried.Uncertain}, nil
		}
		q.buffers = append(q.buffers, m.Data)
	}
	return nil, nil
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
