package workflows

import "go.temporal.io/sdk/workflow"

// applyReports applies what a batch says about its drop points. If the last drop point has left the
// list, the mailing is suspended or fails. failures is how often the drop points had failed when
// the batch started. applyReports returns false if each failure was that of the worker alone.
func (m *mailing) applyReports(ctx workflow.Context, out SentBatch, failures map[string]int) (any bool) {
	for _, r := range out.Points {
		now := workflow.Now(ctx)
		if m.points.news.hear(out.Worker, r, now) {
			m.log.Info("a drop point that works on others gives a worker no connection", "drop_point", r.Name,
				"worker", out.Worker, "failure", r.Failure)
			continue
		}
		any = true
		works, left := m.points.report(r, failures, now)
		switch {
		case works:
			m.recovered(ctx, CauseDropPoints)
		case left:
			inList := m.points.inList()
			m.log.Warn("drop point left the mailing's list", "drop_point", r.Name, "left", inList, "failure", r.Failure)
			if inList == 0 && !m.suspension.awaitsOperator() {
				m.withoutDropPoints(ctx)
			}
		case r.Failure != "":
			m.log.Warn("drop point failed", "drop_point", r.Name, "failure", r.Failure)
		}
	}
	return any
}
