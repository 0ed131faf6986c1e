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

	"directmailer/internal/foreign"
)

// Phase is the step of a session in which an error happened.
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

// ofMessage reports whether the phase comes after the connection is ready for messages.
func (p Phase) ofMessage() bool {
	switch p {
	case PhaseReset, PhaseMail, PhaseRcpt, PhaseData, PhaseBody, PhaseDot:
		return true
	}
	return false
}

// EnhancedCode is an enhanced status code (RFC 3463). It is all zero if a reply has none.
type EnhancedCode [3]int

// String returns the code as in "5.1.1", or "".
func (e EnhancedCode) String() string {
	if e == (EnhancedCode{}) {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d", e[0], e[1], e[2])
}

// Reply is a server's reply.
type Reply struct {
	Code     int // 0 if the server was not asked: see [Refusal]
	Enhanced EnhancedCode
	// Text is the lines of the reply, joined by spaces. It is valid UTF-8 without control
	// characters, and about 1 KiB at most. It may contain addresses: it is for the ledger, not for
	// logs or errors.
	Text string
}

// Refusal is a reply that refuses a command or a message. The connection can be used for the next
// message, unless Code is 421.
//
// A message that cannot be written in SMTP, or that the server has said it does not accept, is
// refused without asking the server. Then Code is 0, and Enhanced and Text are our own.
type Refusal struct {
	Phase Phase
	Reply
	// Tried are the log-in mechanisms that were refused, at PhaseAuth.
	Tried []string
}

// Error returns the phase and the codes. It leaves out the text of the server, which may contain
// addresses.
func (e *Refusal) Error() string {
	if e.Code == 0 {
		return fmt.Sprintf("%s: not sent: %s (%s)", e.Phase, e.Text, e.Enhanced)
	}
	text := strings.TrimSpace(fmt.Sprintf("%s was refused: %d %s", e.Phase, e.Code, e.Enhanced))
	if len(e.Tried) > 0 {
		text += " (tried " + strings.Join(e.Tried, ", ") + ")"
	}
	return text
}

// ConnError means that the connection is lost or cannot be used any more. The caller must abort it.
type ConnError struct {
	Phase Phase
	// Uncertain is true if the final dot may have arrived and no answer was seen. Otherwise the
	// message was certainly not accepted.
	Uncertain bool
	Cause     error
}

// Error returns the phase and the cause, which can quote the server's certificate.
func (e *ConnError) Error() string {
	cause := foreign.Line(e.Cause.Error())
	if e.Uncertain {
		return fmt.Sprintf("%s: no answer: %s", e.Phase, cause)
	}
	return fmt.Sprintf("%s: %s", e.Phase, cause)
}

// Unwrap returns the cause.
func (e *ConnError) Unwrap() error { return e.Cause }

var (
	errClosed = errors.New("the server closed the connection")
	errReply  = errors.New("the server's reply is not SMTP")
	errNoTLS  = errors.New("the server does not offer STARTTLS, which is required")
	errNoAuth = errors.New("the server offers no log-in mechanism that can be used")
	errLogin  = errors.New("the server's part of the log-in is not valid")
	errEarly  = errors.New("data came before the TLS handshake, from the server or an attacker")
	errTime   = errors.New("timed out")
)

// isTLSFailure reports whether a handshake failed because the two sides do not agree, and not
// because the connection was lost.
func isTLSFailure(err error) bool {
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &certificate) || errors.As(err, &record) || errors.As(err, &alert) ||
		errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid) || errors.Is(err, errHandshake)
}

// errHandshake marks failures of the handshake for which crypto/tls has no type.
var errHandshake = errors.New("the TLS handshake failed")

// plainNet returns the cause of an error of package net, without its IP addresses.
func plainNet(err error) error {
	var op *net.OpError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errTime
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return errClosed
	case errors.As(err, &op) && op.Op != "remote error" && op.Op != "local error": // the two are TLS alerts
		var call *os.SyscallError
		if errors.As(op.Err, &call) {
			return call.Err
		}
		return op.Err
	}
	return err
}

// plainTLS returns the cause of a failed handshake.
func plainTLS(err error) error {
	plain := plainNet(err)
	var dns *net.DNSError
	var errno syscall.Errno
	switch {
	case plain == errTime, plain == errClosed, isTLSFailure(plain), errors.As(plain, &dns), errors.As(plain, &errno):
		return plain
	}
	return fmt.Errorf("%w: %w", errHandshake, plain)
}
