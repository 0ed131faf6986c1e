package address

import (
	"errors"
	"net/mail"
	"strings"
)

// Mailbox is an address and the display name of its owner. The zero value is no mailbox.
type Mailbox struct {
	Name    string // may be empty, and in any script
	Address Address
}

// ParseMailbox reads "Name <a@b>" or a bare address. A name with a comma or another special
// character must be in quotes. Blanks around the whole are left out. The address must be one that
// [Parse] takes.
func ParseMailbox(s string) (Mailbox, error) {
	if strings.ContainsAny(s, "\r\n") {
		return Mailbox{}, errors.New("has a line break")
	}
	s = strings.Trim(s, " \t")
	if !strings.HasSuffix(s, ">") {
		a, err := Parse(s)
		if err != nil && strings.Contains(s, "<") {
			return Mailbox{}, errMailbox
		}
		return Mailbox{Address: a}, err
	}
	parsed, err := mail.ParseAddress(s)
	if err != nil {
		return Mailbox{}, mailboxError(s)
	}
	if strings.ContainsFunc(parsed.Name, isInvisibleInName) {
		return Mailbox{}, errors.New("has a control or invisible character in the name")
	}
	// net/mail has removed the quotes of the local part, and with them what makes it safe. So the
	// address is read again from the text.
	a, err := Parse(inBrackets(s))
	if err != nil {
		return Mailbox{}, err
	}
	return Mailbox{Name: parsed.Name, Address: a}, nil
}

var errMailbox = errors.New(
	`is not an address, nor of the form Name <address>: put a name with a comma or other marks in "quotes"`)

// mailboxError says what is wrong with a mailbox that net/mail refuses: its address, or else its
// form.
func mailboxError(s string) error {
	if _, err := Parse(inBrackets(s)); err != nil {
		return err
	}
	return errMailbox
}

// inBrackets returns the text between the last < outside quotes and the > at the end.
func inBrackets(s string) string {
	start, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '<' && !quoted:
			start = i + 1
		}
	}
	return strings.Trim(strings.TrimSuffix(s[start:], ">"), " \t")
}

// isInvisibleInName allows the two joiners, which Persian names and emoji need.
func isInvisibleInName(r rune) bool { return isInvisible(r) && r != '\u200c' && r != '\u200d' }
