package activities

import (
	"context"
	"errors"
	"time"

	"directmailer/internal/ledger"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// checkFor bounds the look at a drop point: a server that does not answer in that time is of no use yet.
const checkFor = 2 * time.Minute

// CheckDropPoint goes as far with a drop point as one can without sending a message. That it cannot be used is an answer, no error.
func (a *Activities) CheckDropPoint(ctx context.Context, call workflows.CheckCall) (workflows.Checked, error) {
	return attempt(ctx, workflows.Retries{}, func(ctx context.Context) (workflows.Checked, error) {
		point, ok := a.dropPoints.Get(call.DropPoint)
		if !ok {
			if earlier(ctx).Absent < mostAbsent {
				return workflows.Checked{}, fail(policy.NoDropPoint, "this worker has no drop point named %s: another is asked", call.DropPoint)
			}
			return workflows.Checked{Failure: "no worker that was asked has a drop point named " + call.DropPoint}, nil
		}
		limited, cancel := context.WithTimeout(ctx, checkFor)
		defer cancel()
		if err := point.Check(limited).Err; err != nil {
			return workflows.Checked{Failure: pointFailure(call.DropPoint, err)}, ctx.Err()
		}
		return workflows.Checked{Usable: true}, nil
	})
}

// ResolveUncertain decides about the recipients that are held as uncertain. Repeated after a lost answer, it finds nobody any more, and
// answers with what is left: the workflow's own counts are set right when the ledger is closed.
func (a *Activities) ResolveUncertain(ctx context.Context, call workflows.ResolveCall) (workflows.Resolved, error) {
	return attempt(ctx, workflows.Retries{Database: call.Retry}, func(ctx context.Context) (workflows.Resolved, error) {
		m, err := a.mailing(ctx, call.Mailing)
		if err != nil {
			return workflows.Resolved{}, err
		}
		n, err := a.ledger.Resolve(ctx, m.Key, ledger.Resolution(call.As.As))
		if errors.Is(err, ledger.ErrEnded) {
			return workflows.Resolved{}, fail(policy.InvalidInput, "the mailing has ended: nobody is sent to again")
		}
		if err != nil {
			return workflows.Resolved{}, err
		}
		return workflows.Resolved{Recipients: n}, nil
	})
}
