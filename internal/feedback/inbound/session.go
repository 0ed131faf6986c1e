package inbound

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"directmailer/internal/database"
	"directmailer/internal/feedback"
	"directmailer/internal/feedback/token"
)

// backend makes sessions.
type backend struct {
	ctx    context.Context
	keys   token.Keys
	may    MayBeGenuine
	handle Handler
	log    *slog.Logger
	work   chan struct{} // has an entry for each message that is being taken over
}

// NewSession begins a session.
func (b *backend) NewSession(c *smtp.Conn) (smtp.Session, error) {
	conn := c.Conn()
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	return &session{backend: b, conn: conn.(*boundedConn)}, nil
}

// session is a session of a peer. A message in chunks (BDAT) is read beside the commands, so mu
// guards the recipients.
type session struct {
	*backend
	conn     *boundedConn
	refused  int
	messages int

	mu    sync.Mutex
	named []feedback.Named
}

// Reset forgets the recipients.
func (s *session) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.named = nil
}

// Logout ends the session.
func (s *session) Logout() error { return nil }

// Mail accepts every sender: bounces have none, and mail that unsubscribes has any.
func (s *session) Mail(string, *smtp.MailOptions) error {
	if s.messages++; s.messages > maxMessages || s.conn.spent() {
		return s.enough()
	}
	s.Reset()
	return nil
}

// Rcpt accepts recipients with a token of ours.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if s.refused >= maxRefused {
		return s.enough()
	}
	named, ok := feedback.ReadAddress(s.keys, to)
	if !ok {
		s.refused++
		if claimed, ok := feedback.ClaimOfAddress(to); ok && s.may(claimed.Recipient) {
			return errNoKey
		}
		return errNotOurs
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.named = append(s.named, named)
	return nil
}

// enough ends the session. The peer may begin another one.
func (s *session) enough() error {
	s.conn.endAfterAnswer()
	return errEnough
}

// Data takes a message over.
func (s *session) Data(r io.Reader) error {
	s.mu.Lock()
	m := Message{Named: s.named}
	s.mu.Unlock()
	var err error
	if m.Data, m.Size, err = readBeginning(r); err != nil {
		if refused, ok := errors.AsType[*smtp.SMTPError](err); ok {
			s.conn.endAfterAnswer() // it is too large: the rest is not read
			return refused
		}
		return errBusy // it is not complete
	}
	ctx, cancel := context.WithTimeout(s.ctx, handleTimeout)
	defer cancel()
	done, err := s.begin(ctx)
	if err != nil {
		return errBusy
	}
	defer done()
	if err := s.handle(ctx, m); err != nil {
		if failed(err) {
			s.log.Warn("a message that came back could not be recorded: its sender keeps it and comes again",
				"error", database.Redact(err))
		}
		return errBusy
	}
	return nil
}

// begin waits until the message may be taken over. Taking over is given a part of the time only: a
// flood of messages leaves the rest of the processor to the messages that go out.
func (b *backend) begin(ctx context.Context) (done func(), err error) {
	select {
	case b.work <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	began := time.Now()
	return func() {
		time.AfterFunc(min(restFactor*time.Since(began), maxRest), func() { <-b.work })
	}, nil
}

// readBeginning reads all of r. It returns the first MaxKept octets, and how many there are.
func readBeginning(r io.Reader) (data []byte, size int64, err error) {
	data, err = io.ReadAll(io.LimitReader(r, MaxKept))
	if err != nil {
		return nil, 0, err
	}
	rest, err := io.Copy(io.Discard, r)
	return data, int64(len(data)) + rest, err
}
