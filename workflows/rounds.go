package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"directmailer/workflows/policy"
)

// deferred counts recipients that have left a batch for a later round.
func (m *mailing) deferred(n int, next time.Time) {
	if n == 0 {
		return
	}
	if m.Deferred == 0 || next.Before(m.NextRound) {
		m.NextRound = next
	}
	m.Deferred += n
}

// gather makes batches of deferred recipients when their time has come.
func (m *mailing) gather(ctx workflow.Context) {
	if m.Deferred == 0 || m.gathering || len(m.Ready) >= m.ahead() || m.NextRound.After(workflow.Now(ctx)) || m.HeldBack.After(workflow.Now(ctx)) || !m.maySend() {
		return
	}
	m.gathering = true
	before := m.Deferred
	workflow.Go(ctx, func(ctx workflow.Context) {
		call := GatherCall{Mailing: m.id, Known: m.Prepared.Batches + m.Gathered, BatchSize: m.in.BatchSize, Retry: m.retries().Database, Deferral: m.in.Deferral}
		var out Gathered
		err := m.execute(ctx, policy.GatherDeferred, "make batches of deferred recipients", call, &out)
		m.gathering = false
		m.waking = true
		if err != nil {
			m.failed(ctx, err)
			return
		}
		m.recovered(ctx, CauseDatabase, CauseUnexpected)
		m.Gathered += len(out.Ready) + len(out.Unrendered)
		m.Ready = append(m.Ready, out.Ready...)
		m.Redo = append(m.Redo, out.Unrendered...)
		// Who was deferred meanwhile may be counted in the answer, or not: then they are counted twice until the next answer.
		joined := m.Deferred - before
		m.Deferred, m.NextRound = out.Deferred, out.NextRound
		if joined > 0 {
			m.deferred(joined, workflow.Now(ctx))
		}
	})
}
