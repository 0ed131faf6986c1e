// Package smtp is the client side of SMTP, for sending many messages over one connection: RFC 5321 with pipelining (RFC 2920),
// STARTTLS (RFC 3207), AUTH (RFC 4954), 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531), SIZE (RFC 1870) and enhanced status codes
// (RFC 2034, 3463).
//
// A message is handed over in two steps, so that something can be made durable between them: Begin sends the envelope and the body, all
// but the final dot, and Finish sends the dot. Before Finish a message is certainly not accepted; once the dot may have left and no
// answer is seen, it is uncertain. With a body open no command may be sent: a message is abandoned only by Abort.
//
// Errors are a [*Refusal] (the server answered, the connection stays) or a [*ConnError] (the connection is of no more use); [Classify]
// says what they mean. Neither's text holds an address or a password.
package smtp

import (
	"crypto/x509"
	"time"
)

// TLSPolicy says when a connection is encrypted. A certificate is always verified.
type TLSPolicy int

// The policies.
const (
	Opportunistic TLSPolicy = iota // if the server offers STARTTLS
	Required                       // or there is no session
	None                           // never
)

// Timeouts bound the waiting at each phase; those that are zero have the value of [DefaultTimeouts].
type Timeouts struct {
	Connect  time.Duration
	Greeting time.Duration // also of the TLS handshake
	Command  time.Duration // for the answer to each command
	Body     time.Duration // for each piece of 256 KB to be taken
	Dot      time.Duration // for the answer to the final dot
}

// DefaultTimeouts are short where nothing is lost by trying again. Where a message is in the air they are those of RFC 5321, 4.5.3.2:
// impatience there makes duplicates.
var DefaultTimeouts = Timeouts{Connect: 20 * time.Second, Greeting: time.Minute, Command: 2 * time.Minute, Body: 3 * time.Minute, Dot: 10 * time.Minute}

func (t Timeouts) withDefaults() Timeouts {
	for _, d := range []struct{ value, usual *time.Duration }{
		{&t.Connect, &DefaultTimeouts.Connect}, {&t.Greeting, &DefaultTimeouts.Greeting}, {&t.Command, &DefaultTimeouts.Command},
		{&t.Body, &DefaultTimeouts.Body}, {&t.Dot, &DefaultTimeouts.Dot},
	} {
		if *d.value <= 0 {
			*d.value = *d.usual
		}
	}
	return t
}

// Options says how to reach a server and as whom.
type Options struct {
	Addr       string // host:port
	ServerName string // that the certificate must be for; default: the host of Addr
	Hello      string // our name in EHLO; default: the host's if it has a domain, or else our address as a literal
	// ImplicitTLS begins with the handshake (port 465); otherwise TLS decides about STARTTLS.
	ImplicitTLS bool
	TLS         TLSPolicy
	RootCAs     *x509.CertPool // default: the system's
	// Username and Password are used if Username is set, with the strongest mechanism that the server offers. A mechanism that shows
	// the password is used only over TLS, or if TLS is None.
	Username, Password string
	// XOAuth2 makes Password an access token for the mechanism XOAUTH2.
	XOAuth2 bool
	// NextBehindDot sends the next message's envelope in one write with the final dot, which saves a round trip where the server does
	// not hold the dot's answer back meanwhile.
	NextBehindDot bool
	Timeouts      Timeouts
}

// Message is a complete message and its envelope. Addresses are as on the wire, the domain in A-labels; From may be empty, for mail
// that must not bounce.
type Message struct {
	From, To string
	Data     []byte // lines end with CR LF; not changed, and not used any more after Finish
	UTF8     bool   // needs SMTPUTF8
	EightBit bool   // needs 8BITMIME
}

// String shows neither user nor password.
func (o Options) String() string { return o.Addr }

// GoString shows neither user nor password.
func (o Options) GoString() string { return "smtp.Options{" + o.Addr + "}" }
