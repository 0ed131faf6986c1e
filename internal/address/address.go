// Package address decides what an e-mail address is and when two are the same (RFC 5321, 5322, 6531, 3696).
//
// What Parse accepts is safe to be written into an SMTP command: its local part is a dot-atom or quoted, its domain is in A-labels,
// and nothing in it is a control character, a blank outside quotes, or an angle bracket outside quotes. Errors never quote the
// address.
package address

import (
	"errors"
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Limits of RFC 5321, 4.5.3.1, in octets; a path is 256 with its brackets.
const (
	maxLocal  = 64
	maxLength = 254
)

// Address is a checked address. The zero value is no address.
type Address struct {
	Local  string // as on the wire: a dot-atom, or quoted
	Domain string // A-labels, lower case
}

// String is the address as on the wire.
func (a Address) String() string {
	if a.Domain == "" {
		return ""
	}
	return a.Local + "@" + a.Domain
}

// Key is what addresses are compared by: lower case throughout. Strictly a server may tell upper from lower case in local parts; none
// does, and people are not consistent.
func (a Address) Key() string { return strings.ToLower(a.String()) }

// NeedsUTF8 tells that the local part is not ASCII, so that only a server with SMTPUTF8 (RFC 6531) can take it.
func (a Address) NeedsUTF8() bool { return !isASCII(a.Local) }

// Parse reads a bare address. Domains are names with a dot, or localhost; address literals, comments and routes are not accepted.
func Parse(s string) (Address, error) {
	switch {
	case s == "":
		return Address{}, errors.New("is empty")
	case !utf8.ValidString(s):
		return Address{}, errors.New("is not UTF-8")
	case strings.ContainsAny(s, "\r\n"):
		return Address{}, errors.New("has a line break")
	case strings.ContainsFunc(s, unwanted):
		return Address{}, errors.New("has a control or invisible character")
	}
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return Address{}, errors.New("has no @")
	}
	local, err := parseLocal(s[:at])
	if err != nil {
		return Address{}, err
	}
	domain, err := parseDomain(s[at+1:])
	if err != nil {
		return Address{}, err
	}
	a := Address{Local: local, Domain: domain}
	if len(a.String()) > maxLength {
		return Address{}, errors.New("is longer than 254 octets")
	}
	return a, nil
}

func parseLocal(s string) (string, error) {
	if strings.HasPrefix(s, `"`) {
		return parseQuoted(s)
	}
	switch {
	case s == "":
		return "", errors.New("has nothing before the @")
	case len(s) > maxLocal:
		return "", errors.New("has more than 64 octets before the @")
	case s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, ".."):
		return "", errors.New("has a dot at the wrong place before the @")
	}
	for _, r := range s {
		if !isAtext(r) && r != '.' {
			return "", errors.New("has a character before the @ that must not stand there")
		}
	}
	return s, nil
}

// parseQuoted reads a quoted local part and writes it again: as a dot-atom where it can be one.
func parseQuoted(s string) (string, error) {
	if len(s) < 2 || !strings.HasSuffix(s, `"`) {
		return "", errors.New("has a quotation mark at the wrong place")
	}
	var plain, quoted strings.Builder
	escaped := false
	for _, r := range s[1 : len(s)-1] {
		switch {
		case escaped:
			escaped = false
		case r == '\\':
			escaped = true
			continue
		case r == '"':
			return "", errors.New("has a quotation mark at the wrong place")
		}
		if r != ' ' && !unicode.IsGraphic(r) {
			return "", errors.New("has a character before the @ that must not stand there")
		}
		plain.WriteRune(r)
		if r == '"' || r == '\\' {
			quoted.WriteByte('\\')
		}
		quoted.WriteRune(r)
	}
	if escaped || plain.Len() == 0 {
		return "", errors.New("has a quotation mark at the wrong place")
	}
	if local, err := parseLocal(plain.String()); err == nil && !strings.HasPrefix(plain.String(), `"`) {
		return local, nil
	}
	if quoted.Len()+2 > maxLocal {
		return "", errors.New("has more than 64 octets before the @")
	}
	return `"` + quoted.String() + `"`, nil
}

// profile checks names as a mail domain has them: mapped to lower case, letters, digits and hyphens only.
var profile = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.VerifyDNSLength(true))

func parseDomain(s string) (string, error) {
	if s == "" {
		return "", errors.New("has nothing after the @")
	}
	domain, err := profile.ToASCII(s)
	if err != nil || strings.HasSuffix(domain, ".") {
		return "", errors.New("has no valid domain name after the @")
	}
	if !strings.Contains(domain, ".") && domain != "localhost" {
		return "", errors.New("has a domain without a dot")
	}
	if last := domain[strings.LastIndexByte(domain, '.')+1:]; strings.Trim(last, "0123456789") == "" {
		return "", errors.New("has an IP address after the @ where a domain name is wanted")
	}
	return domain, nil
}

// Mailbox is an address with the name of whose it is.
type Mailbox struct {
	Name    string // may be empty, and in any script
	Address Address
}

// ParseMailbox reads "Name <a@b>", with the name quoted where needed, or a bare address.
func ParseMailbox(s string) (Mailbox, error) {
	if strings.ContainsAny(s, "\r\n") {
		return Mailbox{}, errors.New("has a line break")
	}
	if !strings.Contains(s, "<") {
		a, err := Parse(strings.TrimSpace(s))
		return Mailbox{Address: a}, err
	}
	parsed, err := mail.ParseAddress(s)
	if err != nil {
		return Mailbox{}, errors.New(`is not an address, nor of the form Name <address>; a name with a comma or other marks needs "quotes"`)
	}
	if strings.ContainsFunc(parsed.Name, unwanted) {
		return Mailbox{}, errors.New("has a control or invisible character in the name")
	}
	// The address as it stands between the brackets: net/mail has undone its quotes, and with them what makes it safe.
	a, err := Parse(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(s[strings.LastIndexByte(s, '<')+1:]), ">")))
	return Mailbox{Name: parsed.Name, Address: a}, err
}

// isAtext tells the characters of a dot-atom (RFC 5322, 3.2.3), and with RFC 6531 all letters and marks that are not ASCII.
func isAtext(r rune) bool {
	switch {
	case r >= utf8.RuneSelf:
		return unicode.IsGraphic(r) && !unicode.IsSpace(r)
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return true
	}
	return strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
}

func unwanted(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
