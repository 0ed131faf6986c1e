package temporalclient_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"directmailer/internal/temporalclient"
)

// setOnly sets these variables of Temporal and unsets all others.
func setOnly(t *testing.T, given map[string]string) {
	t.Helper()
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "TEMPORAL_") {
			t.Setenv(name, "") // restores it afterwards
			_ = os.Unsetenv(name)
		}
	}
	t.Setenv("TEMPORAL_CONFIG_FILE", os.DevNull)
	for name, value := range given {
		t.Setenv(name, value)
	}
}

// connectError returns the error of a connection with these variables.
func connectError(t *testing.T, given map[string]string) error {
	t.Helper()
	setOnly(t, given)
	c, err := temporalclient.Dial(t.Context(), quiet)
	if err == nil {
		c.Close()
		t.Fatalf("%v: there is no error", given)
	}
	return err
}

func TestASettingThatCannotBeUsedNamesItsVariableAndNoValue(t *testing.T) {
	file := func(content string) string {
		name := t.TempDir() + "/file"
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	const secret = "Zq8Kw3Xp"
	const block = "-----BEGIN " + secret + " KEY-----\n" + secret + "\n-----END " + secret + " KEY-----\n"
	for _, c := range []struct {
		given map[string]string
		says  string
	}{
		{map[string]string{"TEMPORAL_ADDRESS": "https://me:" + secret + "@127.0.0.1:1"}, "TEMPORAL_ADDRESS"},
		{map[string]string{"TEMPORAL_ADDRESS": "me:" + secret + "@127.0.0.1:1"}, "TEMPORAL_ADDRESS"},
		{map[string]string{"TEMPORAL_ADDRESS": "127.0.0.1:1?key=" + secret}, "TEMPORAL_ADDRESS"},
		{map[string]string{"TEMPORAL_ADDRESS": "127.0.0.1:1 " + secret}, "TEMPORAL_ADDRESS"},
		{map[string]string{"TEMPORAL_ADDRESS": "127.0.0.1:1", "TEMPORAL_API_KEY": secret + "\n"}, "TEMPORAL_API_KEY"},
		{map[string]string{"TEMPORAL_ADDRESS": "127.0.0.1:1", "TEMPORAL_GRPC_META_KEY": "\x01" + secret},
			"TEMPORAL_GRPC_META_KEY"},
		{map[string]string{"TEMPORAL_TLS_CLIENT_CERT_PATH": block, "TEMPORAL_TLS_CLIENT_KEY_PATH": block},
			"TEMPORAL_TLS_CLIENT_KEY_PATH"},
		{map[string]string{"TEMPORAL_TLS_CLIENT_KEY_PATH": secret}, "TEMPORAL_TLS_CLIENT_CERT_PATH"},
		{map[string]string{"TEMPORAL_TLS_CLIENT_CERT_DATA": block, "TEMPORAL_TLS_CLIENT_KEY_DATA": block},
			"TEMPORAL_TLS_CLIENT_KEY_DATA"},
		{map[string]string{"TEMPORAL_TLS_CLIENT_KEY_DATA": block}, "TEMPORAL_TLS_CLIENT_CERT_DATA"},
		{map[string]string{"TEMPORAL_TLS_SERVER_CA_CERT_PATH": block}, "TEMPORAL_TLS_SERVER_CA_CERT_PATH"},
		{map[string]string{"TEMPORAL_TLS_SERVER_CA_CERT_DATA": block}, "TEMPORAL_TLS_SERVER_CA_CERT"},
		{map[string]string{"TEMPORAL_TLS": secret}, "TEMPORAL_TLS must be true or false"},
		{map[string]string{"TEMPORAL_TLS_DISABLE_HOST_VERIFICATION": "yes"}, "must be true or false"},
		{map[string]string{"TEMPORAL_PROFILE": secret}, "TEMPORAL_PROFILE"},
		{map[string]string{"TEMPORAL_CONFIG_FILE": "/dev/null/" + secret}, "TEMPORAL_CONFIG_FILE"},
		{map[string]string{"TEMPORAL_CONFIG_FILE": file("[profile.default]\napi_key = " + secret + "\n")}, "line 2"},
		{map[string]string{"TEMPORAL_CONFIG_FILE": file("[profile.default]\napi_key = [\"" + secret + "\"]\n")},
			"TEMPORAL_CONFIG_FILE"},
		{map[string]string{"TEMPORAL_CONFIG_FILE": file("[profile.default]\naddress = \"http://me:" + secret + "@h\"\n")},
			"TEMPORAL_ADDRESS"},
		{map[string]string{"TEMPORAL_CONFIG_FILE": file(secret + "\n")}, "line "},
	} {
		err := connectError(t, c.given)
		if !errors.As(err, new(*temporalclient.SettingsError)) || !strings.Contains(err.Error(), c.says) ||
			strings.Contains(err.Error(), secret) || strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("%v: got %v, want %s", c.given, err, c.says)
		}
	}
}

