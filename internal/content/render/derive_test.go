package render

import (
	"slices"
	"strings"
	"testing"
)

func derived(t *testing.T, html string, attributes ...string) string {
	t.Helper()
	s := spec()
	s.Text, s.HTML = "", html
	_, env := render(t, s, anna(attributes...))
	return strings.ReplaceAll(env.Text, "\r\n", "\n")
}

func TestTextMadeFromHTML(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, html, want string }{
		{"values are not escaped", `<p>Hello {{.x}}!</p>`, `Hello R&D <x> "it's"!`},
		{"spaces are those of the page", `<p>Hello <b>{{.first_name}}</b>, wel<i>come</i>.</p>`, `Hello *Anna*, welcome.`},
		{"a true branch", `{{if .x}}<p>yes</p>{{else}}<p>no</p>{{end}}<p>end</p>`, "yes\n\nend"},
		{"a false branch leaves no gap", "<p>a</p>\n{{if eq .x \"\"}}<p>yes</p>{{end}}\n<p>end</p>", "a\n\nend"},
		{"else if", `{{if eq .x ""}}a{{else if .x}}b{{else}}c{{end}}`, "b"},
		{"rows of a table stay in their loop", `<table>{{range 3}}<tr><td>a</td><td>b</td></tr>{{end}}</table>`,
			"a b\na b\na b"},
		{"rows without a value", `<table>{{if eq .x ""}}<tr><td>{{.first_name}}</td></tr>{{end}}<tr><td>z</td></tr></table>`,
			"z"},
		{"items of a list", `<ul>{{range 2}}<li>{{$.first_name}}</li>{{end}}</ul>`, "* Anna\n* Anna"},
		{"with", `{{with .first_name}}<p>{{.}}</p>{{end}}`, "Anna"},
		{"variables", `{{$n := .first_name}}<p>{{$n}}</p>`, "Anna"},
		{"a link", `<a href="https://example.com/a{{.u}}?q={{.u}}&amp;r=1#{{.u}}">here</a>.`,
			"here ( https://example.com/aa%20/%C3%BC?q=a+%2F%C3%BC&r=1#a+%2F%C3%BC )."},
		{"a link that is its text", `<a href="{{.l}}">{{.l}}</a>`, "https://example.com/?a=b&c=d"},
		{"a link of a value", `<a href="{{.l}}">x</a>`, "x ( https://example.com/?a=b&c=d )"},
		{"mailto", `<a href="mailto:a@example.com">a@example.com</a>`, "a@example.com"},
		{"a choice of links", `<a href="{{if .x}}https://example.com/1{{else}}https://example.com/2{{end}}">` +
			`{{if .x}}one{{else}}two{{end}}</a>`, "one ( https://example.com/1 )"},
		{"attributes", `<p {{if .x}}class="{{.x}}"{{end}} style="color:red">x</p>`, "x"},
		{"invisible parts", `<head><title>{{.x}}</title><style>a{color:{{.first_name}}}</style></head><!-- {{.x}} -->` +
			`<!--[if mso]>{{.x}}<![endif]--><p>x&zwnj;&nbsp;y</p>`, "x y"},
		{"shown to all but Outlook", `<!--[if !mso]><!--><p>{{.first_name}}</p><!--<![endif]-->`, "Anna"},
		{"a condition around the style", `{{if .x}}<style>a{}</style>{{end}}<p>x</p>`, "x"},
		{"a definition", `<html><body>{{template "foot" .}}</body></html>{{define "foot"}}<p>to {{.first_name}}</p>{{end}}`,
			"to Anna"},
		{"a block", `<p>{{block "b" .}}{{.first_name}}{{end}}</p>`, "Anna"},
		{"braces", `<p>&#123;&#123;.nope}} {{"{{"}}</p>`, "{{.nope}} {{"},
		{"a string with braces", `<p>{{"}}"}}</p>`, "}}"},
		{"comments and trimming", "<p>a {{- /* no */ -}} b {{- .first_name }}</p>", "abAnna"},
		{"a mark's own letters", `<p>dmq0z dmqq1z {{.first_name}}</p>`, "dmq0z dmqq1z Anna"},
		{"headings and blocks", `<h4>a</h4><section>b</section><section>c</section>`, "a\n\nb\nc"},
	} {
		got := strings.TrimSpace(
			derived(t, c.html, "x", `R&D <x> "it's"`, "u", "a /ü", "l", "https://example.com/?a=b&c=d"),
		)
		if got != c.want {
			t.Errorf("%s:\n%q, want\n%q", c.name, got, c.want)
		}
	}
}

