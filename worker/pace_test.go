package main_test

import (
	"sync"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"

	"directmailer/internal/dev/smtptest"
	"directmailer/workflows/policy"
)

// held starts a server that accepts n messages and holds every later one at its dot until the test
// releases it.
func held(t testing.TB, n int) (*smtptest.Server, *smtptest.Stall) {
	t.Helper()
	stall := smtptest.NewStall("DOT", n)
	return smtptest.Start(t, smtptest.Options{Script: stall.Script}), stall
}

// full waits until the server has accepted n messages and every connection holds one more at its
// dot.
func (p *plant) full(s *smtptest.Server, stall *smtptest.Stall, n int) {
	p.Helper()
	p.eventually("every connection waits for an answer", func() bool { return len(s.Received()) == n && stall.Waiting() == lanes })
}

// heard waits until the workers have learned that the mailing's batches are cancelled. Temporal has
// asked each SendBatch for it, and has had two heartbeats since: a worker sends the second only
// after the answer to the first.
func (p *plant) heard() {
	p.Helper()
	last, beats := map[string]time.Time{}, map[string]int{}
	p.eventually("the workers have learned of the cancellation", func() bool {
		d, err := p.temporal.DescribeWorkflowExecution(p.Context(), p.id(), "")
		if err != nil {
			return false
		}
		for _, a := range d.PendingActivities {
			if a.ActivityType.Name != policy.SendBatch {
				continue
			}
			if a.State != enumspb.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED {
				return false
			}
			at := a.LastHeartbeatTime.AsTime()
			if was, known := last[a.ActivityId]; known && at.After(was) {
				beats[a.ActivityId]++
			}
			last[a.ActivityId] = at
			if beats[a.ActivityId] < 2 {
				return false
			}
		}
		return len(last) > 0
	})
}

// times keeps when something happened.
type times struct {
	mu  sync.Mutex
	all []time.Time
}

func (m *times) add(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, at)
}

// after returns how often it happened later than at, and when for the last time.
func (m *times) after(at time.Time) (n int, last time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.all {
		if t.After(at) {
			n++
			last = t
		}
	}
	return n, last
}
