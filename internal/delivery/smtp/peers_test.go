package smtp_test

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"directmailer/internal/delivery/smtp"
)

// refServer is the server of emersion/go-smtp: an independent implementation of SMTP.
type refServer struct {
	server     *gosmtp.Server
	addr       string
	roots      *x509.CertPool
	mechanisms []string

	mu       sync.Mutex
	used     []string // mechanisms of successful log-ins
	received []string
}

const user, password, token = "user@example.com", "correct horse", "an.access.token"

func startRefServer(t *testing.T, implicit bool, mechanisms ...string) *refServer {
	t.Helper()
	certificate := httptest.NewTLSServer(nil) // for its certificate, which is valid for 127.0.0.1
	t.Cleanup(certificate.Close)
	g := &refServer{mechanisms: mechanisms, roots: x509.NewCertPool()}
	g.roots.AddCert(certificate.Certificate())
	g.server = gosmtp.NewServer(gosmtp.BackendFunc(func(*gosmtp.Conn) (gosmtp.Session, error) {
		return &refSession{refServer: g}, nil
	}))
	g.server.Domain = "server.example"
	g.server.EnableSMTPUTF8 = true
	g.server.MaxMessageBytes = 1 << 20
	g.server.ErrorLog = log.New(io.Discard, "", 0)
	config := &tls.Config{Certificates: certificate.TLS.Certificates}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.addr = listener.Addr().String()
	if implicit {
		listener = tls.NewListener(listener, config)
	} else {
		g.server.TLSConfig = config
	}
	go func() { _ = g.server.Serve(listener) }()
	t.Cleanup(func() { _ = g.server.Close() })
	return g
}

func (g *refServer) record(list *[]string, s string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	*list = append(*list, s)
}

type refSession struct {
	*refServer
	loggedIn bool
	from, to string
}

func (s *refSession) AuthMechanisms() []string { return s.mechanisms }

func (s *refSession) Auth(name string) (sasl.Server, error) {
	finish := func(ok bool) error {
		if !ok {
			return gosmtp.ErrAuthFailed
		}
		s.loggedIn = true
		s.record(&s.used, name)
		return nil
	}
	plain := func(_, u, p string) error { return finish(u == user && p == password) }
	switch name {
	case sasl.Plain:
		return sasl.NewPlainServer(plain), nil
	case sasl.Login:
		return &login{finish: plain}, nil
	case "XOAUTH2":
		return &oauth{finish}, nil
	case "CRAM-MD5":
		return &cram{finish: finish}, nil
	case "SCRAM-SHA-1":
		return &scram{finish: finish, hash: sha1.New}, nil
	case "SCRAM-SHA-256":
		return &scram{finish: finish, hash: sha256.New}, nil
	}
	return nil, gosmtp.ErrAuthUnknownMechanism
}

func (s *refSession) Mail(from string, _ *gosmtp.MailOptions) error {
	if len(s.mechanisms) > 0 && !s.loggedIn {
		return gosmtp.ErrAuthRequired
	}
	s.from = from
	return nil
}

func (s *refSession) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	s.to = to
	return nil
}

func (s *refSession) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.record(&s.received, fmt.Sprintf("<%s> to <%s>: %s", s.from, s.to, data))
	return nil
}

func (s *refSession) Reset()        { s.from, s.to = "", "" }
func (s *refSession) Logout() error { return nil }

// login is the server's side of LOGIN.
type login struct {
	user   string
	asked  int
	finish func(identity, user, password string) error
}

func (l *login) Next(response []byte) ([]byte, bool, error) {
	l.asked++
	switch l.asked {
	case 1:
		return []byte("Username:"), false, nil
	case 2:
		l.user = string(response)
		return []byte("Password:"), false, nil
	}
	return nil, true, l.finish("", l.user, string(response))
}

type oauth struct{ finish func(bool) error }

func (o *oauth) Next(response []byte) ([]byte, bool, error) {
	return nil, true, o.finish(string(response) == "user="+user+"\x01auth=Bearer "+token+"\x01\x01")
}

type cram struct {
	finish func(bool) error
	asked  bool
}

func (c *cram) Next(response []byte) ([]byte, bool, error) {
	const challenge = "<1896.697170952@server.example>"
	if !c.asked {
		c.asked = true
		return []byte(challenge), false, nil
	}
	mac := hmac.New(md5.New, []byte(password))
	mac.Write([]byte(challenge))
	return nil, true, c.finish(string(response) == fmt.Sprintf("%s %x", user, mac.Sum(nil)))
}

// scram is the server's side of RFC 5802, written from the RFC.
type scram struct {
	finish func(bool) error
	hash   func() hash.Hash
	step   int
	first  string // client-first-message-bare
	server string // server-first-message
	ok     bool
}

func (s *scram) Next(response []byte) ([]byte, bool, error) {
	s.step++
	switch {
	case s.step == 1 && response == nil:
		s.step = 0
		return []byte{}, false, nil
	case s.step == 1:
		s.first = strings.TrimPrefix(string(response), "n,,")
		_, nonce, _ := strings.Cut(s.first, ",r=")
		s.server = "r=" + nonce + "server,s=" + base64.StdEncoding.EncodeToString([]byte("salt")) + ",i=4096"
		return []byte(s.server), false, nil
	case s.step == 2:
		return s.prove(string(response))
	}
	return nil, true, s.finish(s.ok)
}

