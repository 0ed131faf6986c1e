// Package feedback makes the addresses by which recipients and receivers come back to us: the
// unsubscribe link and the unsubscribe address of a recipient.
//
// A mailing keeps what its messages name (Marks) from its opening on. So a message that is
// rendered again, by another worker and after a change of the environment, has the same bytes.
package feedback

import (
	"fmt"
	"net/netip"
	"net/url"

	"directmailer/internal/feedback/token"
)

// Settings are what the environment of a worker says.
type Settings struct {
	Keys         token.Keys // none: no message names its recipient to the outside
	PublicURL    string     // where the pages of recipients are, without a slash at its end; may be empty
	BounceDomain string     // whose mail we receive; may be empty
}

// CanUnsubscribe reports whether messages can have unsubscribe links.
func (s Settings) CanUnsubscribe() bool { return len(s.Keys) > 0 && s.PublicURL != "" }

// IsLocal reports whether the links lead to this machine only: for tests and demonstrations.
func (s Settings) IsLocal() bool {
	u, err := url.Parse(s.PublicURL)
	return err == nil && IsLoopback(u.Hostname())
}

// IsLoopback reports whether a host is this machine. Only such a host may be without TLS: mail
// programs unsubscribe over https (RFC 8058, 3.1).
func IsLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// NoUnsubscribe says what a mailing lacks whose recipients shall be able to unsubscribe.
const NoUnsubscribe = "a link needs the public listener: set DM_TOKEN_KEYS and DM_PUBLIC_URL on every worker " +
	"(see docs/unsubscribe.md), or write unsubscribe: none"

// Marks are what the messages of one mailing name. They are kept with the mailing.
type Marks struct {
	TokenKey     string `json:"token_key,omitempty"` // the name of the key that signs: see [token.Keys.Name]
	PublicURL    string `json:"public_url,omitempty"`
	BounceDomain string `json:"bounce_domain,omitempty"`
}

// Marks returns what the messages of a mailing name that is opened now.
func (s Settings) Marks() Marks {
	if len(s.Keys) == 0 {
		return Marks{}
	}
	return Marks{TokenKey: s.Keys.Name(), PublicURL: s.PublicURL, BounceDomain: s.BounceDomain}
}

// NoKeyError says that this worker lacks the key that signs the tokens of a mailing.
type NoKeyError struct{ Key string }

func (e *NoKeyError) Error() string {
	return fmt.Sprintf("no worker that was asked has the token key %s of the mailing: "+
		"set DM_TOKEN_KEYS alike on every worker, and keep a key until no mailing needs it", e.Key)
}

// Links makes the links and addresses of a mailing's recipients. It is safe for concurrent use. A
// nil Links makes none.
type Links struct {
	marks   Marks
	keys    token.Keys
	mailing int64
	kind    token.Kind // of links: Unsubscribe, or Test for messages that belong to nobody
}

// Links returns the links of the mailing with the internal key. It returns nil for a mailing that
// was opened without token keys, and a [*NoKeyError] if these settings lack the mailing's key.
func (s Settings) Links(mailing int64, m Marks) (*Links, error) {
	if m.TokenKey == "" {
		return nil, nil
	}
	keys, ok := s.Keys.SignWith(m.TokenKey)
	if !ok {
		return nil, &NoKeyError{m.TokenKey}
	}
	return &Links{marks: m, keys: keys, mailing: mailing, kind: token.Unsubscribe}, nil
}

// PreviewLinks returns links for messages that are only looked at. They look like those of a
// mailing, and nobody is unsubscribed by them. Without keys or a public URL, a host that never
// exists stands in the links.
func (s Settings) PreviewLinks() *Links {
	if len(s.Keys) == 0 {
		s.Keys, _ = token.ParseKeys("previews-need-no-key-because-their-tokens-do-nothing")
	}
	if s.PublicURL == "" {
		s.PublicURL = "https://preview.invalid" // RFC 6761, 6.4
	}
	return &Links{marks: s.Marks(), keys: s.Keys, kind: token.Test}
}

// ForTest returns links for the messages of a test: nobody is unsubscribed by them.
func (l *Links) ForTest() *Links {
	if l == nil {
		return nil
	}
	test := *l
	test.kind = token.Test
	return &test
}

// UnsubscribeURL returns the address of a recipient's unsubscribe page; empty without a public URL.
func (l *Links) UnsubscribeURL(recipient int32) string {
	if l == nil || l.marks.PublicURL == "" {
		return ""
	}
	return l.marks.PublicURL + Path + l.keys.ForURL(l.kind, l.recipient(recipient))
}

// UnsubscribeAddress returns the address whose mail unsubscribes a recipient; empty without a
// bounce domain.
func (l *Links) UnsubscribeAddress(recipient int32) string {
	if l == nil || l.marks.BounceDomain == "" {
		return ""
	}
	return UnsubscribePrefix + l.keys.ForAddress(l.kind, l.recipient(recipient)) + "@" + l.marks.BounceDomain
}

// Path stands between the public URL and the token of an unsubscribe link.
const Path = "/u/"

// UnsubscribePrefix stands before the token in the local part of an unsubscribe address.
const UnsubscribePrefix = "u-"

func (l *Links) recipient(number int32) token.Recipient {
	return token.Recipient{Mailing: l.mailing, Number: int(number)}
}
