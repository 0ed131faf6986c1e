package page

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"directmailer/internal/content/render"
)

// nameServer answers for the names that a test gives it. A name may have another address each time.
type nameServer struct {
	*testing.T
	addr string

	mu    sync.Mutex
	names map[string]func() []netip.Addr
}

func startNames(t *testing.T) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{T: t, addr: conn.LocalAddr().String(), names: map[string]func() []netip.Addr{}}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		for b := make([]byte, 4096); ; {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			if answer := s.answer(b[:n]); answer != nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	return s
}

func (s *nameServer) set(name string, addresses ...string) {
	s.setFunc(name, func() (out []netip.Addr) {
		for _, a := range addresses {
			out = append(out, netip.MustParseAddr(a))
		}
		return out
	})
}

func (s *nameServer) setFunc(name string, addresses func() []netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[name+"."] = addresses
}

func (s *nameServer) answer(question []byte) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	s.mu.Lock()
	find := s.names[strings.ToLower(q.Name.String())]
	s.mu.Unlock()
	m.Header = dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true}
	m.Additionals = nil
	if find == nil {
		m.RCode = dnsmessage.RCodeNameError
	} else {
		for _, a := range find() {
			h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}
			switch {
			case a.Is4() && q.Type == dnsmessage.TypeA:
				h.Type = q.Type
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
			case a.Is6() && q.Type == dnsmessage.TypeAAAA:
				h.Type = q.Type
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
			}
		}
	}
	out, err := m.Pack()
	if err != nil {
		s.Error(err)
	}
	return out
}

// watchedFetcher is a Fetcher whose dialler and resolver are the test's. Its dialler connects to
// this machine only, and remembers every address that the product would have connected to.
type watchedFetcher struct {
	*Fetcher
	names *nameServer

	mu     sync.Mutex
	dialed []string
}

var errFarAway = &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}

func watch(t *testing.T, list string) *watchedFetcher {
	t.Helper()
	w := &watchedFetcher{Fetcher: NewFetcher(allowed(t, list)), names: startNames(t)}
	w.pauses = nil
	t.Cleanup(w.Close)
	w.dialer.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", w.names.addr)
	}}
	product := w.dialer.ControlContext
	w.dialer.ControlContext = func(ctx context.Context, network, address string, c syscall.RawConn) error {
		if product != nil {
			if err := product(ctx, network, address, c); err != nil {
				return err
			}
		}
		at := netip.MustParseAddrPort(address)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.dialed = append(w.dialed, at.Addr().String())
		if !at.Addr().IsLoopback() || at.Port() < 1024 {
			return errFarAway
		}
		return nil
	}
	return w
}

func (w *watchedFetcher) taken() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := strings.Join(w.dialed, " ")
	w.dialed = nil
	return out
}

// mustRefuse fails the test unless the page is refused as one recipient's failure, and nothing is
// dialled.
func (w *watchedFetcher) mustRefuse(t *testing.T, where, want string) {
	t.Helper()
	_, err := get(t, w.Fetcher, locations(t, where), anna())
	var failure *Failure
	if !errors.As(err, &failure) || failure.Field != render.FieldPageURL || !strings.Contains(failure.Reason, want) {
		t.Errorf("%s: got %T %v, want %s", where, err, err, want)
	}
	if got := w.taken(); got != "" {
		t.Errorf("%s: %s was dialled", where, got)
	}
}

// notPublic are addresses that the author of a mailing must not make a worker ask.
var notPublic = []string{
	"127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
	"169.254.169.254", "100.64.0.1", "100.127.255.255",
	"192.0.0.8", "198.18.0.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
	"::", "::1", "::127.0.0.1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1",
	"::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "::ffff:0:10.0.0.1", "64:ff9b::7f00:1",
	"64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "2002:7f00:1::1", "2002:a9fe:a9fe::",
	"2001::1", "2001:db8::1", "100::1",
}

