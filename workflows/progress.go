package workflows

import "time"

// Progress is everything that a run of the workflow hands to the next run by continue-as-new.
type Progress struct {
	// Step is where the next run goes on. Ending is set while the ledger of a mailing that ends
	// early is being closed.
	Step     Step     `json:"step"`
	Ending   *Ending  `json:"ending,omitempty"`
	State    State    `json:"state"`
	Prepared Prepared `json:"prepared"`
	// Pages is true if a page is fetched for each recipient: fewer batches are rendered at a time
	// then.
	Pages bool `json:"pages,omitempty"`
	// DropPoints are all drop points of the mailing, also those that have left its list.
	DropPoints []DropPointStatus `json:"drop_points"`
	BatchProgress
	OutcomeProgress
	Window SendWindow `json:"window,omitzero"`
	Paused *Pause     `json:"paused,omitempty"`
	// RenderAnyway is true after an operator has resumed a mailing that was suspended for
	// [CauseRendering]: recipients without a message are failed from then on.
	RenderAnyway bool `json:"render_anyway,omitempty"`
	SuspensionProgress
	// Seal proves that the previous run of the mailing has handed this over: see [SealCall].
	Seal string `json:"seal,omitempty"`
}

// Step is a part of a mailing's life that one run of the workflow may hand to the next.
type Step string

// The steps, in their order.
const (
	StepOpen    Step = "open"    // check the input and reserve the ID
	StepPrepare Step = "prepare" // wait for not_before and freeze the list
	StepSend    Step = "send"    // render and send every batch, then close the ledger
	StepClose   Step = "close"   // close the ledger of a mailing that ends early
)

// Ending says how a mailing ends before it is complete.
type Ending struct {
	State  State  `json:"state"`
	Reason string `json:"reason"`
	// Update is true if the update cancel ended the mailing: the workflow completes. Otherwise a
	// cancelled mailing ends its workflow as cancelled.
	Update bool `json:"update,omitempty"`
	// Type and Problems describe the error of a mailing that fails.
	Type     string    `json:"type,omitempty"`
	Problems []Problem `json:"problems,omitempty"`
	// WithResult is true if the error carries the result.
	WithResult bool `json:"with_result,omitempty"`
}

// BatchProgress says which batches wait for what. A run hands over no batch that is in flight.
type BatchProgress struct {
	// NextRender is the first batch of the list that was never given to RenderBatch.
	NextRender int `json:"next_render"`
	// Ready batches are rendered and wait to be sent, in this order.
	Ready []int `json:"ready,omitempty"`
	// Paced batches wait until a rate limit lets the next message go.
	Paced []PacedBatch `json:"paced,omitempty"`
	// Redo batches must be rendered again: RenderBatch failed, or their spool was lost.
	Redo []int `json:"redo,omitempty"`
	// Gathered counts the batches that were made of deferred recipients. Their numbers follow those
	// of the list.
	Gathered int `json:"gathered,omitempty"`
	// Deferred recipients are in no batch. NextRound is when to make batches of them.
	Deferred  int       `json:"deferred,omitempty"`
	NextRound time.Time `json:"next_round,omitzero"`
	// Rerendered counts, for each batch that is not closed, how often its spool was lost or
	// damaged.
	Rerendered map[int]int `json:"rerendered,omitempty"`
}

// PacedBatch is a batch that waits for a rate limit.
type PacedBatch struct {
	Batch     int       `json:"batch"`
	NotBefore time.Time `json:"not_before"`
	// LimitsAll is true if every other batch of the mailing would have to wait as well. The batch
	// then keeps its place in the window.
	LimitsAll bool `json:"everybody,omitempty"`
}

// OutcomeProgress holds the counts of recipients and errors.
type OutcomeProgress struct {
	// Partial holds the outcomes of batches that are not closed, as of the end of their last turn.
	Partial map[int]Counts `json:"partial,omitempty"`
	// Closed counts batches whose every recipient has an outcome or is deferred. Counts is the sum
	// of their outcomes.
	Closed int    `json:"closed"`
	Counts Counts `json:"counts"`
	// Refused counts what the error limit counts besides outcomes. Forgiven is what the error limit
	// had counted when an operator resumed the mailing, and what batches that were in flight at
	// that moment added later.
	Refused  int64       `json:"refused,omitempty"`
	Forgiven ErrorCounts `json:"forgiven,omitzero"`
	// Returned is the number of recipients with a hard bounce that came back by mail, as far as the
	// workflow knows. It is no outcome: most of these recipients were sent.
	Returned int64 `json:"returned,omitempty"`
}

// ErrorCounts is what the error limit compares: recipients that were tried, and errors among them.
type ErrorCounts struct {
	Tried  int64 `json:"tried"`
	Errors int64 `json:"errors"`
}

func (c ErrorCounts) add(d ErrorCounts) ErrorCounts {
	return ErrorCounts{Tried: c.Tried + d.Tried, Errors: c.Errors + d.Errors}
}

func (c ErrorCounts) less(d ErrorCounts) ErrorCounts {
	return ErrorCounts{Tried: c.Tried - d.Tried, Errors: c.Errors - d.Errors}
}

// Pause is set while an operator has paused the mailing.
type Pause struct {
	Since time.Time `json:"since"`
}

// SuspensionProgress holds what a suspended mailing waits for.
type SuspensionProgress struct {
	// Suspended is nil while the mailing is not suspended.
	Suspended *Suspension `json:"suspended,omitempty"`
	// BackoffUntil is when rendering is tried again after a failure, while the mailing is suspended
	// for another cause that stays.
	BackoffUntil time.Time `json:"backoff_until,omitzero"`
}

// Suspension says why a mailing is suspended and when it probes next.
type Suspension struct {
	Cause  Cause     `json:"cause"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	// Until is the time of the next probe; zero if only an operator ends the suspension.
	Until time.Time `json:"until,omitzero"`
	// Every is the time from the last probe to the next.
	Every Duration `json:"every,omitzero"`
	// Probes counts the probes without success: the time between two probes doubles.
	Probes int `json:"probes,omitempty"`
}

// Cause is what a suspended mailing waits for. Work that does not need it goes on.
type Cause string

// The causes.
const (
	CauseDatabase   Cause = "database"    // nothing goes on
	CausePage       Cause = "page"        // rendered mail is still sent
	CauseDropPoints Cause = "drop_points" // mail is still rendered
	CauseErrors     Cause = "errors"      // the error limit: an operator decides
	CauseRendering  Cause = "rendering"   // the first recipients have no message: an operator decides
	CausePoison     Cause = "poison"      // workers died while they rendered a batch: an operator decides
	CauseUnexpected Cause = "unexpected"  // an activity fails again and again for an unforeseen reason
)
