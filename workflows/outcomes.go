package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"
)

// outcomes counts what became of recipients, and compares the errors with the mailing's error
// limit. CloseMailing replaces the counts by those of the ledger.
type outcomes struct {
	OutcomeProgress
	resumes int // how often an operator has resumed a suspended mailing in this run
}

// add applies the answer of a SendBatch activity.
func (o *outcomes) add(batch int, out SentBatch) {
	o.Returned = max(o.Returned, out.Returned) // answers of two batches may come in any order
	delete(o.Partial, batch)
	switch {
	case out.Closed:
		o.Closed++
		o.Counts = o.Counts.Add(out.Counts)
	case out.Counts != Counts{}:
		if o.Partial == nil {
			o.Partial = map[int]Counts{}
		}
		o.Partial[batch] = out.Counts
	}
}

// all returns the outcomes of all batches, closed or not.
func (o *outcomes) all() Counts {
	c := o.Counts
	for _, batch := range workflow.DeterministicKeys(o.Partial) {
		c = c.Add(o.Partial[batch])
	}
	return c
}

// answered returns the number of recipients for which a drop point has answered.
func (o *outcomes) answered() int64 {
	c := o.all()
	return c.Sent + c.Bounced + c.Failed + c.Uncertain
}

// resolve moves n uncertain recipients to the outcome sent; with resend, they have no outcome.
func (o *outcomes) resolve(n int, resend bool) {
	o.Counts.Uncertain -= int64(n)
	if !resend {
		o.Counts.Sent += int64(n)
	}
}

// errors returns what the error limit counts. A refusal of our mail counts as an error, although no
// recipient gets an outcome for it. A bounce that came back by mail counts as an error of a
// recipient who was tried already.
func (o *outcomes) errors() ErrorCounts {
	c := o.Counts
	errors := c.Bounced + c.Failed + o.Refused
	return ErrorCounts{Tried: c.Sent + c.Uncertain + errors, Errors: errors + o.Returned}
}

// forgive makes the error limit count from zero: an operator has resumed the mailing.
func (o *outcomes) forgive() {
	o.resumes++
	o.Forgiven = o.errors()
}

// forgiveSince makes the error limit ignore what was counted since before.
func (o *outcomes) forgiveSince(before ErrorCounts) {
	o.Forgiven = o.Forgiven.add(o.errors().less(before))
}

// overLimit returns why a mailing with these settings must stop; empty if it may go on. A limit of
// 0 % is no limit.
func (o *outcomes) overLimit(maxPercent, minimum int) string {
	n := o.errors().less(o.Forgiven)
	if maxPercent == 0 || n.Tried < int64(minimum) || n.Errors*100 <= n.Tried*int64(maxPercent) {
		return ""
	}
	returned := ""
	if o.Returned > 0 {
		returned = fmt.Sprintf(", %d bounced later", o.Returned)
	}
	return fmt.Sprintf("the error limit is reached: "+
		"%d of %d tried (%d bounced, %d failed, %d refusals of us%s), which is more than %d %%",
		n.Errors, n.Tried, o.Counts.Bounced, o.Counts.Failed, o.Refused, returned, maxPercent)
}
