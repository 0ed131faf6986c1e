package activities

import (
	"context"
	"sync"
	"time"

	"go.temporal.io/sdk/worker"

	"directmailer/internal/delivery/droppoint"
)

// stallCheck is the time between two looks at whether slow drop points hold a batch up.
const stallCheck = time.Second

// SendSlots are the slots of this worker for sending, for Temporal's SDK. A batch that waits for
// the answer of a drop point cannot be ended: it keeps its slot until the answer. So it lends one
// more to others meanwhile, up to half as many as there are. It is safe for concurrent use.
type SendSlots struct {
	slots, most int // most is how many may be lent

	mu      sync.Mutex
	issued  int
	lent    int
	changed chan struct{} // closed when there may be a slot
}

var _ worker.SlotSupplier = (*SendSlots)(nil)

func newSendSlots(slots int) *SendSlots {
	return &SendSlots{slots: slots, most: max(slots/2, 1), changed: make(chan struct{})}
}

// ReserveSlot waits for a slot. The SDK calls it before it asks for a task.
func (s *SendSlots) ReserveSlot(ctx context.Context, _ worker.SlotReservationInfo) (*worker.SlotPermit, error) {
	for {
		permit, changed := s.try()
		if permit != nil {
			return permit, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// TryReserveSlot returns a slot, or nil if there is none.
func (s *SendSlots) TryReserveSlot(worker.SlotReservationInfo) *worker.SlotPermit {
	permit, _ := s.try()
	return permit
}

func (s *SendSlots) try() (permit *worker.SlotPermit, changed chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.issued >= s.slots+s.lent {
		return nil, s.changed
	}
	s.issued++
	return &worker.SlotPermit{}, nil
}

// MarkSlotUsed does nothing.
func (s *SendSlots) MarkSlotUsed(worker.SlotMarkUsedInfo) {}

// ReleaseSlot takes a slot back.
func (s *SendSlots) ReleaseSlot(worker.SlotReleaseInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issued--
	s.change()
}

// MaxSlots returns the number of slots with those that may be lent.
func (s *SendSlots) MaxSlots() int { return s.slots + s.most }

// change wakes those who wait. It needs mu.
func (s *SendSlots) change() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// lend adds a slot, until back is called. It returns nil if no more may be lent.
func (s *SendSlots) lend() (back func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lent == s.most {
		return nil
	}
	s.lent++
	s.change()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lent--
	}
}

// heldUp reports whether slow drop points hold the batch up: it has no others, or its turn has been
// over for a while, and a message still has no answer.
func (c *slot) heldUp() bool {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	return c.route.speed() == droppoint.Slow || c.turnIsOver(time.Now())
}

// turnIsOver reports whether the turn of the batch has been over for a while, although it keeps its
// slot. It needs the mutex of the admission.
func (c *slot) turnIsOver(now time.Time) bool { return c.load != nil && now.Sub(c.ends) >= stallCheck }

// lendWhen lends a slot as soon as the batch is held up. The caller must call end at the end of the
// batch.
func (s *SendSlots) lendWhen(heldUp func() bool) (end func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(stallCheck)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			if !heldUp() {
				continue
			}
			if back := s.lend(); back != nil {
				<-done
				back()
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}
