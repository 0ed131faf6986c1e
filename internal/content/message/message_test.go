package message

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jhillyerd/enmime/v2"
	gomail "github.com/wneessen/go-mail"

	"directmailer/internal/audience/address"
)

func sample() *Message {
	return &Message{
		From:    mailbox("Example News", "news@example.com"),
		To:      mailbox("", "anna@example.org"),
		Subject: "Hello",
		Date:    time.Date(2026, 3, 1, 9, 30, 0, 0, time.FixedZone("", 3600)),
		ID:      ID("spring-2026", 7, "anna@example.org", "example.com"),
		ListID:  "news.example.com",
		Text:    []byte("Hello Anna\n"),
		HTML:    []byte("<p>Hello Anna</p>\n"),
	}
}

// mailbox returns the mailbox of a name and a valid address.
func mailbox(name, text string) address.Mailbox {
	a, err := address.Parse(text)
	if err != nil {
		panic(err)
	}
	return address.Mailbox{Name: name, Address: a}
}

func compose(t testing.TB, m *Message) []byte {
	t.Helper()
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// checkWire checks what must hold for every message, whatever is in it.
var encodedWord = regexp.MustCompile(`=\?utf-8\?[bq]\?[^? ]*\?=`)

func checkWire(t testing.TB, b []byte, utf8 bool) {
	t.Helper()
	if !bytes.HasSuffix(b, []byte("\r\n")) {
		t.Error("does not end with a line end")
	}
	header := true
	for i, line := range strings.Split(strings.TrimSuffix(string(b), "\r\n"), "\r\n") {
		if line == "" {
			header = false
		}
		if strings.ContainsAny(line, "\r\n\x00") {
			t.Errorf("line %d holds a bare CR, LF or NUL", i+1)
		}
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "From ") {
			t.Errorf("line %d begins with a dot or From", i+1)
		}
		if most := 76; !header && len(line) > most {
			t.Errorf("line %d has %d octets", i+1, len(line))
		}
		if header && len(line) > 78 && !strings.HasPrefix(line, "Message-ID: ") && !strings.Contains(line, "@") {
			t.Errorf("header line %d has %d octets: %s", i+1, len(line), line)
		}
		if len(line) > 998 {
			t.Errorf("line %d has %d octets", i+1, len(line))
		}
		for _, word := range encodedWord.FindAllString(line, -1) { // some readers decode each word alone
			if text, err := new(mime.WordDecoder).Decode(word); header && (err != nil || strings.ToValidUTF8(text, "") != text) {
				t.Errorf("line %d: %s has a part of a character", i+1, word)
			}
		}
		for _, c := range []byte(line) {
			if c >= 0x80 && !(header && utf8) {
				t.Errorf("line %d is not ASCII", i+1)
				break
			}
		}
	}
}

