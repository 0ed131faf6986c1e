// Package address decides what an e-mail address is, and when two addresses are the same mailbox
// (RFC 5321, 5322, 6531, 3696; domains by IDNA 2008, RFC 5890 to 5892). It is the only parser of
// addresses and mailboxes.
//
// An address that Parse returns is safe in an SMTP command and in a header. Its local part is a
// dot-atom or a quoted string. Its domain is in A-labels. It holds no control character, and no
// blank or angle bracket outside quotes. A character beyond ASCII is a letter, a mark or a digit.
//
// [Parse] takes an address exactly as it is. [Read] and [ReadPasted] take what people write: they
// differ in the marks that pasting leaves around an address.
//
// Error texts continue a sentence ("has no @"). They never quote the address.
package address

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Limits of RFC 5321, 4.5.3.1, in octets. A path has 256 with its angle brackets.
const (
	maxLocal  = 64
	maxLength = 254
)

// Address is a checked address. The zero value is no address. Two Addresses compare with == as
// texts; compare their keys to find out whether they are one mailbox.
type Address struct {
	local  string // as on the wire: a dot-atom, or quoted
	domain string // A-labels in lower case
}

// Local returns the local part as on the wire: a dot-atom, or a quoted string.
func (a Address) Local() string { return a.local }

// Domain returns the domain in lower-case A-labels.
func (a Address) Domain() string { return a.domain }

// String returns the address as on the wire, or "" for the zero value.
func (a Address) String() string {
	if a.domain == "" {
		return ""
	}
	return a.local + "@" + a.domain
}

// Key returns the text that addresses are compared by: lower case throughout, and composed (NFC).
// The standard lets a server tell upper from lower case in local parts, but no server does, and
// people do not write them consistently.
func (a Address) Key() string {
	if isASCII(a.local) {
		return strings.ToLower(a.String())
	}
	return norm.NFC.String(strings.Map(lower, norm.NFC.String(a.String())))
}

// lower returns the lower case of r, but keeps İ: its lower case is the ASCII letter i, which is
// another mailbox.
func lower(r rune) rune {
	if l := unicode.ToLower(r); r < utf8.RuneSelf || l >= utf8.RuneSelf {
		return l
	}
	return r
}

// NeedsUTF8 reports whether the local part is not ASCII. Only a server with SMTPUTF8 (RFC 6531)
// takes such an address.
func (a Address) NeedsUTF8() bool { return !isASCII(a.local) }

// Parse reads a bare address without blanks around it. The domain must be a name with a dot, or
// localhost. Parse refuses address literals ([192.0.2.1]), host names without a dot, comments,
// groups and routes.
func Parse(s string) (Address, error) {
	a, err := parse(s)
	if err != nil {
		return Address{}, explain(s, err)
	}
	return a, nil
}

// parse is Parse with the reason of the first character that is wrong. See [explain].
func parse(s string) (Address, error) {
	switch {
	case s == "":
		return Address{}, errors.New("is empty")
	case !utf8.ValidString(s):
		return Address{}, errors.New("is not UTF-8")
	case strings.ContainsAny(s, "\r\n"):
		return Address{}, errLineBreak
	}
	at := strings.LastIndexByte(s, '@')
	if i := strings.IndexFunc(s, isInvisible); i >= 0 && (i < at || !isJoiners(s[at+1:])) {
		return Address{}, errors.New("has a control or invisible character")
	}
	if at < 0 {
		return Address{}, errNoAt
	}
	local, err := parseLocal(s[:at])
	if err != nil {
		return Address{}, err
	}
	domain, err := parseDomain(s[at+1:])
	if err != nil {
		return Address{}, err
	}
	if len(local)+len("@")+len(domain) > maxLength {
		return Address{}, errors.New("is longer than 254 octets")
	}
	return Address{local: local, domain: domain}, nil
}

var (
	errLineBreak = errors.New("has a line break")
	errNoAt      = errors.New("has no @")
)

// The way for the addresses that some Japanese providers gave out (ann..bee@, ann.@).
const quoteTheDots = `; if the address is right, put the part before the @ in double quotes ("…"@…)`

