package page

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"directmailer/internal/audience/field"
	"directmailer/internal/content/render"
)

// server is a web server that counts its connections.
type server struct {
	*httptest.Server
	connections, requests, now, most atomic.Int64
}

func serve(t *testing.T, handler http.HandlerFunc) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		now := s.now.Add(1)
		defer s.now.Add(-1)
		for most := s.most.Load(); now > most && !s.most.CompareAndSwap(most, now); most = s.most.Load() {
		}
		handler(w, r)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.connections.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func html(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, text)
	}
}

func locations(t testing.TB, template string, hosts ...string) *Locations {
	t.Helper()
	s, problems := NewLocations(template, "", hosts)
	for _, p := range problems {
		t.Fatal(p.Error())
	}
	return s
}

// allowed is the list of an operator.
func allowed(t testing.TB, list string) (a Allowed) {
	t.Helper()
	if err := a.UnmarshalText([]byte(list)); err != nil {
		t.Fatal(err)
	}
	return a
}

// quickFetcher may ask the servers of the test, which are all on this machine. It gives no server
// up because the machine is slow.
func quickFetcher(t testing.TB) *Fetcher {
	f := NewFetcher(allowed(t, "127.0.0.0/8"))
	f.pauses = []time.Duration{time.Millisecond, time.Millisecond}
	f.whole, f.dialer.Timeout, f.transport.ResponseHeaderTimeout = time.Hour, time.Hour, time.Hour
	t.Cleanup(f.Close)
	return f
}

func anna(attributes ...string) render.Recipient {
	r := render.Recipient{Number: 7, Address: "anna@example.org", Attributes: field.Values{}}
	for i := 0; i < len(attributes); i += 2 {
		r.Attributes[attributes[i]] = field.Value{Text: attributes[i+1]}
	}
	return r
}

// get fetches one page as a mailing would.
func get(t testing.TB, f *Fetcher, s *Locations, to render.Recipient) (render.Page, error) {
	t.Helper()
	u, err := s.NewLocator(t.Context()).Locate(to)
	if err != nil {
		return render.Page{}, err
	}
	return f.Fetch(t.Context(), s, u)
}

func TestARequestSaysWhatIsWantedAndNothingOfWhoAsks(t *testing.T) {
	t.Parallel()
	got := make(chan *http.Request, 1)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "who", Value: "anna"})
		select {
		case got <- r.Clone(context.Background()):
		default:
		}
		html("<p>Hello")(w, r)
	})
	f, places := quickFetcher(t), locations(t, s.URL+"/{{.city}}?to={{.email}}&n={{.n}}")
	for range 2 {
		p, err := get(t, f, places, anna("city", "a/ü b", "n", "1&2#3"))
		if err != nil || string(p.HTML) != "<p>Hello" || p.Text != nil {
			t.Fatalf("got %+v, %v", p, err)
		}
	}
	r := <-got
	if r.RequestURI != "/a%2F%C3%BC%20b?to=anna%40example.org&n=1%262%233" || r.Method != "GET" ||
		r.URL.Query().Get("n") != "1&2#3" {
		t.Errorf("asked for %s %s", r.Method, r.RequestURI)
	}
	want := map[string]bool{"User-Agent": true, "Accept": true, "Accept-Encoding": true}
	for name := range r.Header {
		if !want[name] {
			t.Errorf("the request has %s: %s", name, r.Header.Get(name))
		}
	}
	if r.UserAgent() != "Direct-Mailer" {
		t.Errorf("from %s", r.UserAgent())
	}
}

