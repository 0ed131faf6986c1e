package render

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"mime"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jhillyerd/enmime/v2"

	"directmailer/internal/audience/field"
	"directmailer/internal/content/dkim"
	"directmailer/internal/content/dkim/dkimtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func spec() Spec {
	return Spec{
		Mailing: "spring-2026",
		From:    "Example News <news@example.com>",
		ReplyTo: "editors@example.com",
		Subject: "Hello {{.first_name}}",
		Text:    "Dear {{.first_name}},\nthis is for {{.email}}.\n",
		HTML:    "<p>Dear {{.first_name}},</p>\n<p>this is for {{.email}}.</p>\n",
		ListID:  "news.example.com",
		Date:    time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC),
	}
}

func anna(attributes ...string) Recipient {
	r := Recipient{Number: 7, Address: "anna@example.org", Attributes: field.Values{"first_name": {Text: "Anna"}}}
	for i := 0; i < len(attributes); i += 2 {
		r.Attributes[attributes[i]] = field.Value{Text: attributes[i+1]}
	}
	return r
}

// texts are the fields of a recipient as templates look at them.
func texts(attributes ...string) *fields {
	f := newFields()
	for i := 0; i < len(attributes); i += 2 {
		f.values[attributes[i]] = field.Value{Text: attributes[i+1]}
	}
	return &f
}

func mustCompile(t testing.TB, s Spec) *Template {
	t.Helper()
	c, problems := Compile(s)
	for _, p := range problems {
		t.Error(p.Error())
	}
	if c == nil {
		t.FailNow()
	}
	return c
}

