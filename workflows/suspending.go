package workflows

import (
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"directmailer/workflows/policy"
)

// runStep runs an activity that the whole mailing waits for. When the attempts of a resource are
// used up, runStep suspends the mailing and runs the activity again with each probe, until the
// activity has an answer or an error of another kind.
func (m *mailing) runStep(ctx workflow.Context, retry Retry, run func(workflow.Context, Retry) error) error {
	before := m.state
	if m.suspension.Suspended != nil && m.suspension.inherited {
		m.suspension.inherited = false
		m.enter(ctx, StateSuspended)
		if err := m.suspension.awaitProbe(ctx); err != nil {
			return err
		}
		retry.Attempts = 1
	}
	for {
		err := run(ctx, retry)
		if temporal.IsTimeoutError(err) && !exhausted(err) {
			continue // no worker has taken the activity for days: no resource has failed
		}
		if !exhausted(err) {
			if m.suspension.Suspended != nil {
				m.suspension.end()
				m.enter(ctx, before)
			}
			return err
		}
		if ctx.Err() != nil && changed(ctx, changeCutShort) {
			return ctx.Err() // nobody waits for the resource any more
		}
		cause, _ := causeOf(err, m.in.Retry)
		if cause == CausePage {
			cause = CauseDatabase
		}
		if err := m.suspendOrFail(ctx, cause, errorText(err), retry.Interval); err != nil {
			return err
		}
		if hasLongHistory(ctx) {
			return m.continueAsNew(ctx)
		}
		if err := m.suspension.awaitProbe(ctx); err != nil {
			return err
		}
		retry.Attempts = 1
	}
}

// suspendOrFail suspends the mailing, or makes it fail if its on_exhausted says so: then the error
// is the reason. A mailing that was cancelled before, or has expired, ends as that. With an
// interval of 0, only an operator ends the suspension.
func (m *mailing) suspendOrFail(ctx workflow.Context, cause Cause, reason string, interval Duration) error {
	if m.in.OnExhausted == Fail {
		if !m.stopped() {
			m.failure = reason
		}
		return errors.New(reason)
	}
	m.suspension.begin(cause, reason, interval, workflow.Now(ctx))
	m.enter(ctx, m.suspension.state(m.paused != nil))
	return nil
}

// withoutDropPoints suspends a mailing that has no drop point left, or makes it fail.
func (m *mailing) withoutDropPoints(ctx workflow.Context) {
	_ = m.suspendOrFail(ctx, CauseDropPoints, m.points.failures(), m.in.Retry.DropPoint.Interval)
	m.suspension.setNextProbe(m.points.nextProbe())
}

// activityFailed suspends the mailing, or makes it fail, after an activity has used up its
// attempts. After a cancellation, or a timeout without a worker, the work only waits in the queue
// again.
func (m *mailing) activityFailed(ctx workflow.Context, err error) {
	probe := m.suspension.probing
	m.suspension.probing = false
	if typeOf(err) == policy.BatchTooLarge && m.failure == "" && !m.stopped() {
		m.failure = errorText(err) // the size of a batch cannot change any more
		return
	}
	if temporal.IsCanceledError(err) || m.failure != "" || !exhausted(err) || cutShort(ctx, err) {
		return
	}
	cause, interval := causeOf(err, m.in.Retry)
	if m.suspension.awaitsOperator() || m.suspension.isFor(CauseDropPoints) && m.points.inList() == 0 {
		// The present cause stays, because it stops more. The work fails again later if it must.
		m.suspension.BackoffUntil = workflow.Now(ctx).Add(time.Duration(interval))
		return
	}
	if m.suspension.isFor(cause) && !probe {
		return // it was in flight when the mailing was suspended, and is no probe that doubles the pause
	}
	_ = m.suspendOrFail(ctx, cause, errorText(err), interval)
}

const (
	// mostSampled is the number of recipients, from the first one on, after which a mailing without
	// any message is suspended. A shorter list counts as a whole.
	mostSampled = 100
	// leastSampled is the number of recipients below which a list is too short to tell a fault of
	// the content from faults of the data.
	leastSampled = 10
)

// renderSample returns how many of the first recipients must not all be without a message; 0 if
// that does not matter. anyway is true if an operator accepts it.
func renderSample(p Prepared, anyway bool) int {
	n := int(min(p.Recipients-p.OptedOut, mostSampled))
	if anyway || n < leastSampled {
		return 0
	}
	return n
}

// nothingRendered suspends a mailing whose first recipients all have no message, or makes it fail.
// Their batches are in the queue again and nobody is failed yet. An operator decides whether the
// mailing goes on.
func (m *mailing) nothingRendered(ctx workflow.Context, reason string) {
	m.suspension.probing = false
	// After a resume, the batch is rendered again without the check.
	if m.failure != "" || m.renderAnyway || m.suspension.awaitsOperator() {
		return
	}
	_ = m.suspendOrFail(ctx, CauseRendering, reason, 0)
	m.stopSends()
}

// poisoned suspends a mailing with a batch that kills workers, or makes it fail. The batch is in
// the queue again. After a resume it is tried as often as before.
func (m *mailing) poisoned(ctx workflow.Context, reason string) {
	m.suspension.probing = false
	if m.failure != "" || m.suspension.awaitsOperator() {
		return
	}
	_ = m.suspendOrFail(ctx, CausePoison, reason, 0)
	m.stopSends()
}

// causeOf returns what a mailing waits for after an activity has used up its attempts, and the time
// to the first probe.
func causeOf(err error, settings Retries) (Cause, Duration) {
	switch policy.SettingOf(typeOf(err)) {
	case policy.Page:
		return CausePage, settings.Page.Interval
	case policy.Bug:
		return CauseUnexpected, unexpectedInterval
	}
	return CauseDatabase, settings.Database.Interval
}

// recovered ends a suspension for one of the causes: an activity that needs it has succeeded.
func (m *mailing) recovered(ctx workflow.Context, causes ...Cause) {
	if m.suspension.isFor(causes...) {
		m.endSuspension(ctx)
	}
}

// endSuspension lets the mailing go on. If its last drop point has left the list during the
// suspension, the mailing is suspended for that instead.
func (m *mailing) endSuspension(ctx workflow.Context) {
	m.suspension.end()
	if m.points.inList() == 0 {
		m.withoutDropPoints(ctx)
		return
	}
	m.enter(ctx, m.suspension.state(m.paused != nil))
}