func TestWhatAnAnswerMeans(t *testing.T) {
	t.Parallel()
	const one, away = "one", "away" // is it about one recipient, or about the server?
	typed := func(contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil
			if contentType != "" {
				w.Header().Set("Content-Type", contentType)
			}
			_, _ = io.WriteString(w, body)
		}
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "anna@example.org is not known here", code)
		}
	}
	cut := func(w http.ResponseWriter, text string) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_, _ = io.WriteString(c, text)
			_ = c.Close()
		}
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		kind    string
		want    string
	}{
		"400": {status(400), one, "answered 400"}, "401": {status(401), one, "answered 401"},
		"403": {status(403), one, "answered 403"},
		"404": {status(404), one, "answered 404"}, "410": {status(410), one, "answered 410"},
		"451": {status(451), one, "answered 451"},
		"204": {status(204), one, "answered 204"}, "206": {status(206), one, "answered 206"},
		"304":            {status(304), one, "answered 304"},
		"302 to nowhere": {status(302), one, "answered 302"},
		"500":            {status(500), away, "answered 500"}, "501": {status(501), away, "answered 501"},
		"502": {status(502), away, "answered 502"},
		"503": {status(503), away, "answered 503"}, "504": {status(504), away, "answered 504"},
		"599": {status(599), away, "answered 599"},
		"408": {status(408), away, "answered 408"}, "425": {status(425), away, "answered 425"},
		"429":          {status(429), away, "answered 429"},
		"image":        {typed("image/png", "x"), one, "neither text/html nor text/plain"},
		"no type":      {typed("", "<p>x"), one, "does not say of which type"},
		"bad type":     {typed("html; charset=utf-8", "<p>x"), one, "neither"},
		"xhtml":        {typed("application/xhtml+xml", "<p/>"), one, "neither"},
		"NUL":          {typed("text/html", "a\x00b"), one, "holds a NUL"},
		"empty":        {typed("text/html", ""), one, "is blank"},
		"blank":        {typed("text/plain", "\ufeff \r\n"), one, "is blank"},
		"dead charset": {typed("text/html; charset=iso-2022-kr", "a"), one, "not in the charset"},
		"compressed": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "br")
			html("x")(w, r)
		}, one, "compressed in a way"},
		"no HTTP": {func(w http.ResponseWriter, _ *http.Request) { cut(w, "220 anna@example.org ESMTP\r\n") }, away,
			"does not speak HTTP"},
		"dies at once": {func(w http.ResponseWriter, _ *http.Request) { cut(w, "") }, away, "the connection breaks"},
		"dies in the middle": {func(w http.ResponseWriter, _ *http.Request) {
			cut(w, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 100\r\n\r\nhalf")
		}, away, "the connection breaks"},
		"endless header": {func(w http.ResponseWriter, _ *http.Request) {
			cut(w, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 1<<20))
		}, away, "does not speak HTTP"},
		"half a gzip": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			typed("text/html", "\x1f\x8b\x08\x00garbage")(w, nil)
		}, away, "the connection breaks"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, c.handler)
			_, err := get(t, quickFetcher(t), locations(t, s.URL+"/{{.email}}"), anna())
			var failure *Failure
			var unavailable *Unavailable
			if c.kind == one && (!errors.As(err, &failure) || failure.Field != render.FieldPageURL) ||
				c.kind == away && !errors.As(err, &unavailable) ||
				!strings.Contains(err.Error(), c.want) {
				t.Errorf("got %T %v, want %s", err, err, c.want)
			}
			if strings.Contains(err.Error(), "example.org") {
				t.Errorf("the error quotes the server or the URL: %v", err)
			}
			if want := map[string]int64{one: 1, away: 3}[c.kind]; s.requests.Load() < want ||
				c.kind == one && s.requests.Load() > want {
				t.Errorf("%d requests", s.requests.Load())
			}
		})
	}
}

func TestAServerThatIsNotThereIsUnavailable(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	_ = l.Close()
	secure := httptest.NewUnstartedServer(html("x"))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	for template, want := range map[string]string{
		"http://" + closed + "/": "127.0.0.1: it refuses connections",
		"https://" + strings.TrimPrefix(secure.URL, "https://") + "/":     "127.0.0.1: its certificate is not to be trusted",
		"http://" + strings.TrimPrefix(secure.URL, "https://") + "/plain": "127.0.0.1 answered 400",
	} {
		_, err := get(t, quickFetcher(t), locations(t, template), anna())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", template, err, want)
		}
		var away *Unavailable
		if errors.As(err, &away) == strings.HasSuffix(want, "400") {
			t.Errorf("%s: %T", template, err)
		}
	}
}