func render(t testing.TB, s Spec, r Recipient) ([]byte, *enmime.Envelope) {
	t.Helper()
	out, _, err := mustCompile(t, s).NewRenderer(t.Context()).Render(nil, r)
	if err != nil {
		t.Fatal(err)
	}
	env, err := enmime.ReadEnvelope(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	return out, env
}

// failure renders for a recipient who must fail, and returns why.
func failure(t testing.TB, s Spec, r Recipient) *Problem {
	t.Helper()
	renderer := mustCompile(t, s).NewRenderer(t.Context())
	renderer.budget.most = fewSteps
	out, _, err := renderer.Render([]byte("before"), r)
	var p *Problem
	if !errors.As(err, &p) {
		t.Fatalf("no problem, but %v", err)
	}
	if string(out) != "before" {
		t.Error("half a message is left")
	}
	return p
}

func newsletter(t testing.TB) Spec {
	t.Helper()
	page, err := os.ReadFile("testdata/newsletter.html")
	if err != nil {
		t.Fatal(err)
	}
	s := spec()
	s.Text, s.HTML = "", string(page)
	s.Subject = "{{.first_name}}, your news of {{.city}}"
	return s
}

func reader(number int32, address, first, city, plan string) Recipient {
	return Recipient{Number: number, Address: address, Attributes: field.Texts(map[string]string{
		"first_name": first, "city": city, "plan": plan, "link": "https://example.com/p?x=1&y=2", "code": "a b/ü&c"})}
}

func TestMessagesAreThoseOfTheGoldenFiles(t *testing.T) {
	t.Parallel()
	text := spec()
	text.HTML = ""
	text.From = `"Müller, \"Jo\" & Söhne" <"jo m"@example.com>`
	text.Text = "{{.first_name}}\n.\n..two dots\nFrom here on\nFrom: no header\na=b=3D=\ntrailing spaces  \n" +
		"trailing tab\t\n\ttab first\n" +
		strings.Repeat("word ", 300) + "\n" + strings.Repeat("x", 1500) + "\n" + strings.Repeat("é", 400) +
		"\r\n--=_abc\n{{.first_name}}"
	long := spec()
	long.Subject = strings.Repeat("A long subject for {{.first_name}} ", 12)
	bare := spec()
	bare.ReplyTo, bare.ListID, bare.Text, bare.From = "", "", "", "news@example.com"
	for name, c := range map[string]struct {
		spec Spec
		to   Recipient
		utf8 bool
	}{
		"accents":    {newsletter(t), reader(1, "zoe@example.org", "Zoë", "Łódź", "gold"), false},
		"cyrillic":   {newsletter(t), reader(2, "anna@example.org", "Анна", "Нижний Новгород", ""), false},
		"chinese":    {newsletter(t), reader(3, "xm@example.org", "小明", "上海", "gold"), false},
		"emoji":      {newsletter(t), reader(4, "e@example.org", "👩🏽‍🚀", "🏝️", ""), false},
		"apostrophe": {newsletter(t), reader(5, "o'brien@example.org", `Pat "P" O'Brien <b>`, "St. John's", "gold"), false},
		"utf8":       {newsletter(t), reader(6, "дима@example.org", "Дима", "Пермь", ""), true},
		"text":       {text, anna(), false},
		"long":       {long, anna("first_name", "Grüße"), false},
		"html":       {bare, anna("first_name", "R&D"), false},
	} {
		out, info, err := mustCompile(t, c.spec).NewRenderer(t.Context()).Render(nil, c.to)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		path := filepath.Join("testdata", name+".eml")
		if *update {
			if err := os.WriteFile(path, out, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out, want) {
			t.Errorf("%s differs from its golden file (go test -update writes it anew):\n%s", name, out)
		}
		if info.NeedsUTF8 != c.utf8 {
			t.Errorf("%s: NeedsUTF8 is %v", name, info.NeedsUTF8)
		}
		checkParsed(t, name, out, info, c.spec, c.to)
	}
}

// checkParsed reads a message with two parsers that are not ours.
func checkParsed(t *testing.T, name string, out []byte, info Info, s Spec, to Recipient) {
	t.Helper()
	for line := range strings.SplitSeq(string(out), "\r\n") {
		if len(line) > 998 || strings.HasPrefix(line, ".") || strings.ContainsAny(line, "\r\n\x00") {
			t.Errorf("%s: line %.80q", name, line)
		}
	}
	std, err := mail.ReadMessage(bytes.NewReader(out))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	env, err := enmime.ReadEnvelope(bytes.NewReader(out))
	if err != nil || len(env.Errors) > 0 {
		t.Fatalf("%s: %v %v", name, err, env.Errors)
	}
	wantSubject := strings.TrimSpace(strings.NewReplacer("{{.first_name}}", to.Attributes["first_name"].Text, "{{.city}}",
		to.Attributes["city"].Text).Replace(s.Subject))
	if got, err := new(mime.WordDecoder).DecodeHeader(std.Header.Get("Subject")); err != nil || got != wantSubject ||
		env.GetHeader("Subject") != wantSubject {
		t.Errorf("%s: subject %q, enmime's %q", name, got, env.GetHeader("Subject"))
	}
	wantFrom, _ := mail.ParseAddress(s.From)
	if from, err := std.Header.AddressList("From"); err != nil || *from[0] != *wantFrom {
		t.Errorf("%s: from %v, %v", name, from, err)
	}
	if list, err := std.Header.AddressList("To"); err != nil || len(list) != 1 || list[0].Address != to.Address {
		t.Errorf("%s: to %v, %v", name, list, err)
	}
	if std.Header.Get("Message-Id") != info.MessageID {
		t.Errorf("%s: Message-ID %s", name, std.Header.Get("Message-Id"))
	}
	if !strings.Contains(env.Text, to.Attributes["first_name"].Text) {
		t.Errorf("%s: the text does not name the reader as he is:\n%s", name, env.Text)
	}
	if s.HTML != "" && !strings.Contains(env.HTML, "<p>") {
		t.Errorf("%s: HTML is %q", name, env.HTML)
	}
}

func TestRecipientDataIsEscapedForItsPlaceInHTML(t *testing.T) {
	t.Parallel()
	s := spec()
	s.Text = "x"
	s.HTML = `<p>{{.x}}</p><p title="{{.x}}" data-a={{.x}}><a href="{{.u}}">a</a>` +
		`<a href="https://example.com/?q={{.x}}">b</a>` +
		`<!--[if mso]><v:rect href="{{.u}}" alt="{{.x}}">{{.x}}</v:rect><![endif]--></p>`
	_, env := render(t, s, anna("x", `"><script>alert('1')</script>--><!--`, "u", `https://example.com/"onclick='1'`))
	for _, bad := range []string{"<script", `""`, "'1'", "--><!--"} {
		if strings.Contains(env.HTML, bad) {
			t.Errorf("%s is in the HTML:\n%s", bad, env.HTML)
		}
	}
	if !strings.Contains(env.HTML, "&lt;script&gt;") || !strings.Contains(env.HTML, "%3cscript%3e") {
		t.Errorf("not escaped as HTML and as URL:\n%s", env.HTML)
	}
}

func TestALineBreakInAFieldIsABlankInASubjectAndAddsNoHeader(t *testing.T) {
	t.Parallel()
	s := spec()
	s.Subject = "Hello {{.first_name}}, hello"
	for hostile, want := range map[string]string{
		"Anna\r\nBcc: x@example.net": "Hello Anna Bcc: x@example.net, hello",
		"Anna\nBcc: x@example.net":   "Hello Anna Bcc: x@example.net, hello",
		"Anna\rBcc":                  "Hello Anna Bcc, hello", "Anna\x00": "Hello Anna, hello",
		"Anna\r\n":         "Hello Anna, hello",
		"An\tna":           "Hello An na, hello",
		"An\v\f\x1b\x7fna": "Hello An na, hello", "An\u0085\u2028\u2029na": "Hello An na, hello",
		"An \n na": "Hello An na, hello", "  Anna  ": "Hello Anna, hello",
		"An  na": "Hello An  na, hello", "\n": "Hello , hello", "Zoë\u00a0": "Hello Zoë, hello",
	} {
		out, env := render(t, s, anna("first_name", hostile))
		head, _, _ := bytes.Cut(out, []byte("\r\n\r\n"))
		if got := env.GetHeader("Subject"); got != want || bytes.Contains(head, []byte("\r\nBcc")) ||
			len(env.GetHeaderValues("Bcc")) > 0 {
			t.Errorf("%q: got %q, want %q\n%s", hostile, got, want, head)
		}
	}
	if p := failure(t, s, anna("first_name", "\xff")); p.Field != FieldSubject {
		t.Error(p)
	}
}

func TestALineBreakInAFieldIsOneInABody(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"a\r\nb": "a\nb", "a\nb": "a\nb", "a\rb": "a\nb", "a\x00b": "a\nb", "a\vb": "a\nb", "a\fb": "a\nb",
		"a\u2028b": "a\nb", "a\u0085b": "a\nb", "a\x1bb": "a\nb",
		"a\x7fb": "a\nb", "a\tb": "a\tb", "a\n\n": "a", " a ": "a", "\ta": "a", "“a” – ü\u200b": "“a” – ü", "Ω": "Ω",
		"\u3000a\ufeff": "a", "a\u200bb": "a\u200bb",
		"a\u00a0": "a", "a\xffb\n": "",
	} {
		s := spec()
		s.Subject, s.Text, s.HTML = "x", "[{{.first_name}}]", "<pre>[{{.first_name}}]</pre>"
		to := anna("first_name", value)
		if want == "" {
			if p := failure(t, s, to); !strings.HasPrefix(p.Field, FieldContent) {
				t.Errorf("%q: %v", value, p)
			}
			continue
		}
		_, env := render(t, s, to)
		if got := strings.ReplaceAll(env.Text, "\r\n", "\n"); got != "["+want+"]" {
			t.Errorf("%q: the text is %q", value, got)
		}
		if got := strings.ReplaceAll(env.HTML, "\r\n", "\n"); got != "<pre>["+want+"]</pre>" {
			t.Errorf("%q: the HTML is %q", value, got)
		}
	}
}

// CR CR LF comes from files that were sent as text once too often, CR alone from old editors.
func TestEveryKindOfLineEndInATemplateWorks(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"\n", "\r\n", "\r\r\n", "\r\r\r\n", "\r"} {
		s := spec()
		s.Text = strings.ReplaceAll("a\n{{.first_name}}\n", "\n", end)
		s.HTML = strings.ReplaceAll("<p>a</p>\n<!-- {{.first_name}} -->\n<p>{{.first_name}}</p>\n", "\n", end)
		for _, static := range []bool{false, true} {
			if s.Static = static; static {
				s.Text = strings.ReplaceAll(s.Text, "{{.first_name}}", "Anna")
				s.HTML = strings.ReplaceAll(s.HTML, "{{.first_name}}", "Anna")
			}
			_, env := render(t, s, anna())
			text, page := strings.ReplaceAll(env.Text, "\r\n", "\n"), strings.ReplaceAll(env.HTML, "\r\n", "\n")
			if strings.TrimSpace(text) != "a\nAnna" ||
				strings.TrimSpace(page) != "<p>a</p>\n<!-- Anna -->\n<p>Anna</p>" {
				t.Errorf("%q: got %q and %q", end, text, page)
			}
		}
		s = spec()
		s.HTML = strings.ReplaceAll("<p>\n<p>\n{{.gone}}", "\n", end)
		if p := failure(t, s, anna()); p.Line != 3 || p.Column != 3 {
			t.Errorf("%q: %v", end, p)
		}
	}
}

