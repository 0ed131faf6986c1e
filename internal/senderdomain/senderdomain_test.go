package senderdomain_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"directmailer/internal/content/lint"
	"directmailer/internal/dev/dnstest"
	"directmailer/internal/senderdomain"
)

var (
	rsaKey = func() *rsa.PrivateKey {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		return key
	}()
	edPublic, _, _ = ed25519.GenerateKey(rand.Reader)
)

func keys() []senderdomain.Key {
	public, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	if err != nil {
		panic(err)
	}
	return []senderdomain.Key{
		{Domain: "example.com", Selector: "one", Algorithm: "rsa", Public: public},
		{Domain: "example.com", Selector: "two", Algorithm: "ed25519", Public: edPublic},
	}
}

func record(kind string, public []byte) string {
	return dnstest.Quoted("v=DKIM1; k=" + kind + "; p=" + base64.StdEncoding.EncodeToString(public))
}

// edRecord is the record of the second key with a tag more.
func edRecord(tag string) string {
	return dnstest.Quoted("k=ed25519; " + tag + "; p=" + base64.StdEncoding.EncodeToString(edPublic))
}

const (
	one   = "one._domainkey.example.com TXT"
	two   = "two._domainkey.example.com TXT"
	spf   = "bounces.example.com TXT"
	dmarc = "_dmarc.example.com TXT"
	mx    = "bounces.example.com MX"
	ptr   = "25.2.0.192.in-addr.arpa PTR"
	host  = "mx.example.com A"
)

// good are the records of a sender without a finding.
func good() dnstest.Zone {
	return dnstest.Zone{
		one:   record("rsa", keys()[0].Public),
		two:   record("ed25519", edPublic),
		spf:   dnstest.Quoted("v=spf1 ip4:192.0.2.25 include:_spf.example.com -all") + dnstest.Quoted("other text"),
		dmarc: dnstest.Quoted("v=DMARC1; p=reject; rua=mailto:d@example.com"),
		mx:    "10 mx.example.com.\n",
		ptr:   "mx.example.com.\n",
		host:  "192.0.2.25\n",

		"_spf.example.com TXT": dnstest.Quoted("v=spf1 ip6:2001:db8::/32 -all"),
		"0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR": "mx6.example.com.\n",
		"mx6.example.com AAAA": "2001:db8::\n",
	}
}

func sender() senderdomain.Sender {
	return senderdomain.Sender{From: "news.example.com", Envelope: "bounces.example.com", Keys: keys(),
		Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.25"), netip.MustParseAddr("2001:db8::")}}
}

func check(t *testing.T, z dnstest.Zone, s senderdomain.Sender) []lint.Finding {
	t.Helper()
	r, err := senderdomain.NewResolver(dnstest.Serve(t, z))
	if err != nil {
		t.Fatal(err)
	}
	return senderdomain.Check(t.Context(), r, s)
}

func codes(all []lint.Finding) string {
	var text []string
	for _, f := range all {
		text = append(text, string(f.Code)+" "+f.Where)
	}
	return strings.Join(text, ", ")
}

func TestTheRecordsOfAProperSenderHaveNoFinding(t *testing.T) {
	t.Parallel()
	if got := check(t, good(), sender()); len(got) > 0 {
		t.Errorf("got %+v", got)
	}
	alias := good().With("one._domainkey.example.com CNAME", "key.provider.example.\n").
		With("key.provider.example TXT", record("rsa", keys()[0].Public))
	delete(alias, one)
	if got := check(t, alias, sender()); len(got) > 0 {
		t.Errorf("an alias: got %+v", got)
	}
	pkcs1 := dnstest.Quoted("p=" + base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey)))
	if got := check(t, good().With(one, pkcs1), sender()); len(got) > 0 {
		t.Errorf("the other form of an RSA key: got %+v", got)
	}
}

