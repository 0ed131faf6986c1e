package neterr_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"syscall"
	"testing"
	"time"

	"directmailer/internal/foreign"
	"directmailer/internal/neterr"
)

func TestTheReasonNamesNoAddressAndNoSystemCall(t *testing.T) {
	t.Parallel()
	refused := dialError(t, "127.0.0.1:1")
	secure := httptest.NewTLSServer(nil)
	defer secure.Close()
	_, untrusted := tls.Dial("tcp", secure.Listener.Addr().String(), &tls.Config{ServerName: "example.com"})
	plain := httptest.NewServer(nil)
	defer plain.Close()
	_, noTLS := tls.Dial("tcp", plain.Listener.Addr().String(), &tls.Config{ServerName: "example.com"})
	late, cancel := context.WithTimeout(context.Background(), -time.Second)
	defer cancel()
	for _, c := range []struct {
		err  error
		want string
	}{
		{refused, "connection refused"},
		{fmt.Errorf("dial error: %w", refused), "connection refused"},
		{errors.Join(refused, fmt.Errorf("again: %w", refused)), "connection refused"},
		{fmt.Errorf("both: %w", errors.Join(refused, io.EOF)), "connection refused; the server has closed the connection"},
		{errors.Join(errors.Join(refused, io.EOF), refused), "connection refused; the server has closed the connection"},
		{&net.DNSError{Name: "nowhere.invalid", Server: "192.0.2.1:53", IsNotFound: true},
			`no host is named "nowhere.invalid"`},
		{&net.DNSError{Name: "slow.example", Server: "192.0.2.1:53", IsTimeout: true},
			`the name "slow.example" cannot be looked up`},
		{untrusted, "the server's certificate is refused: nobody whom this machine trusts has signed it"},
		{refusedFor(x509.HostnameError{Certificate: &x509.Certificate{}, Host: "mx.example.com"}),
			"the server's certificate is refused: it is not for this host"},
		{refusedFor(x509.CertificateInvalidError{Reason: x509.Expired}),
			"the server's certificate is refused: it has expired, or is not valid yet"},
		{refusedFor(x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign}),
			"the server's certificate is refused: certificate is not authorized to sign other certificates"},
		{noTLS, "the server does not speak TLS"},
		{dialError(t, "nonsense"), "missing port in address"},
		{late.Err(), "no answer in time"},
		{os.ErrDeadlineExceeded, "no answer in time"},
		{io.ErrUnexpectedEOF, "the server has closed the connection"},
		{errors.New("something else"), "something else"},
		{errors.New("something\r\nelse\x1b"), foreign.Line("something\r\nelse\x1b")},
		{fmt.Errorf("127.0.0.1:1 (localhost): tls error: %w", errors.New("server refused TLS")), "server refused TLS"},
	} {
		if got := neterr.Reason(c.err); got != c.want {
			t.Errorf("the reason of %q is %q, want %q", c.err, got, c.want)
		}
	}
}

func refusedFor(err error) error {
	return fmt.Errorf("handshake: %w", &tls.CertificateVerificationError{Err: err})
}

func TestOnlyARefusedConnectionIsRefused(t *testing.T) {
	t.Parallel()
	if !neterr.Refused(fmt.Errorf("again: %w", dialError(t, "127.0.0.1:1"))) || neterr.Refused(syscall.ECONNRESET) ||
		neterr.Refused(context.DeadlineExceeded) {
		t.Error("nobody listens, or somebody does")
	}
}

func dialError(t *testing.T, address string) error {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err == nil {
		conn.Close()
		t.Fatalf("somebody listens on %s", address)
	}
	return err
}