func TestASlowServerIsGivenUpInTime(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			html("<p>")(w, r)
			w.(http.Flusher).Flush()
		}
		<-release
	})
	t.Cleanup(func() { close(release) })
	f := quickFetcher(t)
	f.whole = 100 * time.Millisecond
	for _, path := range []string{"/header", "/body"} {
		var away *Unavailable
		if _, err := get(t, f, locations(t, s.URL+path), anna()); !errors.As(err, &away) ||
			!strings.Contains(away.Cause, "does not answer in time") {
			t.Errorf("%s: got %v", path, err)
		}
	}
	if n := s.requests.Load(); n > 2 { // fewer if the machine is so slow that none arrives in time
		t.Errorf("%d requests: what took its time is not tried again at once", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	f.whole = time.Hour
	places := locations(t, s.URL)
	u, _ := places.NewLocator(t.Context()).Locate(anna())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := f.Fetch(ctx, places, u); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
}

func TestASingleAnswerOfABusyServerIsForgiven(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		html("x")(w, r)
	})
	if p, err := get(t, quickFetcher(t), locations(t, s.URL), anna()); err != nil || string(p.HTML) != "x" {
		t.Errorf("got %+v, %v", p, err)
	}
}

func TestAServerThatSaysWhenToComeAgainIsBelieved(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	var away *Unavailable
	if _, err := get(t, quickFetcher(t), locations(t, s.URL), anna()); !errors.As(err, &away) ||
		away.RetryAfter != 2*time.Minute ||
		s.requests.Load() != 1 {
		t.Errorf("got %+v after %d requests", away, s.requests.Load())
	}
	for after, fails := range map[string]bool{"": true, "120": false} { // who asks to come again does not fail
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", after)
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		if _, err := get(t, quickFetcher(t), locations(t, s.URL), anna()); !errors.As(err, &away) || away.Fails != fails {
			t.Errorf("503, Retry-After %q: got %+v", after, away)
		}
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "30": 30 * time.Second, "-5": 0, "soon": 0, "7200": time.Hour, "18446744073709551615": time.Hour,
		"99999999999999999999999":       time.Hour,
		"Sun, 01 Mar 2026 12:10:00 GMT": 10 * time.Minute, "Sun, 01 Mar 2026 11:00:00 GMT": 0,
		"Mon, 01 Mar 2027 12:10:00 GMT": time.Hour,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestRedirectsAreFollowedWithinTheAllowedHosts(t *testing.T) {
	t.Parallel()
	var foreignAsked atomic.Int64
	foreign := serve(t, func(w http.ResponseWriter, r *http.Request) { foreignAsked.Add(1); html("foreign")(w, r) })
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Referer") != "" || r.Header.Get("Cookie") != "" || r.Header.Get("Authorization") != "" {
			t.Errorf("a redirect was followed with %v", r.Header)
		}
		var left int
		if _, err := fmt.Sscanf(r.URL.Path, "/again/%d", &left); err == nil && left > 0 {
			http.SetCookie(w, &http.Cookie{Name: "who", Value: "anna"})
			http.Redirect(
				w,
				r,
				fmt.Sprintf("/again/%d?%s", left-1, r.URL.RawQuery),
				[]int{301, 302, 303, 307, 308}[left%5],
			)
			return
		}
		if to := r.URL.Query().Get("to"); to != "" {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
			return
		}
		html("arrived")(w, r)
	})
	_, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "http://"), ":")
	places := locations(t, s.URL+"/again/{{.n}}?to={{.to}}")
	for _, c := range []struct{ n, to, want string }{
		{"0", "", ""}, {"5", "", ""}, {"6", "", "redirects more than 5 times"},
		{"0", s.URL + "/a b?c d", ""}, {"0", "//" + strings.TrimPrefix(s.URL, "http://") + "/x#y", ""},
		{"0", foreign.URL + "/?anna", "redirects, and the target is on a host that is not one of page_hosts"},
		{"0", "http://localhost:" + port + "/", "not one of page_hosts"},
		{"0", "http://127.0.0.1/", "not one of page_hosts"},
		{"0", "http://anna:pw@127.0.0.1:" + port + "/", "with a user name"},
		{"0", "file:///etc/passwd", "is not a URL of http or https"},
		{"0", "gopher://127.0.0.1:" + port + "/", "is not a URL of http"},
		{"0", "http://[::1", "the target is not a URL"}, {"0", "mailto:anna@example.org", "is not a URL of http"},
		{"0", "http:foo", "without a host"},
	} {
		p, err := get(t, quickFetcher(t), places, anna("n", c.n, "to", c.to))
		var failure *Failure
		switch {
		case c.want == "" && (err != nil || string(p.HTML) != "arrived"):
			t.Errorf("%s %s: got %+v, %v", c.n, c.to, p, err)
		case c.want != "" && (!errors.As(err, &failure) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s %s: got %v, want %s", c.n, c.to, err, c.want)
		case c.want != "" && (strings.Contains(err.Error(), "anna") || strings.Contains(err.Error(), "passwd")):
			t.Errorf("the error quotes the target: %v", err)
		}
	}
	if n := foreignAsked.Load(); n > 0 {
		t.Errorf("the foreign host was asked %d times", n)
	}
	both := locations(
		t,
		s.URL+"/again/{{.n}}?to={{.to}}",
		strings.TrimPrefix(s.URL, "http://"),
		strings.TrimPrefix(foreign.URL, "http://"),
	)
	if p, err := get(t, quickFetcher(t), both, anna("n", "1", "to", foreign.URL)); err != nil ||
		string(p.HTML) != "foreign" {
		t.Errorf("an allowed host: %+v, %v", p, err)
	}
}

