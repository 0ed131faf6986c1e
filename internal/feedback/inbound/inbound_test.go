package inbound

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"directmailer/internal/feedback"
	"directmailer/internal/feedback/token"
)

var (
	ours, _   = token.ParseKeys(strings.Repeat("o", 40))
	theirs, _ = token.ParseKeys(strings.Repeat("z", 40))
	someone   = token.Recipient{Mailing: 7, Number: 1234}
)

func bounceAddress(k token.Keys, r token.Recipient) string {
	return "b-" + k.ForAddress(token.Bounce, r) + "@bounce.example.com"
}

// rig is a server and what it was given.
type rig struct {
	*testing.T
	*Server
	log logBuffer

	mu       sync.Mutex
	messages []Message
	answer   func() error // of the handler
	later    int64        // mailings above this one may have a key that is missing
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t *testing.T, url string) *rig {
	t.Helper()
	return startWith(t, url, defaultLimits)
}

func (r *rig) may(claimed token.Recipient) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return claimed.Mailing > r.later
}

func startWith(t *testing.T, url string, most limits) *rig {
	t.Helper()
	c, err := Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t, later: math.MaxInt64}
	log := slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.Server, err = listen(c, &backend{keys: ours, may: r.may, log: log, handle: func(_ context.Context, m Message) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.answer != nil {
			if err := r.answer(); err != nil {
				return err
			}
		}
		r.messages = append(r.messages, m)
		return nil
	}}, most)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Server.Close(context.Background())
		for _, piece := range []string{"@", ours.ForAddress(token.Bounce, someone)} {
			if text := r.log.String(); strings.Contains(text, piece) {
				t.Errorf("%q is in the log: %s", piece, text)
			}
		}
	})
	return r
}

func (r *rig) received() []Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Message(nil), r.messages...)
}

// peer is a client that says what it wants.
type peer struct {
	*testing.T
	net.Conn
	in *bufio.Reader
}

func (r *rig) dial() *peer {
	r.Helper()
	a := r.listener.Addr()
	conn, err := net.Dial(a.Network(), a.String())
	if err != nil {
		r.Fatal(err)
	}
	r.T.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(5 * time.Minute)) // some sessions have ten thousand commands
	return &peer{r.T, conn, bufio.NewReader(conn)}
}

// say sends a line and returns the last line of the answer.
func (p *peer) say(line string) string {
	p.Helper()
	if line != "" {
		if _, err := io.WriteString(p.Conn, line+"\r\n"); err != nil {
			return "gone: " + err.Error()
		}
	}
	return p.hear()
}

func (p *peer) hear() string {
	for {
		answer, err := p.in.ReadString('\n')
		if err != nil {
			return "gone: " + err.Error()
		}
		if len(answer) < 4 || answer[3] != '-' {
			return strings.TrimSpace(answer)
		}
	}
}

// want says a line, and fails the test unless the answer begins with code.
func (p *peer) want(line, code string) {
	p.Helper()
	if got := p.say(line); !strings.HasPrefix(got, code) {
		p.Fatalf("%q: %q, want %s", line, got, code)
	}
}

func (p *peer) hello(word string) {
	p.Helper()
	p.want("", "220")
	p.want(word+" peer.example", "250")
}

// session begins a session.
func (r *rig) session() *peer {
	r.Helper()
	p := r.dial()
	p.hello("EHLO")
	return p
}

// toSomeone begins a message to someone's bounce address.
func (p *peer) toSomeone() {
	p.Helper()
	p.want("MAIL FROM:<>", "250")
	p.want("RCPT TO:<"+bounceAddress(ours, someone)+">", "250")
}

func TestOnlyRecipientsWithATokenOfOursAreAccepted(t *testing.T) {
	t.Parallel()
	r := start(t, "smtp://127.0.0.1:0")
	p := r.session()
	p.want("MAIL FROM:<>", "250")
	mine := ours.ForAddress(token.Bounce, someone)
	for _, stranger := range []string{
		"postmaster@bounce.example.com", "b-@bounce.example.com", bounceAddress(theirs, someone),
		"b-" + mine[:len(mine)-1] + "@bounce.example.com", "b-" + mine + "a@bounce.example.com",
		"b-" + ours.ForAddress(token.Test, someone) + "@bounce.example.com", "ada@example.org",
		mine[:20] + "-" + mine[20:] + "@bounce.example.com",
	} {
		p.want("RCPT TO:<"+stranger+">", "550 5.1.1")
	}
	p.want("DATA", "502") // before the data
	p.want("RCPT TO:<"+bounceAddress(ours, someone)+">", "250")
	p.want("RCPT TO:<"+strings.ToUpper(bounceAddress(ours, someone))+">", "250")
	p.want("RCPT TO:<bounces+"+mine+"@example.com>", "250")
	p.want("RCPT TO:<u-"+ours.ForAddress(token.Unsubscribe, someone)+"@bounce.example.com>", "250")
	p.want("DATA", "354")
	p.want("Subject: x\r\n\r\ny\r\n.", "250")
	p.want("QUIT", "221")
	got := r.received()
	if len(got) != 1 || len(got[0].Named) != 4 || string(got[0].Data) != "Subject: x\r\n\r\ny\r\n" || got[0].Size != 17 {
		t.Fatalf("received %+v", got)
	}
	for i, n := range got[0].Named {
		want := feedback.Named{Recipient: someone, Kind: token.Bounce}
		if i == 3 {
			want.Kind = token.Unsubscribe
		}
		if n != want {
			t.Errorf("recipient %d names %+v", i, n)
		}
	}
}

