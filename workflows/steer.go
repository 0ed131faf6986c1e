package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"directmailer/internal/audience/address"
	"directmailer/internal/delivery/rate"
	"directmailer/workflows/policy"
)

// handleUpdates makes the mailing answer operators. Each update is refused with a reason where it would mean nothing.
func (m *mailing) handleUpdates(ctx workflow.Context) error {
	update := func(name, description string, handler, validator any) error {
		return workflow.SetUpdateHandlerWithOptions(ctx, name, handler, workflow.UpdateHandlerOptions{Description: description, Validator: validator})
	}
	return errors.Join(
		update(PauseUpdate, "Hold the mailing: what is in flight is finished, the rest waits for a resume", m.pause, m.mayPause),
		update(ResumeUpdate, "Go on with a paused mailing, or try again at once instead of waiting for the next probe or for drop points that rest", m.goOn, m.mayGoOn),
		update(CancelUpdate, "End the mailing: what is in flight is finished, everybody else becomes unsent", m.cancel, m.mayCancel),
		update(RateUpdate, "Set the rate limit of the mailing, of a drop point or of a domain", m.setRate, m.maySetRate),
		update(ResolveUpdate, "Decide about recipients that are held as uncertain", m.resolve, m.mayResolve),
	)
}

func (m *mailing) over() error {
	if m.closing || m.State.Ended() {
		return errors.New("the mailing is over: there is nothing left to steer")
	}
	return nil
}

func (m *mailing) mayPause(workflow.Context) error {
	if m.Paused != nil {
		return errors.New("the mailing is paused already")
	}
	return m.over()
}

func (m *mailing) pause(ctx workflow.Context) (string, error) {
	m.Paused = &Pause{Since: workflow.Now(ctx)}
	m.waking = true
	if m.State != StateSending && m.State != StateSuspended {
		return "nothing will be sent until the mailing is resumed", nil
	}
	m.enter(ctx, StatePaused)
	return "paused: what is in flight is finished", nil
}

func (m *mailing) mayGoOn(workflow.Context) error {
	if m.Paused == nil && m.Suspended == nil && m.pointsRestUntil().IsZero() {
		return errors.New("the mailing is neither paused nor suspended: there is nothing to resume")
	}
	return nil
}

func (m *mailing) goOn(ctx workflow.Context) (string, error) {
	m.waking = true
	answer := "trying again"
	if m.Paused != nil {
		m.Paused = nil
		answer = "going on"
		if m.State == StatePaused {
			m.enter(ctx, m.standing())
		}
	}
	for i := range m.DropPoints {
		if p := &m.DropPoints[i]; p.InList {
			p.Until = time.Time{} // it has rested for long enough
		}
	}
	if m.Suspended != nil {
		m.resumes++
		m.Forgiven = m.tally()
		if m.Suspended.Cause == CauseErrors {
			m.lift(ctx)
		} else {
			m.resume, m.HeldBack = true, time.Time{}
		}
	}
	return answer, nil
}

func (m *mailing) mayCancel(workflow.Context) error {
	if m.cancelled {
		return errors.New("the mailing is being cancelled already")
	}
	return m.over()
}

func (m *mailing) cancel(workflow.Context) (string, error) {
	m.cancelled = true
	if m.stop != nil {
		m.stop()
	}
	return "cancelled: what is in flight is finished, everybody else becomes unsent", nil
}

func (m *mailing) maySetRate(_ workflow.Context, c RateChange) error {
	if err := m.over(); err != nil {
		return err
	}
	if !m.opened() {
		return errors.New("the mailing is being checked: come again in a moment")
	}
	if _, err := rate.Parse(string(c.Rate)); err != nil {
		return fmt.Errorf("rate: %w", err)
	}
	switch {
	case c.DropPoint != "" && c.Domain != "":
		return errors.New("a limit is for a drop point or for a domain: for both, send two updates")
	case c.DropPoint != "" && m.point(c.DropPoint) == nil:
		return fmt.Errorf("drop_point: the mailing has no drop point named %q", c.DropPoint)
	case c.Domain != "":
		if domain, err := address.ParseDomain(c.Domain); err != nil || domain != c.Domain {
			return errors.New("domain: must be a domain in lower case, as in addresses (xn--… for other letters)")
		}
	}
	return nil
}

func (m *mailing) setRate(ctx workflow.Context, c RateChange) (string, error) {
	what := "the mailing"
	switch {
	case c.DropPoint != "":
		what = "drop point " + c.DropPoint
	case c.Domain != "":
		what = "domain " + c.Domain
	}
	if err := workflow.Await(ctx, func() bool { return !m.settingRate }); err != nil { // else an earlier one that is tried again could win
		return "", err
	}
	m.settingRate = true
	defer func() { m.settingRate = false }()
	if err := m.execute(ctx, policy.SetRate, fmt.Sprintf("limit %s to %s", what, c.Rate), RateCall{Mailing: m.id, Change: c, Retry: m.in.Retry.Database}, nil); err != nil {
		return "", plain(err)
	}
	// Batches that wait for the old limit ask again.
	for i := range m.Paced {
		m.Paced[i].NotBefore = workflow.Now(ctx).Add(rateTakesEffect)
	}
	m.waking = true
	return fmt.Sprintf("%s: %s", what, c.Rate), nil
}

// rateTakesEffect is the time in which all workers know of a new limit.
const rateTakesEffect = 2 * time.Second

func (m *mailing) mayResolve(_ workflow.Context, r Resolution) error {
	if r.As != "sent" && r.As != "resend" {
		return errors.New("as: must be sent or resend")
	}
	if err := m.over(); err != nil {
		return err
	}
	if m.Counts.Uncertain == 0 {
		return errors.New("nobody is held as uncertain")
	}
	return nil
}

func (m *mailing) resolve(ctx workflow.Context, r Resolution) (int, error) {
	var out Resolved
	err := m.execute(ctx, policy.ResolveUncertain, "resolve uncertain recipients as "+r.As, ResolveCall{Mailing: m.id, As: r, Retry: m.in.Retry.Database}, &out)
	if err != nil {
		return 0, plain(err)
	}
	n := int64(out.Recipients)
	m.Counts.Uncertain -= n
	if r.As == "sent" {
		m.Counts.Sent += n
	} else {
		m.deferred(out.Recipients, workflow.Now(ctx))
	}
	m.waking = true
	return out.Recipients, nil
}
