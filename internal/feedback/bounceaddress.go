package feedback

import "directmailer/internal/feedback/token"

// BouncePrefix stands before the token in the local part of a bounce address.
const BouncePrefix = "b-"

// HasBounceDomain reports whether the recipients have bounce addresses of their own although the
// mailing names none.
func (l *Links) HasBounceDomain() bool { return l != nil && l.marks.BounceDomain != "" }

// BounceAddress returns the address to which bounces of a recipient's message go, at the bounce
// domain; empty without one.
func (l *Links) BounceAddress(recipient int32) string {
	if !l.HasBounceDomain() {
		return ""
	}
	return l.BounceAddressIn(BouncePrefix, "@"+l.marks.BounceDomain, recipient)
}

// BounceAddressIn is BounceAddress for a mailing that says what stands before and after the token.
// It returns an empty text if there are no links.
func (l *Links) BounceAddressIn(before, after string, recipient int32) string {
	if l == nil {
		return ""
	}
	kind := token.Bounce
	if l.kind == token.Test {
		kind = token.Test
	}
	return before + l.keys.ForAddress(kind, l.recipient(recipient)) + after
}
