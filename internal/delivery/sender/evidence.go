package sender

import (
	"fmt"
	"slices"
	"sync"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/delivery/smtp"
)

const (
	// sameRefusals in a row, to recipients of several domains, mean that a drop point refuses us.
	sameRefusals = 10
	// anyRefusals in a row mean the same, whatever their words are.
	anyRefusals = 30
	// maxRow limits the refusals in a row that are kept.
	maxRow = 64
)

// Evidence is what all batches of one mailing on this worker have seen of a drop point: how much it
// has accepted, and what it has refused since. It is safe for concurrent use.
type Evidence struct {
	mu       sync.Mutex
	accepted int       // messages
	refused  int       // refusals; each has a number, from 1
	cleared  int       // the last refusal after which a message was begun that was accepted
	refusing int       // the last refusal by which it was found to refuse us; 0 when it accepts again
	epoch    int       // grows when the drop point is found to refuse us: what was refused before proves nothing
	row      []refusal // refusals that are not cleared
}

// refusal is a 5xx reply for one recipient.
type refusal struct {
	number  int
	kind    droppoint.Outcome
	domain  string // of the recipient
	words   []string
	pattern string
	err     error
}

// moment is that of a refusal: its number, its epoch, and whether the drop point refused us then or
// when the refused message was begun, and had accepted nothing since.
type moment struct {
	refusal, epoch int
	refusing       bool
}

// aftermath is what has happened since a refusal.
type aftermath struct {
	refusesUs      bool // the drop point was found to refuse us
	accepts        bool // it has accepted a message that was begun later
	inARow         int  // refusals that no acceptance has cleared
	severalDomains bool // their recipients have several domains
}

// numbers returns how many messages were accepted and refused so far.
func (e *Evidence) numbers() (accepted, refused int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.accepted, e.refused
}

// refuses reports whether the drop point was found to refuse us, and has accepted nothing since.
func (e *Evidence) refuses() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.refusing > 0
}

// since returns what has happened since a refusal. All of it is of one moment: other batches go on.
func (e *Evidence) since(at moment) aftermath {
	e.mu.Lock()
	defer e.mu.Unlock()
	return aftermath{
		refusesUs: e.epoch != at.epoch, accepts: e.cleared >= at.refusal,
		inARow: len(e.row), severalDomains: haveSeveralDomains(e.row),
	}
}

// refusesNone reports whether the drop point has refused nothing since it accepted a message.
func (e *Evidence) refusesNone() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.row) == 0 && e.refusing == 0
}

// accept records that the drop point has accepted a message. begun is the number of refusals before
// the message was begun. They are cleared. A later one is not: a message that was begun before a
// quota was used up may still be accepted after the first refusal.
func (e *Evidence) accept(begun int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.accepted++
	e.cleared = max(e.cleared, begun)
	if begun >= e.refusing {
		e.refusing = 0
	}
	e.row = slices.DeleteFunc(e.row, func(r refusal) bool { return r.number <= e.cleared })
}

// refuse records a refusal. It returns the error of a drop point that refuses us, with what it has
// said again and again, or nil if it may mean this recipient alone. The moment is that of the
// refusal.
func (e *Evidence) refuse(r refusal) (moment, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refused++
	r.number = e.refused
	at := moment{r.number, e.epoch, e.refusing > 0}
	if len(e.row) == maxRow {
		e.row = slices.Delete(e.row, 0, 1)
	}
	e.row = append(e.row, r)
	same := e.like(r)
	if same == nil {
		return at, nil
	}
	e.row, e.epoch, e.refusing = nil, e.epoch+1, e.refused
	cause := fmt.Errorf("%w (%d times in a row)", r.err, len(same))
	return at, &RefusedError{Cause: cause, Quote: smtp.Quote(commonWords(same, r.pattern))}
}

// like returns the refusals in a row that prove, together with the last one, that the drop point
// refuses us; nil if they do not. Refusals whose words blame the recipients prove it only if the
// recipients are of several domains: all mailboxes of one domain may be gone.
func (e *Evidence) like(last refusal) []refusal {
	var same, ofUs []refusal
	for _, r := range e.row {
		if r.pattern == last.pattern {
			same = append(same, r)
		}
		if r.kind == droppoint.Refused {
			ofUs = append(ofUs, r)
		}
	}
	switch {
	case len(ofUs) >= sameRefusals:
		return ofUs
	case len(same) >= sameRefusals && (last.kind != droppoint.Bounced || haveSeveralDomains(same)):
		return same
	case len(e.row) >= anyRefusals && haveSeveralDomains(e.row):
		return e.row
	}
	return nil
}

func haveSeveralDomains(row []refusal) bool {
	return slices.ContainsFunc(row, func(r refusal) bool { return r.domain != row[0].domain })
}

// commonWords returns the words that all refusals of the pattern have at the same place. Others are
// masked: what differs from recipient to recipient may say who they are.
func commonWords(row []refusal, pattern string) []string {
	common := slices.Clone(row[len(row)-1].words)
	for _, r := range row {
		for i := range common {
			if r.pattern != pattern {
				break
			}
			if i >= len(r.words) || r.words[i] != common[i] {
				common[i] = "…"
			}
		}
	}
	return common
}
