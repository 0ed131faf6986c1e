package main_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"google.golang.org/protobuf/proto"

	"directmailer/internal/dev/smtptest"
	"directmailer/workflows"
)

// Each worker gets a share of the mailing, however large its batches are, and whichever worker was
// the first to ask: with no answer given, every connection of every worker has a message at its
// dot. There are no more batches than workers, so none may have two.
func TestEveryConnectionOfEveryWorkerIsBusy(t *testing.T) {
	t.Parallel()
	for _, size := range []int{60, 500} {
		t.Run(fmt.Sprintf("batch_size=%d", size), func(t *testing.T) {
			t.Parallel()
			const workers = 3
			s, stall := held(t, 0)
			p := newPlant(t, mx(s))
			p.importList(workers * size)
			for range workers {
				p.startWorker()
			}
			p.waitForPollers(workers)
			run := p.start(mailing(size))
			p.eventually(fmt.Sprintf("%d messages are at their dots", workers*lanes), func() bool { return stall.Waiting() == workers*lanes })
			stall.ReleaseAll()
			if r := p.result(run); r.Counts.Sent != int64(workers*size) {
				t.Errorf("result %+v", r)
			}
			if duplicates := p.judge(s.Copies(), workers*size); duplicates > 0 {
				t.Errorf("%d duplicates", duplicates)
			}
		})
	}
}

// A mailing whose server answers nothing has one batch on each worker. Another mailing, through
// another drop point, finds room on a worker that has two slots.
func TestAMailingThatIsLimitedByItsServerTakesNoSlotsFromOthers(t *testing.T) {
	t.Parallel()
	slow, stall := held(t, 0)
	fast := smtptest.Start(t, smtptest.Options{})
	p := newPlant(t, fmt.Sprintf("slow=smtp://%s?connections=%d fast=smtp://%s?connections=%d", slow.Addr(), lanes, fast.Addr(), lanes))
	const recipients = 400
	p.importList(recipients)
	p.startWorker("DM_MAX_BATCHES=2")
	in := mailing(50)
	in.DropPoints = []string{"slow"}
	limited := p.start(in)
	p.eventually("every connection to the slow server waits", func() bool { return stall.Waiting() == lanes })
	p.eventually("the worker hands batches of the slow mailing over", func() bool {
		d, err := p.temporal.DescribeWorkflowExecution(t.Context(), limited.GetID(), "")
		if err != nil {
			return false
		}
		for _, a := range d.PendingActivities {
			if a.GetLastFailure().GetApplicationFailureInfo().GetType() == "WorkerBusy" && a.Attempt > 10 { // so late that the beginning is over
				return true
			}
		}
		return false
	})
	in.DropPoints = []string{"fast"}
	p.name = p.id() + "-fast"
	if r := p.result(p.start(in)); r.Counts.Sent != recipients {
		t.Errorf("result %+v", r)
	}
	if n := stall.Waiting(); n != lanes {
		t.Errorf("%d messages were handed to the slow server meanwhile, want %d", n, lanes)
	}
	stall.ReleaseAll()
	if r := p.result(limited); r.Counts.Sent != recipients {
		t.Errorf("result %+v", r)
	}
}

// A worker whose DM_DROP_POINTS lacks the drop point has nothing to say about it: it gives its
// batches to the other one, and no failure is counted, though one would suffice to suspend the
// mailing.
func TestAWorkerWithoutTheDropPointGivesItsBatchesToAnother(t *testing.T) {
	t.Parallel()
	s, stall := held(t, 0)
	p := newPlant(t, mx(s))
	const recipients = 400
	p.importList(recipients)
	p.startWorker()
	in := mailing(10)
	in.DropPoints = []string{"mx"}
	in.Retry.DropPoint = workflows.Retry{Attempts: 1, Interval: workflows.Duration(time.Minute)}
	run := p.start(in)
	p.eventually("the mailing is being sent", func() bool { return stall.Waiting() == lanes })
	p.startWorker("DM_DROP_POINTS=other=smtp://" + s.Addr())
	p.waitForPollers(2)
	p.eventually("the other worker was asked", func() bool {
		d, err := p.temporal.DescribeWorkflowExecution(t.Context(), run.GetID(), "")
		return err == nil && slices.ContainsFunc(d.PendingActivities, func(a *workflowpb.PendingActivityInfo) bool {
			return a.GetLastFailure().GetApplicationFailureInfo().GetType() == "NoDropPoint"
		})
	})
	stall.ReleaseAll()
	if r := p.result(run); r.Counts.Sent != recipients {
		t.Errorf("result %+v", r)
	}
	status, err := p.status()
	if err != nil || len(status.DropPoints) != 1 || status.DropPoints[0].LastFailure != "" {
		t.Errorf("the drop point is blamed: %+v, %v", status.DropPoints, err)
	}
}

// A mailing may wait for days to be opened: its content must not be in the history again with each probe.
func TestTheContentOfAMailingIsOnceInItsHistory(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	p := newPlant(t, mx(s))
	p.importList(20)
	p.startWorker()
	in := mailing(10)
	const mark = "a line that nobody else writes"
	in.Content.Text += mark
	run := p.start(in)
	p.result(run)
	found := 0
	for events := p.temporal.GetWorkflowHistory(t.Context(), run.GetID(), run.GetRunID(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
		event, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		data, err := proto.Marshal(event)
		if err != nil {
			t.Fatal(err)
		}
		found += bytes.Count(data, []byte(mark))
	}
	if found != 1 {
		t.Errorf("the content is %d times in the history", found)
	}
}
