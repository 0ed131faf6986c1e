package address_test

import (
	"bytes"
	"net/mail"
	"strings"
	"testing"
	"time"
	"unicode"

	"directmailer/internal/audience/address"
	"directmailer/internal/content/message"
)

func TestAnAddressIsReadIntoItsFormOnTheWire(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"ada@example.com":                        "ada@example.com",
		"Ada.Lovelace+news@EXAMPLE.com":          "Ada.Lovelace+news@example.com",
		"o'brien@example.com":                    "o'brien@example.com",
		"!#$%&'*+-/=?^_`{|}~@example.com":        "!#$%&'*+-/=?^_`{|}~@example.com",
		"1@2.example":                            "1@2.example",
		"root@localhost":                         "root@localhost",
		`"ada"@example.com`:                      "ada@example.com", // quotes that are not needed
		`"ada lovelace"@example.com`:             `"ada lovelace"@example.com`,
		`"a@b"@example.com`:                      `"a@b"@example.com`,
		`"a\"\\b"@example.com`:                   `"a\"\\b"@example.com`,
		`"\a\d\a"@example.com`:                   "ada@example.com",
		`".ada"@example.com`:                     `".ada"@example.com`,
		`"x> NOTIFY=NEVER"@example.com`:          `"x> NOTIFY=NEVER"@example.com`, // harmless in its quotes
		"用户@例子.example":                          "用户@xn--fsqu00a.example",
		"jürgen@bücher.example":                  "jürgen@xn--bcher-kva.example",
		"ada@BÜCHER.example":                     "ada@xn--bcher-kva.example",
		"ada@straße.example":                     "ada@xn--strae-oqa.example",
		"иван@пример.example":                    "иван@xn--e1afmkfd.example",
		strings.Repeat("a", 64) + "@example.com": strings.Repeat("a", 64) + "@example.com",
	} {
		a, err := address.Parse(in)
		if err != nil || a.String() != want {
			t.Errorf("%s: got %s, %v; want %s", in, a, err, want)
		}
	}
}

func TestWhatIsNoAddressIsRefusedAndNotQuoted(t *testing.T) {
	t.Parallel()
	label := strings.Repeat("a", 63)
	for in, want := range map[string]string{
		"":                                               "is empty",
		"secret":                                         "has no @",
		"@example.com":                                   "nothing before the @",
		"secret@":                                        "nothing after the @",
		"secret\r\nRCPT TO:<x@example.com":               "line break",
		"secret@example.com\n":                           "line break",
		"secret\x00@example.com":                         "control",
		"secret\t@example.com":                           "control",
		"secret\u200b@example.com":                       "invisible",
		"secret\u202e@example.com":                       "invisible",
		"secret\x85@example.com":                         "UTF-8",
		"secret\u0085@example.com":                       "control",
		"secret\ufffd@example.com":                       "control or invisible",
		"x> NOTIFY=NEVER@example.com":                    "name or other text beside it",
		"secret smith@example.com":                       "name or other text beside it",
		" secret@example.com":                            "blank before the @",
		"secret@example.com ":                            "domain name",
		"secret@example.com> SIZE=1":                     "name or other text beside it",
		"secret@example.com>":                            "in brackets",
		"<secret@example.com>":                           "in brackets",
		"Secret <secret@example.com>":                    "name or other text beside it",
		"secret(comment)@example.com":                    "character before the @",
		"secret@example.com(comment)":                    "domain name",
		"@relay.example:secret@example.com":              "the @ more than once",
		"group:secret@example.com;":                      "character before the @",
		"secret@a@example.com":                           "the @ more than once",
		"a@example.com,secret@example.com":               "more than one address",
		".secret@example.com":                            "begins with a dot",
		"secret.@example.com":                            "dot right before the @",
		"se..cret@example.com":                           "two dots in a row before the @",
		`"secret@example.com`:                            "quotation mark",
		`""@example.com`:                                 "quotation mark",
		`"se"cret"@example.com`:                          "quotation mark",
		`"secret\"@example.com`:                          "quotation mark",
		"secret\u00a0x@example.com":                      "name or other text beside it",
		"\"secret\u00a0x\"@example.com":                  "character before the @",
		"secret@[192.0.2.1]":                             "domain name",
		"secret@192.0.2.9":                               "IP address",
		"secret@192.0.2.1":                               "IP address",
		"secret@host":                                    "without a dot",
		"secret@example.com.":                            "domain name",
		"secret@.example.com":                            "domain name",
		"secret@exa..mple.com":                           "domain name",
		"secret@-example.com":                            "domain name",
		"secret@my_host.example.com":                     "domain name",
		"secret@xn--a.example":                           "domain name",
		"secret@a" + label + ".example":                  "domain name",
		strings.Repeat("a", 65) + "@example.com":         "64 octets",
		`"` + strings.Repeat("a ", 32) + `"@example.com`: "64 octets",
		strings.Repeat("ü", 33) + "@example.com":         "64 octets",
		strings.Repeat("a", 64) + "@" + label + "." + label + "." + label:       "254 octets",
		strings.Repeat("a", 63) + "@" + label + "." + label + "." + label:       "254 octets",
		"a@" + label + "." + label + "." + label + "." + label + ".example.com": "domain name",
	} {
		a, err := address.Parse(in)
		if err == nil {
			t.Errorf("%q was taken as %q", in, a)
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "ecret") ||
			strings.Contains(err.Error(), "example") {
			t.Errorf("%q: got %q, want something with %q, and nothing of the address", in, err, want)
		}
		if a != (address.Address{}) {
			t.Errorf("%q: an address came with the error: %q", in, a)
		}
	}
}

