package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"
)

const (
	// firstWindow is where the window begins, before any worker has answered.
	firstWindow = 16
	// leastPerWorker is what each worker needs: a batch that is sent, and the next when its end is
	// near. perWorker bounds the window by the number of workers: more batches are on the way to
	// and from Temporal where batches are small and servers quick.
	leastPerWorker, perWorker = 2, 4
	// maxWindow bounds the window however many workers there are: Temporal takes 2,000 activities
	// of a workflow that are in flight.
	maxWindow = 500
	// workerGone is how long a worker counts that answers no more.
	workerGone = 2 * time.Minute
	// perSlowPoint is how many batches of each worker may wait for a slow drop point while others
	// go through the other drop points.
	perSlowPoint = 2
	// silence is how long no batch is answered, though turns are shorter, before one more may
	// start: those that are out may wait for answers that take minutes.
	silence = 15 * time.Second
)

// SendWindow is how many SendBatch activities of a mailing may be in flight, over all workers. Each
// worker that answers has room for some; the window shrinks when workers hand batches over because
// their connections are busy, and when rate limits hold the mailing back: more batches would then
// only take the place of other mailings'.
type SendWindow struct {
	Size int `json:"size"`
	// Workers holds when each worker answered last.
	Workers map[string]time.Time `json:"workers,omitempty"`
	// Answered is when the last batch was answered, or when the window was made larger because none was.
	Answered time.Time `json:"answered,omitzero"`
}

// answered takes up the answer of a batch that could go through so many drop points.
func (w *SendWindow) answered(out SentBatch, points int, now time.Time) {
	w.Answered = now
	if out.Worker != "" {
		if w.Workers == nil {
			w.Workers = map[string]time.Time{}
		}
		w.Workers[out.Worker] = now
	}
	for _, worker := range workflow.DeterministicKeys(w.Workers) {
		if now.Sub(w.Workers[worker]) > workerGone {
			delete(w.Workers, worker)
		}
	}
	workers := max(len(w.Workers), 1)
	waiting := perSlowPoint * max(points-1, 0)
	smallest, largest := (leastPerWorker+waiting)*workers+1, min((perWorker+waiting)*workers+2, maxWindow)
	switch {
	case out.NotBefore.After(now): // for longer than the way of another batch to a worker
		w.Size = max(w.Size-1, 1)
	case out.Limited:
		w.Size = max(w.Size-1, 2)
	case w.Size > largest, out.HandedOver > 0 && w.Size > smallest:
		w.Size--
	case w.Size < largest && out.HandedOver == 0:
		w.Size++
	}
}

// quiet makes room for one more batch if none was answered for a while. It returns when to ask again.
func (w *SendWindow) quiet(now time.Time) (next time.Time) {
	switch {
	case w.Answered.IsZero():
		w.Answered = now
	case now.Sub(w.Answered) >= silence:
		w.Size = min(w.Size+1, maxWindow)
		w.Answered = now
	}
	return w.Answered.Add(silence)
}
