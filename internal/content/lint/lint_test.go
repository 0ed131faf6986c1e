package lint_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"directmailer/internal/audience/field"
	"directmailer/internal/content"
	"directmailer/internal/content/dkim"
	"directmailer/internal/content/lint"
	"directmailer/internal/content/render"
	"directmailer/internal/feedback"
	"directmailer/workflows"
)

// letter is a mailing that has no finding of its content.
func letter() workflows.Input {
	return workflows.Input{ID: "spring", From: "News <news@example.com>", Subject: "The spring roast", List: "people",
		Content: workflows.Content{Text: "Hello {{.name}}, unsubscribe at https://www.example.com/leave"}}
}

func withHTML(body string) workflows.Input {
	in := letter()
	in.Content.HTML = "<p>Hello {{.name}}, welcome to the shop in spring</p>\n" + body +
		"\n<a href=\"https://www.example.com/leave\">Unsubscribe</a>"
	return in
}

// findings renders the mailing for recipients with these links, and returns what is found. It
// leaves out what is always found without keys and a public URL.
func findings(t *testing.T, in workflows.Input, links ...string) (all []lint.Finding) {
	t.Helper()
	l := lint.NewLinter(in)
	c, err := content.Compile(in, in.Audience(), time.Unix(0, 0), dkim.Keys{}, feedback.Settings{}.PreviewLinks())
	if err != nil {
		t.Fatal(err)
	}
	if len(links) == 0 {
		links = []string{"https://www.example.com/"}
	}
	for i, link := range links {
		to := render.Recipient{Number: int32(i + 1), Address: fmt.Sprintf("r%d@example.org", i),
			Attributes: field.Texts(map[string]string{"name": "Ann", "link": link})}
		raw, _, err := c.Template.NewRenderer(t.Context()).Render(nil, to)
		if err != nil {
			t.Fatal(err)
		}
		l.Message(raw, to.Address, false)
	}
	for _, f := range l.Findings(lint.Setup{}) {
		if f.Code != lint.UnsubscribeMissing && f.Code != lint.DKIMKeyMissing {
			all = append(all, f)
		}
	}
	return all
}

func codes(all []lint.Finding) string {
	var text []string
	for _, f := range all {
		text = append(text, string(f.Code))
	}
	return strings.Join(slices.Compact(text), " ")
}

func wantCodes(t *testing.T, what string, all []lint.Finding, want string) {
	t.Helper()
	if got := codes(all); got != want {
		t.Errorf("%s: got %q, want %q: %+v", what, got, want, all)
	}
}

func TestAProperMessageHasNoFinding(t *testing.T) {
	t.Parallel()
	wantCodes(t, "text", findings(t, letter()), "")
	wantCodes(t, "HTML", findings(t, withHTML(`
<a href="https://shop.example.com/{{.name}}"><img src="https://www.example.com/a.png" alt="Shop"></a>
<a href="https://news.example.com/">www.example.com</a> <a href="mailto:a@example.com?subject=x">write</a>
<a href="tel:+4912345">call</a> <a href="#top">up</a> <a name="top"></a>
<a href="https://www.example.com/report.pdf">report.pdf</a> <img src="https://www.example.com/p.gif" alt="">
<a href="{{.link}}">yours</a>`)), "")
}

func TestEveryKindOfBadLinkIsFound(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"":                                "link-empty",
		" ":                               "link-empty",
		"#":                               "link-empty",
		"/page":                           "link-malformed",
		"page.html":                       "link-malformed",
		"//www.example.com/":              "link-malformed",
		"www.example.com":                 "link-malformed",
		"https//www.example.com/":         "link-malformed",
		"https:/www.example.com":          "link-malformed",
		"http://":                         "link-malformed",
		"https://exa mple.com/":           "link-malformed",
		"https://www.example.com/a b":     "link-malformed",
		"https://user@www.example.com/":   "link-malformed",
		"https://www..example.com/":       "link-malformed",
		"https://www.example.com/%zz":     "link-malformed",
		"file:///etc/passwd":              "link-malformed",
		"mailto:":                         "link-malformed",
		"mailto:nobody":                   "link-malformed",
		"mailto:?to=help@example.com":     "",
		"http://www.example.com/":         "link-insecure",
		"HTTP://www.example.com/":         "link-insecure",
		"https://203.0.113.7/":            "link-ip-address",
		"https://[2001:db8::1]/":          "link-ip-address",
		"https://3405803783/":             "link-ip-address",
		"https://0xcb.0x00.0x71.0x07/":    "link-ip-address",
		"https://192.168.1.7/":            "link-private-host",
		"https://10.0.0.1:8443/x":         "link-private-host",
		"http://127.0.0.1/":               "link-private-host",
		"https://[::1]/":                  "link-private-host",
		"https://[::ffff:10.0.0.1]/":      "link-private-host",
		"https://[fd00::1]/":              "link-private-host",
		"https://169.254.169.254/":        "link-private-host",
		"https://100.64.0.1/":             "link-private-host",
		"https://localhost:3000/":         "link-private-host",
		"https://wiki/":                   "link-private-host",
		"https://shop.local/":             "link-private-host",
		"https://shop.internal./":         "link-private-host",
		"https://printer.home.arpa/":      "link-private-host",
		"https://www.example.com/?a=1&b=": "",
		"https://münchen.example/":        "",
		"sms:+491234":                     "",
	} {
		in := withHTML(`<a href="` + address + `">here</a>`)
		in.Content.Static = true
		wantCodes(t, address, findings(t, in), want)
	}
}