func TestOneMailboxHasOneKey(t *testing.T) {
	t.Parallel()
	for _, same := range [][2]string{
		{"Ada@Example.COM", "ada@example.com"},
		{`"ADA"@example.com`, "ada@example.com"},
		{"Jürgen@BÜCHER.example", "jÜrgen@xn--bcher-kva.example"},
		{"jos\u00e9@example.com", "jose\u0301@example.com"},
		{"JOSE\u0301@example.com", "jos\u00e9@example.com"},
		{"ΑΝΝΑ@example.com", "αννα@example.com"},
	} {
		if a, b := parse(t, same[0]).Key(), parse(t, same[1]).Key(); a != b {
			t.Errorf("%q and %q have the keys %q and %q", same[0], same[1], a, b)
		}
	}
	for _, other := range [][2]string{
		{"ada@example.com", "ada@example.org"},
		{"\u0130@example.com", "i@example.com"}, // I with a dot
		{"josé@example.com", "jose@example.com"},
		{`"a b"@example.com`, "ab@example.com"},
	} {
		if a, b := parse(t, other[0]).Key(), parse(t, other[1]).Key(); a == b {
			t.Errorf("%q and %q have the same key %q", other[0], other[1], a)
		}
	}
}

func TestOnlyALocalPartBeyondASCIINeedsSMTPUTF8(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{"ada@bücher.example": false, "jürgen@example.com": true,
		`"a ü"@example.com`: true} {
		if got := parse(t, in).NeedsUTF8(); got != want {
			t.Errorf("%s: got %t, want %t", in, got, want)
		}
	}
}

