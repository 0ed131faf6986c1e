// Package neterr says why a network connection was not made, in words for people.
//
// The errors of Go's net package repeat the address, the system call and the resolver. A caller has
// named the address already.
package neterr

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"directmailer/internal/foreign"
)

// Reason returns the cause of err in a few words, without the address: "connection refused". An
// error that joins several, one for each address of a host, gives each cause once. An error that is
// not of the network gives the text of the innermost error that it wraps.
func Reason(err error) string {
	var all []string
	for _, cause := range causes(err) {
		if text := reason(cause); !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return strings.Join(all, "; ")
}

// causes returns the errors that err joins, or err itself.
func causes(err error) []error {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if joined, ok := e.(interface{ Unwrap() []error }); ok {
			var all []error
			for _, part := range joined.Unwrap() {
				all = append(all, causes(part)...)
			}
			return all
		}
	}
	return []error{err}
}

func reason(err error) string {
	var dns *net.DNSError
	var errno syscall.Errno
	var timeout net.Error
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var address *net.AddrError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Sprintf("no host is named %q", dns.Name)
	case errors.As(err, &dns):
		return fmt.Sprintf("the name %q cannot be looked up", dns.Name)
	case errors.As(err, &certificate):
		return "the server's certificate is refused: " + certificateReason(certificate.Err)
	case errors.As(err, &record):
		return "the server does not speak TLS"
	case errors.As(err, &address):
		return address.Err
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the server has closed the connection"
	}
	return foreign.Line(innermost(err).Error())
}

// innermost returns the error that err wraps at its core: what wraps it often names the address
// again.
func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

func certificateReason(err error) string {
	var host x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &host):
		return "it is not for this host"
	case errors.As(err, &unknown):
		return "nobody whom this machine trusts has signed it"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "it has expired, or is not valid yet"
	}
	return foreign.Line(strings.TrimPrefix(err.Error(), "x509: "))
}

// Refused reports whether nobody listens where a connection was to be made.
func Refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
