package sender_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/delivery/sender"
	"directmailer/internal/dev/smtptest"
)

// overdue is a batch whose turn has ended while a slow drop point keeps one message in flight, and
// a fast one keeps another.
type overdue struct {
	*rig
	slow, fast *smtptest.Stall
	ended      chan sender.Report
}

func newOverdue(t *testing.T, silent func() bool) *overdue {
	t.Helper()
	o := &overdue{slow: smtptest.NewStall("DOT", 0), fast: smtptest.NewStall("DOT", 0),
		ended: make(chan sender.Report, 1)}
	t.Cleanup(o.slow.ReleaseAll)
	t.Cleanup(o.fast.ReleaseAll)
	o.rig = newRig(t, "connections=1", o.slow.Script)
	server := smtptest.Start(t, smtptest.Options{Script: o.fast.Script})
	config, err := droppoint.Parse("fast", "smtp://"+server.Addr()+"?tls=none&connections=1")
	if err != nil {
		t.Fatal(err)
	}
	set := droppoint.NewSet([]droppoint.Config{config})
	t.Cleanup(set.Close)
	fast, _ := set.Get("fast")
	sending := sender.New(o.batch(o.claim("m", false), func(b *sender.Batch) {
		b.DropPoints = append(b.DropPoints, sender.DropPoint{DropPoint: fast})
		b.Silent = silent
	}))
	go func() {
		report, err := sending.Run(context.WithoutCancel(t.Context()))
		if err != nil {
			t.Error(err)
		}
		o.ended <- report
	}()
	o.await("a message at each drop point", func() bool { return o.slow.Waiting() == 1 && o.fast.Waiting() == 1 })
	sending.EndTurn()
	return o
}

func (o *overdue) await(what string, happened func() bool) {
	o.Helper()
	for deadline := time.Now().Add(time.Minute); !happened(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			o.Fatalf("it did not happen: %s", what)
		}
	}
}

func TestTheRestOfABatchDoesNotWaitForASlowDropPoint(t *testing.T) {
	t.Parallel()
	o := newOverdue(t, nil)
	for range recipients - 1 {
		o.await("another message at the fast drop point", func() bool { return o.fast.Release(1) == 1 })
	}
	o.slow.ReleaseAll()
	if report := <-o.ended; !report.Complete {
		t.Errorf("%+v", report)
	}
	if got := len(o.server.Received()); got != 1 {
		t.Errorf("the slow drop point had %d messages", got)
	}
}

func TestATurnThatIsOverIsNotProlongedForLonger(t *testing.T) {
	t.Parallel()
	o := newOverdue(t, nil)
	for range 3 {
		o.await("another message at the fast drop point", func() bool { return o.fast.Release(1) == 1 })
	}
	o.await("another message at the fast drop point", func() bool { return o.fast.Waiting() == 1 })
	o.slow.ReleaseAll()
	o.await("the slow drop point's answer", func() bool { return len(o.server.Received()) == 1 })
	o.await("the connection of the slow drop point is given back", o.dropPoint.HasFree)
	o.fast.ReleaseAll()
	if report := <-o.ended; report.Complete {
		t.Errorf("%+v", report)
	}
}

func TestNoMessageIsBegunAfterTheTurnWhileTemporalIsSilent(t *testing.T) {
	t.Parallel()
	var silent atomic.Bool
	var asked atomic.Int32
	silent.Store(true)
	o := newOverdue(t, func() bool { asked.Add(1); return silent.Load() })
	o.fast.Release(1)
	o.await("three looks at Temporal, or a message", func() bool { return asked.Load() >= 3 || o.fast.Waiting() > 0 })
	if o.fast.Waiting() > 0 {
		t.Error("a message was begun while Temporal was silent")
	}
	silent.Store(false)
	o.await("another message at the fast drop point", func() bool { return o.fast.Waiting() == 1 })
	o.fast.ReleaseAll()
	o.slow.ReleaseAll()
	<-o.ended
}
