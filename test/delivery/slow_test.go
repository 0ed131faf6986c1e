package delivery_test

import (
	"fmt"
	"strings"
	"testing"

	"go.temporal.io/sdk/client"

	"directmailer/internal/dev/smtptest"
	"directmailer/test/rig"
)

// The server gives three connections, and each of two workers may open eight. Nobody is deferred,
// and the drop point never fails, whichever worker has the connections.
func TestAServerWithThreeConnectionsGetsTheWholeMailing(t *testing.T) {
	t.Parallel()
	const recipients = 300
	s := smtptest.Start(t, smtptest.Options{MaxOpen: 3})
	r := rig.New(t, "mx=smtp://"+s.Addr())
	r.ImportList(recipients)
	r.StartWorker()
	r.StartWorker()
	r.AwaitPollers(2)
	in := rig.Mailing(20)
	in.Retry.DropPoint.Attempts = 1 // a failure would suspend the mailing
	run := r.Start(in)
	if result := r.Result(run); result.Counts.Sent != recipients {
		t.Errorf("%+v", result)
	}
	if d := r.Judge(s.Copies(), recipients); d > 0 {
		t.Errorf("%d duplicates", d)
	}
	status, err := r.Status()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range status.DropPoints {
		if p.LastFailure != "" || p.Failures > 0 {
			t.Errorf("a failure of the drop point was counted: %+v", p)
		}
	}
	var others int
	row := r.Pool.QueryRow(t.Context(), `SELECT count(*) FROM deliveries WHERE status <> 'sent'`)
	if err := row.Scan(&others); err != nil || others > 0 {
		t.Errorf("%d attempts were not sent: %v", others, err)
	}
}

// The server accepts so many messages in a second and says that the rate is too high then. Nobody
// is deferred, the drop point never fails, and the status says what slows it down.
func TestAServerThatThrottlesGetsTheWholeMailing(t *testing.T) {
	t.Parallel()
	const recipients, perSecond = 120, 40
	s := smtptest.Start(t, smtptest.Options{
		Script: rig.Throttle(perSecond, "454 Throttling failure: Maximum sending rate exceeded."),
	})
	r := rig.New(t, "mx=smtp://"+s.Addr())
	r.ImportList(recipients)
	r.StartWorker()
	in := rig.Mailing(recipients)
	in.Retry.DropPoint.Attempts = 1 // a failure would suspend the mailing
	run := r.Start(in)
	if result := r.Result(run); result.Counts.Sent != recipients {
		t.Errorf("%+v", result)
	}
	if d := r.Judge(s.Copies(), recipients); d > 0 {
		t.Errorf("%d duplicates", d)
	}
	status, err := r.Status()
	if err != nil || len(status.DropPoints) != 1 {
		t.Fatalf("%+v, %v", status, err)
	}
	if p := status.DropPoints[0]; p.LastFailure != "" || !strings.Contains(p.Slowed, "slowed down to") ||
		!strings.Contains(p.Slowed, "454") {
		t.Errorf("%+v", p)
	}
	var others int
	row := r.Pool.QueryRow(t.Context(), `SELECT count(*) FROM deliveries WHERE status NOT IN ('sent', 'not_sent')`)
	if err := row.Scan(&others); err != nil || others > 0 {
		t.Errorf("%d attempts are neither sent nor not sent: %v", others, err)
	}
}

// The server answers a message and then no more, while its batch has the only slot of the worker.
func TestAServerThatStopsAnsweringDoesNotStopMailThroughAnother(t *testing.T) {
	t.Parallel()
	const recipients = 10
	slow, stall := rig.StalledServer(t, 1)
	fast := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, fmt.Sprintf("slow=smtp://%s?connections=%d fast=smtp://%s", slow.Addr(), rig.Connections, fast.Addr()))
	r.ImportList(recipients)
	r.StartWorker("DM_MAX_BATCHES=1")
	in := rig.Mailing(recipients)
	in.DropPoints = []string{"slow"}
	held := r.Another("slow")
	run := held.Start(in)
	r.AwaitStalled(slow, stall, 1)
	in.DropPoints = []string{"fast"}
	if result := r.Result(r.Start(in)); result.Counts.Sent != recipients {
		t.Errorf("%+v", result)
	}
	if n := len(slow.Received()); n != 1 {
		t.Errorf("the slow server has taken %d messages", n)
	}
	stall.ReleaseAll()
	if result := held.Result(run); result.Counts.Sent != recipients {
		t.Errorf("%+v", result)
	}
}

// The server of eight mailings answers none of their messages, and each batch keeps its slot until
// then. A ninth mailing, through another server, is done meanwhile.
func TestEightMailingsWithASlowServerDoNotStopAQuickOne(t *testing.T) {
	t.Parallel()
	const recipients, mailings = 3, 8
	slow, stall := rig.StalledServer(t, 0)
	fast := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, fmt.Sprintf("slow=smtp://%s?connections=%d fast=smtp://%s",
		slow.Addr(), recipients*mailings, fast.Addr()))
	r.ImportList(recipients)
	r.StartWorker()
	in := rig.Mailing(recipients)
	in.DropPoints = []string{"slow"}
	var runs []client.WorkflowRun
	for n := range mailings {
		runs = append(runs, r.Another(fmt.Sprint("slow-", n)).Start(in))
	}
	r.Eventually("half of the slots wait for the server", func() bool {
		return stall.Waiting() >= recipients*mailings/2
	})
	in.DropPoints = []string{"fast"}
	if result := r.Result(r.Start(in)); result.Counts.Sent != recipients {
		t.Errorf("%+v", result)
	}
	if n := len(slow.Received()); n > 0 {
		t.Errorf("the slow server has taken %d messages", n)
	}
	stall.ReleaseAll()
	for _, run := range runs {
		if result := r.Result(run); result.Counts.Sent != recipients {
			t.Errorf("%+v", result)
		}
	}
}
