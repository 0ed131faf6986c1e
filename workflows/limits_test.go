package workflows_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// The mailing has one batch. The error limit is 10 % from 100 recipients on.
func TestTheErrorLimitCountsErrorsAmongThoseTriedFromItsMinimumOn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		counts  workflows.Counts
		refused int
		reached bool
	}{
		"more than the limit bounced":          {workflows.Counts{Sent: 89, Bounced: 11}, 0, true},
		"just the limit bounced":               {workflows.Counts{Sent: 90, Bounced: 10}, 0, false},
		"more than the limit failed":           {workflows.Counts{Sent: 89, Failed: 11}, 0, true},
		"more than the limit refused us":       {workflows.Counts{Sent: 89}, 11, true},
		"just the limit refused us":            {workflows.Counts{Sent: 90}, 10, false},
		"bounced and failed and refused":       {workflows.Counts{Sent: 89, Bounced: 4, Failed: 4}, 3, true},
		"fewer than the minimum, all bounced":  {workflows.Counts{Bounced: 99}, 0, false},
		"just the minimum, all bounced":        {workflows.Counts{Bounced: 100}, 0, true},
		"uncertain is tried, and no error":     {workflows.Counts{Sent: 50, Uncertain: 50}, 0, false},
		"uncertain counts to the minimum":      {workflows.Counts{Uncertain: 80, Bounced: 20}, 0, true},
		"opted out is not tried":               {workflows.Counts{OptedOut: 60, Bounced: 40}, 0, false},
		"possibly twice is one recipient only": {workflows.Counts{Sent: 90, Bounced: 10, PossiblyTwice: 90}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rig := newRig(t, 1)
			rig.send = func(call workflows.SendCall) (workflows.SentBatch, error) {
				out := closed(call)
				out.Counts, out.Refused = c.counts, c.refused
				return out, nil
			}
			in := input()
			in.MaxErrorPercent, in.ErrorMinimum, in.OnExhausted = 10, 100, workflows.Fail
			rig.run(in)
			err := rig.env.GetWorkflowError()
			if reached := err != nil && strings.Contains(err.Error(), "error limit"); reached != c.reached {
				t.Errorf("the mailing ended with %v", err)
			}
		})
	}
}

func TestTheStatusCountsEachBatchOnce(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 3)
	rig.prepared = &workflows.Prepared{Members: 32, Recipients: 32, OptedOut: 2, Batches: 3}
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		out := closed(c)
		if c.Batch <= 3 {
			out.Counts = workflows.Counts{Sent: 7, Bounced: 1, Failed: 1}
			out.Deferred, out.NextRound = 1, rig.env.Now().Add(time.Hour)
		}
		return out, nil
	}
	rig.gather = func(workflows.GatherCall) (workflows.Gathered, error) {
		return workflows.Gathered{Ready: []int{4}}, nil
	}
	rig.env.RegisterDelayedCallback(func() {
		s := rig.status()
		want := workflows.Counts{Sent: 21, Bounced: 3, Failed: 3, OptedOut: 2}
		if s.Counts != want || s.Deferred != 3 || s.Closed != 3 || s.Recipients != 32 {
			t.Errorf("while three wait for a later round: %+v", s)
		}
	}, 30*time.Minute)
	if r := rig.run(input()); r.State != workflows.StateCompleted {
		t.Errorf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
}

