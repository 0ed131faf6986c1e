package activities

import (
	"context"
	"errors"
	"time"

	"directmailer/internal/ledger"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// checkTimeout limits the check of a drop point. It is longer than the time a server has for its
// greeting, so a check finds out what a batch would.
const checkTimeout = 6 * time.Minute

// CheckDropPoint does everything with a drop point that is possible without sending a message. A
// drop point that cannot be used is an answer, not an error.
func (a *Activities) CheckDropPoint(ctx context.Context, call workflows.CheckCall) (workflows.Checked, error) {
	w := work{policy.CheckDropPoint, call.DropPoint}
	return timedSlots(ctx, a.slots.steps, w, workflows.Retries{}, func(ctx context.Context) (workflows.Checked, error) {
		point, ok := a.dropPoints.Get(call.DropPoint)
		if !ok {
			if previousCounts(ctx).Absent < maxAbsent {
				return workflows.Checked{}, failf(policy.NoDropPoint,
					"this worker has no drop point named %s: the check goes to another worker", call.DropPoint)
			}
			return workflows.Checked{Failure: "no worker that was asked has a drop point named " + call.DropPoint}, nil
		}
		limited, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		if err := point.Check(limited).Err; err != nil {
			return workflows.Checked{Failure: pointFailure(call.DropPoint, err)}, ctx.Err()
		}
		return workflows.Checked{Usable: true}, nil
	})
}

// ResolveUncertain resolves the uncertain recipients of a mailing. After a lost answer, it finds
// none and returns 0: the closing of the ledger corrects the counts of the workflow.
func (a *Activities) ResolveUncertain(ctx context.Context, call workflows.ResolveCall) (workflows.Resolved, error) {
	w, retry := work{policy.ResolveUncertain, call.Mailing}, workflows.Retries{Database: call.Retry}
	return timedSlots(ctx, a.slots.steps, w, retry, func(ctx context.Context) (workflows.Resolved, error) {
		m, err := a.mailing(ctx, call.Mailing)
		if err != nil {
			return workflows.Resolved{}, err
		}
		n, err := a.ledger.Resolve(ctx, m.Key, ledger.Resolution(call.As.As))
		if errors.Is(err, ledger.ErrEnded) {
			return workflows.Resolved{}, failf(policy.InvalidInput,
				"the mailing has ended: its recipients cannot be resolved")
		}
		if err != nil {
			return workflows.Resolved{}, err
		}
		return workflows.Resolved{Recipients: n}, nil
	})
}
