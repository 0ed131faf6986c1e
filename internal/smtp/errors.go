package smtp

import (
	"errors"
	"fmt"
	"strings"
)

// Phase is the step of a session at which something happened.
type Phase string

// The phases, in the order of a session.
const (
	PhaseConnect  Phase = "connect"
	PhaseTLS      Phase = "TLS handshake"
	PhaseGreeting Phase = "greeting"
	PhaseHello    Phase = "EHLO"
	PhaseStartTLS Phase = "STARTTLS"
	PhaseAuth     Phase = "AUTH"
	PhaseReset    Phase = "RSET"
	PhaseMail     Phase = "MAIL FROM"
	PhaseRcpt     Phase = "RCPT TO"
	PhaseData     Phase = "DATA"
	PhaseBody     Phase = "message body"
	PhaseDot      Phase = "final dot"
)

// EnhancedCode is an enhanced status code (RFC 3463); all zero when a reply has none.
type EnhancedCode [3]int

func (e EnhancedCode) String() string {
	if e == (EnhancedCode{}) {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d", e[0], e[1], e[2])
}

// Reply is a server's answer.
type Reply struct {
	Code     int
	Enhanced EnhancedCode
	// Text is the answer's lines, joined by blanks. It may hold addresses: it is for the ledger, not for logs or errors.
	Text string
}

// Refusal is an answer other than the one that was hoped for. The connection can be used for the next message.
type Refusal struct {
	Phase Phase
	Reply
}

// Error leaves out the server's words: they may hold addresses.
func (e *Refusal) Error() string {
	return strings.TrimSpace(fmt.Sprintf("%s was refused: %d %s", e.Phase, e.Code, e.Enhanced))
}

// ConnError says that the connection is lost or useless. It must be aborted.
type ConnError struct {
	Phase Phase
	// Uncertain: the final dot may have arrived, and its answer was not seen. Otherwise the message was certainly not accepted.
	Uncertain bool
	Cause     error
}

func (e *ConnError) Error() string { return fmt.Sprintf("%s: %v", e.Phase, e.Cause) }
func (e *ConnError) Unwrap() error { return e.Cause }

// Class is what an error means for the message and for the server.
//
//	                    2xx/3xx    4xx                 5xx
//	connect, EHLO       -          Connection          Refused
//	STARTTLS, AUTH      -          Connection          Refused
//	MAIL FROM           -          Connection          Refused (Bounced if the message is too big)
//	RCPT TO             -          Deferred            Bounced (Refused if 5.7.x)
//	DATA                -          Deferred            Refused
//	final dot           accepted   Deferred            Bounced (Refused if 5.7.x)
//	421 anywhere, lost connection, time out:           Connection
//	the same after the final dot, without an answer:   Uncertain
//	certificate not valid:                             Refused
type Class int

// The classes.
const (
	Connection Class = iota // certainly not accepted; another connection may do
	Bounced                 // refused for good, because of the recipient or the message
	Deferred                // refused for now, because of the recipient or the message
	Refused                 // refused because of who we are; no recipient is to blame
	Uncertain               // accepted or not, nobody knows
)

// Classify says what err means. An error of another package counts as Connection.
func Classify(err error) Class {
	var conn *ConnError
	if errors.As(err, &conn) {
		switch {
		case conn.Uncertain:
			return Uncertain
		case conn.Phase == PhaseTLS, errors.Is(err, errNoTLS), errors.Is(err, errNoAuth):
			return Refused
		}
		return Connection
	}
	var r *Refusal
	if !errors.As(err, &r) {
		return Connection
	}
	policy := r.Enhanced[0] == 5 && r.Enhanced[1] == 7
	switch {
	case r.Phase == PhaseRcpt, r.Phase == PhaseDot:
		switch {
		case policy:
			return Refused
		case r.Code >= 500:
			return Bounced
		}
		return Deferred
	case r.Phase == PhaseData:
		if r.Code >= 500 {
			return Refused
		}
		return Deferred
	case r.Phase == PhaseMail && (r.Code == 552 || r.Enhanced == EnhancedCode{5, 3, 4} || r.Enhanced == EnhancedCode{5, 6, 7}):
		return Bounced
	case r.Code >= 500:
		return Refused
	}
	return Connection
}
