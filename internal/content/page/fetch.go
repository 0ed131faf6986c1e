package page

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"syscall"
	"time"

	"directmailer/internal/content/render"
)

const (
	perWorker    = 64 // requests at a time, of all mailings together
	perMailing   = 16 // requests at a time, of all batches of a mailing together
	perBatch     = 16 // pages of a batch that are fetched, or wait for those before them
	maxRedirects = 5

	connectTimeout = 10 * time.Second // and again for TLS
	headerTimeout  = 30 * time.Second // from the request to the answer's header
	wholeTimeout   = 60 * time.Second // one page, with all its redirects

	// smallBody is the length limit of a page that is fetched before its turn. A longer page is
	// fetched again when its turn comes. So the memory of a batch is that of its window of small
	// pages and of one long one.
	smallBody = 512 << 10

	maxHeader    = 64 << 10
	maxDrained   = 64 << 10 // of a body that nobody needs, so that its connection can be used again
	longestPause = time.Hour
)

// pauses are the times between the attempts for one page within Fetch. They keep one answer of a
// busy server from ending a batch.
var pauses = []time.Duration{250 * time.Millisecond, time.Second}

// Unavailable says that the server fails, not one page: 5xx, 408, 425, 429, or no answer.
type Unavailable struct {
	Cause string
	// RetryAfter is what the server asks for, at most an hour; 0 when it does not.
	RetryAfter time.Duration

	slow bool // it took its time already: not tried again at once
}

func (u *Unavailable) Error() string { return u.Cause }

// Fetcher fetches pages over connections that it keeps. One serves all mailings of a worker. It is
// safe for concurrent use.
type Fetcher struct {
	transport *http.Transport
	dialer    net.Dialer
	guard     *guard
	slots     chan struct{}
	whole     time.Duration
	pauses    []time.Duration

	mu     sync.Mutex
	shares map[string]*share // by mailing, of those that fetch pages at the moment
}

// NewFetcher returns a Fetcher without connections. It connects to public addresses, and to the
// other addresses that are allowed.
func NewFetcher(allowed Allowed) *Fetcher {
	f := &Fetcher{
		guard:  newGuard(allowed),
		slots:  make(chan struct{}, perWorker),
		whole:  wholeTimeout,
		pauses: pauses,
		shares: map[string]*share{},
	}
	f.dialer = net.Dialer{Timeout: connectTimeout, ControlContext: f.guard.control}
	f.transport = &http.Transport{
		Proxy:                  nil, // it would see who reads what, and dial addresses that are refused here
		DialContext:            f.dial,
		TLSHandshakeTimeout:    connectTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		MaxResponseHeaderBytes: maxHeader,
		MaxIdleConns:           2 * perWorker,
		MaxIdleConnsPerHost:    perWorker,
		MaxConnsPerHost:        perWorker,
		IdleConnTimeout:        90 * time.Second,
		ForceAttemptHTTP2:      true,
	}
	return f
}

// Close closes the connections that are idle.
func (f *Fetcher) Close() { f.transport.CloseIdleConnections() }

// Fetch returns the page at u, which [Locator.Locate] returned. The error is a [*Failure],
// [*Unavailable] or ctx's.
func (f *Fetcher) Fetch(ctx context.Context, s *Locations, u *url.URL) (render.Page, error) {
	return f.fetch(ctx, make(chan struct{}, 1), s, u, MaxBody)
}

// fetch takes a slot of the mailing before it takes one of the worker: a mailing that waits for its
// own slots keeps none from the others.
func (f *Fetcher) fetch(
	ctx context.Context, mailing chan struct{}, s *Locations, u *url.URL, limit int,
) (render.Page, error) {
	for _, slots := range []chan struct{}{mailing, f.slots} {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		case <-ctx.Done():
			return render.Page{}, ctx.Err()
		}
	}
	for try := 0; ; try++ {
		page, err := f.once(ctx, s, u, limit)
		var away *Unavailable
		if !errors.As(err, &away) || away.slow || try == len(f.pauses) || away.RetryAfter > f.pauses[try] {
			return page, err
		}
		select {
		case <-time.After(f.pauses[try]):
		case <-ctx.Done():
			return page, ctx.Err()
		}
	}
}

// errLong says that a body is longer than it may be at this time, but not too long.
var errLong = errors.New("longer than a page that is fetched before its turn")

