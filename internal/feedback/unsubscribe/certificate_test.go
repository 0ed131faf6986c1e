package unsubscribe

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"directmailer/internal/feedback"
	"directmailer/internal/feedback/token/tokentest"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// writePair writes a certificate with a serial number, and its key.
func writePair(t *testing.T, dir string, serial int64) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "127.0.0.1"},
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der},
		key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func serialOf(t *testing.T, k *keyPair) int64 {
	t.Helper()
	pair, err := k.get(nil)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return cert.SerialNumber.Int64()
}

func TestACertificateIsReadAgainWhenItChanges(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := writePair(t, dir, 1)
	k, err := loadKeyPair(cert, key, quiet)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	k.now = func() time.Time { return now }
	writePair(t, dir, 22222222)
	if got := serialOf(t, k); got != 1 {
		t.Errorf("at once: %d", got)
	}
	now = now.Add(reloadEvery)
	if got := serialOf(t, k); got != 22222222 {
		t.Errorf("later: %d", got)
	}
	if err := os.WriteFile(cert, []byte("half a certif"), 0o600); err != nil {
		t.Fatal(err)
	}
	now = now.Add(reloadEvery)
	if got := serialOf(t, k); got != 22222222 {
		t.Errorf("with a broken file: %d", got)
	}
	writePair(t, dir, 3)
	now = now.Add(reloadEvery)
	if got := serialOf(t, k); got != 3 {
		t.Errorf("mended: %d", got)
	}
}

func TestThePagesAreServedWithACertificate(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	cert, key := writePair(t, t.TempDir(), 1)
	f.start(Options{Certificate: cert, Key: key})
	c, err := tls.Dial("tcp", f.server.Addr(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if v := c.ConnectionState().Version; v < tls.VersionTLS12 {
		t.Errorf("version %x", v)
	}
	old, err := tls.Dial("tcp", f.server.Addr(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11})
	if err == nil {
		old.Close()
		t.Error("TLS 1.1 is accepted")
	}
}

func TestAListenerThatCannotStartSaysWhyInOneLine(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	settings := feedback.Settings{Keys: tokentest.Keys(t, "k"), PublicURL: "https://mail.example.com"}
	cert, _ := writePair(t, t.TempDir(), 1)
	_, key := writePair(t, t.TempDir(), 2)
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Address: taken.Addr().String()}, "serve the unsubscribe pages at " + taken.Addr().String() +
			" (DM_PUBLIC_ADDRESS): address already in use"},
		{Options{Address: "127.0.0.1:0", Certificate: "/nowhere", Key: "/nowhere"},
			"the certificate of the public listener (DM_PUBLIC_CERT, DM_PUBLIC_KEY) cannot be used: no such file or directory"},
		{Options{Address: "127.0.0.1:0", Certificate: cert, Key: key},
			"(DM_PUBLIC_CERT, DM_PUBLIC_KEY) cannot be used: tls: private key does not match public key"},
	} {
		c.o.Settings = settings
		_, err := Listen(c.o, nil, nil, quiet)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}
