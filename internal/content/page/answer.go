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
	"syscall"
	"time"

	"directmailer/internal/content/render"
)

// Unavailable says that the server fails, not one page: 5xx, 408, 425, 429, or no answer.
type Unavailable struct {
	Cause string
	// RetryAfter is what the server asks for, at most an hour; 0 when it does not.
	RetryAfter time.Duration
	// Fails is true if the server has answered with 5xx, and did not ask to come again later: it may
	// fail at this page only.
	Fails bool

	slow bool // it took its time already: not tried again at once
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
		field = fieldColumn
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
			Fails:      status >= 500 && after == 0,
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
	case answer.ContentLength > maxBody:
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
	case len(body) > limit && limit < maxBody:
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
