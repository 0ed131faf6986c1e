package activities

import (
	"sync"
	"time"

	"directmailer/internal/delivery/sender"
)

const (
	// A worker with messages of a mailing for enough time leaves the mailing's other batches to
	// other workers. A batch that was handed over comes back sooner than that.
	enough = 2 * time.Second
	// beginning is how long a worker waits for the first answer of the drop points before it takes
	// another batch without knowing their speed.
	beginning = 2 * time.Second
	// sampling is the shortest time over which a mailing's rate is measured, memory how long it is believed.
	sampling, memory = 500 * time.Millisecond, 10 * time.Second
)

// admission decides whether this worker takes another batch of a mailing. Temporal hands out batches
// without knowing how busy a worker is. Without admission, one worker could have all batches of a
// mailing while other workers have none. It is safe for concurrent use.
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

// acquire returns a slot for a batch of a mailing, or nil if the worker's connections have enough to
// do with the mailing. The caller must call [slot.release].
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

// full reports whether the mailing's batches on this worker keep its connections busy for enough time.
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