func TestTwoIndependentParsersReadWhatWasComposed(t *testing.T) {
	t.Parallel()
	subjects := []string{
		"Hello", "a  b   c", "Grüße aus Köln",
		"Привет, Анна! Новости этой недели для вас и всей вашей семьи — в одном письме",
		"春季通讯:给您的最新消息与优惠活动,敬请查看,谢谢您一直以来的支持与信任", "🎉 50 % off 🎉", "=?utf-8?q?not_encoded?=", " edge ", "tab\tinside",
		strings.Repeat("a long subject in plain words ", 20) + "end", strings.Repeat("x", 1200),
		"O'Brien said \"hi\" \\ (ok) <x@y>", "e\u0301 combining", "",
	}
	names := []string{"", "Anna", "Anna Müller", "O'Brien, Pat", `Pat "Patty" \ Smith`, "Иван Петров", "王小明", "News 🎉",
		"dots. and (parens)", "a@b", strings.Repeat("Long Name ", 30) + "End", "=?x?="}
	for _, subject := range subjects {
		for _, name := range names {
			m := sample()
			m.Subject, m.From.Name, m.To.Name = subject, name, name
			m.ReplyTo = mailbox(name, "reply@example.net")
			b := compose(t, m)
			checkWire(t, b, false)

			std, err := mail.ReadMessage(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			got, err := new(mime.WordDecoder).DecodeHeader(std.Header.Get("Subject"))
			if err != nil || got != subject {
				t.Errorf("subject %q came back as %q, %v", subject, got, err)
			}
			for _, field := range []string{"From", "To", "Reply-To"} {
				list, err := std.Header.AddressList(field)
				if err != nil || len(list) != 1 || list[0].Name != name {
					t.Errorf("%s %q came back as %v, %v", field, name, list, err)
				}
			}
			if date, err := std.Header.Date(); err != nil || !date.Equal(m.Date) {
				t.Error("date", date, err)
			}

			env, err := enmime.ReadEnvelope(bytes.NewReader(b))
			if err != nil || len(env.Errors) > 0 {
				t.Fatal(err, env.Errors)
			}
			if got := env.GetHeader("Subject"); strings.TrimSpace(got) != strings.TrimSpace(subject) &&
				subject != "=?utf-8?q?not_encoded?=" {
				t.Errorf("enmime: subject %q came back as %q", subject, got)
			}
			if env.GetHeader("Message-Id") != m.ID || env.GetHeader("List-Id") != "<news.example.com>" {
				t.Error("identifiers differ")
			}
		}
	}
}

func TestBodiesComeBackExactly(t *testing.T) {
	t.Parallel()
	bodies := []string{
		"", "x", "no end", "end\n", "crlf\r\nlf\nend\r\n", ".\n..\n.dot\n", "From here\nFrom\nFrom: x\n", "a=b==c=\n",
		"trailing  \t \n \n\t\n", "tab\tinside\n", strings.Repeat("x", 5000), strings.Repeat("é", 3000) + "\n",
		strings.Repeat("🎉", 999),
		strings.Repeat(strings.Repeat("y", 75)+".z\n", 3), strings.Repeat("q", 75) + "From x\n",
		strings.Repeat(" ", 200) + "\n", strings.Repeat("\t", 80),
		strings.Repeat("z", 74) + " \n", strings.Repeat("z", 75) + " \n", strings.Repeat("z", 75) + "\n",
		strings.Repeat("z", 76) + "\n", "\x01\x7f\x1b[0m\n",
		"Zażółć gęślą jaźń — 你好, мир\n\n\n", "\n\n\nx", "--=_abc\n",
	}
	for _, body := range bodies {
		m := sample()
		m.Text, m.HTML = []byte(body), []byte("<b>"+body+"</b>")
		b := compose(t, m)
		checkWire(t, b, false)
		root, err := enmime.ReadParts(bytes.NewReader(b))
		if err != nil || root.ContentType != "multipart/alternative" || root.FirstChild == nil ||
			root.FirstChild.NextSibling == nil {
			t.Fatal(err)
		}
		for part, want := range map[*enmime.Part]string{root.FirstChild: body,
			root.FirstChild.NextSibling: "<b>" + body + "</b>"} {
			// The end of the last line belongs to the boundary.
			if want = strings.TrimSuffix(canonical(want), "\r\n"); canonical(string(part.Content)) != want {
				t.Errorf("%q came back as %q", want, part.Content)
			}
		}
	}
}

// canonical gives every line its CRLF, but for a last one without.
func canonical(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

func TestOneBodyIsNotMultipart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text, html []byte
		want       string
	}{{[]byte("t"), nil, "text/plain"}, {nil, []byte("h"), "text/html"}} {
		m := sample()
		m.Text, m.HTML = c.text, c.html
		std, err := mail.ReadMessage(bytes.NewReader(compose(t, m)))
		if err != nil {
			t.Fatal(err)
		}
		if got, params, _ := mime.ParseMediaType(std.Header.Get("Content-Type")); got != c.want ||
			params["charset"] != "utf-8" {
			t.Error(got, params)
		}
	}
}