// parseLocal reads a local part. It refuses the ASCII characters at the beginning that are allowed
// there, and in practice are a quotation mark, a bullet, a bracket or a lost character. In double
// quotes they are taken.
func parseLocal(s string) (string, error) {
	if strings.HasPrefix(s, `"`) {
		return parseQuoted(s)
	}
	switch {
	case s == "":
		return "", errors.New("has nothing before the @")
	case len(s) > maxLocal:
		return "", errors.New("has more than 64 octets before the @")
	case s[0] == '.':
		return "", errors.New("begins with a dot" + quoteTheDots)
	case s[len(s)-1] == '.':
		return "", errors.New("has a dot right before the @" + quoteTheDots)
	case strings.Contains(s, ".."):
		return "", errors.New("has two dots in a row before the @" + quoteTheDots)
	}
	first, _ := utf8.DecodeRuneInString(s)
	if looksLikeMark(first) {
		return "", fmt.Errorf("begins with %s", markName(first))
	}
	for i, r := range s {
		switch {
		case r < utf8.RuneSelf && isAlphanumeric(byte(r)):
		case r == ' ' || unicode.IsSpace(r):
			return "", errors.New("has a blank before the @")
		case !isAtext(r) && r != '.':
			return "", localCharacter(r)
		case i == 0 && isMark(r):
			return "", errors.New("begins with a combining mark")
		}
	}
	return s, nil
}

// looksLikeMark reports whether a local part that begins with r needs quotes.
func looksLikeMark(r rune) bool {
	if r < utf8.RuneSelf {
		return strings.IndexByte("'`*?|{}", byte(r)) >= 0
	}
	return kindOf(r) != ""
}

func localCharacter(r rune) error {
	if r < utf8.RuneSelf {
		return errors.New("has a character before the @ that is not allowed there: " + asciiName(r))
	}
	return fmt.Errorf("has a character before the @ that is not allowed there: %s", markName(r))
}

var errQuotationMark = errors.New("has a quotation mark at the wrong place")

// parseQuoted reads a quoted local part. It returns a dot-atom where the text can be one, and
// otherwise the text quoted again.
func parseQuoted(s string) (string, error) {
	if len(s) < 2 || !strings.HasSuffix(s, `"`) {
		return "", errQuotationMark
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
			return "", errQuotationMark
		}
		if r != ' ' && !isLocalCharacter(r) {
			return "", localCharacter(r)
		}
		plain.WriteRune(r)
		if r == '"' || r == '\\' {
			quoted.WriteByte('\\')
		}
		quoted.WriteRune(r)
	}
	if escaped || plain.Len() == 0 {
		return "", errQuotationMark
	}
	if local, err := parseLocal(plain.String()); err == nil && !strings.HasPrefix(plain.String(), `"`) {
		return local, nil
	}
	if quoted.Len()+2 > maxLocal {
		return "", errors.New("has more than 64 octets before the @")
	}
	return `"` + quoted.String() + `"`, nil
}

// isAtext reports whether r may be in a dot-atom (RFC 5322, 3.2.3), or is a letter, mark or digit
// beyond ASCII (RFC 6531).
func isAtext(r rune) bool {
	switch {
	case r >= utf8.RuneSelf:
		return isLocalCharacter(r)
	case isAlphanumeric(byte(r)):
		return true
	}
	return strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// isLocalCharacter reports whether r is visible ASCII, or a letter, mark or digit beyond ASCII.
// Another form of an ASCII character (ａ, ª, ﬁ) is not taken: it is another mailbox than the one
// that people see.
func isLocalCharacter(r rune) bool {
	if r < utf8.RuneSelf {
		return r > ' ' && r != '\x7f'
	}
	return isWordCharacter(r) && !isInvisible(r) &&
		strings.IndexFunc(norm.NFKC.String(string(r)), isASCIIRune) < 0
}

// isWordCharacter reports whether r is of the categories that IDNA 2008 takes (RFC 5892, 2.1).
func isWordCharacter(r rune) bool {
	return unicode.IsLetter(r) && !unicode.Is(unicode.Lt, r) || isMark(r) || unicode.Is(unicode.Nd, r)
}

func isMark(r rune) bool { return unicode.In(r, unicode.Mn, unicode.Mc) }

func isASCIIRune(r rune) bool { return r < utf8.RuneSelf }

// isInvisible reports whether r is a control or format character, one that fonts do not show, or
// the replacement character that a broken conversion leaves.
func isInvisible(r rune) bool {
	if r < utf8.RuneSelf {
		return unicode.IsControl(r)
	}
	return r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Variation_Selector,
		unicode.Other_Default_Ignorable_Code_Point)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
