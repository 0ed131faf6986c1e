package delivery

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	workflowpb "go.temporal.io/api/workflow/v1"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/dev/smtptest"
	"directmailer/test/rig"
	"directmailer/workflows"
)

// answerAfter returns a script that answers each message after a pause.
func answerAfter(pause time.Duration) func(smtptest.Event) *smtptest.Action {
	return func(e smtptest.Event) *smtptest.Action {
		if e.Phase != "DOT" {
			return nil
		}
		done := make(chan struct{})
		time.AfterFunc(pause, func() { close(done) })
		return &smtptest.Action{Wait: done}
	}
}

// A small mailing ends within seconds, although a large one started before it and keeps every slot
// and connection busy.
func TestASmallMailingDoesNotWaitForALargeOne(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		dynamic map[string]string
		seconds int // that the small mailing may take beside the large one, by the server's pace
	}{
		"where the server knows fairness": {nil, 16},
		"where it does not":               {map[string]string{"matching.enableFairness": "false"}, 71},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			smallBesideLarge(t, c.dynamic, c.seconds)
		})
	}
}

// smallBesideLarge starts a mailing of 100 beside one of which 100 seconds are left. It counts the
// messages of the large one until the small one ends. The same small mailing alone shows before how
// long it takes on this machine.
func smallBesideLarge(t *testing.T, dynamic map[string]string, seconds int) {
	const many, few, pace = 10_000, 100, 100 // recipients, and messages a second over all connections
	script := answerAfter(time.Second * rig.Connections / pace)
	s := smtptest.Start(t, smtptest.Options{Script: script})
	address := servertest.Temporal(t)
	if dynamic != nil {
		address = servertest.OwnTemporal(t, dynamic).Address()
	}
	r := rig.NewOn(t, rig.MX(s), servertest.Database(t), address)
	r.ImportList(many)
	r.StartWorker()
	if _, err := r.Pool.Exec(t.Context(), `INSERT INTO lists (name, source, members, columns)
		VALUES ('few', 'few.csv', $1, '{name}')`, few); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Pool.Exec(t.Context(), `
		INSERT INTO list_members
		SELECT (SELECT id FROM lists WHERE name = 'few'), position, 's' || address, 's' || address_key, attributes
		FROM list_members WHERE position <= $1`, few); err != nil {
		t.Fatal(err)
	}
	sendFew := func(name string) time.Duration {
		small, in := r.Another(name), rig.Mailing(500)
		in.List = "few"
		began := time.Now()
		if result := small.Result(small.Start(in)); result.Counts.Sent != few {
			t.Errorf("%+v", result)
		}
		return time.Since(began)
	}
	sendFew("warm-up")
	alone := sendFew("alone")
	large := r.Start(rig.Mailing(500))
	r.Eventually("the large one is under way", func() bool { return len(s.Received()) > 2*few+2*pace })
	before := len(s.Received())
	took := sendFew("small")
	after := len(s.Received()) - before
	t.Logf("the small mailing took %v alone; beside the large one %v and %d messages", alone, took, after)
	if most := (time.Duration(seconds)*time.Second + 2*alone).Seconds() * pace; float64(after) > most {
		t.Errorf("the small mailing was done after %v and %d messages, want up to %.0f", took, after, most)
	}
	r.MustUpdate(workflows.CancelUpdate)
	r.Result(large)
	copies := s.Copies()
	for a := range copies {
		if strings.HasPrefix(a, "s") {
			delete(copies, a)
		}
	}
	r.Judge(copies, many)
}

// Each worker gets a share of the mailing, whatever the size of its batches, and whichever worker
// asks first. No message gets an answer, so in the end every connection of every worker has a
// message at its final dot. There are no more batches than workers, so no worker may have two.
func TestEveryConnectionOfEveryWorkerIsBusy(t *testing.T) {
	t.Parallel()
	for _, size := range []int{60, 500} {
		t.Run(fmt.Sprintf("batch_size=%d", size), func(t *testing.T) {
			t.Parallel()
			const workers = 3
			s, stall := rig.StalledServer(t, 0)
			r := rig.New(t, rig.MX(s))
			r.ImportList(workers * size)
			for range workers {
				r.StartWorker()
			}
			r.AwaitPollers(workers)
			run := r.Start(rig.Mailing(size))
			r.Eventually(fmt.Sprintf("%d messages are at their dots", workers*rig.Connections),
				func() bool { return stall.Waiting() == workers*rig.Connections })
			stall.ReleaseAll()
			if result := r.Result(run); result.Counts.Sent != int64(workers*size) {
				t.Errorf("result %+v", result)
			}
			if duplicates := r.Judge(s.Copies(), workers*size); duplicates > 0 {
				t.Errorf("%d duplicates", duplicates)
			}
		})
	}
}

