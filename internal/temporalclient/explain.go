package temporalclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"go.temporal.io/api/serviceerror"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"directmailer/internal/neterr"
)

// Unreachable tells whether err means that Temporal does not answer at the moment.
func Unreachable(err error) bool {
	var unavailable *serviceerror.Unavailable
	var late *serviceerror.DeadlineExceeded
	return errors.As(err, &unavailable) || errors.As(err, &late) || errors.Is(err, context.DeadlineExceeded) ||
		status.Code(err) == codes.Unavailable
}

// Explain returns err with a text for people, in place of that of gRPC or of the server. It says
// which variable to change.
func Explain(err error) error {
	var known *explained
	var unknown *serviceerror.NamespaceNotFound
	var gone *serviceerror.NamespaceInvalidState
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &unknown):
		return &explained{
			fmt.Sprintf(
				"Temporal has no namespace %q: set TEMPORAL_NAMESPACE, or create the namespace",
				unknown.Namespace,
			),
			err,
		}
	case errors.As(err, &gone):
		return &explained{"Temporal's namespace is deleted or not in use: set TEMPORAL_NAMESPACE", err}
	case Denied(err):
		return &explained{"Temporal refuses us: check TEMPORAL_API_KEY, or TEMPORAL_TLS_CLIENT_CERT_PATH and " +
			"TEMPORAL_TLS_CLIENT_KEY_PATH, and whether they may use the namespace in TEMPORAL_NAMESPACE", err}
	case Unreachable(err):
		return &explained{"Temporal does not answer", err}
	}
	return err
}

// Denied reports whether the server has refused the log-in, or what the log-in may do.
func Denied(err error) bool {
	var denied *serviceerror.PermissionDenied
	code := status.Code(err)
	return errors.As(err, &denied) || code == codes.PermissionDenied || code == codes.Unauthenticated
}

// explained is an error whose text is ours.
type explained struct {
	text string
	err  error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.err }

// reason says why no connection was made to the address. gRPC only has a text for that, which names
// its own parts. So reason connects once more by itself, to learn the cause.
func reason(ctx context.Context, address string, config *tls.Config, err error) error {
	if !Unreachable(err) {
		return Explain(err)
	}
	if text := tlsReason(err.Error()); text != "" {
		return &explained{"TLS failed: " + text, err}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	var dialer net.Dialer
	_, place, isScheme := strings.Cut(address, ":///")
	if !isScheme {
		place = address
	}
	conn, dialErr := dialer.DialContext(ctx, "tcp", place)
	if dialErr != nil {
		return &explained{neterr.Reason(dialErr), err}
	}
	defer conn.Close()
	if text := tlsReason(handshake(ctx, conn, place, config)); text != "" {
		return &explained{"TLS failed: " + text, err}
	}
	return &explained{
		"a server is there, and does not answer as Temporal: check TEMPORAL_ADDRESS and TEMPORAL_TLS",
		err,
	}
}

// handshake returns the text of the error of a TLS handshake. A server that refuses our certificate
// says so only after the handshake, and gRPC often does not pass that on.
func handshake(ctx context.Context, conn net.Conn, place string, config *tls.Config) string {
	if config == nil {
		return ""
	}
	config = config.Clone()
	config.NextProtos = []string{"h2"}
	if host, _, err := net.SplitHostPort(place); err == nil && config.ServerName == "" {
		config.ServerName = host
	}
	secure := tls.Client(conn, config)
	err := secure.HandshakeContext(ctx)
	if deadline, ok := ctx.Deadline(); ok && err == nil {
		_ = secure.SetReadDeadline(deadline)
		_, err = secure.Read(make([]byte, 1))
	}
	if err == nil {
		return ""
	}
	return err.Error()
}

// tlsFailures are parts of the texts of crypto/tls and crypto/x509, and what to do about them. gRPC
// keeps only the text. The first one that is found counts.
var tlsFailures = []struct{ part, text string }{
	{"certificate signed by unknown authority", "nobody whom this machine trusts has signed the server's certificate: " +
		"set TEMPORAL_TLS_SERVER_CA_CERT_PATH"},
	{"certificate is valid for", "the server's certificate is for another name: set TEMPORAL_TLS_SERVER_NAME"},
	{"certificate is not valid for any names", "the server's certificate is for no name: set TEMPORAL_TLS_SERVER_NAME"},
	{"doesn't contain any IP SANs", "the server's certificate is for no IP address: set TEMPORAL_TLS_SERVER_NAME"},
	{"certificate has expired", "the server's certificate has expired, or is not valid yet"},
	{"first record does not look like a TLS handshake", "the server does not speak TLS: set TEMPORAL_TLS=false, " +
		"and check TEMPORAL_ADDRESS"},
	{"remote error: tls: ", "the server refuses our certificate: check TEMPORAL_TLS_CLIENT_CERT_PATH and " +
		"TEMPORAL_TLS_CLIENT_KEY_PATH"},
	{"handshake failed: ", "the handshake failed: check TEMPORAL_ADDRESS and the variables TEMPORAL_TLS_*"},
}

// tlsReason returns what to do about a failure of TLS, or "" if the text is not about TLS.
func tlsReason(text string) string {
	for _, failure := range tlsFailures {
		if strings.Contains(text, failure.part) {
			return failure.text
		}
	}
	return ""
}
