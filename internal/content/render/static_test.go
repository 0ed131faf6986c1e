package render

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

// A template that says the same to everybody is executed and encoded once; the bytes are those that
// each execution gives.
func TestContentWithoutActionsIsEncodedOnceToTheSameBytes(t *testing.T) {
	t.Parallel()
	outlook := "<p>a</p><!--[if mso]><p>b</p><![endif]--><!-- kept --><p>Größe {</p>\n"
	for name, s := range map[string]Spec{
		"newsletter": sameForAll(t),
		"both":       {Text: "Hello.\r\nFrom here on\n.", HTML: outlook},
		"text":       {Text: "Hello\n"},
		"html":       {HTML: outlook},
		"blank text": {Text: "{{/* nothing */}} \n", HTML: outlook},
	} {
		same := spec()
		same.Text, same.HTML = s.Text, s.HTML
		each := same
		if each.Text != "" {
			each.Text += `{{""}}`
		}
		if each.HTML != "" {
			each.HTML += `{{""}}`
		}
		once, always := mustCompile(t, same), mustCompile(t, each)
		if once.html != nil || once.text != nil && name != "blank text" {
			t.Errorf("%s: something is executed for each recipient", name)
		}
		if always.html == nil && always.text == nil {
			t.Errorf("%s: nothing to compare with", name)
		}
		got, _, err := once.NewRenderer(t.Context()).Render(nil, anna())
		want, _, err2 := always.NewRenderer(t.Context()).Render(nil, anna())
		if err != nil || err2 != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v %v\ngot\n%s\nwant\n%s", name, err, err2, got, want)
		}
	}
}

func TestStaticContentIsTakenLiterally(t *testing.T) {
	t.Parallel()
	s := spec()
	s.Static, s.Text, s.HTML = true, "{{.nobody}} {{\n", "<p>{{if}}</p><!-- stays --><script>x</script>\n"
	_, env := render(t, s, anna())
	if env.GetHeader("Subject") != "Hello Anna" || env.Text != "{{.nobody}} {{" ||
		env.HTML != "<p>{{if}}</p><!-- stays --><script>x</script>" {
		t.Errorf("got %q %q %q", env.GetHeader("Subject"), env.Text, env.HTML)
	}
	s.Text = ""
	if _, env = render(t, s, anna()); env.Text != "{{if}}" {
		t.Errorf("the text is %q", env.Text)
	}
	s.Text, s.HTML = "x\x00", "a\xffb"
	if _, problems := Compile(s); len(problems) != 2 || problems[0].Field != FieldHTML ||
		problems[1].Field != FieldText {
		t.Errorf("got %v", problems)
	}
}

func TestAPageIsTheRecipientsOwnBody(t *testing.T) {
	t.Parallel()
	s := spec()
	s.Page, s.Text, s.HTML = true, "", ""
	page := func(s Spec, p Page) (text, html string) {
		t.Helper()
		to := anna()
		to.Page = p
		_, env := render(t, s, to)
		return strings.TrimSuffix(env.Text, "\r\n"), env.HTML // as the parser does with one part of several
	}
	html := "<!DOCTYPE html><html><head><title>No</title></head><body><h1>Hello</h1>" +
		"<p>dmq0z {{.x}} &lt;<a href='https://example.com/?a={{b}}'>here</a></body></html>"
	text, got := page(s, Page{HTML: []byte(html)})
	if got != html || !strings.Contains(text, "dmq0z {{.x}} <") ||
		!strings.Contains(text, "https://example.com/?a={{b}}") ||
		strings.Contains(text, "No") {
		t.Errorf("got %q %q", text, got)
	}
	if text, got = page(s, Page{Text: []byte("{{.x}}\n.\n")}); text != "{{.x}}\r\n." || got != "" {
		t.Errorf("a page of text: %q %q", text, got)
	}
	if text, got = page(s, Page{HTML: []byte(strings.Repeat("<div>", 1000) + "deep")}); text != "" ||
		!strings.Contains(got, "deep") {
		t.Errorf("a page without a text: %q %.100q", text, got)
	}
	s.Text = "Dear {{.first_name}}"
	if text, got = page(s, Page{HTML: []byte(html)}); text != "Dear Anna" || !strings.Contains(got, "Hello") {
		t.Errorf("with a template: %q %q", text, got)
	}
	if text, got = page(s, Page{Text: []byte("page")}); text != "page" || got != "" {
		t.Errorf("a page of text goes before the template: %q %q", text, got)
	}
	s.Text = "the same for all"
	if text, _ = page(s, Page{Text: []byte("page")}); text != "page" {
		t.Errorf("a page of text goes before a text without actions: %q", text)
	}
	if text, _ = page(s, Page{HTML: []byte(html)}); text != "the same for all" {
		t.Errorf("a text without actions: %q", text)
	}
	s.Text = ""
	for want, p := range map[string]Page{FieldContent: {HTML: []byte(" \r\n")}, FieldPageURL: {HTML: []byte("a\x00")}} {
		to := anna()
		to.Page = p
		if problem := failure(t, s, to); problem.Field != want {
			t.Errorf("%q: got %v", p.HTML, problem)
		}
	}
}

func BenchmarkTextOfPage(b *testing.B) {
	page := []byte(sameForAll(b).HTML)
	b.SetBytes(int64(len(page)))
	for b.Loop() {
		textOfPage(page)
	}
}

// sameForAll is a newsletter of about 22 KB without actions, but in the subject.
func sameForAll(t testing.TB) Spec {
	t.Helper()
	s := long(t)
	s.HTML = regexp.MustCompile(`(?s)\{\{.*?\}\}`).ReplaceAllString(s.HTML, "")
	s.Subject = "{{.first_name}}, your news of {{.city}}"
	return s
}

func BenchmarkSameForAll(b *testing.B) {
	r := mustCompile(b, sameForAll(b)).NewRenderer(b.Context())
	to := reader(1, "anna@example.org", "Anna", "Oslo", "gold")
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, _, err = r.Render(buf[:0], to); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(buf)))
}
