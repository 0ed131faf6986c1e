package workflows

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"directmailer/workflows/policy"
)

const (
	// maxRerendered is how often a batch is rendered again, without a pause, because its spool was
	// lost or damaged.
	maxRerendered = 3
	// unexpectedInterval is the time to the first probe after an unforeseen failure.
	unexpectedInterval = Duration(30 * time.Second)
)

// sendAll starts activities until no batch is left. It returns a continue-as-new error when the
// history is long, and the error of the context when the mailing ends early.
func (m *mailing) sendAll(ctx workflow.Context) error {
	m.sends, m.stopSends = workflow.WithCancel(ctx)
	m.speed.note(workflow.Now(ctx), m.outcomes.answered())
	m.enter(ctx, m.suspension.state(m.paused != nil))
	for ctx.Err() == nil {
		m.changed = false
		drains := hasLongHistory(ctx) &&
			m.rollover.drains(workflow.Now(ctx), m.inFlight(), workflow.GetInfo(ctx).GetCurrentHistoryLength())
		m.stopOrAllowSends(ctx, drains)
		if !drains && m.paused == nil && m.failure == "" {
			m.suspension.probe(m.queue.rendering, m.inFlight(), workflow.Now(ctx))
			m.fill(ctx)
		}
		workflow.SetCurrentDetails(ctx, m.status().Details())
		if m.inFlight() == 0 {
			switch {
			case m.failure != "":
				return errors.New(m.failure)
			case drains:
				return m.continueAsNew(ctx)
			case m.queue.left() == 0:
				return nil
			}
		}
		m.alarm.set(ctx, m.nextWakeUp(ctx), func() { m.changed = true })
		if err := workflow.Await(ctx, func() bool { return m.changed }); err != nil {
			break
		}
	}
	// The mailing ends early. The activities finish what they have in flight.
	disconnected, _ := workflow.NewDisconnectedContext(ctx)
	if err := workflow.Await(disconnected, func() bool { return m.inFlight() == 0 }); err != nil {
		return err
	}
	return ctx.Err()
}

// stopOrAllowSends makes SendBatch activities hand back their batches while the mailing is paused,
// waits for an operator's decision or fails, and while the run drains. Otherwise it allows new
// ones.
func (m *mailing) stopOrAllowSends(ctx workflow.Context, drains bool) {
	stop := drains || m.paused != nil || m.failure != "" || m.suspension.awaitsOperator()
	switch {
	case stop && m.sends.Err() == nil:
		m.stopSends()
	case !stop && m.sends.Err() != nil:
		m.sends, m.stopSends = workflow.WithCancel(ctx)
	}
}

// fill starts every activity that may start now. The mailing must not be paused.
func (m *mailing) fill(ctx workflow.Context) {
	now := workflow.Now(ctx)
	may := func(needs Cause) bool { return m.suspension.allows(needs, m.queue.rendering, m.inFlight()) }
	m.startProbes(ctx)
	m.queue.releasePaced(now)
	if may(CauseDropPoints) && m.queue.mayGather(now) && !m.suspension.backsOff(now) {
		m.startGather(ctx)
	}
	if may(CauseDropPoints) && m.queue.windowIsFull() {
		m.queue.window.quiet(now)
	}
	for may(CauseDropPoints) && m.queue.roomToSend() {
		points := m.points.usable(now)
		if len(points) == 0 {
			break
		}
		m.startSend(m.queue.startSend(), points)
	}
	for may(CausePage) && !m.suspension.backsOff(now) && m.queue.roomToRender() {
		batch, ok := m.queue.startRender()
		if !ok {
			break
		}
		m.startRender(ctx, batch)
	}
}

// inFlight returns the number of activities in flight.
func (m *mailing) inFlight() int { return m.queue.inFlight() + len(m.points.probes) }