func TestAPageIsFetchedFromNoAddressThatIsNotPublic(t *testing.T) {
	t.Parallel()
	w := watch(t, "")
	for _, a := range notPublic {
		at := netip.MustParseAddr(a)
		literal := "http://" + netip.AddrPortFrom(at, 8080).String() + "/{{.email}}"
		w.mustRefuse(t, literal, "not public; the operator can allow it with DM_PAGE_HOSTS=")
		if problems := w.Check(t.Context(), locations(t, literal)); len(problems) != 1 ||
			problems[0].Field != render.FieldPageURL {
			t.Errorf("%s: the check before the start finds %v", a, problems)
		}
		w.names.set("www.example.com", a)
		w.mustRefuse(
			t,
			"https://www.example.com/{{.email}}",
			"www.example.com is refused: its address is not public; "+
				"the operator can allow it with DM_PAGE_HOSTS=www.example.com",
		)
	}
	w.names.set("www.example.com", notPublic...)
	w.mustRefuse(t, "http://www.example.com:81/", "the operator can allow it with DM_PAGE_HOSTS=www.example.com:81")
	if err := w.guard.control(t.Context(), "tcp4", "1.1.1.1:80", nil); err == nil {
		t.Error("a connection of which the host is not known is permitted")
	}
	w.mustRefuse(
		t,
		"http://127.0.0.1:8080/",
		"127.0.0.1:8080 is refused: its address is not public; the operator can allow it with DM_PAGE_HOSTS=127.0.0.1:8080",
	)
	for _, public := range []string{"1.1.1.1", "172.32.0.1", "100.128.0.1", "169.253.0.1", "2606:4700::1111", "2a00::1"} {
		w.names.set("www.example.com", public)
		var away *Unavailable
		if _, err := get(t, w.Fetcher, locations(t, "http://www.example.com/"), anna()); !errors.As(err, &away) ||
			w.taken() != public {
			t.Errorf("%s: got %v", public, err)
		}
	}
}

// The check is about the address that is dialled: what the name had before does not count.
func TestANameThatChangesItsAddressIsRefused(t *testing.T) {
	t.Parallel()
	w := watch(t, "")
	var asked atomic.Int64
	w.names.setFunc("www.example.com", func() []netip.Addr {
		if asked.Add(1) <= 2 { // A and AAAA of the check before the start
			return []netip.Addr{netip.MustParseAddr("1.1.1.1")}
		}
		return []netip.Addr{netip.MustParseAddr("169.254.169.254")}
	})
	places := locations(t, "http://www.example.com/")
	if problems := w.Check(t.Context(), places); len(problems) > 0 {
		t.Fatal(problems)
	}
	w.mustRefuse(t, "http://www.example.com/", "its address is not public")
	if asked.Load() < 3 {
		t.Errorf("%d lookups", asked.Load())
	}
}

// A refusal is for good, so it needs all addresses. Where one is public and does not answer, the
// server is away.
func TestAHostWithAPublicAddressIsNotRefusedForItsOthers(t *testing.T) {
	t.Parallel()
	w := watch(t, "")
	for _, addresses := range [][]string{{"10.0.0.1", "1.1.1.1"}, {"1.1.1.1", "10.0.0.1"}, {"fd00::1", "1.1.1.1"},
		{"2606:4700::1111", "127.0.0.1"}} {
		w.names.set("www.example.com", addresses...)
		places := locations(t, "http://www.example.com/")
		_, err := get(t, w.Fetcher, places, anna())
		var away *Unavailable
		if !errors.As(err, &away) || strings.Contains(err.Error(), "does not speak HTTP") {
			t.Errorf("%v: got %v", addresses, err)
		}
		if got := w.taken(); got != "1.1.1.1" && got != "2606:4700::1111" {
			t.Errorf("%v: dialled %q", addresses, got)
		}
		if problems := w.Check(t.Context(), places); len(problems) > 0 {
			t.Errorf("%v: %v", addresses, problems)
		}
	}
}

