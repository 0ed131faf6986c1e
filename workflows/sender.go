package workflows

import "directmailer/internal/audience/address"

// Sender returns the envelope sender (MAIL FROM): EnvelopeSender, or the address of From.
func (in Input) Sender() (address.Address, error) {
	if in.EnvelopeSender != "" {
		return address.Parse(in.EnvelopeSender)
	}
	from, err := address.ParseMailbox(in.From)
	return from.Address, err
}
