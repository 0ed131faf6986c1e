package dkim_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"directmailer/internal/audience/field"
	"directmailer/internal/content/dkim"
	"directmailer/internal/content/render"
)

// sample is a message that the renderer has signed.
type sample struct {
	name     string
	from, to string // bare
	utf8     bool   // needs SMTPUTF8
	data     []byte
}

// shape is what a mailing can say of its messages.
type shape struct {
	render.Spec
	to   string
	page render.Page
}

var subjects = map[string]string{
	"plain":    "The spring roast has landed",
	"long":     strings.Repeat("a subject of many words ", 20) + "ends",
	"one word": strings.Repeat("x", 300),
	"blanks":   "two  blanks   and more",
	"Greek":    strings.Repeat("Η άνοιξη έφτασε ", 8),
	"Chinese":  strings.Repeat("春天的烘焙已经到了", 12),
	"Arabic":   strings.Repeat("وصل الربيع ", 10),
	"Hindi":    strings.Repeat("वसंत आ गया है ", 9),
	"emoji":    "👩‍👩‍👧‍👦 " + strings.Repeat("☕🫘", 20),
	"encoded":  "=?utf-8?q?not_encoded?= by us",
}

var bodies = map[string]string{
	"a word":               "Hello",
	"a line":               "Hello\n",
	"lone dots":            ".\n..\n.\r\n. .\n...x\n.",
	"trailing blanks":      "one  \ntwo\t\n \n\t\nthree \t ",
	"blank lines":          "\n\n\none\n\n\n\ntwo\n\n\n\n",
	"runs of blanks":       "a  b   c\td\t\te \t f\n    indented\n\ttabbed\n",
	"long line":            strings.Repeat("0123456789", 400),
	"long line of words":   strings.Repeat("words and words ", 300),
	"header-like":          "Subject: another\nFrom: somebody <else@example.net>\n\nbody\nDKIM-Signature: v=1; b=\n",
	"mailbox-like":         "From here on\n>From there\nFrom \nFromage\n",
	"8-bit":                "Grüße aus Łódź, 春天, 🎉\n" + strings.Repeat("žluťoučký kůň ", 50),
	"equals signs":         "a=b\n=\n==3D=\n=20\n" + strings.Repeat("=", 200),
	"boundary-like":        "--\n--=_abc\n--=_abc--\n-- \nsignature\n",
	"nothing but controls": "a\vb\fc\x1bd\u0085e\u2028f",
}

// shapes returns a mailing of each shape that can be written in a mailing file.
func shapes() map[string]shape {
	all := map[string]shape{}
	base := func() shape {
		return shape{to: "zoe@example.org", Spec: render.Spec{
			Mailing: "m", From: "News <news@news.example.com>", Subject: "Hello", Text: "Hello\n",
			Date: time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC),
		}}
	}
	add := func(name string, change func(*shape)) {
		s := base()
		change(&s)
		all[name] = s
	}
	for name, subject := range subjects {
		add("subject: "+name, func(s *shape) { s.Subject = subject })
	}
	for name, body := range bodies {
		add("text: "+name, func(s *shape) { s.Text = body })
		add("HTML: "+name, func(s *shape) { s.Text, s.HTML = "", "<p>"+body+"</p>\n" })
		add("both: "+name, func(s *shape) { s.HTML = "<pre>\n" + body + "\n</pre>" })
		add("static: "+name, func(s *shape) { s.Text, s.HTML, s.Static = body, "<p>"+body, true })
		add("page: "+name, func(s *shape) { s.Text, s.Page, s.page = "", true, render.Page{HTML: []byte(body)} })
		add("text page: "+name, func(s *shape) { s.Text, s.Page, s.page = "", true, render.Page{Text: []byte(body)} })
	}
	for name, address := range map[string]string{
		"to UTF-8": "żółć@example.org", "to an IDN": "zoe@xn--bcher-kva.example", "to both": "用户@xn--fsqu00a.example",
		"to quotes":      `"a b"@example.org`,
		"to the longest": strings.Repeat("l", 64) + "@" + strings.Repeat("d.", 90) + "example",
	} {
		add(name, func(s *shape) { s.to = address })
	}
	for name, from := range map[string]string{
		"bare": "news@news.example.com", "quoted name": `"News, \"weekly\" @ home" <news@news.example.com>`,
		"name in Greek": strings.Repeat("Νέα ", 20) + "<news@news.example.com>", "UTF-8": "Νέα <νέα@news.example.com>",
		"upper case": "News@NEWS.Example.COM", "subdomain": "news@spring.news.example.com",
	} {
		add("from: "+name, func(s *shape) { s.From = from })
		add("reply to: "+name, func(s *shape) { s.ReplyTo = from })
	}
	add("list", func(s *shape) { s.ListID = "readers.news.example.com" })
	add("an empty text part", func(s *shape) { s.Text, s.HTML = "{{if .none}}x{{end}}", "<p>Hello</p>" })
	add("only an image", func(s *shape) { s.Text, s.HTML = "", `<img src="https://example.com/a.png" alt="">` })
	add("large", func(s *shape) { s.HTML = strings.Repeat("<td>\t <b>Plain words, Grüße</b></td>\n", 8000) })
	return all
}

// corpus returns a message of each shape, signed by the signer.
func corpus(t testing.TB, keys dkim.Keys) []sample {
	t.Helper()
	var all []sample
	for name, s := range shapes() {
		s.Signer = keys.For("news.example.com")
		template, problems := render.Compile(s.Spec)
		if problems != nil {
			t.Fatalf("%s: %v", name, problems)
		}
		to := render.Recipient{
			Number: int32(len(all) + 1), Address: s.to, Page: s.page, Attributes: field.Values{"none": {}},
		}
		data, info, err := template.NewRenderer(t.Context()).Render(nil, to)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, sample{name, "bounces@news.example.com", s.to, info.NeedsUTF8, data})
		if again, _, err := template.NewRenderer(t.Context()).Render([]byte("before"), to); err != nil ||
			!bytes.Equal(again, fmt.Appendf(nil, "before%s", data)) {
			t.Errorf("%s: rendered again, the message has other octets", name)
		}
	}
	return all
}
