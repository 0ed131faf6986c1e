package workflows_test

import (
	"sync/atomic"
	"testing"
	"time"

	"directmailer/workflows"
)

func TestNothingIsRenderedOrSentBeforeNotBefore(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 2)
	in := input()
	in.NotBefore = o.env.Now().Add(time.Hour)
	early := func(what string) {
		if now := o.env.Now(); now.Before(in.NotBefore) {
			t.Errorf("a batch is %s %s before not_before", what, in.NotBefore.Sub(now))
		}
	}
	o.render = func(workflows.RenderCall) error { early("rendered"); return nil }
	o.send = func(c workflows.SendCall) (workflows.SentBatch, error) { early("sent"); return closed(c), nil }
	if r := o.run(in); r.State != workflows.StateCompleted || len(o.sends) != 2 {
		t.Errorf("result %+v, %d batches", r, len(o.sends))
	}
}

// The mailing is resumed. What it had counted by then would still be more than the limit.
func TestAResumedMailingIsNotStoppedByWhatWasForgiven(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 40)
	var mended atomic.Bool
	o.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		out := closed(c)
		if !mended.Load() {
			out.Counts = workflows.Counts{Bounced: 10}
		}
		return out, nil
	}
	var resumed error
	suspended := false
	o.env.RegisterDelayedCallback(func() {
		suspended = o.status().State == workflows.StateSuspended
		mended.Store(true)
	}, time.Hour)
	o.update(time.Hour+time.Second, workflows.ResumeUpdate, &resumed)
	in := input()
	in.MaxErrorPercent, in.ErrorMinimum = 5, 10
	if r := o.run(in); r.State != workflows.StateCompleted || !suspended || resumed != nil {
		t.Errorf("result %+v; suspended: %v; resume: %v", r, suspended, resumed)
	}
}

func TestAResolutionChangesTheCountsAndWhoIsWaitedFor(t *testing.T) {
	t.Parallel()
	for as, want := range map[string]workflows.Counts{"sent": {Sent: 10}, "resend": {Sent: 9}} {
		t.Run(as, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, 2)
			var turns, gathered atomic.Int32
			o.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
				out := closed(c)
				switch {
				case c.Batch == 1:
					out.Counts = workflows.Counts{Sent: 9, Uncertain: 1}
				case c.Batch == 2 && turns.Add(1) == 1: // keeps the mailing open for an hour
					out.Closed, out.Counts, out.NotBefore = false, workflows.Counts{}, o.env.Now().Add(time.Hour)
				}
				return out, nil
			}
			o.gather = func(workflows.GatherCall) (workflows.Gathered, error) {
				gathered.Add(1)
				return workflows.Gathered{Ready: []int{3}}, nil
			}
			var refused error
			looked := false
			o.update(10*time.Minute, workflows.ResolveUpdate, &refused, workflows.Resolution{As: as})
			o.env.RegisterDelayedCallback(func() {
				looked = true
				got := o.status().Counts
				if as == "resend" { // the recipient is in a batch of a later round, which is sent at once
					got.Sent -= 10
				}
				if got != want {
					t.Errorf("after the resolution: %+v, want %+v", got, want)
				}
			}, 30*time.Minute)
			if r := o.run(input()); r.State != workflows.StateCompleted || refused != nil || !looked {
				t.Errorf("result %+v; refused: %v; looked: %v", r, refused, looked)
			}
			if again := gathered.Load() > 0; again != (as == "resend") {
				t.Errorf("the recipient is sent to again: %v", again)
			}
		})
	}
}