// The key of a mailing may be missing here, or the mailing may be so new that nobody knows. The
// peer keeps such a message. It costs no more than what a stranger sends.
func TestATokenThatMayBeGenuineIsToldToComeAgain(t *testing.T) {
	t.Parallel()
	r := start(t, "smtp://127.0.0.1:0")
	r.later = someone.Mailing - 1
	before := token.Recipient{Mailing: someone.Mailing - 1, Number: 1}
	p := r.session()
	p.want("MAIL FROM:<>", "250")
	p.want("RCPT TO:<"+bounceAddress(theirs, someone)+">", "451 4.3.0")
	p.want("RCPT TO:<U-"+strings.ToUpper(theirs.ForAddress(token.Unsubscribe, someone))+"@bounce.example.com>", "451")
	p.want("RCPT TO:<"+bounceAddress(theirs, before)+">", "550")
	p.want("RCPT TO:<b-"+theirs.ForAddress(token.Test, someone)+"@bounce.example.com>", "550")
	p.want("RCPT TO:<b-"+strings.Repeat("a", 26)+"@bounce.example.com>", "550")
	p.want("DATA", "502") // nothing of it is taken over
	p.want("RCPT TO:<"+bounceAddress(ours, someone)+">", "250")
	for range maxRefused - 5 {
		p.want("RCPT TO:<"+bounceAddress(theirs, someone)+">", "451")
	}
	p.want("RCPT TO:<"+bounceAddress(theirs, someone)+">", "421")
}

func TestAnySenderIsAccepted(t *testing.T) {
	t.Parallel()
	r := start(t, "smtp://127.0.0.1:0")
	p := r.session()
	for _, from := range []string{"<>", "<someone@example.org>", "<MAILER-DAEMON@mx.example.org> SIZE=1000 BODY=8BITMIME",
		"<jürgen@example.org> SMTPUTF8"} {
		p.want("MAIL FROM:"+from, "250")
		p.want("RSET", "250")
	}
	p.want("MAIL FROM:<> SIZE=100000000", "552")
}

func TestAMessageIsAcceptedOnlyWhenItIsTakenOver(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"smtp", "lmtp"} {
		r := start(t, scheme+"://127.0.0.1:0")
		r.answer = func() error { return errors.New("the database is away") }
		p := r.dial()
		p.hello(map[string]string{"smtp": "EHLO", "lmtp": "LHLO"}[scheme])
		send := func(code string) {
			t.Helper()
			p.toSomeone()
			p.want("DATA", "354")
			p.want("Subject: x\r\n\r\ny\r\n.", code)
		}
		send("451 4.3.0")
		r.mu.Lock()
		r.answer = nil
		r.mu.Unlock()
		send("250")
		if got := r.received(); len(got) != 1 || len(got[0].Named) != 1 { // not also for those of the message before
			t.Errorf("%s: taken over was %+v", scheme, got)
		}
	}
}

// LMTP has an answer for each recipient (RFC 2033, 4.2).
func TestAnLMTPServerAnswersForEachRecipient(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "dm") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "lmtp")
	r := start(t, "lmtp://"+socket)
	p := r.dial()
	p.hello("LHLO")
	p.want("MAIL FROM:<>", "250")
	p.want("RCPT TO:<"+bounceAddress(ours, someone)+">", "250")
	p.want("RCPT TO:<nobody@example.com>", "550")
	p.want("RCPT TO:<"+bounceAddress(ours, token.Recipient{Mailing: 7, Number: 5})+">", "250")
	p.want("DATA", "354")
	p.want("Subject: x\r\n\r\ny\r\n.", "250")
	p.want("", "250")
	p.want("NOOP", "250")
	if got := r.received(); len(got) != 1 || len(got[0].Named) != 2 {
		t.Errorf("received %+v", got)
	}
}

