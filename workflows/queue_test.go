package workflows

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// newQueue returns the queue of a frozen list.
func newQueue(batches int) *batchQueue {
	q := &batchQueue{batchSize: 500}
	q.start(batches)
	return q
}

// renderAll renders batches until the queue has no room or none is left.
func (q *batchQueue) renderAll() (batches []int) {
	for q.roomToRender() {
		batch, ok := q.startRender()
		if !ok {
			break
		}
		batches = append(batches, batch)
		q.endRender(batch, nil)
	}
	return batches
}

// sendAll takes every batch that may be sent.
func (q *batchQueue) sendAll() (batches []int) {
	for q.roomToSend() {
		batches = append(batches, q.startSend())
	}
	return batches
}

// end gives the answer of a batch that sendAll has taken.
func (q *batchQueue) end(batch int, out SentBatch, now time.Time) {
	q.sending--
	q.endSend(batch, out, 1, now)
}

func TestEachBatchIsRenderedAndSentOnceInTheOrderOfTheList(t *testing.T) {
	t.Parallel()
	q := newQueue(3)
	rendered, sent := q.renderAll(), q.sendAll()
	if !slices.Equal(rendered, []int{1, 2, 3}) || !slices.Equal(sent, rendered) {
		t.Errorf("rendered %v, sent %v", rendered, sent)
	}
	if q.left() != 0 || q.inFlight() != 3 || q.nothingToSend() {
		t.Errorf("left %d, in flight %d", q.left(), q.inFlight())
	}
	for batch := range 3 {
		q.end(batch+1, SentBatch{Closed: true}, epoch)
	}
	if q.left() != 0 || q.inFlight() != 0 || !q.nothingToSend() {
		t.Errorf("after the end: left %d, in flight %d", q.left(), q.inFlight())
	}
}

func TestRenderingStaysAheadOfSendingByABoundedNumberOfBatches(t *testing.T) {
	t.Parallel()
	q := newQueue(1000)
	if got := len(q.renderAll()); got != renderAhead {
		t.Errorf("%d batches are rendered ahead", got)
	}
	for _, pages := range []bool{false, true} {
		q, atOnce := newQueue(1000), 0
		q.pages = pages
		for q.roomToRender() {
			q.startRender()
			atOnce++
		}
		if want := map[bool]int{false: maxRendering, true: maxRenderingPages}[pages]; atOnce != want {
			t.Errorf("pages %v: %d batches are rendered at a time, want %d", pages, atOnce, want)
		}
	}
}

// A server that defers every recipient must not get the whole list.
func TestNoNewBatchIsRenderedWhileTooManyRecipientsWait(t *testing.T) {
	t.Parallel()
	for name, fill := range map[string]func(q *batchQueue){
		"deferred recipients":   func(q *batchQueue) { q.Deferred = maxDeferred },
		"recipients of batches": func(q *batchQueue) { q.batchSize, q.Paced = maxDeferred, make([]PacedBatch, 1) },
		"paced batches":         func(q *batchQueue) { q.batchSize, q.Paced = 1, make([]PacedBatch, maxPaced) },
	} {
		q := newQueue(5)
		fill(q)
		if batch, ok := q.startRender(); ok {
			t.Errorf("%s: batch %d is rendered", name, batch)
		}
		q.rerender(4)
		if batch, ok := q.startRender(); !ok || batch != 4 {
			t.Errorf("%s: batch 4, which is begun, is not rendered again", name)
		}
	}
}

func TestABatchThatIsNotRenderedOrSentStaysInTheQueue(t *testing.T) {
	t.Parallel()
	q := newQueue(2)
	batch, _ := q.startRender()
	q.endRender(batch, errors.New("the database is away"))
	if got := q.renderAll(); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("rendered %v", got)
	}
	q.sendAll()
	q.sending = 0
	q.sendLast(1)
	q.sendNext(2)
	if got := q.sendAll(); !slices.Equal(got, []int{2, 1}) {
		t.Errorf("batches are sent in the order %v: the one that was handed back comes first", got)
	}
	if n := q.rerender(1); n != 1 || q.rerender(1) != 2 {
		t.Error("renderings of one batch are not counted")
	}
}

func TestABatchThatIsNotClosedIsSentOnWhenItsRateLimitAllows(t *testing.T) {
	t.Parallel()
	q := newQueue(3)
	q.renderAll()
	q.sendAll()
	q.end(1, SentBatch{}, epoch)                                  // its turn is over
	q.end(2, SentBatch{NotBefore: epoch.Add(time.Minute)}, epoch) // the limit of a domain
	q.end(3, SentBatch{Closed: true, Deferred: 2, NextRound: epoch.Add(time.Hour)}, epoch)
	q.releasePaced(epoch.Add(59 * time.Second))
	if got := q.sendAll(); !slices.Equal(got, []int{1}) || q.waitsForRound() {
		t.Errorf("at first %v are sent on", got)
	}
	q.end(1, SentBatch{Closed: true}, epoch)
	if !q.waitsForRate() {
		t.Error("batch 2 does not wait")
	}
	q.releasePaced(epoch.Add(time.Minute))
	if got := q.sendAll(); !slices.Equal(got, []int{2}) {
		t.Errorf("then %v are sent on", got)
	}
	q.end(2, SentBatch{Closed: true}, epoch)
	if !q.waitsForRound() || q.left() != 2 {
		t.Errorf("two recipients wait for a later round: %+v", q.BatchProgress)
	}
}