// Each activity gets the settings of the input.
func TestWhatTheInputSaysReachesTheActivities(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 1)
	in := input()
	in.OnUncertain = workflows.Hold
	in.BatchSize = 17
	in.Deferral = workflows.Deferral{
		First: workflows.Duration(time.Minute),
		Most:  workflows.Duration(time.Hour),
		For:   workflows.Duration(48 * time.Hour),
	}
	retry := func(n int) workflows.Retry {
		return workflows.Retry{Attempts: n, Interval: workflows.Duration(time.Duration(n) * time.Second)}
	}
	in.Retry = workflows.Retries{List: retry(2), Database: retry(3), Page: retry(4), DropPoint: retry(5)}
	rig.open = func(c workflows.OpenCall) (workflows.Opened, error) {
		if c.Mailing != id || c.Retry != in.Retry.Database {
			t.Errorf("open: %+v", c)
		}
		return workflows.Opened{DropPoints: []string{"a", "b"}}, nil
	}
	rig.render = func(c workflows.RenderCall) error {
		if c.Mailing != id || c.Batch != 1 || c.Retry != in.Retry {
			t.Errorf("render: %+v", c)
		}
		return nil
	}
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		if c.Mailing != id || c.OnUncertain != workflows.Hold || c.Retry != in.Retry || c.Deferral != in.Deferral ||
			len(c.DropPoints) != 2 {
			t.Errorf("send: %+v", c)
		}
		out := closed(c)
		if c.Batch == 1 {
			out.Deferred, out.NextRound = 1, rig.env.Now().Add(time.Minute)
		}
		return out, nil
	}
	rig.gather = func(c workflows.GatherCall) (workflows.Gathered, error) {
		if c.Mailing != id || c.Known != 1 || c.BatchSize != 17 || c.Retry != in.Retry.Database ||
			c.Deferral != in.Deferral {
			t.Errorf("gather: %+v", c)
		}
		return workflows.Gathered{Ready: []int{2}}, nil
	}
	if r := rig.run(in); r.State != workflows.StateCompleted {
		t.Errorf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	if len(rig.prepares) != 1 || rig.prepares[0] != (workflows.PrepareCall{Mailing: id, Retry: in.Retry.List}) {
		t.Errorf("prepares: %+v", rig.prepares)
	}
	if len(rig.closes) != 1 || rig.closes[0].Retry != in.Retry.Database || rig.closes[0].Mailing != id {
		t.Errorf("closes: %+v", rig.closes)
	}
}

// Batches of a later round whose messages are lost are rendered again, and are known from then on.
func TestBatchesOfALaterRoundAreKnownOnceTheyAreGathered(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 2)
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		out := closed(c)
		if c.Batch <= 3 { // the first three batches leave one behind each
			out.Deferred, out.NextRound = 1, rig.env.Now().Add(time.Hour)
		}
		return out, nil
	}
	rounds := 0
	rig.gather = func(c workflows.GatherCall) (workflows.Gathered, error) {
		switch rounds++; {
		case rounds == 1 && c.Known == 2:
			return workflows.Gathered{Unrendered: []int{3}, Ready: []int{4}}, nil
		case rounds == 2 && c.Known == 4:
			return workflows.Gathered{Ready: []int{5}}, nil
		}
		t.Errorf("round %d: %+v", rounds, c)
		return workflows.Gathered{}, nil
	}
	if r := rig.run(input()); r.State != workflows.StateCompleted {
		t.Errorf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	sentOnce(t, 5, rig)
	if rig.rendered != 3 {
		t.Errorf("%d batches were rendered: the list's two and the one whose messages were gone", rig.rendered)
	}
}

// A drop point leaves the list at its last attempt, not one later.
func TestADropPointHasAsManyAttemptsAsItsSettingSays(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 1)
	failures := 0
	var turns atomic.Int32
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		out := closed(c)
		out.Closed, out.Counts = false, workflows.Counts{}
		later := turns.Load() > 0
		if c.Others != (len(c.DropPoints) == 1) {
			t.Errorf("of two drop points it may use %v, others: %v", c.DropPoints, c.Others)
		}
		for i, p := range c.DropPoints {
			if p.Failed != (later && p.Name == "a") || p.HasAccepted != (later && p.Name == "b") || p.Proven != p.HasAccepted {
				t.Errorf("turn %d: %+v", turns.Load()+1, p)
			}
			if p.Name == "a" {
				failures++
				out.Points[i] = workflows.DropPointReport{Name: "a", Failure: "drop point a: connection refused"}
			}
		}
		if out.NotBefore = rig.env.Now().Add(time.Minute + time.Second); turns.Add(1) > 6 {
			out.Closed = true
		}
		return out, nil
	}
	rig.check = func(workflows.CheckCall) (workflows.Checked, error) {
		return workflows.Checked{Failure: "still down"}, nil
	}
	in := input()
	in.Retry.DropPoint = workflows.Retry{Attempts: 3, Interval: workflows.Duration(time.Minute)}
	if r := rig.run(in); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	if p := rig.status().DropPoints[0]; failures != 3 || p.InList {
		t.Errorf("after %d failures: %+v", failures, p)
	}
}

