package render

import (
	"errors"
	"strings"
	"testing"
)

// refusal is why a page fails a recipient with one field, x.
func refusal(t *testing.T, page, value string) *Problem {
	t.Helper()
	s := spec()
	s.Text, s.HTML = "x", page
	_, _, err := mustCompile(t, s).NewRenderer(t.Context()).Render(nil, anna("x", value))
	var p *Problem
	if !errors.As(err, &p) {
		t.Fatalf("%s %q: %v", page, value, err)
	}
	return p
}

func TestHarmlessValuesPassAndBlanksAroundThemAreTrimmed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ page, value, want string }{
		{`<a href="{{.x}}">`, "tel:+4930123456", `<a href="tel:&#43;4930123456">`},
		{`<a href="{{.x}}">`, "whatsapp://send?phone=49&text=a", `<a href="whatsapp://send?phone=49&amp;text=a">`},
		{`<a href="{{.x}}">`, "sms:+49301", `<a href="sms:&#43;49301">`},
		{`<a href="{{.x}}">`, "WEBCAL://example.com/a.ics", `<a href="WEBCAL://example.com/a.ics">`},
		{`<a href="{{.x}}">`, "www.example.com:8080/a", `<a href="www.example.com:8080/a">`},
		{`<a href="{{.x}}">`, "shop.example.com:443", `<a href="shop.example.com:443">`},
		{`<a href="{{.x}}">`, "localhost:8080?a=b", `<a href="localhost:8080?a=b">`},
		{`<a href="{{.x}}">`, " \thttps://example.com/a \n", `<a href="https://example.com/a">`},
		{`<a href="{{.x}}">`, "\u00a0https://example.com/a\u200b", `<a href="https://example.com/a">`},
		{`<a href="{{.x}}">`, "mailto:a@example.com?subject=b%20c", `<a href="mailto:a@example.com?subject=b%20c">`},
		{`<a href="{{.x}}">`, "/a/b:c", `<a href="/a/b:c">`},
		{`<a href="{{.x}}">`, "?a=b:c", `<a href="?a=b:c">`},
		{`<a href="{{.x}}">`, "10:30", `<a href="10:30">`},
		{`<a href="{{.x}}">`, "", `<a href="">`},
		{`<a href="myshop://{{.x}}">`, "a/b", `<a href="myshop://a/b">`},
		{`<img src="{{.x}}">`, "cid:logo@example.com", `<img src="cid:logo@example.com">`},
		{`<img src="{{.x}}">`, "data:image/png;base64,iVBORw0KGgo=", `<img src="data:image/png;base64,iVBORw0KGgo=">`},
		{`<img srcset="{{.x}}">`, "https://example.com/a.png 1x,https://example.com/b,c.png 2x",
			`<img srcset="https://example.com/a.png 1x, https://example.com/b,c.png 2x">`},
		{`<td background="{{.x}}">`, "https://example.com/a.png", `<td background="https://example.com/a.png">`},
		{`<p style="background:url('{{.x}}')">`, "https://example.com/a.png",
			`<p style="background:url('https://example.com/a.png')">`},
		{`<p style="color:{{.x}}">`, "rgb(10, 20, 30)", `<p style="color:rgb(10, 20, 30)">`},
		{`<p style="color:{{.x}}">`, " rgba(10 20 30 / 50%) ", `<p style="color:rgba(10 20 30 / 50%)">`},
		{`<p style="color:{{.x}}">`, "hsl(120deg 75% 25%)", `<p style="color:hsl(120deg 75% 25%)">`},
		{`<p style="color:{{.x}}">`, "#06c", `<p style="color:#06c">`},
		{`<p style="color:{{.x}}">`, "red !important", `<p style="color:red !important">`},
		{`<p style="width:{{.x}}">`, "calc((100% - 20px) / 2)", `<p style="width:calc((100% - 20px) / 2)">`},
		{`<p style="color:{{.x}}">`, "var(--brand, #fff)", `<p style="color:var(--brand, #fff)">`},
		{`<p style="background:{{.x}}">`, "linear-gradient(90deg, rgb(0,0,0), #fff 50%)",
			`<p style="background:linear-gradient(90deg, rgb(0,0,0), #fff 50%)">`},
		{`<p style="font-family:{{.x}}">`, `"Open Sans", 'Größe', sans-serif`,
			`<p style="font-family:&#34;Open Sans&#34;, &#39;Größe&#39;, sans-serif">`},
		{`<p style="font:{{.x}}">`, "12px/1.5 Arial", `<p style="font:12px/1.5 Arial">`},
		{`<style>p{font-family:{{.x}}}</style>`, `"Open Sans"`, `<style>p{font-family:"Open Sans"}</style>`},
		{`<td {{.x}}="1">`, "colspan", `<td colspan="1">`},
		{`<h{{.x}}>a</h{{.x}}>`, "2", `<h2>a</h2>`},
	} {
		s := spec()
		s.Text, s.HTML = "x", c.page
		_, env := render(t, s, anna("x", c.value))
		if got := env.HTML; got != c.want {
			t.Errorf("%s %q: got\n%s, want\n%s", c.page, c.value, got, c.want)
		}
	}
}

