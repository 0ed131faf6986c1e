package render

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// markupPieces are the spellings of comments, declarations and conditions that editors, Outlook and
// Word write, and the elements around them. Each leaves running text as it found it.
var markupPieces = []string{
	`<p>{{.x}}</p>`,
	// comments
	`<!-- a comment -->`, `<!---->`, `<!-- -- -->`, `<!-->`, `<!--->`, `<!-- a --!>`, `<!-- a <!-- b -->`, `<!--{{.x}}-->`, `<!-- "'<a href="{{.x}}" -->`,
	`<!-- {{if .x}} --><i>a</i><!-- {{else}} --><b>b</b><!-- {{end}} -->`, "<!--\n{{.x}}\n-->", `<!--- {{.x}} --->`, `<!--é{{.x}}-->`,
	// conditional comments that only Outlook shows
	`<!--[if mso]><table><tr><td><![endif]--><div>{{.x}}</div><!--[if mso]></td></tr></table><![endif]-->`,
	`<!--[if (gte mso 9)|(IE)]><p title="{{.x}}">{{.x}}</p><![endif]-->`, `<!--[if gte mso 9]><xml><o:AllowPNG/></xml><![endif]-->`,
	`<!--[IF MSO | IE]><br><![ENDIF]-->`, "<!--[if\nmso]><br><![endif]-->", `<!--[if mso]><br><!-- inner --><i>{{.x}}</i><![endif]-->`, `<!--[if mso ]> <i>{{.x}}</i> <![endif]-->`,
	`<!--[if mso]><style>p{color:red}</style><![endif]-->`, `<!--[if lt mso 12]><i>{{if .x}}{{.x}}{{end}}</i><![endif]-->`, `<!--[if mso]><br><!--<![endif]-->`,
	// and those that all but Outlook show
	`<!--[if !mso]><!--><p>{{.x}}</p><!--<![endif]-->`, `<!--[if !mso]><!-- --><p>{{.x}}</p><!--<![endif]-->`, `<!--[if !mso]><!----><p>{{.x}}</p><!-- <![endif]-->`,
	`<!--[if !mso]> --><p>{{.x}}</p><!-- <![endif]-->`, `<!--[if !mso]>--><p>{{.x}}</p><!--<![endif]-->`, `<!--[if !mso]--><p>{{.x}}</p><!--[endif]-->`,
	`<!--[if !gte mso 9]><!-- all others --><p>{{.x}}</p><!-- <![endif] -->`, `<!--[if !mso]><!-- --><a href="{{.u}}">{{.x}}</a><!-- <![endif]-->`,
	`<![if !mso]><p>{{.x}}</p><![endif]>`, `<![if !vml]><img src="{{.u}}"><![endif]>`, `<!--[if !mso]><!--><style>p{color:red}</style><!--<![endif]-->`,
	// declarations
	`<?xml version="1.0" encoding="utf-8"?>`, `<?xml:namespace prefix = o ns = "urn:schemas-microsoft-com:office:office" />`, `<o:p></o:p>`, `<o:p>&nbsp;</o:p>`,
	`<![CDATA[ a ]]>`, `<!DOCTYPE html>`, `<!doctype html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd">`, `<!ELEMENT a>`, `</ a>`, `<!x {{.x}}>`, `<?php echo 1 ?>`,
	// VML
	`<!--[if gte mso 9]><v:rect xmlns:v="urn:schemas-microsoft-com:vml" fill="true" style="width:600px;"><v:fill type="frame" src="{{.u}}" color="#7bceeb"/><v:textbox inset="0,0,0,0"><![endif]--><div>{{.x}}</div><!--[if gte mso 9]></v:textbox></v:rect><![endif]-->`,
	`<!--[if mso]><v:roundrect href="{{.u}}" arcsize="8%" strokecolor="#1e3650"><w:anchorlock/><center style="color:#fff;">{{.x}}</center></v:roundrect><![endif]--><![if !mso]><a href="{{.u}}" style="mso-hide:all;">{{.x}}</a><![endif]>`,
	// what looks like it and is none
	`<p title="<!-- {{.x}} -->">a</p>`, `<p title='<![if !mso]>{{.x}}'>a</p>`, `<style><!-- p > a { color: red } /* c */ --></style>`, `<title><!-- {{.x}} --></title>`, `<textarea><!--[if mso]>{{.x}}</textarea>`,
	`a < b, 5 <6 <3 <= && << < `, `<p>a -- b --> c</p>`, `<a href="https://example.com/?a=1&b=2">&amp; &copy</a>`, `</>`, `<p {{if .x}}class="a"{{end}} data-x=y>a</p>`, "<script>var a = 'b'; // c\n/* d */</script>",
	`<table><tr><td>{{.x}}</td></tr></table>`, `<a href="{{.u}}?q={{.x}}">{{.x}}</a>`, `<style>p:before{content:"a"} /* b */ @media (min-width:1px){p{color:red}}</style>`, `{{/* a template's comment */}}`, "\n",
}