func TestHostileValuesAreRefusedAndNotRepeatedInTheError(t *testing.T) {
	t.Parallel()
	const mark = "SECRET"
	cases := map[string]func(*Message){
		"subject":    func(m *Message) { m.Subject = mark + "\r\nBcc: x@example.com" },
		"subject ":   func(m *Message) { m.Subject = mark + "\nBcc: x@example.com" },
		"subject  ":  func(m *Message) { m.Subject = mark + "\rBcc" },
		"subject \t": func(m *Message) { m.Subject = mark + "\x00" },
		"subject é":  func(m *Message) { m.Subject = mark + "\xff" },
		"from":       func(m *Message) { m.From.Name = mark + "\r\n" },
		"to":         func(m *Message) { m.To.Name = mark + "\x7f" },
		"to ":        func(m *Message) { m.To = address.Mailbox{} },
		"reply_to":   func(m *Message) { m.ReplyTo = mailbox(mark+"\r\nBcc: y@example.com", "a@example.com") },
		"reply_to ":  func(m *Message) { m.ReplyTo = address.Mailbox{Name: mark} },
		"message_id": func(m *Message) { m.ID = "<" + mark + "\r\n@x>" },
		"list_id":    func(m *Message) { m.ListID = mark + "\r\nX: y.z" },
		"list_id ":   func(m *Message) { m.ListID = mark + ".example." },
		"list_id  ":  func(m *Message) { m.ListID = mark + strings.Repeat(".example", 32) },
		"date":       func(m *Message) { m.Date = time.Time{} },
		"text":       func(m *Message) { m.Text = []byte(mark + "\rx") },
		"text ":      func(m *Message) { m.Text = []byte(mark + "\r\r\n") },
		"text  ":     func(m *Message) { m.Text = []byte(mark + "\r") },
		"text \t":    func(m *Message) { m.Text, m.HTML = nil, nil },
		"html":       func(m *Message) { m.HTML = []byte(mark + "\x00") },
		"html ":      func(m *Message) { m.HTML = []byte(mark + "\xc3(") },
	}
	for field, spoil := range cases {
		m := sample()
		spoil(m)
		before := []byte("before")
		out, err := m.Append(before)
		var refused *FieldError
		if !errors.As(err, &refused) || refused.Field != strings.Fields(field)[0] {
			t.Errorf("%q: %v", field, err)
			continue
		}
		if strings.Contains(err.Error(), mark) {
			t.Errorf("%q: the error repeats the value", field)
		}
		if string(out) != "before" {
			t.Errorf("%q: half a message is left", field)
		}
	}
}

func TestANonASCIILocalPartNeedsSMTPUTF8(t *testing.T) {
	t.Parallel()
	m := sample()
	m.Subject, m.From.Name = "Привет", "Новости"
	if m.NeedsUTF8() {
		t.Error("needed for values that are encoded")
	}
	m.To = mailbox("Дима", "дима@example.com")
	if !m.NeedsUTF8() {
		t.Error("not reported")
	}
	m.To, m.ReplyTo = m.From, m.To
	if !m.NeedsUTF8() {
		t.Error("not reported for the address of replies")
	}
	m.To, m.ReplyTo = m.ReplyTo, address.Mailbox{}
	b := compose(t, m)
	checkWire(t, b, true)
	std, err := mail.ReadMessage(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if to, err := std.Header.AddressList("To"); err != nil ||
		*to[0] != (mail.Address{Name: "Дима", Address: "дима@example.com"}) {
		t.Error(to, err)
	}
}

func TestTheMessageIDIsStableUniqueAndSilent(t *testing.T) {
	t.Parallel()
	const want = "<spring-2026.7.mzuytmdtax364qkk@example.com>"
	got := ID("spring-2026", 7, "anna.mueller@example.org", "example.com")
	if got != ID("spring-2026", 7, "anna.mueller@example.org", "example.com") {
		t.Error("not stable")
	}
	if got != want {
		t.Errorf("%s, was %s: a resend after an upgrade would have another Message-ID", got, want)
	}
	if strings.Contains(got, "anna") || strings.Contains(got, "mueller") {
		t.Error("holds the address")
	}
	for _, other := range []string{ID("spring-2026", 8, "anna.mueller@example.org", "example.com"),
		ID("spring-2027", 7, "anna.mueller@example.org", "example.com")} {
		if other == got {
			t.Error("not unique")
		}
	}
	if !validMessageID(ID(strings.Repeat("a", 100), 1<<31-1, "x", strings.Repeat("b", 63)+".example")) {
		t.Error("the longest mailing ID is no dot-atom")
	}
}

func TestTheSameMessageGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	if !bytes.Equal(compose(t, sample()), compose(t, sample())) {
		t.Error("differ")
	}
}

