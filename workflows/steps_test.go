package workflows_test

import (
	"sync/atomic"
	"testing"
	"time"

	"directmailer/workflows"
)

func TestNothingIsRenderedOrSentBeforeNotBefore(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 2)
	in := input()
	in.NotBefore = rig.env.Now().Add(time.Hour)
	early := func(what string) {
		if now := rig.env.Now(); now.Before(in.NotBefore) {
			t.Errorf("a batch is %s %s before not_before", what, in.NotBefore.Sub(now))
		}
	}
	rig.render = func(workflows.RenderCall) error { early("rendered"); return nil }
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) { early("sent"); return closed(c), nil }
	if r := rig.run(in); r.State != workflows.StateCompleted || len(rig.sends) != 2 {
		t.Errorf("result %+v, %d batches", r, len(rig.sends))
	}
}

// The errors before the resume would still be more than the limit.
func TestAResumedMailingIsNotStoppedByWhatWasForgiven(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 40)
	var mended atomic.Bool
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		out := closed(c)
		if !mended.Load() {
			out.Counts = workflows.Counts{Bounced: 10}
		}
		return out, nil
	}
	var resumed error
	suspended := false
	rig.env.RegisterDelayedCallback(func() {
		suspended = rig.status().State == workflows.StateSuspended
		mended.Store(true)
	}, time.Hour)
	rig.update(time.Hour+time.Second, workflows.ResumeUpdate, &resumed)
	in := input()
	in.MaxErrorPercent, in.ErrorMinimum = 5, 10
	if r := rig.run(in); r.State != workflows.StateCompleted || !suspended || resumed != nil {
		t.Errorf("result %+v; suspended: %v; resume: %v", r, suspended, resumed)
	}
}

func TestAResolutionChangesTheCountsAndWhoIsWaitedFor(t *testing.T) {
	t.Parallel()
	for as, want := range map[string]workflows.Counts{"sent": {Sent: 10}, "resend": {Sent: 9}} {
		t.Run(as, func(t *testing.T) {
			t.Parallel()
			rig := newRig(t, 2)
			var turns, gathered atomic.Int32
			rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
				out := closed(c)
				switch {
				case c.Batch == 1:
					out.Counts = workflows.Counts{Sent: 9, Uncertain: 1}
				case c.Batch == 2 && turns.Add(1) == 1: // keeps the mailing open for an hour
					out.Closed, out.Counts, out.NotBefore = false, workflows.Counts{}, rig.env.Now().Add(time.Hour)
				}
				return out, nil
			}
			rig.gather = func(workflows.GatherCall) (workflows.Gathered, error) {
				gathered.Add(1)
				return workflows.Gathered{Ready: []int{3}}, nil
			}
			var refused error
			looked := false
			rig.update(10*time.Minute, workflows.ResolveUpdate, &refused, workflows.Resolution{As: as})
			rig.env.RegisterDelayedCallback(func() {
				looked = true
				got := rig.status().Counts
				if as == "resend" { // the recipient is in a batch of a later round, which is sent at once
					got.Sent -= 10
				}
				if got != want {
					t.Errorf("after the resolution: %+v, want %+v", got, want)
				}
			}, 30*time.Minute)
			if r := rig.run(input()); r.State != workflows.StateCompleted || refused != nil || !looked {
				t.Errorf("result %+v; refused: %v; looked: %v", r, refused, looked)
			}
			if again := gathered.Load() > 0; again != (as == "resend") {
				t.Errorf("the recipient is sent to again: %v", again)
			}
		})
	}
}
