package activities

import (
	"context"
	"time"

	"directmailer/internal/ledger"
	"directmailer/workflows/policy"
)

// endTimeout bounds the statement that ends an attempt to render, also after the attempt was
// cancelled.
const endTimeout = 5 * time.Second

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
	if rendered, err = a.ledger.BeginRendering(ctx, batch); err != nil || rendered {
		release()
		return nil, rendered, err
	}
	return func(stored bool) {
		defer release()
		if stored {
			return
		}
		alive, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer cancel()
		// Without the database the attempt counts as one that has killed its worker.
		_ = a.ledger.EndRendering(alive, batch)
	}, false, nil
}
