package workflows

import (
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"
)

// maxAsked is the longest pause that a page server can ask for.
const maxAsked = time.Hour

// pauses returns how long an activity may wait between its attempts in all, if each resource fails
// as often as it may. The settings may not be checked yet.
func (r Retries) pauses() (all time.Duration) {
	add := func(setting Retry, least time.Duration) {
		pause := min(max(time.Duration(setting.Interval), least), maxInterval)
		all += time.Duration(min(max(setting.Attempts, 0), maxAttempts)) * pause
	}
	add(r.List, 0)
	add(r.Database, 0)
	add(r.Page, maxAsked)
	return all
}

// maxBackoff is the longest time between two probes of a suspended mailing, and between two probes
// of a drop point that has left the list, unless the retry interval is longer.
const maxBackoff = 15 * time.Minute

// backoff returns the pause after n attempts without success: interval, doubled n times, up to
// maxBackoff. The pause is never shorter than interval.
func backoff(interval Duration, n int) time.Duration {
	first := time.Duration(interval)
	return max(min(first<<min(n, 20), maxBackoff), first)
}

// suspension decides what a mailing may do while something that it needs is unavailable, and when
// one activity is started as a probe. The mailing is not suspended while Suspended is nil.
type suspension struct {
	SuspensionProgress
	inherited bool // the previous run was suspended, and this run has started no activity yet
	probing   bool // one activity is allowed, to find out whether the cause is gone
	resumed   bool // an operator asks for a probe at once

	// probedPoints is true if the drop points out of the list were probed at once since an operator
	// has asked for it.
	probedPoints bool
}

// cause returns the cause of the suspension; empty if the mailing is not suspended.
func (s *suspension) cause() Cause {
	if s.Suspended == nil {
		return ""
	}
	return s.Suspended.Cause
}

// state returns the state of a mailing whose list is frozen. A mailing that is paused and suspended
// is shown as paused.
func (s *suspension) state(paused bool) State {
	switch {
	case paused:
		return StatePaused
	case s.Suspended != nil:
		return StateSuspended
	}
	return StateSending
}

// begin suspends the mailing. If it is suspended for the same cause already, begin counts a probe
// without success and doubles the pause before the next one. With an interval of 0, no probe is
// made: only an operator ends the suspension.
func (s *suspension) begin(cause Cause, reason string, interval Duration, now time.Time) {
	next := &Suspension{Cause: cause, Reason: reason, Since: now}
	if s.cause() == cause {
		next.Since, next.Probes = s.Suspended.Since, s.Suspended.Probes+1
	} else {
		s.resumed = false // the operator asked for a probe of another cause
	}
	if interval > 0 {
		next.Every = Duration(backoff(interval, next.Probes))
		next.Until = now.Add(time.Duration(next.Every))
	}
	s.Suspended = next
}

// setNextProbe sets when a mailing without drop points can go on at the earliest.
func (s *suspension) setNextProbe(at time.Time) {
	if s.isFor(CauseDropPoints) {
		s.Suspended.Until = at
	}
}

// end ends the suspension.
func (s *suspension) end() {
	*s = suspension{inherited: s.inherited}
}

// isFor reports whether the mailing is suspended for one of the causes.
func (s *suspension) isFor(causes ...Cause) bool {
	return s.Suspended != nil && slices.Contains(causes, s.Suspended.Cause)
}

// awaitsOperator reports whether only an operator ends the suspension.
func (s *suspension) awaitsOperator() bool { return s.isFor(CauseErrors, CauseRendering, CausePoison) }

// allows reports whether an activity that needs what cause names may start. Rendering and inFlight
// are the RenderBatch activities, and all activities, that are in flight.
func (s *suspension) allows(needs Cause, rendering, inFlight int) bool {
	switch s.cause() {
	case "":
		return true
	case CauseErrors, CauseRendering, CausePoison:
		return false
	case CauseDropPoints: // dropPoints decides which of them can be used
		return true
	case CausePage:
		return needs != CausePage || s.probing && rendering == 0
	}
	return s.probing && inFlight == 0
}

// probe allows one activity if a probe is due or an operator asks for one. It waits until the
// activities that need what is unavailable have ended.
func (s *suspension) probe(rendering, inFlight int, now time.Time) {
	if s.Suspended == nil || s.probing || s.awaitsOperator() || s.isFor(CauseDropPoints) {
		return
	}
	idle := inFlight == 0 || s.Suspended.Cause == CausePage && rendering == 0
	if s.resumed || idle && !s.Suspended.Until.After(now) {
		s.probing = idle
		s.resumed = s.resumed && !idle
	}
}

// askForProbe makes the next probe start at once.
func (s *suspension) askForProbe() {
	s.resumed, s.probedPoints, s.BackoffUntil = true, false, time.Time{}
}

// backsOff reports whether rendering, and new batches of deferred recipients, have to wait after a
// failure.
func (s *suspension) backsOff(now time.Time) bool { return s.BackoffUntil.After(now) }

// retries returns the retry settings for an activity. A probe has one attempt.
func (s *suspension) retries(r Retries) Retries {
	if s.probing {
		r.Database.Attempts, r.Page.Attempts = 1, 1
	}
	return r
}

// awaitProbe waits until the next probe is due or an operator asks for one.
func (s *suspension) awaitProbe(ctx workflow.Context) error {
	wait := max(s.Suspended.Until.Sub(workflow.Now(ctx)), time.Millisecond)
	timer := workflow.TimerOptions{Summary: "suspended: next probe"}
	_, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{Timeout: wait, TimerOptions: timer},
		func() bool { return s.resumed })
	s.resumed = false
	return err
}

// describe says in words what a suspended mailing does.
func (s *suspension) describe() string {
	switch {
	case s.Suspended == nil:
		return "goes on"
	case s.probing:
		return "tries again after: " + s.Suspended.Reason
	case s.awaitsOperator():
		return "waits to be resumed or cancelled, because " + s.Suspended.Reason
	}
	every, _ := s.Suspended.Every.MarshalText()
	if s.isFor(CausePage) {
		return "sends what is rendered, and probes every " + string(every) + ", because: " + s.Suspended.Reason
	}
	return "waits, and probes every " + string(every) + ", because: " + s.Suspended.Reason
}

// wakeUps tells w when the next probe is due.
func (s *suspension) wakeUps(w *wakeUp) {
	if s.Suspended != nil && !s.probing && !s.isFor(CauseDropPoints) {
		w.at(s.Suspended.Until, "suspended: next probe")
	}
	w.at(s.BackoffUntil, "render again after a failure")
}
