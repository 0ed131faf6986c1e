package address

import (
	"errors"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// profile maps a domain to lower case and allows letters, digits and hyphens only.
var profile = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.VerifyDNSLength(true))

var errDomainName = errors.New("is not a valid domain name")

// ParseDomain returns a recipient domain as [Address.Domain] has it: A-labels in lower case.
func ParseDomain(s string) (string, error) {
	if len(s) > maxLength || !utf8.ValidString(s) || strings.ContainsFunc(s, isInvisible) {
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
		if domain, err = profile.ToASCII(s); err != nil || strings.HasSuffix(domain, ".") {
			return "", errors.New("has no valid domain name after the @")
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