func TestHiddenElementsAreNotInTheText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ html, want string }{
		{`<div style="display:none">x</div>`, ""}, {`<div style="font-size:1px; DISPLAY : none !important;">x</div>`, ""},
		{`<span style="mso-hide:all">x</span>`, ""},
		{`<div hidden>x</div>`, ""}, {`<div HIDDEN="">x {{.first_name}}</div>`, ""},
		{`<div style="visibility:hidden">x</div>`, ""}, {`<div style="max-height:0px;overflow:hidden">x</div>`, ""},
		{`<div style="opacity:0;">x</div>`, ""},
		{`<style>.preheader, p.a { display: none !important }</style><span class="b preheader">x</span><p class="a">y</p>`,
			""},
		{`<style>/* a */ #p{display:none}</style><p id="p">x</p>`, ""},
		{`<div style="display:none;color:{{.first_name}}">x</div>`, ""},
		{`<div style="display:none;{{if .first_name}}color:red{{end}}">x</div>`, ""},
		{`<div style="display:none">{{if .first_name}}a{{else}}b{{end}}</div>`, ""},
		{`<table><tr style="display:none"><td>x</td></tr></table>`, ""},
		{`<a href="https://example.com" style="color:#fff;mso-hide:all">shown</a>`, "shown ( https://example.com ) end"},
		{`<p style="mso-hide:all"><a href="https://example.com">shown</a></p>`, "shown ( https://example.com )\n\nend"},
		{`<div style="display:block">shown</div>`, "shown\nend"},
		{`<div style="font-size:0;line-height:0">shown</div>`, "shown\nend"},
		{`<div aria-hidden="true">shown</div>`, "shown\nend"}, {`<div style="opacity:0.9">shown</div>`, "shown\nend"},
		{`<style>@media (max-width:600px){.m{display:none}}</style><p class="m">shown</p>`, "shown\n\nend"},
		{`<style>.m p{display:none} p.b{display:none}</style><p class="m">shown</p>`, "shown\n\nend"},
		{`<div style="max-height:10px;overflow:hidden">shown</div>`, "shown\nend"},
		{`<div style="mso-line-height-rule:exactly">shown</div>`, "shown\nend"},
	} {
		for _, static := range []bool{false, true} {
			s := spec()
			s.Static, s.Text, s.HTML = static, "", c.html+`<p>end</p>`
			if static && strings.Contains(s.HTML, "{{") {
				continue
			}
			want := c.want
			if want == "" {
				want = "end"
			}
			_, env := render(t, s, anna("first_name", "red"))
			if !slices.Equal(strings.Fields(env.Text), strings.Fields(want)) {
				t.Errorf("%s\n%q, want %q", c.html, env.Text, want)
			}
		}
	}
}