func TestALinkThatShowsAnotherHostIsFound(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"www.bank.com":                  "link-misleading",
		"https://bank.com/login":        "link-misleading",
		"bank.com":                      "link-misleading",
		"Go to <b>www.bank.com</b> now": "link-misleading",
		"shop.example.com":              "",
		"Bank.example":                  "",
		"report.pdf":                    "",
		"node.js":                       "",
		"README.md":                     "",
		"more":                          "",
		"help@bank.com":                 "",
	} {
		wantCodes(t, text, findings(t, withHTML(`<a href="https://www.example.com/">`+text+`</a>`)), want)
	}
}

func TestEveryKindOfBadImageIsFound(t *testing.T) {
	t.Parallel()
	for image, want := range map[string]string{
		`<img src="https://www.example.com/a.png" alt="">`:  "",
		`<img src="https://www.example.com/a.png">`:         "image-alt-missing",
		`<img src="http://www.example.com/a.png" alt="A">`:  "image-insecure",
		`<img src="data:image/png;base64,iVBO" alt="A">`:    "image-data",
		`<img src="/a.png" alt="A">`:                        "image-broken",
		`<img src="" alt="A">`:                              "image-broken",
		`<img alt="A">`:                                     "image-broken",
		`<img src="cid:logo" alt="A">`:                      "image-broken",
		`<img src="https://10.1.1.1/a.png" alt="A">`:        "image-broken",
		`<img src="https://203.0.113.7/a.png" alt="A">`:     "image-insecure",
		`<img src="file:///c:/a.png" alt="A">`:              "image-broken",
		`<IMG SRC=http://www.example.com/a.png>`:            "image-insecure image-alt-missing",
		`<!-- <img src="x"> --><style>img{x:y}</style>text`: "",
	} {
		in := withHTML(image)
		in.Content.Static = true
		wantCodes(t, image, findings(t, in), want)
	}
}

func TestHiddenTextIsFoundAndAPreviewTextIsNot(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("keyword ", 40)
	for body, want := range map[string]string{
		`<div style="display:none">Cheap pills</div>`:                                 "hidden-content",
		`<div style="DISPLAY: None !important">Cheap pills</div>`:                     "hidden-content",
		`<div style="visibility:hidden">Cheap <b>pills</b></div>`:                     "hidden-content",
		`<span style="font-size:0">Cheap pills</span>`:                                "hidden-content",
		`<span style="font-size:0px;">Cheap pills</span>`:                             "hidden-content",
		`<div hidden>Cheap pills</div>`:                                               "hidden-content",
		`<div style="max-height:0;overflow:hidden">Cheap pills</div>`:                 "hidden-content",
		`<div style="opacity:0">Cheap pills</div>`:                                    "hidden-content",
		`<div style="text-indent:-9999px">Cheap pills</div>`:                          "hidden-content",
		`<div style="color:#fff">Cheap pills</div>`:                                   "hidden-content",
		`<font color="white">Cheap pills</font>`:                                      "hidden-content",
		`<table bgcolor="#112233"><td style="color:#112233">Cheap pills</table>`:      "hidden-content",
		`<a style="display:none" href="https://www.example.com/">x</a>`:               "hidden-content",
		`<table bgcolor="#123456"><tr><td style="color:#ffffff">Shop</table>`:         "",
		`<style>.b{background:#000}</style><p class="b" style="color:#fff">Shop`:      "",
		`<div style="background:url(https://x.example/a.png);color:#fff">Shop`:        "",
		`<div style="font-size:0"><span style="font-size:14px">Shop</span></div>`:     "",
		`<div style="display:none">&nbsp;&#8203;&#847;</div>`:                         "",
		`<div style="visibility:hidden"><p style="visibility:visible">Shop</p></div>`: "",
	} {
		in := withHTML(body)
		wantCodes(t, body, findings(t, in), want)
	}
	in := letter()
	end := `<p>Hello {{.name}}, welcome to our shop</p><a href="https://www.example.com/leave">Unsubscribe</a>`
	in.Content.HTML = `<div style="display:none">` + "A short preview text" + `</div>` + end
	wantCodes(t, "a preview text", findings(t, in), "")
	in.Content.HTML = `<div style="display:none">` + long + `</div>` + end
	wantCodes(t, "a long preview text", findings(t, in), "hidden-content")
}

