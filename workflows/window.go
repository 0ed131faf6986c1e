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
	// renderAhead bounds the batches that are rendered or being rendered and not yet sent: the size
	// of the spool. Where the window is larger, that does.
	renderAhead = 16
	// maxRendering bounds the batches that are rendered at a time; with a page for each recipient, maxPages.
	maxRendering, maxPages = 8, 4
	// maxDeferred bounds the recipients who wait for a later round, or in batches for the limit of
	// a domain, with their messages in the spool, before no more new batches are begun: a server
	// that defers everybody is not given the whole list. maxPaced bounds those batches: they are
	// part of what one run hands to the next.
	maxDeferred, maxPaced = 500_000, 1000
)

// sendAll keeps the window full until no batch is left. It returns a continue-as-new error when the history has grown enough.
func (m *mailing) sendAll(ctx workflow.Context) error {
	m.sends, m.stopSends = workflow.WithCancel(ctx)
	m.speed.note(workflow.Now(ctx), m.answered())
	m.enter(ctx, m.standing())
	for {
		if ctx.Err() != nil {
			return m.drain(ctx, ctx.Err())
		}
		m.waking = false
		leaves := m.leaves(ctx)
		m.hold(ctx, leaves)
		if !leaves {
			m.probe(ctx)
			m.fill(ctx)
		}
		m.describe(ctx)
		if m.inFlight() == 0 {
			switch {
			case m.gaveUp != "":
				return errors.New(m.gaveUp)
			case leaves:
				return m.continueAsNew(ctx)
			case m.left() == 0:
				return nil
			}
		}
		m.setAlarm(ctx)
		if err := workflow.Await(ctx, func() bool { return m.waking }); err != nil {
			return m.drain(ctx, err)
		}
	}
}

// hold makes sends hand back their batches while the mailing is paused, stopped by its error limit
// or given up, and when the run gives way to the next; it lets new ones start afterwards.
func (m *mailing) hold(ctx workflow.Context, leaves bool) {
	held := leaves || m.Paused != nil || m.gaveUp != "" || m.Suspended != nil && m.Suspended.Cause == CauseErrors
	switch {
	case held && m.sends.Err() == nil:
		m.stopSends()
	case !held && m.sends.Err() != nil:
		m.sends, m.stopSends = workflow.WithCancel(ctx)
	}
}

// fill starts as many activities as the window and the state of the mailing allow.
func (m *mailing) fill(ctx workflow.Context) {
	if m.Paused != nil || m.gaveUp != "" {
		return
	}
	m.lookAtPoints(ctx)
	due, inVain := m.releasePaced(ctx)
	m.gather(ctx)
	if m.maySend() && len(m.Ready) > 0 && m.sending >= m.Window.Size {
		m.Window.quiet(workflow.Now(ctx))
	}
	for m.maySend() && len(m.Ready) > 0 && m.sending < m.Window.Size && (due > 0 || m.sending+inVain < m.Window.Size) {
		points := m.usable(ctx)
		if len(points) == 0 {
			break
		}
		next := m.Ready[0]
		m.Ready = m.Ready[1:]
		due--
		m.startSend(next, points)
	}
	atOnce := maxRendering
	if m.Pages {
		atOnce = maxPages
	}
	for m.mayRender() && !m.HeldBack.After(workflow.Now(ctx)) && m.rendering < atOnce && m.rendering+len(m.Ready) < m.ahead() {
		batch, ok := m.nextToRender()
		if !ok {
			break
		}
		m.startRender(ctx, batch)
	}
}

// ahead bounds the batches that are rendered, or being rendered, and not being sent.
func (m *mailing) ahead() int { return max(renderAhead, m.Window.Size) }

func (m *mailing) nextToRender() (int, bool) {
	if len(m.Redo) > 0 {
		batch := m.Redo[0]
		m.Redo = m.Redo[1:]
		return batch, true
	}
	if m.NextRender > m.Prepared.Batches || m.Deferred+len(m.Paced)*m.in.BatchSize >= maxDeferred || len(m.Paced) >= maxPaced {
		return 0, false
	}
	m.NextRender++
	return m.NextRender - 1, true
}

func (m *mailing) startRender(ctx workflow.Context, batch int) {
	m.rendering++
	m.continued = false
	workflow.Go(ctx, func(ctx workflow.Context) {
		call := RenderCall{Mailing: m.id, Batch: batch, Retry: m.retries()}
		var out Rendered
		err := m.execute(ctx, policy.RenderBatch, "render "+m.name(batch), call, &out)
		m.rendering--
		m.waking = true
		if err == nil {
			m.recovered(ctx, CausePage, CauseDatabase, CauseUnexpected)
			m.Ready = append(m.Ready, batch)
			return
		}
		m.Redo = append(m.Redo, batch)
		m.failed(ctx, err)
	})
}

