package content

import (
	"errors"

	"directmailer/internal/feedback"
	"directmailer/workflows"
)

// envelope is what the envelope senders of a mailing's messages are made of.
type envelope struct {
	shared        string // the sender of all messages; empty if each has its own
	before, after string // what stands around the token
}

// ErrNoTokenKeys says that a mailing wants a bounce address for each recipient, and that there is
// no key to sign them with.
var ErrNoTokenKeys = errors.New("has a *, in whose place each recipient gets a signed token, and the workers have no " +
	"token keys: set DM_TOKEN_KEYS on every worker, or name an address without a *")

// envelopeOf returns the senders: what the mailing says, or else a bounce address for each
// recipient at the workers' bounce domain, or else the author's address.
func envelopeOf(in workflows.Input, links *feedback.Links) (envelope, error) {
	before, after, perRecipient := in.SenderPattern()
	switch {
	case perRecipient && links == nil:
		return envelope{}, ErrNoTokenKeys
	case perRecipient:
		return envelope{before: before, after: after}, nil
	case in.EnvelopeSender == "" && links.HasBounceDomain():
		return envelope{}, nil
	}
	sender, err := in.Sender()
	return envelope{shared: sender.String()}, err
}

// SenderPattern returns the address to which bounces of a mailing go. It has a * in whose place
// each recipient gets a token, if each recipient has an address of their own. bounceDomain is that
// of the workers; empty if they have none. The pattern of an input that is not valid is empty.
func SenderPattern(in workflows.Input, bounceDomain string) string {
	before, after, perRecipient := in.SenderPattern()
	switch {
	case perRecipient:
		return before + "*" + after
	case in.EnvelopeSender == "" && bounceDomain != "":
		return feedback.BouncePrefix + "*@" + bounceDomain
	}
	sender, err := in.Sender()
	if err != nil {
		return ""
	}
	return sender.String()
}

// EnvelopeSender returns the address to which bounces of a recipient's message go (MAIL FROM). It
// is the same each time.
func (c *Content) EnvelopeSender(recipient int32) string {
	switch {
	case c.envelope.shared != "":
		return c.envelope.shared
	case c.envelope.after != "":
		return c.Links.BounceAddressIn(c.envelope.before, c.envelope.after, recipient)
	}
	return c.Links.BounceAddress(recipient)
}