// once requests a page once and follows its redirects.
func (f *Fetcher) once(ctx context.Context, s *Locations, u *url.URL, limit int) (render.Page, error) {
	whole, cancel := context.WithTimeout(ctx, f.whole)
	defer cancel()
	for redirects := 0; ; redirects++ {
		answer, err := f.transport.RoundTrip(request(whole, u))
		var no *refused
		switch {
		case errors.As(err, &no):
			return render.Page{}, s.failure("%v", no)
		case err != nil:
			return render.Page{}, broken(ctx, u, err)
		}
		if !isRedirect(answer) {
			return f.read(ctx, s, u, answer, limit)
		}
		target, err := answer.Location()
		discard(answer)
		from, secure := u.Hostname(), u.Scheme == "https"
		u = target
		switch {
		case err != nil:
			return render.Page{}, s.failure("%s redirects, and the target is not a URL", from)
		case redirects == maxRedirects:
			return render.Page{}, s.failure("%s redirects more than %d times", from, maxRedirects)
		}
		if fault := s.check(u); fault != "" {
			return render.Page{}, s.failure("%s redirects, and the target %s", from, fault)
		}
		if secure && u.Scheme != "https" {
			return render.Page{}, s.failure("%s redirects from https to http", from)
		}
	}
}

func request(ctx context.Context, u *url.URL) *http.Request {
	r := &http.Request{
		Method: http.MethodGet, URL: u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"User-Agent": {"Direct-Mailer"}, "Accept": {"text/html, text/plain;q=0.9"}},
	}
	return r.WithContext(ctx)
}

func isRedirect(r *http.Response) bool {
	switch r.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return r.Header.Get("Location") != ""
	}
	return false
}

// failure returns a Failure about a page at these locations.
func (s *Locations) failure(format string, args ...any) error {
	field := render.FieldPageURL
	if s.template == nil {
		field = FieldColumn
	}
	return &Failure{field, fmt.Sprintf(format, args...)}
}

// read makes a page of an answer that is no redirect.
func (f *Fetcher) read(
	ctx context.Context, s *Locations, u *url.URL, answer *http.Response, limit int,
) (render.Page, error) {
	status := answer.StatusCode
	switch {
	case status >= 500 || status == http.StatusRequestTimeout ||
		status == http.StatusTooEarly || status == http.StatusTooManyRequests:
		discard(answer)
		after := retryAfter(answer.Header.Get("Retry-After"), time.Now())
		return render.Page{}, &Unavailable{
			Cause:      fmt.Sprintf("%s answered %d", u.Hostname(), status),
			RetryAfter: after,
		}
	case status != http.StatusOK:
		discard(answer)
		return render.Page{}, s.failure("%s answered %d", u.Hostname(), status)
	}
	kind, fault := kindOf(answer.Header.Get("Content-Type"))
	switch {
	case fault != "":
	case answer.Header.Get("Content-Encoding") != "": // gzip, which was asked for, is gone by now
		fault = "the page is compressed in a way that was not asked for"
	case answer.ContentLength > MaxBody:
		fault = tooLong
	}
	if fault != "" {
		discard(answer)
		return render.Page{}, s.failure("%s", fault)
	}
	defer answer.Body.Close()
	body, err := readAll(answer, limit)
	switch {
	case err != nil:
		return render.Page{}, broken(ctx, u, err)
	case len(body) > limit && limit < MaxBody:
		return render.Page{}, errLong
	case len(body) > limit:
		return render.Page{}, s.failure("%s", tooLong)
	}
	page, fault := decode(kind, body)
	if fault != "" {
		return render.Page{}, s.failure("%s", fault)
	}
	return page, nil
}

// readAll reads a body, and no more than one octet beyond the limit.
func readAll(answer *http.Response, limit int) ([]byte, error) {
	room := 32 << 10 // when the server has not said
	if answer.ContentLength >= 0 {
		room = int(min(answer.ContentLength, int64(limit))) + 1
	}
	body := make([]byte, 0, room)
	for {
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
		n, err := answer.Body.Read(body[len(body):min(cap(body), limit+1)])
		body = body[:len(body)+n]
		if err == io.EOF || len(body) > limit {
			return body, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// discard reads what is left of a short body, so that the connection can be used again, and closes
// it.
func discard(answer *http.Response) {
	_, _ = io.CopyN(io.Discard, answer.Body, maxDrained)
	_ = answer.Body.Close()
}

// retryAfter reads the header of that name (RFC 9110, 10.2.3): seconds, or a date.
func retryAfter(text string, now time.Time) time.Duration {
	if text == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(text, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, uint64(longestPause/time.Second))) * time.Second
	}
	date, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(date.Sub(now), 0), longestPause)
}

// broken describes a failed request in our own words. Go's errors quote the URL and the server.
func broken(ctx context.Context, u *url.URL, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	away := &Unavailable{}
	var timeout net.Error
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		away.Cause = "no host is named so"
	case errors.As(err, &dns):
		away.Cause = "its name cannot be looked up"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		away.Cause, away.slow = "it does not answer in time", true
	case errors.As(err, &certificate):
		away.Cause = "its certificate is not to be trusted"
	case errors.Is(err, syscall.ECONNREFUSED):
		away.Cause = "it refuses connections"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, errNotPublic):
		// errNotPublic: another address of the host is public, and did not answer.
		away.Cause = "it cannot be reached"
	default:
		away.Cause = "the connection breaks, or it does not speak HTTP"
	}
	away.Cause = u.Hostname() + ": " + away.Cause
	return away
}