// A mailing whose server does not answer has one batch on each worker. Another mailing, through
// another drop point, gets the second slot of the worker.
func TestAMailingThatIsLimitedByItsServerTakesNoSlotsFromOthers(t *testing.T) {
	t.Parallel()
	slow, stall := rig.StalledServer(t, 0)
	fast := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, fmt.Sprintf("slow=smtp://%s?connections=%d fast=smtp://%s?connections=%d", slow.Addr(),
		rig.Connections, fast.Addr(), rig.Connections))
	const recipients = 400
	r.ImportList(recipients)
	r.StartWorker("DM_MAX_BATCHES=2")
	in := rig.Mailing(50)
	in.DropPoints = []string{"slow"}
	limited := r.Start(in)
	r.Eventually("every connection to the slow server waits", func() bool { return stall.Waiting() == rig.Connections })
	r.Eventually("the worker hands batches of the slow mailing over", func() bool {
		d, err := r.Temporal.DescribeWorkflowExecution(t.Context(), limited.GetID(), "")
		if err != nil {
			return false
		}
		for _, a := range d.PendingActivities {
			if a.GetLastFailure().GetApplicationFailureInfo().GetType() == "WorkerBusy" && a.Attempt > 10 {
				return true
			}
		}
		return false
	})
	in.DropPoints = []string{"fast"}
	r.MailingID = r.ID() + "-fast"
	if result := r.Result(r.Start(in)); result.Counts.Sent != recipients {
		t.Errorf("result %+v", result)
	}
	if n := stall.Waiting(); n != rig.Connections {
		t.Errorf("%d messages were handed to the slow server meanwhile, want %d", n, rig.Connections)
	}
	stall.ReleaseAll()
	if result := r.Result(limited); result.Counts.Sent != recipients {
		t.Errorf("result %+v", result)
	}
}

// A worker whose DM_DROP_POINTS lacks the drop point gives its batches to the other worker. No
// failure of the drop point is counted, although one failure would suspend the mailing.
func TestAWorkerWithoutTheDropPointGivesItsBatchesToAnother(t *testing.T) {
	t.Parallel()
	s, stall := rig.StalledServer(t, 0)
	r := rig.New(t, rig.MX(s))
	const recipients = 400
	r.ImportList(recipients)
	r.StartWorker()
	in := rig.Mailing(10)
	in.DropPoints = []string{"mx"}
	in.Retry.DropPoint = workflows.Retry{Attempts: 1, Interval: workflows.Duration(time.Minute)}
	run := r.Start(in)
	r.Eventually("the mailing is being sent", func() bool { return stall.Waiting() == rig.Connections })
	r.StartWorker("DM_DROP_POINTS=other=smtp://" + s.Addr())
	r.AwaitPollers(2)
	r.Eventually("the other worker was asked", func() bool {
		d, err := r.Temporal.DescribeWorkflowExecution(t.Context(), run.GetID(), "")
		return err == nil && slices.ContainsFunc(d.PendingActivities, func(a *workflowpb.PendingActivityInfo) bool {
			return a.GetLastFailure().GetApplicationFailureInfo().GetType() == "NoDropPoint"
		})
	})
	stall.ReleaseAll()
	if result := r.Result(run); result.Counts.Sent != recipients {
		t.Errorf("result %+v", result)
	}
	status, err := r.Status()
	if err != nil || len(status.DropPoints) != 1 || status.DropPoints[0].LastFailure != "" {
		t.Errorf("the drop point is blamed: %+v, %v", status.DropPoints, err)
	}
}