func TestTheRecordOfAKeyThatThisShellCannotReadMustBeThere(t *testing.T) {
	t.Parallel()
	s := sender()
	s.Keys = []senderdomain.Key{{Domain: "example.com", Selector: "one"}, {Domain: "example.com", Selector: "two"}}
	if got := check(t, good(), s); len(got) > 0 {
		t.Errorf("got %+v", got)
	}
	z := good().With(one, dnstest.Quoted("v=DKIM1; p="))
	delete(z, two)
	want := "dkim-record-missing TXT two._domainkey.example.com, dkim-record-mismatch TXT one._domainkey.example.com"
	if got := codes(check(t, z, s)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestEveryKindOfBadRecordIsFound(t *testing.T) {
	t.Parallel()
	gone := func(names ...string) dnstest.Zone {
		z := good()
		for _, name := range names {
			delete(z, name)
		}
		return z
	}
	other, _, _ := ed25519.GenerateKey(rand.Reader)
	const keyOne, keyTwo = "TXT one._domainkey.example.com", "TXT two._domainkey.example.com"
	const policy, bounces = "TXT _dmarc.news.example.com", "TXT bounces.example.com"
	for _, c := range []struct {
		name string
		z    dnstest.Zone
		want string
	}{
		{"no key", gone(one), "dkim-record-missing " + keyOne},
		{"a text that is no key", good().With(one, dnstest.Quoted("v=spf1 -all")), "dkim-record-missing " + keyOne},
		{"another key", good().With(two, record("ed25519", other)), "dkim-record-mismatch " + keyTwo},
		{"another kind", good().With(two, record("rsa", edPublic)), "dkim-record-mismatch " + keyTwo},
		{"a key without its kind", good().With(two, dnstest.Quoted("p="+base64.StdEncoding.EncodeToString(edPublic))),
			"dkim-record-mismatch " + keyTwo},
		{"a damaged key", good().With(one, dnstest.Quoted("v=DKIM1; p=MIIB!")), "dkim-record-mismatch " + keyOne},
		{"a revoked key", good().With(one, dnstest.Quoted("v=DKIM1; p=")), "dkim-record-mismatch " + keyOne},
		{"two keys", good().With(two, record("ed25519", edPublic)+record("ed25519", other)),
			"dkim-record-mismatch " + keyTwo},
		{"sha1 only", good().With(two, edRecord("h=sha1")),
			"dkim-record-mismatch " + keyTwo},
		{"another service", good().With(two, edRecord("s=tlsrpt")),
			"dkim-record-mismatch " + keyTwo},
		{"a key in test", good().With(two, edRecord("t=s:y")),
			"dkim-record-testing " + keyTwo},

		{"no SPF", gone(spf), "spf-missing " + bounces},
		{"another SPF", good().With(spf, dnstest.Quoted("v=spf10 -all")), "spf-missing " + bounces},
		{"two of SPF", good().With(spf, dnstest.Quoted("v=spf1 -all")+dnstest.Quoted("v=spf1 +all")),
			"spf-invalid " + bounces},
		{"SPF with a mistake", good().With(spf, dnstest.Quoted("v=spf1 ipv4:192.0.2.25 -all")), "spf-invalid " + bounces},
		{"SPF of nothing", good().With(spf, dnstest.Quoted("v=spf1 include:gone.example.com -all")),
			"spf-invalid " + bounces},
		{"SPF for others", good().With(spf, dnstest.Quoted("v=spf1 ip6:2001:db8::/32 ~all")), "spf-not-allowed " + bounces},

		{"no DMARC", gone(dmarc), "dmarc-missing " + policy},
		{"DMARC in another version", good().With(dmarc, dnstest.Quoted("v=DMARC2; p=reject")), "dmarc-missing " + policy},
		{"two of DMARC", good().With(dmarc, dnstest.Quoted("v=DMARC1; p=none")+dnstest.Quoted("v=DMARC1; p=reject")),
			"dmarc-invalid TXT _dmarc.example.com"},
		{"DMARC without a policy", good().With(dmarc, dnstest.Quoted("v=DMARC1; rua=mailto:d@example.com")),
			"dmarc-invalid TXT _dmarc.example.com"},
		{"DMARC that only reports", good().With(dmarc, dnstest.Quoted("v=DMARC1; p=none")),
			"dmarc-none TXT _dmarc.example.com"},
		{"strict DMARC", good().With(dmarc, dnstest.Quoted("v=DMARC1; p=reject; adkim=s; aspf=s")),
			"dmarc-not-aligned From news.example.com"},
		{"half strict DMARC", good().With(dmarc, dnstest.Quoted("v=DMARC1; p=reject; adkim=s")), ""},
		{"the record of the domain itself", good().With("_dmarc.news.example.com TXT", dnstest.Quoted("v=DMARC1; p=none")),
			"dmarc-none " + policy},

		{"no name", gone(ptr), "ptr-missing PTR 192.0.2.25"},
		{"a name of somebody else", good().With(ptr, "gone.example.com.\n"), "ptr-missing PTR 192.0.2.25"},
		{"one of several names", good().With(ptr, "gone.example.com.\nmx.example.com.\n"), ""},

		{"no MX and no host", gone(mx), "mx-missing MX bounces.example.com"},
		{"no MX but a host", gone(mx).With("bounces.example.com A", "192.0.2.1\n"), ""},
		{"an MX that is no host", good().With(mx, "10 gone.example.com.\n"), "mx-missing MX bounces.example.com"},
		{"no mail at all", good().With(mx, "0 .\n"), "mx-missing MX bounces.example.com"},
		{"one of several MX", good().With(mx, "10 gone.example.com.\n20 mx.example.com.\n"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := codes(check(t, c.z, sender())); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestARecordThatNoServerTellsIsUnknownAndNotMissing(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		one:   "dns-unknown TXT one._domainkey.example.com",
		spf:   "dns-unknown TXT bounces.example.com",
		dmarc: "dns-unknown TXT _dmarc.example.com",
		mx:    "dns-unknown MX bounces.example.com",
		ptr:   "dns-unknown PTR 192.0.2.25",

		"_spf.example.com TXT": "dns-unknown TXT bounces.example.com",
	} {
		for _, failure := range []string{"SERVFAIL", "REFUSED"} {
			got := check(t, good().With(name, failure), sender())
			if codes(got) != want || got[0].Severity != lint.Warning {
				t.Errorf("%s: %s: got %+v, want %s", name, failure, got, want)
			}
		}
	}
	hosts := good().With(host, "SERVFAIL").With(mx, "10 mx.example.com.\n")
	want := "dns-unknown MX bounces.example.com, dns-unknown PTR 192.0.2.25"
	got := codes(check(t, hosts, sender()))
	if got != want && got != "dns-unknown PTR 192.0.2.25, dns-unknown MX bounces.example.com" {
		t.Errorf("hosts: got %s, want %s", got, want)
	}
}

// A server may fail at a question that it answers a moment later.
func TestAServerThatFailsOnceIsAskedAgain(t *testing.T) {
	t.Parallel()
	asked := map[dns.Question]int{}
	var mu sync.Mutex
	address := dnstest.Serve(t, dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		mu.Lock()
		asked[question.Question[0]]++
		first := asked[question.Question[0]] == 1
		mu.Unlock()
		if first {
			_ = w.WriteMsg(new(dns.Msg).SetRcode(question, dns.RcodeServerFailure))
			return
		}
		good().ServeDNS(w, question)
	}))
	r, err := senderdomain.NewResolver(address)
	if err != nil {
		t.Fatal(err)
	}
	if got := senderdomain.Check(t.Context(), r, sender()); len(got) > 0 {
		t.Errorf("got %+v", got)
	}
}

func TestAServerThatIsNotThereLeavesEverythingUnknown(t *testing.T) {
	t.Parallel()
	l, err := net.ListenPacket("udp", "127.0.0.1:0") // nobody answers here
	if err != nil {
		t.Fatal(err)
	}
	address := l.LocalAddr().String()
	_ = l.Close()
	r, err := senderdomain.NewResolver(address)
	if err != nil {
		t.Fatal(err)
	}
	all := senderdomain.Check(t.Context(), r, sender())
	if len(all) != 7 {
		t.Errorf("got %d findings: %+v", len(all), all)
	}
	for _, f := range all {
		if f.Code != lint.DNSUnknown {
			t.Errorf("got %+v", f)
		}
	}
}

func TestAnAnswerThatIsTooLongForUDPComesByTCP(t *testing.T) {
	t.Parallel()
	var many strings.Builder
	for n := range 40 {
		many.WriteString(dnstest.Quoted(fmt.Sprintf("some-service-verification=%d", n)))
	}
	if got := check(t, good().With(spf, many.String()+good()[spf]), sender()); len(got) > 0 {
		t.Errorf("got %+v", got)
	}
}

func TestAliasesInACircleEnd(t *testing.T) {
	t.Parallel()
	z := good().With("one._domainkey.example.com CNAME", "a.example.com.\n").
		With("a.example.com CNAME", "one._domainkey.example.com.\n")
	delete(z, one)
	if got, want := codes(check(t, z, sender())), "dns-unknown TXT one._domainkey.example.com"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWithoutAddressesTheSPFRecordIsOnlyRead(t *testing.T) {
	t.Parallel()
	s := sender()
	s.Addresses = nil
	for text, want := range map[string]string{
		"v=spf1 -all":         "",
		"v=spf1 +all":         "spf-allows-all TXT bounces.example.com",
		"v=spf1 nonsense:x":   "spf-invalid TXT bounces.example.com",
		"v=spf1 ip4:10.0.0.1": "",
	} {
		if got := codes(check(t, good().With(spf, dnstest.Quoted(text)), s)); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestWithoutAKeyARelayMaySign(t *testing.T) {
	t.Parallel()
	s := sender()
	s.Keys, s.From = nil, "example.net"
	z := good().With("_dmarc.example.net TXT", dnstest.Quoted("v=DMARC1; p=reject"))
	got := check(t, z, s)
	if codes(got) != "dmarc-not-aligned From example.net" || got[0].Severity != lint.Warning {
		t.Errorf("got %+v", got)
	}
	s.Keys = keys()
	if got := check(t, z, s); codes(got) != "dmarc-not-aligned From example.net" || got[0].Severity != lint.Error {
		t.Errorf("keys of another domain: got %+v", got)
	}
}

func TestAServerThatHearsAndDoesNotAnswerIsNotWaitedForLong(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { // hears the questions and does not answer
		b := make([]byte, 1500)
		for {
			if _, _, err := packets.ReadFrom(b); err != nil {
				return
			}
			asked.Add(1)
		}
	}()
	t.Cleanup(func() { _ = packets.Close() })
	r, err := senderdomain.NewResolver(packets.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	all := senderdomain.Check(t.Context(), r, senderdomain.Sender{From: "example.com", Envelope: "example.com"})
	if codes(all) == "" || asked.Load() == 0 {
		t.Errorf("%d questions, got %+v", asked.Load(), all)
	}
	for _, f := range all {
		// On a slow machine, the time for all lookups may end first.
		if f.Code != lint.DNSUnknown || !strings.Contains(f.Message, "did not answer in time") &&
			!strings.Contains(f.Message, "the time for all lookups is over") {
			t.Errorf("got %+v", f)
		}
	}
}

func TestAnAddressOfAResolverIsChecked(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"127.0.0.1:53", "127.0.0.1", "dns.example.com", "[::1]:53", "::1", "dns.example.com:5353",
	} {
		if _, err := senderdomain.NewResolver(address); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{
		"", ":53", "127.0.0.1:dns", "127.0.0.1:0", "127.0.0.1:70000", "https://dns.example.com/",
	} {
		if _, err := senderdomain.NewResolver(address); err == nil {
			t.Errorf("%q is taken", address)
		}
	}
}
