package sender

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// item is a message on its way.
type item struct {
	Message
	attempt   int32  // number of the next attempt
	uncertain int    // attempts whose answer was never seen: another is possibly the second mail
	refusedBy *point // which has refused it before it accepted anything, and is not asked again until it does
}

// domain is where the message goes.
func (it *item) domain() string { return it.To[strings.LastIndexByte(it.To, '@')+1:] }

// point is a drop point in one batch.
type point struct {
	Point
	lanes    int // that run
	accepted int
	refused  int
	refusal  error         // the latest
	down     error         // set: no lane takes anything more
	trouble  error         // of a lane that has ended for it
	waits    time.Time     // for a rate limit, before it asks again
	waited   time.Duration // for rate limits, in all
	turn     time.Time     // which that limit has promised
	asked    int           // lanes that have been let go to take a message and have not taken it yet
	seat     bool          // the batch may use it although it is slow and others are not
}

func (p *point) proven() bool { return p.Proven || p.accepted > 0 }

// queue hands messages to lanes and keeps what the drop points do with them.
type queue struct {
	batch  Batch
	points []*point
	open   int // recipients of the batch that are to be sent to

	// set by Run
	cancel func() // ends the waiting for connections
	began  time.Time

	mu      sync.Mutex
	changed chan struct{} // closed at every change that lanes wait for
	again   []*item       // came back
	paced   []pacedItem   // wait for the rate limit of their domain
	rooms   [][]byte      // of messages that have their answer, for those to come
	read    int           // messages to be sent that Next has given
	ended   bool          // Next has no more
	flying  int           // messages that lanes have
	turned  bool          // the turn is over
	stopped bool          // the worker stops
	over    bool          // nothing is left, or nobody is left to take it
}

type pacedItem struct {
	*item
	at   time.Time // when to ask again
	turn time.Time
}

// worthWaiting is the longest time for which a batch keeps its place on the worker although every message waits for a rate limit.
const worthWaiting = 2 * time.Second

// seatLook is the time between two looks for a seat at a slow drop point.
const seatLook = 250 * time.Millisecond

// maxPaced bounds the messages in memory that wait for the limit of their domain.
const maxPaced = 256

func newQueue(b Batch) *queue {
	q := &queue{batch: b, changed: make(chan struct{})}
	q.open = b.Claim.Open()
	for _, p := range b.Points {
		q.points = append(q.points, &point{Point: p, lanes: min(p.Connections(), q.open)})
	}
	return q
}

// note wakes whoever waits for a change. q.mu is held.
func (q *queue) note() {
	close(q.changed)
	q.changed = make(chan struct{})
}

func (q *queue) wake() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.note()
}

func (q *queue) endTurn() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.turned = true
	q.cancel()
	q.note()
}

// stopWith ends the sending when stop is closed.
func (q *queue) stopWith(stop <-chan struct{}) (forget func()) {
	done := make(chan struct{})
	go func() {
		select {
		case <-stop:
			q.mu.Lock()
			q.stopped = true
			q.cancel()
			q.note()
			q.mu.Unlock()
		case <-done:
		}
	}()
	return func() { close(done) }
}

