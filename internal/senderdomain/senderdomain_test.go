package senderdomain_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"directmailer/internal/content/lint"
	"directmailer/internal/senderdomain"
)

// zone is what a test's DNS server answers: the records of a name and type in the format of a zone
// file, or "SERVFAIL", "REFUSED" or "silent".
type zone map[string]string

func (z zone) with(name, records string) zone {
	other := maps.Clone(z)
	other[name] = records
	return other
}

// serve answers questions on the loopback by UDP and TCP, and returns the address.
func serve(t *testing.T, z zone) string {
	t.Helper()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	streams, err := net.Listen("tcp", packets.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: z}, {Listener: streams, Handler: z}} {
		done := make(chan struct{})
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() {
			defer close(done)
			_ = server.ActivateAndServe()
		}()
		<-started
		t.Cleanup(func() {
			_ = server.Shutdown()
			<-done
		})
	}
	return packets.LocalAddr().String()
}

func (z zone) ServeDNS(w dns.ResponseWriter, question *dns.Msg) {
	answer := new(dns.Msg).SetReply(question)
	q := question.Question[0]
	name := strings.TrimSuffix(strings.ToLower(q.Name), ".")
	answer.Rcode = dns.RcodeNameError
	for key, records := range z {
		of, kind, _ := strings.Cut(key, " ")
		if of != name {
			continue
		}
		answer.Rcode = dns.RcodeSuccess
		if kind != dns.TypeToString[q.Qtype] && kind != "CNAME" {
			continue
		}
		switch records {
		case "SERVFAIL", "REFUSED":
			answer.Rcode = dns.StringToRcode[records]
			_ = w.WriteMsg(answer)
			return
		case "silent":
			return
		}
		for line := range strings.Lines(records) {
			rr, err := dns.NewRR(q.Name + " 60 IN " + kind + " " + line)
			if err != nil {
				panic(err)
			}
			answer.Answer = append(answer.Answer, rr)
		}
	}
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		answer.Truncate(512)
	}
	_ = w.WriteMsg(answer)
}

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

// quoted writes a text as the strings of a TXT record.
func quoted(text string) string {
	var parts []string
	for len(text) > 200 {
		parts, text = append(parts, `"`+text[:200]+`"`), text[200:]
	}
	return strings.Join(append(parts, `"`+text+`"`), " ") + "\n"
}

func record(kind string, public []byte) string {
	return quoted("v=DKIM1; k=" + kind + "; p=" + base64.StdEncoding.EncodeToString(public))
}

