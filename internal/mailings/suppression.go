package mailings

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
