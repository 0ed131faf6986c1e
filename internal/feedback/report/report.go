// Package report reads one incoming message and says what it reports of mail that was sent: a
// bounce, a complaint, an automatic answer. It reads the forms that RFC 3464, RFC 6533, RFC 5965,
// RFC 3834 and RFC 8098 define, and reports in plain text.
//
// What arrives is written by strangers. Size, parts, depth, fields and recipients are bounded
// before anything is decoded, and no input is an error: what cannot be read is Unknown.
package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"directmailer/internal/delivery/smtp"
	"directmailer/internal/feedback"
	"directmailer/internal/feedback/token"
)

// Class is what a report means for a recipient.
type Class int

// The classes.
const (
	Unknown   Class = iota // not understood: a person may look at it; it does nothing
	Hard                   // the address is no good
	Soft                   // not delivered, and the address may be good
	Complaint              // the recipient calls the message spam, or wants no more
	Automatic              // a program has answered: no bounce
	Delayed                // the server tries again: not an end
	Delivered              // the server has delivered the message or passed it on
)

var classNames = [...]string{"unknown", "hard", "soft", "complaint", "automatic", "delayed", "delivered"}

// Classes are all classes, in the order of docs/bounces.md.
var Classes = []Class{Hard, Soft, Complaint, Automatic, Delayed, Delivered, Unknown}

// String returns the name of the class.
func (c Class) String() string {
	if c < 0 || int(c) >= len(classNames) {
		return fmt.Sprintf("class %d", int(c))
	}
	return classNames[c]
}

// MaxRead is how many octets of a message are read.
const MaxRead = 512 << 10

// The other bounds of what is read. A report that a server writes is far below them.
const (
	maxParts      = 64       // MIME parts
	maxDepth      = 8        // parts and messages inside one another
	maxFields     = 300      // fields of a header
	maxField      = 4 << 10  // octets of a field
	maxText       = 48 << 10 // octets of a part that is decoded
	maxRecipients = 50       // recipients of a report
	maxCandidates = 64       // texts that are tried as tokens
	maxDiagnostic = 2 << 10  // octets of a server's words that are compared with the known wordings
)

// Report is what a message reports.
type Report struct {
	// ID is the same for the same report, however often and by whichever way it arrives: a hash of
	// its Message-ID, or of its content. It holds no text of the message.
	ID string
	// Findings are what is said of each recipient, at least one. If nobody is named, the address of
	// the one finding is empty.
	Findings []Finding
	// Addressed are the recipients of ours whose addresses the message was sent to, by its header.
	Addressed []feedback.Named
	// Tokens are the recipients of ours whose tokens the message holds, without duplicates. Those of
	// Addressed come first. A bounce of another message than one of ours has no others.
	Tokens []token.Recipient
	// Unverified says that the message holds a token that none of the keys has signed, and was sent
	// to none of Addressed. The token is forged, or its key is missing here.
	Unverified bool
	// Answer says that a program has answered, so that the message is no request of a person.
	Answer bool
	// Feedback is the type of a feedback report (RFC 5965), such as "abuse" or "opt-out".
	Feedback string
	// At is when the report was written, as it says itself, or zero.
	At time.Time
}

// Finding is what a report says of one recipient.
type Finding struct {
	Class Class
	// Enhanced is the enhanced status code (RFC 3463), such as "5.1.1", or "".
	Enhanced string
	// Reply is the reply code of the server, such as 550, or 0.
	Reply int
	// Diagnostic is what the server said, of limited length and without addresses.
	Diagnostic string

	// Addresses of the recipient, in memory only: they must not be logged or stored.
	final, original string
}

// Reader reads reports. It is safe for concurrent use.
type Reader struct {
	// Keys verify the tokens. Without keys, no token is found.
	Keys token.Keys
}

// Read reads a message, at most [MaxRead] octets of it.
func (rd Reader) Read(data []byte) *Report {
	m := parse(data[:min(len(data), MaxRead)])
	r := &Report{ID: idOf(m), At: dateOf(m)}
	r.Findings, r.Feedback = recognize(m)
	if len(r.Findings) == 0 {
		r.Findings = []Finding{{}}
	}
	isBounce := func(f Finding) bool { return f.Class == Hard || f.Class == Soft }
	r.Addressed, r.Tokens, r.Unverified = rd.tokens(m, slices.ContainsFunc(r.Findings, isBounce))
	r.Answer = isReportOrReply(m.header)
	for i := range r.Findings {
		f := &r.Findings[i]
		f.Diagnostic = mask(f.Diagnostic, f.final, f.original)
	}
	return r
}

// About returns what the report says of the recipient with this address. A report of one recipient
// is about it, whatever the address is: the recipient may have forwarded the mail. If the report
// names several and not this one, the finding is the mildest of them. An empty address stands for a
// recipient who is not known, and gives the first finding.
func (r *Report) About(address string) Finding {
	if address == "" || len(r.Findings) == 1 {
		return r.Findings[0]
	}
	about := r.Findings
	for _, names := range []func(Finding) bool{
		func(f Finding) bool { return sameAddress(f.final, address) },
		func(f Finding) bool { return sameAddress(f.original, address) },
	} {
		if i := slices.IndexFunc(r.Findings, names); i >= 0 {
			about = slices.DeleteFunc(slices.Clone(r.Findings), func(f Finding) bool { return !names(f) })
			break
		}
	}
	return slices.MaxFunc(about, func(a, b Finding) int { return cmp.Compare(mildness[a.Class], mildness[b.Class]) })
}

var mildness = map[Class]int{Hard: 0, Complaint: 1, Soft: 2, Delayed: 3, Automatic: 4, Delivered: 5, Unknown: 6}

func sameAddress(a, b string) bool { return a != "" && strings.EqualFold(a, b) }

// mask returns a quotation of a diagnostic, without words that may be part of an address.
func mask(text string, addresses ...string) string {
	for _, a := range addresses {
		if a != "" {
			text = joined(smtp.Words(text, a))
		}
	}
	return smtp.Quote(smtp.Words(text, ""))
}
