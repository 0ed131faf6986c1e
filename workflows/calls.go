package workflows

import "time"

// What passes between the workflow and its activities: references and counts, never a recipient
// (P7). The mailing's content does not pass: OpenMailing reads it from the workflow's start, where
// it is once, and all others read it from the database.

// OpenCall asks OpenMailing to check the input of a workflow and to reserve its ID.
type OpenCall struct {
	Mailing string `json:"mailing"`
	// RunID is the run whose start holds the input, FirstRunID the first run of its chain: the owner of the ID.
	RunID      string `json:"run_id"`
	FirstRunID string `json:"first_run_id"`
	Retry      Retry  `json:"retry"`
}

// Opened is the answer of OpenMailing.
type Opened struct {
	// DropPoints are the input's, or all that the worker has.
	DropPoints []string `json:"drop_points"`
}

// PrepareCall asks PrepareList to freeze the list into recipients and batches.
type PrepareCall struct {
	Mailing string `json:"mailing"`
	Retry   Retry  `json:"retry"`
}

// Prepared is the answer of PrepareList.
type Prepared struct {
	Members    int64 `json:"members"`
	Duplicates int64 `json:"duplicates"`
	Rejected   int64 `json:"rejected,omitempty"`
	Recipients int64 `json:"recipients"`
	OptedOut   int64 `json:"opted_out"`
	Batches    int   `json:"batches"`
}

// RenderCall asks RenderBatch to compose the messages of a batch into the spool.
type RenderCall struct {
	Mailing string  `json:"mailing"`
	Batch   int     `json:"batch"`
	Retry   Retries `json:"retry"`
}

// Rendered is the answer of RenderBatch.
type Rendered struct {
	Messages int `json:"messages"`
	Failed   int `json:"failed"`
}

// SendCall asks SendBatch to send what is open of a batch through whichever of the drop points is free.
type SendCall struct {
	Mailing     string            `json:"mailing"`
	Batch       int               `json:"batch"`
	DropPoints  []UsableDropPoint `json:"drop_points"`
	OnUncertain OnUncertain       `json:"on_uncertain"`
	Retry       Retries           `json:"retry"`
	Deferral    Deferral          `json:"deferral"`
}

// UsableDropPoint is a drop point that a batch may be sent through.
type UsableDropPoint struct {
	Name string `json:"name"`
	// Proven is true when it has accepted mail of this mailing: a few refusals are then not its own.
	Proven bool `json:"proven,omitempty"`
}

// SentBatch is the answer of SendBatch.
type SentBatch struct {
	// Closed is true when every recipient of the batch has an outcome or has left it as deferred.
	// Otherwise the activity's turn was over, and the batch is to be sent on, not before NotBefore
	// if a rate limit says so.
	Closed bool `json:"closed"`
	// Counts holds the outcomes of the batch, those of earlier turns among them.
	Counts    Counts    `json:"counts"`
	NotBefore time.Time `json:"not_before,omitzero"`
	// Everybody is true if every other batch would have to wait as well.
	Everybody bool `json:"everybody,omitempty"`
	// Deferred recipients have left the batch for a later round, the first of them at NextRound.
	Deferred  int       `json:"deferred,omitempty"`
	NextRound time.Time `json:"next_round,omitzero"`
	// Worker tells the worker from others, and HandedOver counts the workers that had no room for the batch before.
	Worker     string `json:"worker,omitempty"`
	HandedOver int    `json:"handed_over,omitempty"`
	// Limited is true if rate limits of the mailing or of the drop points held the batch back for most of its turn.
	Limited bool `json:"limited,omitempty"`
	// Refused counts answers and log-ins that refuse us, not the recipient: they count to the mailing's error limit.
	Refused int `json:"refused,omitempty"`
	// Points says how the drop points did.
	Points []DropPointReport `json:"points,omitempty"`
}

// DropPointReport is how a drop point did in one batch.
type DropPointReport struct {
	Name string `json:"name"`
	// Accepted messages.
	Accepted int `json:"accepted,omitempty"`
	// Failure is why it could not be used any more; empty if it could.
	Failure string `json:"failure,omitempty"`
}

// GatherCall asks GatherDeferred to make new batches of deferred recipients whose time has come.
type GatherCall struct {
	Mailing string `json:"mailing"`
	// Known is the highest number of a batch that the workflow knows; BatchSize that of a full batch.
	Known     int      `json:"known"`
	BatchSize int      `json:"batch_size"`
	Retry     Retry    `json:"retry"`
	Deferral  Deferral `json:"deferral"`
}

// Gathered is the answer of GatherDeferred.
type Gathered struct {
	// Ready batches have their messages in the spool, Unrendered ones do not.
	Ready      []int `json:"ready,omitempty"`
	Unrendered []int `json:"unrendered,omitempty"`
	// Deferred recipients wait on; NextRound is when it is worth asking again.
	Deferred  int       `json:"deferred,omitempty"`
	NextRound time.Time `json:"next_round,omitzero"`
}

// CheckCall asks CheckDropPoint whether a drop point can be used again.
type CheckCall struct {
	DropPoint string `json:"drop_point"`
}

// Checked is the answer of CheckDropPoint.
type Checked struct {
	Usable bool `json:"usable"`
	// Failure says why it is not.
	Failure string `json:"failure,omitempty"`
}

// RateCall asks SetRate to set a limit.
type RateCall struct {
	Mailing string     `json:"mailing"`
	Change  RateChange `json:"change"`
	Retry   Retry      `json:"retry"`
}

// ResolveCall asks ResolveUncertain to decide about recipients that are held as uncertain.
type ResolveCall struct {
	Mailing string     `json:"mailing"`
	As      Resolution `json:"as"`
	Retry   Retry      `json:"retry"`
}

// Resolved is the answer of ResolveUncertain.
type Resolved struct {
	// Recipients that were uncertain and are not any more.
	Recipients int `json:"recipients"`
}

// CloseCall asks CloseMailing to reconcile the ledger and to end the mailing in State.
type CloseCall struct {
	Mailing    string `json:"mailing"`
	FirstRunID string `json:"first_run_id"`
	State      State  `json:"state"`
	Reason     string `json:"reason,omitempty"`
	Retry      Retry  `json:"retry"`
}

// Closing is the answer of CloseMailing.
type Closing struct {
	// Open lists batches (the first 1,000) that a completed mailing still has open, Deferred counts its recipients that wait for a later
	// round: it is not closed until there are none.
	Open     []int  `json:"open,omitempty"`
	Deferred int    `json:"deferred,omitempty"`
	Result   Result `json:"result"`
}