func TestAPageIsAsLongAsItMayBeAlsoWhenItIsCompressed(t *testing.T) {
	t.Parallel()
	bomb := func(size int) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		for zeros := bytes.Repeat([]byte("."), 1<<20); size > 0; size -= len(zeros) {
			_, _ = z.Write(zeros[:min(size, len(zeros))])
		}
		_ = z.Close()
		return b.Bytes()
	}
	fits, bursts := bomb(maxBody), bomb(4*maxBody)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		switch r.URL.Path {
		case "/fits", "/bursts":
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(map[string][]byte{"/fits": fits, "/bursts": bursts}[r.URL.Path])
		case "/announced":
			w.Header().Set("Content-Length", "1000000000000")
			_, _ = w.Write([]byte("x"))
		case "/endless":
			for zeros := make([]byte, 1<<16); ; {
				if _, err := w.Write(zeros); err != nil {
					return
				}
			}
		case "/grows": // each of these is three octets in UTF-8
			w.Header().Set("Content-Type", "text/plain; charset=windows-1252")
			_, _ = w.Write(bytes.Repeat([]byte{0x80}, maxBody/2))
		}
	})
	for path, long := range map[string]bool{"/fits": false, "/bursts": true, "/announced": true, "/endless": true,
		"/grows": true} {
		p, err := get(t, quickFetcher(t), locations(t, s.URL+path), anna())
		if long && (err == nil || !strings.Contains(err.Error(), "longer than 10 MiB")) ||
			!long && (err != nil || len(p.Text) != maxBody) {
			t.Errorf("%s: %d octets, %v", path, len(p.Text), err)
		}
	}
}

func TestPagesOfAnyCharsetComeOutAsUTF8(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ contentType, body, want string }{
		"utf-8":        {"text/html; charset=UTF-8", "Größe €", "Größe €"},
		"mark":         {"text/html; charset=iso-8859-1", "\ufeffGröße", "Größe"},
		"latin-1":      {"text/html; charset=iso-8859-1", "Gr\xf6\xdfe \x80", "Größe €"},
		"windows-1251": {"text/html; charset=windows-1251", "\xcf\xf0\xe8\xe2\xe5\xf2", "Привет"},
		"shift-jis":    {"text/plain; charset=Shift_JIS", "\x82\xb1\x82\xf1", "こん"},
		"utf-16":       {"text/html", "\xff\xfeG\x00\xf6\x00", "Gö"},
		"meta":         {"text/html", "<meta charset=windows-1251>\xcf", "<meta charset=windows-1251>П"},
		"meta, pragma": {"text/html", `<meta http-equiv="Content-Type" content="text/html; charset=koi8-r">` + "\xf0",
			`<meta http-equiv="Content-Type" content="text/html; charset=koi8-r">П`},
		"meta in a text":    {"text/plain", "<meta charset=windows-1251>\xcf", "<meta charset=windows-1251>Ï"},
		"undeclared":        {"text/html", strings.Repeat("x", 2000) + "Größe", strings.Repeat("x", 2000) + "Größe"},
		"undeclared, old":   {"text/html", strings.Repeat("x", 2000) + "Gr\xf6\xdfe", strings.Repeat("x", 2000) + "Größe"},
		"unknown":           {"text/html; charset=klingon", "Größe", "Größe"},
		"damaged":           {"text/html; charset=utf-8", "a\xffb", "a\ufffdb"},
		"ends of lines":     {"text/plain", "a\r\nb\rc\r\r\nd\r", "a\r\nb\nc\n\r\nd\n"},
		"parameters, case":  {`Text/HTML; Charset="Windows-1252"`, "\x80", "€"},
		"parameters, twice": {"text/html; charset=utf-8; x=y", "€", "€"},
		"parameter, damaged": {"Text/HTML ; charset: iso-8859-1", "<meta charset=windows-1251>\xcf",
			"<meta charset=windows-1251>П"},
		"charset, twice": {"text/plain; charset=utf-8; charset=utf-8", "€", "€"},
	} {
		k, fault := kindOf(c.contentType)
		if fault != "" {
			t.Errorf("%s: %s", name, fault)
			continue
		}
		p, fault := decode(k, []byte(c.body))
		got := p.HTML
		if !k.html {
			got = p.Text
		}
		if fault != "" || string(got) != c.want {
			t.Errorf("%s: got %.80q, %s; want %.80q", name, got, fault, c.want)
		}
	}
}

