package activities

import (
	"context"
	"errors"

	"directmailer/activities/policy"
	"directmailer/internal/mailings"
	"directmailer/workflows"
)

// PrepareList freezes the mailing's list into recipients and batches, in one transaction. Repeated, it answers what is there. The answer
// of a query is kept as a list of the mailing's own until it is frozen.
func (a *Activities) PrepareList(ctx context.Context, call workflows.PrepareCall) (workflows.Prepared, error) {
	return attempt(ctx, workflows.Retries{Database: call.Retry, List: call.Retry}, func(ctx context.Context) (workflows.Prepared, error) {
		m, err := a.mailing(ctx, call.Mailing)
		if err != nil {
			return workflows.Prepared{}, err
		}
		in, err := decodeInput(m)
		if err != nil {
			return workflows.Prepared{}, err
		}
		if in.Query != nil && m.PreparedAt == nil {
			if err := a.importQuery(ctx, m.ID, *in.Query); err != nil {
				return workflows.Prepared{}, err
			}
		}
		f, err := a.mailings.Freeze(ctx, m.ID, in.BatchSize)
		if err == nil && in.Query != nil {
			err = a.dropAnswer(ctx, m.ID)
		}
		switch {
		case errors.Is(err, mailings.ErrNoList) && in.Query != nil: // dropped by somebody since: it is made anew
			return workflows.Prepared{}, fail(policy.Unexpected, "the query's answer is gone before it was frozen")
		case errors.Is(err, mailings.ErrNoList):
			return workflows.Prepared{}, fail(policy.ListUnusable, "no list is named %q", m.List)
		case errors.Is(err, mailings.ErrEmptyList):
			return workflows.Prepared{}, fail(policy.ListUnusable, "the list %q is empty", m.List)
		case err != nil:
			return workflows.Prepared{}, err
		}
		return workflows.Prepared{Members: f.Members, Duplicates: f.Duplicates, Recipients: f.Recipients, OptedOut: f.OptedOut, Batches: f.Batches}, nil
	})
}
