package workflows

import "time"

// The arguments and answers of activities hold references and counts, never recipient data. They do
// not hold the mailing's content: OpenMailing reads it from the first event of the workflow, and
// all other activities read it from the database.

// OpenCall asks OpenMailing to check the input of a workflow and to reserve its ID.
type OpenCall struct {
	Mailing string `json:"mailing"`
	// RunID is the run whose first event holds the input. FirstRunID is the first run of its chain,
	// which owns the ID.
	RunID      string `json:"run_id"`
	FirstRunID string `json:"first_run_id"`
	Retry      Retry  `json:"retry"`
}

// Opened is the answer of OpenMailing.
type Opened struct {
	// DropPoints are those of the input, or all that the worker has.
	DropPoints []string `json:"drop_points"`
	// SearchAttributes is true if the worker has found the mailings' search attributes in the
	// namespace, or could not look. The workflow then sets them.
	SearchAttributes bool `json:"search_attributes,omitempty"`
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
	// Sample is how many recipients of the mailing, from its first one on, must not all be without
	// a message. If they are, RenderBatch stores nothing of the batch and ends with the error type
	// NothingRendered. With 0 there is no such check.
	Sample int `json:"sample,omitempty"`
}

// Rendered is the answer of RenderBatch.
type Rendered struct {
	Messages int `json:"messages"`
	Failed   int `json:"failed"`
}

// SendCall asks SendBatch to send a batch to its recipients without an outcome, through any of the
// drop points.
type SendCall struct {
	Mailing    string            `json:"mailing"`
	Batch      int               `json:"batch"`
	DropPoints []UsableDropPoint `json:"drop_points"`
	// Others is true if the mailing has drop points that cannot be used now.
	Others      bool        `json:"others,omitempty"`
	OnUncertain OnUncertain `json:"on_uncertain"`
	Retry       Retries     `json:"retry"`
	Deferral    Deferral    `json:"deferral"`
}

// UsableDropPoint is a drop point that a batch may use.
type UsableDropPoint struct {
	Name string `json:"name"`
	// Proven is true if the drop point has accepted mail of this mailing since it last failed. A few
	// refusals in a row are then not taken for a failure of the drop point.
	Proven bool `json:"proven,omitempty"`
	// HasAccepted is true if the drop point has accepted mail of this mailing at any time.
	HasAccepted bool `json:"has_accepted,omitempty"`
	// Failed is true if the drop point has failed, and has accepted nothing since. Refuses is true
	// if it has refused our mail meanwhile: then its refusals blame nobody.
	Failed  bool `json:"failed,omitempty"`
	Refuses bool `json:"refuses,omitempty"`
}

// SentBatch is the answer of SendBatch.
type SentBatch struct {
	// Closed is true if every recipient of the batch has an outcome or is deferred. Otherwise the
	// turn of the batch is over, and the batch must be sent on, after NotBefore if a rate limit is
	// reached.
	Closed bool `json:"closed"`
	// Counts holds the outcomes of the batch, including those of earlier turns.
	Counts    Counts    `json:"counts"`
	NotBefore time.Time `json:"not_before,omitzero"`
	// LimitsAll is true if the limit makes every other batch wait as well. Recorded histories have
	// its JSON name.
	LimitsAll bool `json:"everybody,omitempty"`
	// Deferred is the number of recipients that have left the batch for a later round, the first of
	// them at NextRound.
	Deferred  int       `json:"deferred,omitempty"`
	NextRound time.Time `json:"next_round,omitzero"`
	// Worker identifies the worker. HandedOver counts the workers that had no room for the batch
	// before.
	Worker     string `json:"worker,omitempty"`
	HandedOver int    `json:"handed_over,omitempty"`
	// Limited is true if rate limits of the mailing or of the drop points delayed the batch for
	// most of its turn.
	Limited bool `json:"limited,omitempty"`
	// Refused counts answers that refuse our mail or our login, not a recipient. They count towards
	// the mailing's error limit.
	Refused int `json:"refused,omitempty"`
	// Returned is the number of recipients of the mailing, not of this batch, with a hard bounce
	// that came back by mail so far. They count towards the mailing's error limit.
	Returned int64 `json:"returned,omitempty"`
	// Points holds a report about each drop point.
	Points []DropPointReport `json:"points,omitempty"`
}

