package workflows

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"directmailer/workflows/policy"
)

// longestLook is the longest time between two looks at a drop point that has left the list.
const longestLook = 15 * time.Minute

// usable returns the drop points that a batch may be sent through now: those in the list that do not rest after a failure; of those on
// trial only what has no batch.
func (m *mailing) usable(ctx workflow.Context) []UsedPoint {
	now := workflow.Now(ctx)
	var out []UsedPoint
	for i := range m.DropPoints {
		p := &m.DropPoints[i]
		if p.InList && !p.Until.After(now) {
			if !p.OnTrial || !m.trials[p.Name] {
				out = append(out, UsedPoint{Name: p.Name, Proven: p.Proven})
			}
		}
	}
	return out
}

// reported takes up how the drop points of a batch did.
func (m *mailing) reported(ctx workflow.Context, reports []PointReport) {
	for _, r := range reports {
		p := m.point(r.Name)
		switch {
		case p == nil:
		case r.Failure != "":
			m.pointFailed(ctx, p, r.Failure)
		case r.Accepted > 0:
			p.Failures, p.Looks, p.OnTrial, p.Proven = 0, 0, false, true
			m.recovered(ctx, CauseDropPoints)
		}
	}
}

func (m *mailing) point(name string) *DropPointStatus {
	for i := range m.DropPoints {
		if m.DropPoints[i].Name == name {
			return &m.DropPoints[i]
		}
	}
	return nil
}

// pointFailed lets a drop point rest while others do its work; after its attempts it leaves the list.
func (m *mailing) pointFailed(ctx workflow.Context, p *DropPointStatus, failure string) {
	p.LastFailure = failure
	now := workflow.Now(ctx)
	if !p.InList || p.Until.After(now) {
		return // known already: that of a batch which began earlier
	}
	if p.Failures++; p.OnTrial || p.Failures >= m.in.Retry.DropPoint.Attempts {
		m.leaveList(ctx, p)
		return
	}
	p.Until = now.Add(time.Duration(m.in.Retry.DropPoint.Interval))
}

// leaveList takes a drop point off the list; it is looked at until it is back. The last one's loss suspends or fails the mailing.
func (m *mailing) leaveList(ctx workflow.Context, p *DropPointStatus) {
	p.InList, p.OnTrial = false, false
	p.Until = workflow.Now(ctx).Add(m.nextLook(p))
	left := 0
	for _, other := range m.DropPoints {
		if other.InList {
			left++
		}
	}
	m.log.Warn("drop point left the mailing's list", "drop_point", p.Name, "left", left)
	if left == 0 && (m.Suspended == nil || m.Suspended.Cause != CauseErrors) {
		m.withoutPoints(ctx)
	}
}

func (m *mailing) anyInList() bool {
	return slices.ContainsFunc(m.DropPoints, func(p DropPointStatus) bool { return p.InList })
}

// withoutPoints suspends or fails a mailing that has no drop point left.
func (m *mailing) withoutPoints(ctx workflow.Context) {
	_ = m.giveUp(ctx, CauseDropPoints, m.failures(), m.in.Retry.DropPoint.Interval)
	m.suspendedUntilNextLook()
}

// failures are those of all drop points, in words.
func (m *mailing) failures() string {
	var failures []string
	for _, p := range m.DropPoints {
		switch {
		case p.LastFailure == "":
		case p.InList && p.Failures > 0:
			failures = append(failures, fmt.Sprintf("%s (attempt %d of %d)", p.LastFailure, p.Failures, m.in.Retry.DropPoint.Attempts))
		default:
			failures = append(failures, p.LastFailure)
		}
	}
	return joined(failures, "; ")
}

// pointsRestUntil is when the first drop point is tried again, if none can be used now; zero if one can.
func (m *mailing) pointsRestUntil() (until time.Time) {
	for _, p := range m.DropPoints {
		switch {
		case !p.InList:
		case p.Until.IsZero():
			return time.Time{}
		case until.IsZero() || p.Until.Before(until):
			until = p.Until
		}
	}
	return until
}

// suspendedUntilNextLook says when a mailing that has no drop point left goes on by itself, at the earliest.
func (m *mailing) suspendedUntilNextLook() {
	s := m.Suspended
	if s == nil || s.Cause != CauseDropPoints {
		return
	}
	s.Until = time.Time{}
	for _, p := range m.DropPoints {
		if !p.InList && (s.Until.IsZero() || p.Until.Before(s.Until)) {
			s.Until = p.Until
		}
	}
}

// nextLook is the time to the next look: it doubles, also over trials that failed, until the drop point has accepted mail.
func (m *mailing) nextLook(p *DropPointStatus) time.Duration {
	every := time.Duration(m.in.Retry.DropPoint.Interval)
	pause := every << min(p.Looks, 20)
	p.Looks++
	return max(min(pause, longestLook), every)
}

// allFailed takes up how the drop points of a batch did, none of which could be used.
func (m *mailing) allFailed(ctx workflow.Context, err error) {
	var app *temporal.ApplicationError
	var out SentBatch
	if errors.As(err, &app) && app.HasDetails() {
		_ = app.Details(&out)
	}
	m.Refused += int64(out.Refused)
	if len(out.Points) > 0 {
		m.reported(ctx, out.Points)
		return
	}
	for i := range m.DropPoints { // no worker that was asked has any of them
		if p := &m.DropPoints[i]; p.InList {
			m.pointFailed(ctx, p, message(err))
		}
	}
}

// lookAtPoints checks those that have left the list, when it is time: without a message, until they can be used again.
func (m *mailing) lookAtPoints(ctx workflow.Context) {
	now := workflow.Now(ctx)
	for i := range m.DropPoints {
		p := &m.DropPoints[i]
		if p.InList && !p.Until.After(now) {
			p.Until = time.Time{} // it has rested
		}
		if p.InList || m.checks[p.Name] || p.Until.After(now) && !m.resume {
			continue
		}
		m.checks[p.Name] = true
		workflow.Go(ctx, func(ctx workflow.Context) { m.lookAt(ctx, p.Name) })
	}
	if m.Suspended != nil && m.Suspended.Cause == CauseDropPoints {
		m.resume = false
		if m.nothingToSend() && m.anyInList() {
			m.recovered(ctx, CauseDropPoints) // nothing is left that would prove it: the mailing waits for later rounds
		}
	}
}

func (m *mailing) lookAt(ctx workflow.Context, name string) {
	var out Checked
	err := m.execute(ctx, policy.CheckDropPoint, fmt.Sprintf("look whether drop point %s is back", name), CheckCall{DropPoint: name}, &out)
	delete(m.checks, name)
	m.waking = true
	p := m.point(name)
	switch {
	case err == nil && out.Usable:
		p.InList, p.OnTrial, p.Until = true, true, time.Time{}
		m.log.Info("drop point is back, on trial", "drop_point", name)
	case err == nil:
		p.LastFailure = out.Failure
		fallthrough
	default:
		p.Until = workflow.Now(ctx).Add(m.nextLook(p))
		m.suspendedUntilNextLook()
	}
}
