package activities

import (
	"context"
	"errors"

	"directmailer/internal/mailings"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// CloseMailing reconciles the ledger row by row and ends the mailing. A mailing is not completed
// while any recipient has no outcome: then the answer lists its open batches, or counts its
// deferred recipients. After the end, CloseMailing returns the same answer again.
func (a *Activities) CloseMailing(ctx context.Context, call workflows.CloseCall) (workflows.Closing, error) {
	w, retry := work{policy.CloseMailing, call.Mailing}, workflows.Retries{Database: call.Retry}
	return timedSlots(ctx, a.slots.steps, w, retry, func(ctx context.Context) (workflows.Closing, error) {
		m, err := a.mailings.Get(ctx, call.Mailing)
		if errors.Is(err, mailings.ErrNotFound) || err == nil && m.FirstRunID != call.FirstRunID {
			// The mailing was cancelled before its ID was reserved: it has no ledger.
			result := workflows.Result{ID: call.Mailing, State: call.State, Reason: call.Reason}
			return workflows.Closing{Result: result}, nil
		}
		if err != nil {
			return workflows.Closing{}, err
		}
		complete := call.State == workflows.StateCompleted
		end, err := a.ledger.Close(ctx, m.Key, complete, string(call.State), call.Reason)
		if err != nil || len(end.Open) > 0 || end.Deferred > 0 {
			return workflows.Closing{Open: end.Open, Deferred: end.Deferred}, err
		}
		if err := a.events.Reconsider(ctx, m.Key, m.ID); err != nil {
			return workflows.Closing{}, err
		}
		if err := a.pacer.DropMailing(ctx, m.Key); err != nil {
			return workflows.Closing{}, err
		}
		if m, err = a.mailings.Get(ctx, call.Mailing); err != nil {
			return workflows.Closing{}, err
		}
		var withheld []workflows.WithheldSuppression
		for _, w := range end.Suppression.Withheld {
			withheld = append(withheld, workflows.WithheldSuppression(w))
		}
		return workflows.Closing{Result: workflows.Result{
			Suppressed: end.Suppression.Suppressed, Withheld: withheld,
			ID: m.ID, State: workflows.State(m.State), Reason: m.Reason,
			Members: m.Members, Duplicates: m.Duplicates, Rejected: m.Rejected, Recipients: m.Recipients,
			Counts: end.Counts, Batches: m.Batches,
		}}, nil
	})
}
