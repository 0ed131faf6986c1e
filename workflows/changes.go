package workflows

import "go.temporal.io/sdk/workflow"

// Changes of what a mailing does. A run that began before a change goes on in the old way, because
// its history could not be replayed otherwise.
const (
	// changeCutShort: an activity that was being cancelled has not used up its attempts.
	changeCutShort = "cut-short"
	// changeProbeWaits: a mailing that is suspended wakes when its probe may go by the rate limit.
	changeProbeWaits = "probe-waits-for-rate"
	// changeProbedOnce: after a resume, each drop point out of the list is probed once.
	changeProbedOnce = "probed-once"
)

// changed reports whether a change holds for this run. The answer becomes part of the history, so
// callers ask only where it matters.
func changed(ctx workflow.Context, change string) bool {
	return workflow.GetVersion(ctx, change, workflow.DefaultVersion, 1) > workflow.DefaultVersion
}
