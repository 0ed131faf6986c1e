package neterr_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"testing"
	"time"

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
		{&net.DNSError{Name: "nowhere.invalid", Server: "192.0.2.1:53", IsNotFound: true},
			`no host is named "nowhere.invalid"`},
		{&net.DNSError{Name: "slow.example", Server: "192.0.2.1:53", IsTimeout: true},
			`the name "slow.example" cannot be looked up`},
		{untrusted, "the server's certificate is refused: nobody whom this machine trusts has signed it"},
		{noTLS, "the server does not speak TLS"},
		{dialError(t, "nonsense"), "missing port in address"},
		{late.Err(), "no answer in time"},
		{errors.New("something else"), "something else"},
		{fmt.Errorf("127.0.0.1:1 (localhost): tls error: %w", errors.New("server refused TLS")), "server refused TLS"},
	} {
		if got := neterr.Reason(c.err); got != c.want {
			t.Errorf("the reason of %q is %q, want %q", c.err, got, c.want)
		}
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
