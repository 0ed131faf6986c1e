package dkim_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"directmailer/internal/content/dkim"
	"directmailer/internal/content/dkim/dkimtest"
)

// keyFile writes a file that holds a key and returns its name.
func keyFile(t testing.TB, text []byte, mode fs.FileMode) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(name, text, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	return name
}

func generate(t testing.TB, algorithm dkim.Algorithm) []byte {
	t.Helper()
	text, err := dkim.Generate(algorithm)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// load reads DM_DKIM with one key of that file.
func load(t testing.TB, file string) (dkim.Keys, []string, error) {
	t.Helper()
	return dkim.Entries{{Domain: domain, Selector: "s", File: file}}.Load()
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func pkcs8(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return block("PRIVATE KEY", der)
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func TestKeysOfEveryFormSign(t *testing.T) {
	t.Parallel()
	pair := rsaKey(t, 2048)
	for name, text := range map[string][]byte{
		"PKCS#1":        block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(pair)),
		"PKCS#8":        pkcs8(t, pair),
		"Ed25519":       generate(t, dkim.Ed25519),
		"made by us":    generate(t, dkim.RSA),
		"with comments": append([]byte("Bag Attributes\n  friendlyName: dkim\n"), pkcs8(t, pair)...),
		"with its public key": append(pkcs8(t, pair),
			block("PUBLIC KEY", must(t)(x509.MarshalPKIXPublicKey(&pair.PublicKey)))...),
		"with CRLF": bytes.ReplaceAll(pkcs8(t, pair), []byte("\n"), []byte("\r\n")),
	} {
		keys, warnings, err := load(t, keyFile(t, text, 0o600))
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v %v", name, warnings, err)
			continue
		}
		if err := dkimtest.Verify(sign(t, keys, full), keys.For(domain).Keys()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func must(t testing.TB) func(der []byte, err error) []byte {
	return func(der []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
}

func TestAKeyThatCannotSignIsRefusedWithWhatToDo(t *testing.T) {
	t.Parallel()
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := pkcs8(t, rsaKey(t, 2048))
	other := rsaKey(t, 2048)
	mixed := *rsaKey(t, 2048)
	mixed.PublicKey = other.PublicKey
	der, _ := pem.Decode(good)
	legacy := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: der.Bytes,
		Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}}
	for name, c := range map[string]struct {
		text []byte
		want string
	}{
		"1024 bits":        {pkcs8(t, rsaKey(t, 1024)), "has 1024 bits: use 2048 to 4096, with `starter dkim new`"},
		"ECDSA":            {pkcs8(t, curve), "neither RSA nor Ed25519"},
		"ECDSA, SEC 1":     {block("EC PRIVATE KEY", must(t)(x509.MarshalECPrivateKey(curve))), "neither RSA nor Ed25519"},
		"encrypted":        {block("ENCRYPTED PRIVATE KEY", der.Bytes), "openssl pkey -in FILE -out NEW-FILE"},
		"encrypted, older": {pem.EncodeToMemory(legacy), "encrypted with a password"},
		"OpenSSH":          {block("OPENSSH PRIVATE KEY", der.Bytes), "OpenSSH"},
		"public": {block("PUBLIC KEY", must(t)(x509.MarshalPKIXPublicKey(&other.PublicKey))),
			"name the file of the private key"},
		"two keys":  {append(bytes.Clone(good), good...), "two private keys"},
		"damaged":   {block("PRIVATE KEY", der.Bytes[:len(der.Bytes)/2]), "damaged private key"},
		"cut":       {good[:len(good)/2], "no PEM block"},
		"empty":     {nil, "no PEM block"},
		"bare":      {[]byte(base64.StdEncoding.EncodeToString(der.Bytes)), "no PEM block"},
		"DER":       {der.Bytes, "no PEM block"},
		"mixed":     {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(&mixed)), "damaged private key"},
		"too large": {bytes.Repeat([]byte("x"), 65<<10), "larger than 64 KiB"},
	} {
		_, _, err := load(t, keyFile(t, c.text, 0o600))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if text := err.Error(); strings.Contains(text, "\n") || strings.Contains(text, "key.pem") ||
			!strings.HasPrefix(text, "s._domainkey."+domain+": its ") || len(c.text) > 100 &&
			strings.Contains(text, string(c.text[60:80])) {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func TestAFileThatIsNoReadableKeyIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, want := range map[string]string{
		filepath.Join(dir, "none"): "cannot be read: no such file or directory",
		dir:                        "is not a regular file",
		os.DevNull:                 "is not a regular file",
	} {
		if _, _, err := load(t, name); err == nil || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheModeOfAKeysFileIsChecked(t *testing.T) {
	t.Parallel()
	key := generate(t, dkim.Ed25519)
	for mode, want := range map[fs.FileMode]string{
		0o600: "", 0o400: "", 0o440: "", 0o640: "",
		0o644: "warning: every user of this machine can read the key", 0o444: "warning: every user",
		0o604: "warning: every user", 0o660: "others can replace the key: set it with chmod 600",
		0o666: "others can replace", 0o620: "others can replace", 0o602: "others can replace",
	} {
		_, warnings, err := load(t, keyFile(t, key, mode))
		got := strings.Join(warnings, "")
		if want, ok := strings.CutPrefix(want, "warning: "); ok {
			if err != nil || !strings.Contains(got, want) {
				t.Errorf("%#o: warnings %q, %v", mode, got, err)
			}
			continue
		}
		if got != "" || (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%#o: warnings %q, %v", mode, got, err)
		}
	}
}

func TestALinkToAKeyIsFollowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() // as Kubernetes mounts a secret
	if err := os.Mkdir(filepath.Join(dir, "..2026"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "..2026", "dkim.pem"), generate(t, dkim.Ed25519), 0o400); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"..data": "..2026", "dkim.pem": "..data/dkim.pem"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if _, warnings, err := load(t, filepath.Join(dir, "dkim.pem")); err != nil || len(warnings) > 0 {
		t.Error(warnings, err)
	}
}

func TestEveryProblemOfTheKeysIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	good := keyFile(t, generate(t, dkim.Ed25519), 0o600)
	entries := dkim.Entries{
		{Domain: domain, Selector: "a", File: "/nowhere/a"}, {Domain: domain, Selector: "b", File: good},
		{Domain: domain, Selector: "c", File: keyFile(t, []byte("none"), 0o600)},
	}
	_, _, err := entries.Load()
	if err == nil || strings.Count(err.Error(), "\n") != 1 || !strings.Contains(err.Error(), "a._domainkey") ||
		!strings.Contains(err.Error(), "c._domainkey") {
		t.Error(err)
	}
}

func TestWhateverPrintsAKeyShowsNothingPrivate(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []dkim.Algorithm{dkim.RSA, dkim.Ed25519} {
		text := generate(t, algorithm)
		keys, _, err := load(t, keyFile(t, text, 0o600))
		if err != nil {
			t.Fatal(err)
		}
		der, _ := pem.Decode(text)
		private, err := x509.ParsePKCS8PrivateKey(der.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		var secrets [][]byte
		switch private := private.(type) {
		case *rsa.PrivateKey:
			secrets = [][]byte{private.D.Bytes(), private.Primes[0].Bytes(), private.Primes[1].Bytes()}
		case ed25519.PrivateKey:
			secrets = [][]byte{private.Seed()}
		}
		signer := keys.For(domain)
		signing := signer.NewSigning(at)
		if _, err := signing.Sign([]byte(full), 0, 0); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		for _, v := range []any{keys, &keys, signer, *signer, signer.Keys(), signer.Keys()[0], *signer.Keys()[0],
			signing, *signing, struct{ k []dkim.Key }{[]dkim.Key{*signer.Keys()[0]}}} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
				fmt.Fprintf(&out, verb+"\n", v)
			}
			_ = json.NewEncoder(&out).Encode(v)
			slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
			slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		}
		for _, secret := range secrets {
			for _, form := range []string{string(secret), fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret),
				strings.Trim(fmt.Sprint(secret), "[]"), base64.StdEncoding.EncodeToString(secret),
				strings.Trim(fmt.Sprintf("%#v", secret), "[]byte{}")} {
				if strings.Contains(out.String(), form) {
					t.Errorf("%s: what is printed shows the private key", algorithm)
				}
			}
		}
		if _, ok := any(signer.Keys()[0]).(crypto.Signer); ok {
			t.Error("a key gives its private key away")
		}
	}
}

func TestEntriesAreReadAndWritten(t *testing.T) {
	t.Parallel()
	var entries dkim.Entries
	text := "\n News.Example.COM=/run/secrets/dkim%20key.pem?selector=RSA202611\t" +
		"bücher.example=/a%3Fb%25=c.pem?selector=a.b-c\r\n"
	if err := entries.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	want := dkim.Entries{
		{Domain: "news.example.com", Selector: "rsa202611", File: "/run/secrets/dkim key.pem"},
		{Domain: "xn--bcher-kva.example", Selector: "a.b-c", File: "/a?b%=c.pem"},
	}
	var again dkim.Entries
	for i, e := range entries {
		if e.Domain != want[i].Domain || e.Selector != want[i].Selector || e.File != want[i].File {
			t.Errorf("read as %+q, %q", e.Text(), e.File)
		}
		if err := again.UnmarshalText([]byte(e.Text())); err != nil || again[0] != e {
			t.Errorf("written as %s: %v", e.Text(), err)
		}
	}
	for _, none := range []string{"", " \n\t"} {
		if err := entries.UnmarshalText([]byte(none)); err != nil || len(entries) > 0 {
			t.Errorf("%q: %v, %v", none, entries, err)
		}
	}
}

func TestEveryBadEntryIsNamedAtOnceAndNotQuoted(t *testing.T) {
	t.Parallel()
	secret := "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"
	for text, want := range map[string]string{
		secret + "==": "entry 1: its domain is not usable",
		secret:        "entry 1: it is not domain=file?selector=name",
		"news.example.com=-----BEGIN PRIVATE KEY----- " + secret: "entry 1: it holds a key itself",
		"news.example.com=" + secret:                             "entry 1: it needs one selector",
		"news.example.com=/" + secret + "?selector=":             "entry 1: its selector must be",
		"news.example.com=/k?selector=" + secret + "/":           "entry 1: its selector must be",
		"news.example.com=/k?selector=a_b":                       "entry 1: its selector must be",
		"news.example.com=/k?selector=a&x=" + secret:             "entry 1: it needs one selector and no other parameter",
		"news.example.com=/k?selector=a&selector=b":              "entry 1: it needs one selector",
		"news.example.com=/k%zz" + secret + "?selector=a":        "entry 1: the name of its file cannot be read",
		"news.example.com=?selector=" + secret:                   "entry 1: it is not domain=file?selector=name",
		secret + "=/k?selector=a":                                "entry 1: its domain is not usable",
		"a.example=/k?selector=a a.example=/l?selector=A": "entry 2: a._domainkey.a.example is named twice: " +
			"give each key of a domain a selector of its own",
		"a.example=/k?selector=a x b.example=/k":                                    "entry 2: ",
		strings.Repeat("d.", 90) + "example=/k?selector=" + strings.Repeat("s", 63): "too long for a DNS name",
	} {
		var entries dkim.Entries
		err := entries.UnmarshalText([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", text, err)
		}
	}
	var entries dkim.Entries
	err := entries.UnmarshalText([]byte("x a.example=/k b.example=/k?selector=b =/c?selector=c"))
	if n := strings.Count(fmt.Sprint(err), "entry "); n != 3 {
		t.Errorf("%d problems: %v", n, err)
	}
}

func TestARecordIsWhatReceiversLookUp(t *testing.T) {
	t.Parallel()
	keys := bothKeys(t)
	for _, key := range keys.For(domain).Keys() {
		r := key.Record()
		if r.Name != string(key.Algorithm)+"._domainkey."+domain {
			t.Errorf("the name is %s", r.Name)
		}
		if prefix := "v=DKIM1; k=" + string(key.Algorithm) + "; p="; !strings.HasPrefix(r.Value, prefix) {
			t.Errorf("the value is %s", r.Value)
		}
		for _, s := range r.Strings() {
			if len(s) > 255 {
				t.Errorf("a string of %d octets", len(s))
			}
		}
		if strings.Join(r.Strings(), "") != r.Value {
			t.Error("the strings are not the value")
		}
		if line := r.ZoneLine(); !strings.HasPrefix(line, r.Name+`. IN TXT "v=DKIM1; `) || strings.ContainsAny(line, "\r\n") {
			t.Errorf("the line of a zone file is %s", line)
		}
	}
}
