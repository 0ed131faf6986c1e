package workflows

import (
	"testing"
	"time"
)

// The answer to one final dot may take ten minutes: the rest of a mailing whose history is long does not wait for it.
func TestOneSlowAnswerDoesNotStopAMailingWhoseHistoryIsLong(t *testing.T) {
	t.Parallel()
	var l leaving
	now := time.Now()
	var stopped time.Duration
	for range 600 { // a second at a time
		if l.leaves(now, 1, 4000) {
			stopped += time.Second
		}
		if next := l.next(); !next.After(now) {
			t.Fatalf("nothing wakes the run at %s", now)
		}
		now = now.Add(time.Second)
	}
	if stopped < leaveWithin || stopped > 150*time.Second {
		t.Errorf("the run started nothing for %s of ten minutes", stopped)
	}
	l.stay = time.Time{}
	if !l.leaves(now, 0, 4000) {
		t.Error("the run stays although nothing is in flight")
	}
}

// Temporal ends a run whose history is too long: before that, the run waits for whatever is in flight.
func TestARunLeavesBeforeItsHistoryIsTooLong(t *testing.T) {
	t.Parallel()
	l := leaving{stay: time.Now().Add(time.Hour)}
	for i := range 100 {
		if !l.leaves(time.Now().Add(time.Duration(i)*time.Minute), 1, longestHistory+1) {
			t.Fatal("the run goes on")
		}
	}
}
