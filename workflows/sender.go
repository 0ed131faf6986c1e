package workflows

import (
	"errors"
	"fmt"
	"strings"

	"directmailer/internal/audience/address"
)

// Sender returns the envelope sender (MAIL FROM): EnvelopeSender, or the address of From. Of an
// EnvelopeSender with an asterisk only the domain has a meaning: see [Input.SenderPattern].
func (in Input) Sender() (address.Address, error) {
	if in.EnvelopeSender != "" {
		return parseSender(in.EnvelopeSender)
	}
	from, err := address.ParseMailbox(in.From)
	return from.Address, err
}

// SenderPattern returns what stands before and after the token of each recipient in the envelope
// sender, if EnvelopeSender has an asterisk.
func (in Input) SenderPattern() (before, after string, ok bool) {
	before, rest, found := strings.Cut(in.EnvelopeSender, "*")
	sender, err := parseSender(in.EnvelopeSender)
	if !found || err != nil {
		return "", "", false
	}
	local, _, _ := strings.Cut(rest, "@")
	return before, local + "@" + sender.Domain(), true
}

// maxBesideToken is how many octets a local part may have beside its token, which has up to 37 in
// an address: enough for 34 billion mailings of 2 billion recipients.
const maxBesideToken = 64 - 37

// parseSender reads an envelope sender, which may have one asterisk in its local part: the address
// that is returned has another character in its place. The error continues the field's name.
func parseSender(text string) (address.Address, error) {
	before, rest, found := strings.Cut(text, "*")
	if !found {
		return address.Parse(text)
	}
	after, _, _ := strings.Cut(rest, "@")
	switch {
	case strings.Contains(before, "@"):
		return address.Address{}, errors.New("has a * after the @: a token can only stand before it")
	case strings.Contains(rest, "*"):
		return address.Address{}, errors.New("has more than one *")
	case strings.Contains(before, `"`):
		return address.Address{}, errors.New("has a * in quotation marks")
	case endsInWord(before) || after != "" && isWordCharacter(after[0]):
		return address.Address{}, errors.New("has a letter or digit right beside the *: " +
			"put a + or - between them, as in bounces+*@example.com")
	case len(before)+len(after) > maxBesideToken:
		return address.Address{}, fmt.Errorf("has %d octets beside the * before the @: a token has room beside %d at most",
			len(before)+len(after), maxBesideToken)
	}
	return address.Parse(before + "x" + rest)
}

func endsInWord(s string) bool { return s != "" && isWordCharacter(s[len(s)-1]) }

func isWordCharacter(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b >= 0x80
}
