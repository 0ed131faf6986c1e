package workflows

import (
	"fmt"
	"time"
)

const (
	// renderAhead limits the batches that are rendered, or being rendered, and not yet being sent:
	// the size of the spool. A larger window raises the limit.
	renderAhead = 16
	// maxRendering limits the batches that are rendered at a time. maxRenderingPages is the limit
	// if a page is fetched for each recipient.
	maxRendering, maxRenderingPages = 8, 4
	// maxDeferred limits the recipients whose messages wait in the spool for a later round or for
	// the rate limit of a domain. Above it, no new batch of the list starts: a server that defers
	// every recipient does not get the whole list. maxPaced limits the batches that wait for a rate
	// limit, because they are part of what one run hands to the next.
	maxDeferred, maxPaced = 500_000, 1000
)

// batchQueue holds the batches of a mailing from the frozen list to the end of each batch, and
// decides which of them may start now. It reads no clock and starts no activity.
type batchQueue struct {
	BatchProgress
	window    SendWindow
	listed    int  // batches of the frozen list
	batchSize int  // recipients in a full batch
	pages     bool // a page is fetched for each recipient

	rendering, sending int  // RenderBatch and SendBatch activities in flight
	gathering          bool // a GatherDeferred activity is in flight

	// pacedFirst batches at the head of Ready have waited for a rate limit of the whole mailing.
	// pacedOut batches still wait for such a limit. Each keeps its place in the window, because any
	// other batch would wait as well.
	pacedFirst, pacedOut int
}

// start begins with the first batch of a frozen list.
func (q *batchQueue) start(batches int) {
	q.listed, q.NextRender, q.window.Size = batches, 1, firstWindow
}

// inFlight returns the number of activities in flight.
func (q *batchQueue) inFlight() int {
	if q.gathering {
		return q.rendering + q.sending + 1
	}
	return q.rendering + q.sending
}

// ahead limits the batches that are rendered, or being rendered, and not being sent.
func (q *batchQueue) ahead() int { return max(renderAhead, q.window.Size) }

// unbegun returns the number of batches of the list that were never rendered.
func (q *batchQueue) unbegun() int { return max(q.listed-q.NextRender+1, 0) }

// left returns 0 if everything is done or in flight.
func (q *batchQueue) left() int {
	return len(q.Ready) + len(q.Paced) + len(q.Redo) + q.Deferred + q.unbegun()
}

// nothingToSend reports whether no batch waits for rendering or sending, and none is in flight.
func (q *batchQueue) nothingToSend() bool {
	return q.left()-q.Deferred+q.rendering+q.sending == 0
}

// known returns the number of the last batch that the workflow knows.
func (q *batchQueue) known() int { return q.listed + q.Gathered }

// rendered returns the number of batches that have been rendered.
func (q *batchQueue) rendered() int {
	return max(q.NextRender-1+q.Gathered-q.rendering-len(q.Redo), 0)
}

// name returns the text by which the Web UI shows a batch.
func (q *batchQueue) name(batch int) string {
	if batch > q.listed {
		return fmt.Sprintf("batch %d, of deferred recipients", batch)
	}
	return fmt.Sprintf("batch %d of %d", batch, q.listed)
}

// roomToRender reports whether another RenderBatch activity may start.
func (q *batchQueue) roomToRender() bool {
	most := maxRendering
	if q.pages {
		most = maxRenderingPages
	}
	return q.rendering < most && q.rendering+len(q.Ready) < q.ahead()
}

// startRender takes the next batch to render out of the queue. It returns false if there is none,
// or if too many recipients are deferred or wait for a rate limit.
func (q *batchQueue) startRender() (batch int, ok bool) {
	waiting := q.Deferred + len(q.Paced)*q.batchSize
	switch {
	case len(q.Redo) > 0:
		batch, q.Redo = q.Redo[0], q.Redo[1:]
	case q.NextRender > q.listed || waiting >= maxDeferred || len(q.Paced) >= maxPaced:
		return 0, false
	default:
		batch = q.NextRender
		q.NextRender++
	}
	q.rendering++
	return batch, true
}

// endRender puts a batch back that RenderBatch has rendered, or has failed to render.
func (q *batchQueue) endRender(batch int, err error) {
	q.rendering--
	if err != nil {
		q.Redo = append(q.Redo, batch)
		return
	}
	q.Ready = append(q.Ready, batch)
}

// releasePaced makes the batches ready whose rate limit lets the next message go. Batches that have
// waited for a limit of the whole mailing come first.
func (q *batchQueue) releasePaced(now time.Time) {
	waiting := q.Paced[:0:0]
	var first []int
	q.pacedOut = 0
	for _, b := range q.Paced {
		switch {
		case b.NotBefore.After(now):
			waiting = append(waiting, b)
			if b.LimitsAll {
				q.pacedOut++
			}
		case b.LimitsAll:
			first = append(first, b.Batch)
		default:
			q.Ready = append(q.Ready, b.Batch)
		}
	}
	q.Paced = waiting
	q.Ready = append(first, q.Ready...)
	q.pacedFirst = len(first)
}

