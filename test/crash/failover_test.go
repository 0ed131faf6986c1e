package crash

import (
	"testing"

	"directmailer/internal/dev/servertest"
	"directmailer/test/rig"
)

// The primary dies for good, and its synchronous standby is promoted. The worker goes on by itself:
// its URL has both hosts.
func TestThePrimaryDiesAndTheMailingGoesOnWithTheStandby(t *testing.T) {
	t.Parallel()
	const recipients = 200
	primary := servertest.OwnPostgres(t)
	standby := servertest.Standby(t, primary, 0)
	if err := primary.Synchronous(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, stall := rig.StalledServer(t, 60)
	r := rig.NewOn(t, rig.MX(s), primary.WithStandby(standby, "mail"), servertest.Temporal(t))
	r.ImportList(recipients)
	w := r.StartWorker()
	run := r.Start(rig.Mailing(50))
	r.AwaitStalled(s, stall, 60)
	primary.Kill()
	stall.ReleaseAll() // the server answers while no host accepts writes
	if err := standby.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	result := r.Result(run)
	if d := r.Judge(s.Copies(), recipients); d > rig.Connections || result.Counts.Sent != recipients {
		t.Errorf("%d duplicates; %+v", d, result.Counts)
	}
	select {
	case <-w.Exited:
		t.Error("the worker has ended")
	default:
	}
}
