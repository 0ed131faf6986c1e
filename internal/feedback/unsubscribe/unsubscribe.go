// Package unsubscribe is the public listener of a worker: the pages by which recipients leave, and
// the one-click requests of mail programs (RFC 8058).
//
// A token in the path names the recipient. Only a POST acts. GET and HEAD show a page and change
// nothing, because mail scanners open every link. A POST is answered when its request is committed.
//
// No answer tells whether somebody is a recipient, or whether a token is genuine: status, body,
// and the time that an answer takes are the same. The token and the recipient's address are in no
// log. What a stranger can cost is bounded: see connections.go for connections, limits.go for
// requests, and group.go for the database.
package unsubscribe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/feedback"
	"directmailer/internal/feedback/tokenkey"
	"directmailer/internal/neterr"
)

// Options are the settings of a Server.
type Options struct {
	// Address is where the server listens.
	Address string
	// Settings has the keys that tokens are verified with, and the public URL, whose path comes
	// before the pages.
	Settings feedback.Settings
	// Proxies are the networks of proxies whose X-Forwarded-For is believed.
	Proxies []netip.Prefix
	// Certificate and Key are files in PEM. Empty: the server speaks HTTP, behind a proxy.
	Certificate, Key string
	// Look is what the pages look like and say. nil: as they are built in.
	Look *Look
}

// Server serves the public pages. It is safe for concurrent use.
type Server struct {
	handler  *handler
	http     *http.Server
	listener net.Listener
	group    *group
	ended    chan struct{}
}

// The limits of one connection and one request.
const (
	headerTime  = 5 * time.Second
	requestTime = 10 * time.Second
	answerTime  = 20 * time.Second // more than a request waits for its commit
	idleTime    = 30 * time.Second
	maxHeader   = 8 << 10
	maxBody     = 4 << 10
)

// Listen starts a server. The error is one line that names the variable to change. Requests are
// written to the database of pool. keys tells whether a key is missing.
func Listen(o Options, keys *tokenkey.Watch, pool *pgxpool.Pool, log *slog.Logger) (*Server, error) {
	var keyPair *keyPair
	if o.Certificate != "" {
		var err error
		if keyPair, err = loadKeyPair(o.Certificate, o.Key, log); err != nil {
			return nil, err
		}
	}
	listener, err := net.Listen("tcp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("serve the unsubscribe pages at %s (DM_PUBLIC_ADDRESS): %s", o.Address, neterr.Reason(err))
	}
	limiter := limitConnections(feedback.KeepAccepting(listener, "the public listener", log), o.Proxies, keyPair)
	s := &Server{listener: limiter, ended: make(chan struct{})}
	s.group = newGroup(pool, keys, log)
	s.handler = newHandler(o, s.group)
	s.http = newHTTP(limiter.endConnections(s.handler))
	if keyPair != nil {
		s.http.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: keyPair.get}
	}
	go s.serve(log)
	return s, nil
}

// newHTTP returns a server that speaks HTTP/1.1 only. In HTTP/2, a client could begin any number of
// requests on one connection and cancel them. No request goes past the limits of the handler.
func newHTTP(h http.Handler) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler: h, Protocols: &protocols, DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout: headerTime, ReadTimeout: requestTime, WriteTimeout: answerTime, IdleTimeout: idleTime,
		MaxHeaderBytes: maxHeader - 4096,           // net/http adds 4,096
		ErrorLog:       log.New(io.Discard, "", 0), // its lines can quote what strangers send
	}
}

func (s *Server) serve(log *slog.Logger) {
	defer close(s.ended)
	var err error
	if s.http.TLSConfig != nil {
		err = s.http.ServeTLS(s.listener, "", "")
	} else {
		err = s.http.Serve(s.listener)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		log.Error("the public listener ended", "error", err)
	}
}

// Addr returns where the server listens.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Close stops accepting requests, and answers those that were accepted until ctx ends.
func (s *Server) Close(ctx context.Context) {
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	<-s.ended
	s.group.close()
}

// basePath returns the path of the public URL: the proxy may pass it on, or leave it out.
func basePath(publicURL string) string {
	u, err := url.Parse(publicURL)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(u.Path, "/")
}
