package activities

import (
	"testing"
	"time"
)

// A workflow waits by Temporal's clock. A worker whose clock is behind must not name a time that is
// over there, and one whose clock is ahead must not make the workflow wait for longer.
func TestATimeForTheWorkflowIsByTheClockOfTemporal(t *testing.T) {
	t.Parallel()
	here := time.Now()
	at := here.Add(time.Minute)
	for skew, want := range map[time.Duration]time.Time{
		0: at, 50 * time.Millisecond: at, -50 * time.Millisecond: at, // on its way to the worker
		time.Hour: at.Add(time.Hour), -time.Hour: at.Add(-time.Hour),
	} {
		if got := byOtherClock(at, here.Add(skew), here); !got.Equal(want) {
			t.Errorf("with a difference of %v: got %v, want %v", skew, got, want)
		}
		if got := byOtherClock(time.Time{}, here.Add(skew), here); !got.IsZero() {
			t.Errorf("no time becomes %v", got)
		}
	}
}