func TestManyPagesComeOverFewConnections(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "7") { // an error's body is no reason for another connection
			http.Error(w, strings.Repeat("not found ", 1000), http.StatusNotFound)
			return
		}
		html("page of "+r.URL.Path)(w, r)
	})
	f, places := quickFetcher(t), locations(t, s.URL+"/{{.n}}")
	l := places.NewLocator(t.Context())
	const n = 400
	failed := 0
	next := 0
	err := f.Each(
		t.Context(),
		Batch{Mailing: "spring"},
		places,
		n,
		func(i int) (*url.URL, error) { return l.Locate(anna("n", fmt.Sprint(i))) },
		func(i int, p render.Page, err error) error {
			if i != next {
				t.Errorf("%d comes in place of %d", i, next)
			}
			next++
			if err != nil {
				failed++
			} else if string(p.HTML) != fmt.Sprintf("page of /%d", i) {
				t.Errorf("%d got %s", i, p.HTML)
			}
			return nil
		},
	)
	if err != nil || next != n || failed != n/10 {
		t.Errorf("%d of %d, %d failed, %v", next, n, failed, err)
	}
	// A connection that is still being made when another one becomes free is kept for later. With one
	// for each error, there would be n/10 more than a batch uses at a time.
	if c := s.connections.Load(); c >= perBatch+n/10 || s.requests.Load() != n {
		t.Errorf("%d requests over %d connections", s.requests.Load(), c)
	}
}