// ready waits until there may be a message for the point, and promises it to the lane: take must follow. False: there will be none.
// Before it begins to wait it calls idle.
func (q *queue) ready(ctx context.Context, p *point, idle func() error) (bool, error) {
	for idled := false; ; {
		q.mu.Lock()
		if err := q.ending(ctx); err != nil || q.turned || p.down != nil || q.over {
			q.mu.Unlock()
			return false, err
		}
		now := time.Now()
		wait := p.waits.Sub(now)
		if !q.admitted(p) {
			wait = max(wait, seatLook)
		}
		if n, next := q.available(p, now); wait <= 0 && n > p.asked {
			p.asked++
			q.mu.Unlock()
			return true, nil
		} else if wait <= 0 && !next.IsZero() {
			wait = next.Sub(now)
		}
		if q.flying == 0 && q.nothingLeft() {
			q.over = true
			q.cancel()
			q.note()
			q.mu.Unlock()
			return false, nil
		}
		if q.flying == 0 && q.notBefore().Sub(now) > worthWaiting {
			q.turned = true
			q.cancel()
			q.note()
			q.mu.Unlock()
			return false, nil
		}
		changed := q.changed
		q.mu.Unlock()
		if !idled {
			idled = true
			if err := idle(); err != nil {
				return false, err
			}
			continue
		}
		if wait <= 0 {
			wait = time.Hour
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// why says why the sending ends early, if it does.
func (q *queue) why(ctx context.Context) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ending(ctx)
}

func (q *queue) ending(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case q.stopped:
		return ErrStopped
	}
	return nil
}

// admitted tells whether the batch may use the point: a slow one only with a seat, if there is another that is not. q.mu is held.
func (q *queue) admitted(p *point) bool {
	if p.seat || !p.Slow() {
		return true
	}
	elsewhere := slices.ContainsFunc(q.points, func(o *point) bool { return o.down == nil && o.lanes > 0 && !o.Slow() })
	p.seat = elsewhere && p.Sit()
	return p.seat || !elsewhere
}

// available counts messages that the point could take now; if there are none, next is when one's time may come.
func (q *queue) available(p *point, now time.Time) (n int, next time.Time) {
	if !q.ended && len(q.paced) < maxPaced {
		n += q.open - q.read
	}
	for _, it := range q.again {
		if it.for_(p) {
			n++
		}
	}
	for _, it := range q.paced {
		switch {
		case !it.for_(p):
		case !it.at.After(now):
			n++
		case next.IsZero() || it.at.Before(next):
			next = it.at
		}
	}
	return n, next
}

// for_ tells whether the point may be asked to take the message.
func (it *item) for_(p *point) bool { return it.refusedBy != p || p.proven() }

// nothingLeft: no drop point that is still up can be given anything more. q.mu is held, and nothing is flying.
func (q *queue) nothingLeft() bool {
	if !q.ended {
		return false
	}
	for _, p := range q.points {
		if p.down != nil || p.lanes == 0 {
			continue
		}
		for _, it := range q.again {
			if it.for_(p) {
				return false
			}
		}
		for _, it := range q.paced {
			if it.for_(p) {
				return false
			}
		}
	}
	return true
}

// forgo gives a promise of ready back.
func (q *queue) forgo(p *point) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p.asked--
	q.note()
}

// take returns a message that the rate limits let go now, or nil. With promised, a promise of ready is kept, or broken, by it.
func (q *queue) take(ctx context.Context, p *point, promised bool) (*item, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if promised {
		p.asked--
	}
	if err := q.ending(ctx); err != nil || q.turned || p.down != nil || !q.admitted(p) {
		return nil, err
	}
	now := time.Now()
	if p.waits.After(now) {
		return nil, nil
	}
	for {
		it, err := q.pick(p, now)
		if it == nil || err != nil {
			return nil, err
		}
		wait, err := q.batch.Pace(ctx, p.Name(), it.domain())
		switch {
		case err != nil:
			q.again = append(q.again, it)
			return nil, fmt.Errorf("ask for a turn under the rate limits: %w", err)
		case wait.Ask <= 0:
			q.flying++
			return it, nil
		case wait.Domain:
			q.paced = append(q.paced, pacedItem{it, now.Add(wait.Ask), now.Add(wait.Turn)})
		default:
			q.again = append(q.again, it)
			p.waits, p.turn = now.Add(wait.Ask), now.Add(wait.Turn)
			p.waited += wait.Ask
			return nil, nil
		}
	}
}

// pick takes a message out of where it waits.
func (q *queue) pick(p *point, now time.Time) (*item, error) {
	for i := len(q.again) - 1; i >= 0; i-- {
		if it := q.again[i]; it.for_(p) {
			q.again = append(q.again[:i], q.again[i+1:]...)
			return it, nil
		}
	}
	for i, it := range q.paced {
		if !it.at.After(now) && it.for_(p) {
			q.paced = append(q.paced[:i], q.paced[i+1:]...)
			return it.item, nil
		}
	}
	for !q.ended && len(q.paced) < maxPaced {
		m, err := q.batch.Next(q.room())
		if errors.Is(err, io.EOF) {
			q.ended = true
			q.note()
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the spool: %w", err)
		}
		if tried := q.batch.Claim.Tried[m.Recipient]; !tried.Final && !tried.Deferred {
			q.read++
			q.ended = q.read == q.open
			return &item{Message: m, attempt: tried.Attempts + 1, uncertain: tried.Uncertain}, nil
		}
		q.rooms = append(q.rooms, m.Data)
	}
	return nil, nil
}

