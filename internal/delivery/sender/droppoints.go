package sender

import (
	"slices"
	"time"

	"directmailer/internal/delivery/droppoint"
)

// breakLimit is how many messages in a row may break their connections before a drop point counts
// as unavailable. provenBreakLimit is that of a drop point that has accepted mail.
const breakLimit, provenBreakLimit = 3, 6

// dropPointState is what a batch has seen of one of its drop points. The queue's mu guards it.
type dropPointState struct {
	DropPoint
	connections    int   // that have not ended
	reserved       int   // messages that connections have reserved and not taken yet
	inFlight       int   // messages that connections have
	awaited        int   // of them, those that were in flight at the end of the turn
	accepted       int   // messages that it has accepted
	answered       int   // other answers that show that it works: bounces, and refusals for now
	refused        int   // answers that refuse us
	lastRefusal    error // the last of them
	broken         int   // messages that have broken their connections since the last answer
	doubts         []doubt
	connectionFail error // of a connection that has ended because of it
	failure        error // set: no connection takes another message
	hasSlowSlot    bool

	// of rate limits of the mailing and the drop point
	askAgain   time.Time     // before it, the limits are not asked
	allowed    time.Time     // when they allow the next message, as far as known
	limitedFor time.Duration // how long they made the batch wait, in all
}

// proven reports whether the drop point has accepted mail of the mailing since it last failed.
func (d *dropPointState) proven() bool { return d.Proven || d.accepted > 0 }

// isUp reports whether connections of the drop point still take messages.
func (d *dropPointState) isUp() bool { return d.failure == nil && d.connections > 0 }

// limited records that a limit of the mailing or of the drop point does not allow a message now.
func (d *dropPointState) limited(now time.Time, w Wait) {
	d.askAgain, d.allowed = now.Add(w.AskAgain), now.Add(w.Total)
	d.limitedFor += w.AskAgain
}

// mayUse reports whether the batch may use the drop point. For a slow one it needs a slot, unless
// there is no faster one. It needs mu.
func (q *queue) mayUse(d *dropPointState) bool {
	if d.hasSlowSlot || d.Speed() != droppoint.Slow {
		return true
	}
	hasFaster := slices.ContainsFunc(q.dropPoints, func(o *dropPointState) bool {
		return o.isUp() && o.Speed() != droppoint.Slow
	})
	d.hasSlowSlot = hasFaster && d.AcquireSlowSlot()
	return d.hasSlowSlot || !hasFaster
}

// countAccepted counts a message that the drop point has accepted. What it had refused before the
// message was begun is now known to mean single recipients.
func (q *queue) countAccepted(d *dropPointState, it *item) {
	d.Evidence.accept(it.begun)
	q.mu.Lock()
	defer q.mu.Unlock()
	d.accepted++
	d.broken = 0
	d.doubts = slices.DeleteFunc(d.doubts, func(x doubt) bool {
		if since := d.Evidence.since(x.at); since.accepts && !since.refusesUs {
			q.conclude(d, x)
			return true
		}
		return false
	})
}

// countAnswered counts another answer that shows that the drop point works.
func (q *queue) countAnswered(d *dropPointState) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d.answered++
	d.broken = 0
}

// connectionEnded records that a connection has ended, because of err if it is not nil. With the
// last connection, the drop point has failed.
func (q *queue) connectionEnded(d *dropPointState, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d.connections--
	if err != nil {
		d.connectionFail = err
		if d.connections == 0 && d.failure == nil {
			d.failure = err
		}
	}
	if d.connections == 0 {
		if d.hasSlowSlot {
			d.hasSlowSlot = false
			d.ReleaseSlowSlot()
		}
		q.broadcast()
	}
}
