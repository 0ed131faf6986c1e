package workflows

import (
	"strings"
	"testing"
)

// Each turn of a batch brings all outcomes of the batch so far, not only the new ones.
func TestTheOutcomesOfABatchCountOnceHoweverManyTurnsItHas(t *testing.T) {
	t.Parallel()
	var o outcomes
	for _, sent := range []int64{0, 3, 5} {
		o.add(1, SentBatch{Counts: Counts{Sent: sent}})
		o.add(2, SentBatch{Counts: Counts{Sent: sent, Bounced: 1}})
	}
	if got := o.all(); got != (Counts{Sent: 10, Bounced: 1}) || o.Closed != 0 || o.answered() != 11 {
		t.Errorf("while both are open: %+v, %d closed", got, o.Closed)
	}
	o.add(1, SentBatch{Closed: true, Counts: Counts{Sent: 7, Uncertain: 1}})
	if got := o.all(); got != (Counts{Sent: 12, Bounced: 1, Uncertain: 1}) || o.Closed != 1 || len(o.Partial) != 1 {
		t.Errorf("after one is closed: %+v, %d closed", got, o.Closed)
	}
	o.resolve(1, false)
	if got := o.all(); got != (Counts{Sent: 13, Bounced: 1}) {
		t.Errorf("resolved as sent: %+v", got)
	}
}

func TestTheErrorLimitIgnoresWhatAnOperatorHasForgiven(t *testing.T) {
	t.Parallel()
	var o outcomes
	o.add(1, SentBatch{Closed: true, Counts: Counts{Sent: 80, Bounced: 15, Failed: 2}})
	o.Refused = 3
	want := "20 of 100 tried (15 bounced, 2 failed, 3 refusals of us)"
	if reason := o.overLimit(19, 100); !strings.Contains(reason, want) {
		t.Errorf("reason %q", reason)
	}
	for name, c := range map[string][2]int{
		"no limit": {0, 1}, "just the limit": {20, 100}, "fewer than the minimum": {1, 101},
	} {
		if reason := o.overLimit(c[0], c[1]); reason != "" {
			t.Errorf("%s: %s", name, reason)
		}
	}
	o.forgive()
	before := o.errors()
	o.add(2, SentBatch{Closed: true, Counts: Counts{Bounced: 100}}) // was in flight
	o.forgiveSince(before)
	if reason := o.overLimit(1, 1); reason != "" {
		t.Errorf("after a resume: %s", reason)
	}
	o.add(3, SentBatch{Closed: true, Counts: Counts{Bounced: 1}})
	if o.overLimit(1, 1) == "" {
		t.Error("an error after the resume does not count")
	}
}

// A recipient who was sent, and bounced later, was tried once.
func TestBouncesThatComeBackByMailCountTowardsTheErrorLimit(t *testing.T) {
	t.Parallel()
	var o outcomes
	o.add(1, SentBatch{Closed: true, Counts: Counts{Sent: 97, Bounced: 3}, Returned: 7})
	if reason := o.overLimit(10, 100); reason != "" {
		t.Errorf("10 of 100: %s", reason)
	}
	o.add(2, SentBatch{Counts: Counts{Sent: 50}, Returned: 8}) // the number is that of the mailing
	want := "11 of 100 tried (3 bounced, 0 failed, 0 refusals of us, 8 bounced later), which is more than 10 %"
	if reason := o.overLimit(10, 100); !strings.Contains(reason, want) {
		t.Errorf("reason %q, want %q", reason, want)
	}
	o.add(2, SentBatch{Counts: Counts{Sent: 60}, Returned: 5}) // an older answer that comes later
	if o.overLimit(10, 100) == "" {
		t.Error("an older answer takes bounces back")
	}
	o.forgive()
	if reason := o.overLimit(1, 1); reason != "" {
		t.Errorf("after a resume: %s", reason)
	}
	o.add(2, SentBatch{Counts: Counts{Sent: 70}, Returned: 9})
	o.add(2, SentBatch{Closed: true, Counts: Counts{Sent: 10}, Returned: 9})
	if o.overLimit(9, 1) == "" {
		t.Error("a bounce after the resume does not count")
	}
	if got := o.all(); got != (Counts{Sent: 107, Bounced: 3}) {
		t.Errorf("the outcomes have changed: %+v", got)
	}
}