// A server refuses every call with a code of its own.
func TestARefusedLogInNamesTheVariablesOfTheLogIn(t *testing.T) {
	for _, code := range []codes.Code{codes.Unauthenticated, codes.PermissionDenied} {
		address := refuseAll(t, status.Error(code, "request unauthorized: token Zq8Kw3Xp"))
		err := connectError(t, map[string]string{"TEMPORAL_ADDRESS": address})
		if text := err.Error(); !strings.Contains(text, "TEMPORAL_API_KEY") || !strings.Contains(text,
			"TEMPORAL_NAMESPACE") ||
			strings.Contains(text, "Zq8Kw3Xp") || temporalclient.Unreachable(err) {
			t.Errorf("%v: %v", code, err)
		}
	}
}

// refuseAll serves gRPC and answers every call with the error.
func refuseAll(t *testing.T, answer error) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error { return answer }))
	go func() { _ = s.Serve(listener) }()
	t.Cleanup(s.Stop)
	return listener.Addr().String()
}

func TestEveryFailureOfTLSNamesItsVariable(t *testing.T) {
	plain := refuseAll(t, status.Error(codes.Unavailable, ""))
	err := connectError(t, map[string]string{"TEMPORAL_ADDRESS": plain, "TEMPORAL_TLS": "true"})
	if !strings.Contains(err.Error(), "TEMPORAL_TLS=false") {
		t.Errorf("TLS to a server without it: %v", err)
	}
	s := serveTLS(t)
	for _, c := range []struct {
		given map[string]string
		says  string
	}{
		{map[string]string{"TEMPORAL_TLS": "true", "TEMPORAL_TLS_SERVER_NAME": "temporal.example.com"},
			"TEMPORAL_TLS_SERVER_CA_CERT_PATH"},
		{map[string]string{"TEMPORAL_TLS_SERVER_CA_CERT_PATH": s.ca}, "TEMPORAL_TLS_SERVER_NAME"},
		{map[string]string{"TEMPORAL_TLS_SERVER_CA_CERT_PATH": s.ca,
			"TEMPORAL_TLS_SERVER_NAME": "temporal.example.com"},
			"TEMPORAL_TLS_CLIENT_CERT_PATH"},
		{nil, "TEMPORAL_TLS"},
	} {
		given := map[string]string{"TEMPORAL_ADDRESS": s.address}
		for name, value := range c.given {
			given[name] = value
		}
		if err := connectError(t, given); !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v", c.given, err)
		}
	}
}

// tlsServer is a server that wants a client's certificate. Its own is for temporal.example.com.
type tlsServer struct{ address, ca string }

func serveTLS(t *testing.T) tlsServer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"temporal.example.com"}, IsCA: true,
		BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca := t.TempDir() + "/ca.pem"
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		ClientAuth:   tls.RequireAnyClientCert})))
	go func() { _ = s.Serve(listener) }()
	t.Cleanup(s.Stop)
	return tlsServer{listener.Addr().String(), ca}
}
