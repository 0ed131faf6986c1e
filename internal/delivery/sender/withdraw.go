package sender

import (
	"errors"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/ledger"
)

// uncommitted is the reason of an attempt whose intent could not be committed.
const uncommitted = ledger.NotHandedOver + "the ledger did not take its intent"

// withdraw ends an attempt whose intent could not be committed. The intent may be in the ledger all
// the same, if only the answer of the database was lost. It would make the recipient uncertain,
// although the final step was not taken.
//
// The number of the attempt is not used again: the ledger would take the next attempt for this one.
func (c *connection) withdraw(it *item, cause error) {
	if errors.Is(cause, ledger.ErrFenced) { // nothing was written
		return
	}
	result := resultOf(it, ledger.NotSent, droppoint.Answer{}, uncommitted)
	c.queue.batch.Gate.Withdraw(c.queue.batch.Claim, result)
	it.attempt++
}
