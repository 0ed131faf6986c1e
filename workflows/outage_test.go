package workflows_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"directmailer/workflows"
	"directmailer/workflows/policy"
)

func TestADropPointThatFailsRestsThenLeavesTheListAndIsBackWhenItWorksAgain(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 8)
	began := rig.env.Now()
	passed := func() time.Duration { return rig.env.Now().Sub(began) }
	var failures, looks []time.Duration
	trials := 0
	turns := map[int]int{}
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		rig.mu.Lock()
		defer rig.mu.Unlock()
		out := closed(c)
		if turns[c.Batch]++; turns[c.Batch] < 15 {
			out.Closed, out.Counts, out.NotBefore = false, workflows.Counts{}, rig.env.Now().Add(time.Minute)
		}
		for i, p := range c.DropPoints {
			switch {
			case p.Name == "a" && passed() < 3*time.Minute:
				failures = append(failures, passed())
				out.Points[i] = workflows.DropPointReport{Name: "a", Failure: "drop point a: connection refused"}
			case p.Name == "a":
				trials++
			}
		}
		return out, nil
	}
	rig.check = func(workflows.CheckCall) (workflows.Checked, error) {
		looks = append(looks, passed())
		return workflows.Checked{Usable: passed() >= 4*time.Minute, Failure: "drop point a: still down"}, nil
	}
	rig.env.RegisterDelayedCallback(func() {
		s := rig.status()
		if p := s.DropPoints[0]; p.InList || p.Until.IsZero() || !strings.Contains(p.LastFailure, "down") ||
			s.State != workflows.StateSending {
			t.Errorf("while it is down: %+v", s)
		}
	}, 3*time.Minute+10*time.Second)
	if r := rig.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	if p := rig.status().DropPoints[0]; !p.InList || p.OnTrial || p.Failures != 0 || trials == 0 {
		t.Errorf("after it was back: %+v, %d batches", p, trials)
	}
	if len(looks) < 2 || looks[0]-failures[0] < time.Minute {
		t.Errorf("it failed at %v and was looked at at %v", failures, looks)
	}
}

func TestTheLossOfTheLastDropPointSuspendsUntilALookAndATrialSucceed(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 5)
	began := rig.env.Now()
	passed := func() time.Duration { return rig.env.Now().Sub(began) }
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		if passed() < 20*time.Minute {
			return workflows.SentBatch{}, lost(c)
		}
		return closed(c), nil
	}
	rig.check = func(workflows.CheckCall) (workflows.Checked, error) {
		return workflows.Checked{Usable: passed() >= 10*time.Minute, Failure: "connection refused"}, nil
	}
	rig.env.RegisterDelayedCallback(func() {
		s := rig.status()
		if s.State != workflows.StateSuspended || s.Until.IsZero() || !s.Since.Equal(began.Add(time.Minute)) ||
			!strings.Contains(s.Doing, "connection refused") {
			t.Errorf("while it is down: %+v", s)
		}
	}, 90*time.Second)
	if r := rig.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	if n := len(rig.sends); n > 5+2+12 {
		t.Errorf("%d batches were tried: a drop point on trial gets one", n)
	}
	looks := 0
	for _, c := range rig.calls {
		if strings.HasPrefix(c, "check") {
			looks++
		}
	}
	if looks < 4 || looks > 16 {
		t.Errorf("%d looks at two drop points", looks)
	}
}

// An operator who waits for a drop point sees when it is probed, also after probes without success.
func TestASuspendedMailingSaysWhenItsDropPointsAreProbedNext(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 1)
	began := rig.env.Now()
	passed := func() time.Duration { return rig.env.Now().Sub(began) }
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		if passed() < time.Hour {
			return workflows.SentBatch{}, lost(c)
		}
		return closed(c), nil
	}
	var probes []time.Duration
	rig.check = func(workflows.CheckCall) (workflows.Checked, error) {
		probes = append(probes, passed())
		return workflows.Checked{Usable: passed() >= time.Hour, Failure: "connection refused"}, nil
	}
	var until time.Duration
	rig.env.RegisterDelayedCallback(func() {
		s := rig.status()
		if until = s.Until.Sub(began); s.State != workflows.StateSuspended {
			t.Errorf("while it is down: %+v", s)
		}
	}, 30*time.Minute)
	if r := rig.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	next := time.Duration(0)
	for _, at := range probes {
		if at > 30*time.Minute && next == 0 {
			next = at
		}
	}
	if until != next {
		t.Errorf("after half an hour, the next probe is said to be at %s; probes were at %v", until, probes)
	}
}

