package render

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/net/html"
)

// markupPieces are the spellings of comments, declarations and conditions that editors, Outlook and
// Word write, and the elements around them. Each leaves running text as it found it.
var markupPieces = []string{
	`<p>{{.x}}</p>`,
	// comments
	`<!-- a comment -->`, `<!---->`, `<!-- -- -->`, `<!-->`, `<!--->`, `<!-- a --!>`, `<!-- a <!-- b -->`, `<!--{{.x}}-->`,
	`<!-- "'<a href="{{.x}}" -->`,
	`<!-- {{if .x}} --><i>a</i><!-- {{else}} --><b>b</b><!-- {{end}} -->`, "<!--\n{{.x}}\n-->", `<!--- {{.x}} --->`,
	`<!--é{{.x}}-->`,
	// conditional comments that only Outlook shows
	`<!--[if mso]><table><tr><td><![endif]--><div>{{.x}}</div><!--[if mso]></td></tr></table><![endif]-->`,
	`<!--[if (gte mso 9)|(IE)]><p title="{{.x}}">{{.x}}</p><![endif]-->`,
	`<!--[if gte mso 9]><xml><o:AllowPNG/></xml><![endif]-->`,
	`<!--[IF MSO | IE]><br><![ENDIF]-->`, "<!--[if\nmso]><br><![endif]-->",
	`<!--[if mso]><br><!-- inner --><i>{{.x}}</i><![endif]-->`, `<!--[if mso ]> <i>{{.x}}</i> <![endif]-->`,
	`<!--[if mso]><style>p{color:red}</style><![endif]-->`, `<!--[if lt mso 12]><i>{{if .x}}{{.x}}{{end}}</i><![endif]-->`,
	`<!--[if mso]><br><!--<![endif]-->`,
	// and those that all but Outlook show
	`<!--[if !mso]><!--><p>{{.x}}</p><!--<![endif]-->`, `<!--[if !mso]><!-- --><p>{{.x}}</p><!--<![endif]-->`,
	`<!--[if !mso]><!----><p>{{.x}}</p><!-- <![endif]-->`,
	`<!--[if !mso]> --><p>{{.x}}</p><!-- <![endif]-->`, `<!--[if !mso]>--><p>{{.x}}</p><!--<![endif]-->`,
	`<!--[if !mso]--><p>{{.x}}</p><!--[endif]-->`,
	`<!--[if !gte mso 9]><!-- all others --><p>{{.x}}</p><!-- <![endif] -->`,
	`<!--[if !mso]><!-- --><a href="{{.u}}">{{.x}}</a><!-- <![endif]-->`,
	`<![if !mso]><p>{{.x}}</p><![endif]>`, `<![if !vml]><img src="{{.u}}"><![endif]>`,
	`<!--[if !mso]><!--><style>p{color:red}</style><!--<![endif]-->`,
	// declarations
	`<?xml version="1.0" encoding="utf-8"?>`,
	`<?xml:namespace prefix = o ns = "urn:schemas-microsoft-com:office:office" />`, `<o:p></o:p>`, `<o:p>&nbsp;</o:p>`,
	`<![CDATA[ a ]]>`, `<!DOCTYPE html>`,
	`<!doctype html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd">`,
	`<!ELEMENT a>`, `</ a>`, `<!x {{.x}}>`, `<?php echo 1 ?>`,
	// VML
	`<!--[if gte mso 9]><v:rect xmlns:v="urn:schemas-microsoft-com:vml" fill="true" style="width:600px;">` +
		`<v:fill type="frame" src="{{.u}}" color="#7bceeb"/><v:textbox inset="0,0,0,0"><![endif]--><div>{{.x}}</div>` +
		`<!--[if gte mso 9]></v:textbox></v:rect><![endif]-->`,
	`<!--[if mso]><v:roundrect href="{{.u}}" arcsize="8%" strokecolor="#1e3650"><w:anchorlock/>` +
		`<center style="color:#fff;">{{.x}}</center></v:roundrect><![endif]--><![if !mso]>` +
		`<a href="{{.u}}" style="mso-hide:all;">{{.x}}</a><![endif]>`,
	// what looks like it and is none
	`<p title="<!-- {{.x}} -->">a</p>`, `<p title='<![if !mso]>{{.x}}'>a</p>`,
	`<style><!-- p > a { color: red } /* c */ --></style>`, `<title><!-- {{.x}} --></title>`,
	`<textarea><!--[if mso]>{{.x}}</textarea>`,
	`a < b, 5 <6 <3 <= && << < `, `<p>a -- b --> c</p>`, `<a href="https://example.com/?a=1&b=2">&amp; &copy</a>`, `</>`,
	`<p {{if .x}}class="a"{{end}} data-x=y>a</p>`, "<script>var a = 'b'; // c\n/* d */</script>",
	`<table><tr><td>{{.x}}</td></tr></table>`, `<a href="{{.u}}?q={{.x}}">{{.x}}</a>`,
	`<style>p:before{content:"a"} /* b */ @media (min-width:1px){p{color:red}}</style>`, `{{/* a template's comment */}}`,
	"\n",
}

