package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"directmailer/workflows/policy"
)

// persist runs do, and again after each suspension, until it has an answer that is not about a resource that is away.
func (m *mailing) persist(ctx workflow.Context, retry Retry, do func(workflow.Context, Retry) error) error {
	before := m.State
	if m.Suspended != nil && m.continued { // the earlier run was waiting
		m.continued = false
		m.enter(ctx, StateSuspended)
		if err := m.waitForProbe(ctx); err != nil {
			return err
		}
		retry.Attempts = 1
	}
	for {
		err := do(ctx, retry)
		if temporal.IsTimeoutError(err) && !exhausted(err) {
			continue // no worker came for days: nobody's failure
		}
		if !exhausted(err) {
			if m.Suspended != nil {
				m.Suspended = nil
				m.enter(ctx, before)
			}
			return err
		}
		cause, _ := m.causeOf(err)
		if cause == CausePage {
			cause = CauseDatabase
		}
		if err := m.giveUp(ctx, cause, message(err), retry.Interval); err != nil {
			return err
		}
		if m.longHistory(ctx) {
			return m.continueAsNew(ctx)
		}
		if err := m.waitForProbe(ctx); err != nil {
			return err
		}
		retry.Attempts = 1
	}
}

// waitForProbe waits until the next probe of a suspended mailing is due, or somebody resumes it.
func (m *mailing) waitForProbe(ctx workflow.Context) error {
	wait := max(m.Suspended.Until.Sub(workflow.Now(ctx)), time.Millisecond)
	_, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{Timeout: wait, TimerOptions: workflow.TimerOptions{Summary: "suspended: next probe"}},
		func() bool { return m.resume })
	m.resume = false
	return err
}

// longestPause is the longest time between two probes of a suspended mailing.
const longestPause = 15 * time.Minute

// growing doubles a pause for each probe that was in vain, up to longestPause; it is never shorter than every.
func growing(every Duration, probes int) Duration {
	return max(min(every<<min(probes, 20), Duration(longestPause)), every)
}

// giveUp suspends the mailing, or ends it with an error where its on_exhausted says so. every is 0 if no probe can help.
func (m *mailing) giveUp(ctx workflow.Context, cause Cause, reason string, every Duration) error {
	if m.in.OnExhausted == Fail {
		m.gaveUp = reason
		return errors.New(reason)
	}
	now := workflow.Now(ctx)
	s := &Suspension{Cause: cause, Reason: reason, Since: now}
	if m.Suspended != nil && m.Suspended.Cause == cause {
		s.Since, s.Probes = m.Suspended.Since, m.Suspended.Probes+1
	} else {
		m.resume = false // it was about something else
	}
	if every > 0 {
		s.Every = growing(every, s.Probes)
		s.Until = now.Add(time.Duration(s.Every))
	}
	m.Suspended = s
	m.enter(ctx, m.standing())
	return nil
}

// standing is the state of a mailing whose list is frozen.
func (m *mailing) standing() State {
	switch {
	case m.Paused != nil:
		return StatePaused
	case m.Suspended != nil:
		return StateSuspended
	}
	return StateSending
}

// failed suspends or fails the mailing after an activity has used up its tries. A cancelled activity is no failure.
func (m *mailing) failed(ctx workflow.Context, err error) {
	m.probing = false
	if typeOf(err) == policy.BatchTooLarge && m.gaveUp == "" {
		m.gaveUp = message(err) // waiting does not help: the size of a batch cannot change any more
		return
	}
	if temporal.IsCanceledError(err) || m.gaveUp != "" || !exhausted(err) {
		return // cancelled, or a day went by without a worker: nobody's failure, and the work is queued again
	}
	cause, every := m.causeOf(err)
	if m.Suspended != nil && (m.Suspended.Cause == CauseErrors || m.Suspended.Cause == CauseDropPoints && !m.anyInList()) {
		m.HeldBack = workflow.Now(ctx).Add(time.Duration(every))
		return // the graver cause stays; the work is queued again, and tells of this one afterwards
	}
	_ = m.giveUp(ctx, cause, message(err), every)
}

