package feedback

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"

	"directmailer/internal/neterr"
)

// ClientOf returns what counts as one client of a listener: an IPv4 address, or an IPv6 network of
// 64 bits, which one household has.
func ClientOf(address netip.Addr) netip.Prefix {
	address = address.Unmap().WithZone("")
	bits := 32
	if address.Is6() {
		bits = 64
	}
	network, _ := address.Prefix(bits)
	return network
}

// KeepAccepting returns l such that the servers of net/http and go-smtp try again after every error
// of Accept, with a pause of up to a second. Without it, they end at some errors, such as a lack of
// memory for sockets. The first of several errors in a row is logged. what names the listener.
func KeepAccepting(l net.Listener, what string, log *slog.Logger) net.Listener {
	return &keptListener{Listener: l, what: what, log: log}
}

type keptListener struct {
	net.Listener
	what   string
	log    *slog.Logger
	failed bool
}

// Accept is for one goroutine at a time.
func (l *keptListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil || errors.Is(err, net.ErrClosed) {
		l.failed = false
		return c, err
	}
	if !l.failed {
		l.failed = true
		l.log.Error(l.what+" cannot accept connections, and tries again", "error", neterr.Reason(err))
	}
	return nil, passingError{err}
}

// passingError tells a server that the error is temporary.
type passingError struct{ error }

func (passingError) Timeout() bool   { return false }
func (passingError) Temporary() bool { return true }