// sent returns what a template's HTML part is for fields.
func sent(t testing.TB, page string, fields ...string) string {
	t.Helper()
	p, problem := compileHTML(page)
	if problem != nil {
		t.Fatalf("%s\n%v", page, problem)
	}
	data := map[string]string{}
	for i := 0; i < len(fields); i += 2 {
		data[fields[i]] = fields[i+1]
	}
	b, err := p.execute(&output{}, data)
	if err != nil {
		t.Fatalf("%s\n%v", page, err)
	}
	return string(b)
}

// asWritten is the author's HTML with values that need no escape in the place of the actions: what
// must go out, octet by octet.
func asWritten(page, x, u string) string {
	page = regexp.MustCompile(`\{\{/\*.*?\*/\}\}`).ReplaceAllString(page, "")
	page = regexp.MustCompile(`(?s)\{\{if \.x\}\}(.*?)(?:\{\{else\}\}.*?)?\{\{end\}\}`).ReplaceAllString(page, "$1")
	return strings.NewReplacer("{{.x}}", x, "{{.u}}", u).Replace(page)
}

// shown is what a parser that is not ours makes of HTML: elements with their attributes, texts and
// the number of comments. The word for a value is replaced by the value.
func shown(t testing.TB, page, word, value string) string {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for n := range doc.Descendants() {
		switch n.Type {
		case html.TextNode:
			fmt.Fprintf(&b, "%q\n", strings.ReplaceAll(n.Data, word, value))
		case html.CommentNode:
			b.WriteString("comment\n")
		default:
			fmt.Fprintf(&b, "%d %s", n.Type, n.Data)
			for _, a := range n.Attr {
				fmt.Fprintf(&b, " %s", a.Key)
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

var (
	outlookOpens = regexp.MustCompile(`(?is)<!--\[if[^\]]*\]>|<!\[if[^\]]*\]>`)
	outlookEnds  = regexp.MustCompile(`(?i)(?:<!--\s*)?<!\[endif\]\s*(?:--)?>`)
)

// toOutlook is HTML as a client reads it that shows what conditional comments hold.
func toOutlook(page string) string {
	return outlookEnds.ReplaceAllString(outlookOpens.ReplaceAllString(page, ""), "")
}

// hostile are values that try to leave their place.
var hostile = []string{`--><script>x</script><!--`, `"><img src=x onerror=y>`, `' onclick='x`, `<![endif]--><b>`, `]]><i>`, `--!><u>`, `-`, `--`, `->`, `!>`, `>`, ` x=y `, `</title></style></textarea><s>`, `{{.x}}`, "`", `<!--[if mso]>`}

// checkMarkup holds a page against its author's text, and what values make of it against what a
// value of letters makes of it, as all clients read it and as Outlook does.
func checkMarkup(t *testing.T, page string, values []string) {
	t.Helper()
	const plain, url = "zzz", "https://example.com/u"
	want := asWritten(page, plain, url)
	if got := sent(t, page, "x", plain, "u", url); got != want {
		t.Errorf("the author's HTML is changed:\ngot  %s\nwant %s", got, want)
	}
	for _, value := range values {
		got := sent(t, page, "x", value, "u", url)
		if a, b := shown(t, got, plain, plain), shown(t, want, plain, value); a != b {
			t.Errorf("%q leaves its place in\n%s\ngot\n%s\nwant\n%s", value, got, a, b)
		}
		if a, b := shown(t, toOutlook(got), plain, plain), shown(t, toOutlook(want), plain, value); a != b {
			t.Errorf("%q leaves its place for Outlook in\n%s\ngot\n%s\nwant\n%s", value, got, a, b)
		}
	}
}

func TestHTMLGoesOutAsItsAuthorWroteIt(t *testing.T) {
	t.Parallel()
	for _, piece := range markupPieces {
		checkMarkup(t, piece, hostile)
	}
	for i, first := range markupPieces {
		for j, second := range markupPieces {
			checkMarkup(t, first+second, hostile[(i+j)%len(hostile):][:1])
		}
	}
	var all strings.Builder
	for i := range 3 {
		for j := range markupPieces {
			all.WriteString(markupPieces[(j*(2*i+1))%len(markupPieces)])
		}
	}
	checkMarkup(t, all.String(), hostile)
}

// FuzzHTMLGoesOutAsWritten: what a client shows of a page is what its author wrote, for any order
// of the pieces, any text between them and any value.
func FuzzHTMLGoesOutAsWritten(f *testing.F) {
	f.Add([]byte{1, 2, 3}, "<p>", "-->")
	f.Add([]byte{10, 20, 30, 40, 50}, "<!--", "\"'<>")
	f.Add([]byte{}, "<!--[if mso]><![if x]><?xml --!> <![endif]-->", "-")
	f.Add([]byte{7, 8, 9}, "<a href='x' <b> </ x> <!", "]]>")
	f.Fuzz(func(t *testing.T, order []byte, text, value string) {
		if strings.Contains(text, "{{") || strings.ContainsAny(text, "\r\x00") || len(order) > 30 {
			return
		}
		page := text
		for _, i := range order {
			page += markupPieces[int(i)%len(markupPieces)] + text
		}
		p, problem := compileHTML(page)
		if problem != nil {
			if problem.Line == 0 {
				t.Errorf("a problem without a place: %v", problem)
			}
			return
		}
		const plain, url = "zzz", "https://example.com/u"
		want := asWritten(page, plain, url)
		got, err := p.execute(&output{}, map[string]string{"x": plain, "u": url})
		if err != nil || string(got) != want {
			t.Fatalf("the author's HTML is changed: %v\ngot  %s\nwant %s", err, got, want)
		}
		if value = fieldValue(value); !textTruth(value) {
			return
		}
		got, err = p.execute(&output{}, map[string]string{"x": value, "u": url})
		if err != nil {
			return
		}
		if a, b := elements(t, got), elements(t, []byte(want)); a != b {
			t.Errorf("%q leaves its place in\n%s\ngot\n%s\nwant\n%s", value, got, a, b)
		}
	})
}

// elements is the shape of a page: its elements, their attributes and the number of comments.
func elements(t testing.TB, page []byte) string {
	return regexp.MustCompile(`(?m)^".*\n`).ReplaceAllString(shown(t, string(bytes.ToValidUTF8(page, nil)), "zzz", "zzz"), "")
}

// A template is written by others: to read it, and to find the place of its fault, must come to an
// end.
func TestAHostileTemplateCostsNoMoreThanItsLength(t *testing.T) {
	t.Parallel()
	start := time.Now()
	for _, piece := range []string{"<!x>", "<!--[if a]>", "<!-- a -->", "<![endif]-->", "<a", "</ ", "<!--", "{{.x}}", "<p title='", "{{if .x}}", "<style>", "<title></title", "--", "<a b=c", "{{.x}}<", "<p>{{.x}}</p><a b=\"c\"d'>"} {
		for _, end := range []string{"", "{{nofunc}}", "<a b=c=d>", "{{end}}"} {
			s := spec()
			s.Text, s.HTML = "", strings.Repeat(piece, 20_000/len(piece))+end
			Compile(s)
		}
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("took %v", took)
	}
}