// causeOf says what a mailing waits for after an activity has used up its tries, and how long it
// waits before its first probe.
func (m *mailing) causeOf(err error) (Cause, Duration) {
	switch policy.SettingOf(typeOf(err)) {
	case policy.Page:
		return CausePage, m.in.Retry.Page.Interval
	case policy.Bug:
		return CauseUnexpected, unexpectedEvery
	}
	return CauseDatabase, m.in.Retry.Database.Interval
}

// unexpectedEvery is the time to the first probe after a failure that nobody has foreseen.
const unexpectedEvery = Duration(30 * time.Second)

// recovered ends a suspension whose cause is gone: an activity that needs it has succeeded.
func (m *mailing) recovered(ctx workflow.Context, causes ...Cause) {
	if m.Suspended == nil {
		return
	}
	for _, cause := range causes {
		if m.Suspended.Cause == cause {
			m.lift(ctx)
			return
		}
	}
}

// lift ends a suspension. A mailing that has lost its last drop point meanwhile is suspended for that.
func (m *mailing) lift(ctx workflow.Context) {
	m.Suspended, m.probing, m.resume, m.HeldBack = nil, false, false, time.Time{}
	if m.anyInList() {
		m.enter(ctx, m.standing())
		return
	}
	m.withoutPoints(ctx)
}

// mayRender and maySend tell whether such an activity may start, given what the mailing waits for: none while paused, one to probe.
func (m *mailing) mayRender() bool { return m.may(CausePage) }
func (m *mailing) maySend() bool   { return m.may(CauseDropPoints) }

func (m *mailing) may(needs Cause) bool {
	switch {
	case m.Paused != nil, m.gaveUp != "":
		return false
	case m.Suspended == nil:
		return true
	}
	switch m.Suspended.Cause {
	case CauseErrors:
		return false
	case CauseDropPoints: // the drop points themselves say whether they can be used
		return true
	case CausePage:
		return needs != CausePage || m.probing && m.rendering == 0
	}
	return m.probing && m.inFlight() == 0
}

// probe lets one activity out when it is time.
func (m *mailing) probe(ctx workflow.Context) {
	s := m.Suspended
	if s == nil || m.probing || m.Paused != nil || s.Cause == CauseDropPoints || s.Cause == CauseErrors {
		return
	}
	idle := m.inFlight() == 0 || s.Cause == CausePage && m.rendering == 0
	if m.resume || idle && !s.Until.After(workflow.Now(ctx)) {
		m.probing = idle
		m.resume = m.resume && !idle
	}
}

// retries gives the mailing's settings to an activity; a probe has one try.
func (m *mailing) retries() Retries {
	r := m.in.Retry
	if m.probing {
		r.Database.Attempts, r.Page.Attempts = 1, 1
	}
	return r
}

// tally is what the error limit counts: answers that refuse us count as well, though no recipient is blamed.
func (m *mailing) tally() Tally {
	c := m.Counts
	errors := c.Bounced + c.Failed + m.Refused
	return Tally{Tried: c.Sent + c.Uncertain + errors, Errors: errors}
}

// checkErrors stops a mailing that goes wrong more often than it may.
func (m *mailing) checkErrors(ctx workflow.Context) {
	if m.in.MaxErrorPercent == 0 || m.gaveUp != "" || m.Suspended != nil && m.Suspended.Cause == CauseErrors {
		return
	}
	t := m.tally().less(m.Forgiven)
	if t.Tried < int64(m.in.ErrorMinimum) || t.Errors*100 <= t.Tried*int64(m.in.MaxErrorPercent) {
		return
	}
	c := m.Counts
	reason := fmt.Sprintf("the error limit is reached: %d of %d tried (%d bounced, %d failed, %d refusals of us), which is more than %d %%",
		t.Errors, t.Tried, c.Bounced, c.Failed, m.Refused, m.in.MaxErrorPercent)
	_ = m.giveUp(ctx, CauseErrors, reason, 0)
	m.stopSends()
}
