package sender

import (
	"errors"
	"slices"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/delivery/smtp"
	"directmailer/internal/ledger"
)

// fewInARow is the number of refusals in a row, since the last acceptance, up to which a clear
// refusal at the end of a batch is believed.
const fewInARow = 2

// lastRefusals is the number of refusals of a recipient after which a drop point that has accepted
// others before does not fail because of it: no other recipient may be left to prove it by. An
// answer that does not say whom it means then means the recipient, whatever was seen between.
const lastRefusals = 3

// doubt is a refusal for good of which it is not known yet whether it means the recipient or us.
// The ledger has the attempt as "not sent", with the server's answer: after a crash, the recipient
// is sent to again. docs/refusals.md has the table of what becomes of a doubt.
type doubt struct {
	it     *item
	result *ledger.Result
	kind   droppoint.Outcome // Bounced, Unclear or Refused
	at     moment
}

// mayBeWrong reports whether another attempt is better than a verdict when the drop point accepts
// mail to others: it had refused us or failed when the message was begun, or its answer does not
// say whom it means. Two such answers mean the recipient if others were accepted between them. If
// nobody saw that, both may be of the same used-up quota.
func (x doubt) mayBeWrong() bool {
	return x.at.refusing || x.it.failing ||
		x.kind == droppoint.Unclear && !x.it.othersAccepted && x.it.refusals < lastRefusals
}

// confirmed returns what a refusal means when the drop point accepts mail to others.
func (x doubt) confirmed() ledger.Status {
	if x.kind == droppoint.Refused {
		return ledger.Refused
	}
	return ledger.Bounced
}

// judge decides about a message that the drop point has refused for good, and whose attempt is in
// the ledger. If the drop point has shown by it that it refuses us, all messages in doubt are open
// again, for other drop points or another turn. The refusal is counted with mu held: no connection
// takes another message between the count and the end of the drop point.
func (q *queue) judge(d *dropPointState, x doubt, r refusal) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var refusesUs error
	x.at, refusesUs = d.Evidence.refuse(r)
	q.landed(x.it)
	if x.kind == droppoint.Refused {
		d.refused++
	}
	x.at.refusing = x.at.refusing || x.it.refusing
	if x.kind != droppoint.Bounced || x.at.refusing {
		d.lastRefusal = &RefusedError{r.err, smtp.Quote(r.words)}
	}
	if refusesUs != nil && d.failure == nil {
		d.failure = refusesUs
	}
	since := d.Evidence.since(x.at)
	switch {
	case d.refusesUs():
		for _, other := range d.doubts {
			q.reopen(d, other)
		}
		d.doubts = nil
		q.reopen(d, x)
	case since.accepts && !since.refusesUs: // while the attempt was written
		q.conclude(d, x)
	case x.kind != droppoint.Bounced && q.hasElsewhere(x.it, d):
		q.reopen(d, x)
	default:
		d.doubts = append(d.doubts, x)
	}
	q.broadcast()
}

// refusesUs reports whether the drop point was given up because it refuses us. It needs mu.
func (d *dropPointState) refusesUs() bool {
	var refused *RefusedError
	return errors.As(d.failure, &refused)
}

// reopen makes a message that the drop point has refused wait for another drop point or another
// turn. It needs mu.
func (q *queue) reopen(d *dropPointState, x doubt) {
	if x.kind != droppoint.Refused {
		d.refused++
	}
	x.it.refusedBy = append(x.it.refusedBy, d)
	q.retries = append(q.retries, x.it)
}

// conclude ends a doubt after the drop point has accepted another message. It needs mu.
func (q *queue) conclude(d *dropPointState, x doubt) {
	if x.mayBeWrong() {
		x.it.othersAccepted = !x.at.refusing && !x.it.failing
		q.retries = append(q.retries, x.it)
		q.broadcast()
		return
	}
	q.resolve(d, x, x.confirmed())
}

// resolve ends a doubt: the recipient is bounced, or waits for a later round. It needs mu.
func (q *queue) resolve(d *dropPointState, x doubt, status ledger.Status) {
	r := *x.result
	r.Status, r.Final = status, status == ledger.Bounced
	q.settled = append(q.settled, &r)
	if r.Final {
		d.answered++
	} else if x.kind != droppoint.Refused {
		d.refused++
	}
	q.forget(x.it)
}

// hasElsewhere reports whether another drop point may be asked to accept the message. It needs mu.
func (q *queue) hasElsewhere(it *item, d *dropPointState) bool {
	return slices.ContainsFunc(q.dropPoints, func(o *dropPointState) bool { return o != d && o.isUp() && it.mayGoTo(o) })
}

// elsewhere is hasElsewhere for callers without mu.
func (q *queue) elsewhere(it *item, d *dropPointState) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.hasElsewhere(it, d)
}

// othersAreDown reports whether another drop point has failed meanwhile and may take the message
// later.
func (q *queue) othersAreDown(it *item, d *dropPointState) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.ContainsFunc(q.dropPoints, func(o *dropPointState) bool { return o != d && !o.isUp() && it.mayGoTo(o) })
}

// isProven reports whether the drop point is known to accept our mail now.
func (q *queue) isProven(d *dropPointState) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return d.proven() && d.failure == nil
}

// settle decides about all messages that are still in doubt, after all connections have ended, and
// writes what refusals have turned out to mean. ended is false if the sending was stopped.
func (q *queue) settle(ended bool) error {
	q.mu.Lock()
	ended = ended && q.allRead && len(q.returned)+len(q.retries)+len(q.domainLimited) == 0
	for _, d := range q.dropPoints {
		open := 0
		for _, x := range d.doubts {
			if status := q.verdict(d, x, ended); status != "" {
				q.resolve(d, x, status)
			} else {
				open++
			}
		}
		if len(d.doubts) > 0 && open == 0 {
			d.lastRefusal = nil // it is no failure of the drop point
		}
		q.leftOpen += open
		d.doubts = nil
	}
	results := q.settled
	q.mu.Unlock()
	var tickets []*ledger.Ticket
	for _, r := range results {
		tickets = append(tickets, q.batch.Gate.Enter(q.batch.Claim, r, nil))
	}
	var first error
	for _, t := range tickets {
		if err := t.Wait(); first == nil {
			first = err
		}
	}
	return first
}

// verdict returns what becomes of a message that is in doubt at the end: bounced, refused (a later
// round), or nothing (it is open, and sent again in another turn). ended is true if the batch has
// no other message. It needs mu.
func (q *queue) verdict(d *dropPointState, x doubt, ended bool) ledger.Status {
	since := d.Evidence.since(x.at)
	switch {
	case since.refusesUs:
		return ""
	case since.accepts && x.mayBeWrong():
		return ""
	case since.accepts:
		return x.confirmed()
	case !ended:
		return ""
	case x.kind == droppoint.Bounced && !x.at.refusing:
		oneDomain := since.inARow >= sameRefusals && !since.severalDomains
		if x.it.refusals > 1 || d.proven() && since.inARow <= fewInARow || oneDomain {
			return ledger.Bounced
		}
		q.soon = append(q.soon, x.it.Recipient)
		return ledger.Refused
	case !d.proven() && d.HasAccepted && x.it.refusals >= lastRefusals:
		return ledger.Refused
	case !d.proven():
		return ""
	case x.kind == droppoint.Unclear && x.it.refusals > 2:
		return ledger.Bounced
	}
	return ledger.Refused
}
