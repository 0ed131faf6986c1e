package activities

import (
	"sync"
	"time"

	"directmailer/internal/delivery/sender"
)

const (
	// enoughWork is the time for which a worker has messages of a mailing when it leaves the other
	// batches of the mailing to other workers. A batch that was handed over is offered again in
	// less time.
	enoughWork = 2 * time.Second
	// firstAnswer is how long a worker waits for the first answer of the drop points before it takes
	// another batch without knowing their speed.
	firstAnswer = 2 * time.Second
	// sampling is the shortest time over which a mailing's rate is measured. memory is how long the
	// rate is valid.
	sampling, memory = 500 * time.Millisecond, 10 * time.Second
)

// admission decides whether this worker takes another batch of a mailing. Temporal hands out
// batches without knowing how busy a worker is. Without admission, one worker could have all
// batches of a mailing while other workers have none.
//
// It also leaves room for mailings whose drop points answer: batches that have only slow ones hold
// at most half of the slots for sending. It is safe for concurrent use.
type admission struct {
	slots    int // for sending
	mu       sync.Mutex
	mailings map[int64]*share
}

// share is the part of one mailing on this worker.
type share struct {
	batches    map[*slot]bool
	emptySince time.Time // when the last batch left

	rate    float64   // answers per second over all batches
	counted int       // answers until at
	at      time.Time // when rate was measured
	done    int       // answers of batches that have left
	typical int       // messages of the latest batch, which stand for those of a batch that is being claimed
}

// slot is the place of one batch on the worker.
type slot struct {
	of      *admission
	mailing int64
	route   route
	since   time.Time
	load    func() sender.Load // nil while the batch is claimed
	ends    time.Time          // when the turn of the batch ends
}

func newAdmission(slots int) *admission {
	return &admission{slots: slots, mailings: map[int64]*share{}}
}

// acquire returns a slot for a batch of a mailing, or nil if the mailing's batches keep the
// connections of the worker busy, or slow drop points too many slots. The caller must call
// [slot.release].
func (a *admission) acquire(mailing int64, to route) *slot {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.hasRoom(to) {
		return nil
	}
	now := time.Now()
	s := a.mailings[mailing]
	if s == nil {
		s = &share{batches: map[*slot]bool{}, at: now}
		a.mailings[mailing] = s
	}
	if s.full(now) {
		return nil
	}
	c := &slot{of: a, mailing: mailing, route: to, since: now}
	s.batches[c] = true
	return c
}

// sends starts the turn of the batch. load returns the present load of the batch.
func (c *slot) sends(load func() sender.Load, turn time.Duration) {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.load, c.ends = load, time.Now().Add(turn)
	c.of.mailings[c.mailing].typical = load().Left
}

// release returns the slot.
func (c *slot) release() {
	a := c.of
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	s := a.mailings[c.mailing]
	if c.load != nil {
		s.done += c.load().Answered
	}
	delete(s.batches, c)
	s.emptySince = now
	for key, other := range a.mailings {
		if len(other.batches) == 0 && now.Sub(other.emptySince) > memory {
			delete(a.mailings, key)
		}
	}
}

// full reports whether the mailing's batches keep the connections of this worker busy for
// [enoughWork]. They do not while a connection of a batch with answers is idle. Before the first
// answer they do for the time [firstAnswer], and then as long as no connection is unused.
func (s *share) full(now time.Time) bool {
	answered, left := s.done, 0
	var rest time.Duration
	var idle, unused, begins bool
	for c := range s.batches {
		if c.load == nil {
			left += s.typical
			rest = turn
			begins = begins || now.Sub(c.since) < firstAnswer
			continue
		}
		load := c.load()
		if load.Limited {
			return true
		}
		answered += load.Answered
		left += load.Left
		rest = max(rest, c.ends.Sub(now))
		unused = unused || load.Idle
		idle = idle || load.Idle && load.Answered > 0 // before the first answer, connections may be opening
		begins = begins || load.Answered == 0 && now.Sub(c.since) < firstAnswer
	}
	s.measure(now, answered)
	switch {
	case len(s.batches) == 0:
		return false
	case s.rate == 0: // no answer yet: if every connection waits for one, more batches would wait as well
		return begins || !unused
	case idle:
		return false
	}
	return rest >= enoughWork && float64(left) >= s.rate*enoughWork.Seconds()
}

// measure updates the rate with the number of answers until now.
func (s *share) measure(now time.Time, answered int) {
	passed := now.Sub(s.at)
	if len(s.batches) == 0 && now.Sub(s.emptySince) > memory {
		s.rate, s.counted, s.at = 0, answered, now
		return
	}
	if passed < sampling && (s.rate > 0 || answered == s.counted) {
		return
	}
	measured := float64(answered-s.counted) / max(passed, time.Millisecond).Seconds()
	if s.rate > 0 && passed < memory {
		measured = (s.rate + measured) / 2
	}
	s.rate, s.counted, s.at = measured, answered, now
}
