package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"directmailer/activities/policy"
)

const (
	// maxSending bounds the SendBatch activities of one mailing that are in flight, over all workers.
	maxSending = 32
	// renderAhead bounds the batches that are rendered or being rendered and not yet sent: the size of the spool.
	renderAhead = 16
	// maxLater bounds the batches that wait for a later round, each with its rendered messages in the spool and its place in the state that
	// continue-as-new carries: a server that defers everybody is not given the whole list.
	maxLater = 1000
	// deferFor is how long a recipient that is refused for now is tried again (RFC 5321, 4.5.4.1: four to five days), and deferMost the
	// longest pause between two rounds. The first pause is the drop point's retry interval; each further one is twice as long.
	deferFor  = 4 * 24 * time.Hour
	deferMost = 4 * time.Hour
)

// sendAll keeps the window full until no batch is left. It returns a continue-as-new error when the history has grown enough.
func (m *mailing) sendAll(ctx workflow.Context) error {
	if m.Suspended == nil {
		m.enter(ctx, StateSending)
	}
	for {
		if ctx.Err() != nil {
			return m.drain(ctx, ctx.Err())
		}
		m.waking = false
		leaving := workflow.GetInfo(ctx).GetContinueAsNewSuggested()
		if m.Suspended != nil && !m.probing && m.inFlight() == 0 && !leaving {
			if err := m.probe(ctx); err != nil {
				return err
			}
		}
		if !leaving {
			m.fill(ctx)
		}
		m.describe(ctx)
		if m.inFlight() == 0 {
			switch {
			case m.gaveUp != "":
				return fmt.Errorf("%s", m.gaveUp)
			case leaving:
				return m.continueAsNew(ctx)
			case m.left() == 0:
				return nil
			}
		}
		if err := m.sleep(ctx); err != nil {
			return m.drain(ctx, err)
		}
	}
}

// fill starts as many activities as the window allows: one while probing, none while suspended or giving up.
func (m *mailing) fill(ctx workflow.Context) {
	if m.gaveUp != "" {
		return
	}
	m.wakeLater(ctx)
	for m.mayStart() && len(m.Ready) > 0 && m.totalSending() < maxSending {
		point := m.pickDropPoint()
		if point == nil {
			break
		}
		next := m.Ready[0]
		m.Ready = m.Ready[1:]
		m.startSend(ctx, next, point)
	}
	for m.mayStart() && m.rendering+len(m.Ready) < renderAhead && len(m.Later) < maxLater {
		batch, ok := m.nextToRender()
		if !ok {
			break
		}
		m.startRender(ctx, batch)
	}
}

func (m *mailing) mayStart() bool {
	return m.Suspended == nil || m.probing && m.inFlight() == 0
}

func (m *mailing) nextToRender() (int, bool) {
	if len(m.Redo) > 0 {
		batch := m.Redo[0]
		m.Redo = m.Redo[1:]
		return batch, true
	}
	if m.NextRender > m.Prepared.Batches {
		return 0, false
	}
	m.NextRender++
	return m.NextRender - 1, true
}

func (m *mailing) startRender(ctx workflow.Context, batch int) {
	m.rendering++
	workflow.Go(ctx, func(ctx workflow.Context) {
		call := RenderCall{Mailing: m.id, Batch: batch, Retry: m.retries()}
		var out Rendered
		err := m.execute(ctx, policy.RenderBatch, fmt.Sprintf("render batch %d of %d", batch, m.Prepared.Batches), call, &out)
		m.rendering--
		m.waking = true
		if err == nil {
			m.recovered(ctx)
			m.Ready = append(m.Ready, ReadyBatch{Batch: batch})
			return
		}
		m.Redo = append(m.Redo, batch)
		m.failed(ctx, err, m.in.Retry.Database.Interval)
	})
}

func (m *mailing) startSend(ctx workflow.Context, next ReadyBatch, to *DropPointStatus) {
	point := to.Name
	m.sending[point]++
	workflow.Go(ctx, func(ctx workflow.Context) {
		call := SendCall{Mailing: m.id, Batch: next.Batch, DropPoints: []UsedPoint{{Name: point, Proven: to.Proven}}, OnUncertain: m.in.OnUncertain, Retry: m.retries(), Round: next.Round,
			LastRound: next.Round > 0 && workflow.Now(ctx).Sub(next.Since) >= deferFor}
		summary := fmt.Sprintf("send batch %d of %d through %s", next.Batch, m.Prepared.Batches, point)
		if next.Round > 0 {
			summary += fmt.Sprintf(", round %d for deferred recipients", next.Round+1)
		}
		var out SentBatch
		err := m.execute(ctx, policy.SendBatch, summary, call, &out)
		m.sending[point]--
		m.waking = true
		switch {
		case typeOf(err) == policy.SpoolMissing:
			m.Redo = append(m.Redo, next.Batch)
		case err != nil:
			m.Ready = append(m.Ready, next) // behind the others: a probe tries another one
			m.sendFailed(ctx, point, err)
		case out.Closed:
			m.recovered(ctx)
			to.Proven = to.Proven || out.Counts.Sent > 0
			m.Closed++
			m.Counts = m.Counts.Add(out.Counts)
		default:
			m.recovered(ctx)
			to.Proven = to.Proven || out.Counts.Sent > 0
			m.Later = append(m.Later, m.later(ctx, next))
		}
	})
}