// The database is unavailable while batches are rendered. Afterwards each batch is rendered.
func TestABatchWhoseRenderingIsGivenUpIsRenderedAgain(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 6)
	began := rig.env.Now()
	rig.render = func(workflows.RenderCall) error {
		if rig.env.Now().Sub(began) < 10*time.Minute {
			return temporal.NewNonRetryableApplicationError("the database is away", policy.DatabaseUnavailable, nil)
		}
		return nil
	}
	if r := rig.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	sentOnce(t, 6, rig)
}

func TestAMailingThatIsStoppedByItsErrorLimitSendsNothing(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 60)
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		out := closed(c)
		out.Counts = workflows.Counts{Bounced: 10}
		return out, nil
	}
	sent := 0
	rig.env.RegisterDelayedCallback(func() { sent = len(rig.sends) }, time.Minute)
	rig.env.RegisterDelayedCallback(func() {
		if s := rig.status(); len(rig.sends) != sent || s.State != workflows.StateSuspended {
			t.Errorf("%d batches were begun in %d hours; %+v", len(rig.sends)-sent, 47, s)
		}
		rig.env.CancelWorkflow()
	}, 48*time.Hour)
	in := input()
	in.MaxErrorPercent, in.ErrorMinimum = 10, 10
	rig.run(in)
	if sent == 60 {
		t.Error("the whole list was sent to")
	}
}

// A batch has several turns, with and without a rate limit between them, until it is closed.
func TestABatchWhoseTurnEndsIsSentOn(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 5)
	turns := map[int]int{}
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		rig.mu.Lock()
		defer rig.mu.Unlock()
		out := closed(c)
		if turns[c.Batch]++; turns[c.Batch] < 4 {
			out.Closed, out.Counts = false, workflows.Counts{Sent: int64(turns[c.Batch])}
			if turns[c.Batch] == 2 {
				out.NotBefore = rig.env.Now().Add(time.Minute)
			}
		}
		return out, nil
	}
	if r := rig.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	for n := 1; n <= 5; n++ {
		if turns[n] != 4 {
			t.Errorf("batch %d had %d turns", n, turns[n])
		}
	}
}

// A pause cancels the activities of batches in flight.
func TestABatchThatIsHandedBackForAPauseIsSentAfterwards(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 3)
	var begun atomic.Int32
	var resumed atomic.Bool
	paused := make(chan struct{})
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		begun.Add(1)
		if resumed.Load() {
			return closed(c), nil
		}
		<-paused
		return workflows.SentBatch{}, temporal.NewCanceledError()
	}
	var pause, resume error
	var look func()
	look = func() {
		if begun.Load() < 3 {
			rig.env.RegisterDelayedCallback(look, time.Millisecond)
			return
		}
		rig.update(0, workflows.PauseUpdate, &pause)
		rig.env.RegisterDelayedCallback(func() { close(paused) }, time.Millisecond)
		rig.env.RegisterDelayedCallback(func() { resumed.Store(true) }, time.Hour)
		rig.update(time.Hour+time.Second, workflows.ResumeUpdate, &resume)
	}
	rig.env.RegisterDelayedCallback(look, time.Millisecond)
	if r := rig.run(input()); r.State != workflows.StateCompleted || pause != nil || resume != nil {
		t.Fatalf("result %+v, error %v; pause %v, resume %v", r, rig.env.GetWorkflowError(), pause, resume)
	}
	got := map[int]int{}
	for _, c := range rig.sends {
		got[c.Batch]++
	}
	if len(rig.sends) != 6 || got[1] != 2 || got[2] != 2 || got[3] != 2 {
		t.Errorf("batches were sent %v times", got)
	}
}

