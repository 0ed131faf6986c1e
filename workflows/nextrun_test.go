package workflows

import (
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// The answer to one final dot may take ten minutes. The rest of a mailing whose history is long
// does not wait for it.
func TestOneSlowAnswerDoesNotStopAMailingWhoseHistoryIsLong(t *testing.T) {
	t.Parallel()
	var r rollover
	now := time.Now()
	var stopped time.Duration
	for range 600 { // a second at a time
		if r.drains(now, 1, 4000) {
			stopped += time.Second
		}
		w := wakeUp{now: now}
		if r.wakeUps(&w); w.first.IsZero() {
			t.Fatalf("nothing wakes the run at %s", now)
		}
		now = now.Add(time.Second)
	}
	if stopped < drainFor || stopped > 150*time.Second {
		t.Errorf("the run started nothing for %s of ten minutes", stopped)
	}
	r.working = time.Time{}
	if !r.drains(now, 0, 4000) {
		t.Error("the run goes on although nothing is in flight")
	}
}

// Temporal ends a run whose history is too long. Before that, the run waits for everything in
// flight.
func TestARunLeavesBeforeItsHistoryIsTooLong(t *testing.T) {
	t.Parallel()
	r := rollover{working: time.Now().Add(time.Hour)}
	for i := range 100 {
		if !r.drains(time.Now().Add(time.Duration(i)*time.Minute), 1, longestHistory+1) {
			t.Fatal("the run goes on")
		}
	}
}

// Temporal would start the mailing again and again.
func TestAMailingThatTemporalWouldRepeatIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		info    workflow.Info
		refused bool
	}{
		"a cron schedule":              {workflow.Info{CronSchedule: "@daily"}, true},
		"attempts without a limit":     {workflow.Info{RetryPolicy: &temporal.RetryPolicy{}}, true},
		"two attempts":                 {workflow.Info{RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 2}}, true},
		"one attempt":                  {workflow.Info{RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1}}, false},
		"neither schedule nor retries": {workflow.Info{}, false},
	} {
		if err := refuseRepetition(&c.info); (err != nil) != c.refused {
			t.Errorf("%s: %v", name, err)
		}
	}
}
