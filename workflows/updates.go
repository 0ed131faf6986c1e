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

// updates answers the updates of operators. Each validator refuses an update that would have no
// effect, and says why.
type updates struct {
	m     *mailing
	rates workflow.Mutex // one limit is set at a time: otherwise an earlier update that is retried could win
}

// handleUpdates makes the mailing answer updates.
func handleUpdates(ctx workflow.Context, m *mailing) error {
	u := &updates{m: m, rates: workflow.NewMutex(ctx)}
	handle := func(name, description string, handler, validator any) error {
		options := workflow.UpdateHandlerOptions{Description: description, Validator: validator}
		return workflow.SetUpdateHandlerWithOptions(ctx, name, handler, options)
	}
	return errors.Join(
		handle(PauseUpdate,
			"Pause the mailing: messages in flight are finished, everything else waits for a resume",
			u.pause, u.mayPause),
		handle(ResumeUpdate,
			"Resume a paused mailing. If it is suspended, or its drop points rest, it tries again at once",
			u.resume, u.mayResume),
		handle(CancelUpdate,
			"Cancel the mailing: messages in flight are finished, every other recipient becomes unsent",
			u.cancel, u.mayCancel),
		handle(RateUpdate,
			"Set a rate limit of the mailing: of all its messages, or of those to a drop point or a domain",
			u.setRate, u.maySetRate),
		handle(ResolveUpdate,
			"Resolve uncertain recipients: as sent, or by sending to them again",
			u.resolve, u.mayResolve),
	)
}

// notOver returns an error if the mailing has ended or is being closed.
func (u *updates) notOver() error {
	if u.m.closing || u.m.state.Ended() {
		return errors.New("the mailing is over: no update can change it")
	}
	return nil
}

// notEnding is notOver, and returns an error also if only what is in flight keeps the mailing from
// its end.
func (u *updates) notEnding() error {
	if u.m.endsEarly() {
		return errors.New("the mailing is ending: only what is in flight is finished")
	}
	return u.notOver()
}

func (u *updates) mayPause(workflow.Context) error {
	if u.m.paused != nil {
		return errors.New("the mailing is paused already")
	}
	return u.notEnding()
}

func (u *updates) pause(ctx workflow.Context) (string, error) {
	m := u.m
	m.paused = &Pause{Since: workflow.Now(ctx)}
	m.changed = true
	if m.state != StateSending && m.state != StateSuspended {
		return "nothing will be sent until the mailing is resumed", nil
	}
	m.enter(ctx, StatePaused)
	return "paused: what is in flight is finished", nil
}

func (u *updates) mayResume(workflow.Context) error {
	if waits := u.m.closing && u.m.suspension.Suspended != nil; !waits {
		if err := u.notEnding(); err != nil {
			return err
		}
	}
	if u.m.paused == nil && u.m.suspension.Suspended == nil && u.m.points.restUntil().IsZero() {
		return errors.New("the mailing is neither paused nor suspended: there is nothing to resume")
	}
	return nil
}

func (u *updates) resume(ctx workflow.Context) (string, error) {
	m := u.m
	m.changed = true
	answer := "trying again"
	if m.paused != nil {
		m.paused = nil
		answer = "going on"
		if m.state == StatePaused {
			m.enter(ctx, m.suspension.state(m.paused != nil))
		}
	}
	m.points.endRest()
	if m.suspension.Suspended != nil {
		m.outcomes.forgive()
		m.renderAnyway = m.renderAnyway || m.suspension.isFor(CauseRendering)
		if m.suspension.awaitsOperator() {
			m.endSuspension(ctx)
		} else {
			m.suspension.askForProbe()
		}
	}
	return answer, nil
}

func (u *updates) mayCancel(workflow.Context) error {
	if u.m.cancelled {
		return errors.New("the mailing is being cancelled already")
	}
	return u.notOver()
}

func (u *updates) cancel(workflow.Context) (string, error) {
	u.m.cancelled = true
	if u.m.cancelWork != nil {
		u.m.cancelWork()
	}
	return "cancelled: what is in flight is finished, every other recipient becomes unsent", nil
}

func (u *updates) maySetRate(_ workflow.Context, c RateChange) error {
	if err := u.notOver(); err != nil {
		return err
	}
	if u.m.step == StepOpen {
		return errors.New("the input of the mailing is being checked: try again in a moment")
	}
	if _, err := rate.Parse(string(c.Rate)); err != nil {
		return fmt.Errorf("rate: %w", err)
	}
	switch {
	case c.DropPoint != "" && c.Domain != "":
		return errors.New("a limit is for a drop point or for a domain: for both, send two updates")
	case c.DropPoint != "" && u.m.points.find(c.DropPoint) == nil:
		return fmt.Errorf("drop_point: the mailing has no drop point named %q", c.DropPoint)
	case c.Domain != "":
		if domain, err := address.ParseDomain(c.Domain); err != nil || domain != c.Domain {
			return errors.New("domain: must be a domain in lower case, as in addresses (xn--… for other letters)")
		}
	}
	return nil
}

// rateTakesEffect is the time after which every worker knows a new limit.
const rateTakesEffect = 2 * time.Second

func (u *updates) setRate(ctx workflow.Context, c RateChange) (string, error) {
	m := u.m
	what := "the mailing"
	switch {
	case c.DropPoint != "":
		what = "drop point " + c.DropPoint
	case c.Domain != "":
		what = "domain " + c.Domain
	}
	if err := u.rates.Lock(ctx); err != nil {
		return "", err
	}
	defer u.rates.Unlock()
	call := RateCall{Mailing: m.id, Change: c, Retry: m.in.Retry.Database}
	err := m.execute(ctx, policy.SetRate, fmt.Sprintf("limit %s to %s", what, c.Rate), call, nil)
	if err != nil {
		return "", workflowError(err)
	}
	m.queue.retryPaced(workflow.Now(ctx).Add(rateTakesEffect))
	m.changed = true
	return fmt.Sprintf("%s: %s", what, c.Rate), nil
}

func (u *updates) mayResolve(_ workflow.Context, r Resolution) error {
	if r.As != "sent" && r.As != "resend" {
		return errors.New("as: must be sent or resend")
	}
	if err := u.notOver(); err != nil {
		return err
	}
	switch o := &u.m.outcomes; {
	case o.Counts.Uncertain > 0:
		return nil
	case o.all().Uncertain > 0:
		return errors.New("the batches of the uncertain recipients are not closed yet: try again later")
	}
	return errors.New("the mailing has no uncertain recipients")
}

func (u *updates) resolve(ctx workflow.Context, r Resolution) (int, error) {
	m := u.m
	var out Resolved
	call := ResolveCall{Mailing: m.id, As: r, Retry: m.in.Retry.Database}
	err := m.execute(ctx, policy.ResolveUncertain, "resolve uncertain recipients as "+r.As, call, &out)
	if err != nil {
		return 0, workflowError(err)
	}
	resend := r.As == "resend"
	m.outcomes.resolve(out.Recipients, resend)
	if resend {
		m.queue.deferRecipients(out.Recipients, workflow.Now(ctx))
	}
	m.changed = true
	return out.Recipients, nil
}