func TestAMailingOfWhichOnlyTheDeferredAreLeftIsNotCalledSuspendedWhenADropPointIsBack(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 1)
	began := rig.env.Now()
	tries := 0
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		rig.mu.Lock()
		defer rig.mu.Unlock()
		switch tries++; tries {
		case 1:
			return workflows.SentBatch{}, lost(c)
		case 2: // the drop points can be used, and have refused the one recipient: which proves nothing
			out := workflows.SentBatch{Closed: true, Deferred: 1, NextRound: began.Add(2 * time.Hour)}
			for _, p := range c.DropPoints {
				out.Points = append(out.Points, workflows.DropPointReport{Name: p.Name})
			}
			return out, nil
		}
		return closed(c), nil
	}
	rig.gather = func(workflows.GatherCall) (workflows.Gathered, error) {
		return workflows.Gathered{Ready: []int{2}}, nil
	}
	rig.env.RegisterDelayedCallback(func() {
		if s := rig.status(); s.State != workflows.StateSending || s.Deferred != 1 {
			t.Errorf("while the deferred wait: %+v", s)
		}
	}, time.Hour)
	if r := rig.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	if tries != 3 {
		t.Errorf("tried %d times", tries)
	}
}

func TestTheErrorLimitSuspendsUntilSomebodyResumesAndCountsAnewThen(t *testing.T) {
	t.Parallel()
	for _, policy := range []workflows.OnExhausted{workflows.Suspend, workflows.Fail} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			rig := newRig(t, 60)
			bad := 20
			rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
				out := closed(c)
				if c.Batch <= bad {
					out.Counts = workflows.Counts{Sent: 6, Bounced: 2, Failed: 1}
					out.Refused = 1
				}
				return out, nil
			}
			in := input()
			in.MaxErrorPercent, in.ErrorMinimum, in.OnExhausted = 30, 50, policy
			var resumed error
			rig.env.RegisterDelayedCallback(func() {
				bad = 0
				if s := rig.status(); s.State != workflows.StateSuspended ||
					!strings.Contains(s.Doing, "error limit") ||
					!s.Until.IsZero() {
					t.Errorf("%+v", s)
				}
			}, time.Hour)
			if policy == workflows.Suspend {
				rig.update(2*time.Hour, workflows.ResumeUpdate, &resumed)
			}
			r := rig.run(in)
			switch err := rig.env.GetWorkflowError(); {
			case policy == workflows.Suspend && (r.State != workflows.StateCompleted || resumed != nil):
				t.Errorf("result %+v, error %v, resume %v", r, err, resumed)
			case policy == workflows.Fail && (err == nil || !strings.Contains(err.Error(), "error limit")):
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestADropPointThatIsAwayDoesNotTouchTheErrorLimit(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 60)
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		out := closed(c)
		if c.Batch <= 20 {
			out.Points = []workflows.DropPointReport{
				{Name: c.DropPoints[0].Name, Failure: "drop point mx: connection refused"},
			}
		}
		return out, nil
	}
	in := input()
	in.MaxErrorPercent, in.ErrorMinimum, in.Retry.DropPoint.Attempts = 1, 1, 1000
	if r := rig.run(in); r.State != workflows.StateCompleted || rig.env.GetWorkflowError() != nil {
		t.Errorf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
}

func TestWhatWasInFlightWhenTheMailingWasResumedDoesNotSuspendItAgain(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 20)
	others, resumed := make(chan struct{}), make(chan struct{})
	var asked atomic.Bool
	var sends atomic.Int64
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		out := closed(c)
		if asked.Load() {
			return out, nil
		}
		switch sends.Add(1) {
		case 1:
			<-others
		case 2:
			close(others)
			fallthrough
		default:
			<-resumed
		}
		out.Counts = workflows.Counts{Bounced: 10}
		return out, nil
	}
	in := input()
	in.MaxErrorPercent, in.ErrorMinimum = 50, 5
	var look func()
	look = func() {
		if _, err := rig.env.QueryWorkflow(workflows.StatusQuery); err != nil ||
			rig.status().State != workflows.StateSuspended {
			rig.env.RegisterDelayedCallback(look, time.Millisecond)
			return
		}
		asked.Store(true)
		rig.update(0, workflows.ResumeUpdate, new(error))
		rig.env.RegisterDelayedCallback(func() { close(resumed) }, time.Millisecond)
	}
	rig.env.RegisterDelayedCallback(look, time.Millisecond)
	if r := rig.run(in); r.State != workflows.StateCompleted {
		t.Errorf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
}