func TestTheOperatorAllowsHostsAddressesAndNetworks(t *testing.T) {
	t.Parallel()
	s := serve(t, html("x"))
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	port := u.Port()
	for _, c := range []struct {
		list, where string
		fetched     bool
	}{
		{"127.0.0.1:" + port, "127.0.0.1:" + port, true},
		{"127.0.0.1:" + port, "pages.internal:" + port, true}, // its address is allowed
		{"pages.internal:" + port, "pages.internal:" + port, true},
		{"Pages.Internal.:" + port, "PAGES.internal:" + port, true},
		{"127.0.0.0/8", "pages.internal:" + port, true},
		{"10.0.0.0/8\n\t127.0.0.99/8 ", "127.0.0.1:" + port, true},
		{"0.0.0.0/0", "127.0.0.1:" + port, true},
		{"", "pages.internal:" + port, false},
		{"127.0.0.1", "127.0.0.1:" + port, false}, // that is its ports 80 and 443
		{"pages.internal", "pages.internal:" + port, false},
		{"127.0.0.1:1", "127.0.0.1:" + port, false},
		{"pages.internal:" + port, "127.0.0.1:" + port, false}, // the operator trusts the name
		{"pages.internal:" + port, "other.internal:" + port, false},
		{"internal:" + port, "pages.internal:" + port, false},
		{"127.0.0.0/32 ::/0", "127.0.0.1:" + port, false},
	} {
		w := watch(t, c.list)
		w.names.set("pages.internal", "127.0.0.1")
		w.names.set("other.internal", "127.0.0.1")
		places := locations(t, "http://"+c.where+"/")
		p, err := get(t, w.Fetcher, places, anna())
		var failure *Failure
		if c.fetched && (err != nil || string(p.HTML) != "x") || !c.fetched && !errors.As(err, &failure) {
			t.Errorf("%q, %s: got %v", c.list, c.where, err)
		}
		if problems := w.Check(t.Context(), places); (len(problems) == 0) != c.fetched {
			t.Errorf("%q, %s: the check finds %v", c.list, c.where, problems)
		}
	}
	w := watch(t, "10.1.2.3 10.9.9.9:443 pages.internal [fd00::1]:8080")
	w.names.set("pages.internal", "169.254.0.1")
	w.names.set("other.internal", "10.1.2.3")
	for where, want := range map[string]string{ // a host without a port is that of http and https
		"http://10.1.2.3/": "10.1.2.3", "https://10.1.2.3/": "10.1.2.3", "https://other.internal/": "10.1.2.3",
		"http://pages.internal:443/": "169.254.0.1", "http://[fd00::1]:8080/": "fd00::1",
		"http://10.9.9.9/": "10.9.9.9", "http://10.1.2.3:443/": "10.1.2.3"} {
		var away *Unavailable
		if _, err := get(t, w.Fetcher, locations(t, where), anna()); !errors.As(err, &away) || w.taken() != want {
			t.Errorf("%s: got %v", where, err)
		}
		if problems := w.Check(t.Context(), locations(t, where)); len(problems) > 0 {
			t.Errorf("%s: %v", where, problems)
		}
	}
	w.mustRefuse(t, "http://10.1.2.3:8080/", "DM_PAGE_HOSTS=10.1.2.3:8080")
	w.mustRefuse(
		t,
		"http://[fd00::1]/",
		"[fd00::1] is refused: its address is not public; the operator can allow it with DM_PAGE_HOSTS=[fd00::1]",
	)
}