func TestNoLineTakesMoreThanItMayAndNoCharacterIsSplit(t *testing.T) {
	t.Parallel()
	for n := range 200 {
		m := sample()
		m.Subject = strings.Repeat("a", n) + strings.Repeat("é🎉", 40)
		m.Text = []byte(strings.Repeat("b", n) + strings.Repeat("é🎉.", 40) + " \n")
		b := compose(t, m)
		checkWire(t, b, false)
		header, _, _ := strings.Cut(string(b), "\r\n\r\n")
		for word := range strings.FieldsSeq(header) {
			if !strings.HasPrefix(word, "=?") {
				continue
			}
			if s, err := new(mime.WordDecoder).Decode(word); err != nil || strings.Contains(s, "\ufffd") ||
				len(word) > 75 {
				t.Fatalf("%s: %q, %v", word, s, err)
			}
		}
	}
}

func FuzzQuotedPrintable(f *testing.F) {
	for _, seed := range []string{"a=b", ".x\n..", "From me", "é \t\n", strings.Repeat("x", 100),
		strings.Repeat("a", 74) + " \r\nb"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		out, err := appendQuotedPrintable(nil, body)
		if err != nil {
			return
		}
		got := new(bytes.Buffer)
		if _, err := got.ReadFrom(quotedprintable.NewReader(bytes.NewReader(out))); err != nil {
			t.Fatal(err)
		}
		want := canonical(string(body))
		if want != "" && !strings.HasSuffix(want, "\r\n") {
			want += "\r\n"
		}
		if got.String() != want {
			t.Errorf("%q came back as %q", want, got)
		}
		for line := range strings.SplitSeq(string(out), "\r\n") {
			if len(line) > 76 || strings.HasPrefix(line, ".") || strings.HasPrefix(line, "From ") ||
				strings.ContainsAny(line, "\r\n\x00") {
				t.Errorf("line %q", line)
			}
		}
		if bytes.Contains(out, []byte("=_")) {
			t.Error("a boundary could be in it")
		}
	})
}

func FuzzHeader(f *testing.F) {
	for _, seed := range []string{"Hello", "Grüße", "a  b", "=?utf-8?q?x?=", "x\r\nBcc: y", strings.Repeat("é", 100),
		strings.Repeat("a b ", 100), "\"q\\"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		m := sample()
		m.Subject, m.From.Name = value, value
		b, err := m.Append(nil)
		if err != nil {
			return
		}
		checkWire(t, b, false)
		std, err := mail.ReadMessage(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if len(std.Header) != len(mustRead(t, sample()).Header) {
			t.Error("another number of fields")
		}
		got, err := new(mime.WordDecoder).DecodeHeader(std.Header.Get("Subject"))
		if err != nil || got != value {
			t.Errorf("subject %q came back as %q, %v", value, got, err)
		}
		from, err := std.Header.AddressList("From")
		if err != nil || len(from) != 1 || from[0].Name != value {
			t.Errorf("name %q came back as %v, %v", value, from, err)
		}
	})
}

func mustRead(t *testing.T, m *Message) *mail.Message {
	t.Helper()
	std, err := mail.ReadMessage(bytes.NewReader(compose(t, m)))
	if err != nil {
		t.Fatal(err)
	}
	return std
}

