// Package address decides what an e-mail address is and when two are the same (RFC 5321, 5322, 6531, 3696).
//
// What Parse accepts is safe to be written into an SMTP command: its local part is a dot-atom or quoted, its domain is in A-labels,
// and nothing in it is a control character, a blank outside quotes, or an angle bracket outside quotes. Errors say what is wrong, as
// the rest of a sentence ("has no @"), and never quote the address.
package address

import (
	"errors"
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// Limits of RFC 5321, 4.5.3.1, in octets; a path is 256 with its brackets.
const (
	maxLocal  = 64
	maxLength = 254
)

// Address is a checked address. Addresses compare with ==, but that two have the same mailbox is told by their keys. The zero value is
// no address.
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

// Key is what addresses are compared by: lower case throughout, and composed (NFC) where there are accents. Strictly a server may tell
// upper from lower case in local parts; none does, and people are not consistent.
func (a Address) Key() string {
	if isASCII(a.Local) {
		return strings.ToLower(a.String())
	}
	return norm.NFC.String(strings.Map(lower, norm.NFC.String(a.String())))
}

// lower keeps İ, whose lower case is ASCII: it is another mailbox than i.
func lower(r rune) rune {
	if l := unicode.ToLower(r); r < utf8.RuneSelf || l >= utf8.RuneSelf {
		return l
	}
	return r
}

// NeedsUTF8 tells that the local part is not ASCII, so that only a server with SMTPUTF8 (RFC 6531) can take it.
func (a Address) NeedsUTF8() bool { return !isASCII(a.Local) }

// Parse reads a bare address, without blanks around it. Domains are names with a dot, or localhost: nobody's list has reason for an
// address literal ([192.0.2.1]) or a bare host name. Comments, groups and routes are not accepted.
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
		if r != ' ' && unicode.IsSpace(r) || !unicode.IsGraphic(r) {
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

// ParseDomain returns a domain as addresses have it: A-labels in lower case.
func ParseDomain(s string) (string, error) {
	if len(s) > maxLength || !utf8.ValidString(s) || strings.ContainsFunc(s, unwanted) {
		return "", errors.New("is no domain name")
	}
	if _, err := parseDomain(s); err != nil {
		return "", errors.New("is no domain name")
	}
	return parseDomain(s)
}

func parseDomain(s string) (string, error) {
	if s == "" {
		return "", errors.New("has nothing after the @")
	}
	domain := s
	if !isPlainName(s) {
		var err error
		if domain, err = profile.ToASCII(s); err != nil || strings.HasSuffix(domain, ".") {
			return "", errors.New("has no valid domain name after the @")
		}
	}
	if !strings.Contains(domain, ".") && domain != "localhost" {
		return "", errors.New("has a domain without a dot")
	}
	if last := domain[strings.LastIndexByte(domain, '.')+1:]; strings.Trim(last, "0123456789") == "" {
		return "", errors.New("has an IP address after the @ where a domain name is wanted")
	}
	return domain, nil
}

// isPlainName tells a name that idna would return as it is: most are, and idna takes its time.
func isPlainName(s string) bool {
	if len(s) > 253 {
		return false
	}
	start := 0
	for i := 0; i <= len(s); i++ {
		if i == len(s) || s[i] == '.' {
			label := s[start:i]
			if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || len(label) > 3 && label[2:4] == "--" {
				return false
			}
			start = i + 1
			continue
		}
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// Mailbox is an address with the name of whose it is.
type Mailbox struct {
	Name    string // may be empty, and in any script
	Address Address
}

// ParseMailbox reads "Name <a@b>", with the name quoted where needed, or a bare address. Blanks around it are left out.
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
	if strings.ContainsFunc(parsed.Name, unwantedInName) {
		return Mailbox{}, errors.New("has a control or invisible character in the name")
	}
	// The address as it stands between the brackets: net/mail has undone its quotes, and with them what makes it safe.
	a, err := Parse(between(s))
	if err != nil {
		return Mailbox{}, err
	}
	return Mailbox{Name: parsed.Name, Address: a}, nil
}

var errMailbox = errors.New(`is not an address, nor of the form Name <address>; a name with a comma or other marks needs "quotes"`)

// mailboxError says what is wrong with the address of a mailbox that net/mail does not understand, or else with the whole.
func mailboxError(s string) error {
	if _, err := Parse(between(s)); err != nil {
		return err
	}
	return errMailbox
}

// between returns what stands between the last < that is not in quotes and the > at the end.
func between(s string) string {
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

// unwanted tells control and format characters, and the mark that a broken conversion leaves.
func unwanted(r rune) bool {
	return r < utf8.RuneSelf && unicode.IsControl(r) || r >= utf8.RuneSelf && (unicode.In(r, unicode.Cc, unicode.Cf) || r == utf8.RuneError)
}

// unwantedInName leaves the two joiners, which Persian names and emoji need.
func unwantedInName(r rune) bool { return unwanted(r) && r != '\u200c' && r != '\u200d' }

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
