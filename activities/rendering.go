package activities

import (
	"context"
	"sync"
	"time"

	"directmailer/internal/database"
	"directmailer/internal/ledger"
	"directmailer/workflows/policy"
)

const (
	// endTimeout bounds the statement that ends an attempt to render.
	endTimeout = 5 * time.Second
	// endPause is the time between two tries to write the ends of attempts that are kept.
	endPause = 500 * time.Millisecond
)

// beginRendering counts an attempt to render a batch. end ends it; storing the messages has done so
// already. rendered is true if there is nothing left to render.
//
// A worker renders one batch at a time of those that may have killed a worker. Otherwise, a batch
// that kills workers would bring all batches under suspicion that are rendered beside it. Each of
// the others has a slot while it waits. So it does not wait for long, and is offered again later.
func (a *Activities) beginRendering(
	ctx context.Context, batch ledger.Batch, span ledger.Span,
) (end func(stored bool), rendered bool, err error) {
	release := func() {}
	if span.Begun > 0 {
		patience := time.NewTimer(a.slots.renders.patience)
		defer patience.Stop()
		select {
		case a.suspects <- struct{}{}:
			release = func() { <-a.suspects }
		case <-patience.C:
			return nil, false, failf(policy.SlotsTaken,
				"this worker renders another batch that may have killed a worker: the batch is offered again")
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
	rendered, counted, err := a.ledger.BeginRendering(ctx, batch)
	if err != nil || rendered {
		if counted {
			a.ends.add(batch)
		}
		release()
		return nil, rendered, err
	}
	return func(stored bool) {
		defer release()
		if !stored {
			a.ends.add(batch)
		}
	}, false, nil
}

// renderingEnds are the ends of attempts to render that have stored nothing. Without its end, an
// attempt counts as one that has killed its worker. So while the database is unavailable, the ends
// are kept and written later. It is safe for concurrent use.
type renderingEnds struct {
	end func(context.Context, ledger.Batch) error // writes one

	mu     sync.Mutex
	kept   []ledger.Batch // one entry for each end that could not be written
	timed  bool           // writeInTime will run
	closed bool

	writing sync.Mutex // held by who writes the ends that are kept
}

// add writes the end of an attempt, or keeps it.
func (e *renderingEnds) add(batch ledger.Batch) {
	if e.write(context.Background(), batch) == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kept = append(e.kept, batch)
	if !e.timed && !e.closed {
		e.timed = true
		time.AfterFunc(endPause, e.writeInTime)
	}
}

// write writes an end, also after its attempt was cancelled. If the answer of the database is lost,
// an end may be written twice. Then the death of a worker is not counted. That blames nobody. It
// returns an error if the end is worth another try.
func (e *renderingEnds) write(ctx context.Context, batch ledger.Batch) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	if err := e.end(ctx, batch); database.Unavailable(err) {
		return err
	}
	return nil
}

// writeKept writes the ends that are kept, up to the first that cannot be written. It returns how
// many are left.
func (e *renderingEnds) writeKept(ctx context.Context) (left int) {
	e.writing.Lock()
	defer e.writing.Unlock()
	for {
		e.mu.Lock()
		kept := e.kept
		e.mu.Unlock()
		if len(kept) == 0 || e.write(ctx, kept[0]) != nil {
			return len(kept)
		}
		e.mu.Lock()
		e.kept = e.kept[1:]
		e.mu.Unlock()
	}
}

// writeInTime writes the ends that are kept, and runs again while any are left.
func (e *renderingEnds) writeInTime() {
	e.writeKept(context.Background())
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.timed = len(e.kept) > 0 && !e.closed; e.timed {
		time.AfterFunc(endPause, e.writeInTime)
	}
}

// close tries once more to write the ends that are kept. It returns how many it could not write.
func (e *renderingEnds) close(ctx context.Context) (unwritten int) {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	return e.writeKept(ctx)
}
