package activities

import (
	"context"
	"errors"
	"sync"
	"time"

	"directmailer/internal/config"
	"directmailer/internal/fifo"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

const (
	// quickTime is how long an activity may wait for pages, a query or a server before it is slow.
	quickTime = 3 * time.Second
	// quickSteps is the number of steps of a batch's templates after which it is slow, about a second
	// of processor time. Steps, unlike time, are the same on a busy machine.
	quickSteps = 1 << 23
	// maxSlow limits the activities that a worker remembers as slow.
	maxSlow = 4096
)

// slowSlots limits the slow activities of one task queue on this worker: all of them together to
// half of the queue's slots, and those of one mailing to a quarter. So an activity that is not slow
// finds a slot, at the latest when those have shown their speed that were started before it.
//
// Nobody knows how long an activity will take. Each begins as a quick one. When it turns out to be
// slow and there is room for it among the slow ones, it goes on. Otherwise it ends, is offered
// again later, and does not begin before there is room. It is safe for concurrent use.
type slowSlots struct {
	most, each int
	patience   time.Duration // after which an activity that waits is slow
	steps      int           // after which a rendering is slow

	mu    sync.Mutex
	total int
	held  map[string]int              // by mailing
	known *fifo.Cache[work, struct{}] // the activities that were slow
}

// slots are those of this worker's task queues for activities that may be slow.
type slots struct{ steps, prepares, renders *slowSlots }

func newSlots(maxBatches int) slots {
	return slots{
		steps: newSlowSlots(config.MaxSteps), prepares: newSlowSlots(config.MaxPrepares),
		renders: newSlowSlots(config.RenderSlots(maxBatches)),
	}
}

// work is an activity of a mailing.
type work struct{ activity, mailing string }

func newSlowSlots(slots int) *slowSlots {
	return &slowSlots{
		most: max(slots/2, 1), each: max(slots/4, 1), patience: quickTime, steps: quickSteps, held: map[string]int{},
		known: fifo.New[work](maxSlow, fifo.One[struct{}]),
	}
}

// errSlotsTaken says that there is no room for a slow activity.
var errSlotsTaken = failf(policy.SlotsTaken,
	"slow activities have all slots of this worker that they may have: the work waits for one of them")

// timed is an activity whose speed is looked at. The mutex of its slots guards holds and wasSlow.
type timed struct {
	work

	of      *slowSlots
	cancel  context.CancelCauseFunc
	timer   *time.Timer
	slow    chan struct{} // closed when the activity holds a slot of slow activities
	holds   bool
	wasSlow bool // in this attempt
	ended   bool
}

// withSlots is [attempt] for an activity that may be slow. do calls [timed.start] or
// [timed.took]. The context of do ends when the activity is slow and there is no room for it.
func withSlots[T any](
	ctx context.Context, slots *slowSlots, w work, retry workflows.Retries,
	do func(ctx context.Context, t *timed) (T, error),
) (T, error) {
	return attempt(ctx, retry, func(ctx context.Context) (T, error) {
		var none T
		t, ctx, err := slots.begin(ctx, w)
		if err != nil {
			return none, err
		}
		done := false
		defer func() { t.end(done) }() // also after a panic of do
		out, err := do(ctx, t)
		if err != nil && errors.Is(context.Cause(ctx), errSlotsTaken) {
			return none, errSlotsTaken
		}
		done = err == nil
		return out, err
	})
}

// timedSlots is withSlots for an activity that is slow after [quickTime].
func timedSlots[T any](
	ctx context.Context, slots *slowSlots, w work, retry workflows.Retries, do func(ctx context.Context) (T, error),
) (T, error) {
	return withSlots(ctx, slots, w, retry, func(ctx context.Context, t *timed) (T, error) {
		t.start()
		return do(ctx)
	})
}

// begin begins an activity. If it was slow before, it is slow from the start, and without room for
// it, begin returns an error.
func (s *slowSlots) begin(ctx context.Context, w work) (*timed, context.Context, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &timed{work: w, of: s, slow: make(chan struct{})}
	if _, known := s.known.Take(w); known {
		s.known.Put(w, struct{}{})
		if !s.take(t) {
			return nil, ctx, errSlotsTaken
		}
	}
	ctx, t.cancel = context.WithCancelCause(ctx)
	return t, ctx, nil
}

// take gives an activity one of the slots for slow activities. It needs mu.
func (s *slowSlots) take(t *timed) bool {
	if s.total >= s.most || s.held[t.mailing] >= s.each {
		return false
	}
	s.total++
	s.held[t.mailing]++
	t.holds = true
	close(t.slow)
	return true
}

// start starts the time after which the activity is slow.
func (t *timed) start() { t.timer = time.AfterFunc(t.of.patience, func() { _ = t.turnSlow() }) }

// took says how many steps a rendering has taken.
func (t *timed) took(steps int) error {
	if steps <= t.of.steps {
		return nil
	}
	return t.turnSlow()
}

// turnSlow says that the activity is slow. If there is no room for it, its context ends, and
// turnSlow returns an error.
func (t *timed) turnSlow() error {
	s := t.of
	s.mu.Lock()
	defer s.mu.Unlock()
	if !t.wasSlow && !t.ended {
		t.wasSlow = true
		s.known.Put(t.work, struct{}{})
		if !t.holds && !s.take(t) {
			t.cancel(errSlotsTaken)
		}
	}
	if t.wasSlow && !t.holds {
		return errSlotsTaken
	}
	return nil
}

// end gives the slot back. done is true if the activity has done its work. If it was not slow, it
// is no longer known as slow.
func (t *timed) end(done bool) {
	if t.timer != nil {
		t.timer.Stop()
	}
	t.cancel(nil)
	s := t.of
	s.mu.Lock()
	defer s.mu.Unlock()
	t.ended = true
	if done && !t.wasSlow {
		s.known.Take(t.work)
	}
	if !t.holds {
		return
	}
	t.holds = false
	s.total--
	if s.held[t.mailing]--; s.held[t.mailing] == 0 {
		delete(s.held, t.mailing)
	}
}