func TestMailThatIsRenderedGoesOnBeingSentWhileThePageServerIsAway(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 12)
	began := rig.env.Now()
	rig.render = func(c workflows.RenderCall) error {
		if c.Batch > 6 && rig.env.Now().Sub(began) < time.Hour {
			return temporal.NewNonRetryableApplicationError("the page server is away", policy.PageUnavailable, nil)
		}
		return nil
	}
	rig.slowly(time.Minute, func(c workflows.SendCall) (workflows.SentBatch, error) { return closed(c), nil })
	rig.env.RegisterDelayedCallback(func() {
		s := rig.status()
		if s.State != workflows.StateSuspended || s.Closed != 6 ||
			!strings.Contains(s.Doing, "the page server is away") {
			t.Errorf("%+v", s)
		}
	}, 30*time.Minute)
	in := input()
	in.Retry.Page = workflows.Retry{Attempts: 3, Interval: workflows.Duration(time.Minute)}
	if r := rig.run(in); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	probes := 0
	for _, c := range rig.calls {
		if strings.HasPrefix(c, "render") {
			probes++
		}
	}
	if probes > 65+8*(6+1) { // each of the six that succeed may let out a window of others
		t.Errorf(
			"%d batches were begun to be rendered: one a minute is enough to see whether the pages are back",
			probes,
		)
	}
}

func TestOnExhaustedFailEndsTheMailingAndClosesItsLedger(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 5)
	rig.send = func(workflows.SendCall) (workflows.SentBatch, error) {
		return workflows.SentBatch{}, temporal.NewNonRetryableApplicationError(
			"the database is away",
			policy.DatabaseUnavailable,
			nil,
		)
	}
	in := input()
	in.OnExhausted = workflows.Fail
	rig.run(in)
	var app *temporal.ApplicationError
	if err := rig.env.GetWorkflowError(); !asError(err, &app) || app.Type() != "MailingFailed" ||
		!strings.Contains(app.Message(), "the database is away") {
		t.Errorf("got %v", err)
	}
	if rig.calls[len(rig.calls)-1] != "close failed" {
		t.Errorf("order: %v", rig.calls)
	}
}

func TestAnErrorLimitIsNotLiftedByAnotherFailure(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 60)
	tries := map[int]int{}
	// The page server is unavailable when the limit is reached, and its attempts end later.
	rig.render = func(c workflows.RenderCall) error {
		if c.Batch < 8 {
			return nil
		}
		tries[c.Batch]++
		return temporal.NewApplicationErrorWithOptions("page server", policy.PageUnavailable,
			temporal.ApplicationErrorOptions{NonRetryable: tries[c.Batch] >= 3, NextRetryDelay: 30 * time.Second})
	}
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		out := closed(c)
		out.Counts = workflows.Counts{Bounced: 10}
		return out, nil
	}
	sent := map[time.Duration]int{}
	for _, at := range []time.Duration{20 * time.Second, 15 * time.Minute} {
		rig.env.RegisterDelayedCallback(func() {
			if s := rig.status(); s.State != workflows.StateSuspended || !strings.Contains(s.Doing, "error limit") {
				t.Errorf("after %v: %s, %s", at, s.State, s.Doing)
			}
			rig.mu.Lock()
			defer rig.mu.Unlock()
			sent[at] = len(rig.sends)
		}, at)
	}
	var refusal error
	rig.update(20*time.Minute, workflows.CancelUpdate, &refusal)
	in := input()
	in.MaxErrorPercent, in.ErrorMinimum = 5, 10
	rig.run(in)
	if before, after := sent[20*time.Second], sent[15*time.Minute]; before == 0 || before != after {
		t.Errorf("%d batches were sent before the limit was reached, and %d before somebody decided", before, after)
	}
}

func TestTheLossOfTheLastDropPointOutlastsAnOutageOfTheDatabase(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 60)
	began := rig.env.Now()
	passed := func() time.Duration { return rig.env.Now().Sub(began) }
	// The database is unavailable for batches that are rendered after the first window.
	rig.render = func(c workflows.RenderCall) error {
		if c.Batch > 8 && passed() < 5*time.Minute {
			return temporal.NewNonRetryableApplicationError("the database is away", policy.DatabaseUnavailable, nil)
		}
		return nil
	}
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		if passed() < 30*time.Minute {
			return workflows.SentBatch{}, lost(c)
		}
		return closed(c), nil
	}
	rig.check = func(workflows.CheckCall) (workflows.Checked, error) {
		return workflows.Checked{Usable: passed() >= 30*time.Minute, Failure: "connection refused"}, nil
	}
	for _, at := range []time.Duration{20 * time.Minute, 25 * time.Minute} { // it is back, and was probed
		rig.env.RegisterDelayedCallback(func() {
			if s := rig.status(); s.State != workflows.StateSuspended ||
				!strings.Contains(s.Doing, "connection refused") {
				t.Errorf("after %v: %s, %s", at, s.State, s.Doing)
			}
		}, at)
	}
	if r := rig.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
}

