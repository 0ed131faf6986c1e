package activities

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"directmailer/internal/audience/recipients"
	"directmailer/internal/mailings"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// PrepareList freezes the mailing's audience into recipients and batches in one transaction: its
// list, the result of its query, or recipients of an earlier mailing. If the audience is frozen
// already, PrepareList returns the same answer.
func (a *Activities) PrepareList(ctx context.Context, call workflows.PrepareCall) (workflows.Prepared, error) {
	retry := workflows.Retries{Database: call.Retry, List: call.Retry}
	w := work{policy.PrepareList, call.Mailing}
	return timedSlots(ctx, a.slots.prepares, w, retry, func(ctx context.Context) (workflows.Prepared, error) {
		m, err := a.mailing(ctx, call.Mailing)
		if err != nil {
			return workflows.Prepared{}, err
		}
		if m.PreparedAt != nil { // by an attempt whose answer was lost
			return asPrepared(m.Frozen()), nil
		}
		in, err := decodeInput(m)
		if err != nil {
			return workflows.Prepared{}, err
		}
		f, err := a.freeze(ctx, m, in)
		switch {
		case errors.Is(err, recipients.ErrNoList):
			return workflows.Prepared{}, failf(policy.ListUnusable, "no list is named %q", m.List)
		case errors.Is(err, recipients.ErrNoTest):
			return workflows.Prepared{}, failf(policy.ListUnusable, "%v: start it with `starter test`", recipients.ErrNoTest)
		case errors.Is(err, recipients.ErrEmptyList):
			return workflows.Prepared{}, failf(policy.ListUnusable, "the list %q is empty", m.List)
		case notContinuable(in, err) != "":
			return workflows.Prepared{}, failf(policy.ListUnusable, "%s", notContinuable(in, err))
		case err != nil:
			return workflows.Prepared{}, err
		}
		return asPrepared(f), nil
	})
}

func asPrepared(f mailings.Frozen) workflows.Prepared {
	return workflows.Prepared{
		Members: f.Members, Duplicates: f.Duplicates, Rejected: f.Rejected,
		Recipients: f.Recipients, OptedOut: f.OptedOut, Batches: f.Batches,
	}
}

// freeze freezes the audience of a mailing.
func (a *Activities) freeze(ctx context.Context, m mailings.Mailing, in workflows.Input) (mailings.Frozen, error) {
	switch {
	case in.Test:
		return a.recipients.FreezeTest(ctx, m.ID, in.BatchSize)
	case in.Continue != nil:
		return a.recipients.Continue(ctx, m.ID, in.Continue.Mailing, in.Continue.Outcomes, in.BatchSize)
	case in.Query != nil:
		return a.freezeQuery(ctx, m.ID, in)
	}
	return a.recipients.Freeze(ctx, m.ID, in.BatchSize)
}

// notContinuable returns why an earlier mailing cannot be continued; empty if err is another error.
func notContinuable(in workflows.Input, err error) string {
	switch c := in.Continue; {
	case errors.Is(err, recipients.ErrNoEarlier):
		return fmt.Sprintf("there is no mailing %s to continue", c.Mailing)
	case errors.Is(err, recipients.ErrNotEnded):
		return fmt.Sprintf("mailing %s has not ended: only a mailing that has ended can be continued", c.Mailing)
	case errors.Is(err, recipients.ErrNobodyLeft):
		return fmt.Sprintf("mailing %s has no recipient with the outcome %s: there is nothing to continue",
			c.Mailing, strings.Join(c.Outcomes, " or "))
	}
	return ""
}
