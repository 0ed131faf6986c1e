package message

import (
	"errors"
	"net/mail"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Mailbox is a display name, which may be empty, and a bare address as it stands on the wire: local part a dot-atom or
// in quotes, domain in ASCII (A-labels).
type Mailbox struct {
	Name, Address string
}

// What is wrong with an address. The texts do not hold it.
var (
	ErrNoAddress  = errors.New("is not an e-mail address")
	ErrLocalPart  = errors.New("has a local part that is not allowed in an e-mail address (put it in quotes, or mend it)")
	ErrDomain     = errors.New("has a domain that is not a host name")
	ErrIDN        = errors.New("has a domain that is not ASCII (convert it to A-labels, xn--…)")
	ErrLong       = errors.New("is longer than an address may be (64 octets before the @, 254 in all)")
	ErrNotMailbox = errors.New(`is not an address or a name and an address, as in "Example News <news@example.com>"`)
)

// ParseMailbox reads one address with or without a display name, and checks both ([CheckAddress]). A domain that is not
// ASCII becomes A-labels.
func ParseMailbox(s string) (Mailbox, error) {
	if strings.ContainsAny(s, "\r\n\x00") {
		return Mailbox{}, ErrControl
	}
	parsed, err := mail.ParseAddress(s)
	if err != nil {
		return Mailbox{}, ErrNotMailbox
	}
	m := Mailbox{Name: parsed.Name, Address: requote(parsed.Address)}
	if at := strings.LastIndexByte(m.Address, '@'); !isASCII(m.Address[at+1:]) {
		domain, err := idna.Lookup.ToASCII(m.Address[at+1:])
		if err != nil {
			return Mailbox{}, ErrDomain
		}
		m.Address = m.Address[:at+1] + domain
	}
	if err := CheckAddress(m.Address); err != nil {
		return Mailbox{}, err
	}
	if _, err := checkValue(m.Name); err != nil {
		return Mailbox{}, err
	}
	return m, nil
}

// requote puts back the quotes that net/mail takes from a local part.
func requote(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 || isDotAtom(address[:at], true) {
		return address
	}
	return string(appendQuoted(nil, address[:at])) + address[at:]
}

// CheckAddress checks a bare address as it stands on the wire. It lets pass nothing that could end the address in a
// header or in an SMTP command.
func CheckAddress(address string) error {
	at := strings.LastIndexByte(address, '@')
	if at <= 0 || at == len(address)-1 {
		return ErrNoAddress
	}
	local, domain := address[:at], address[at+1:]
	if len(local) > 64 || len(address) > 254 {
		return ErrLong
	}
	if !isASCII(domain) {
		return ErrIDN
	}
	if !isDotAtom(local, true) && !isQuoted(local) {
		return ErrLocalPart
	}
	if !isHostName(domain) {
		return ErrDomain
	}
	return nil
}

func appendMailbox(b []byte, name, field string, m Mailbox) ([]byte, error) {
	if m.Address == "" {
		return b, &FieldError{field, ErrMissing}
	}
	if err := CheckAddress(m.Address); err != nil {
		return b, &FieldError{field, err}
	}
	b = append(b, name...)
	if m.Name == "" {
		b = append(b, m.Address...)
		return append(b, "\r\n"...), nil
	}
	plain, err := checkValue(m.Name)
	if err != nil {
		return b, &FieldError{field, err}
	}
	b, column := appendPhrase(b, len(name), m.Name, plain)
	if column+len(" <>")+len(m.Address) > foldAt {
		b = append(b, "\r\n"...)
	}
	b = append(b, " <"...)
	b = append(b, m.Address...)
	return append(b, ">\r\n"...), nil
}

// appendPhrase appends a display name: as it is, in quotes, or as encoded words. It returns the column reached.
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

// isAtoms says whether s is atoms with one space between each.
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

// isDotAtom says whether s is a dot-atom (RFC 5322 §3.2.3); with utf8 also one of RFC 6532.
func isDotAtom(s string, unicode bool) bool {
	last := byte('.')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '.':
			if last == '.' {
				return false
			}
		case c >= utf8.RuneSelf:
			if !unicode {
				return false
			}
		case !isAtext(c):
			return false
		}
		last = s[i]
	}
	return last != '.' && (!unicode || validUnicode(s))
}

// isQuoted says whether s is a quoted string on one line.
func isQuoted(s string) bool {
	if len(s) < 3 || s[0] != '"' || s[len(s)-1] != '"' {
		return false
	}
	inner := s[1 : len(s)-1]
	for i := 0; i < len(inner); i++ {
		switch c := inner[i]; {
		case c == '\\':
			i++
			if i == len(inner) || inner[i] < ' ' || inner[i] >= 0x7F {
				return false
			}
		case c == '"', c < ' ', c == 0x7F:
			return false
		}
	}
	return validUnicode(s)
}

// validUnicode refuses broken UTF-8 and the control characters above ASCII.
func validUnicode(s string) bool {
	if isASCII(s) {
		return true
	}
	for _, r := range s {
		if r == utf8.RuneError || r >= 0x80 && r < 0xA0 || r == '\u2028' || r == '\u2029' {
			return false
		}
	}
	return true
}

func isHostName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := 0; i < len(label); i++ {
			if c := label[i]; !isAlphanumeric(c) && c != '-' {
				return false
			}
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func isAtext(c byte) bool {
	return isAlphanumeric(c) || c > ' ' && c < 0x7F && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