// room returns room for a message, or nil. q.mu is held.
func (q *queue) room() []byte {
	if len(q.rooms) == 0 {
		return nil
	}
	last := len(q.rooms) - 1
	room := q.rooms[last]
	q.rooms = q.rooms[:last]
	return room
}

// done says that a message has its answer: its octets are not looked at again.
func (q *queue) done(it *item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rooms = append(q.rooms, it.Data[:0])
	it.Data = nil
	q.flying--
	if q.flying == 0 && q.ended {
		q.note()
	}
}

// put gives a message back that has to be tried again.
func (q *queue) put(it *item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.flying--
	q.again = append(q.again, it)
	q.note()
}

// works counts an answer that shows that the drop point works with us.
func (q *queue) works(p *point) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p.accepted++
	if p.accepted == 1 && len(q.again) > 0 {
		q.note() // what it has refused may be asked again
	}
}

// refuses counts an answer that refuses us. It returns whether that is about the one recipient, since others are accepted; if not, and
// it goes on, the drop point is given up.
func (q *queue) refuses(p *point, refusal error) (recipientOnly bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p.refused++
	p.refusal = refusal
	if p.accepted == 0 && p.refused >= refusalLimit && p.down == nil {
		p.down = &Refuses{refusal}
		q.note()
	}
	return p.proven() && p.down == nil
}

// leave says that a lane has ended, for err if it is not nil.
func (q *queue) leave(p *point, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p.lanes--
	if err != nil {
		p.trouble = err
		if p.lanes == 0 && p.down == nil {
			p.down = err
		}
	}
	if p.lanes == 0 {
		if p.seat {
			p.seat = false
			p.Rise()
		}
		q.note()
	}
}

// report is how the batch stands after all lanes have ended, and its error if nobody could send what is left.
func (q *queue) report() (Report, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r := Report{Over: q.ended && len(q.again)+len(q.paced) == 0, Limited: q.limited()}
	var failure error
	up := 0
	for _, p := range q.points {
		failed := p.down
		switch {
		case failed == nil && p.trouble != nil && p.accepted == 0: // some lanes could not be opened, and none has done anything
			failed = p.trouble
		case failed == nil && !p.proven() && p.refused > 0:
			failed = &Refuses{p.refusal}
		}
		if failed != nil {
			failure = failed
			var refuses *Refuses
			if p.refused == 0 && errors.As(failed, &refuses) { // before any message, at the log-in
				r.Refused++
			}
		} else {
			up++
		}
		r.Refused += p.refused
		r.Points = append(r.Points, PointReport{Name: p.Name(), Accepted: p.accepted, Failure: failed})
	}
	if r.Over || up > 0 {
		if r.NotBefore = q.notBefore(); !r.NotBefore.IsZero() {
			r.Everybody = q.allPointsWait()
		}
		return r, nil
	}
	return r, failure
}

// left counts messages without an answer. q.mu is held.
func (q *queue) left() int { return q.open - q.read + len(q.again) + len(q.paced) + q.flying }

// limited tells whether each drop point that is up has waited for rate limits for more than half of
// the time. q.mu is held.
func (q *queue) limited() bool {
	half := time.Since(q.began) / 2
	waited := false
	for _, p := range q.points {
		if p.down != nil {
			continue
		}
		if p.waited < half {
			return false
		}
		waited = true
	}
	return waited
}

// allPointsWait tells whether no drop point that is up may take anything, whoever it is for.
func (q *queue) allPointsWait() bool {
	now := time.Now()
	for _, p := range q.points {
		if p.down == nil && !p.turn.After(now) {
			return false
		}
	}
	return true
}

// notBefore is when the first turn comes, if everything that is left waits for rate limits.
func (q *queue) notBefore() time.Time {
	var first time.Time
	earlier := func(t time.Time) {
		if first.IsZero() || t.Before(first) {
			first = t
		}
	}
	now := time.Now()
	for _, p := range q.points {
		switch {
		case p.down != nil:
			continue
		case p.turn.After(now):
			earlier(p.turn)
			continue
		case !q.ended && len(q.paced) < maxPaced, len(q.again) > 0:
			return time.Time{}
		}
		for _, it := range q.paced {
			if !it.turn.After(now) {
				return time.Time{}
			}
			earlier(it.turn)
		}
	}
	return first
}
