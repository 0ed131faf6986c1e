package smtp

import (
	"errors"
	"regexp"
	"strconv"
	"strings"

	"directmailer/internal/delivery/wording"
)

// Class is what an error means for the recipient and for the server. The class of a reply follows
// from evidence, in this order: its phase, its words (package wording), its enhanced status code,
// its code.
//
//	                        4xx          5xx
//	greeting, EHLO          Connection   Refused
//	STARTTLS, AUTH          Connection   Refused
//	MAIL FROM               Connection   Refused; Unfit for what is about the message
//	RCPT TO, final dot      Deferred     as below
//	DATA                    Deferred     as below; Refused where it would be Unclear
//
// A 5xx reply to RCPT TO, DATA or the final dot:
//
//	known words (wordings.tsv)                                  Refused, Unfit or Bounced
//	5.7.x, 5.1.7, 5.1.8, 5.4.5                                  Refused: policy, sender, quota
//	5.2.3, 5.3.4, 5.6.x                                         Unfit: size, content
//	5.1.0 to 5.1.6, 5.1.10, 5.2.1, 5.2.2, 5.2.4, 5.4.4          Bounced: address, mailbox
//	500, 502, 503, 504, 521                                     Refused: our commands fail
//	530, 534, 535, 538                                          Refused: authentication
//	anything else                                               Unclear
//
// Exceptions of 4xx, whatever the phase: words about our rate (demands.tsv) are Throttled. 4.3.1
// and 4.3.2 (disk full, shutdown), 432, and words about too many connections are Connection.
//
// Errors without a reply, and special cases:
//
//	421 in any phase, also as the answer to the dot             Connection
//	connection lost, timeout, not SMTP: before the dot          Connection
//	the same after the dot, without an answer                   Uncertain
//	invalid certificate, TLS or log-in impossible               Refused
//	octets that are not TLS, in the middle of a session         Connection
//	refused by this package: the sender's address               Refused
//	refused by this package: what the server does not support   Unfit
//	refused by this package: anything else                      Bounced
type Class int

// The classes.
const (
	Connection Class = iota // certainly not accepted; another connection may work
	Bounced                 // refused for good, because of the recipient or the message
	Deferred                // refused for now, because of the recipient or the message
	Refused                 // refused because of who we are; no recipient is to blame
	Uncertain               // accepted or not: no answer was seen
	Unclear                 // refused for good, and the reply does not say whether it means the recipient or us
	Unfit                   // refused for good by this server, which cannot take the message; another one may
	Throttled               // refused for now, because we send too fast
)

// String returns the name of the class.
func (c Class) String() string {
	return [...]string{"connection", "bounced", "deferred", "refused", "uncertain", "unclear", "unfit", "throttled"}[c]
}

// Classify returns the class of err. An error of another package has the class Connection.
func Classify(err error) Class {
	var conn *ConnError
	if errors.As(err, &conn) {
		switch {
		case conn.Uncertain:
			return Uncertain
		case errors.Is(err, errNoTLS), errors.Is(err, errNoAuth), errors.Is(err, errEarly), errors.Is(err, errLogin),
			isTLSFailure(err) && !conn.Phase.ofMessage():
			return Refused
		}
		return Connection
	}
	var r *Refusal
	if !errors.As(err, &r) {
		return Connection
	}
	return r.class()
}

func (e *Refusal) class() Class {
	switch {
	case e.wantsSlowerRate():
		return Throttled
	case e.Code == 421:
		return Connection
	case e.wantsFewerConnections(), e.wantsNewSession():
		return Connection
	case e.Code == 0:
		return e.classOfOurOwn()
	}
	if e.Code >= 500 && e.Enhanced == (EnhancedCode{}) {
		e = &Refusal{Phase: e.Phase, Reply: Reply{e.Code, enhancedInText(e.Text), e.Text}}
	}
	switch e.Phase {
	case PhaseRcpt, PhaseData, PhaseDot:
		return e.classOfRecipient()
	}
	switch {
	case e.Code < 500:
		return Connection
	case e.Phase == PhaseMail && e.aboutMessage():
		return Unfit
	}
	return Refused
}

// classOfOurOwn returns the class of a refusal for which the server was not asked.
func (e *Refusal) classOfOurOwn() Class {
	switch {
	case e.Phase != PhaseMail:
		return Bounced
	case e.Enhanced[1] == 1: // the sender's address
		return Refused
	}
	return Unfit
}

// aboutMessage reports whether a refusal of MAIL FROM is about the message: about the parameter
// SIZE, BODY or SMTPUTF8.
func (e *Refusal) aboutMessage() bool {
	if words := wording.Of(e.Text); words.Has(wording.Message) || words.Has(wording.Us) || words.OfRecipient() {
		return words.Has(wording.Message)
	}
	return e.limitsMessage() || e.Enhanced == EnhancedCode{} && e.Code == 552
}

// limitsMessage reports whether the enhanced status code is about the size or the content of the
// message.
func (e *Refusal) limitsMessage() bool {
	subject, detail := e.Enhanced[1], e.Enhanced[2]
	return subject == 6 || subject == 3 && detail == 4 || subject == 2 && detail == 3
}

// classOfRecipient returns the class of a refusal at RCPT, DATA or the dot.
func (e *Refusal) classOfRecipient() Class {
	subject, detail := e.Enhanced[1], e.Enhanced[2]
	if e.Code < 500 {
		if subject == 3 && (detail == 1 || detail == 2) {
			return Connection
		}
		return Deferred
	}
	switch words := wording.Of(e.Text); {
	case words.Has(wording.Message):
		return Unfit
	case words.Has(wording.Us):
		return Refused
	case words.OfRecipient():
		return Bounced
	}
	switch {
	case e.refusesUs():
		return Refused
	case e.limitsMessage():
		return Unfit
	case e.blamesRecipient():
		return Bounced
	case e.Phase == PhaseData:
		return Refused
	}
	return Unclear
}

// refusesUs reports whether the codes of a 5xx reply to RCPT, DATA or the dot speak of us: of a
// policy, the sender's address, a quota, or the order of our commands.
func (e *Refusal) refusesUs() bool {
	subject, detail := e.Enhanced[1], e.Enhanced[2]
	switch {
	case subject == 7:
		return true
	case subject == 1 && (detail == 7 || detail == 8), subject == 4 && detail == 5:
		return true
	case subject == 1, subject == 2, subject == 6:
		return false
	}
	switch e.Code {
	case 500, 502, 503, 504, 521, 530, 534, 535, 538:
		return true
	}
	return false
}

// blamesRecipient reports whether the enhanced status code speaks of the recipient's address or
// mailbox.
func (e *Refusal) blamesRecipient() bool {
	switch subject, detail := e.Enhanced[1], e.Enhanced[2]; subject {
	case 1:
		return detail <= 6 || detail == 10
	case 2:
		return detail == 1 || detail == 2 || detail == 4
	case 4:
		return detail == 4
	}
	return false
}

// codeInText matches an enhanced status code where qmail and others write it: "(#5.7.1)".
var codeInText = regexp.MustCompile(`#(5)\.(\d{1,3})\.(\d{1,3})\b`)

// enhancedInText returns the enhanced status code that the text of a 5xx reply contains, or zero.
func enhancedInText(text string) (e EnhancedCode) {
	if !strings.Contains(text, "#5.") {
		return e
	}
	for i, part := range codeInText.FindStringSubmatch(text) {
		if i > 0 {
			e[i-1], _ = strconv.Atoi(part)
		}
	}
	return e
}
