package cli

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"directmailer/internal/content/dkim"
	"directmailer/internal/dev/dnstest"
)

// checked is what `check -f FILE --output json` says.
type checked struct {
	Mailing struct {
		Sampled, Failed int
		Largest         struct{ Message, HTML int }
		Findings        []found
	}
	Environment []struct{ What, Result string }
}

type found struct {
	Code, Severity, Field, Place, Where, Message, Action string
	Messages                                             int
}

// find returns the finding with the code.
func find(t *testing.T, all []found, code string) found {
	t.Helper()
	i := slices.IndexFunc(all, func(f found) bool { return f.Code == code })
	if i < 0 {
		t.Fatalf("there is no %s in %+v", code, all)
	}
	return all[i]
}

// writeBadLink writes an HTML part with a link that only works at home.
func (s *shell) writeBadLink() {
	s.write("letter.html", "<p>Hello {{.first_name}}, the plan {{.plan}} is yours</p>\n"+
		`<a href="http://shop.local/?who={{.first_name}}">Shop</a>`+"\n")
}

func TestACheckOfAMailingLooksAtTheMessagesOfRealRecipients(t *testing.T) {
	t.Parallel()
	s := newShellWithoutServers(t)
	s.writeLetter()
	s.writeBadLink()
	a := s.run("check", "-f", "letter.yaml")
	a.wantError(t, 2, "letter.yaml: ", "link-private-host", "not usable: PostgreSQL")
	a.want(t, 2, "letter.html:2:10: link", " http://shop.local/?who={{.first_name}} ", "That of the workers may differ")
	var got checked
	b := s.run("check", "-f", "letter.yaml", "--output", "json").want(t, 2)
	b.decode(t, &got)
	want := found{Code: "link-private-host", Severity: "error", Field: "content.html", Place: "letter.html:2:10",
		Where:   "link http://shop.local/?who={{.first_name}}",
		Message: "leads to a host that only a private network knows", Action: "use a host with a public name", Messages: 4}
	if f := find(t, got.Mailing.Findings, "link-private-host"); f != want {
		t.Errorf("got %+v, want %+v", f, want)
	}
	m := got.Mailing
	if m.Sampled != 4 || m.Failed != 0 || m.Largest.Message < 500 || m.Largest.HTML < 50 || len(got.Environment) < 3 {
		t.Errorf("%+v", got)
	}
	for _, text := range []string{"@example", "Åsa", "O'Neill"} {
		if strings.Contains(a.out+a.err+b.out+b.err, text) {
			t.Errorf("data is shown:\n%s%s%s", a.out, a.err, b.out)
		}
	}
	s.write("letter.html", "{{.first_name.x}}")
	s.run("check", "-f", "letter.yaml").wantError(t, 2, "no recipient of the sample can be rendered")
}

func TestACheckAsksTheDNSOnlyWhereItIsTold(t *testing.T) {
	t.Parallel()
	s := newShellWithoutServers(t)
	s.writeLetter()
	silent := s.run("check", "-f", "letter.yaml", "--output", "json")
	if strings.Contains(silent.out, "dns-unknown") {
		t.Errorf("the DNS was asked: %s", silent.out)
	}
	var got checked
	a := s.run("check", "-f", "letter.yaml", "--resolver", "127.0.0.1:1", "--from-ip", "192.0.2.1", "--output", "json")
	a.decode(t, &got)
	unknown := find(t, got.Mailing.Findings, "dns-unknown")
	if unknown.Severity != "warning" || strings.Contains(a.out, "spf-missing") {
		t.Errorf("%+v", got)
	}
	for flag, text := range map[string]string{
		"--resolver=https://dns.example.com/": "--resolver: it is neither HOST:PORT",
		"--from-ip=192.0.2.1":                 "--from-ip needs --resolver",
		"--from-ip=mx.example.com":            `--from-ip: "mx.example.com" is not an IP address`,
	} {
		s.run("check", "-f", "letter.yaml", flag).wantError(t, 2, text)
		s.run("start", "-f", "letter.yaml", flag).wantError(t, 2, text)
	}
	s.run("check", "--resolver", "127.0.0.1:1").wantError(t, 2, "--resolver needs --file")
}

