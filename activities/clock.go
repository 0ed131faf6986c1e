package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"

	"directmailer/internal/temporalclient"
)

// maxSkew is the difference of two clocks that does no harm. A smaller one cannot be told from the
// time that an attempt takes to reach its worker.
const maxSkew = time.Second

// forWorkflow returns a time of this worker's clock by the clock of Temporal, by which the workflow
// waits. If the worker's clock were behind, the time would be over before it comes. The workflow
// would ask again and again without a pause.
func forWorkflow(ctx context.Context, at time.Time) time.Time {
	return byOtherClock(at, activity.GetInfo(ctx).StartedTime, temporalclient.Begun(ctx))
}

// byOtherClock returns what another clock shows at a time of this clock. there and here are one
// moment, by the other clock and by this one. The zero time stays.
func byOtherClock(at, there, here time.Time) time.Time {
	skew := there.Sub(here)
	if at.IsZero() || skew.Abs() < maxSkew {
		return at
	}
	return at.Add(skew)
}
