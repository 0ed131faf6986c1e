package activities

import (
	"strings"
	"testing"
	"time"

	"directmailer/workflows/policy"
)

func TestEachActivityHasItsQueueAndTheTimeOfItsSlowestWork(t *testing.T) {
	t.Parallel()
	queues := map[string]string{
		policy.SendBatch: "q", policy.RenderBatch: policy.RenderQueue("q"), policy.PrepareList: policy.PrepareQueue("q"),
		policy.ReadMailbox: policy.MailboxQueue("q"),
	}
	// A query may take six hours, and the last answer of a batch ten minutes after its turn. The
	// ledger of millions is closed row by row. An input has up to 1,101 rate limits, each of which is
	// a round trip to a database that may be far away.
	slowest := map[string]time.Duration{
		policy.OpenMailing: 5 * time.Minute,
		policy.PrepareList: 6 * time.Hour, policy.RenderBatch: 30 * time.Minute, policy.SendBatch: time.Hour,
		policy.GatherDeferred: 30 * time.Minute, policy.CheckDropPoint: checkTimeout, policy.CloseMailing: time.Hour,
		policy.ResolveUncertain: 30 * time.Minute, policy.ReadMailbox: 10 * time.Minute,
	}
	long := strings.Repeat("m", 100)
	for _, name := range policy.Names() {
		o := policy.Options(name, "", "q", long)
		queue := queues[name]
		if queue == "" {
			queue = policy.StepsQueue("q")
		}
		if o.TaskQueue != queue {
			t.Errorf("%s waits in %s, want %s", name, o.TaskQueue, queue)
		}
		if o.StartToCloseTimeout <= max(slowest[name], 30*time.Second) {
			t.Errorf("%s may take %s only", name, o.StartToCloseTimeout)
		}
		// After a crash, another worker goes on soon, however often that happens.
		if r := o.RetryPolicy; r.InitialInterval > time.Second || r.MaximumInterval > time.Minute {
			t.Errorf("%s: after a crash it waits %s, later %s", name, r.InitialInterval, r.MaximumInterval)
		}
		if key := o.Priority.FairnessKey; key != long[:64] {
			t.Errorf("%s: the fairness key %q is not of the mailing, or too long", name, key)
		}
	}
}