func TestAMailboxIsANameAndAnAddressOrAnAddress(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][2]string{
		"news@example.com":                       {"", "news@example.com"},
		" news@example.com ":                     {"", "news@example.com"},
		"<news@example.com>":                     {"", "news@example.com"},
		"Example News <news@example.com>":        {"Example News", "news@example.com"},
		`"News, Example" <news@example.com>`:     {"News, Example", "news@example.com"},
		`"a <b@example.com>" <news@example.com>`: {"a <b@example.com>", "news@example.com"},
		"Zoë Müller <zoe@bücher.example>":        {"Zoë Müller", "zoe@xn--bcher-kva.example"},
		"新闻 <news@example.com>":                  {"新闻", "news@example.com"},
		"=?utf-8?q?Zo=C3=AB?= <zoe@example.com>": {"Zoë", "zoe@example.com"},
		"👩\u200d💻 <dev@example.com>":             {"👩\u200d💻", "dev@example.com"},
		`News <"the news"@example.com>`:          {"News", `"the news"@example.com`},
		`News <"x> NOTIFY=NEVER"@example.com>`:   {"News", `"x> NOTIFY=NEVER"@example.com`},
		`"a<b"@example.com`:                      {"", `"a<b"@example.com`},
		"O'Brien & Sons <o'brien@example.com>":   {"O'Brien & Sons", "o'brien@example.com"},

		// Parentheses are a part of the name, and behind an address they are the name.
		"Support (Billing) <help@example.com>":          {"Support (Billing)", "help@example.com"},
		"(Billing) Support <help@example.com>":          {"(Billing) Support", "help@example.com"},
		"(Billing) <help@example.com>":                  {"(Billing)", "help@example.com"},
		"Shop (Nord (DE) & West) <help@example.com>":    {"Shop (Nord (DE) & West)", "help@example.com"},
		"Kasse (Büro, Mo–Fr; 9–17) <help@example.com>":  {"Kasse (Büro, Mo–Fr; 9–17)", "help@example.com"},
		`Shop (<new>) <help@example.com>`:               {"Shop (<new>)", "help@example.com"},
		`"Lee, Ann" (Sales) <ann@example.com>`:          {"Lee, Ann (Sales)", "ann@example.com"},
		"Ann Lee <ann@example.com> (Sales)":             {"Ann Lee (Sales)", "ann@example.com"},
		"ann@example.com (Ann Lee)":                     {"Ann Lee", "ann@example.com"},
		" ann@example.com  (Ann (Sales))  (EU) ":        {"Ann (Sales) EU", "ann@example.com"},
		"<ann@example.com> (Ann Lee)":                   {"Ann Lee", "ann@example.com"},
		"ann@example.com (=?utf-8?q?Zo=C3=AB?=)":        {"Zoë", "ann@example.com"},
		"ann@example.com ()":                            {"", "ann@example.com"},
		`A "quoted" team (night shift) <n@example.com>`: {`A "quoted" team (night shift)`, "n@example.com"},
		`Ann "The \"Boss\"" Lee <ann@example.com>`:      {`Ann "The "Boss"" Lee`, "ann@example.com"},
		`"Sales (EU)" <ann@example.com>`:                {"Sales (EU)", "ann@example.com"},
		`"Smile :)" <ann@example.com>`:                  {"Smile :)", "ann@example.com"},
		"ann@example.com <ann@example.com>":             {"ann@example.com", "ann@example.com"},
		`"ann@example.com" <ann@example.com>`:           {"ann@example.com", "ann@example.com"},
		"Sales @ Example [EU] <ann@example.com>":        {"Sales @ Example [EU]", "ann@example.com"},
		"Dr. Ann  Lee <ann@example.com>":                {"Dr. Ann Lee", "ann@example.com"},
		"Агентство (Київ) <info@example.com>":           {"Агентство (Київ)", "info@example.com"},
	} {
		m, err := address.ParseMailbox(in)
		if err != nil || m.Name != want[0] || m.Address.String() != want[1] {
			t.Errorf("%s: got %q, %q, %v", in, m.Name, m.Address, err)
		}
	}
}

func TestAMailboxThatIsMoreOrLessThanThatIsRefusedAndNotQuoted(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                    "empty",
		"Secret":                              "no @",
		"Secret <secret>":                     "no @",
		"\vsecret@example.com":                "control",
		"Secret <\vsecret@example.com>":       "control",
		"Secret <>":                           "empty",
		"Secret\r\nBcc: <secret@example.com>": "line break",
		"=?utf-8?q?Secret=0D=0ABcc?= <secret@example.com>": "control",
		"=?utf-8?q?Sec=00ret?= <secret@example.com>":       "control",
		"Sec\u202eret <secret@example.com>":                "invisible",
		"Sec\u2028ret <secret@example.com>":                "invisible",
		"Sec\u0085ret <secret@example.com>":                "control",
		"Sec\x00ret <secret@example.com>":                  "control",
		"Sec\vret <secret@example.com>":                    "control",
		"Secret, Inc <secret@example.com>":                 "quotes",
		"Secret :) <secret@example.com>":                   "parenthesis without its pair",
		"Secret (Billing <secret@example.com>":             "parenthesis without its pair",
		"Secret (Billing)) <secret@example.com>":           "parenthesis without its pair",
		"secret@example.com (Billing":                      "parenthesis without its pair",
		`Secret "Billing <secret@example.com>`:             "form Name",
		"secret@example.com (Sec\u202eret)":                "invisible",
		"secret@example.com (Ann), b@example.com":          "more than one",
		"Secret; A <secret@example.com>":                   "quotes",
		"Secret <secret@example.com>, b@example.com":       "form Name",
		"Secret: A <secret@example.com>;":                  "form Name",
		"Secret <secret@example.com":                       "form Name",
		"Secret <x y@example.com>":                         "name or other text beside it",
		"Secret <x@[192.0.2.1]>":                           "domain name",
	} {
		m, err := address.ParseMailbox(in)
		if err == nil {
			t.Errorf("%q was taken as %q", in, m)
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "ecret") || m != (address.Mailbox{}) {
			t.Errorf("%q: got %q, want something with %q, and nothing of the address", in, err, want)
		}
	}
}