// nextWakeUp returns when the loop has to run next if no activity ends before.
func (m *mailing) nextWakeUp(ctx workflow.Context) wakeUp {
	w := wakeUp{now: workflow.Now(ctx)}
	m.rollover.wakeUps(&w)
	if m.paused == nil && m.failure == "" {
		m.suspension.wakeUps(&w)
		m.points.wakeUps(&w)
		begins := !m.suspension.isFor(CauseDatabase) || m.probeWaits() && changed(ctx, changeProbeWaits)
		m.queue.wakeUps(&w, begins && !m.suspension.awaitsOperator())
	}
	return w
}

// probeWaits reports whether a probe is due, but each batch that could be one waits for a rate
// limit.
func (m *mailing) probeWaits() bool {
	return m.suspension.probing && m.inFlight() == 0 && len(m.queue.Paced) > 0
}

// startRender starts a RenderBatch activity.
func (m *mailing) startRender(ctx workflow.Context, batch int) {
	m.suspension.inherited = false
	workflow.Go(ctx, func(ctx workflow.Context) {
		call := RenderCall{
			Mailing: m.id, Batch: batch, Retry: m.suspension.retries(m.in.Retry),
			Sample: renderSample(m.prepared, m.renderAnyway),
		}
		var out Rendered
		err := m.execute(ctx, policy.RenderBatch, "render "+m.queue.name(batch), call, &out)
		m.changed = true
		m.queue.endRender(batch, err)
		switch {
		case err == nil:
			m.recovered(ctx, CausePage, CauseDatabase, CauseUnexpected)
		case typeOf(err) == policy.NothingRendered:
			m.nothingRendered(ctx, errorText(err))
		case typeOf(err) == policy.PoisonBatch:
			m.poisoned(ctx, m.queue.name(batch)+": "+errorText(err))
		default:
			m.activityFailed(ctx, err)
		}
	})
}

// startSend starts a SendBatch activity.
func (m *mailing) startSend(batch int, points []UsableDropPoint) {
	m.suspension.inherited = false
	m.points.startTrials(points)
	call := SendCall{
		Mailing: m.id, Batch: batch, DropPoints: points, Others: m.points.othersThan(points), OnUncertain: m.in.OnUncertain,
		Retry: m.suspension.retries(m.in.Retry), Deferral: m.in.Deferral,
	}
	resumes, failures := m.outcomes.resumes, m.points.failureCounts()
	workflow.Go(m.sends, func(ctx workflow.Context) {
		var out SentBatch
		summary := "send " + m.queue.name(batch) + " through " + names(points)
		err := m.execute(ctx, policy.SendBatch, summary, call, &out)
		m.queue.sending--
		m.points.endTrials(points)
		m.changed = true
		before := m.outcomes.errors()
		if err != nil {
			m.notSent(ctx, batch, failures, err)
		} else {
			m.sent(ctx, batch, failures, out)
		}
		if resumes != m.outcomes.resumes { // the operator who resumed the mailing knew of this batch
			m.outcomes.forgiveSince(before)
		}
		if m.failure == "" && !m.suspension.awaitsOperator() {
			if reason := m.outcomes.overLimit(m.in.MaxErrorPercent, m.in.ErrorMinimum); reason != "" {
				_ = m.suspendOrFail(ctx, CauseErrors, reason, 0)
				m.stopSends()
			}
		}
	})
}

// sent applies the answer of a SendBatch activity.
func (m *mailing) sent(ctx workflow.Context, batch int, failures map[string]int, out SentBatch) {
	m.recovered(ctx, CauseDatabase, CauseUnexpected)
	m.outcomes.Refused += int64(out.Refused)
	m.applyReports(ctx, out, failures)
	m.queue.endSend(batch, out, len(m.points.all), workflow.Now(ctx))
	m.outcomes.add(batch, out)
	m.speed.note(workflow.Now(ctx), m.outcomes.answered())
}

