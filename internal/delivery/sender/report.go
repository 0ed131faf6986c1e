package sender

import (
	"errors"
	"time"

	"directmailer/internal/delivery/droppoint"
)

// Report is what has become of a batch in one turn.
type Report struct {
	// Complete is true if every recipient of the batch has been answered, or was refused for now.
	// Otherwise the turn ended first.
	Complete bool
	// NotBefore is when the rate limits allow the next message, if every message that is left waits
	// for them. Otherwise it is zero.
	NotBefore time.Time
	// LimitsAll is true if NotBefore comes from limits of the mailing or of the drop points: other
	// batches would wait for them as well.
	LimitsAll bool
	// Limited is true if the batch has spent most of its time waiting for such limits.
	Limited bool
	// Refused counts answers that refuse us, not the recipient. A drop point that refuses us before
	// any message counts once.
	Refused int
	// Soon are recipients who wait for a later round only because nothing has shown yet whether the
	// drop point accepts others: a short pause is enough.
	Soon       []int32
	DropPoints []DropPointReport
}

// DropPointReport is how a drop point did.
type DropPointReport struct {
	Name     string
	Accepted int // messages that it has accepted
	Answered int // other answers that show that it works
	// Failure is why the drop point could not be used to the end: an [*UnavailableError], a
	// [*RefusedError], or nil.
	Failure error
	// OpeningSince is since when the first connection is being opened; zero if one is open.
	// OpeningStep is the present step.
	OpeningSince time.Time
	OpeningStep  string
	State        droppoint.State // what the drop point allows
}

// report returns the report after all connections have ended. It returns the failure of a drop
// point as an error if messages are left and every drop point has failed.
func (q *queue) report() (Report, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r := Report{Complete: q.complete(), Limited: q.mostlyLimited(), Soon: q.soon}
	var failure error
	usable := 0
	for _, d := range q.dropPoints {
		failed := d.reportedFailure()
		if failed == nil {
			usable++
		} else {
			failure = failed
			var refused *RefusedError
			if d.refused == 0 && errors.As(failed, &refused) { // before any message, at the log-in
				r.Refused++
			}
		}
		r.Refused += d.refused
		one := DropPointReport{
			Name: d.Name(), Accepted: d.accepted, Answered: d.answered, Failure: failed, State: d.State(),
		}
		one.OpeningSince, one.OpeningStep = d.Opening()
		r.DropPoints = append(r.DropPoints, one)
	}
	if !r.Complete && usable == 0 {
		return r, failure
	}
	if r.NotBefore = q.notBefore(); !r.NotBefore.IsZero() {
		r.LimitsAll = q.allDropPointsLimited()
	}
	return r, nil
}

// complete reports whether no message is left that could be sent. It needs mu.
func (q *queue) complete() bool { return q.allRead && q.waiting()+q.leftOpen == 0 }

// reportedFailure returns why the drop point counts as failed, or nil. Besides a failure that ended
// its use, this is a connection that failed, or a refusal, while it accepted nothing.
func (d *dropPointState) reportedFailure() error {
	switch {
	case d.failure != nil:
		return d.failure
	case d.connectionFail != nil && d.accepted+d.answered == 0:
		return d.connectionFail
	case !d.proven() && d.lastRefusal != nil:
		return d.lastRefusal
	}
	return nil
}
