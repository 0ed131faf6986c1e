package workflows

import (
	"time"

	"directmailer/internal/counts"
)

// State is the phase that a mailing is in, or how it ended.
type State string

// The states of a mailing. The last five are ends.
const (
	StateWaiting   State = "waiting"   // not_before has not come
	StatePreparing State = "preparing" // the list is being frozen into recipients
	StateSending   State = "sending"
	StatePaused    State = "paused"    // by an operator
	StateSuspended State = "suspended" // a resource that the mailing needs is unavailable
	StateClosing   State = "closing"   // the ledger is being reconciled
	StateCompleted State = "completed"
	StateCancelled State = "cancelled"
	StateExpired   State = "expired" // not_after came before the end of the list
	StateFailed    State = "failed"
	// StateTerminated is the end of a mailing whose workflow is gone: it was terminated, or
	// Temporal has forgotten it. `starter close` sets this state; no workflow does.
	StateTerminated State = "terminated"
)

// Ended reports whether the mailing has ended.
func (s State) Ended() bool {
	switch s {
	case StateCompleted, StateCancelled, StateExpired, StateFailed, StateTerminated:
		return true
	}
	return false
}

// Counts holds the number of recipients by outcome.
type Counts = counts.Counts

// Result is what the workflow returns. A workflow that ends as cancelled or failed has the result
// in the details of its error.
type Result struct {
	ID    string `json:"id"`
	State State  `json:"state"`
	// Reason says why the mailing did not complete; empty if it did.
	Reason string `json:"reason,omitempty"`
	// Members is the number of rows in the list. Duplicates is the number of rows that repeat an
	// address.
	Members    int64 `json:"members"`
	Duplicates int64 `json:"duplicates"`
	// Rejected is the number of rows of a query without a usable address. Rows of a file are
	// rejected at its import.
	Rejected int64 `json:"rejected,omitempty"`
	// Recipients is the number of addresses. Counts divides them by outcome.
	Recipients int64  `json:"recipients"`
	Counts     Counts `json:"counts"`
	Batches    int    `json:"batches"`
	// Suppressed is the number of addresses that do not exist (5.1.1, 5.1.6, 5.1.10). Later
	// mailings skip them.
	Suppressed int64 `json:"suppressed,omitempty"`
	// Withheld lists the drop points that reported so many missing addresses that none was
	// suppressed.
	Withheld []WithheldSuppression `json:"withheld,omitempty"`
}

// WithheldSuppression is a drop point that reported too many addresses as missing: its recipient
// map may be broken.
type WithheldSuppression struct {
	DropPoint string `json:"drop_point"`
	// Bad is the number of addresses that it reported as missing. Answered is the number of
	// recipients that it accepted or refused for good.
	Bad      int64 `json:"bad"`
	Answered int64 `json:"answered"`
}

// Status is the answer of [StatusQuery]: what a mailing is doing.
type Status struct {
	ID    string `json:"id"`
	State State  `json:"state"`
	// Doing says in one sentence what the mailing does or waits for.
	Doing string `json:"doing"`
	// Since is the start of a suspension or a pause. Until is the end of the waiting, or the next
	// probe. Both are zero if the mailing does not wait; Until is zero if only an operator ends the
	// waiting.
	Since      time.Time `json:"since,omitzero"`
	Until      time.Time `json:"until,omitzero"`
	Recipients int64     `json:"recipients"`
	// IgnoresOptOuts are the scopes whose opt-outs the mailing ignores.
	IgnoresOptOuts []string `json:"ignores_opt_outs,omitempty"`
	// Counts holds the outcomes so far, including those in batches that are not closed.
	Counts Counts `json:"counts"`
	// RatePerSecond is the number of messages per second over the last minute. ETA is when the
	// mailing is done at that rate. Both are zero while they are not known.
	RatePerSecond float64   `json:"rate_per_second,omitempty"`
	ETA           time.Time `json:"eta,omitzero"`
	// Deferred is the number of recipients that wait for a later round, the first of them at
	// NextRound.
	Deferred  int       `json:"deferred,omitempty"`
	NextRound time.Time `json:"next_round,omitzero"`
	Batches   int       `json:"batches"`
	Rendered  int       `json:"rendered"`
	Closed    int       `json:"closed"`
	// DropPoints of the mailing, in the order of its input.
	DropPoints []DropPointStatus `json:"drop_points,omitempty"`
}

// DropPointStatus is the state of a drop point in one mailing.
type DropPointStatus struct {
	Name string `json:"name"`
	// InList is false after the drop point has used up its attempts. It is probed until it is
	// back.
	InList bool `json:"in_list"`
	// Failures counts the failures since the drop point last accepted mail. After Attempts failures
	// it leaves the list.
	Failures int `json:"failures,omitempty"`
	Attempts int `json:"attempts,omitempty"`
	// Until is when the drop point is used again or, out of the list, probed again; zero while it
	// is in use.
	Until time.Time `json:"until,omitzero"`
	// OnTrial is true if the drop point is back in the list and has not accepted mail since. It
	// gets one batch at a time.
	OnTrial bool `json:"on_trial,omitempty"`
	// Probes counts the probes since the drop point last accepted mail: the time between two probes
	// doubles.
	Probes int `json:"probes,omitempty"`
	// Proven is true if the drop point has accepted mail of this mailing since it last failed.
	Proven bool `json:"proven,omitempty"`
	// HasAccepted is true if the drop point has accepted mail of this mailing at any time.
	HasAccepted bool `json:"has_accepted,omitempty"`
	// Refuses is true if the drop point has refused our mail, and has accepted nothing since.
	Refuses bool `json:"refuses,omitempty"`
	// LastFailure is the latest failure, without addresses; empty if there was none.
	LastFailure string `json:"last_failure,omitempty"`
	// Slowed says in words what slows the drop point down: a connection that takes long to open,
	// fewer connections than configured, or a rate that the server asks for. Empty if nothing does.
	Slowed string `json:"slowed,omitempty"`
}