// notSent puts a batch back into the queue, and decides by the type of the error what the mailing
// does next.
func (m *mailing) notSent(ctx workflow.Context, batch int, failures map[string]int, err error) {
	switch {
	case typeOf(err) == policy.SpoolMissing:
		if n := m.queue.rerender(batch); n > maxRerendered && m.failure == "" {
			m.suspension.probing = false
			reason := fmt.Sprintf("%s (for the %dth time)", errorText(err), n)
			_ = m.suspendOrFail(ctx, CauseUnexpected, reason, unexpectedInterval)
		}
	case temporal.IsCanceledError(err):
		m.queue.sendNext(batch)
	case policy.SettingOf(typeOf(err)) == policy.DropPoint:
		m.suspension.probing = false
		var out SentBatch
		if app, ok := errors.AsType[*temporal.ApplicationError](err); ok && app.HasDetails() {
			_ = app.Details(&out)
		}
		if len(out.Points) == 0 { // no worker has any of the drop points
			out.Points = m.points.failAll(errorText(err))
		}
		m.outcomes.Refused += int64(out.Refused)
		if m.applyReports(ctx, out, failures) {
			m.queue.sendLast(batch)
		} else {
			m.queue.sendLater(batch, workflow.Now(ctx).Add(excusePause))
		}
	default:
		m.queue.sendLast(batch)
		m.activityFailed(ctx, err)
	}
}

// startGather starts the activity that makes batches of deferred recipients.
func (m *mailing) startGather(ctx workflow.Context) {
	m.queue.gathering = true
	before := m.queue.Deferred
	workflow.Go(ctx, func(ctx workflow.Context) {
		call := GatherCall{
			Mailing: m.id, Known: m.queue.known(), BatchSize: m.in.BatchSize,
			Retry: m.suspension.retries(m.in.Retry).Database, Deferral: m.in.Deferral,
		}
		var out Gathered
		err := m.execute(ctx, policy.GatherDeferred, "make batches of deferred recipients", call, &out)
		m.queue.gathering = false
		m.changed = true
		if err != nil {
			m.activityFailed(ctx, err)
			return
		}
		m.recovered(ctx, CauseDatabase, CauseUnexpected)
		m.queue.endGather(out, before, workflow.Now(ctx))
	})
}

// startProbes starts a probe of each drop point out of the list whose probe is due. A probe sends
// no message.
func (m *mailing) startProbes(ctx workflow.Context) {
	atOnce := m.suspension.resumed
	if atOnce && m.suspension.probedPoints && m.points.inList() < len(m.points.all) {
		atOnce = !changed(ctx, changeProbedOnce)
	}
	m.suspension.probedPoints = m.suspension.resumed
	for _, name := range m.points.startProbes(workflow.Now(ctx), atOnce) {
		workflow.Go(ctx, func(ctx workflow.Context) {
			var out Checked
			err := m.execute(ctx, policy.CheckDropPoint, "probe drop point "+name, CheckCall{DropPoint: name}, &out)
			m.changed = true
			if m.points.endProbe(name, out, err, workflow.Now(ctx)) {
				m.log.Info("drop point is back, on trial", "drop_point", name)
				return
			}
			m.suspension.setNextProbe(m.points.nextProbe())
		})
	}
	if m.suspension.isFor(CauseDropPoints) {
		m.suspension.resumed = false
		if m.queue.nothingToSend() && m.points.inList() > 0 {
			m.recovered(ctx, CauseDropPoints) // there is no batch to try: the mailing waits for later rounds
		}
	}
}

// names joins the names of drop points.
func names(points []UsableDropPoint) string {
	var all []string
	for _, p := range points {
		all = append(all, p.Name)
	}
	return joined(all, ", ")
}

// joined returns the first five of the texts, and how many others there are.
func joined(texts []string, separator string) string {
	if more := len(texts) - 5; more > 0 {
		return fmt.Sprintf("%s and %d others", strings.Join(texts[:5], separator), more)
	}
	return strings.Join(texts, separator)
}
