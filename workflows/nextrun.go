package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"
)

const (
	// longHistory is the number of events at which a run continues as new. It is less than Temporal
	// suggests (4,096 events), so that the activities in flight fit into the history.
	longHistory = 3500
	// longestHistory is the number of events at which a run waits for its activities however long
	// they take: Temporal ends a run at 51,200 events.
	longestHistory = 20_000
	// drainFor is how long a run waits for its activities before it goes on for workFor instead.
	// The answer to one final dot may take ten minutes, and the rest of the mailing must not wait
	// for it.
	drainFor, workFor = 15 * time.Second, time.Minute
)

// hasLongHistory reports whether the run should continue as new.
func hasLongHistory(ctx workflow.Context) bool {
	info := workflow.GetInfo(ctx)
	return info.GetContinueAsNewSuggested() || info.GetCurrentHistoryLength() > longHistory
}

// rollover decides when a run with a long history waits for its activities, so that it can continue
// as new, and when it goes on because they take too long.
type rollover struct {
	draining time.Time // when the run stopped starting activities; zero if it starts them
	working  time.Time // until when the run goes on, after it could not continue as new
}

// drains reports whether a run with a history of so many events starts nothing, in order to
// continue as new as soon as nothing is in flight.
func (r *rollover) drains(now time.Time, inFlight, events int) bool {
	switch {
	case events > longestHistory:
		*r = rollover{draining: now.Add(-drainFor)} // no timer is needed: only answers are waited for
		return true
	case r.working.After(now):
		return false
	case r.draining.IsZero():
		*r = rollover{draining: now}
	}
	if inFlight == 0 || now.Sub(r.draining) < drainFor {
		return true
	}
	*r = rollover{working: now.Add(workFor)}
	return false
}

// wakeUps tells w when the run has to decide again.
func (r *rollover) wakeUps(w *wakeUp) {
	at := r.working
	if !r.draining.IsZero() {
		at = r.draining.Add(drainFor)
	}
	w.at(at, "the history is long: the next run waits for what is in flight")
}

// progress returns what the next run needs. If an operator has just asked for a probe, it is due in
// the next run.
func (m *mailing) progress() Progress {
	points, waits := m.points.all, m.suspension.SuspensionProgress
	if m.suspension.resumed && waits.Suspended != nil {
		suspended := *waits.Suspended
		suspended.Until = suspended.Since
		points, waits.Suspended = m.points.probedAtOnce(), &suspended
	}
	return Progress{
		Step: m.step, Ending: m.ending, State: m.state, Prepared: m.prepared, Pages: m.queue.pages,
		DropPoints: points, BatchProgress: m.queue.BatchProgress, OutcomeProgress: m.outcomes.OutcomeProgress,
		Window: m.queue.window, Paused: m.paused, RenderAnyway: m.renderAnyway,
		SuspensionProgress: waits,
	}
}

// continueAsNew returns the error that starts the next run.
func (m *mailing) continueAsNew(ctx workflow.Context) error {
	next, err := m.sealed(ctx)
	if err != nil {
		return err
	}
	return workflow.NewContinueAsNewError(ctx, workflow.GetInfo(ctx).WorkflowType.Name, next)
}