func TestAnAddressThatIsNoneFailsTheRecipient(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "x", "a@b.example> NOTIFY=NEVER", "a@b.example\r\nBcc: c@d.example",
		"a@bücher.example"} {
		r := anna()
		r.Address = bad
		if p := failure(t, spec(), r); p.Field != "to" || bad != "" && strings.Contains(p.Error(), bad+" ") {
			t.Errorf("%q: %v", bad, p)
		}
	}
}

func TestContentIDsSurvive(t *testing.T) {
	t.Parallel()
	want := `<img src="cid:logo@example.com" alt=""><img src="cid:Anna">`
	if got := sent(t, `<img src="cid:logo@example.com" alt=""><img src="cid:{{.x}}">`, "x", "Anna"); got != want {
		t.Error(got)
	}
}

func TestAllProblemsOfAContentAreReportedAtOnceWithTheirPlace(t *testing.T) {
	t.Parallel()
	c, problems := Compile(Spec{
		Mailing: "no good", From: "nobody", ReplyTo: "a@b\r\nBcc: c@d", Subject: "\n  {{.x", ListID: "no dot",
		Text: "one\ntwo\n  {{nofunc .x}}\n", HTML: "<p>\n<!--[if mso]>é<![endif]-->{{if .x}}<a href=\"{{end}}</p>",
	})
	if c != nil {
		t.Error("compiled")
	}
	want := []string{
		"id: must be up to 100 letters", "from: has no @", "reply_to: has a line break", "list_id: is not of the form",
		"date: is missing",
		"subject line 2, column 3: ", "content.text line 3, column 3: function \"nofunc\" not defined",
		"content.html line 2, column 32: {{if}} branches end in different contexts (one",
	}
	if len(problems) != len(want) {
		t.Errorf("%d problems", len(problems))
	}
	for i, p := range problems {
		if i >= len(want) || !strings.HasPrefix(p.Error(), want[i]) {
			t.Errorf("%d: %s", i, p.Error())
		}
	}
	for what, spoil := range map[string]func(*Spec){
		"content: is missing":                              func(s *Spec) { s.Text, s.HTML = " \n", "" },
		"subject: is missing":                              func(s *Spec) { s.Subject = " \n" },
		"subject line 1, column 4: holds a line break":     func(s *Spec) { s.Subject = "two\nlines" },
		"content.html line 1, column 4: unexpected EOF":    func(s *Spec) { s.HTML = "<p>{{if .x}}\n{{if .y}}{{end}}<p>" },
		"content.text line 1, column 1: unexpected":        func(s *Spec) { s.Text = "{{)}}" },
		"content.html line 1, column 15: no such template": func(s *Spec) { s.HTML = `<p>{{template "nope"}}` },
		"content.html line 1, column 4: a comment is not":  func(s *Spec) { s.HTML = `<p><!-- x` },
		"from: is missing":                                 func(s *Spec) { s.From = "" },
	} {
		s := spec()
		spoil(&s)
		if _, problems := Compile(s); len(problems) != 1 || !strings.HasPrefix(problems[0].Error(), what) {
			t.Errorf("want %s, got %+v", what, problems)
		}
	}
}