func TestEveryKindOfBadContentIsFound(t *testing.T) {
	t.Parallel()
	change := func(do func(*workflows.Input)) workflows.Input {
		in := withHTML("")
		do(&in)
		return in
	}
	for _, c := range []struct {
		name, want string
		in         workflows.Input
	}{
		{"a large HTML part", "html-too-large", withHTML(strings.Repeat("<p>many words</p>\n", 7000))},
		{"a script", "html-active", withHTML("<script>alert(1)</script>")},
		{"a form", "html-active", withHTML(`<form action="https://www.example.com/"><input name="x"></form>`)},
		{"a frame", "html-active", withHTML(`<iframe src="https://www.example.com/"></iframe>`)},
		{"a tag of another system", "merge-tag", withHTML("<p>Dear *|FNAME|*</p>")},
		{"only images", "unsubscribe-link-missing images-only", change(func(in *workflows.Input) {
			in.Content.HTML = `<a href="https://www.example.com/"><img src="https://www.example.com/a.png" alt="all we say"></a>`
		})},
		{"no text part", "unsubscribe-link-missing text-missing images-only", change(func(in *workflows.Input) {
			in.Content.Text, in.Content.HTML = "", `<img src="https://www.example.com/a.png" alt="">`
		})},
		{"no link to unsubscribe", "unsubscribe-link-missing", change(func(in *workflows.Input) {
			in.Content.HTML = `<p>Hello {{.name}}, welcome to our shop</p>`
		})},
		{"no link to unsubscribe in a text", "unsubscribe-link-missing", change(func(in *workflows.Input) {
			in.Content.Text, in.Content.HTML = "Hello {{.name}}", ""
		})},
		{"links in a text", "link-private-host link-insecure", change(func(in *workflows.Input) {
			in.Content.HTML = ""
			in.Content.Text += "\nsee http://www.example.com/a, (https://10.0.0.1/b)."
		})},
		{"a long subject", "subject-long", change(func(in *workflows.Input) { in.Subject = strings.Repeat("spring ", 15) })},
		{"capitals", "subject-capitals", change(func(in *workflows.Input) { in.Subject = "BUY ONE, GET TWO!" })},
		{"a few capitals", "", change(func(in *workflows.Input) { in.Subject = "UN & NATO" })},
		{"a language without capitals", "", change(func(in *workflows.Input) { in.Subject = "春のロースト 新発売のお知らせです" })},
		{"a false reply", "subject-fake-reply", change(func(in *workflows.Input) { in.Subject = "Re: your order" })},
		{"a false reply in German", "subject-fake-reply", change(func(in *workflows.Input) { in.Subject = "AW: Kauf" })},
		{"freemail", "from-freemail", change(func(in *workflows.Input) { in.From = "shop@gmail.com" })},
		{"freemail of a country", "from-freemail", change(func(in *workflows.Input) { in.From = "shop@yahoo.co.uk" })},
		{"no freemail", "", change(func(in *workflows.Input) { in.From = "shop@live.example.com" })},
		{"another envelope", "envelope-not-aligned",
			change(func(in *workflows.Input) { in.EnvelopeSender = "b@bounces.example.net" })},
		{"an aligned envelope", "",
			change(func(in *workflows.Input) { in.EnvelopeSender = "b@bounces.example.com" })},
		{"another domain for replies", "reply-to-other-domain",
			change(func(in *workflows.Input) { in.ReplyTo = "b@example.net" })},
		{"replies to freemail", "reply-to-freemail", change(func(in *workflows.Input) { in.ReplyTo = "b@gmail.com" })},
		{"nobody reads", "from-no-reply", change(func(in *workflows.Input) { in.From = "N <no-reply@example.com>" })},
		{"somebody reads", "", change(func(in *workflows.Input) {
			in.From, in.ReplyTo = "noreply@example.com", "help@example.com"
		})},
	} {
		wantCodes(t, c.name, findings(t, c.in), c.want)
	}
}

