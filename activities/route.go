package activities

import (
	"slices"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/delivery/sender"
)

// route is the drop points that a batch may use.
type route struct {
	names []string
	speed func() droppoint.Speed // of the best of them, at the moment
}

func routeOf(points []sender.DropPoint) route {
	var r route
	for _, p := range points {
		r.names = append(r.names, p.Name())
	}
	r.speed = func() droppoint.Speed {
		best := droppoint.Slow
		for _, p := range points {
			switch p.Speed() {
			case droppoint.Quick:
				return droppoint.Quick
			case droppoint.Unknown:
				best = droppoint.Unknown
			}
		}
		return best
	}
	return r
}

// overlaps reports whether the routes have a drop point in common.
func (r route) overlaps(o route) bool {
	return slices.ContainsFunc(r.names, func(name string) bool { return slices.Contains(o.names, name) })
}

// hasRoom reports whether a batch may have one of the slots for sending: through slow drop points
// at most half of them, and a quarter through those that have answered nothing yet. A batch keeps
// its slot until its messages in flight have their answers, which a server may delay by minutes. It
// needs mu.
func (a *admission) hasRoom(to route) bool {
	speed := to.speed()
	if speed == droppoint.Quick {
		return true
	}
	slow, silent := 0, 0
	for _, s := range a.mailings {
		for c := range s.batches {
			switch c.route.speed() {
			case droppoint.Slow:
				slow++
			case droppoint.Unknown:
				if c.route.overlaps(to) {
					silent++
				}
			}
		}
	}
	if speed == droppoint.Unknown {
		return silent < max(a.slots/4, 1)
	}
	return slow < max(a.slots/2, 1)
}