func TestAMissingFieldIsNamedWithItsPlaceAndNoDataIsInTheReason(t *testing.T) {
	t.Parallel()
	const secret = "SECRET"
	for want, spoil := range map[string]func(*Spec){
		`subject line 1, column 8: no field "first_nmae"`: func(s *Spec) { s.Subject = "Dear {{.first_nmae}}" },
		`content.html line 2, column 18: no field "first_nmae"`: func(s *Spec) {
			s.HTML = "<p>\n<p>ééé{{.x}}{{if .first_nmae}}x{{end}}"
		},
		`content.html line 3, column 6: no field "gone"`: func(s *Spec) {
			s.HTML = "<!--[if mso]><![endif]-->\n<p>\n<p>{{.gone}}"
			s.Text = ""
		},
		`content.html line 1, column 39: no field "gone"`: func(s *Spec) {
			s.HTML = "<!--[if mso]><i></i><![endif]--><p>é{{.gone}}"
		},
		`content.text line 1, column 13: cannot evaluate .x`:    func(s *Spec) { s.Text = "1234{{range .x}}{{end}}" },
		`content.text line 1, column 3: cannot evaluate slice`:  func(s *Spec) { s.Text = "{{slice .x 90 91}}" },
		`content.text line 1, column 5: cannot evaluate .x.y: `: func(s *Spec) { s.Text = "{{.x.y}}" },
		`content.text line 1, column 3: cannot evaluate call`:   func(s *Spec) { s.Text = "{{call .x}}" },
	} {
		s := spec()
		spoil(&s)
		p := failure(t, s, anna("x", secret+">: map has no entry for key \""+secret+"\""))
		if !strings.HasPrefix(p.Error(), want) {
			t.Errorf("want %s, got %s", want, p.Error())
		}
		if strings.Contains(p.Error(), secret) || strings.Contains(p.Error(), "anna") {
			t.Errorf("data in %s", p.Error())
		}
	}
}