func (s *scram) prove(final string) ([]byte, bool, error) {
	without, proof, _ := strings.Cut(final, ",p=")
	salted, err := pbkdf2.Key(s.hash, password, []byte("salt"), 4096, s.hash().Size())
	if err != nil {
		return nil, false, err
	}
	mac := func(key []byte, text string) []byte {
		m := hmac.New(s.hash, key)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	message := s.first + "," + s.server + "," + without
	client := mac(salted, "Client Key")
	h := s.hash()
	h.Write(client)
	signature := mac(h.Sum(nil), message)
	for i := range signature {
		signature[i] ^= client[i]
	}
	given, err := base64.StdEncoding.DecodeString(proof)
	s.ok = err == nil && hmac.Equal(given, signature) && strings.HasPrefix(s.first, "n="+user+",")
	if !s.ok {
		return nil, true, s.finish(false)
	}
	return []byte("v=" + base64.StdEncoding.EncodeToString(mac(mac(salted, "Server Key"), message))), false, nil
}

func TestTheStrongestMechanismIsUsedToLogIn(t *testing.T) {
	t.Parallel()
	all := []string{"PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2", "SCRAM-SHA-1", "SCRAM-SHA-256"}
	for _, test := range []struct {
		offered []string
		oauth   bool
		want    string
	}{
		{all, false, "SCRAM-SHA-256"},
		{[]string{"LOGIN", "SCRAM-SHA-1", "CRAM-MD5"}, false, "SCRAM-SHA-1"},
		{[]string{"PLAIN", "CRAM-MD5"}, false, "CRAM-MD5"},
		{[]string{"LOGIN", "PLAIN"}, false, "PLAIN"},
		{[]string{"LOGIN"}, false, "LOGIN"},
		{all, true, "XOAUTH2"},
		{[]string{"XOAUTH2"}, false, ""},
		{[]string{"PLAIN"}, true, ""},
		{[]string{"GSSAPI"}, false, ""},
	} {
		for _, implicit := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s,implicit=%v", strings.Join(test.offered, " "), implicit), func(t *testing.T) {
				t.Parallel()
				g := startRefServer(t, implicit, test.offered...)
				o := smtp.Options{Addr: g.addr, ImplicitTLS: implicit, RootCAs: g.roots, Username: user,
					Password: password}
				if test.oauth {
					o.Password, o.Mechanism = token, "XOAUTH2"
				}
				c, err := smtp.Dial(t.Context(), o)
				if test.want == "" {
					if err == nil || smtp.Classify(err) != smtp.Refused {
						t.Fatalf("got %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if err := send(t, c, "a@example.org"); err != nil {
					t.Fatal(err)
				}
				if len(g.used) != 1 || g.used[0] != test.want || len(g.received) != 1 {
					t.Errorf("logged in with %v, received %v", g.used, g.received)
				}
			})
		}
	}
}

func TestAWrongPasswordIsARefusalThatDoesNotShowIt(t *testing.T) {
	t.Parallel()
	for _, mechanism := range []string{"PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2", "SCRAM-SHA-1", "SCRAM-SHA-256"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			g := startRefServer(t, false, mechanism)
			_, err := smtp.Dial(t.Context(), smtp.Options{Addr: g.addr, RootCAs: g.roots, Username: user,
				Password: "wrong", Mechanism: mechanism})
			var refusal *smtp.Refusal
			if !errors.As(err, &refusal) || refusal.Code != 535 || smtp.Classify(err) != smtp.Refused {
				t.Fatalf("got %v", err)
			}
			if text := err.Error(); strings.Contains(text, "wrong") || strings.Contains(text, "example.com") {
				t.Errorf("the error says too much: %s", text)
			}
		})
	}
}

func TestAnotherServerUnderstandsWhatIsSaid(t *testing.T) {
	t.Parallel()
	g := startRefServer(t, false)
	c, err := smtp.Dial(t.Context(), smtp.Options{Addr: g.addr, TLS: smtp.Required, RootCAs: g.roots,
		NextBehindDot: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !c.Secure() {
		t.Error("not encrypted")
	}
	messages := []*smtp.Message{
		{From: "news@example.com", To: "jörg@xn--bcher-kva.example", Data: []byte("Subject: ü\r\n\r\n.dot\r\n"),
			UTF8: true, EightBit: true},
		{From: "", To: "b@example.org", Data: []byte("Subject: b\r\n\r\nb\r\n")},
		{From: "news@example.com", To: `"a b"@example.org`, Data: []byte("Subject: c\r\n\r\nc\r\n")},
	}
	for i, m := range messages {
		if err := c.Begin(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		var next *smtp.Message
		if i+1 < len(messages) {
			next = messages[i+1]
		}
		if _, err := c.Finish(next); err != nil {
			t.Fatal(err)
		}
	}
	// The server strips the quotes of the last address: it has understood them.
	want := []string{
		"<news@example.com> to <jörg@xn--bcher-kva.example>: Subject: ü\r\n\r\n.dot\r\n",
		"<> to <b@example.org>: Subject: b\r\n\r\nb\r\n",
		"<news@example.com> to <a b@example.org>: Subject: c\r\n\r\nc\r\n",
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if strings.Join(g.received, "|") != strings.Join(want, "|") {
		t.Errorf("received %q", g.received)
	}
}
