package delivery

import (
	"io"
	"net"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
)

// inbox is the SMTP server of github.com/emersion/go-smtp. It keeps the messages that it accepts.
type inbox struct {
	addr string

	mu  sync.Mutex
	got []mail
}

type mail struct{ from, to, data string }

func startInbox(t *testing.T) *inbox {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &inbox{addr: listener.Addr().String()}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &inboxSession{inbox: b},
			nil
	}))
	server.Domain = "localhost"
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return b
}

func (b *inbox) messages() []mail {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]mail(nil), b.got...)
}

func (b *inbox) copies() map[string]int {
	out := map[string]int{}
	for _, m := range b.messages() {
		out[m.to]++
	}
	return out
}

type inboxSession struct {
	inbox *inbox
	mail  mail
}

func (s *inboxSession) Mail(from string, _ *smtp.MailOptions) error { s.mail.from = from; return nil }

func (s *inboxSession) Rcpt(to string, _ *smtp.RcptOptions) error { s.mail.to = to; return nil }

func (s *inboxSession) Reset() { s.mail = mail{} }

func (s *inboxSession) Logout() error { return nil }

func (s *inboxSession) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.mail.data = string(data)
	s.inbox.mu.Lock()
	defer s.inbox.mu.Unlock()
	s.inbox.got = append(s.inbox.got, s.mail)
	return nil
}
