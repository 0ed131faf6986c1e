// Package smtp is an SMTP client that sends many messages over one connection.
//
// It implements RFC 5321 with pipelining (RFC 2920), STARTTLS (RFC 3207), AUTH (RFC 4954), 8BITMIME
// (RFC 6152), SMTPUTF8 (RFC 6531), SIZE (RFC 1870) and enhanced status codes (RFC 2034, RFC 3463).
//
// # The two steps of a message
//
// Each message takes two steps, so that the caller can make something durable between them:
//
//	Dial      connect, greeting, EHLO, STARTTLS, AUTH       session.go, auth.go
//	Begin     MAIL, RCPT, DATA and the body                 send.go, envelope.go
//	Finish    the final dot, and the answer to it           send.go
//	Close     QUIT
//
// Before Finish, a message is certainly not accepted. If the dot may have left and no answer is
// seen, the message is uncertain. While a body is open, no command can be sent: the server would
// take it for a line of the body. Only Abort abandons such a message.
//
// # Errors
//
// An error is a [*Refusal], after which the connection can be used, or a [*ConnError], after which
// it cannot. [Classify] tells what an error means for the recipient and for the server. The text of
// an error contains no address and no password.
package smtp

import (
	"context"
	"crypto/x509"
	"net/netip"
	"time"
)

// TLSPolicy tells when a connection is encrypted. Certificates are always verified.
type TLSPolicy int

// The policies.
const (
	Opportunistic TLSPolicy = iota // encrypt if the server offers STARTTLS
	Required                       // fail if the server does not offer STARTTLS
	None                           // do not encrypt
)

// Timeouts limit each phase of a session. The default of each is in [DefaultTimeouts].
type Timeouts struct {
	Connect  time.Duration // for the TCP connection
	Greeting time.Duration
	Command  time.Duration // for the answer to a command, and for the TLS handshake
	Body     time.Duration // for writing 256 KiB of the body
	Dot      time.Duration // for the answer to the final dot
}

// DefaultTimeouts are at least those of RFC 5321, section 4.5.3.2, which has none for the TCP
// connection. Servers delay their greeting on purpose, and a client that does not wait for the
// answer to a dot causes duplicates.
var DefaultTimeouts = Timeouts{
	Connect:  30 * time.Second,
	Greeting: 5 * time.Minute,
	Command:  5 * time.Minute,
	Body:     3 * time.Minute,
	Dot:      10 * time.Minute,
}

func (t Timeouts) withDefaults() Timeouts {
	d := DefaultTimeouts
	return Timeouts{
		Connect:  orDefault(t.Connect, d.Connect),
		Greeting: orDefault(t.Greeting, d.Greeting),
		Command:  orDefault(t.Command, d.Command),
		Body:     orDefault(t.Body, d.Body),
		Dot:      orDefault(t.Dot, d.Dot),
	}
}

func orDefault(value, usual time.Duration) time.Duration {
	if value <= 0 {
		return usual
	}
	return value
}

// Options are the server and how to talk to it.
type Options struct {
	Addr string // host:port
	// ServerName is the name in the server's certificate. The default is the host of Addr.
	ServerName string
	// Hello is our name in EHLO. The default is the name of this host if it has a domain, or else
	// our IP address.
	Hello string
	// ImplicitTLS starts with the TLS handshake (port 465). Otherwise TLS decides about STARTTLS.
	ImplicitTLS bool
	TLS         TLSPolicy
	RootCAs     *x509.CertPool // default: those of the system
	// Username and Password are used if Username is set. A mechanism that sends the password itself
	// is used only over TLS, or if TLS is None.
	Username, Password string
	// ReadPassword, if it is set, is called at each log-in and returns the password. Its errors must
	// not contain the password.
	ReadPassword func(context.Context) (string, error)
	// Mechanism is the one log-in mechanism to use, in upper case. XOAUTH2 takes an access token as
	// the password. The default is the strongest one for a password that the server offers. Over TLS,
	// the next one is tried after a permanent refusal.
	Mechanism string
	// LogIns remembers what log-ins taught, for later connections. It may be nil.
	LogIns *LogIns
	// NextBehindDot sends the next message's envelope in one write with the final dot. That saves a
	// round trip, unless the server delays the answer to the dot because of it.
	NextBehindDot bool
	Timeouts      Timeouts
	// Lookup returns the addresses of a host. The default is the system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Addresses remembers the addresses that fail, from session to session. It can be nil.
	Addresses *Addresses
	// NextAddressAfter is how long a session with one address may take to open before the next
	// address is tried beside it. The default is 10 s.
	NextAddressAfter time.Duration
	// OnPhase is called with each phase that begins until the session is open. It can be nil, and
	// must be safe for concurrent use.
	OnPhase func(Phase)
}

// begins tells OnPhase of a phase.
func (o *Options) begins(p Phase) {
	if o.OnPhase != nil {
		o.OnPhase(p)
	}
}

// Message is a complete message and its envelope. The addresses are as on the wire, with the domain
// in A-labels. From is empty for mail that must not bounce.
type Message struct {
	From, To string
	Data     []byte // lines end with CR LF. It is not changed, and not used after Finish
	UTF8     bool   // needs SMTPUTF8
	EightBit bool   // needs 8BITMIME
}

// String returns the address. It shows neither user nor password.
func (o Options) String() string { return o.Addr }

// GoString shows neither user nor password.
func (o Options) GoString() string { return "smtp.Options{" + o.Addr + "}" }