func TestAStartStopsAtErrorsUnlessTheyAreNamed(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.writeLetter()
	s.writeBadLink()
	id := newID(t)
	for _, more := range [][]string{{"--dry-run"}, nil, {"--despite", "link-empty"}} {
		a := s.run(append([]string{"start", "-f", "letter.yaml", "--id", id}, more...)...)
		a.wantError(t, 2, "error: link-private-host: letter.html:2:10: link http://shop.local/", "nothing was done")
	}
	s.run("list", "ls", "--output", "json").want(t, 0, "[]")
	s.run("show", id).wantError(t, 4)
	s.run("start", "-f", "letter.yaml", "--despite", "link-private").wantError(t, 2,
		`--despite: no finding has the code "link-private"`)

	var dry struct{ Findings []found }
	a := s.run("start", "-f", "letter.yaml", "--id", id, "--dry-run", "--output", "json", "--despite", "link-private-host")
	if err := json.Unmarshal([]byte(a.want(t, 3).out), &dry); err != nil {
		t.Fatal(err)
	}
	find(t, dry.Findings, "link-private-host")
	s.run("start", "-f", "letter.yaml", "--id", id, "--despite", "link-empty,link-private-host").
		want(t, 3, "error (--despite): link-private-host", "is started")
	s.run("__complete", "start", "--despite", "link-").want(t, 0, "link-private-host\t", "link-malformed\t")
}

func TestACheckReadsEachKindOfAudience(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.createSource()
	s.writeQueryLetter(query)
	s.writeBadLink()
	want := func(sampled int) {
		t.Helper()
		var got checked
		s.run("check", "-f", "letter.yaml", "--output", "json").want(t, 2).decode(t, &got)
		find(t, got.Mailing.Findings, "link-private-host")
		if got.Mailing.Sampled != sampled {
			t.Errorf("%+v", got)
		}
	}
	want(2)
	s.write("people.csv", people)
	s.run("list", "import", "people", "people.csv").want(t, 3)
	s.write("letter.yaml", strings.Replace(letter, "  file: people.csv\n", "", 1))
	want(4)
	var got checked
	away := s.with("DATABASE_URL", "postgres://127.0.0.1:1/none?sslmode=disable")
	away.run("check", "-f", "letter.yaml", "--output", "json").want(t, 8, "no recipient can be read").decode(t, &got)
	find(t, got.Mailing.Findings, "sample-missing")
	s.run("list", "delete", "people", "--yes").want(t, 0)
	s.run("check", "-f", "letter.yaml").wantError(t, 4, "no list is named people")
}

// The check compares the key that signs with its record, and evaluates SPF for the address that is
// given.
func TestACheckComparesTheKeyThatSignsWithItsRecord(t *testing.T) {
	t.Parallel()
	s := newShellWithoutServers(t)
	s.writeLetter()
	text, err := dkim.Generate(dkim.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	key, err := dkim.ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	s.env["DM_DKIM"] = "example.com=" + s.write("key.pem", string(text)) + "?selector=one"
	key.Domain, key.Selector = "example.com", "one"
	zone := dnstest.Zone{
		"one._domainkey.example.com TXT": dnstest.Quoted(key.Record().Value),
		"example.com TXT":                dnstest.Quoted("v=spf1 ip4:192.0.2.25 -all"),
		"example.com MX":                 "10 mx.example.com.\n",
		"mx.example.com A":               "192.0.2.25\n",
		"_dmarc.example.com TXT":         dnstest.Quoted("v=DMARC1; p=reject"),
		"25.2.0.192.in-addr.arpa PTR":    "mx.example.com.\n",
	}
	run := func(z dnstest.Zone, ip string) (codes []string) {
		var got checked
		s.run("check", "-f", "letter.yaml", "--resolver", dnstest.Serve(t, z), "--from-ip", ip, "--output", "json").
			decode(t, &got)
		for _, f := range got.Mailing.Findings {
			if !strings.HasPrefix(f.Code, "unsubscribe-") {
				codes = append(codes, f.Code)
			}
		}
		return codes
	}
	if got := run(zone, "192.0.2.25"); len(got) > 0 {
		t.Errorf("got %v", got)
	}
	other := zone.With("one._domainkey.example.com TXT", dnstest.Quoted("v=DKIM1; k=ed25519; p=AAAA"))
	want := []string{"dkim-record-mismatch", "spf-not-allowed", "ptr-missing"}
	if got := run(other, "192.0.2.26"); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}