func TestRequestsAtATimeAreBoundedForABatchAMailingAndAWorker(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		mailings, batches int // batches of each mailing
		most              int64
	}{{1, 1, 16}, {1, 8, 16}, {8, 1, 64}, {6, 3, 64}} {
		mailings, batches, most := c.mailings, c.batches, c.most
		var s *server
		f := quickFetcher(t)
		full := make(chan struct{})
		var once sync.Once
		s = serve(
			t,
			func(w http.ResponseWriter, r *http.Request) { // nobody is answered before there are as many as may be
				if s.now.Load() == most {
					once.Do(func() {
						if n := len(f.slots); n < int(most) || cap(f.slots) != 64 {
							t.Errorf("%d requests hold %d of %d slots", most, n, cap(f.slots))
						}
						close(full)
					})
				}
				select {
				case <-full:
				case <-time.After(time.Minute):
					t.Errorf(
						"%d mailings of %d batches: no more than %d requests at a time",
						mailings,
						batches,
						s.most.Load(),
					)
				}
				html("x")(w, r)
			},
		)
		places := locations(t, s.URL+"/{{.n}}")
		f.transport.MaxConnsPerHost = 0 // as if the pages were on several hosts
		var all sync.WaitGroup
		for n := range mailings * batches {
			all.Go(func() {
				l := places.NewLocator(t.Context())
				err := f.Each(
					t.Context(),
					Batch{Mailing: fmt.Sprint("mailing-", n%mailings)},
					places,
					100,
					func(i int) (*url.URL, error) { return l.Locate(anna("n", fmt.Sprint(i))) },
					func(int, render.Page, error) error { return nil },
				)
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if got := s.most.Load(); got != most {
			t.Errorf("%d mailings of %d batches: %d requests at a time, want up to %d", mailings, batches, got, most)
		}
		if len(f.shares) > 0 {
			t.Errorf("the slots of %d mailings are kept for ever", len(f.shares))
		}
	}
}

// A first page that is slow holds all others back: no more of them are fetched meanwhile than the
// window has.
func TestNoMoreThanAWindowIsFetchedAhead(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/0" {
			<-release
		}
		if r.URL.Path == "/0" || r.URL.Path == "/3" { // is fetched again when its turn comes
			html(strings.Repeat("long ", smallBody))(w, r)
			return
		}
		html("x")(w, r)
	})
	f, places := quickFetcher(t), locations(t, s.URL+"/{{.n}}")
	l := places.NewLocator(t.Context())
	var sizes []int
	done := make(chan error, 1)
	go func() {
		done <- f.Each(t.Context(), Batch{Mailing: "spring"}, places, 100,
			func(i int) (*url.URL, error) { return l.Locate(anna("n", fmt.Sprint(i))) },
			func(_ int, p render.Page, err error) error {
				sizes = append(sizes, len(p.HTML))
				return err
			})
	}()
	for s.requests.Load() < perBatch || s.now.Load() > 1 {
		time.Sleep(time.Millisecond)
	}
	if n := s.requests.Load(); n != perBatch {
		t.Errorf("%d requests while the first page is waited for", n)
	}
	close(release)
	if err := <-done; err != nil || len(sizes) != 100 || sizes[0] != 5*smallBody || sizes[3] != 5*smallBody ||
		s.requests.Load() != 102 {
		t.Errorf("%v after %d pages, %d requests", err, len(sizes), s.requests.Load())
	}
}

func TestWhatComesBeforeTheFailureIsTakenAndNothingIsAskedForAfterIt(t *testing.T) {
	t.Parallel()
	const bad = 30
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var n int
		if _, _ = fmt.Sscanf(r.URL.Path, "/%d", &n); n >= bad {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		html("x")(w, r)
	})
	f, places := quickFetcher(t), locations(t, s.URL+"/{{.n}}")
	l := places.NewLocator(t.Context())
	taken := 0
	err := f.Each(
		t.Context(),
		Batch{Mailing: "spring"},
		places,
		1000,
		func(i int) (*url.URL, error) { return l.Locate(anna("n", fmt.Sprint(i))) },
		func(int, render.Page, error) error { taken++; return nil },
	)
	var away *Unavailable
	if !errors.As(err, &away) || taken != bad {
		t.Errorf("%d taken, then %v", taken, err)
	}
	if n := s.requests.Load(); n > bad+3*perBatch {
		t.Errorf("%d requests", n)
	}
	errTake := errors.New("no room")
	if err := f.Each(t.Context(), Batch{Mailing: "spring"}, places, 10,
		func(i int) (*url.URL, error) { return l.Locate(anna("n", fmt.Sprint(i))) },
		func(int, render.Page, error) error { return errTake }); err != errTake {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Each(ctx, Batch{Mailing: "spring"}, places, 10,
		func(i int) (*url.URL, error) { return l.Locate(anna("n", fmt.Sprint(i))) },
		func(int, render.Page, error) error { return nil }); err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

func BenchmarkEach(b *testing.B) {
	page := []byte(strings.Repeat("<p>twenty thousand octets of a page</p>\n", 500))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page)
	}))
	defer s.Close()
	f, places := NewFetcher(allowed(b, "127.0.0.0/8")), locations(b, s.URL+"/{{.n}}")
	l := places.NewLocator(b.Context())
	b.ReportAllocs()
	err := f.Each(
		b.Context(),
		Batch{Mailing: "spring"},
		places,
		b.N,
		func(i int) (*url.URL, error) { return l.Locate(anna("n", "7")) },
		func(_ int, _ render.Page, err error) error { return err },
	)
	if err != nil {
		b.Fatal(err)
	}
}
