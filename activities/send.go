package activities

import (
	"context"
	"errors"

	"go.temporal.io/sdk/activity"

	"directmailer/activities/policy"
	"directmailer/internal/droppoint"
	"directmailer/internal/ledger"
	"directmailer/internal/sender"
	"directmailer/internal/spool"
	"directmailer/workflows"
)

// SendBatch sends what is open of a batch through one drop point and closes the batch when every recipient has an outcome. Repeated
// after a crash at any point, it claims the batch anew: whoever had it before is fenced off, and what is uncertain is known by name.
func (a *Activities) SendBatch(ctx context.Context, call workflows.SendCall) (workflows.SentBatch, error) {
	return attempt(ctx, call.Retry, func(ctx context.Context) (workflows.SentBatch, error) {
		point, ok := a.dropPoints.Get(call.DropPoints[0].Name)
		if !ok {
			return workflows.SentBatch{}, fail(policy.DropPointUnavailable, "this worker has no drop point named %q", call.DropPoints[0].Name)
		}
		m, err := a.mailing(ctx, call.Mailing)
		if err != nil {
			return workflows.SentBatch{}, err
		}
		hold := call.OnUncertain == workflows.Hold
		claim, err := a.ledger.Claim(ctx, ledger.Batch{Mailing: m.Key, Number: int32(call.Batch)}, hold)
		if err != nil {
			return workflows.SentBatch{}, err
		}
		if claim.Closed { // an earlier attempt closed it, and its answer was lost
			return workflows.SentBatch{Closed: true, Counts: workflows.Counts(claim.Counts)}, nil
		}
		messages, err := a.shelf.Reader()
		if err != nil {
			return workflows.SentBatch{}, err
		}
		defer a.shelf.KeepReader(messages)
		if err := messages.Reset(claim.Messages); err != nil {
			return workflows.SentBatch{}, err
		}
		err = sender.Send(ctx, sender.Batch{
			Claim: claim, Gate: a.gate, Point: point, Hold: hold, Proven: call.DropPoints[0].Proven,
			Next: func() (sender.Message, error) { return nextMessage(messages, m.ID) },
			Stop: activity.GetWorkerStopChannel(ctx),
		})
		if err != nil {
			return workflows.SentBatch{}, sendFailure(call.DropPoints[0].Name, err)
		}
		settled, err := a.ledger.Settle(ctx, claim, call.LastRound)
		if err != nil {
			return workflows.SentBatch{}, err
		}
		return workflows.SentBatch{Closed: settled.Closed, Counts: workflows.Counts(settled.Counts), Deferred: settled.Open}, nil
	})
}

func nextMessage(messages *spool.Reader, mailing string) (sender.Message, error) {
	var e spool.Entry // fresh room: lanes keep the message while others are read
	if err := messages.Next(&e); err != nil {
		return sender.Message{}, err
	}
	return sender.Message{Recipient: e.Recipient, Message: droppoint.Message{
		From: e.From, To: e.To, Name: fileName(mailing, e.Recipient), UTF8: e.UTF8,
		Data: e.Data}}, nil
}

// sendFailure gives an error of package sender its type; those of the ledger and the database have theirs already.
func sendFailure(point string, err error) error {
	var refuses *sender.Refuses
	var unavailable *sender.Unavailable
	switch {
	case errors.As(err, &refuses):
		return fail(policy.DropPointRefuses, "drop point %s refuses us: %v", point, refuses.Cause)
	case errors.As(err, &unavailable):
		return fail(policy.DropPointUnavailable, "drop point %s: %v", point, unavailable.Cause)
	case errors.Is(err, sender.ErrStopped):
		return fail(policy.WorkerStopping, "%v", sender.ErrStopped)
	}
	return err
}