func TestABlankBodyIsNotSent(t *testing.T) {
	t.Parallel()
	s := spec()
	s.Text, s.HTML = " {{.first_name}}\n", "\n{{.first_name}} "
	if p := failure(t, s, anna("first_name", "\u00a0")); p.Field != FieldContent {
		t.Error(p)
	}
	s.Subject = "x"
	if p := failure(t, s, anna("first_name", " ")); p.Field != FieldContent || !strings.Contains(p.Message, "blank") {
		t.Error(p)
	}
	s.Text, s.HTML = "", `{{define "x"}}x{{end}}`
	if p := failure(t, s, anna()); p.Field != FieldContent {
		t.Error(p)
	}
	s.Text, s.HTML = "{{if eq .first_name \"x\"}}text{{end}}", "{{.first_name}}"
	out, env := render(t, s, anna())
	if bytes.Contains(out, []byte("multipart")) || strings.TrimSpace(env.HTML) != "Anna" {
		t.Error("a blank part was sent")
	}
}

func TestARunawayTemplateFailsOnlyItsRecipient(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"output":    `{{range 100000000}}{{$.first_name}}{{end}}`,
		"large":     `{{range 100}}{{printf "%0900000d" 1}}{{end}}`,
		"silent":    `{{range 9000000000000}}{{end}}`,
		"nested":    `{{range 100000}}{{range 100000}}{{range 100000}}{{end}}{{end}}{{end}}`,
		"recursion": `{{define "a"}}{{template "a" .}}{{end}}{{template "a" .}}`,
		"doubling":  `{{$x := "xxxxxxxx"}}{{range 64}}{{$x = printf "%s%s" $x $x}}{{end}}{{$x}}`,
		"nil":       `{{call nil}}`,
	} {
		s := spec()
		s.HTML, s.Text = "", text
		p := failure(t, s, anna())
		if p.Field != FieldText {
			t.Errorf("%s: %v", name, p)
		}
		if name == "recursion" {
			continue
		}
		s.HTML, s.Text = text, "x"
		if p := failure(t, s, anna()); p.Field != FieldHTML {
			t.Errorf("%s: %v", name, p)
		}
	}
}

func TestARendererIsAsGoodAsNewAfterAFailure(t *testing.T) {
	t.Parallel()
	s := spec()
	s.Text += "{{len .}}" // uses any field
	c := mustCompile(t, s)
	want, _, err := c.NewRenderer(t.Context()).Render(nil, anna())
	if err != nil {
		t.Fatal(err)
	}
	r := c.NewRenderer(t.Context())
	if _, _, err := r.Render(nil, anna("first_name", "\xff", "only_his", "x")); err == nil {
		t.Fatal("rendered")
	}
	got, _, err := r.Render([]byte("before"), anna())
	if err != nil || string(got) != "before"+string(want) {
		t.Errorf("%v\n%s", err, got)
	}
	if _, there := r.data.values["only_his"]; there {
		t.Error("data of the recipient before is left")
	}
}

