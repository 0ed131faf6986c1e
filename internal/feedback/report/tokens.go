package report

import (
	"slices"
	"strings"

	"directmailer/internal/feedback"
	"directmailer/internal/feedback/token"
)

// tokens returns the recipients whose addresses the message was sent to, and all whose tokens it
// holds. A bounce is about the message that it returns. If the fields of this message have no
// token, it is no message of ours, and what it quotes or forwards says nothing: an operator may
// have answered a reader, and misspelt an address.
//
// unverified reports whether the message holds a token that none of the keys has signed. It does
// not count if the message was sent to an address whose token is verified.
func (rd Reader) tokens(m *message, bounce bool) (addressed []feedback.Named, all []token.Recipient, unverified bool) {
	if len(rd.Keys) == 0 {
		return nil, nil, false
	}
	f := finder{keys: rd.Keys}
	for _, field := range m.header {
		if toFields[field.name] {
			f.addresses(field.value)
		}
	}
	addressed = f.named
	f.header(m.header)
	level, quotes := m.reportLevel(), false
	for i := range m.parts {
		p := &m.parts[i]
		if quotes && p.level > level {
			continue
		}
		if p.inner != nil {
			before := len(f.named)
			f.header(p.inner)
			quotes = bounce && p.level == level && len(p.inner) > 0 && len(f.named) == before
			continue
		}
		if strings.HasPrefix(p.kind, "text/") || strings.HasPrefix(p.kind, "message/") {
			f.text(p.text())
		}
	}
	return addressed, f.found, f.unverified && len(addressed) == 0
}

// finder collects the tokens of ours. It tries a limited number of texts, because each costs a hash
// for each key.
type finder struct {
	keys  token.Keys
	named []feedback.Named
	found []token.Recipient // of them, each once
	tried int

	unverified bool // there is a token that none of the keys has signed
}

// toFields are the fields in which servers write down the recipient of the envelope, and those of
// the author of the message.
var toFields = map[string]bool{"delivered-to": true, "x-original-to": true, "envelope-to": true,
	"x-envelope-to": true, "to": true, "cc": true}

// addressFields are fields of a header that may hold an address of ours.
var addressFields = map[string]bool{"to": true, "delivered-to": true, "x-original-to": true, "return-path": true,
	"envelope-to": true, "x-envelope-to": true, "original-recipient": true, "x-failed-recipients": true,
	"x-forwarded-to": true, "resent-to": true, "cc": true, "errors-to": true, "sender": true, "x-envelope-from": true,
	"x-original-sender": true, "x-mailer-daemon-sender": true, "x-original-from": true, "reply-to": true}

func (f *finder) header(h header) {
	for _, field := range h {
		switch {
		case field.name == "list-unsubscribe":
			f.text(field.value)
		case addressFields[field.name]:
			f.addresses(field.value)
		}
	}
}

// text looks for addresses and links in a text.
func (f *finder) text(s string) {
	f.addresses(s)
	for f.tried < maxCandidates {
		at := strings.Index(s, "://")
		if at < 0 {
			return
		}
		s = s[at+3:]
		end := strings.IndexAny(s, " \t\n<>\"'),")
		if end < 0 {
			end = len(s)
		}
		f.link(s[:min(end, 512)])
		s = s[end:]
	}
}

func (f *finder) addresses(s string) {
	for f.tried < maxCandidates {
		address, _, end, ok := findAddress(s)
		if !ok {
			return
		}
		f.address(address)
		s = s[end:]
	}
}

// minToken is shorter than any token in base32 or base64.
const minToken = 18

func (f *finder) address(address string) {
	if strings.IndexByte(address, '@') < minToken {
		return
	}
	f.tried++
	if n, ok := feedback.ReadAddress(f.keys, address); ok {
		f.add(n)
	} else if _, ok := feedback.ClaimOfAddress(address); ok {
		f.unverified = true
	}
}

// link tries the last segment of a link's path.
func (f *finder) link(link string) {
	link, _, _ = strings.Cut(link, "?")
	link, _, _ = strings.Cut(link, "#")
	last := strings.TrimRight(link, "/.;")
	last = last[strings.LastIndexByte(last, '/')+1:]
	if len(last) < minToken || len(last) > token.MaxLength {
		return
	}
	f.tried++
	if r, err := f.keys.FromURL(token.Unsubscribe, last); err == nil {
		f.add(feedback.Named{Recipient: r, Kind: token.Unsubscribe})
	} else if _, ok := token.ClaimOfURL(token.Unsubscribe, last); ok {
		f.unverified = true
	}
}

func (f *finder) add(n feedback.Named) {
	f.named = append(f.named, n)
	if !slices.Contains(f.found, n.Recipient) {
		f.found = append(f.found, n.Recipient)
	}
}