// A failure of a batch that was in flight when the mailing was suspended is no probe. Otherwise the
// failures of twenty batches, all within a second, would double the pause to a quarter of an hour.
func TestTheBatchesInFlightAtAnOutageCountAsOneFailure(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 40)
	began := rig.env.Now()
	passed := func() time.Duration { return rig.env.Now().Sub(began) }
	var failed atomic.Int64
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		if passed() < time.Minute {
			failed.Add(1)
			return workflows.SentBatch{}, temporal.NewNonRetryableApplicationError("away", policy.DatabaseUnavailable, nil)
		}
		return closed(c), nil
	}
	in := input()
	in.Retry.Database.Interval = workflows.Duration(30 * time.Second)
	if r := rig.run(in); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	if took := passed(); failed.Load() < 4 || took > 3*time.Minute {
		t.Errorf("after an outage of a minute, with %d failures, the mailing took %s", failed.Load(), took)
	}
}

// The mailing waits for its next round, and only GatherDeferred can find out whether the database
// is back.
func TestARoundThatCannotBeGatheredSuspendsTheMailingAndIsGatheredAgain(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 1)
	began := rig.env.Now()
	var rounds []time.Duration
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		out := closed(c)
		if c.Batch == 1 {
			out.Deferred, out.NextRound = 1, began.Add(time.Minute)
		}
		return out, nil
	}
	rig.gather = func(workflows.GatherCall) (workflows.Gathered, error) {
		switch rounds = append(rounds, rig.env.Now().Sub(began).Round(time.Minute)); len(rounds) {
		case 1:
			return workflows.Gathered{}, away()
		case 2:
			return workflows.Gathered{Deferred: 1, NextRound: began.Add(time.Hour)}, nil
		}
		return workflows.Gathered{Ready: []int{2}}, nil
	}
	for at, want := range map[time.Duration]workflows.State{
		5 * time.Minute: workflows.StateSuspended, 30 * time.Minute: workflows.StateSending,
	} {
		rig.env.RegisterDelayedCallback(func() {
			if s := rig.status(); s.State != want {
				t.Errorf("after %s: %s, %s", at, s.State, s.Doing)
			}
		}, at)
	}
	in := input()
	in.Retry.Database = workflows.Retry{Attempts: 1, Interval: workflows.Duration(10 * time.Minute)}
	if r := rig.run(in); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	sentOnce(t, 2, rig)
	if want := []time.Duration{time.Minute, 11 * time.Minute, time.Hour}; !slices.Equal(rounds, want) {
		t.Errorf("rounds at %v, want %v", rounds, want)
	}
}

// A mailing goes on as soon as one activity has found what was missing.
func TestAMailingIsNoLongerSuspendedWhenAnActivityHasSucceeded(t *testing.T) {
	t.Parallel()
	for kind, activities := range map[policy.ErrorType][]string{
		policy.PageUnavailable:     {policy.RenderBatch},
		policy.DatabaseUnavailable: {policy.RenderBatch, policy.SendBatch},
		policy.Unexpected:          {policy.RenderBatch, policy.SendBatch},
	} {
		for _, fails := range activities {
			t.Run(kind+" "+fails, func(t *testing.T) {
				t.Parallel()
				rig := newRig(t, 1)
				failed, answers := false, 0
				fail := func(activity string) error {
					if failed || activity != fails {
						return nil
					}
					failed = true
					return temporal.NewNonRetryableApplicationError("missing", kind, nil)
				}
				rig.render = func(workflows.RenderCall) error { return fail(policy.RenderBatch) }
				rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
					if err := fail(policy.SendBatch); err != nil {
						return workflows.SentBatch{}, err
					}
					if answers++; answers > 1 {
						return closed(c), nil
					}
					if fails == policy.SendBatch { // the answer alone says that the database is back
						return workflows.SentBatch{NotBefore: rig.env.Now().Add(2 * time.Hour)}, nil
					}
					return workflows.SentBatch{}, temporal.NewApplicationErrorWithOptions("no room", policy.WorkerBusy,
						temporal.ApplicationErrorOptions{NextRetryDelay: 2 * time.Hour})
				}
				for at, want := range map[time.Duration]workflows.State{
					5 * time.Second: workflows.StateSuspended, time.Hour: workflows.StateSending,
				} {
					rig.env.RegisterDelayedCallback(func() {
						if s := rig.status(); s.State != want {
							t.Errorf("after %s: %s, %s", at, s.State, s.Doing)
						}
					}, at)
				}
				in := input()
				ten := workflows.Retry{Attempts: 1, Interval: workflows.Duration(10 * time.Second)}
				in.Retry.Page, in.Retry.Database = ten, ten
				if r := rig.run(in); r.State != workflows.StateCompleted || !failed {
					t.Errorf("result %+v, error %v", r, rig.env.GetWorkflowError())
				}
			})
		}
	}
}

