package droppoint

import "time"

const (
	// firstTry is the time until one more connection is tried after the drop point has refused one.
	// It doubles with each try in vain, up to lastTry.
	firstTry, lastTry = 5 * time.Second, time.Minute
	// lendAfter is how long a worker keeps several of the connections of a drop point that gives
	// fewer than it may open. Then it closes one, so that a worker without any gets its turn.
	lendAfter = time.Minute
)

// allowance is how many connections of a drop point may be open at a time. It begins with the
// configured number. When the drop point refuses one while others work, the allowance becomes the
// number of those others. It grows by one when one more is tried and opens. It reads no clock.
type allowance struct {
	most    int           // configured
	learned int           // what the drop point gives; most while it has refused none
	reason  error         // why learned is less than most
	tryAt   time.Time     // when one more is tried
	pause   time.Duration // before the next try
	lentAt  time.Time     // when a connection was closed for the sake of other workers
}

func newAllowance(most int) allowance {
	return allowance{most: most, learned: most, pause: firstTry}
}

// isReduced reports whether the drop point gives fewer connections than configured.
func (a *allowance) isReduced() bool { return a.learned < a.most }

// limit returns how many connections may be open now, one more than learned when it is time to try.
func (a *allowance) limit(now time.Time) int {
	if a.isReduced() && !a.tryAt.After(now) {
		return a.learned + 1
	}
	return a.learned
}

// refused notes that the drop point has refused a connection, for a reason, while so many others
// are open. Refusals that arrive together count as one try.
func (a *allowance) refused(open int, reason error, now time.Time) {
	if !a.isReduced() {
		a.lentAt = now
	} else if !a.tryAt.After(now) {
		a.pause = min(2*a.pause, lastTry)
	}
	a.learned, a.reason, a.tryAt = max(min(open, a.learned), 1), reason, now.Add(a.pause)
}

// opened notes that a connection was opened, and that so many are open with it.
func (a *allowance) opened(open int, now time.Time) {
	if !a.isReduced() || open <= a.learned {
		return
	}
	a.learned, a.tryAt = min(open, a.most), now.Add(a.pause)
}

// proven notes that a new connection has carried a message: the next try comes soon.
func (a *allowance) proven() { a.pause = firstTry }

// lends reports whether one of the open connections is to be closed, so that other workers of the
// same drop point can have it.
func (a *allowance) lends(open int, now time.Time) bool {
	if !a.isReduced() || open < 2 || now.Sub(a.lentAt) < lendAfter {
		return false
	}
	a.lentAt, a.tryAt, a.learned = now, now.Add(firstTry), max(min(a.learned, open-1), 1)
	return true
}

// reset forgets what was learned: no connection is left.
func (a *allowance) reset() { *a = newAllowance(a.most) }
