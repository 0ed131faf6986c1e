package sender

import (
	"slices"

	"directmailer/internal/ledger"
)

// EndTurn ends the turn at once.
func (s *Sending) EndTurn() { s.queue.endTurn() }

// Tried returns what the sending knows of a recipient whose message waits to be sent again, and
// whether it waits.
func (s *Sending) Tried(recipient int32) (t ledger.Tried, waits bool) {
	q := s.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, it := range slices.Concat(q.returned, q.retries) {
		if it.Recipient == recipient {
			t = ledger.Tried{
				Attempts: it.attempt - 1, Uncertain: it.uncertain, Refusals: it.refusals, Breaks: it.breaks,
			}
			return t, true
		}
	}
	return t, false
}