func TestEveryEntryOfTheListThatIsWrongIsReportedByItsPlace(t *testing.T) {
	t.Parallel()
	var a Allowed
	err := a.UnmarshalText(
		[]byte(
			"http://user:secret@pages.internal good.example.com 10.0.0.0/33 a,b *.example.com ::ffff:10.0.0.0/104 " +
				"pages.internal:0 user:secret@x",
		),
	)
	if err == nil {
		t.Fatal("it was taken")
	}
	var places []string
	for _, line := range strings.Split(err.Error(), "\n") {
		places = append(places, strings.Fields(line)[1])
	}
	if got := strings.Join(places, " "); got != "1 3 4 5 6 7 8" || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

// Hosts are checked before the start, so that not every recipient is failed one by one.
func TestHostsThatWouldBeRefusedAreFoundBeforeTheStart(t *testing.T) {
	t.Parallel()
	w := watch(t, "")
	w.names.set("www.example.com", "1.1.1.1")
	w.names.set("pages.internal", "10.1.2.3")
	s, problems := NewLocations(
		"https://www.example.com/",
		"page",
		[]string{"www.example.com", "pages.internal", "gone.example.com", "127.0.0.1:8080"},
	)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var got []string
	for _, p := range w.Check(t.Context(), s) {
		got = append(got, p.Error())
	}
	want := "content.page_hosts[1]: pages.internal is refused: its address is not public; " +
		"the operator can allow it with DM_PAGE_HOSTS=pages.internal\n" +
		"content.page_hosts[3]: 127.0.0.1:8080 is refused: its address is not public; " +
		"the operator can allow it with DM_PAGE_HOSTS=127.0.0.1:8080"
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	if got := w.taken(); got != "" {
		t.Errorf("the check has dialled %s", got)
	}
}

func TestARedirectToAnAddressThatIsNotPublicIsRefused(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/?"+r.URL.RawQuery, http.StatusFound)
	})
	w := watch(t, strings.TrimPrefix(s.URL, "http://"))
	_, err := get(
		t,
		w.Fetcher,
		locations(t, s.URL+"/?to={{.email}}", strings.TrimPrefix(s.URL, "http://"), "169.254.169.254"),
		anna(),
	)
	var failure *Failure
	if !errors.As(err, &failure) ||
		failure.Reason != "169.254.169.254 is refused: its address is not public; "+
			"the operator can allow it with DM_PAGE_HOSTS=169.254.169.254" {
		t.Errorf("got %v", err)
	}
	if got := w.taken(); got != "127.0.0.1" {
		t.Errorf("dialled %s", got)
	}
}

func TestARedirectFromHTTPSToHTTPIsRefused(t *testing.T) {
	t.Parallel()
	plain := serve(t, html("read by everybody on the way"))
	var secure *httptest.Server
	secure = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/down":
			http.Redirect(w, r, plain.URL+"/", http.StatusFound)
		case "/around":
			http.Redirect(w, r, secure.URL+"/down", http.StatusFound)
		case "/along":
			http.Redirect(w, r, "/end", http.StatusFound)
		default:
			html("end")(w, r)
		}
	}))
	t.Cleanup(secure.Close)
	up := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, secure.URL+r.URL.Path, http.StatusFound)
	})
	f := quickFetcher(t)
	f.transport.TLSClientConfig = secure.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	var hosts []string
	for _, u := range []string{plain.URL, secure.URL, up.URL} {
		_, host, _ := strings.Cut(u, "://")
		hosts = append(hosts, host)
	}
	for where, refused := range map[string]bool{secure.URL + "/down": true, secure.URL + "/around": true,
		up.URL + "/down": true, secure.URL + "/along": false, up.URL + "/end": false} {
		p, err := get(t, f, locations(t, where, hosts...), anna())
		var failure *Failure
		if refused && (!errors.As(err, &failure) || failure.Reason != "127.0.0.1 redirects from https to http") ||
			!refused && (err != nil || string(p.HTML) != "end") {
			t.Errorf("%s: got %s, %v", where, p.HTML, err)
		}
	}
	if n := plain.requests.Load(); n > 0 {
		t.Errorf("the page was asked for without TLS %d times", n)
	}
}