func TestTheSocketOfADeadWorkerIsReplacedAndThatOfALivingOneIsNot(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "dm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "lmtp")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	r := start(t, "lmtp://"+socket)
	c, _ := Parse("lmtp://" + socket)
	if _, err := Listen(c, ours, nil, nil, slog.New(slog.DiscardHandler)); err == nil ||
		!strings.Contains(err.Error(), "address already in use") {
		t.Errorf("a second listener: %v", err)
	}
	r.dial().hello("LHLO")
	file := filepath.Join(dir, "file") // no socket: somebody has written the wrong path
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _ = Parse("lmtp://" + file)
	if _, err := Listen(c, ours, nil, nil, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("it listens at a file")
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the file: %v", err)
	}
}

func TestAListenerThatCannotBindSaysWhereAndWhy(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c, _ := Parse("smtp://" + taken.Addr().String())
	_, err = Listen(c, ours, nil, nil, slog.New(slog.DiscardHandler))
	if want := "receive mail at " + taken.Addr().String() + " (DM_INBOUND_ADDRESS): address already in use"; err == nil ||
		err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	c.Cert, c.Key = "/nowhere/cert.pem", "/nowhere/key.pem"
	if _, err = Listen(c, ours, nil, nil, slog.New(slog.DiscardHandler)); err == nil ||
		!strings.Contains(err.Error(), "read the certificate: ") {
		t.Errorf("%v", err)
	}
}

func TestASessionCanBeEncrypted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"bounce.example.com"},
		NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert": {Type: "CERTIFICATE", Bytes: cert}, "key": {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := start(t, fmt.Sprintf("smtp://127.0.0.1:0?cert=%s/cert&key=%s/key&hello=mx.example.com", dir, dir))
	p := r.dial()
	if got := p.say(""); got != "220 mx.example.com ESMTP Service Ready" {
		t.Errorf("the greeting is %q", got)
	}
	p.want("EHLO peer.example", "250")
	p.want("STARTTLS", "220")
	secure := tls.Client(p.Conn, &tls.Config{InsecureSkipVerify: true})
	p.Conn, p.in = secure, bufio.NewReader(secure)
	p.want("EHLO peer.example", "250")
	p.toSomeone()
	p.want("DATA", "354")
	p.want("x\r\n.", "250")
	if len(r.received()) != 1 {
		t.Error("the message is not there")
	}
}

func TestAListenerThatStopsAnswersTheMessageThatItHas(t *testing.T) {
	t.Parallel()
	r := start(t, "smtp://127.0.0.1:0")
	has, goOn := make(chan struct{}), make(chan struct{})
	r.answer = func() error { close(has); <-goOn; return nil }
	idle, p := r.dial(), r.dial()
	idle.hello("EHLO")
	p.hello("EHLO")
	p.toSomeone()
	p.want("DATA", "354")
	if _, err := io.WriteString(p.Conn, "x\r\n.\r\n"); err != nil {
		t.Fatal(err)
	}
	<-has
	closed := make(chan struct{})
	go func() { defer close(closed); r.Server.Close(context.Background()) }()
	if got := idle.hear(); !strings.HasPrefix(got, "gone") && !strings.HasPrefix(got, "421") {
		t.Errorf("an idle session hears %q", got)
	}
	close(goOn)
	if got := p.hear(); !strings.HasPrefix(got, "250") {
		t.Errorf("the message that was taken over is answered with %q", got)
	}
	<-closed
	if _, err := net.Dial("tcp", r.Addr()); err == nil {
		t.Error("it still listens")
	}
}

func TestTheURLOfAListenerIsChecked(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Config{
		"smtp://:2525":                  {Network: "tcp", Address: ":2525", Hello: "localhost"},
		"smtp://127.0.0.1:25/?hello=mx": {Network: "tcp", Address: "127.0.0.1:25", Hello: "mx"},
		"lmtp://[::1]:24":               {LMTP: true, Network: "tcp", Address: "[::1]:24", Hello: "localhost"},
		"lmtp:///run/dm.sock":           {LMTP: true, Network: "unix", Address: "/run/dm.sock", Hello: "localhost"},
		"smtp://:25?cert=/c&key=/k":     {Network: "tcp", Address: ":25", Hello: "localhost", Cert: "/c", Key: "/k"},
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"":                          "does not begin with smtp:// or lmtp://",
		":2525":                     "is not a URL",
		"127.0.0.1:2525":            "is not a URL",
		"http://:80":                "does not begin with smtp:// or lmtp://",
		"smtp://":                   "has no port",
		"smtp://mx.example.com":     "has no port",
		"smtp:///run/dm.sock":       "has a path",
		"lmtp://host:24/run/x":      "has a path",
		"lmtp:///":                  "has no port",
		"smtp://me:secret@:25":      "has a user",
		"smtp://:25?cert=/c":        "only one of cert and key",
		"smtp://:25?tls=1":          `unknown parameter "tls"`,
		"smtp://:25?hello=":         "with a value",
		"smtp://:25?hello=a&hello=": "must be there once",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