// Every drop point refuses us, so the batch ends with an error. Nobody gets an outcome for it, but
// the mailing must not go on for ever.
func TestRefusalsOfABatchThatEndsWithAnErrorCountTowardsTheErrorLimit(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 1)
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		out := workflows.SentBatch{Refused: 10}
		for _, p := range c.DropPoints {
			out.Points = append(out.Points,
				workflows.DropPointReport{Name: p.Name, Failure: "drop point " + p.Name + " refuses us", Refuses: true})
		}
		return workflows.SentBatch{}, temporal.NewNonRetryableApplicationError("refused", policy.DropPointRefuses, nil, out)
	}
	var doing string
	rig.env.RegisterDelayedCallback(func() { doing = rig.status().Doing }, 30*time.Second)
	rig.env.RegisterDelayedCallback(rig.env.CancelWorkflow, time.Hour)
	in := input()
	in.MaxErrorPercent, in.ErrorMinimum, in.Retry.DropPoint.Attempts = 10, 10, 1000
	rig.run(in)
	if !strings.Contains(doing, "error limit") || len(rig.sends) != 1 {
		t.Errorf("the mailing %s, after %d turns", doing, len(rig.sends))
	}
}

// The drop point gives one worker no connection, and another worker may take the batch meanwhile.
func TestABatchWhoseWorkerAloneGetsNoConnectionWaitsAMoment(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 2)
	turns := 0
	var tried, again time.Time
	rig.send = func(c workflows.SendCall) (workflows.SentBatch, error) {
		if c.Batch == 1 {
			out := closed(c)
			out.Worker = "x"
			return out, nil
		}
		switch turns++; turns {
		case 1: // the answer about batch 1 is there when it is tried again
			return workflows.SentBatch{Worker: "y", NotBefore: rig.env.Now().Add(10 * time.Second)}, nil
		case 2:
			tried = rig.env.Now()
			out := workflows.SentBatch{Worker: "y"}
			for _, p := range c.DropPoints {
				out.Points = append(out.Points, workflows.DropPointReport{Name: p.Name, Failure: "too many connections"})
			}
			return workflows.SentBatch{}, temporal.NewNonRetryableApplicationError("none", policy.DropPointUnavailable, nil, out)
		}
		again = rig.env.Now()
		return closed(c), nil
	}
	if r := rig.run(input()); r.State != workflows.StateCompleted {
		t.Fatalf("result %+v, error %v", r, rig.env.GetWorkflowError())
	}
	if pause := again.Sub(tried); pause < 2*time.Second || pause > 30*time.Second || turns != 3 {
		t.Errorf("the batch was tried again after %s, %d turns", pause, turns)
	}
}

// What is in flight when a mailing fails may take minutes. The status says why it is waited for.
func TestAMailingThatFailsSaysSoAndTakesNoPause(t *testing.T) {
	t.Parallel()
	rig := newRig(t, 2)
	tries := 0
	rig.render = func(c workflows.RenderCall) error {
		switch {
		case c.Batch == 1:
			return temporal.NewNonRetryableApplicationError("too large", policy.BatchTooLarge, nil)
		case tries == 0: // is in flight for ten minutes
			tries++
			return awayForTenMinutes()
		}
		return nil
	}
	looked := false
	rig.env.RegisterDelayedCallback(func() {
		looked = true
		if s := rig.status(); s.Doing != "fails when what is in flight is finished, because: too large" {
			t.Errorf("it %s", s.Doing)
		}
	}, 5*time.Minute)
	var refusal error
	rig.update(6*time.Minute, workflows.PauseUpdate, &refusal)
	rig.run(input())
	if refusal == nil || !strings.Contains(refusal.Error(), "is ending") || !looked {
		t.Errorf("the answer to a pause is %v", refusal)
	}
}
