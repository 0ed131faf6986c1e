package unsubscribe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"directmailer/internal/feedback/token"
	"directmailer/internal/feedback/token/tokentest"
)

func TestTheClientIsThePeerUnlessATrustedProxySaysOtherwise(t *testing.T) {
	t.Parallel()
	l := newLimits([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")})
	for _, c := range []struct{ peer, forwarded, want string }{
		{"192.0.2.1:5", "198.51.100.7", "192.0.2.1"},
		{"192.0.2.1:5", "", "192.0.2.1"},
		{"10.0.0.1:5", "198.51.100.7", "198.51.100.7"},
		{"10.0.0.1:5", "203.0.113.9, 198.51.100.7", "198.51.100.7"}, // the first is what the client has written
		{"10.0.0.1:5", "203.0.113.9, 198.51.100.7, 10.0.0.2", "198.51.100.7"},
		{"10.0.0.1:5", "nonsense, 10.0.0.2", "10.0.0.2"},
		{"10.0.0.1:5", "203.0.113.9, nonsense, 10.0.0.2", "10.0.0.2"}, // the first is not from a proxy
		{"10.0.0.1:5", "", "10.0.0.1"},
		{"[fd00::1]:5", "2001:db8::7", "2001:db8::7"},
		{"[::ffff:10.0.0.1]:5", "[2001:db8::7]:99", "2001:db8::7"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/u/x", nil)
		r.RemoteAddr = c.peer
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if got := l.client(r).String(); got != c.want {
			t.Errorf("%s, %q: %s, want %s", c.peer, c.forwarded, got, c.want)
		}
	}
}

// stillLimits returns limits for which no time passes, so that nothing is allowed again.
func stillLimits() *limits {
	l, now := newLimits(nil), time.Now()
	l.now = func() time.Time { return now }
	return l
}

func TestAClientIsAnAddressOrAnIPv6NetworkOfAHousehold(t *testing.T) {
	t.Parallel()
	l := stillLimits()
	r := httptest.NewRequest(http.MethodGet, "/u/x", nil)
	from := func(peer string) int {
		r.RemoteAddr = peer
		return l.allow(r)
	}
	l.total.SetLimit(rate.Inf)
	for i := range clientBurst {
		from(fmt.Sprintf("[2001:db8:0:1::%x]:1", i))
		from("192.0.2.1:1")
	}
	for peer, want := range map[string]int{"[2001:db8:0:1:ffff::1]:1": 429, "192.0.2.1:2": 429, "[2001:db8:0:2::1]:1": 0,
		"192.0.2.2:1": 0, "[::ffff:192.0.2.1]:1": 429} {
		if got := from(peer); got != want {
			t.Errorf("%s: %d, want %d", peer, got, want)
		}
	}
	for i := range maxClients * 2 {
		from(fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255))
	}
	if n := l.clients.Len(); n > maxClients {
		t.Errorf("%d clients are remembered", n)
	}
}

func TestAllClientsTogetherHaveALimit(t *testing.T) {
	t.Parallel()
	l := stillLimits()
	r := httptest.NewRequest(http.MethodGet, "/u/x", nil)
	refused := 0
	for i := range 2 * totalBurst {
		r.RemoteAddr = fmt.Sprintf("10.0.%d.%d:1", i>>8, i&255)
		if l.allow(r) == http.StatusServiceUnavailable {
			refused++
		}
	}
	if refused != totalBurst {
		t.Errorf("%d of %d were refused, want %d", refused, 2*totalBurst, totalBurst)
	}
}

func TestWhoWaitsIsAllowedAgain(t *testing.T) {
	t.Parallel()
	l := stillLimits()
	r := httptest.NewRequest(http.MethodGet, "/u/x", nil)
	for range clientBurst {
		l.allow(r)
	}
	if got := l.allow(r); got != http.StatusTooManyRequests {
		t.Errorf("%d before the wait", got)
	}
	later := l.now().Add(time.Second)
	l.now = func() time.Time { return later }
	for i := range clientRate {
		if got := l.allow(r); got != 0 {
			t.Fatalf("request %d a second later: %d", i, got)
		}
	}
	if got := l.allow(r); got != http.StatusTooManyRequests {
		t.Errorf("%d for one more than a second allows", got)
	}
}

// raw sends octets and returns what comes back until the connection ends.
func (f *fixture) raw(sent string, wait time.Duration) string {
	f.Helper()
	c, err := net.Dial("tcp", f.server.Addr())
	if err != nil {
		f.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(wait))
	if _, err := io.WriteString(c, sent); err != nil {
		return ""
	}
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return fmt.Sprint(response.StatusCode, response.Header, string(body))
}

func TestARequestHasASizeAndATime(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	in := f.token("autumn", 1)
	big := "POST /u/" + in + " HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 64<<10) + "\r\n\r\n"
	if got := f.raw(big, time.Minute); got != "" && !strings.HasPrefix(got, "431") {
		t.Errorf("a large header: %.80s", got)
	}
	long := "POST /u/" + in + " HTTP/1.1\r\nHost: x\r\nContent-Type: " + urlencoded +
		"\r\nContent-Length: 104857600\r\n\r\nList-Unsubscribe=One-Click&x=" + strings.Repeat("a", maxBody)
	if got := f.raw(long, time.Minute); !strings.HasPrefix(got, "400") {
		t.Errorf("a large body: %.80s", got)
	}
	f.wantOptOuts()
	for _, d := range []time.Duration{f.server.http.ReadHeaderTimeout, f.server.http.ReadTimeout,
		f.server.http.WriteTimeout, f.server.http.IdleTimeout} {
		if d <= 0 || d > time.Minute {
			t.Errorf("a time limit is %v", d)
		}
	}
}

// Somebody who sends a request octet by octet does not keep his connection.
func TestASlowRequestIsCut(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := newHTTP(newFixture(t).server.handler)
	server.ReadHeaderTimeout = 200 * time.Millisecond
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	_, _ = io.WriteString(c, "GET /u/x HTTP/1.1\r\nHost") // fails if the server was quicker
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection is not cut: %v", err)
	}
}

// What comes in by a request line or a header reaches no header of the answer.
func TestNoRequestWritesAHeaderOfTheAnswer(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, request := range []string{
		"GET /u/x%0d%0aX-Evil:%20yes HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /u/x HTTP/1.1\r\nHost: x\r\nAccept-Language: de%0d%0aX-Evil: yes\r\n\r\n",
		"GET /u/x?a=%0d%0aX-Evil:%20yes HTTP/1.1\r\nHost: evil%0d%0aX-Evil.example\r\n\r\n",
		"POST /u/x HTTP/1.1\r\nHost: x\r\nContent-Type: " + urlencoded +
			"\r\nContent-Length: 40\r\n\r\nscope=all&undo=%0d%0aX-Evil%3a%20yes%0d%0a",
		"GET http://evil.example/u/x HTTP/1.1\r\nHost: evil.example\r\n\r\n",
	} {
		got := f.raw(request, time.Minute)
		if strings.Contains(got, "X-Evil") || strings.Contains(got, "evil") || strings.Contains(got, "Location") {
			t.Errorf("%q: %s", request, got)
		}
	}
}

func FuzzHandler(f *testing.F) {
	h := &handler{keys: tokentest.Keys(f, "k"), limits: newLimits(nil), pages: newPages(builtIn()), now: time.Now,
		lacks: func() bool { return false }}
	genuine := h.keys.ForURL(token.Unsubscribe, token.Recipient{Mailing: 1, Number: 1})
	f.Add("POST", genuine, urlencoded, "List-Unsubscribe=One-Click", "de")
	f.Add("POST", genuine, "multipart/form-data; boundary=x",
		"--x\r\nContent-Disposition: form-data; name=scope\r\n\r\nall\r\n--x--", "")
	f.Add("GET", "x", "", "", "*;q=0,de;q=NaN")
	f.Fuzz(func(t *testing.T, method, in, kind, body, accepted string) {
		acted := 0
		h.limits = newLimits(nil)
		h.add = func(_ context.Context, c change) error {
			acted++
			if c.who.Mailing != 0 && in != genuine {
				t.Errorf("%q acts for %v", in, c.who)
			}
			return nil
		}
		r := httptest.NewRequest(http.MethodGet, "/", strings.NewReader(body))
		r.Method, r.URL.Path = method, "/u/"+in
		r.Header["Content-Type"], r.Header["Accept-Language"] = []string{kind}, []string{accepted}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if acted > 0 && method != http.MethodPost || acted > 1 {
			t.Errorf("%s acts %d times", method, acted)
		}
		if w.Code >= 500 {
			t.Errorf("status %d", w.Code)
		}
	})
}
