// Package inbound is a worker's listener for mail that comes back: bounces to bounce addresses, and
// requests to unsubscribe addresses. It speaks SMTP (RFC 5321) or LMTP (RFC 2033), and STARTTLS
// (RFC 3207).
//
// It accepts only recipients with a token of ours, and tells that from the token alone: a stranger
// costs no question to the database. A token that cannot be verified may be genuine while a key is
// missing here. Its sender is told to come again (451).
//
// It answers 250 to a message only when all that follows from it is committed, and 451 while that
// is not possible. It never sends mail, so nothing that it is sent makes backscatter.
//
// Everything that a peer can ask for is limited: connections, time, octets, messages, recipients,
// and how much of a processor the reading of reports may take (limits.go).
package inbound

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/emersion/go-smtp"

	"directmailer/internal/feedback"
	"directmailer/internal/feedback/token"
	"directmailer/internal/neterr"
)

// Message is a message that was received for recipients of ours.
type Message struct {
	Named []feedback.Named // whom its recipients name; at least one
	Data  []byte           // its beginning, at most MaxKept octets
	Size  int64            // of the whole message
}

// Handler takes over a message. When it returns nil, everything that follows from the message is
// durable. After an error the peer keeps the message and comes again.
type Handler func(ctx context.Context, m Message) error

// MayBeGenuine reports whether a key that is missing here may have signed the token of a recipient,
// which no key of ours has signed. It must ask no database.
type MayBeGenuine func(claimed token.Recipient) bool

// Server is a listener that serves. It is safe for concurrent use.
type Server struct {
	smtp     *smtp.Server
	listener *boundedListener
	served   chan struct{}
	cancel   context.CancelFunc
}

// Listen begins to listen, and serves until Close. Its error names the place, and the reason.
func Listen(c Config, keys token.Keys, may MayBeGenuine, handle Handler, log *slog.Logger) (*Server, error) {
	return listen(c, &backend{keys: keys, may: may, handle: handle, log: log}, defaultLimits)
}

func listen(c Config, b *backend, most limits) (*Server, error) {
	secure, err := c.tlsConfig()
	if err != nil {
		return nil, fmt.Errorf("receive mail at %s (DM_INBOUND_ADDRESS): %w", c.Address, err)
	}
	if c.Network == "unix" {
		removeDeadSocket(c.Address)
	}
	l, err := net.Listen(c.Network, c.Address)
	if err != nil {
		return nil, fmt.Errorf("receive mail at %s (DM_INBOUND_ADDRESS): %s", c.Address, neterr.Reason(err))
	}
	l = feedback.KeepAccepting(l, "the listener for mail that comes back", b.log)
	ctx, cancel := context.WithCancel(context.Background())
	b.ctx, b.work = ctx, make(chan struct{}, maxWork)
	s := &Server{
		smtp: smtp.NewServer(b), listener: newBoundedListener(l, most), served: make(chan struct{}), cancel: cancel,
	}
	s.smtp.LMTP, s.smtp.Domain, s.smtp.TLSConfig = c.LMTP, c.Hello, secure
	s.smtp.MaxRecipients, s.smtp.MaxMessageBytes, s.smtp.MaxLineLength = maxRecipients, most.message, maxLine
	s.smtp.ReadTimeout, s.smtp.WriteTimeout = commandTimeout, commandTimeout
	s.smtp.EnableSMTPUTF8, s.smtp.EnableDSN = true, true
	s.smtp.ErrorLog = errorLog{b.log}
	go func() {
		defer close(s.served)
		if err := s.smtp.Serve(s.listener); err != nil && ctx.Err() == nil {
			b.log.Error("receiving mail ended", "error", neterr.Reason(err))
		}
	}()
	return s, nil
}

// Addr returns where the server listens.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Close stops listening. Messages that are being taken over are finished, if ctx allows it.
func (s *Server) Close(ctx context.Context) {
	s.listener.drain()
	if err := s.smtp.Shutdown(ctx); err != nil {
		s.cancel()
		s.listener.closeAll()
	}
	_ = s.listener.Close() // Shutdown does not know it if Serve has not begun
	s.cancel()
	<-s.served
}

// removeDeadSocket removes the socket of a worker that has died. A socket at which somebody listens
// stays, and so does every other file.
func removeDeadSocket(path string) {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&os.ModeSocket == 0 {
		return
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = conn.Close()
		return
	}
	if neterr.Refused(err) {
		_ = os.Remove(path)
	}
}

// errorLog takes what package smtp logs. It is about broken connections, which are the peer's
// affair, except for a panic.
type errorLog struct{ log *slog.Logger }

func (e errorLog) Printf(format string, args ...any) {
	e.log.Debug("receiving mail: " + fmt.Sprintf(format, args...))
}

func (e errorLog) Println(args ...any) { e.log.Debug("receiving mail: " + fmt.Sprint(args...)) }

var errBusy = &smtp.SMTPError{
	Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "not possible now, try again later",
}

var errNoKey = &smtp.SMTPError{
	Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0},
	Message: "the recipient cannot be verified now, try again later",
}

var errNotOurs = &smtp.SMTPError{
	Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such recipient here",
}

var errEnough = &smtp.SMTPError{
	Code: 421, EnhancedCode: smtp.EnhancedCode{4, 7, 0}, Message: "enough for one session",
}

// failed reports whether err is a failure to be told to an operator, and not the end of the server.
func failed(err error) bool { return err != nil && !errors.Is(err, context.Canceled) }
