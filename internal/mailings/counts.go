package mailings

// Counts are recipients by outcome. They are stored as JSON in mailings.counts, and only this type
// reads and writes that column.
type Counts struct {
	Sent      int64 `json:"sent" db:"sent"`
	Bounced   int64 `json:"bounced" db:"bounced"`
	Failed    int64 `json:"failed" db:"failed"`
	OptedOut  int64 `json:"opted_out" db:"opted_out"`
	Uncertain int64 `json:"uncertain" db:"uncertain"`
	Unsent    int64 `json:"unsent" db:"unsent"`
	// PossiblyTwice counts recipients, among those above, who were sent to again after an uncertain
	// attempt.
	PossiblyTwice int64 `json:"possibly_twice" db:"possibly_twice"`
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

// Suppression says what the end of a mailing has done about addresses that do not exist. It is
// stored as JSON in mailings.suppression.
type Suppression struct {
	// Suppressed is the number of addresses that later mailings leave out because of this one.
	// Addresses that were suppressed before are not counted.
	Suppressed int64 `json:"suppressed"`
	// Withheld lists, by name, the drop points whose answers suppressed nobody.
	Withheld []Withheld `json:"withheld,omitempty"`
}

// Withheld is a drop point that answered for too many recipients that they do not exist.
type Withheld struct {
	DropPoint string `json:"drop_point"`
	Bad       int64  `json:"bad"`      // recipients that do not exist, by its answers
	Answered  int64  `json:"answered"` // recipients that it accepted, or refused for good
}

// Share is the part of the answered recipients that do not exist, from 0 to 1.
func (w Withheld) Share() float64 { return float64(w.Bad) / float64(w.Answered) }
