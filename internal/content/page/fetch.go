package page

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"directmailer/internal/content/render"
)

const (
	perWorker    = 64 // requests at a time, of all mailings together
	perSlow      = 32 // requests at a time that are begun for slow batches, besides
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

func (u *Unavailable) Error() string { return u.Cause }

// Fetcher fetches pages over connections that it keeps. One serves all mailings of a worker. It is
// safe for concurrent use.
type Fetcher struct {
	transport *http.Transport
	dialer    net.Dialer
	guard     *guard
	slots     chan struct{} // of quick batches
	slow      chan struct{} // slots of slow batches
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
		slow:   make(chan struct{}, perSlow),
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
		MaxConnsPerHost:        2 * perWorker, // quick and slow pages may be on one host
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
	return f.fetch(ctx, make(chan struct{}, 1), nil, s, u, maxBody)
}

// fetch takes a slot of the mailing before it takes one of the worker: a mailing that waits for its
// own slots keeps none from the others.
func (f *Fetcher) fetch(
	ctx context.Context, mailingSlots chan struct{}, slow <-chan struct{}, s *Locations, u *url.URL, limit int,
) (render.Page, error) {
	select {
	case mailingSlots <- struct{}{}:
		defer func() { <-mailingSlots }()
	case <-ctx.Done():
		return render.Page{}, ctx.Err()
	}
	release, err := f.acquire(ctx, slow)
	if err != nil {
		return render.Page{}, err
	}
	defer release()
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

// acquire takes a slot of the worker for one request: that of a slow page once slow is closed. A
// request that is out at that moment gives its slot back to quick pages and goes on without one:
// each batch has at most a window of them.
func (f *Fetcher) acquire(ctx context.Context, slow <-chan struct{}) (release func(), err error) {
	isSlow := false
	select {
	case <-slow:
		isSlow = true
	default:
	}
	if !isSlow {
		select {
		case f.slots <- struct{}{}:
			release = sync.OnceFunc(func() { <-f.slots })
			return releaseWhen(slow, release), nil
		case <-slow:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	select {
	case f.slow <- struct{}{}:
		return func() { <-f.slow }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// releaseWhen calls release when slow is closed, at the latest when the function that it returns is
// called.
func releaseWhen(slow <-chan struct{}, release func()) func() {
	if slow == nil {
		return release
	}
	done := make(chan struct{})
	go func() {
		select {
		case <-slow:
			release()
		case <-done:
		}
	}()
	return func() {
		close(done)
		release()
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