// sent returns what a template's HTML part is for fields.
func sent(t testing.TB, page string, fields ...string) string {
	t.Helper()
	p, problem := compileHTML(page)
	if problem != nil {
		t.Fatalf("%s\n%v", page, problem)
	}
	b, err := p.execute(&output{}, texts(fields...))
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
var hostile = []string{
	`--><script>x</script><!--`,
	`"><img src=x onerror=y>`,
	`' onclick='x`,
	`<![endif]--><b>`,
	`]]><i>`,
	`--!><u>`,
	`--`,
	`->`,
	`!>`,
	`>`,
	` x=y `,
	`</title></style></textarea><s>`,
	`{{.x}}`,
	"`",
	`<!--[if mso]>`,
}

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
			if (i+j)%3 != 0 { // a third of the pairs; the fuzz test takes any order
				continue
			}
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
	f.Add([]byte{}, "<!--[if mso]><![if x]><?xml --!> <![endif]-->", "--")
	f.Add([]byte{7, 8, 9}, "<a href='x' <b> </ x> <!", "]]>")
	f.Fuzz(func(t *testing.T, order []byte, text, value string) {
		if strings.Contains(text, "{{") || strings.ContainsAny(text, "\r\x00") || len(order) > 30 ||
			!utf8.ValidString(text+value) {
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
		got, err := p.execute(&output{}, texts("x", plain, "u", url))
		if err != nil || string(got) != want {
			t.Fatalf("the author's HTML is changed: %v\ngot  %s\nwant %s", err, got, want)
		}
		if value = fieldValue(value); !textTruth(value) {
			return
		}
		got, err = p.execute(&output{}, texts("x", value, "u", url))
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
	return regexp.MustCompile(`(?m)^".*\n`).ReplaceAllString(shown(t, string(page), "zzz", "zzz"), "")
}

// What a designer's tool, Outlook's hack-books and Word write, in one page each, shortened.
func TestPagesOfDesignToolsGoOutAsTheyAre(t *testing.T) {
	t.Parallel()
	for name, page := range map[string]string{
		"MJML": `<!doctype html>
<html lang="und" dir="auto" xmlns="http://www.w3.org/1999/xhtml" xmlns:v="urn:schemas-microsoft-com:vml" ` +
			`xmlns:o="urn:schemas-microsoft-com:office:office">
<head><title></title><!--[if !mso]><!--><meta http-equiv="X-UA-Compatible" content="IE=edge"><!--<![endif]-->
<style type="text/css">#outlook a { padding:0; } img { -ms-interpolation-mode:bicubic; }</style>
<!--[if mso]><noscript><xml><o:OfficeDocumentSettings><o:AllowPNG/><o:PixelsPerInch>96</o:PixelsPerInch>` +
			`</o:OfficeDocumentSettings></xml></noscript><![endif]-->
<!--[if lte mso 11]><style type="text/css">.mj-outlook-group-fix { width:100% !important; }</style><![endif]-->
<!--[if !mso]><!--><link href="https://fonts.example.com/css?family=Open+Sans:300,400" rel="stylesheet" ` +
			`type="text/css">` +
			`<style type="text/css">@import url(https://fonts.example.com/css?family=Open+Sans:300,400);</style><!--<![endif]-->
<style media="screen and (min-width:480px)">.moz-text-html .mj-column-per-100 { width:100% !important; }</style></head>
<body style="word-spacing:normal;"><div style=""><!--[if mso | IE]><table align="center" border="0" cellpadding="0" ` +
			`cellspacing="0" class="" role="presentation" style="width:600px;" width="600" ><tr>` +
			`<td style="line-height:0px;font-size:0px;mso-line-height-rule:exactly;">` +
			`<v:image style="border:0;height:400px;mso-position-horizontal:center;position:absolute;top:0;width:600px;` +
			`z-index:-3;" src="{{.u}}" xmlns:v="urn:schemas-microsoft-com:vml" /><![endif]-->
<div style="margin:0px auto;max-width:600px;"><a href="{{.u}}" style="display:inline-block;background:#414141;" ` +
			`target="_blank"> {{.x}} </a></div><!--[if mso | IE]></td></tr></table><![endif]--></div></body></html>`,
		"Stripo": `<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" ` +
			`"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd"><html><head><!--[if (mso 16)]>` +
			`<style type="text/css">a {text-decoration: none;}</style><![endif]--><!--[if gte mso 9]>` +
			`<style>sup { font-size: 100% !important; }</style><![endif]-->
<!--[if gte mso 9]><noscript><xml><o:OfficeDocumentSettings><o:AllowPNG></o:AllowPNG></o:OfficeDocumentSettings>` +
			`</xml></noscript><![endif]--><!--[if !mso]><!-- -->` +
			`<link href="https://fonts.example.com/css2?family=Imprima&display=swap" rel="stylesheet"><!--<![endif]--></head>
<body><!--[if gte mso 9]><v:background xmlns:v="urn:schemas-microsoft-com:vml" fill="t">` +
			`<v:fill type="tile" color="#ffffff"></v:fill></v:background><![endif]--><span class="es-button-border">` +
			`<!--[if mso]><a href="{{.u}}" target="_blank" hidden><v:roundrect xmlns:v="urn:schemas-microsoft-com:vml" ` +
			`esdevVmlButton href="{{.u}}" style="height:44px; v-text-anchor:middle; width:200px" arcsize="50%" stroke="f" ` +
			`fillcolor="#7630f3"><w:anchorlock></w:anchorlock><center style='color:#ffffff; font-size:18px; ` +
			`mso-text-raise:1px'>{{.x}}</center></v:roundrect></a><![endif]--><!--[if !mso]><!-- -->` +
			`<a href="{{.u}}" class="es-button msohide" style="mso-hide:all;">{{.x}}</a><!--<![endif]--></span></body></html>`,
		"Word": "<html xmlns:v=\"urn:schemas-microsoft-com:vml\" xmlns:w=\"urn:schemas-microsoft-com:office:word\" " +
			"xmlns:m=\"http://schemas.microsoft.com/office/2004/12/omml\">\n<head><meta name=Generator " +
			"content=\"Microsoft Word 15 (filtered medium)\"><!--[if !mso]><style>v\\:* {behavior:url(#default#VML);}\n" +
			"o\\:* {behavior:url(#default#VML);}\n</style><![endif]-->" +
			"<style><!--\n/* Font Definitions */\n@font-face\n\t{font-family:\"Cambria Math\";\n" +
			"\tpanose-1:2 4 5 3 5 4 6 3 2 4;}\np.MsoNormal, li.MsoNormal\n\t{margin:0cm;\n\tfont-size:11.0pt;}\n--></style>" +
			"<!--[if gte mso 9]><xml>\n<o:shapedefaults v:ext=\"edit\" spidmax=\"1026\" />\n</xml><![endif]--></head>\n" +
			"<body lang=DE link=\"#0563C1\" vlink=\"#954F72\" style='word-wrap:break-word'><?xml:namespace prefix = o />" +
			"<div class=WordSection1><p class=MsoNormal>{{.x}}<o:p></o:p></p><p class=MsoNormal><![if !supportLists]>" +
			"<span style='mso-list:Ignore'>1.<span style='font:7.0pt \"Times New Roman\"'>&nbsp;</span></span><![endif]>" +
			"<a href=\"{{.u}}\">x</a><o:p>&nbsp;</o:p></p></div></body></html>",
		"hybrid": `<style>/* What it does: {{if .x}} */ p { color: red } /* {{end}} */ /*<![CDATA[*/ ` +
			`a { b: c } /*]]>*/</style>` +
			`<script type="application/ld+json">{"@context": "https://schema.org", "name": "a"}</script>` +
			`<div class="es-wrapper-color" dir="ltr"><td background="{{.u}}" bgcolor="#7bceeb" valign="top">` +
			`<!--[if gte mso 9]><v:rect style="width:600px;height:92px;" fill="true" stroke="false">` +
			`<v:fill type="tile" src="{{.u}}" color="#7bceeb" /><v:textbox inset="0,0,0,0">` +
			`<![endif]-->{{.x}}<!--[if gte mso 9]></v:textbox></v:rect><![endif]-->` +
			`<!--[if mso]>&nbsp;<![endif]--><!--[if (mso)|(IE)]><td width=300 valign=top><![endif]--><b>{{.x}}</b>` +
			`<!--[if mso]></td><![endif]-->`,
	} {
		const url = "https://example.com/u"
		if got, want := sent(t, page, "x", "zzz", "u", url), asWritten(page, "zzz", url); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
		s := spec()
		s.Text, s.HTML = "", page
		if _, env := render(t, s, anna("x", "zzz", "u", url)); !strings.Contains(env.Text, "zzz") {
			t.Errorf("%s: the text is %q", name, env.Text)
		}
	}
}
