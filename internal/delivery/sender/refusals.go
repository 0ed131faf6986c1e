package sender

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/delivery/smtp"
	"directmailer/internal/ledger"
)

// refused handles a refusal for good. It may mean the recipient or us: the attempt is written down
// as "not sent", with the server's answer, until the drop point accepts or refuses others.
//
// A recipient who was refused before, by a drop point that accepts others since, is bounced. If the
// answer does not say whom it means, this worker must have seen that: an earlier refusal that only
// the ledger knows, or one while the drop point refused us, may have meant us.
func (c *connection) refused(it *item, kind droppoint.Outcome, answer droppoint.Answer, cause error) error {
	if kind == droppoint.Bounced && answer.Code == 0 { // we refuse the message: the server was not asked
		c.answered(it, resultOf(it, ledger.Bounced, answer, cause.Error()))
		return nil
	}
	again := kind == droppoint.Bounced && it.refusals > 0 || kind == droppoint.Unclear && it.othersAccepted
	if again && !it.failing && c.dropPoint.Evidence.refusesNone() && c.queue.isProven(c.dropPoint) {
		c.answered(it, resultOf(it, ledger.Bounced, answer, cause.Error()))
		return nil
	}
	c.worked = c.worked || answer.Code != 0
	c.result = resultOf(it, ledger.NotSent, answer, cause.Error())
	x := doubt{it: it, result: c.result, kind: kind}
	if err := c.flush(); err != nil {
		it.attempt++
		c.queue.retry(it)
		return err
	}
	it.attempt++
	it.refusals++
	r := refusal{kind: kind, domain: it.domain(), pattern: cause.Error(), err: cause}
	if answer.Code != 0 {
		r.words = smtp.MaskSender(smtp.Words(answer.Text, it.To), it.From)
		r.pattern += " " + smtp.Pattern(r.words)
	}
	c.queue.judge(c.dropPoint, x, r)
	return nil
}

// isUnfit reports whether the drop point has said that it does not take such messages while another
// one may. Then the message goes there, without an attempt.
func (c *connection) isUnfit(it *item) bool {
	err := c.conn.Fits(&it.Message.Message)
	if err == nil || droppoint.OutcomeOf(err) != droppoint.Unfit || !c.queue.elsewhere(it, c.dropPoint) {
		return false
	}
	it.refusedBy = append(it.refusedBy, c.dropPoint)
	return true
}

// unfit handles a message that the drop point cannot take: it goes to the others, later if they are
// down now. If none can take it, it is bounced, unless the mailing's other messages have the same
// fault: then nobody is blamed.
func (c *connection) unfit(it *item, answer droppoint.Answer, cause error) error {
	q := c.queue
	switch {
	case q.elsewhere(it, c.dropPoint):
		c.worked = c.worked || answer.Code != 0
		c.result = resultOf(it, ledger.NotSent, answer, cause.Error())
		c.result.Reply = ledger.CannotTake + c.result.Reply // no refusal of the recipient
		it.refusedBy = append(it.refusedBy, c.dropPoint)
		return c.retry(it)
	case q.batch.Others, q.othersAreDown(it, c.dropPoint):
		c.answered(it, resultOf(it, ledger.Deferred, answer, cause.Error()))
		return nil
	case needsUTF8(it), q.isProven(c.dropPoint):
		c.answered(it, resultOf(it, ledger.Bounced, answer, cause.Error()))
		return nil
	}
	return c.refused(it, droppoint.Unclear, answer, cause)
}

// needsUTF8 reports whether the recipient's address, and not the sender's, needs SMTPUTF8.
func needsUTF8(it *item) bool { return !isASCII(it.To) && isASCII(it.From) }

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

// broken handles a connection that was lost before the message was handed over. If it breaks again
// at the same recipient while the drop point accepts others, the recipient is deferred.
func (c *connection) broken(ctx context.Context, it *item, answer droppoint.Answer, cause error) error {
	c.abort()
	if ctx.Err() == nil && c.queue.countBreak(c.dropPoint, it) {
		r := resultOf(it, ledger.Deferred, answer, cause.Error())
		r.Reply = fmt.Sprintf("the connection broke %d times at this recipient, and the drop point accepts others: %s",
			it.breaks, r.Reply)
		c.result = r
		c.queue.done(it)
		return nil
	}
	c.result = resultOf(it, ledger.NotSent, answer, cause.Error())
	switch {
	case ctx.Err() != nil: // no break at this recipient
		c.result.Reply = ledger.NotHandedOver + c.result.Reply
	case answer.Code >= 500: // such as 554 for too many connections
		c.result.Reply = ledger.Broke + c.result.Reply
	}
	if err := c.retry(it); err != nil {
		return err
	}
	if ctx.Err() == nil && c.queue.mayReconnect(c.dropPoint) {
		return nil
	}
	return c.afterLoss(ctx, cause)
}

// countBreak counts a connection that broke at a message. It returns true if the fault is that of
// the message: the drop point has accepted others since the first break, or breaks at nothing else.
func (q *queue) countBreak(d *dropPointState, it *item) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	it.breaks++
	d.broken++
	if it.firstAt == nil {
		it.firstAt = d
		it.accepted, _ = d.Evidence.numbers()
	}
	accepted, _ := it.firstAt.Evidence.numbers()
	acceptsSince := accepted > it.accepted
	return it.breaks >= 2 && acceptsSince || it.breaks >= 3 && d.proven()
}

// mayReconnect reports whether another message is worth a try after a connection broke.
func (q *queue) mayReconnect(d *dropPointState) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	limit := breakLimit
	if d.proven() {
		limit = provenBreakLimit
	}
	return d.broken < limit
}