// name is what the Web UI calls a batch.
func (m *mailing) name(batch int) string {
	if batch > m.Prepared.Batches {
		return fmt.Sprintf("batch %d, of deferred recipients", batch)
	}
	return fmt.Sprintf("batch %d of %d", batch, m.Prepared.Batches)
}

func (m *mailing) startSend(batch int, points []UsedPoint) {
	m.sending++
	m.continued = false
	for _, p := range points {
		if m.point(p.Name).OnTrial {
			m.trials[p.Name] = true
		}
	}
	retry := m.retries()
	resumes := m.resumes
	workflow.Go(m.sends, func(ctx workflow.Context) {
		call := SendCall{Mailing: m.id, Batch: batch, DropPoints: points, OnUncertain: m.in.OnUncertain, Retry: retry, Deferral: m.in.Deferral}
		var out SentBatch
		err := m.execute(ctx, policy.SendBatch, "send "+m.name(batch)+" through "+names(points), call, &out)
		m.sending--
		for _, p := range points {
			delete(m.trials, p.Name)
		}
		m.waking = true
		before := m.tally()
		if err != nil {
			m.notSent(ctx, batch, err)
		} else {
			m.sent(ctx, batch, out)
		}
		if resumes != m.resumes { // whoever resumed the mailing knew what this batch was a part of
			m.Forgiven = m.Forgiven.add(m.tally().less(before))
		}
		m.checkErrors(ctx)
	})
}

func names(points []UsedPoint) string {
	var all []string
	for _, p := range points {
		all = append(all, p.Name)
	}
	return joined(all, ", ")
}

// joined is the first five of the texts, and how many there are besides.
func joined(texts []string, by string) string {
	if more := len(texts) - 5; more > 0 {
		return fmt.Sprintf("%s and %d others", strings.Join(texts[:5], by), more)
	}
	return strings.Join(texts, by)
}

func (m *mailing) sent(ctx workflow.Context, batch int, out SentBatch) {
	m.recovered(ctx, CauseDatabase, CauseUnexpected)
	m.Refused += int64(out.Refused)
	m.reported(ctx, out.Points)
	now := workflow.Now(ctx)
	m.Window.answered(out, len(m.DropPoints), now)
	delete(m.Partial, batch)
	switch {
	case out.Closed:
		delete(m.Rerendered, batch)
		m.Closed++
		m.Counts = m.Counts.Add(out.Counts)
		m.deferred(out.Deferred, out.NextRound)
	case out.NotBefore.After(now):
		m.keepPartial(batch, out.Counts)
		m.Paced = append(m.Paced, PacedBatch{batch, out.NotBefore, out.Everybody})
	default:
		m.keepPartial(batch, out.Counts)
		m.Ready = append(m.Ready, batch)
	}
	m.speed.note(now, m.answered())
}

func (m *mailing) keepPartial(batch int, n Counts) {
	if n == (Counts{}) {
		return
	}
	if m.Partial == nil {
		m.Partial = map[int]Counts{}
	}
	m.Partial[batch] = n
}

// counts are the outcomes of all batches, closed or not.
func (m *mailing) counts() Counts {
	c := m.Counts
	for _, batch := range workflow.DeterministicKeys(m.Partial) {
		c = c.Add(m.Partial[batch])
	}
	return c
}

// answered counts the recipients that have an answer of a drop point.
func (m *mailing) answered() int64 {
	c := m.counts()
	return c.Sent + c.Bounced + c.Failed + c.Uncertain
}

func (m *mailing) notSent(ctx workflow.Context, batch int, err error) {
	switch {
	case typeOf(err) == policy.SpoolMissing:
		m.renderAgain(ctx, batch, err)
		return
	case temporal.IsCanceledError(err): // held: the first to be sent afterwards
		m.Ready = append([]int{batch}, m.Ready...)
		return
	}
	m.Ready = append(m.Ready, batch) // behind the others: a probe tries another one
	if policy.SettingOf(typeOf(err)) == policy.DropPoint {
		m.probing = false
		m.allFailed(ctx, err)
		return
	}
	m.failed(ctx, err)
}

// mostRerendered is how often a batch is rendered anew at once because its spool was lost or damaged.
const mostRerendered = 3

