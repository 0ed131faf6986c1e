package mailbox

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"directmailer/internal/neterr"
)

// dialTimeout is how long a connection may take.
const dialTimeout = 30 * time.Second

// session is an open mailbox.
type session struct {
	client   *imapclient.Client
	validity uint32
	folder   string      // where messages go that were read; empty: not known yet
	untidy   bool        // there can be no such folder
	stop     func() bool // ends the watch over the context
}

// open connects, logs in and selects the folder.
func (r *Reader) open(ctx context.Context) (*session, error) {
	s := &session{}
	connecting := "connect to " + r.config.address
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", r.config.address)
	if err != nil {
		return nil, s.failed(connecting, err)
	}
	// From here on, the end of the context ends every wait for the server.
	s.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	client, err := r.connect(ctx, conn)
	if err != nil {
		s.stop()
		_ = conn.Close()
		return nil, s.failed(connecting, err)
	}
	s.client = client
	if err := client.WaitGreeting(); err != nil {
		s.close()
		return nil, s.failed(connecting, err)
	}
	if client.State() == imap.ConnStateNotAuthenticated {
		if err := client.Login(r.config.user, r.config.password).Wait(); err != nil {
			s.close()
			return nil, s.failed("log in", err)
		}
	}
	selected, err := client.Select(r.config.folder, nil).Wait()
	if err != nil {
		s.close()
		return nil, s.failed("open the folder", err)
	}
	s.validity = selected.UIDValidity
	return s, nil
}

// connect begins to speak IMAP on a connection, under TLS.
func (r *Reader) connect(ctx context.Context, conn net.Conn) (*imapclient.Client, error) {
	authorities, err := r.config.pool()
	if err != nil {
		return nil, err
	}
	options := &imapclient.Options{
		TLSConfig: &tls.Config{ServerName: r.config.host, RootCAs: authorities, MinVersion: tls.VersionTLS12},
	}
	switch r.config.security {
	case startTLS:
		return imapclient.NewStartTLS(conn, options)
	case wholeTLS:
		secure := tls.Client(conn, options.TLSConfig)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		conn = secure
	}
	return imapclient.New(conn, options), nil
}

// close ends the session.
func (s *session) close() {
	if s.stop() {
		_ = s.client.Logout().Wait()
	}
	_ = s.client.Close()
}

// failed returns what the server did not do. The server's own words are left out: they may quote
// the user.
func (s *session) failed(doing string, err error) error {
	reason := ""
	var refused *imap.Error
	switch {
	case errors.As(err, &refused) && refused.Code != "":
		reason = "the server answers " + string(refused.Type) + " [" + string(refused.Code) + "]"
	case errors.As(err, &refused):
		reason = "the server answers " + string(refused.Type)
	default:
		reason = neterr.Reason(err)
	}
	return &UnavailableError{doing, reason}
}

// after returns the UIDs behind last, in their order, in which messages have arrived.
func (s *session) after(last imap.UID) ([]imap.UID, error) {
	var behind imap.UIDSet
	behind.AddRange(last+1, 0) // 0 stands for the last message, also if its UID is lower
	found, err := s.client.UIDSearch(&imap.SearchCriteria{UID: []imap.UIDSet{behind}}, nil).Wait()
	if err != nil {
		return nil, s.failed("look for new messages", err)
	}
	uids := slices.DeleteFunc(found.AllUIDs(), func(uid imap.UID) bool { return uid <= last })
	slices.Sort(uids)
	return uids, nil
}

// putAway moves a message that was read to the folder for such messages. Where there can be no such
// folder, the message is marked as seen.
func (s *session) putAway(uid imap.UID) error {
	if err := s.findFolder(); err != nil {
		return err
	}
	if !s.untidy {
		_, err := s.client.Move(imap.UIDSetNum(uid), s.folder).Wait()
		if err == nil || !isRefusal(err) {
			return s.failedIf("move a message", err)
		}
	}
	return s.mark(uid, imap.FlagSeen)
}

// findFolder finds or makes the folder for messages that were read. Servers of one namespace have
// all folders below INBOX.
//
// There is none on a server that cannot move a message (RFC 6851). Package imapclient would copy
// the message, and delete it even if the copy is refused. On some servers, it would expunge what
// the owner of the mailbox has marked as deleted, too.
func (s *session) findFolder() error {
	if s.folder != "" || s.untidy {
		return nil
	}
	if !s.client.Caps().Has(imap.CapMove) {
		s.untidy = true
		return nil
	}
	for _, name := range []string{Processed, "INBOX." + Processed, "INBOX/" + Processed} {
		if err := s.client.Create(name, nil).Wait(); err != nil && !isRefusal(err) {
			return s.failed("make a folder", err)
		}
		// It may have been there.
		switch _, err := s.client.Status(name, &imap.StatusOptions{NumMessages: true}).Wait(); {
		case err == nil:
			s.folder = name
			return nil
		case !isRefusal(err):
			return s.failed("look for a folder", err)
		}
	}
	s.untidy = true
	return nil
}

// flag marks a message for a person to look at.
func (s *session) flag(uid imap.UID) error { return s.mark(uid, imap.FlagFlagged) }

func (s *session) mark(uid imap.UID, flag imap.Flag) error {
	store := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{flag}}
	err := s.client.Store(imap.UIDSetNum(uid), store, nil).Close()
	if isRefusal(err) { // a mailbox that may only be read
		return nil
	}
	return s.failedIf("mark a message", err)
}

func (s *session) failedIf(doing string, err error) error {
	if err == nil {
		return nil
	}
	return s.failed(doing, err)
}

// isRefusal reports whether the server has answered, and said no.
func isRefusal(err error) bool {
	var refused *imap.Error
	return errors.As(err, &refused)
}
