package activities

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"

	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// begun begins an activity that must find a slot.
func begun(t *testing.T, s *slowSlots, mailing string) (*timed, context.Context) {
	t.Helper()
	one, ctx, err := s.begin(t.Context(), work{policy.RenderBatch, mailing})
	if err != nil {
		t.Fatal(err)
	}
	return one, ctx
}

func TestSlowActivitiesHoldHalfOfTheSlotsAndThoseOfAMailingAQuarter(t *testing.T) {
	t.Parallel()
	for slots, want := range map[int][2]int{8: {4, 2}, 16: {8, 4}, 4: {2, 1}, 1: {1, 1}} {
		s := newSlowSlots(slots)
		var held []*timed
		for n := range 3 * slots {
			mailing := fmt.Sprint("mailing-", n/slots)
			one, ctx := begun(t, forgetful(s), mailing)
			if err := one.turnSlow(); (err != nil) != errors.Is(context.Cause(ctx), errSlotsTaken) {
				t.Errorf("%v, and its context ends with %v", err, context.Cause(ctx))
			} else if err == nil {
				held = append(held, one)
			}
			if n == slots-1 && len(held) != want[1] {
				t.Errorf("%d slow activities of one mailing on %d slots, want %d", len(held), slots, want[1])
			}
		}
		if len(held) != want[0] {
			t.Errorf("%d slow activities on %d slots, want %d", len(held), slots, want[0])
		}
		for _, one := range held {
			one.end(true)
		}
		if s.total > 0 || len(s.held) > 0 {
			t.Errorf("%d slots are held by nobody: %v", s.total, s.held)
		}
	}
}

// forgetful makes the slots forget who was slow.
func forgetful(s *slowSlots) *slowSlots {
	s.known = newSlowSlots(1).known
	return s
}

func TestASlowActivityBeginsAgainOnlyWhenThereIsRoomForIt(t *testing.T) {
	t.Parallel()
	s := newSlowSlots(2)
	first, _ := begun(t, s, "first")
	second, ctx := begun(t, s, "second")
	if err := first.turnSlow(); err != nil {
		t.Fatal(err)
	}
	if err := second.turnSlow(); err == nil || ctx.Err() == nil {
		t.Errorf("two slow activities on two slots: %v, %v", err, ctx.Err())
	}
	second.end(false)
	if _, _, err := s.begin(t.Context(), second.work); !errors.Is(err, errSlotsTaken) {
		t.Errorf("it begins again without room: %v", err)
	}
	third, _ := begun(t, s, "third") // nobody knows that it is slow
	third.end(true)
	first.end(true)
	second, ctx = begun(t, s, "second")
	if err := second.turnSlow(); err != nil || ctx.Err() != nil || s.total != 1 {
		t.Errorf("%v, %v, %d", err, ctx.Err(), s.total)
	}
	second.end(true)
}

func TestAnActivityThatIsQuickAgainIsNoLongerSlow(t *testing.T) {
	t.Parallel()
	s := newSlowSlots(2)
	for _, done := range []bool{false, true} {
		one, _ := begun(t, s, "one")
		if !done {
			_ = one.turnSlow()
		} else if s.total != 1 {
			t.Error("it is not slow from the start")
		}
		one.end(done)
	}
	one, _ := begun(t, s, "one")
	if s.total != 0 {
		t.Error("it is still slow")
	}
	one.end(true)
	if err := one.turnSlow(); err != nil || s.total != 0 { // a timer that was late
		t.Errorf("%v, %d slots are held by nobody", err, s.total)
	}
}

