package report

import (
	"strings"

	"directmailer/internal/delivery/wording"
)

// evidence is what a report says of one recipient.
type evidence struct {
	action     string // of RFC 3464, or what the text amounts to
	status     string // the enhanced code that the report names
	diagnostic string // the words of the server that refused, as the report quotes them
	text       string // what the report says to people of the recipient
	around     string // what it says to people of all recipients
}

// tells reports whether the text has a code or known words.
func (e *evidence) tells() bool {
	reply, code := codesIn(e.text)
	return reply != 0 || code != enhanced{} || wording.OfReport(short(e.text)) != 0
}

// finding weighs the evidence.
func (e *evidence) finding() Finding {
	f := Finding{}
	reply, code := codesIn(short(e.diagnostic))
	textReply, textCode := codesIn(short(e.text))
	if reply == 0 {
		reply = textReply
	}
	_, status := codesIn(e.status)
	if code == (enhanced{}) || code.vague() && status != (enhanced{}) && !status.vague() {
		code = status
	}
	if code == (enhanced{}) {
		code = textCode
	}
	f.Reply, f.Enhanced = reply, code.String()
	f.Diagnostic = short(e.diagnostic)
	if strings.TrimSpace(f.Diagnostic) == "" {
		f.Diagnostic = short(e.text)
	}
	switch e.action {
	case "delivered", "relayed", "expanded":
		f.Class = Delivered
		return f
	case "delayed":
		f.Class = Delayed
		return f
	}
	f.Class = Soft
	if e.isHard(reply, code, status) {
		f.Class = Hard
	}
	return f
}

// isHard reports whether the recipient's address is no good. The words decide before the codes, as
// for a reply while sending.
func (e *evidence) isHard(reply int, code, status enhanced) bool {
	if code[0] == 4 || code[0] == 2 || reply/100 == 4 {
		return false
	}
	where := stageIn(short(e.diagnostic) + "\n" + e.text)
	words := e.words(code)
	switch {
	case words.Has(wording.Us), words.Has(wording.Message), words.Has(wording.Full), words.Has(wording.Disabled),
		words.Has(wording.Declined):
		return false
	case where == atMail, code == enhanced{5, 1, 7}, code == enhanced{5, 1, 8}: // the sender's address
		return false
	case words.Has(wording.Moved), words.Has(wording.Unlisted):
		return true
	case words.Has(wording.Domain): // at the connection, or as policy, it is ours
		return where != atConnect && (code[1] != 7 || code == enhanced{5, 7, 27})
	}
	address := isAddressCode(code) || isAddressCode(status)
	if words.Has(wording.Unknown) {
		return address || e.refusedRecipient(where, reply, code)
	}
	if reply == 521 || reply == 556 { // RFC 7504: a host that takes no mail
		return true
	}
	return address && !words.Has(wording.Later)
}

// words returns what the words of the report speak of: those of the server, or else what the report
// says of the recipient, or else of all recipients.
func (e *evidence) words(code enhanced) wording.Kinds {
	const vague = 1 << wording.Later
	words := wording.OfReport(short(e.diagnostic))
	if words&^vague == 0 {
		words |= wording.OfReport(short(e.text))
	}
	around := words&^vague == 0
	if !around && strings.TrimSpace(e.diagnostic) == "" && code.vague() {
		const notForGood = 1<<wording.Full | 1<<wording.Disabled | 1<<wording.Declined
		return words | wording.OfReport(short(e.around))&notForGood
	}
	if around {
		words |= wording.OfReport(short(e.around))
	}
	return words
}

// refusedRecipient reports whether a server that calls the recipient unknown has refused the
// recipient, and not the message: filters say the same words after the message. If the report does
// not name the step, the reply must begin with the address, and its enhanced code must not
// contradict: 5.2.1 is of a mailbox that exists, and 5.7.1 of a policy.
func (e *evidence) refusedRecipient(where stage, reply int, code enhanced) bool {
	switch where {
	case atRcpt:
		return code[1] != 7
	case atConnect, atMail, atData:
		return false
	}
	if code[1] == 1 || code == (enhanced{5, 5, 0}) { // 5.5.0: so Outlook passes on a reply without a code
		return true
	}
	return reply >= 500 && code.vague() && namesRecipient(e.diagnostic)
}

// namesRecipient reports whether a reply begins with an address, as replies to RCPT do: "550
// <a@example.org>: User unknown". A reply to the end of the message does not.
func namesRecipient(diagnostic string) bool {
	_, start, end, ok := findAddress(diagnostic)
	if !ok || end > 400 {
		return false
	}
	before := strings.Trim(diagnostic[:start], " \t<'\"-:")
	reply, code := codesIn(before)
	return reply != 0 && (len(before) == 3 || code != enhanced{} && len(before) <= 16)
}

// isAddressCode reports whether an enhanced code says that the address is no good: no such mailbox,
// no such domain, not an address, moved, a domain without mail (RFC 7505).
func isAddressCode(c enhanced) bool {
	if c[0] != 5 || c[1] != 1 {
		return false
	}
	switch c[2] {
	case 1, 2, 3, 6, 10:
		return true
	}
	return false
}

// short returns the beginning of a text, of limited length.
func short(s string) string { return s[:min(len(s), maxDiagnostic)] }
