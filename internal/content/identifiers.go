package content

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"

	"golang.org/x/net/publicsuffix"

	"directmailer/internal/content/message"
)

// listID returns the List-Id (RFC 2919) of a mailing whose recipients come from origin: a label for
// the list, or for the source of a query, below the domain of From. A list cannot have the
// identifier of a source, because its name is one label. listID returns "" if the origin is not
// known, or if there is no room for the label.
func listID(origin, domain string) string {
	if source, ok := strings.CutPrefix(origin, "query:"); ok {
		origin = source + ".query"
	}
	if id := origin + "." + domain; message.ValidListID(id) {
		return id
	}
	return ""
}

// feedbackID returns the header by which Gmail reports complaints: the mailing, its audience, and
// an identifier of the sender. It is the same for all recipients, because Gmail reports only what
// many messages have in common.
func feedbackID(mailing, origin, domain string) message.Field {
	_, audience, found := strings.Cut(origin, ":")
	if !found {
		audience = origin
	}
	return message.Field{Name: "Feedback-ID", Value: mailing + ":" + audience + ":" + senderID(domain)}
}

// Gmail's limits for the identifier of a sender, in characters.
const minSenderID, maxSenderID = 5, 15

// senderID identifies the sender to Gmail: the domain that the sender has registered, if it has the
// length that Gmail asks for, else a hash of the domain.
func senderID(domain string) string {
	registered, err := publicsuffix.EffectiveTLDPlusOne(domain)
	if err != nil {
		registered = domain
	}
	if len(registered) >= minSenderID && len(registered) <= maxSenderID && !strings.Contains(registered, ":") {
		return registered
	}
	sum := sha256.Sum256([]byte(registered))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:maxSenderID]
}