func TestOnlyTheFieldsThatATemplateUsesAreLookedAt(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"{{.a}}{{if .b}}{{.c}}{{else}}{{.d}}{{end}}{{range splitList .e .f}}{{$.g}}{{end}}" +
			"{{with .h}}x{{end}}": "a b c d e f g h",
		`{{template "x" .}}{{define "x"}}{{.a}}{{template "y" $}}{{end}}` +
			`{{define "y"}}{{printf "%s" (or .b .c)}}{{end}}`: "a b c",
		"x":                   "",
		"{{$x := .a}}{{$x}}":  "a",
		`{{(dict "a" .b).a}}`: "b",
		`{{index . "a"}}{{if eq (index $ "b") 1}}{{end}}`: "a b",
		`{{with .a}}{{index . "b"}}{{end}}`:               "any",
		"{{with .a}}{{.}}{{end}}":                         "any",
		"{{$x := .}}{{$x.a}}":                             "any",
		"{{$x := $}}{{$x.a}}":                             "any",
	} {
		s := spec()
		s.Subject, s.HTML, s.Text = "x", text, "x"
		fields := mustCompile(t, s).fields
		slices.Sort(fields)
		if got := strings.Join(fields, " "); got != want && (want != "any" || fields != nil) {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestRenderersOfOneTemplateWorkAtTheSameTime(t *testing.T) {
	t.Parallel()
	c := mustCompile(t, newsletter(t))
	readers := make([]Recipient, 50)
	alone := make([][]byte, len(readers))
	for i := range readers {
		readers[i] = reader(int32(i), "a@example.org", fmt.Sprintf("Reader%d", i), "Köln", "")
		var err error
		if alone[i], _, err = c.NewRenderer(t.Context()).Render(nil, readers[i]); err != nil {
			t.Fatal(err)
		}
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			r := c.NewRenderer(t.Context())
			for i, to := range readers {
				if out, _, err := r.Render(nil, to); err != nil || !bytes.Equal(out, alone[i]) {
					t.Errorf("reader %d: %v", i, err)
				}
			}
		})
	}
	group.Wait()
}

// long is a page of about 20 KB.
func long(t testing.TB) Spec {
	s := newsletter(t)
	item := `<tr><td class="cell" style="font-family:sans-serif;color:#333;padding:12px">An item, {{.first_name}}: ` +
		`<a href="https://example.com/i?u={{.code}}">read more</a></td></tr>` + "\n"
	s.HTML = strings.Replace(s.HTML, "<!-- items -->", strings.Repeat(item, 12)+
		strings.Repeat(`<tr><td class="cell" style="font-family:sans-serif;color:#333;padding:12px">Plain words of the `+
			`newsletter which are the same for every reader of it.</td></tr>`+"\n", 70), 1)
	return s
}

// BenchmarkRender renders a newsletter: without a signature, and with one of each kind.
func BenchmarkRender(b *testing.B) {
	for name, algorithms := range map[string][]dkim.Algorithm{
		"unsigned": nil, "Ed25519": {dkim.Ed25519}, "RSA": {dkim.RSA}, "both": {dkim.RSA, dkim.Ed25519},
	} {
		b.Run(name, func(b *testing.B) {
			s := long(b)
			if algorithms != nil {
				s.Signer = dkimtest.Keys(b, "example.com", algorithms...).For("example.com")
			}
			r := mustCompile(b, s).NewRenderer(b.Context())
			to := reader(1, "zoe@example.org", "Zoë", "Łódź", "gold")
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if buf, _, err = r.Render(buf[:0], to); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(buf)), "octets")
		})
	}
}

// BenchmarkExecute is the part of BenchmarkRender that is the templates'. What it leaves is the
// most that encoding the templates' own words beforehand could save.
func BenchmarkExecute(b *testing.B) {
	r := mustCompile(b, long(b)).NewRenderer(b.Context())
	to := reader(1, "zoe@example.org", "Zoë", "Łódź", "gold")
	if _, _, err := r.Render(nil, to); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		m := r.t.head
		if err := errors.Join(r.budget.begin(), r.execute(&m)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	s := long(b)
	for b.Loop() {
		if _, problems := Compile(s); problems != nil {
			b.Fatal(problems)
		}
	}
}
