package render

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"directmailer/internal/audience/field"
)

// pages are templates of which each has its values at other places.
var pages = []string{
	"<p>{{.a}}</p>",
	"<title>{{.a}}</title><textarea>{{.b}}</textarea>",
	`<a title="{{.a}}" href="https://example.com/?u={{.b}}&amp;c={{.a}}">x</a>`,
	`<a href="{{.a}}">x</a><a href="https://example.com/{{.b}}/x">y</a><img src='{{.a}}'>`,
	"<p class={{.a}}>x</p>",
	"{{if .a}}<p>A {{.b}}</p>\n{{else}}<b>nothing</b>\n{{end}}{{if .b}}B{{end}}",
	"<!--[if mso]><p>{{.a}}</p><![endif]--><!-- {{.b}} --><![if !mso]>{{.a}}<![endif]>",
	"{{/* nothing */ -}}\r\n<p>{{.a}}</p>\r\n" + strings.Repeat("<p>The same for everybody, and long enough.</p>\r\n", 5) +
		"<i>{{.b}}",
	strings.Repeat("line one = two\n.\nFrom here on\n", 9) + "{{.a}}" + strings.Repeat("\n  \t\n.x Größe\n", 20) +
		"{{.b}}" + strings.Repeat("no line break ", 20) + "{{.a}}\n",
	"<style>p { color: {{.a}} }</style><script>var x = {{.b}}</script>", // not quick
	"{{range $i, $c := .a}}{{$c}}{{end}}{{len .b}}",                     // not quick
}

// values are what recipients have in their fields.
func values(rng *rand.Rand) string {
	fixed := []string{"", "Anna", "O'Brien & <Sons>", `"x" + y`, "Müller", "javascript:alert(1)",
		"https://example.org/?a=b&c=d", "a b", "%41%zz", "\x00", "\xff\xfe", "\uFDD0\uFFFE", "-._~", "1;2", "{{.a}}", "..",
		"\u2028",
		"no", "FALSE", "0", "0.0", "00x", "yes", "a-b", "--", "tel:+4930", " https://example.org ", "https://example.org/(a)",
		"data:image/png;base64,AA==", "www.example.org:80/"}
	if rng.IntN(3) > 0 {
		return fixed[rng.IntN(len(fixed))]
	}
	b := make([]byte, rng.IntN(12))
	for i := range b {
		b[i] = byte(rng.IntN(256))
	}
	return string(b)
}

func TestWhatIsQuickSaysWhatTheEngineSays(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	for number, page := range pages {
		html, problem := compileHTML(page)
		if problem != nil {
			t.Fatal(page, problem)
		}
		text, problem := compileText(FieldText, newTemplateText(page))
		if problem != nil {
			t.Fatal(page, problem)
		}
		if (html.quick == nil) != (number >= len(pages)-2) {
			t.Errorf("page %d: quick is %v", number, html.quick != nil)
		}
		for range 500 {
			data := texts("a", values(rng), "b", values(rng))
			if rng.IntN(20) == 0 {
				delete(data.values, "b")
			}
			for _, p := range []*part{html, text} {
				engine := *p
				engine.quick = nil
				want, wantErr := engine.execute(&output{}, data)
				got, err := p.execute(&output{}, data)
				if !bytes.Equal(got, want) || fmt.Sprint(err) != fmt.Sprint(wantErr) {
					t.Fatalf(
						"page %d, %s, %q\n got %q, %v\nwant %q, %v",
						number,
						p.field,
						data.values,
						got,
						err,
						want,
						wantErr,
					)
				}
			}
		}
	}
}

// A message has the same octets whether the lines that are the same for everybody were encoded
// before or not.
func TestLinesThatAreEncodedOnceAreNoDifferent(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	for number, page := range append(pages, long(t).HTML) {
		s := long(t)
		s.HTML, s.Text = page, page
		once := mustCompile(t, s)
		each := *once
		for _, p := range []**part{&each.html, &each.text} {
			copied := **p
			copied.passages, copied.quick = nil, nil
			*p = &copied
		}
		inserts := 0
		for range 50 {
			to := reader(1, "zoe@example.org", values(rng), values(rng), "gold")
			to.Attributes["a"], to.Attributes["b"] = field.Value{Text: values(rng)}, field.Value{Text: values(rng)}
			r := once.NewRenderer(t.Context())
			got, _, err := r.Render(nil, to)
			want, _, wantErr := each.NewRenderer(t.Context()).Render(nil, to)
			if !bytes.Equal(got, want) || fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Fatalf("page %d, %q:\n got %s, %v\nwant %s, %v", number, to.Attributes, got, err, want, wantErr)
			}
			inserts += len(r.html.inserts)
		}
		if number >= len(pages)-4 && number != len(pages)-2 && number != len(pages)-1 && inserts == 0 {
			t.Errorf("page %d: no line was encoded beforehand", number)
		}
	}
}