// renderAgain has a batch rendered whose spool is lost or damaged. Where that happens to one batch
// again and again, the mailing is suspended each time: something is wrong that rendering does not
// mend.
func (m *mailing) renderAgain(ctx workflow.Context, batch int, err error) {
	m.Redo = append(m.Redo, batch)
	if m.Rerendered == nil {
		m.Rerendered = map[int]int{}
	}
	m.Rerendered[batch]++
	if n := m.Rerendered[batch]; n > mostRerendered && m.gaveUp == "" {
		m.probing = false
		_ = m.giveUp(ctx, CauseUnexpected, fmt.Sprintf("%s (for the %dth time)", message(err), n), unexpectedEvery)
	}
}

// releasePaced takes up batches whose time has come by the rate limits. Due are those at the head of the ready ones that have waited for what
// any other would have to wait for, and inVain those that still do: no other is begun in their place.
func (m *mailing) releasePaced(ctx workflow.Context) (due, inVain int) {
	now := workflow.Now(ctx)
	waiting := m.Paced[:0:0]
	var first []int
	for _, b := range m.Paced {
		switch {
		case b.NotBefore.After(now):
			waiting = append(waiting, b)
			if b.Everybody {
				inVain++
			}
		case b.Everybody:
			first = append(first, b.Batch)
		default:
			m.Ready = append(m.Ready, b.Batch)
		}
	}
	m.Paced = waiting
	m.Ready = append(first, m.Ready...)
	return len(first), inVain
}

// alarm wakes the loop at a time. There is one at most, and it is not moved for every change: it may ring for nothing.
type alarm struct {
	at     time.Time
	cancel func()
}

// setAlarm makes sure that the loop wakes when the first of the things that it waits for is due.
func (m *mailing) setAlarm(ctx workflow.Context) {
	at, what := m.nextEvent(workflow.Now(ctx))
	if at.IsZero() || !m.alarm.at.IsZero() && !at.Before(m.alarm.at) {
		return
	}
	if m.alarm.cancel != nil {
		m.alarm.cancel()
	}
	timerCtx, cancel := workflow.WithCancel(ctx)
	m.alarm = alarm{at, cancel}
	timer := workflow.NewTimerWithOptions(timerCtx, max(at.Sub(workflow.Now(ctx)), time.Millisecond), workflow.TimerOptions{Summary: what})
	workflow.Go(timerCtx, func(ctx workflow.Context) {
		if timer.Get(ctx, nil) == nil {
			m.alarm = alarm{}
			m.waking = true
		}
	})
}

// nextEvent is the first time at which something has to be done that no activity will bring about.
func (m *mailing) nextEvent(now time.Time) (at time.Time, what string) {
	first := func(t time.Time, name string) {
		if t.After(now) && (at.IsZero() || t.Before(at)) { // what is due already waits for something else
			at, what = t, name
		}
	}
	first(m.leaving.next(), "the history is long: the next run waits for what is in flight")
	if m.Paused != nil || m.gaveUp != "" {
		return at, what
	}
	if s := m.Suspended; s != nil && !m.probing && s.Cause != CauseDropPoints {
		first(s.Until, "suspended: next probe")
	}
	first(m.HeldBack, "render again after a failure")
	if len(m.Ready) > 0 && m.sending >= m.Window.Size {
		first(m.Window.Answered.Add(silence), "no batch was answered: one more may start")
	}
	for _, p := range m.DropPoints {
		switch {
		case m.checks[p.Name]:
		case p.InList:
			first(p.Until, "drop point "+p.Name+" rests after a failure")
		default:
			first(p.Until, "next look at drop point "+p.Name)
		}
	}
	if m.Suspended == nil || m.Suspended.Cause != CauseErrors && m.Suspended.Cause != CauseDatabase {
		if m.Deferred > 0 && !m.gathering && len(m.Ready) < m.ahead() {
			first(m.NextRound, "next round for deferred recipients")
		}
		for _, b := range m.Paced {
			first(b.NotBefore, "rate limit")
		}
	}
	return at, what
}

// drain waits, after a cancellation, for activities to finish what they have in flight.
func (m *mailing) drain(ctx workflow.Context, cause error) error {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	if err := workflow.Await(ctx, func() bool { return m.inFlight() == 0 }); err != nil {
		return err
	}
	return cause
}

func (m *mailing) inFlight() int {
	n := m.rendering + m.sending + len(m.checks)
	if m.gathering {
		n++
	}
	return n
}

// nothingToSend tells whether no batch waits to be sent or rendered.
func (m *mailing) nothingToSend() bool {
	return len(m.Ready)+len(m.Paced)+len(m.Redo)+m.rendering+m.sending+max(m.Prepared.Batches-m.NextRender+1, 0) == 0
}

// left counts what is neither closed nor in flight.
func (m *mailing) left() int {
	return len(m.Ready) + len(m.Paced) + len(m.Redo) + m.Deferred + max(m.Prepared.Batches-m.NextRender+1, 0)
}
