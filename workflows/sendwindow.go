package workflows

import "time"

const (
	// firstWindow is where the window begins, before any worker has answered.
	firstWindow = 16
	// perWorker bounds the window by the number of workers: one batch that is sent, and those on the way to and from Temporal, which
	// are many where batches are small and servers quick.
	perWorker = 4
	// maxWindow bounds the window however many workers there are: Temporal takes 2,000 activities of a workflow that are in flight.
	maxWindow = 500
	// workerGone is how long a worker counts that answers no more.
	workerGone = 2 * time.Minute
)

// SendWindow is how many SendBatch activities of a mailing may be in flight, over all workers. Each worker that answers has room for some;
// the window shrinks when workers hand batches over because their connections are busy, and when rate limits hold the mailing back: more
// batches would then only take the place of other mailings'.
type SendWindow struct {
	Size int `json:"size"`
	// Workers holds when each worker answered last.
	Workers map[string]time.Time `json:"workers,omitempty"`
}

// answered takes up the answer of a batch.
func (w *SendWindow) answered(out SentBatch, now time.Time) {
	if out.Worker != "" {
		if w.Workers == nil {
			w.Workers = map[string]time.Time{}
		}
		w.Workers[out.Worker] = now
	}
	for worker, at := range w.Workers { // the order does not matter
		if now.Sub(at) > workerGone {
			delete(w.Workers, worker)
		}
	}
	workers := max(len(w.Workers), 1)
	smallest, largest := workers+1, min(perWorker*workers+2, maxWindow)
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
