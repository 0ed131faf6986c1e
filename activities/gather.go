package activities

import (
	"context"
	"errors"
	"io"
	"time"

	"go.temporal.io/sdk/activity"

	"directmailer/internal/delivery/spool"
	"directmailer/internal/ledger"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// maxLinger limits how long deferred recipients that are due wait for others to fill a batch.
const maxLinger = 10 * time.Minute

// GatherDeferred makes batches of the deferred recipients that are due, with the messages that were
// rendered for them. After a lost answer, it returns the batches that it has made.
func (a *Activities) GatherDeferred(ctx context.Context, call workflows.GatherCall) (workflows.Gathered, error) {
	w, retry := work{policy.GatherDeferred, call.Mailing}, workflows.Retries{Database: call.Retry}
	return timedSlots(ctx, a.slots.steps, w, retry, func(ctx context.Context) (workflows.Gathered, error) {
		m, err := a.mailing(ctx, call.Mailing)
		if err != nil {
			return workflows.Gathered{}, err
		}
		linger := min(time.Duration(call.Deferral.First)/4, maxLinger)
		g, err := a.ledger.Gather(ctx, m.Key, ledger.Gathering{
			Known: call.Known, Size: call.BatchSize, Linger: linger, Pack: pack,
			Asked: activity.GetInfo(ctx).ScheduledTime, // by Temporal's clock, as the workflow's timers
		})
		return workflows.Gathered(g), err
	})
}

// pack copies the messages of the recipients from the blobs into one blob. It returns nil if a
// message is missing or a blob is damaged: the messages must be rendered again. It returns
// ledger.ErrTooLarge if they do not fit into one.
func pack(recipients []int32, blobs [][]byte) ([]byte, error) {
	wanted := make(map[int32]bool, len(recipients))
	for _, r := range recipients {
		wanted[r] = true
	}
	encoder, err := spool.NewEncoder()
	if err != nil {
		return nil, err
	}
	reader, err := spool.NewReader()
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	var e spool.Entry
	for _, blob := range blobs {
		err := reader.Reset(blob)
		for err == nil {
			if err = reader.Next(&e); err != nil {
				break
			}
			if !wanted[e.Recipient] {
				continue
			}
			delete(wanted, e.Recipient)
			switch err := encoder.Add(&e); {
			case errors.Is(err, spool.ErrTooLarge):
				return nil, ledger.ErrTooLarge
			case err != nil:
				return nil, err
			}
		}
		switch {
		case errors.Is(err, spool.ErrDamaged):
			return nil, nil
		case !errors.Is(err, io.EOF):
			return nil, err
		}
	}
	if len(wanted) > 0 {
		return nil, nil
	}
	return encoder.Finish()
}
