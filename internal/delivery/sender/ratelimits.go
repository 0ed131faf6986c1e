package sender

import "time"

// maxIdleTurn is the longest time for which a batch keeps its place on the worker although every
// message waits for a rate limit.
const maxIdleTurn = 2 * time.Second

// notBefore returns when the rate limits allow the first message, if every message that is left
// waits for them. Otherwise it returns zero. It needs mu.
func (q *queue) notBefore() time.Time {
	var first time.Time
	earlier := func(t time.Time) {
		if first.IsZero() || t.Before(first) {
			first = t
		}
	}
	now := time.Now()
	for _, d := range q.dropPoints {
		switch {
		case d.failure != nil:
			continue
		case d.allowed.After(now):
			earlier(d.allowed)
			continue
		case q.mayReadFor(d), countFor(q.returned, d)+countFor(q.retries, d) > 0:
			return time.Time{}
		}
		for _, it := range q.domainLimited {
			if !it.allowed.After(now) {
				return time.Time{}
			}
			earlier(it.allowed)
		}
	}
	return first
}

// allDropPointsLimited reports whether no drop point that has not failed may take a message now,
// whatever its domain. It needs mu.
func (q *queue) allDropPointsLimited() bool {
	now := time.Now()
	for _, d := range q.dropPoints {
		if d.failure == nil && !d.allowed.After(now) {
			return false
		}
	}
	return true
}

// mostlyLimited reports whether the batch has waited for limits of the mailing or of the drop
// points for more than half of its time, at each drop point that has not failed. It needs mu.
func (q *queue) mostlyLimited() bool {
	half := time.Since(q.began) / 2
	limited := false
	for _, d := range q.dropPoints {
		if d.failure != nil {
			continue
		}
		if d.limitedFor < half {
			return false
		}
		limited = true
	}
	return limited
}
