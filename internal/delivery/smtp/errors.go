package smtp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
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
	Code     int // 0 if the server was not asked: see [Refusal]
	Enhanced EnhancedCode
	// Text is the answer's lines, joined by blanks: valid UTF-8 without control characters, bounded. It may hold addresses: it is for
	// the ledger, not for logs or errors.
	Text string
}

// Refusal is an answer other than the one that was hoped for. The connection can be used for the next message, unless Code is 421.
//
// A message that cannot be said in SMTP, or that the server has said it does not take, is refused without asking it: Code is 0 then,
// and Enhanced and Text are our own.
type Refusal struct {
	Phase Phase
	Reply
}

// Error leaves out the server's words: they may hold addresses.
func (e *Refusal) Error() string {
	if e.Code == 0 {
		return fmt.Sprintf("%s: not sent: %s (%s)", e.Phase, e.Text, e.Enhanced)
	}
	return strings.TrimSpace(fmt.Sprintf("%s was refused: %d %s", e.Phase, e.Code, e.Enhanced))
}

// ConnError says that the connection is lost or useless. It must be aborted.
type ConnError struct {
	Phase Phase
	// Uncertain: the final dot may have arrived, and its answer was not seen. Otherwise the message was certainly not accepted.
	Uncertain bool
	Cause     error
}

func (e *ConnError) Error() string {
	if e.Uncertain {
		return fmt.Sprintf("%s: no answer: %v", e.Phase, e.Cause)
	}
	return fmt.Sprintf("%s: %v", e.Phase, e.Cause)
}

func (e *ConnError) Unwrap() error { return e.Cause }

// Class is what an error means for the message and for the server.
//
//	                        4xx          5xx
//	greeting, EHLO          Connection   Refused
//	STARTTLS, AUTH          Connection   Refused
//	MAIL FROM               Connection   Refused; Bounced if it is about the message (552, 5.2.3, 5.3.4, 5.6.x)
//	RCPT TO, final dot      Deferred     Bounced
//	DATA                    Deferred     Refused; Bounced if it is about the recipient or the message (5.1.x, 5.2.x, 5.6.x)
//
//	exceptions to the last two rows:
//	  5.7.x, or 530, 534, 535, 538 without a status code        Refused: policy, authentication
//	  500, 502, 503, 504, 521 (but 5.1.x, 5.2.x, 5.6.x stand)   Refused: it does not work with us at all
//	  4.3.1, 4.3.2                                              Connection: its disk is full, it is shutting down
//
//	421 at any phase, the dot too: it is an answer, and no      Connection
//	connection lost, time out, not SMTP: before the dot         Connection
//	the same after the dot, without an answer                   Uncertain
//	certificate not valid, TLS or log-in impossible             Refused
//	refused by this package: sender's address not sayable       Refused; everything else Bounced
type Class int

// The classes.
const (
	Connection Class = iota // certainly not accepted; another connection may do
	Bounced                 // refused for good, because of the recipient or the message
	Deferred                // refused for now, because of the recipient or the message
	Refused                 // refused because of who we are; no recipient is to blame
	Uncertain               // accepted or not, nobody knows
)

func (c Class) String() string {
	return [...]string{"connection", "bounced", "deferred", "refused", "uncertain"}[c]
}

// Classify says what err means. An error of another package counts as Connection.
func Classify(err error) Class {
	var conn *ConnError
	if errors.As(err, &conn) {
		switch {
		case conn.Uncertain:
			return Uncertain
		case errors.Is(err, errNoTLS), errors.Is(err, errNoAuth), errors.Is(err, errEarly), errors.Is(err, errLogin), badTLS(err):
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
	case e.Code == 421:
		return Connection
	case e.Code == 0: // our own
		if e.Phase == PhaseMail && e.Enhanced[1] == 1 {
			return Refused
		}
		return Bounced
	}
	switch e.Phase {
	case PhaseRcpt, PhaseData, PhaseDot:
		return e.classOfRecipient()
	}
	switch {
	case e.Code < 500:
		return Connection
	case e.Phase == PhaseMail && e.aboutMessage():
		return Bounced
	}
	return Refused
}

// aboutMessage: MAIL FROM can be refused for its SIZE, BODY or SMTPUTF8 parameter.
func (e *Refusal) aboutMessage() bool {
	subject, detail := e.Enhanced[1], e.Enhanced[2]
	return subject == 6 || subject == 3 && detail == 4 || subject == 2 && detail == 3 || e.Enhanced == EnhancedCode{} && e.Code == 552
}

func (e *Refusal) classOfRecipient() Class {
	subject, detail := e.Enhanced[1], e.Enhanced[2]
	if e.Code < 500 {
		if subject == 3 && (detail == 1 || detail == 2) {
			return Connection
		}
		return Deferred
	}
	switch subject {
	case 7:
		return Refused
	case 1:
		if detail == 7 || detail == 8 { // the sender's address
			return Refused
		}
		return Bounced
	case 2, 6:
		return Bounced
	}
	if e.Phase == PhaseData {
		return Refused
	}
	switch e.Code {
	case 500, 502, 503, 504, 521, 530, 534, 535, 538:
		return Refused
	}
	return Bounced
}

var (
	errClosed = errors.New("the server closed the connection")
	errReply  = errors.New("the server's answer is not SMTP")
	errNoTLS  = errors.New("the server does not offer STARTTLS, which is required")
	errNoAuth = errors.New("the server offers no way to log in that can be used here")
	errLogin  = errors.New("the server's part of the log-in is wrong")
	errEarly  = errors.New("the server, or somebody between, spoke before TLS had begun")
	errTime   = errors.New("timed out")
)

// badTLS tells a handshake that fails for what the two sides are from one whose connection was lost.
func badTLS(err error) bool {
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &certificate) || errors.As(err, &record) || errors.As(err, &alert) ||
		errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid) || errors.Is(err, errHandshake)
}

// errHandshake marks the handshake's other failures, for which crypto/tls has no types.
var errHandshake = errors.New("TLS cannot be agreed upon")

// plainNet shortens an error of package net to its cause: the addresses in it are known to whoever reads.
func plainNet(err error) error {
	var op *net.OpError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errTime
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return errClosed
	case errors.As(err, &op) && op.Op != "remote error" && op.Op != "local error": // those are TLS alerts
		var call *os.SyscallError
		if errors.As(op.Err, &call) {
			return call.Err
		}
		return op.Err
	}
	return err
}

func plainTLS(err error) error {
	plain := plainNet(err)
	var dns *net.DNSError
	var errno syscall.Errno
	switch {
	case plain == errTime, plain == errClosed, badTLS(plain), errors.As(plain, &dns), errors.As(plain, &errno):
		return plain
	}
	return fmt.Errorf("%w: %w", errHandshake, plain)
}