func TestTheProxyOfTheEnvironmentIsNotUsed(t *testing.T) {
	proxy := serve(t, html("by the proxy"))
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"} {
		t.Setenv(name, proxy.URL)
	}
	w := watch(t, "")
	w.names.set("www.example.com", "10.0.0.1")
	w.mustRefuse(t, "http://www.example.com/", "not public")
	if n := proxy.requests.Load(); n > 0 || w.transport.Proxy != nil {
		t.Errorf("the proxy was asked %d times", n)
	}
}

// A mailing whose page server hangs holds its own slots, and all other mailings go on.
func TestAMailingWhosePageServerHangsLeavesSlotsToOthers(t *testing.T) {
	t.Parallel()
	const most = 16
	full, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var hung *server
	hung = serve(t, func(w http.ResponseWriter, r *http.Request) {
		if hung.now.Load() == most {
			once.Do(func() { close(full) })
		}
		<-release
		html("late")(w, r)
	})
	quick := serve(t, html("x"))
	f := quickFetcher(t)
	fetch := func(mailing string, places *Locations, n int) (taken int, err error) {
		l := places.NewLocator(t.Context())
		err = f.Each(
			t.Context(),
			Batch{Mailing: mailing},
			places,
			n,
			func(i int) (*url.URL, error) { return l.Locate(anna("n", fmt.Sprint(i))) },
			func(_ int, _ render.Page, err error) error { taken++; return err },
		)
		return taken, err
	}
	var all sync.WaitGroup
	for range perWorker / perBatch { // each with Locations of its own, as after the content was compiled again
		all.Go(func() {
			if n, err := fetch("hangs", locations(t, hung.URL+"/{{.n}}"), perBatch); err != nil || n != perBatch {
				t.Errorf("%d pages, then %v", n, err)
			}
		})
	}
	<-full
	if n, err := fetch("goes-on", locations(t, quick.URL+"/{{.n}}"), 300); err != nil || n != 300 {
		t.Errorf("%d pages of another mailing, then %v", n, err)
	}
	if n := hung.requests.Load(); n != most {
		t.Errorf("the mailing that hangs has %d requests", n)
	}
	close(release)
	all.Wait()
}

// The author of a mailing must not learn from an error what there is in the workers' network: which
// ports are open, or which address a name has.
func TestTheErrorOfAnAddressThatIsNotPublicTellsNothingOfWhatIsThere(t *testing.T) {
	t.Parallel()
	open := serve(t, html("internal"))
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := watch(t, "")
	w.names.set("pages.internal", "127.0.0.1")
	w.names.set("far.internal", "10.1.2.3", "fd00::1")
	_, openPort, _ := net.SplitHostPort(strings.TrimPrefix(open.URL, "http://"))
	_, closedPort, _ := net.SplitHostPort(closed.Addr().String())
	_ = closed.Close()
	const want = "@ is refused: its address is not public; the operator can allow it with DM_PAGE_HOSTS=@"
	for _, name := range []string{"127.0.0.1", "[::ffff:127.0.0.1]", "[::1]", "pages.internal", "far.internal"} {
		for _, port := range []string{openPort, closedPort} {
			where := name + ":" + port
			text := strings.ReplaceAll(want, "@", where)
			_, err := get(t, w.Fetcher, locations(t, "http://"+where+"/"), anna())
			var failure *Failure
			if !errors.As(err, &failure) || failure.Reason != text {
				t.Errorf("got %v, want %s", err, text)
			}
			problems := w.Check(t.Context(), locations(t, "http://"+where+"/"))
			if len(problems) != 1 || problems[0].Message != text {
				t.Errorf("the check finds %v, want %s", problems, text)
			}
		}
	}
	if got := w.taken(); got != "" || open.requests.Load() > 0 {
		t.Errorf("%q was dialled", got)
	}
}