func TestAValueThatIsNotHarmlessFailsTheRecipientByItsNameAndPlace(t *testing.T) {
	t.Parallel()
	for page, values := range map[string][]string{
		`<p><a href="{{.x}}">`: {"javascript:alert(1)", "JavaScript:alert(1)", " javascript:alert(1)",
			"java\tscript:alert(1)", "vbscript:x", "data:text/html,x", "data:image/svg+xml,x",
			"javascript:8080/alert(1)", "file:///etc/passwd", "blob:x", "ms-msdt:x", "search-ms:x", "view-source:x",
			"\x01javascript:x", "data:x:8080"},
		`<p><a href='{{.x | lower}}'>`:                          {"javascript:alert(1)"},
		`<p><a href={{.x}}>`:                                    {"javascript:alert"},
		`<p><img srcset="{{.x}} 2x">`:                           {"javascript:x", "https://example.com/a 1x, javascript:x"},
		`<p style="background:url({{.x}})">`:                    {"javascript:x"},
		`<p><meta content="0;url={{.x}}" http-equiv="refresh">`: {"javascript:x"},
		`<p style="color:{{.x}}">`: {"red;background:url(x)", "url(https://example.com)", "expression(x)",
			"exp/**/ression(x)", `"a`, "a}b", `\65xpression(x)`, "rgb(", "rgb(1))", "</style>", "-moz-binding:x",
			"image-set(a)", "rgb(url(x))", "--", "@import", "a`", "element(x)", "(1)", "<!--", "-->"},
		`<p {{.x}}="a">`: {"onclick", "style", "href", "a b", "", "src", "background", "x onload"},
	} {
		for _, value := range values {
			p := refusal(t, page, value)
			if p.Field != FieldHTML || p.Line != 1 || p.Column == 0 ||
				!strings.Contains(p.Message, "the value of .x") ||
				strings.Contains(p.Message, value) && value != "" && value != "--" && value != "a b" && len(value) > 4 {
				t.Errorf("%s %q: %v", page, value, p)
			}
		}
	}
	p := refusal(t, "<p>\n<a href=\"{{ .x | trim | lower }}\">", "javascript:x")
	if want := "content.html line 2, column 13: the value of .x | trim | lower is not a URL"; !strings.HasPrefix(
		p.Error(),
		want,
	) {
		t.Errorf("got %v, want %s", p, want)
	}
}

// Whatever the value and its place, html/template's word for a value that it refuses is never sent.
func TestNoPlaceSendsTheWordForAnUnsafeValue(t *testing.T) {
	t.Parallel()
	for _, place := range []string{`<a href="%">`, `<a href='%'>`, `<a href=%>`, `<img src="%">`, `<img srcset="%">`,
		`<p style="color:%">`, `<p style="background:url(%)">`,
		`<p style="background:url('%')">`, `<p style='font-family:"%"'>`, `<style>p{color:%}</style>`,
		`<style>p{background:url("%")}</style>`, `<p %>`, `<p %="a">`, `<p a%="a">`, `<p onclick="f(%)">`,
		`<script>f(%)</script>`,
		`<script>f("%")</script>`, "<script>f(`%`)</script>", `<script>f(/%/)</script>`, `<title>%</title>`,
		`<textarea>%</textarea>`, `<!-- % -->`, `<meta http-equiv="refresh" content="0;url=%">`, `<form action="%">`,
		`<!--[if mso]><v:rect href="%" fillcolor="%"><![endif]-->`, `<svg><a xlink:href="%">`, `<object data="%">`,
		`<button formaction="%">`} {
		page := strings.ReplaceAll(place, "%", "{{.x}}")
		if strings.Contains(place, "`") {
			page = strings.ReplaceAll(place, "%", "a")
		}
		p, problem := compileHTML(page)
		if problem != nil {
			t.Errorf("%s: %v", page, problem)
			continue
		}
		for _, value := range append(hostile, "javascript:x", "expression(x)", "", "onclick", "\x00", "url(x)",
			"a 1x, javascript:x 2x") {
			b, err := p.execute(&output{}, texts("x", value))
			if strings.Contains(string(b), "ZgotmplZ") || err != nil && strings.Contains(err.Error(), "ZgotmplZ") {
				t.Errorf("%s %q: got %s, %v", page, value, b, err)
			}
		}
	}
}

