// Package events keeps what comes back about a message after the ledger has its outcome: bounces
// that come by mail, complaints, requests and notices. It is the only writer of the tables events,
// event_counts and unread_reports.
//
// An event never changes the ledger. A recipient who was sent, and whose server reported a bounce
// two hours later, is both: the outcome is what the drop point answered, the event is what somebody
// said later.
//
// [Record] writes events and what follows from them in one transaction. A bounce is a finding for
// package optouts, which suppresses the address or not. A complaint and an unsubscription are
// requests of a person, and become opt-outs.
//
// A report that is read twice is one event: each event has an identity, made of the report's own
// ID, the recipient and the kind.
package events

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"directmailer/internal/audience/optouts"
	"directmailer/internal/feedback/token"
)

// Class is what an event says.
type Class string

// The classes.
const (
	Hard        Class = "hard"        // bounced: the address is no good
	Soft        Class = "soft"        // bounced for a reason that can pass
	Complaint   Class = "complaint"   // the recipient called the message spam
	Unsubscribe Class = "unsubscribe" // the recipient wants no more mail
	Automatic   Class = "automatic"   // an answer of a machine, such as a vacation notice
	Delayed     Class = "delayed"     // not delivered yet
	Delivered   Class = "delivered"   // delivered, as somebody has asked to be told
)

// Classes returns all classes, in the order in which people are told of them.
func Classes() []Class {
	return []Class{Hard, Soft, Complaint, Unsubscribe, Automatic, Delayed, Delivered}
}

// kind is the kind of an event. Two readings of one report have the same kind, even if a later
// version reads another class.
func (c Class) kind() string {
	switch c {
	case Hard, Soft:
		return "bounce"
	case Complaint, Unsubscribe:
		return string(c)
	}
	return "notice"
}

// Origin is the way on which a report came in.
type Origin string

// The origins.
const (
	Inbound Origin = "inbound" // the listener of a worker
	Mailbox Origin = "mailbox" // a mailbox that is polled
	Import  Origin = "import"  // a file that a person gave to the starter
	Web     Origin = "web"     // the public pages
)

// Event is something that was said about one recipient.
type Event struct {
	Recipient token.Recipient
	Class     Class
	Scope     optouts.Scope // of an unsubscription; "": what the mailing is about
	Enhanced  string        // enhanced status code, such as 5.1.1; may be empty
	// Diagnostic is the text of the report. Record masks what may be an address in it.
	Diagnostic string
	Origin     Origin
	// At is the time of the report; zero means now. A time in the future is not believed.
	At time.Time
	// ReportID is what the report calls itself: its Message-ID, or a hash of its text.
	ReportID string
}

// identity is a hash by which the same event is recognized.
func (e *Event) identity() []byte { return identityOf(e.ReportID, e.Recipient, e.Class.kind()) }

func identityOf(report string, r token.Recipient, kind string) []byte {
	h := sha256.New()
	var numbers [16]byte
	binary.BigEndian.PutUint64(numbers[:], uint64(r.Mailing))
	binary.BigEndian.PutUint64(numbers[8:], uint64(r.Number))
	h.Write(numbers[:])
	h.Write([]byte(kind + "\x00" + report))
	return h.Sum(nil)[:16]
}

// maxPerRecipient is how many events of one recipient of a mailing are written. The recipient knows
// the address to which reports go, and could send any number of them.
const maxPerRecipient = 20

// isRequest reports whether a person has asked for something. A request always has its effect.
func (c Class) isRequest() bool { return c == Complaint || c == Unsubscribe }

// most is how many events a recipient may have before one of the class is no longer written. The
// first requests are written even if other events have used up the number.
func (c Class) most() int {
	if c.isRequest() {
		return 2 * maxPerRecipient
	}
	return maxPerRecipient
}
