package sender

import "time"

// overdueAfter is how long a message may be in flight after the end of the turn before the other
// drop points go on with the batch.
const overdueAfter = time.Second

// silencePolling is the time between two looks at whether Temporal is still silent.
const silencePolling = 250 * time.Millisecond

// endTurn ends the turn. A worker keeps the batch until its messages in flight have their answers.
// A slow drop point may take ten minutes for one. So after a moment, the drop points that have
// answered all theirs send the rest of the batch, until the slow ones have answered too. They pause
// while Temporal is silent (Batch.Silent), because it may give the batch to another worker.
func (q *queue) endTurn() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.endTurnLocked(time.Now())
}

// endTurnLocked is endTurn for callers that have mu.
func (q *queue) endTurnLocked(now time.Time) {
	if q.turnOver {
		return
	}
	q.turnOver, q.turnEnd, q.awaited = true, now, q.inFlight
	for _, d := range q.dropPoints {
		d.awaited = d.inFlight
	}
	if q.awaited == 0 {
		q.stopAcquiring()
	}
	q.broadcast()
}

// turnAllows reports whether the drop point may take a message, as far as the turn decides it. If
// not, wait is how long to wait before the answer may be another, or zero if it stays. It needs mu.
func (q *queue) turnAllows(d *dropPointState, now time.Time) (allowed bool, wait time.Duration) {
	switch overdue := q.turnEnd.Add(overdueAfter); {
	case !q.turnOver:
		return true, 0
	case q.awaited == 0:
		return false, 0
	case overdue.After(now):
		return false, overdue.Sub(now)
	case d.awaited > 0:
		return false, 0
	case q.batch.Silent != nil && q.batch.Silent():
		return false, silencePolling
	}
	return true, 0
}

// landed counts a message that is no longer in flight. It needs mu.
func (q *queue) landed(it *item) {
	q.inFlight--
	it.takenBy.inFlight--
	if !q.turnOver || it.afterTurn {
		return
	}
	it.takenBy.awaited--
	if q.awaited--; q.awaited == 0 {
		q.stopAcquiring()
		q.broadcast()
	}
}