// edRecord is the record of the second key with a tag more.
func edRecord(tag string) string {
	return quoted("k=ed25519; " + tag + "; p=" + base64.StdEncoding.EncodeToString(edPublic))
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
func good() zone {
	return zone{
		one:   record("rsa", keys()[0].Public),
		two:   record("ed25519", edPublic),
		spf:   quoted("v=spf1 ip4:192.0.2.25 include:_spf.example.com -all") + quoted("other text"),
		dmarc: quoted("v=DMARC1; p=reject; rua=mailto:d@example.com"),
		mx:    "10 mx.example.com.\n",
		ptr:   "mx.example.com.\n",
		host:  "192.0.2.25\n",

		"_spf.example.com TXT": quoted("v=spf1 ip6:2001:db8::/32 -all"),
		"0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR": "mx6.example.com.\n",
		"mx6.example.com AAAA": "2001:db8::\n",
	}
}

func sender() senderdomain.Sender {
	return senderdomain.Sender{From: "news.example.com", Envelope: "bounces.example.com", Keys: keys(),
		Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.25"), netip.MustParseAddr("2001:db8::")}}
}

func check(t *testing.T, z zone, s senderdomain.Sender) []lint.Finding {
	t.Helper()
	r, err := senderdomain.NewResolver(serve(t, z))
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
	alias := good().with("one._domainkey.example.com CNAME", "key.provider.example.\n").
		with("key.provider.example TXT", record("rsa", keys()[0].Public))
	delete(alias, one)
	if got := check(t, alias, sender()); len(got) > 0 {
		t.Errorf("an alias: got %+v", got)
	}
	pkcs1 := quoted("p=" + base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey)))
	if got := check(t, good().with(one, pkcs1), sender()); len(got) > 0 {
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
	z := good().with(one, quoted("v=DKIM1; p="))
	delete(z, two)
	want := "dkim-record-missing TXT two._domainkey.example.com, dkim-record-mismatch TXT one._domainkey.example.com"
	if got := codes(check(t, z, s)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestEveryKindOfBadRecordIsFound(t *testing.T) {
	t.Parallel()
	gone := func(names ...string) zone {
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
		z    zone
		want string
	}{
		{"no key", gone(one), "dkim-record-missing " + keyOne},
		{"a text that is no key", good().with(one, quoted("v=spf1 -all")), "dkim-record-missing " + keyOne},
		{"another key", good().with(two, record("ed25519", other)), "dkim-record-mismatch " + keyTwo},
		{"another kind", good().with(two, record("rsa", edPublic)), "dkim-record-mismatch " + keyTwo},
		{"a key without its kind", good().with(two, quoted("p="+base64.StdEncoding.EncodeToString(edPublic))),
			"dkim-record-mismatch " + keyTwo},
		{"a damaged key", good().with(one, quoted("v=DKIM1; p=MIIB!")), "dkim-record-mismatch " + keyOne},
		{"a revoked key", good().with(one, quoted("v=DKIM1; p=")), "dkim-record-mismatch " + keyOne},
		{"two keys", good().with(two, record("ed25519", edPublic)+record("ed25519", other)),
			"dkim-record-mismatch " + keyTwo},
		{"sha1 only", good().with(two, edRecord("h=sha1")),
			"dkim-record-mismatch " + keyTwo},
		{"another service", good().with(two, edRecord("s=tlsrpt")),
			"dkim-record-mismatch " + keyTwo},
		{"a key in test", good().with(two, edRecord("t=s:y")),
			"dkim-record-testing " + keyTwo},

		{"no SPF", gone(spf), "spf-missing " + bounces},
		{"another SPF", good().with(spf, quoted("v=spf10 -all")), "spf-missing " + bounces},
		{"two of SPF", good().with(spf, quoted("v=spf1 -all")+quoted("v=spf1 +all")), "spf-invalid " + bounces},
		{"SPF with a mistake", good().with(spf, quoted("v=spf1 ipv4:192.0.2.25 -all")), "spf-invalid " + bounces},
		{"SPF of nothing", good().with(spf, quoted("v=spf1 include:gone.example.com -all")), "spf-invalid " + bounces},
		{"SPF for others", good().with(spf, quoted("v=spf1 ip6:2001:db8::/32 ~all")), "spf-not-allowed " + bounces},

		{"no DMARC", gone(dmarc), "dmarc-missing " + policy},
		{"DMARC in another version", good().with(dmarc, quoted("v=DMARC2; p=reject")), "dmarc-missing " + policy},
		{"two of DMARC", good().with(dmarc, quoted("v=DMARC1; p=none")+quoted("v=DMARC1; p=reject")),
			"dmarc-invalid TXT _dmarc.example.com"},
		{"DMARC without a policy", good().with(dmarc, quoted("v=DMARC1; rua=mailto:d@example.com")),
			"dmarc-invalid TXT _dmarc.example.com"},
		{"DMARC that only reports", good().with(dmarc, quoted("v=DMARC1; p=none")), "dmarc-none TXT _dmarc.example.com"},
		{"strict DMARC", good().with(dmarc, quoted("v=DMARC1; p=reject; adkim=s; aspf=s")),
			"dmarc-not-aligned From news.example.com"},
		{"half strict DMARC", good().with(dmarc, quoted("v=DMARC1; p=reject; adkim=s")), ""},
		{"the record of the domain itself", good().with("_dmarc.news.example.com TXT", quoted("v=DMARC1; p=none")),
			"dmarc-none " + policy},

		{"no name", gone(ptr), "ptr-missing PTR 192.0.2.25"},
		{"a name of somebody else", good().with(ptr, "gone.example.com.\n"), "ptr-missing PTR 192.0.2.25"},
		{"one of several names", good().with(ptr, "gone.example.com.\nmx.example.com.\n"), ""},

		{"no MX and no host", gone(mx), "mx-missing MX bounces.example.com"},
		{"no MX but a host", gone(mx).with("bounces.example.com A", "192.0.2.1\n"), ""},
		{"an MX that is no host", good().with(mx, "10 gone.example.com.\n"), "mx-missing MX bounces.example.com"},
		{"no mail at all", good().with(mx, "0 .\n"), "mx-missing MX bounces.example.com"},
		{"one of several MX", good().with(mx, "10 gone.example.com.\n20 mx.example.com.\n"), ""},
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
			got := check(t, good().with(name, failure), sender())
			if codes(got) != want || got[0].Severity != lint.Warning {
				t.Errorf("%s: %s: got %+v, want %s", name, failure, got, want)
			}
		}
	}
	hosts := good().with(host, "SERVFAIL").with(mx, "10 mx.example.com.\n")
	want := "dns-unknown MX bounces.example.com, dns-unknown PTR 192.0.2.25"
	got := codes(check(t, hosts, sender()))
	if got != want && got != "dns-unknown PTR 192.0.2.25, dns-unknown MX bounces.example.com" {
		t.Errorf("hosts: got %s, want %s", got, want)
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
		many.WriteString(quoted(fmt.Sprintf("some-service-verification=%d", n)))
	}
	if got := check(t, good().with(spf, many.String()+good()[spf]), sender()); len(got) > 0 {
		t.Errorf("got %+v", got)
	}
}

func TestAliasesInACircleEnd(t *testing.T) {
	t.Parallel()
	z := good().with("one._domainkey.example.com CNAME", "a.example.com.\n").
		with("a.example.com CNAME", "one._domainkey.example.com.\n")
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
		if got := codes(check(t, good().with(spf, quoted(text)), s)); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestWithoutAKeyARelayMaySign(t *testing.T) {
	t.Parallel()
	s := sender()
	s.Keys, s.From = nil, "example.net"
	z := good().with("_dmarc.example.net TXT", quoted("v=DMARC1; p=reject"))
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
		if f.Code != lint.DNSUnknown || !strings.Contains(f.Message, "did not answer in time") {
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