func TestAFindingHasThePlaceInTheTemplateAndNoDataOfARecipient(t *testing.T) {
	t.Parallel()
	in := withHTML("<a href='http://www.example.com/?id={{.link}}'>a</a>\n  <a href=\"{{.link}}\">b</a>\n" +
		`<img alt="" src="http://www.example.com/a&amp;b.png">`)
	got := findings(t, in, "http://secret.example/token")
	var lines []string
	for _, f := range got {
		lines = append(lines, fmt.Sprintf("%s %s:%d:%d %s", f.Code, f.Field, f.Line, f.Column, f.Where))
		if text := fmt.Sprintf("%+v", f); strings.Contains(text, "secret") {
			t.Errorf("%s quotes recipient data", text)
		}
	}
	slices.Sort(lines)
	want := []string{
		"image-insecure content.html:4:18 image http://www.example.com/a&amp;b.png",
		"link-insecure content.html:2:10 link http://www.example.com/?id={{.link}}",
		"link-insecure content.html:3:12 link {{.link}}",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func TestAnErrorOfAFewValuesIsAWarningAndOneOfTheTemplateStaysAnError(t *testing.T) {
	t.Parallel()
	severity := func(in workflows.Input, links ...string) string {
		all := findings(t, in, links...)
		if len(all) != 1 || all[0].Code != lint.LinkPrivate {
			t.Fatalf("got %+v", all)
		}
		return fmt.Sprintf("%s in %d", all[0].Severity, all[0].Messages)
	}
	good, bad := "https://www.example.com/", "https://10.0.0.1/"
	byValue := withHTML(`<a href="{{.link}}">b</a>`)
	if got := severity(byValue, good, bad, good); got != "warning in 1" {
		t.Errorf("a value of one recipient: %s", got)
	}
	if got := severity(byValue, bad, bad); got != "error in 2" {
		t.Errorf("the value of all recipients: %s", got)
	}
	branch := withHTML(`{{if eq .link "x"}}<a href="https://10.0.0.1/">b</a>{{end}}`)
	if got := severity(branch, "x", "y", "z"); got != "error in 1" {
		t.Errorf("a link of the template: %s", got)
	}
}

func TestTagsThatComeInByAValueAreFound(t *testing.T) {
	t.Parallel()
	in := withHTML("<p>{{.link}}</p>")
	for _, value := range []string{"*|FNAME|*", "{{first_name}}", "%%name%%", "%!d(string=x)"} {
		all := findings(t, in, value)
		wantCodes(t, value, all, "merge-tag")
		if text := fmt.Sprintf("%+v", all); strings.Contains(text, value) {
			t.Errorf("%s quotes recipient data", text)
		}
	}
}

func BenchmarkMessage(b *testing.B) {
	const line = `<p style="color:#111">many words <a href="https://www.example.com/x">x</a></p>` + "\n"
	in := withHTML(strings.Repeat(line, 1000))
	c, err := content.Compile(in, in.Audience(), time.Unix(0, 0), dkim.Keys{}, feedback.Settings{}.PreviewLinks())
	if err != nil {
		b.Fatal(err)
	}
	to := render.Recipient{Number: 1, Address: "r@example.org", Attributes: field.Texts(map[string]string{"name": "Ann"})}
	raw, _, err := c.Template.NewRenderer(b.Context()).Render(nil, to)
	if err != nil {
		b.Fatal(err)
	}
	l := lint.NewLinter(in)
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		l.Message(raw, to.Address, false)
	}
}

func TestTheLargestMessageIsMeasured(t *testing.T) {
	t.Parallel()
	l := lint.NewLinter(letter())
	message := func(html string) []byte {
		return []byte("From: a@example.com\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + html)
	}
	l.Message(message("<p>long</p>"), "b@example.org", false)
	l.Message(message("<p>x</p>"), "b@example.org", false)
	if got := l.Sizes(); got.HTML != len("<p>long</p>") || got.Message != len(message("<p>long</p>")) {
		t.Errorf("got %+v", got)
	}
}