// later plans the next round for the deferred recipients of a batch.
func (m *mailing) later(ctx workflow.Context, b ReadyBatch) ReadyBatch {
	now := workflow.Now(ctx)
	if b.Round == 0 {
		b.Since = now
	}
	pause := time.Duration(m.in.Retry.DropPoint.Interval) << min(b.Round, 30)
	if pause <= 0 || pause > deferMost {
		pause = deferMost
	}
	b.Round++
	b.Due = now.Add(pause)
	return b
}

// sendFailed takes a drop point that has used up its attempts off the list; the last one's loss suspends or fails the mailing.
func (m *mailing) sendFailed(ctx workflow.Context, point string, err error) {
	if policy.SettingOf(typeOf(err)) != policy.DropPoint {
		m.failed(ctx, err, m.in.Retry.Database.Interval)
		return
	}
	left := 0
	for i := range m.DropPoints {
		p := &m.DropPoints[i]
		if p.Name == point {
			p.InList, p.LastFailure = false, message(err)
		}
		if p.InList {
			left++
		}
	}
	m.log.Warn("drop point left the mailing's list", "drop_point", point, "left", left)
	if left == 0 {
		m.failed(ctx, err, m.in.Retry.DropPoint.Interval)
	}
}

// failed suspends or fails the mailing after an activity gave up. A cancelled activity is no failure.
func (m *mailing) failed(ctx workflow.Context, err error, every Duration) {
	m.probing = false
	if temporal.IsCanceledError(err) || m.gaveUp != "" || !exhausted(err) {
		return // cancelled, or a day went by without a worker: nobody's failure, and the batch is queued again
	}
	if giveUp := m.giveUp(ctx, message(err), every); giveUp != nil {
		m.gaveUp = giveUp.Error()
	}
}

// recovered ends a suspension: an activity has succeeded.
func (m *mailing) recovered(ctx workflow.Context) {
	if m.probing && m.Suspended != nil {
		m.Suspended, m.probing = nil, false
		m.enter(ctx, StateSending)
	}
}

// probe waits until it is time and then lets one activity out, with every drop point back in the list.
func (m *mailing) probe(ctx workflow.Context) error {
	m.describe(ctx)
	if err := m.waitForProbe(ctx); err != nil {
		return err
	}
	m.probing = true
	for i := range m.DropPoints {
		m.DropPoints[i].InList = true
	}
	return nil
}

// retries gives the mailing's settings to an activity; a probe has one try.
func (m *mailing) retries() Retries {
	r := m.in.Retry
	if m.probing {
		r.Database.Attempts, r.Page.Attempts, r.DropPoint.Attempts = 1, 1, 1
	}
	return r
}

// pickDropPoint returns the drop point in the list with the fewest batches in flight: a slow one gets less.
func (m *mailing) pickDropPoint() *DropPointStatus {
	var best *DropPointStatus
	for i := range m.DropPoints {
		p := &m.DropPoints[i]
		if p.InList && (best == nil || m.sending[p.Name] < m.sending[best.Name]) {
			best = p
		}
	}
	return best
}

// wakeLater moves deferred batches whose time has come to the batches that are ready.
func (m *mailing) wakeLater(ctx workflow.Context) {
	now := workflow.Now(ctx)
	waiting := m.Later[:0:0]
	for _, l := range m.Later {
		if l.Due.After(now) {
			waiting = append(waiting, l)
		} else {
			m.Ready = append(m.Ready, l)
		}
	}
	m.Later = waiting
}

// sleep waits for the next change: an activity that returns, an operator, or a deferred batch whose time has come.
func (m *mailing) sleep(ctx workflow.Context) error {
	changed := func() bool { return m.waking }
	if len(m.Later) == 0 || m.inFlight() > 0 {
		return workflow.Await(ctx, changed)
	}
	first := m.Later[0].Due
	for _, l := range m.Later {
		if l.Due.Before(first) {
			first = l.Due
		}
	}
	_, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{
		Timeout:      max(first.Sub(workflow.Now(ctx)), time.Millisecond),
		TimerOptions: workflow.TimerOptions{Summary: "next round for deferred recipients"},
	}, changed)
	return err
}

// drain waits, after a cancellation, for activities to finish what they have in flight.
func (m *mailing) drain(ctx workflow.Context, cause error) error {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	if err := workflow.Await(ctx, func() bool { return m.inFlight() == 0 }); err != nil {
		return err
	}
	return cause
}

func (m *mailing) continueAsNew(ctx workflow.Context) error {
	if err := workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) }); err != nil {
		return err
	}
	next := m.in
	progress := m.Progress
	next.Resume = &progress
	return workflow.NewContinueAsNewError(ctx, Mailing, next)
}

func (m *mailing) totalSending() int {
	n := 0
	for _, p := range m.DropPoints {
		n += m.sending[p.Name]
	}
	return n
}

func (m *mailing) inFlight() int { return m.rendering + m.totalSending() }

// left counts batches that are not closed and not in flight.
func (m *mailing) left() int {
	return len(m.Ready) + len(m.Later) + len(m.Redo) + max(m.Prepared.Batches-m.NextRender+1, 0)
}
