package address

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// profile is IDNA 2008 without the mappings of UTS 46. With them, ™ and ² become tm and 2, and so
// another domain. The profile takes symbols, and has no lower case: toASCII does both.
var profile = idna.New(idna.ValidateForRegistration())

var errDomainName = errors.New("is not a valid domain name")

// ParseDomain returns a recipient domain as [Address.Domain] has it: A-labels in lower case.
func ParseDomain(s string) (string, error) {
	if len(s) > maxLength || !utf8.ValidString(s) || !isJoiners(s) {
		return "", errDomainName
	}
	domain, err := parseDomain(s)
	if err != nil {
		return "", errDomainName
	}
	return domain, nil
}

func parseDomain(s string) (string, error) {
	if s == "" {
		return "", errors.New("has nothing after the @")
	}
	domain := s
	if !isPlainName(s) {
		var err error
		if domain, err = toASCII(s); err != nil {
			return "", fmt.Errorf("has no valid domain name after the @: %w", err)
		}
	}
	if !strings.Contains(domain, ".") && domain != "localhost" {
		return "", errors.New("has a domain without a dot")
	}
	if last := domain[strings.LastIndexByte(domain, '.')+1:]; strings.Trim(last, "0123456789") == "" {
		return "", errors.New("has an IP address after the @ instead of a domain name")
	}
	return domain, nil
}

// toASCII returns a domain in lower-case A-labels.
func toASCII(s string) (string, error) {
	lowered := strings.Map(lowerInDomain, norm.NFC.String(s))
	if isPlainName(lowered) {
		return lowered, nil
	}
	if err := checkLabels(lowered); err != nil {
		return "", err
	}
	ascii, err := profile.ToASCII(lowered)
	switch {
	case err != nil && strings.Contains(lowered, "xn--"):
		return "", errors.New("it has a part with xn-- that is damaged")
	case err != nil && !isASCII(lowered):
		return "", errors.New("its characters beyond ASCII are not allowed together (IDNA 2008)")
	case err != nil:
		return "", errors.New("it is too long, or has -- where no domain has it")
	case !strings.Contains(lowered, "xn--"):
		return ascii, nil
	}
	// The labels that came as A-labels obey the same rules as the others.
	unicode, err := profile.ToUnicode(ascii)
	if err != nil || checkLabels(unicode) != nil {
		return "", errors.New("it has a part with xn-- that is damaged")
	}
	return ascii, nil
}

// lowerInDomain returns the lower case of r, but keeps İ: its lower case is the ASCII letter i, and
// so another domain.
func lowerInDomain(r rune) rune {
	if l := unicode.ToLower(r); r < utf8.RuneSelf || l >= utf8.RuneSelf {
		return l
	}
	return r
}

// checkLabels refuses what no label of a domain has, with the reason.
func checkLabels(domain string) error {
	labels := strings.Split(domain, ".")
	for i, label := range labels {
		switch {
		case label == "" && i > 0 && i == len(labels)-1:
			return errors.New("it ends with a dot")
		case label == "" && i == 0:
			return errors.New("it begins with a dot")
		case label == "":
			return errors.New("it has two dots in a row")
		case label[0] == '-' || label[len(label)-1] == '-':
			return errors.New("a part of it begins or ends with a hyphen")
		}
		runes := []rune(label)
		for j, r := range runes {
			if !allowedInLabel(runes, j) {
				return fmt.Errorf("it has a character that no domain name has: %s", markName(r))
			}
		}
	}
	if last := labels[len(labels)-1]; mixesScripts(last) {
		return errors.New("its last part has letters of two scripts")
	}
	return nil
}

// allowedInLabel reports whether IDNA 2008 allows the character i of a label: a letter, mark, digit
// or hyphen, or one that is allowed beside certain others (RFC 5892, appendix A). The profile
// checks joiners and all that is not in the categories.
func allowedInLabel(label []rune, i int) bool {
	r := label[i]
	before, after := rune(0), rune(0)
	if i > 0 {
		before = label[i-1]
	}
	if i+1 < len(label) {
		after = label[i+1]
	}
	switch {
	case r < utf8.RuneSelf:
		return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-'
	case r == '·':
		return before == 'l' && after == 'l'
	case r == '\u0375': // Greek keraia
		return unicode.Is(unicode.Greek, after)
	case r == '\u05f3' || r == '\u05f4': // Hebrew geresh and gershayim
		return unicode.Is(unicode.Hebrew, before)
	case r == '・':
		return strings.ContainsFunc(string(label), isJapanese)
	case r == '\u06fd', r == '\u06fe', r == '\u0f0b', r == '\u3007': // exceptions of RFC 5892, 2.6
		return true
	case r == '\u0640', r == '\u07fa', r == '\u302e', r == '\u302f', r >= '\u3031' && r <= '\u3035', r == '\u303b':
		return false // the other exceptions: extenders and vertical marks
	case isJoiner(r):
		return true
	case r >= '\u0660' && r <= '\u0669' || r >= '\u06f0' && r <= '\u06f9': // the two rows of Arabic digits
		return !strings.ContainsFunc(string(label), func(o rune) bool {
			return o >= '\u0660' && o <= '\u06f9' &&
				unicode.Is(unicode.Nd, o) && (o <= '\u0669') != (r <= '\u0669')
		})
	}
	return isWordCharacter(r) && !unicode.IsUpper(r) && !isInvisible(r) && norm.NFKC.IsNormalString(string(r))
}

func isJapanese(r rune) bool { return unicode.In(r, unicode.Hiragana, unicode.Katakana, unicode.Han) }

// mixesScripts reports whether a label has ASCII letters beside letters that are not Latin. No
// top-level domain has, but a dash of another script behind an address (com一, comー) makes one.
func mixesScripts(label string) bool {
	ascii, other := false, false
	for _, r := range label {
		ascii = ascii || r >= 'a' && r <= 'z'
		other = other || r >= utf8.RuneSelf && unicode.IsLetter(r) && !unicode.Is(unicode.Latin, r)
	}
	return ascii && other
}

// isJoiner reports whether r is one of the two joiners that some scripts need inside a word.
func isJoiner(r rune) bool { return r == '\u200c' || r == '\u200d' }

// isJoiners reports whether all invisible characters of s are joiners.
func isJoiners(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return isInvisible(r) && !isJoiner(r) })
}

// isPlainName reports whether idna would return s unchanged. Most domains are plain, and idna is
// slow.
func isPlainName(s string) bool {
	if len(s) > 253 {
		return false
	}
	start := 0
	for i := 0; i <= len(s); i++ {
		if i == len(s) || s[i] == '.' {
			if !isPlainLabel(s[start:i]) {
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

func isPlainLabel(s string) bool {
	return s != "" && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-' && (len(s) <= 3 || s[2:4] != "--")
}
