package workflows

import "time"

// Progress is all that a run of the workflow hands to the next by continue-as-new.
type Progress struct {
	// Step is where the next run goes on, and Ending how it ends a mailing whose ledger is being closed early.
	Step     Step     `json:"step"`
	Ending   *Ending  `json:"ending,omitempty"`
	State    State    `json:"state"`
	Prepared Prepared `json:"prepared"`
	// Pages is true when a page is fetched for each recipient: fewer batches are rendered at a time then.
	Pages bool `json:"pages,omitempty"`
	// DropPoints of the mailing, those that have left its list among them.
	DropPoints []DropPointStatus `json:"drop_points"`
	// NextRender is the first batch that has not been given to RenderBatch.
	NextRender int `json:"next_render"`
	// Ready batches are rendered and wait to be sent, in this order.
	Ready []int `json:"ready,omitempty"`
	// Paced batches wait until a rate limit lets the next message go.
	Paced []PacedBatch `json:"paced,omitempty"`
	// Redo batches have to be rendered again, because rendering them was given up or their spool was lost.
	Redo []int `json:"redo,omitempty"`
	// Gathered counts the batches that were made of deferred recipients: their numbers follow those of the list.
	Gathered int `json:"gathered,omitempty"`
	// Deferred recipients are in no batch; NextRound is when it is worth making batches of them.
	Deferred  int       `json:"deferred,omitempty"`
	NextRound time.Time `json:"next_round,omitzero"`
	// Partial holds the outcomes of batches that are not closed, as of the end of their last turn.
	Partial map[int]Counts `json:"partial,omitempty"`
	// Rerendered counts, for batches that are not closed, how often their spool was lost or damaged.
	Rerendered map[int]int `json:"rerendered,omitempty"`
	// Closed counts batches whose every recipient has an outcome or is deferred; Counts adds the outcomes up.
	Closed int    `json:"closed"`
	Counts Counts `json:"counts"`
	// Refused counts what the error limit counts besides outcomes; Forgiven is what it had counted when somebody
	// resumed the mailing, and what batches that were in flight then brought afterwards.
	Refused  int64      `json:"refused,omitempty"`
	Forgiven Tally      `json:"forgiven,omitzero"`
	Window   SendWindow `json:"window,omitzero"`
	Paused   *Pause     `json:"paused,omitempty"`
	// Suspended is set while a cause outside is waited for.
	Suspended *Suspension `json:"suspended,omitempty"`
	// HeldBack is when to go on with work that needs what was away while the mailing was suspended for something graver.
	HeldBack time.Time `json:"held_back,omitzero"`
}

// Step is a part of a mailing's life that one run of the workflow may hand to the next.
type Step string

// The steps, in their order.
const (
	StepOpen    Step = "open"    // the input is checked and the ID reserved
	StepPrepare Step = "prepare" // not_before is waited for, and the list is frozen
	StepSend    Step = "send"
	StepClose   Step = "close" // the ledger of a mailing that ends early is closed
)

// Ending is how a mailing ends before it is complete.
type Ending struct {
	State  State  `json:"state"`
	Reason string `json:"reason"`
	// Update is true if the update cancel ended it: the workflow completes. Otherwise it ends as cancelled.
	Update bool `json:"update,omitempty"`
	// Type and Problems are those of the error by which a mailing fails.
	Type     string    `json:"type,omitempty"`
	Problems []Problem `json:"problems,omitempty"`
	// WithResult is true if the error carries the result.
	WithResult bool `json:"with_result,omitempty"`
}

// PacedBatch is a batch that is to be sent on, not before a time.
type PacedBatch struct {
	Batch     int       `json:"batch"`
	NotBefore time.Time `json:"not_before"`
	// Everybody would have to wait, whichever the batch: it keeps its place in the window.
	Everybody bool `json:"everybody,omitempty"`
}

// Tally is what the error limit goes by: recipients that were tried, and errors among them.
type Tally struct {
	Tried  int64 `json:"tried"`
	Errors int64 `json:"errors"`
}

func (t Tally) add(u Tally) Tally  { return Tally{t.Tried + u.Tried, t.Errors + u.Errors} }
func (t Tally) less(u Tally) Tally { return Tally{t.Tried - u.Tried, t.Errors - u.Errors} }

// Pause is set while somebody holds the mailing.
type Pause struct {
	Since time.Time `json:"since"`
}

// Suspension says why a mailing is suspended and when it probes next.
type Suspension struct {
	Cause  Cause     `json:"cause"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	// Until is the next probe; zero if nothing but a resume helps.
	Until time.Time `json:"until,omitzero"`
	// Every is the time from the last probe to the next.
	Every Duration `json:"every,omitzero"`
	// Probes counts those that were in vain: the time between them doubles.
	Probes int `json:"probes,omitempty"`
}

// Cause is what a suspended mailing waits for; what has nothing to do with it goes on.
type Cause string

// The causes.
const (
	CauseDatabase   Cause = "database"    // nothing can go on
	CausePage       Cause = "page"        // rendered mail is still sent
	CauseDropPoints Cause = "drop_points" // mail is still rendered
	CauseErrors     Cause = "errors"      // the error limit: an operator decides
	CauseUnexpected Cause = "unexpected"  // something fails again and again for a reason that nobody has foreseen
)