// Editors put conditions into comments, so that what is between them stays visible while it is
// edited.
func TestTheTextObeysConditionsInComments(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ html, yes, no string }{
		{`<!-- {{if .x}} --><p>a</p><!-- {{else}} --><p>b</p><!-- {{end}} -->`, "a", "b"},
		{`<table><!-- {{if .x}} --><tr><td>a</td></tr><!-- {{else}} --><tr><td>b</td></tr><!-- {{end}} --></table>`,
			"a", "b"},
		{`<!-- {{if .x}}a{{end}} --><p>c</p><!-- {{/* note */}} {{if not .x}} --><p>d</p><!--{{end}}-->`, "c", "c d"},
		{`<ul><!--{{range splitList "," .list}}--><li>{{.}}</li><!--{{end}}--></ul>`, "* 1 * 2", "* 1 * 2"},
		{`<!-- {{with .x}} --><p>{{.}}</p><!-- {{end}} --><p>c</p>`, "1 c", "c"},
		{`<!-- {{$y := .x}} --><p>{{$y}}c</p>`, "1c", "noc"},
		{`<!--[if mso]>{{if .x}}<p>outlook {{.x}}</p>{{end}}<![endif]--><!--[if !mso]>` +
			`<!-- -->{{if .x}}<p>a</p>{{end}}<!--<![endif]--><p>c</p>`, "a c", "c"},
		{`<![if !mso]>{{if .x}}<p>a</p>{{end}}<![endif]><p>c</p>`, "a c", "c"},
		{`{{if .x}}<!--[if mso]><p>o</p><![endif]--><p>a</p>{{end}}<p>c</p>`, "a c", "c"},
		{`<!-- {{if eq .list "1,2"}}{{if .x}} --><p>a</p><!-- {{end}}{{end}} --><p>c</p>`, "a c", "c"},
	} {
		for value, want := range map[string]string{"1": c.yes, "no": c.no} {
			got := strings.Join(strings.Fields(derived(t, c.html, "x", value, "list", "1,2")), " ")
			if got != want {
				t.Errorf("%s\n%s: got %q, want %q", c.html, value, got, want)
			}
		}
	}
}

func TestAPageWhoseActionsCannotBeKeptInOrderNeedsATextOfItsOwn(t *testing.T) {
	t.Parallel()
	for _, html := range []string{
		`{{if .first_name}}<title>{{else}}<title>x{{end}}</title><p>x</p>`, // begins outside the title and ends in it
		`<table>{{if .first_name}}<p>{{.first_name}}</p>{{end}}<tr><td>x</td></tr></table>`,
		`<title>{{$x := .first_name}}</title><p>{{$x}}</p>`,
		// ends a comment in a branch
		`<!--[if mso]>{{if .first_name}}<p>a</p><![endif]-->{{else}}<p>b</p><![endif]-->{{end}}`,
		`{{if .first_name}}<!--[if mso]>{{else}}<!--[if !mso]><!-->{{end}}<p>x</p><!--<![endif]-->`,
		`<p style="{{if .first_name}}display:none{{end}}">x</p>`, // hidden for some
		`<p {{if .first_name}}hidden{{end}}>x</p>`,
		`<p style="display:{{.first_name}}">x</p>`,
		`<div style="display:none">{{if .first_name}}</div>a<div style="display:none">{{end}}</div>b`,
	} {
		s := spec()
		s.Text, s.HTML = "", html
		c, problems := Compile(s)
		if len(problems) != 1 || problems[0].Field != FieldText ||
			!strings.Contains(problems[0].Message, "give content.text") {
			t.Errorf("%s: %v", html, problems)
			if c != nil {
				t.Log(derived(t, html))
			}
			continue
		}
		s.Text = "x"
		mustCompile(t, s)
	}
}

// FuzzTextFromHTML: whatever page compiles, the text made from it compiles too or is refused, and
// nothing panics.
func FuzzTextFromHTML(f *testing.F) {
	for _, seed := range []string{`<p>{{.x}}</p>`, `<table>{{range 2}}<tr>{{end}}</table>`,
		`<a href="{{.x}}?{{.y}}">{{if .x}}a{{end}}</a>`, `{{define "a"}}<b>{{end}}{{template "a"}}`, "<pre> a\n b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, html string) {
		s := spec()
		s.Text, s.HTML = "", html
		if c, _ := Compile(s); c != nil {
			c.NewRenderer(t.Context()).Render(nil, anna())
		}
	})
}