func TestAnActionInTheMiddleOfATagsFirstOctetsMakesNoTag(t *testing.T) {
	t.Parallel()
	for page, want := range map[string]string{
		`a <{{.x}}`:               `a &lt;b`,
		`<!{{.x}} a>`:             `&lt;!b a>`,
		`<!-{{.x}}- a -->`:        `&lt;!-b- a -->`,
		`<title>a <{{.x}}`:        ``,
		`</{{.x}}>`:               ``,
		`<{{if .x}}b{{end}}>`:     ``,
		`a <{{with .x}} c{{end}}`: ``,
	} {
		p, problem := compileHTML(page)
		if (problem == nil) != (want != "") {
			t.Errorf("%s: %v", page, problem)
		}
		if problem != nil {
			if problem.Line != 1 || problem.Column == 0 {
				t.Errorf("%s: no place: %v", page, problem)
			}
			continue
		}
		if b, err := p.execute(&output{}, texts("x", "b")); err != nil || string(b) != want {
			t.Errorf("%s: got %s, %v", page, b, err)
		}
	}
}

func TestALiteralCommentInAnActionIsTheAuthorsOwn(t *testing.T) {
	t.Parallel()
	page := "{{\"<!--[if mso]>\"}}<b>{{.x}}</b>{{`<![endif]-->`}}{{\"<b>\"}}{{print \"<!-- a -->\"}}"
	want := `<!--[if mso]><b>X</b><![endif]-->&lt;b&gt;&lt;!-- a --&gt;`
	if got := sent(t, page, "x", "X"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestEveryErrorOfHTMLNamesItsLineAndColumn(t *testing.T) {
	t.Parallel()
	for page, want := range map[string]string{
		"<p>\n<a href=https://example.com/a?b=1&c=2>x</a>": `line 2, column 32: "=" in unquoted attr`,
		"<p>\né<a href=a'b>x</a>":                          `line 2, column 11: "'" in unquoted attr`,
		"<p>\n<a =\"b\">":                                  `line 2, column `,
		"<p>\n<a b\"c>":                                    `line 2, column `,
		"<p>\n\n<a title=\"x>\n<p>y":                       "line 3, column 1: the value of an attribute is not closed",
		"<p>\n<!-- a\n<p>y":                                "line 2, column 1: a comment is not closed",
		"<p>\n<![if mso":                                   "line 2, column 1: a declaration (<! or <?) is not closed",
		"<p>\n<style>a{}":                                  "line 2, column 1: <style> is not closed",
		"<p>\n {{if .x}}<!-- {{end}} -->": "line 2, column 7: the branches of {{if}} end in different places: " +
			"one leaves a comment open",
		"<p>\n{{range .x}}<a href='{{end}}'>": "line 2, column ",
		"<a>\n{{.x}} {{first_name}} {{.y}}": `line 2, column 8: function "first_name" not defined: ` +
			`a field is written with a dot, {{.first_name}}`,
		"<a>\n{{.x}}{{if .y}}\n{{end}}\n{{end}}":   "line 4, column 1: unexpected {{end}}",
		"<a>\n{{if .x}}{{.y}}\n{{if .z}}{{end}}\n": "line 2, column 1: unexpected EOF",
		"<a>\n{{.x":                "line 2, column 1: unclosed action",
		"<script>a = 'b{{.x}}\\\n": "line 1, column ",
		"<p>{{define \"a\"}}<!-- x -->{{end}}{{template \"a\"}}<p title=\"{{template \"a\"}}\">": "line 1, column ",
	} {
		_, problem := compileHTML(page)
		if problem == nil || !strings.Contains(problem.Error(), want) || problem.Column == 0 {
			t.Errorf("%s\ngot  %v\nwant %s", page, problem, want)
		}
	}
}