// retryPaced makes all batches that wait for a rate limit ready at a time: the limit has changed.
func (q *batchQueue) retryPaced(at time.Time) {
	for i := range q.Paced {
		q.Paced[i].NotBefore = at
	}
}

// windowIsFull reports whether a ready batch waits for the end of another.
func (q *batchQueue) windowIsFull() bool { return len(q.Ready) > 0 && q.sending >= q.window.Size }

// roomToSend reports whether a batch is ready and the window has room for it.
func (q *batchQueue) roomToSend() bool {
	return len(q.Ready) > 0 && q.sending < q.window.Size && (q.pacedFirst > 0 || q.sending+q.pacedOut < q.window.Size)
}

// startSend takes the next batch to send out of the queue. The queue must have a ready batch.
func (q *batchQueue) startSend() (batch int) {
	batch, q.Ready = q.Ready[0], q.Ready[1:]
	q.pacedFirst--
	q.sending++
	return batch
}

// endSend applies the answer of a SendBatch activity, whose batch could use so many drop points. A
// batch that is not closed goes back into the queue.
func (q *batchQueue) endSend(batch int, out SentBatch, points int, now time.Time) {
	q.window.answered(out, points, now)
	switch {
	case out.Closed:
		delete(q.Rerendered, batch)
		q.deferRecipients(out.Deferred, out.NextRound)
	case out.NotBefore.After(now):
		q.Paced = append(q.Paced, PacedBatch{batch, out.NotBefore, out.LimitsAll})
	default:
		q.Ready = append(q.Ready, batch)
	}
}

// sendNext puts a batch back that a worker has handed back: it is sent before the others.
func (q *batchQueue) sendNext(batch int) { q.Ready = append([]int{batch}, q.Ready...) }

// sendLast puts a batch back that failed: a probe tries another batch first.
func (q *batchQueue) sendLast(batch int) { q.Ready = append(q.Ready, batch) }

// sendLater puts a batch back whose worker had no connection: another worker may take it meanwhile.
func (q *batchQueue) sendLater(batch int, at time.Time) {
	q.Paced = append(q.Paced, PacedBatch{Batch: batch, NotBefore: at})
}

// rerender makes a batch be rendered again because its spool was lost or damaged. It returns how
// often that has happened to the batch.
func (q *batchQueue) rerender(batch int) int {
	q.Redo = append(q.Redo, batch)
	if q.Rerendered == nil {
		q.Rerendered = map[int]int{}
	}
	q.Rerendered[batch]++
	return q.Rerendered[batch]
}

// reopen makes batches be rendered and sent again, and sets the number of deferred recipients, as
// CloseMailing has counted them.
func (q *batchQueue) reopen(batches []int, deferred int, now time.Time) {
	q.Redo = append(q.Redo, batches...)
	q.Deferred, q.NextRound = deferred, now
}

// deferRecipients counts recipients that have left their batch for a later round, the first of them
// at next.
func (q *batchQueue) deferRecipients(n int, next time.Time) {
	if n == 0 {
		return
	}
	if q.Deferred == 0 || next.Before(q.NextRound) {
		q.NextRound = next
	}
	q.Deferred += n
}

// mayGather reports whether it is time to make new batches of deferred recipients.
func (q *batchQueue) mayGather(now time.Time) bool {
	return q.Deferred > 0 && !q.gathering && len(q.Ready) < q.ahead() && !q.NextRound.After(now)
}

// endGather applies the answer of a GatherDeferred activity. Before is the number of deferred
// recipients when the activity started.
func (q *batchQueue) endGather(out Gathered, before int, now time.Time) {
	q.Gathered += len(out.Ready) + len(out.Unrendered)
	q.Ready = append(q.Ready, out.Ready...)
	q.Redo = append(q.Redo, out.Unrendered...)
	// The answer may or may not include recipients that were deferred while the activity ran. They
	// may be counted twice until the next answer.
	during := q.Deferred - before
	q.Deferred, q.NextRound = out.Deferred, out.NextRound
	if during > 0 {
		q.deferRecipients(during, now)
	}
}

// waitsForRound reports whether everything waits for the next round.
func (q *batchQueue) waitsForRound() bool { return q.Deferred > 0 && q.nothingToSend() }

// waitsForRate reports whether every batch that may be sent waits for a rate limit.
func (q *batchQueue) waitsForRate() bool { return len(q.Paced) > 0 && len(q.Ready) == 0 }

// wakeUps tells w when the queue has something to start. Paced batches and deferred recipients
// count only with begins.
func (q *batchQueue) wakeUps(w *wakeUp, begins bool) {
	if q.windowIsFull() {
		w.at(q.window.Answered.Add(silence), "no batch was answered: one more may start")
	}
	if !begins {
		return
	}
	if q.Deferred > 0 && !q.gathering && len(q.Ready) < q.ahead() {
		w.at(q.NextRound, "next round for deferred recipients")
	}
	for _, b := range q.Paced {
		w.at(b.NotBefore, "rate limit")
	}
}
