package activities

import (
	"sync"
	"time"

	"directmailer/internal/sender"
)

const (
	// enough is how long what a worker has of a mailing must keep its connections busy: then
	// another batch of the mailing is better off with another worker. It covers the time until a
	// batch that was handed over comes back.
	enough = 2 * time.Second
	// beginning is how long a worker waits for the first answers to a mailing before it concludes
	// nothing from their absence.
	beginning = 2 * time.Second
	// sampling is the shortest time over which a mailing's rate is measured, memory how long it is believed.
	sampling, memory = 500 * time.Millisecond, 10 * time.Second
)

// admission decides whether this worker takes another batch of a mailing. Batches are dealt out by
// a queue that does not know how much a worker has: without this, one worker could have all batches
// of a mailing while others have none.
type admission struct {
	mu       sync.Mutex
	mailings map[int64]*share
}

// share is what this worker has of one mailing.
type share struct {
	batches map[*slot]bool
	left    time.Time // when the last batch left

	// messages a second over all batches: counted are the answers until at, done those of batches that are gone
	rate    float64
	counted int
	at      time.Time
	done    int
	typical int // messages of the latest batch: those of one that is being claimed are not known
}

// slot is the place of one batch on the worker.
type slot struct {
	of      *admission
	mailing int64
	since   time.Time
	load    func() sender.Load // nil while the batch is claimed
	ends    time.Time          // the end of its turn
}

func newAdmission() *admission { return &admission{mailings: map[int64]*share{}} }

// acquire gives a batch of a mailing a slot, or nil if what is here keeps the worker's connections
// busy. [slot.release] must follow.
func (a *admission) acquire(mailing int64) *slot {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	s := a.mailings[mailing]
	if s == nil {
		s = &share{batches: map[*slot]bool{}, at: now}
		a.mailings[mailing] = s
	}
	if s.full(now) {
		return nil
	}
	c := &slot{of: a, mailing: mailing, since: now}
	s.batches[c] = true
	return c
}

// sends tells how to ask for the load of the batch, whose turn begins now.
func (c *slot) sends(load func() sender.Load, turn time.Duration) {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.load, c.ends = load, time.Now().Add(turn)
	c.of.mailings[c.mailing].typical = load().Left
}

// release gives the slot back.
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
	s.left = now
	for key, other := range a.mailings {
		if len(other.batches) == 0 && now.Sub(other.left) > memory {
			delete(a.mailings, key)
		}
	}
}

// full tells whether the batches that are here keep the connections busy for long enough.
func (s *share) full(now time.Time) bool {
	answered, left := s.done, 0
	var rest time.Duration
	var idle, unused, begins bool
	for c := range s.batches {
		if c.load == nil {
			left += s.typical
			rest = turn
			begins = begins || now.Sub(c.since) < beginning
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
		idle = idle || load.Idle && load.Answered > 0 // before, its connections may not be open yet
		begins = begins || load.Answered == 0 && now.Sub(c.since) < beginning
	}
	s.measure(now, answered)
	switch {
	case len(s.batches) == 0:
		return false
	case s.rate == 0: // no answers yet: if every connection waits for one, more batches would wait as well
		return begins || !unused
	case idle:
		return false
	}
	return rest >= enough && float64(left) >= s.rate*enough.Seconds()
}

// measure takes up how many answers there were until now.
func (s *share) measure(now time.Time, answered int) {
	passed := now.Sub(s.at)
	if len(s.batches) == 0 && now.Sub(s.left) > memory {
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
