package workflows

import "time"

// Progress is all that a run of the workflow hands to the next by continue-as-new.
type Progress struct {
	State    State    `json:"state"`
	Prepared Prepared `json:"prepared"`
	// DropPoints of the mailing, those that have left its list among them.
	DropPoints []DropPointStatus `json:"drop_points"`
	// NextRender is the first batch that has not been given to RenderBatch.
	NextRender int `json:"next_render"`
	// Ready batches are rendered and wait to be sent, in this order.
	Ready []ReadyBatch `json:"ready,omitempty"`
	// Later batches hold deferred recipients and wait for their next round.
	Later []ReadyBatch `json:"later,omitempty"`
	// Redo batches have to be rendered again, because rendering them was given up or their spool was lost.
	Redo []int `json:"redo,omitempty"`
	// Closed counts batches whose every recipient has an outcome; Counts adds those up.
	Closed int    `json:"closed"`
	Counts Counts `json:"counts"`
	// Suspended is set while a cause outside is waited for.
	Suspended *Suspension `json:"suspended,omitempty"`
}

// ReadyBatch is a batch to be sent.
type ReadyBatch struct {
	Batch int `json:"batch"`
	// Round counts the times that the batch came back with deferred recipients.
	Round int `json:"round,omitempty"`
	// Since is when the first of its recipients was deferred, Due when the next round may begin; zero in the first round.
	Since time.Time `json:"since,omitzero"`
	Due   time.Time `json:"due,omitzero"`
}

// Suspension says why a mailing is suspended and when it probes next.
type Suspension struct {
	Reason string    `json:"reason"`
	Until  time.Time `json:"until"`
	// Every is the time between two probes.
	Every Duration `json:"every"`
}
