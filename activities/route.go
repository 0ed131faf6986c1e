package activities

import (
	"slices"
	"strings"
	"time"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/delivery/sender"
	"directmailer/workflows"
	"directmailer/workflows/policy"
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
// its slot until its messages in flight have their answers, which a server may delay by minutes.
// Batches whose turn is over do not count where it is unknown whether a drop point answers: they do
// not find out. It needs mu.
func (a *admission) hasRoom(to route) bool {
	speed := to.speed()
	if speed == droppoint.Quick {
		return true
	}
	now := time.Now()
	slow, silent := 0, 0
	for _, s := range a.mailings {
		for c := range s.batches {
			switch c.route.speed() {
			case droppoint.Slow:
				slow++
			case droppoint.Unknown:
				if c.route.overlaps(to) && !c.turnIsOver(now) {
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

// evidenceKey is a drop point of a mailing.
type evidenceKey struct {
	mailing   int64
	dropPoint string
}

// maxEvidence limits the drop points of mailings of which the worker knows what they have refused.
const maxEvidence = 4096

// pointsOf returns the drop points of the call that this worker has.
func (a *Activities) pointsOf(call workflows.SendCall) ([]sender.DropPoint, error) {
	var points []sender.DropPoint
	var names []string
	for _, p := range call.DropPoints {
		names = append(names, p.Name)
		if point, ok := a.dropPoints.Get(p.Name); ok {
			points = append(points, sender.DropPoint{
				DropPoint: point, Proven: p.Proven, HasAccepted: p.HasAccepted,
				Failed: p.Failed, Refuses: p.Refuses,
			})
		}
	}
	if len(points) == 0 {
		return nil, failf(policy.NoDropPoint,
			"no worker that was asked has a drop point named %s: set DM_DROP_POINTS alike on every worker",
			strings.Join(names, " or "))
	}
	return points, nil
}