// page is about 20 KB of newsletter in two parts.
func page() *Message {
	m := sample()
	m.Subject = "Grüße aus Köln, Anna"
	m.Text = []byte(
		strings.Repeat(
			"Dear Anna, this week's news from Example: a line of text that is wrapped somewhere = here — or there.\n",
			40,
		),
	)
	m.HTML = []byte(
		strings.Repeat(
			`<tr><td class="cell" style="font-family:sans-serif;color:#333">An item of the newsletter, `+
				`<a href="https://example.com/x?id=42&amp;r=7">read more</a></td></tr>`+"\n",
			100,
		),
	)
	return m
}

func BenchmarkAppend(b *testing.B) {
	m := page()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = m.Append(buf[:0])
	}
	b.SetBytes(int64(len(buf)))
	b.ReportMetric(float64(len(buf)), "octets")
}

func BenchmarkQuotedPrintable(b *testing.B) {
	m := page()
	b.Run("own", func(b *testing.B) {
		var buf []byte
		b.SetBytes(int64(len(m.HTML)))
		for b.Loop() {
			buf, _ = appendQuotedPrintable(buf[:0], m.HTML)
		}
	})
	b.Run("mime/quotedprintable", func(b *testing.B) {
		var buf bytes.Buffer
		b.SetBytes(int64(len(m.HTML)))
		for b.Loop() {
			buf.Reset()
			w := quotedprintable.NewWriter(&buf)
			w.Write(m.HTML)
			w.Close()
		}
	})
	// What encoding the literal text of a template beforehand would leave to do at best.
	b.Run("copy", func(b *testing.B) {
		var buf []byte
		b.SetBytes(int64(len(m.HTML)))
		for b.Loop() {
			buf = append(buf[:0], m.HTML...)
		}
	})
}

func BenchmarkOthers(b *testing.B) {
	m := page()
	b.Run("enmime", func(b *testing.B) {
		var buf bytes.Buffer
		b.ReportAllocs()
		for b.Loop() {
			buf.Reset()
			p, err := enmime.Builder().From(m.From.Name, m.From.Address.String()).
				To("", m.To.Address.String()).Subject(m.Subject).Text(m.Text).HTML(m.HTML).Build()
			if err != nil {
				b.Fatal(err)
			}
			if err := p.Encode(&buf); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("go-mail", func(b *testing.B) {
		var buf bytes.Buffer
		b.ReportAllocs()
		text, html := string(m.Text), string(m.HTML)
		for b.Loop() {
			buf.Reset()
			g := gomail.NewMsg()
			if err := errors.Join(g.From(fmt.Sprintf("%s <%s>", m.From.Name, m.From.Address.String())),
				g.To(m.To.Address.String())); err != nil {
				b.Fatal(err)
			}
			g.Subject(m.Subject)
			g.SetBodyString(gomail.TypeTextPlain, text)
			g.AddAlternativeString(gomail.TypeTextHTML, html)
			if _, err := g.WriteTo(&buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func TestABodyThatIsEncodedOnceGivesTheSameMessage(t *testing.T) {
	t.Parallel()
	for _, m := range []*Message{page(), sample(), {Text: []byte("only\n.text")}, {HTML: []byte("<p>only")}} {
		want := *m
		if want.ID == "" {
			want = *sample()
			want.Text, want.HTML = m.Text, m.HTML
		}
		got := want
		got.Text, got.HTML = nil, nil
		var err, err2 error
		if want.Text != nil {
			got.EncodedText, err = Encode(want.Text)
		}
		if want.HTML != nil {
			got.EncodedHTML, err2 = Encode(want.HTML)
		}
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		a, err := want.Append(nil)
		b, err2 := got.Append(nil)
		if err != nil || err2 != nil || !bytes.Equal(a, b) {
			t.Errorf("%v %v\ngot\n%s\nwant\n%s", err, err2, b, a)
		}
	}
	if _, err := Encode([]byte("a\rb")); !errors.Is(err, errBareCR) {
		t.Errorf("got %v", err)
	}
}
