package policy_test

import (
	"testing"
	"time"

	"directmailer/workflows/policy"
)

func TestWorkThatIsHandedOverIsOfferedAgainSoonHoweverOften(t *testing.T) {
	t.Parallel()
	for kind, most := range map[policy.ErrorType]time.Duration{
		policy.WorkerStopping: time.Millisecond, policy.BatchTaken: time.Millisecond,
		policy.WorkerBusy: 2 * time.Second, policy.NoDropPoint: 2 * time.Second, policy.NoTokenKey: 2 * time.Second,
		policy.SlotsTaken: 16 * time.Second,
	} {
		before := time.Duration(1)
		for n := 1; n <= 200; n++ {
			pause := policy.HandOverPause(kind, n)
			if pause < before || pause > most {
				t.Fatalf("%s: pause %d is %s, after %s", kind, n, pause, before)
			}
			before = pause
		}
		if before != most {
			t.Errorf("%s: the pause grows to %s, want %s", kind, before, most)
		}
	}
}
