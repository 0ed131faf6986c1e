package workflows

// What passes between the workflow and its activities: references and counts, never a recipient (P7). The mailing's content passes
// once, to OpenMailing, and is read from the database from then on.

// OpenCall asks OpenMailing to check an input and to reserve its ID.
type OpenCall struct {
	Input Input `json:"input"`
	// FirstRunID is the first run of the workflow's chain: the owner of the ID.
	FirstRunID string `json:"first_run_id"`
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

// SendCall asks SendBatch to send what is open of a batch through one drop point.
type SendCall struct {
	Mailing     string      `json:"mailing"`
	Batch       int         `json:"batch"`
	DropPoint   string      `json:"drop_point"`
	OnUncertain OnUncertain `json:"on_uncertain"`
	Retry       Retries     `json:"retry"`
	// Proven is true when the drop point has accepted mail of this mailing: a few refusals are then not its own.
	Proven bool `json:"proven,omitempty"`
	// Round is 0 at first; later ones are for recipients that were deferred.
	Round int `json:"round,omitempty"`
	// LastRound makes recipients that are still deferred fail, so that the batch can be closed.
	LastRound bool `json:"last_round,omitempty"`
}

// SentBatch is the answer of SendBatch.
type SentBatch struct {
	// Closed is true when every recipient of the batch has an outcome; Counts then holds them.
	Closed bool   `json:"closed"`
	Counts Counts `json:"counts"`
	// Deferred recipients are open for a later round.
	Deferred int `json:"deferred,omitempty"`
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
	// Open lists batches (the first 1,000) that a completed mailing still has open: it is not closed until they are.
	Open   []int  `json:"open,omitempty"`
	Result Result `json:"result"`
}
