package message

import (
	"strings"

	"directmailer/internal/audience/address"
)

// appendMailbox appends the header field of a mailbox, which must have an address.
func appendMailbox(b []byte, name, field string, m address.Mailbox) ([]byte, error) {
	if m.Address == (address.Address{}) {
		return b, &FieldError{field, ErrMissing}
	}
	b = append(b, name...)
	if m.Name == "" {
		b = appendAddress(b, m.Address)
		return append(b, "\r\n"...), nil
	}
	plain, err := checkValue(m.Name)
	if err != nil {
		return b, &FieldError{field, err}
	}
	b, column := appendPhrase(b, len(name), m.Name, plain)
	if column+len(" <@>")+len(m.Address.Local())+len(m.Address.Domain()) > foldAt {
		b = append(b, "\r\n"...)
	}
	b = append(b, " <"...)
	b = appendAddress(b, m.Address)
	return append(b, ">\r\n"...), nil
}

func appendAddress(b []byte, a address.Address) []byte {
	b = append(b, a.Local()...)
	b = append(b, '@')
	return append(b, a.Domain()...)
}

// appendPhrase appends a display name as it is, in quotes, or as encoded words. It returns the
// column that it has reached.
func appendPhrase(b []byte, column int, s string, plain bool) ([]byte, int) {
	if !plain || len(s) > longestRun || strings.Contains(s, "=?") {
		return appendEncodedWords(b, column, s)
	}
	start := len(b)
	if isAtoms(s) {
		b = append(b, s...)
	} else {
		b = appendQuoted(b, s)
	}
	return b, column + len(b) - start
}

func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

// isAtoms reports whether s is atoms with one space between each.
func isAtoms(s string) bool {
	for word := range strings.SplitSeq(s, " ") {
		if word == "" {
			return false
		}
		for i := 0; i < len(word); i++ {
			if !isAtext(word[i]) {
				return false
			}
		}
	}
	return true
}

// isDotAtom reports whether s is a dot-atom in ASCII (RFC 5322, 3.2.3).
func isDotAtom(s string) bool {
	last := byte('.')
	for i := 0; i < len(s); i++ {
		if s[i] == '.' && last == '.' || s[i] != '.' && !isAtext(s[i]) {
			return false
		}
		last = s[i]
	}
	return last != '.'
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func isAtext(c byte) bool {
	return isAlphanumeric(c) || c > ' ' && c < 0x7F && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}