// A batch in flight goes on for the rest of its turn unless its activity is cancelled. The test
// environment ends a cancelled activity without waiting for its answer.
func TestWhateverStopsAMailingMakesItsBatchesInFlightHandBack(t *testing.T) {
	t.Parallel()
	poison := temporal.NewNonRetryableApplicationError("workers died", policy.PoisonBatch, nil)
	for name, c := range map[string]struct {
		pauses, bounces bool
		render          error
		onExhausted     workflows.OnExhausted
		end             workflows.State
	}{
		"an operator pauses it":                       {pauses: true, end: workflows.StateCompleted},
		"its error limit is reached":                  {bounces: true, end: workflows.StateCompleted},
		"its error limit is reached, and it fails":    {bounces: true, onExhausted: workflows.Fail},
		"a batch kills workers":                       {render: poison, end: workflows.StateCompleted},
		"the database is away for long, and it fails": {render: away(), onExhausted: workflows.Fail},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rig := newRig(t, 3)
			var begun, resumed atomic.Bool
			stop, over := make(chan struct{}), make(chan struct{})
			rig.send = func(call workflows.SendCall) (workflows.SentBatch, error) {
				out := closed(call)
				switch {
				case resumed.Load():
				case call.Batch == 1:
					begun.Store(true)
					<-over
				case call.Batch == 2 && c.bounces:
					<-stop
					out.Counts = workflows.Counts{Bounced: 10}
				}
				return out, nil
			}
			rig.render = func(call workflows.RenderCall) error {
				if call.Batch != 3 || c.render == nil || resumed.Load() {
					return nil
				}
				select {
				case <-stop:
					return c.render
				default:
					return temporal.NewApplicationErrorWithOptions("no room yet", policy.SlotsTaken,
						temporal.ApplicationErrorOptions{NextRetryDelay: time.Millisecond})
				}
			}
			handedBack := false
			rig.env.SetOnActivityCanceledListener(func(info *activity.Info) {
				handedBack = handedBack || info.ActivityType.Name == policy.SendBatch
			})
			var pause, resume error
			var wait, look func()
			wait = func() {
				if !begun.Load() {
					rig.env.RegisterDelayedCallback(wait, time.Millisecond)
					return
				}
				if close(stop); c.pauses {
					rig.update(0, workflows.PauseUpdate, &pause)
				}
				rig.env.RegisterDelayedCallback(look, time.Millisecond)
			}
			look = func() {
				s := rig.status()
				if s.State == workflows.StateSending && !strings.HasPrefix(s.Doing, "fails") {
					rig.env.RegisterDelayedCallback(look, time.Millisecond)
					return
				}
				rig.env.RegisterDelayedCallback(func() { // what the workflow has asked for is done
					resumed.Store(true)
					close(over)
				}, time.Millisecond)
				if c.onExhausted != workflows.Fail {
					rig.update(time.Hour, workflows.ResumeUpdate, &resume)
				}
			}
			rig.env.RegisterDelayedCallback(wait, time.Millisecond)
			in := input()
			in.MaxErrorPercent, in.ErrorMinimum, in.OnExhausted = 20, 10, c.onExhausted
			if r := rig.run(in); r.State != c.end || pause != nil || resume != nil {
				t.Errorf("result %+v, error %v; pause %v, resume %v", r, rig.env.GetWorkflowError(), pause, resume)
			}
			if !handedBack {
				t.Error("the batch in flight was not cancelled")
			}
		})
	}
}

func TestTheNextRoundIsThatOfTheFirstWhoIsDue(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 2)
	began := rig.env.Now()
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		out := closed(c)
		if c.Batch <= 2 {
			out.Deferred, out.NextRound = 1, began.Add(time.Duration(c.Batch)*time.Hour)
		}
		return out, nil
	}
	var rounds []time.Duration
	rig.gather = func(workflows.GatherCall) (workflows.Gathered, error) {
		rounds = append(rounds, rig.env.Now().Sub(began).Round(time.Minute))
		if len(rounds) == 1 {
			return workflows.Gathered{Ready: []int{3}, Deferred: 1, NextRound: began.Add(2 * time.Hour)}, nil
		}
		return workflows.Gathered{Ready: []int{4}}, nil
	}
	if r := rig.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	if len(rounds) != 2 || rounds[0] != time.Hour || rounds[1] != 2*time.Hour {
		t.Errorf("rounds at %v", rounds)
	}
}

func TestARecipientWhomTheLedgerFindsOpenIsSentToAfterAll(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 1)
	rig.close = func(c workflows.CloseCall) (workflows.Closing, error) {
		if len(rig.closes) == 1 {
			return workflows.Closing{Deferred: 1}, nil
		}
		return workflows.Closing{Result: workflows.Result{State: c.State}}, nil
	}
	rig.gather = func(workflows.GatherCall) (workflows.Gathered, error) {
		return workflows.Gathered{Unrendered: []int{2}}, nil
	}
	if r := rig.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	sentOnce(t, 2, rig)
	if len(rig.closes) != 2 {
		t.Errorf("closed %d times", len(rig.closes))
	}
}