// fillSlow takes all slots of slow activities, until release is called.
func fillSlow(t *testing.T, s *slowSlots) (release func()) {
	t.Helper()
	var all []*timed
	for n := range s.most {
		one, _ := begun(t, s, fmt.Sprint("other-", n))
		if err := one.turnSlow(); err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	return func() {
		for _, one := range all {
			one.end(true)
		}
	}
}

// What was rendered until the batch turned slow is kept.
func TestABatchWithACostlyTemplateLeavesItsSlotToOthers(t *testing.T) {
	t.Parallel()
	const recipients = 20
	pool, a := prepared(t, recipients, workflows.Content{Text: "{{range $i := 10000}}{{end}}Hello {{.n}}"})
	a.slots.renders.steps = 50_000
	release := fillSlow(t, a.slots.renders)
	if _, err := renderOnce(t, a); !isOfType(err, policy.SlotsTaken) || a.partials.Len() != 1 {
		t.Fatalf("got %v, %d batches are kept", err, a.partials.Len())
	}
	if _, err := renderOnce(t, a); !isOfType(err, policy.SlotsTaken) || a.partials.Len() != 1 {
		t.Errorf("it is rendered without room: %v", err)
	}
	release()
	if out, err := renderOnce(t, a); err != nil || out.Messages != recipients || a.partials.Len() != 0 {
		t.Errorf("got %+v, %v", out, err)
	}
	if got := messages(t, spooled(t, pool)); len(got) != recipients {
		t.Errorf("%d messages", len(got))
	}
}

// The server answers for the first recipients, and then no more.
func TestABatchWithSlowPagesLeavesItsSlotToOthers(t *testing.T) {
	t.Parallel()
	const recipients, answered = 40, 5
	var requests atomic.Int64
	var quick atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var n int
		if _, _ = fmt.Sscanf(r.URL.Path, "/%d", &n); n > answered && !quick.Load() {
			<-r.Context().Done()
			return
		}
		requests.Add(1)
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprintf(w, "page %d", n)
	}))
	t.Cleanup(s.Close)
	pool, a := prepared(t, recipients, workflows.Content{PageURL: s.URL + "/{{.n}}"})
	a.slots.renders.patience = 100 * time.Millisecond
	release := fillSlow(t, a.slots.renders)
	if _, err := renderOnce(t, a); !isOfType(err, policy.SlotsTaken) {
		t.Fatalf("got %v", err)
	}
	a.slots.renders.patience = time.Hour
	quick.Store(true)
	release()
	if out, err := renderOnce(t, a); err != nil || out.Messages != recipients || requests.Load() > recipients+answered {
		t.Errorf("got %+v, %v after %d requests", out, err, requests.Load())
	}
	if got := messages(t, spooled(t, pool)); len(got) != recipients {
		t.Errorf("%d messages", len(got))
	}
	if _, known := a.slots.renders.known.Take(work{policy.RenderBatch, "spring"}); known {
		t.Error("it is still known as slow")
	}
}

// Every activity that may wait for somebody else is looked at: one that was slow does not begin
// while there is no room for it.
func TestEveryActivityThatMayBeSlowWaitsForASlot(t *testing.T) {
	t.Parallel()
	a := New(nil, nil, nil, nil, 8, slog.New(slog.NewTextHandler(io.Discard, nil)))
	for name, c := range map[string]struct {
		slots        *slowSlots
		do, argument any
	}{
		policy.OpenMailing:      {a.slots.steps, a.OpenMailing, workflows.OpenCall{Mailing: "spring"}},
		policy.PrepareList:      {a.slots.prepares, a.PrepareList, workflows.PrepareCall{Mailing: "spring"}},
		policy.RenderBatch:      {a.slots.renders, a.RenderBatch, workflows.RenderCall{Mailing: "spring"}},
		policy.GatherDeferred:   {a.slots.steps, a.GatherDeferred, workflows.GatherCall{Mailing: "spring"}},
		policy.CheckDropPoint:   {a.slots.steps, a.CheckDropPoint, workflows.CheckCall{DropPoint: "spring"}},
		policy.ResolveUncertain: {a.slots.steps, a.ResolveUncertain, workflows.ResolveCall{Mailing: "spring"}},
		policy.CloseMailing:     {a.slots.steps, a.CloseMailing, workflows.CloseCall{Mailing: "spring"}},
	} {
		release := fillSlow(t, c.slots)
		c.slots.known.Put(work{name, "spring"}, struct{}{})
		var suite testsuite.WorkflowTestSuite
		env := suite.NewTestActivityEnvironment()
		env.RegisterActivityWithOptions(c.do, activity.RegisterOptions{Name: name})
		if _, err := env.ExecuteActivity(name, c.argument); !isOfType(err, policy.SlotsTaken) {
			t.Errorf("%s: %v", name, err)
		}
		release()
	}
}