func TestAddressesThatCouldEndEarlyAreRefused(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"", "@", "a@", "@b.example", "a b@example.com", `"x> NOTIFY=NEVER"@example.com` + "\r\n",
		"x> NOTIFY=NEVER@example.com", "a@example.com> SIZE=1", "a@exa mple.com", "a@example..com", "a@-x.com",
		"a@x-.com", "a..b@example.com", ".a@example.com", "a.@example.com", "a@b@example.com", "a<b@example.com",
		"a\x00@example.com", "a\r\n@example.com", `"a"b@example.com`, `"a\"@example.com`, `""@example.com`,
		strings.Repeat("a", 65) + "@example.com", "a@" + strings.Repeat("b.", 130) + "com", "a\u0085@example.com",
		"a\u2028b@example.com", "a\xff@example.com", "a,b@example.com", "a@example.com,b@example.com",
		"a@[127.0.0.1]", "a@example_x.com",
	} {
		if _, err := address.Parse(bad); err == nil {
			t.Errorf("%q is taken", bad)
		} else if bad != "" && strings.Contains(err.Error(), bad) && len(bad) > 3 {
			t.Errorf("the error repeats %q", bad)
		}
	}
	for _, good := range []string{
		"a@example.com", "o'brien+x@example.com", `"a b"@example.com`, `"x> NOTIFY=NEVER"@example.com`,
		`"a\"b"@example.com`, "дима@example.com", "a@xn--bcher-kva.example", "a@localhost", "a@EXAMPLE.com",
	} {
		if _, err := address.Parse(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

func TestAQuotedLocalPartKeepsItsQuotes(t *testing.T) {
	t.Parallel()
	m, err := address.ParseMailbox(`"Pat, Inc." <"a b\"c"@example.com>`)
	if err != nil || m.Address.String() != `"a b\"c"@example.com` || m.Name != "Pat, Inc." {
		t.Errorf("%+v, %v", m, err)
	}
	if m, err := address.ParseMailbox("Bücher <news@Bücher.example>"); err != nil ||
		m.Address.String() != "news@xn--bcher-kva.example" {
		t.Errorf("%+v, %v", m, err)
	}
	for _, bad := range []string{"", "x", "a@b, c@d", "A <a@b>\r\nBcc: c@d", "A <a@b_ücher.example>", "<>"} {
		if _, err := address.ParseMailbox(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// The addresses of a mailing's From, Reply-To and envelope and those of recipients are read by one
// parser. A From that nobody can answer is refused at the start.
func TestAMailboxMustBeOneThatMailCanBeDeliveredTo(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"news@example.com":                          "news@example.com",
		"News <news@Example.COM>":                   "news@example.com",
		"news@localhost":                            "news@localhost",
		"news@bücher.example":                       "news@xn--bcher-kva.example",
		"news@host":                                 "",
		"ann@1.2.3.4":                               "",
		"news@e.123":                                "",
		"News <news@[192.0.2.1]>":                   "",
		"Team: a@example.com;":                      "",
		"Team: a@example.com, b@example.com;":       "",
		"news@example.com (comment)":                "news@example.com",
		"(comment) news@example.com":                "",
		"\u202eNews <news@example.com>":             "",
		"news@a\u00ad.example":                      "",
		"ne\u00a0ws@example.com":                    "",
		"\u00a0news@example.com":                    "",
		"news@xn--a.example":                        "",
		"News <@relay.example:news@example.com>":    "",
		"News <news@example.com>, b@example.com":    "",
		"\u00a0<news@example.com>, <x@example.com>": "",
	} {
		m, err := address.ParseMailbox(in)
		if m.Address.String() != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v; want %q", in, m.Address, err, want)
		}
	}
}

// FuzzParse: what is accepted is one argument of RCPT TO for everybody who reads it, and reads back
// as itself.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"ada@example.com", `"x> NOTIFY=NEVER"@example.com`, `"a\"\\b"@example.com`, "jürgen@bücher.example", "a@b.c\r\nDATA",
		"a@ａ．example", "\u212a@example.com",
		"a@xn--bcher-kva.example", `"\ "@example.com`, "a@İ.example", "a@a\u00ad.example",
		strings.Repeat("l", 65) + "@example.com", `"` + strings.Repeat(`\"`, 31) + `"@example.org`,
		`"` + strings.Repeat("x", 62) + `"@example.com`, `"a@b"@example.com`, "a@[192.0.2.1]", "a@b@c.example",
		"\u2028@example.com", "\"\u3000\"@example.com", "a@" + strings.Repeat("d.", 125) + "example", "e\u0301@example.com",
		"a@e\u0301.example", "a@1.2.3.4", "<a@b.example>", "(c)a@b.example",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		a, err := address.Parse(in)
		if err != nil {
			if len(in) > 3 && strings.Contains(err.Error(), in) {
				t.Fatalf("the error quotes the address: %v", err)
			}
			return
		}
		wire := a.String()
		if strings.ContainsFunc(wire, unicode.IsControl) || len(a.Local()) > 64 || len(wire) > 254 {
			t.Fatalf("%q became %q", in, wire)
		}
		if argument, rest := readPath("<" + wire + ">"); argument != wire || rest != "" {
			t.Fatalf("%q became %q, which an SMTP server reads as %q, then %q", in, wire, argument, rest)
		}
		again, err := address.Parse(wire)
		if err != nil || again != a {
			t.Fatalf("%q became %q, and that %q, %v", in, wire, again, err)
		}
		key, err := address.Parse(a.Key())
		if err == nil && key.Key() != a.Key() {
			t.Fatalf("%q has the key %q, and that the key %q", in, a.Key(), key.Key())
		}
		if parsed, err := mail.ParseAddress("<" + wire + ">"); err != nil ||
			parsed.Address != unquote(a.Local())+"@"+a.Domain() {
			t.Fatalf("%q became %q, which net/mail reads as %v, %v", in, wire, parsed, err)
		}
		if box, err := address.ParseMailbox(`"A, B" <` + wire + ">"); err != nil || box.Address != a ||
			box.Name != "A, B" {
			t.Fatalf("%q became %q, which with a name is %v, %v", in, wire, box, err)
		}
	})
}

