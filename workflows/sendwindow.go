package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"
)

const (
	// firstWindow is the size of the window before any worker has answered.
	firstWindow = 16
	// leastPerWorker is the number of batches that each worker needs: one that is being sent, and
	// the next one near its end. perWorker limits the window by the number of workers: where
	// batches are small and servers fast, more batches are on their way to and from Temporal.
	leastPerWorker, perWorker = 2, 4
	// maxWindow limits the window for any number of workers: Temporal accepts 2,000 activities of a
	// workflow in flight.
	maxWindow = 500
	// workerGone is how long a worker counts after its last answer.
	workerGone = 2 * time.Minute
	// perSlowPoint is the number of batches of each worker that may wait for a slow drop point
	// while others use the other drop points.
	perSlowPoint = 2
	// silence is how long the window waits for an answer, longer than a turn, before it grows by
	// one batch: the batches in flight may wait for answers of servers that take minutes.
	silence = 15 * time.Second
)

// SendWindow limits the SendBatch activities of a mailing that are in flight, over all workers. It
// follows the number of workers that answer. It shrinks when workers hand batches over because
// their connections are busy, and when rate limits delay the mailing: more batches would then only
// take slots from other mailings.
type SendWindow struct {
	Size int `json:"size"`
	// Workers holds the time of each worker's last answer.
	Workers map[string]time.Time `json:"workers,omitempty"`
	// Answered is the time of the last answer, or of the last growth because there was none.
	Answered time.Time `json:"answered,omitzero"`
}

// answered applies the answer of a batch, given the number of the mailing's drop points.
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
	case out.NotBefore.After(now):
		w.Size = max(w.Size-1, 1)
	case out.Limited:
		w.Size = max(w.Size-1, 2)
	case w.Size > largest, out.HandedOver > 0 && w.Size > smallest:
		w.Size--
	case w.Size < largest && out.HandedOver == 0:
		w.Size++
	}
}

// quiet makes room for one more batch if none was answered for a while. It returns when to call it
// again.
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
