package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"
)

const (
	// longHistory is where a run gives way to the next: below what Temporal suggests (4,096
	// events), so that what is in flight fits in.
	longHistory = 3500
	// longestHistory is where it does so whatever it has to wait for: Temporal ends a run at 51,200 events.
	longestHistory = 20_000
	// leaveWithin is how long a run waits for what is in flight before it goes on instead, for
	// stayFor: the answer to one final dot may take ten minutes, and the rest of the mailing must
	// not wait for it.
	leaveWithin, stayFor = 15 * time.Second, time.Minute
)

// leaving is how far a run is with giving way to the next.
type leaving struct {
	since time.Time // when it stopped starting anything; zero while it does not leave
	stay  time.Time // until when it goes on, after it could not leave
}

// next is when to look again; zero if nothing is waited for.
func (l leaving) next() time.Time {
	if !l.since.IsZero() {
		return l.since.Add(leaveWithin)
	}
	return l.stay
}

// longHistory tells whether the history is so long that the next run should go on.
func (m *mailing) longHistory(ctx workflow.Context) bool {
	info := workflow.GetInfo(ctx)
	return info.GetContinueAsNewSuggested() || info.GetCurrentHistoryLength() > longHistory
}

// leaves reports whether the run ends now so that the next run goes on. While it does, nothing new
// starts, and batches in flight are handed back.
func (m *mailing) leaves(ctx workflow.Context) bool {
	return m.longHistory(ctx) && m.leaving.leaves(workflow.Now(ctx), m.inFlight(), workflow.GetInfo(ctx).GetCurrentHistoryLength())
}

// leaves reports whether a run with a long history, of the given number of events, ends now so that
// the next run goes on.
func (l *leaving) leaves(now time.Time, inFlight, events int) bool {
	switch {
	case events > longestHistory:
		*l = leaving{since: now.Add(-leaveWithin)} // nothing to wake for but the answers
		return true
	case l.stay.After(now):
		return false
	case l.since.IsZero():
		*l = leaving{since: now}
	}
	if inFlight == 0 || now.Sub(l.since) < leaveWithin {
		return true
	}
	*l = leaving{stay: now.Add(stayFor)}
	return false
}

func (m *mailing) continueAsNew(ctx workflow.Context) error {
	if err := m.handlersFinished(ctx); err != nil {
		return err
	}
	next := m.in
	progress := m.Progress
	next.Resume = &progress
	return workflow.NewContinueAsNewError(ctx, Mailing, next)
}
