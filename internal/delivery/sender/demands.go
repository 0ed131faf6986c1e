package sender

import (
	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/delivery/smtp"
	"directmailer/internal/ledger"
)

// maxLacks is how many answers to one message may ask for fewer connections. After that, they may
// be about its recipient.
const maxLacks = 2

// throttled handles an answer that asks for a lower rate: the message is sent again soon, by any
// connection. The drop point itself has noted the answer.
func (c *connection) throttled(it *item, answer droppoint.Answer, err error) error {
	if answer.Code == 421 {
		c.abort()
	}
	c.worked = true
	c.result = lessAsked(it, answer, err)
	return c.retry(it)
}

// onlyLacksConnection reports whether err means only that the drop point gives fewer connections. A
// server that says so before it has heard of the recipient means nothing else.
func (c *connection) onlyLacksConnection(it *item, err error) bool {
	if !droppoint.OnlyLacksConnections(err) {
		return false
	}
	if smtp.ClosedBetweenMessages(err) || droppoint.AnswerOf(err).Code == 0 {
		return true
	}
	it.lacks++
	return it.lacks <= maxLacks
}

// lacking handles a message without a connection: it is sent again by one of those that the drop
// point gives.
func (c *connection) lacking(it *item, answer droppoint.Answer, err error) error {
	c.abort()
	c.worked = false
	c.result = lessAsked(it, answer, err)
	return c.retry(it)
}

// lessAsked returns the result of an attempt at which the drop point asked for less. It does not
// count as a break at the recipient.
func lessAsked(it *item, answer droppoint.Answer, err error) *ledger.Result {
	r := resultOf(it, ledger.NotSent, answer, err.Error())
	r.Reply = ledger.LessAsked + r.Reply
	return r
}
