// Package counts has the numbers of recipients by outcome, as the database, the workflow and the
// command line use them.
package counts

// Counts holds the number of recipients by outcome. In a closed ledger, the outcomes add up to
// the mailing's recipients. It is stored as JSON in the column mailings.counts.
type Counts struct {
	Sent      int64 `json:"sent" db:"sent"`
	Bounced   int64 `json:"bounced" db:"bounced"`
	Failed    int64 `json:"failed" db:"failed"`
	OptedOut  int64 `json:"opted_out" db:"opted_out"`
	Uncertain int64 `json:"uncertain" db:"uncertain"`
	Unsent    int64 `json:"unsent" db:"unsent"`
	// PossiblyTwice counts the recipients that were sent to again after an uncertain attempt. They
	// are counted by their outcome as well.
	PossiblyTwice int64 `json:"possibly_twice" db:"possibly_twice"`
}

// Total returns the number of recipients that have an outcome.
func (c Counts) Total() int64 {
	return c.Sent + c.Bounced + c.Failed + c.OptedOut + c.Uncertain + c.Unsent
}

// Add returns the sums of c and d.
func (c Counts) Add(d Counts) Counts {
	c.Sent += d.Sent
	c.Bounced += d.Bounced
	c.Failed += d.Failed
	c.OptedOut += d.OptedOut
	c.Uncertain += d.Uncertain
	c.Unsent += d.Unsent
	c.PossiblyTwice += d.PossiblyTwice
	return c
}
