package lint

import (
	"net/mail"
	"strings"

	"directmailer/internal/audience/address"
)

// signatures looks at the DKIM signatures of a message. It does not verify them.
func (l *Linter) signatures(m parsed, found once) {
	all := m.header["Dkim-Signature"]
	if len(all) == 0 {
		found.add(DKIMKeyMissing, "header DKIM-Signature", "is missing: DM_DKIM of this shell has no key for From's domain")
		return
	}
	from, err := mail.ParseAddress(m.header.Get("From"))
	if err != nil {
		return
	}
	author, err := address.Parse(from.Address)
	if err != nil {
		return
	}
	for _, signature := range all {
		if Aligned(strings.ToLower(tag(signature, "d")), author.Domain()) {
			return
		}
	}
	found.add(DKIMNotAligned, "header DKIM-Signature", "no signature is of From's domain "+author.Domain())
}

// tag returns a tag of a DKIM signature (RFC 6376, 3.2).
func tag(signature, name string) string {
	for each := range strings.SplitSeq(signature, ";") {
		key, value, _ := strings.Cut(each, "=")
		if strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