// DropPointReport says what a batch has learned about a drop point.
type DropPointReport struct {
	Name string `json:"name"`
	// Accepted is the number of messages that the drop point has accepted.
	Accepted int `json:"accepted,omitempty"`
	// Answered is the number of other answers that show that the drop point works: bounces, and
	// refusals for now.
	Answered int `json:"answered,omitempty"`
	// Failure says why the drop point cannot be used any more; empty if it can. Refuses is true if
	// the drop point refuses our mail or our log-in, and not only a connection.
	Failure string `json:"failure,omitempty"`
	Refuses bool   `json:"refuses,omitempty"`
	// OpeningSince is since when the worker has been opening its first connection; zero if one is
	// open. OpeningStep is the step that this takes so long.
	OpeningSince time.Time `json:"opening_since,omitzero"`
	OpeningStep  string    `json:"opening_step,omitempty"`
	// Connections is how many connections the drop point gives the worker, and FewerReason why they
	// are fewer than configured. Both are zero if they are not fewer.
	Connections int    `json:"connections,omitempty"`
	FewerReason string `json:"fewer_reason,omitempty"`
	// Rate is the messages per second to which the worker has slowed down, and RateReason why; zero
	// if it has not.
	Rate       float64 `json:"rate,omitempty"`
	RateReason string  `json:"rate_reason,omitempty"`
}

// GatherCall asks GatherDeferred to make new batches of deferred recipients that are due.
type GatherCall struct {
	Mailing string `json:"mailing"`
	// Known is the number of the last batch that the workflow knows. BatchSize is the number of
	// recipients in a full batch.
	Known     int      `json:"known"`
	BatchSize int      `json:"batch_size"`
	Retry     Retry    `json:"retry"`
	Deferral  Deferral `json:"deferral"`
}

// Gathered is the answer of GatherDeferred.
type Gathered struct {
	// Ready lists new batches that have their messages in the spool. Unrendered lists those that do
	// not.
	Ready      []int `json:"ready,omitempty"`
	Unrendered []int `json:"unrendered,omitempty"`
	// Deferred is the number of recipients that still wait. NextRound is when to ask again.
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
	// Failure says why the drop point is not usable.
	Failure string `json:"failure,omitempty"`
}

// RateCall asks SetRate to set a limit.
type RateCall struct {
	Mailing string     `json:"mailing"`
	Change  RateChange `json:"change"`
	Retry   Retry      `json:"retry"`
}

// ResolveCall asks ResolveUncertain to resolve the mailing's uncertain recipients.
type ResolveCall struct {
	Mailing string     `json:"mailing"`
	As      Resolution `json:"as"`
	Retry   Retry      `json:"retry"`
}

// Resolved is the answer of ResolveUncertain.
type Resolved struct {
	// Recipients is the number of recipients that were resolved.
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
	// Open lists the first 1,000 batches that are not closed. Deferred is the number of recipients
	// that wait for a later round. A completed mailing is not closed until there are none of
	// either.
	Open     []int  `json:"open,omitempty"`
	Deferred int    `json:"deferred,omitempty"`
	Result   Result `json:"result"`
}

// MailboxCall asks ReadMailbox to read new messages of the worker's mailbox.
type MailboxCall struct{}

// MailboxRead is the answer of ReadMailbox.
type MailboxRead struct {
	// Messages were read for the first time. Reports of them are about recipients of ours. Skipped
	// are those that could not be recorded.
	Messages int `json:"messages,omitempty"`
	Reports  int `json:"reports,omitempty"`
	Skipped  int `json:"skipped,omitempty"`
	// Events is the number of new events.
	Events int `json:"events,omitempty"`
	// More is true if there are more messages.
	More bool `json:"more,omitempty"`
}