// The limit of the whole mailing is reached: other batches would only be tried without success.
func TestABatchThatWaitsForTheMailingsLimitKeepsItsPlaceInTheWindow(t *testing.T) {
	t.Parallel()
	q := newQueue(100)
	q.window.Size = 3
	q.renderAll()
	taken := q.sendAll()
	for _, batch := range taken {
		q.sending--
		until := epoch.Add(time.Duration(batch) * time.Minute)
		q.Paced = append(q.Paced, PacedBatch{Batch: batch, NotBefore: until, LimitsAll: true})
	}
	q.releasePaced(epoch)
	if got := q.sendAll(); len(taken) != 3 || len(got) != 0 {
		t.Errorf("%v are sent instead of %v", got, taken)
	}
	q.window.Size = 2 // the batches that have waited go before its limit
	q.releasePaced(epoch.Add(time.Minute))
	if got := q.sendAll(); !slices.Equal(got, []int{1}) {
		t.Errorf("when batch 1 is due, %v are sent", got)
	}
	q.window.Size = 3
	q.retryPaced(epoch)
	q.releasePaced(epoch)
	if got := q.sendAll(); !slices.Equal(got, []int{2, 3}) {
		t.Errorf("under a new limit, %v are sent", got)
	}
}

func TestDeferredRecipientsAreGatheredWhenTheFirstIsDue(t *testing.T) {
	t.Parallel()
	q := newQueue(4)
	q.deferRecipients(3, epoch.Add(time.Hour))
	q.deferRecipients(2, epoch.Add(time.Minute))
	q.deferRecipients(0, epoch)
	if q.Deferred != 5 || q.mayGather(epoch.Add(59*time.Second)) || !q.mayGather(epoch.Add(time.Minute)) {
		t.Errorf("%+v", q.BatchProgress)
	}
	q.gathering = true
	if q.mayGather(epoch.Add(time.Hour)) || q.inFlight() != 1 {
		t.Error("two activities gather at a time")
	}
	q.deferRecipients(1, epoch.Add(time.Hour)) // while the activity runs
	q.gathering = false
	q.endGather(Gathered{Ready: []int{5}, Unrendered: []int{6}, Deferred: 3, NextRound: epoch.Add(time.Hour)}, 5, epoch)
	if q.Deferred != 4 || !q.NextRound.Equal(epoch) || q.known() != 6 || !slices.Equal(q.Ready, []int{5}) ||
		!slices.Equal(q.Redo, []int{6}) {
		t.Errorf("%+v", q.BatchProgress)
	}
	if got := q.name(5); got != "batch 5, of deferred recipients" {
		t.Error(got)
	}
}

// Each round takes rendered messages out of the waiting ones. So rounds do not fill the queue while
// its batches wait for a drop point.
func TestNoRoundIsGatheredWhileEnoughBatchesAreReady(t *testing.T) {
	t.Parallel()
	q := newQueue(100)
	q.renderAll()
	q.deferRecipients(1, epoch.Add(time.Minute))
	w := wakeUp{now: epoch}
	if q.wakeUps(&w, true); len(q.Ready) != q.ahead() || q.mayGather(epoch.Add(time.Minute)) || !w.first.IsZero() {
		t.Errorf("with %d batches that are ready, the queue gathers, or wakes at %s for it", len(q.Ready), w.first)
	}
	q.startSend()
	if q.wakeUps(&w, true); !q.mayGather(epoch.Add(time.Minute)) || !w.first.Equal(epoch.Add(time.Minute)) {
		t.Errorf("with %d batches that are ready, the queue does not gather, or wakes at %s", len(q.Ready), w.first)
	}
}

func TestBatchesThatCloseMailingFindsOpenAreRenderedAgain(t *testing.T) {
	t.Parallel()
	q := newQueue(2)
	q.renderAll()
	for _, batch := range q.sendAll() {
		q.end(batch, SentBatch{Closed: true}, epoch)
	}
	q.reopen([]int{2}, 7, epoch)
	if got := q.renderAll(); !slices.Equal(got, []int{2}) || q.Deferred != 7 || !q.mayGather(epoch) {
		t.Errorf("rendered %v, %+v", got, q.BatchProgress)
	}
}

func TestTheQueueWakesTheMailingForItsNextWork(t *testing.T) {
	t.Parallel()
	wakes := func(begins bool, change func(q *batchQueue)) time.Time {
		q, w := newQueue(0), wakeUp{now: epoch}
		change(q)
		q.wakeUps(&w, begins)
		return w.first
	}
	at := epoch.Add(time.Minute)
	deferred := func(q *batchQueue) { q.deferRecipients(1, at) }
	paced := func(q *batchQueue) { q.Paced = []PacedBatch{{NotBefore: at.Add(time.Hour)}, {NotBefore: at}} }
	silent := func(q *batchQueue) { q.Ready, q.sending, q.window.Answered = []int{1}, q.window.Size, at.Add(-silence) }
	for name, c := range map[string]struct {
		got  time.Time
		wake bool
	}{
		"deferred recipients":              {wakes(true, deferred), true},
		"deferred recipients, no database": {wakes(false, deferred), false},
		"a rate limit":                     {wakes(true, paced), true},
		"a rate limit, no database":        {wakes(false, paced), false},
		"a full window without an answer":  {wakes(false, silent), true},
		"nothing":                          {wakes(true, func(*batchQueue) {}), false},
	} {
		if c.wake != c.got.Equal(at) || !c.wake && !c.got.IsZero() {
			t.Errorf("%s: wakes at %s", name, c.got)
		}
	}
}