// unquote is what a local part means: net/mail undoes the quotes.
func unquote(local string) string {
	if !strings.HasPrefix(local, `"`) {
		return local
	}
	var b strings.Builder
	for i := 1; i < len(local)-1; i++ {
		if local[i] == '\\' {
			i++
		}
		b.WriteByte(local[i])
	}
	return b.String()
}

// FuzzMailbox: a mailbox that ParseMailbox takes makes a header From that another parser reads as
// the same mailbox.
func FuzzMailbox(f *testing.F) {
	for _, seed := range []string{
		"news@example.com", "News <news@Example.com>", `"x y"@example.com`, "=?utf-8?q?Zo=C3=AB?= <zoe@example.com>",
		"ü <ü@ü.example>", `"a\"b" <"a\""@example.com>`, "a@İx.example", "👩\u200d💻 <dev@example.com>",
		"\vnews@example.com", "\u00a0<news@example.com>", "news@host", "Team: a@example.com;",
		"Support (Billing (EU)) <help@example.com> (x)", `A "b" c <a@example.com>`, `a@example.com (\)x)`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		m, err := address.ParseMailbox(in)
		if err != nil {
			return
		}
		composed, err := (&message.Message{
			From: m, To: m, Date: time.Unix(0, 0), ID: "<a@b.example>", Text: []byte("x"),
		}).Append(nil)
		if err != nil {
			t.Fatalf("%q is %q, %q, which a message refuses: %v", in, m.Name, m.Address, err)
		}
		parsed, err := mail.ReadMessage(bytes.NewReader(composed))
		if err != nil {
			t.Fatalf("%q: %v", in, err)
		}
		from, err := parsed.Header.AddressList("From")
		want := mail.Address{Name: m.Name, Address: unquote(m.Address.Local()) + "@" + m.Address.Domain()}
		if err != nil || len(from) != 1 || *from[0] != want {
			t.Fatalf("%q is %q, %q, and as a header %v, %v", in, m.Name, m.Address, from, err)
		}
	})
}

// readPath reads a path as RFC 5321, 4.1.2 has it: up to the first > outside quotes.
func readPath(s string) (argument, rest string) {
	quoted := false
	for i := 1; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case !quoted && s[i] == '>':
			return s[1:i], s[i+1:]
		case !quoted && (s[i] <= ' ' || s[i] == '<'):
			return "", s
		}
	}
	return "", s
}

func BenchmarkParse(b *testing.B) {
	for name, in := range map[string]string{"ascii": "ada.lovelace@mail.example.com", "upper": "Ada.Lovelace@Example.COM",
		"unicode": "jürgen@bücher.example"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				a, err := address.Parse(in)
				if err != nil || a.Key() == "" {
					b.Fatal(err)
				}
			}
		})
	}
}

func parse(t *testing.T, s string) address.Address {
	t.Helper()
	a, err := address.Parse(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return a
}
