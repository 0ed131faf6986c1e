package render

import (
	"fmt"
	"strings"
)

// attack is content, and how it ends: with a problem of the content, one of the recipient, or a
// message.
type attack struct {
	name  string
	spec  Spec
	value string // of the field x
	want  string // a part of what is wrong; empty: a message
	whole bool   // it gets the whole budget of steps
}

func (a attack) withAllSteps() attack { a.whole = true; return a }

func repeat(s string, n int) string { return strings.Repeat(s, n) }

func attacks() []attack {
	const (
		steps  = "takes more than 4 million steps"
		octets = "its functions make more than 64 MiB"
		long   = "the result is longer than 1 MiB"
		much   = "a function gets more than 2 MiB"
		large  = "a list or dict is nested too deep or too large"
		big    = `{{$x := printf "%1000000d" 1}}`
	)
	text := func(name, text, want string) attack { return attack{name: name, spec: Spec{Text: text}, want: want} }
	html := func(name, html, want string) attack {
		return attack{name: name, spec: Spec{HTML: html, Text: "x"}, want: want}
	}
	derived := func(name, html, want string) attack { return attack{name: name, spec: Spec{HTML: html}, want: want} }
	page := func(name, html string) attack { return attack{name: name, spec: Spec{Page: true}, value: html} }
	all := []attack{
		// Functions that are unbounded in Go itself.
		text("js", big+"{{len (js"+repeat(" $x", 900)+")}}", much),
		text("html", big+"{{len (html"+repeat(" $x", 900)+")}}", much),
		text("urlquery", big+"{{len (urlquery"+repeat(" $x", 900)+")}}", much),
		text("print", big+"{{len (print"+repeat(" $x", 900)+")}}", much),
		text("println", big+"{{len (println"+repeat(" $x", 900)+")}}", much),
		text("printf widths", `{{len (printf "`+repeat("%999999d", 900)+`" 1)}}`, long),
		text("printf one argument often", big+`{{len (printf "`+repeat("%[1]s", 900)+`" $x)}}`, long),
		text("printf star", `{{len (printf "`+repeat("%[1]*[1]d", 900)+`" 999999)}}`, long),
		text("printf quoted", big+`{{len (printf "`+repeat("%[1]q", 20)+`" $x)}}`, long),
		text("many parts", "{{len (js"+repeat(" .x", 20_000)+")}}", "more than 1,000 parts"),
		// Helpers whose result is far larger than what they get.
		text("doubled text", `{{$x := "ab"}}{{range until 60}}{{$x = print $x $x}}{{end}}`, long),
		text("doubled list", `{{$x := list 1}}{{range until 60}}{{$x = list $x $x}}{{end}}`, large),
		text("doubled dict", `{{$x := dict "a" 1}}{{range until 60}}{{$x = dict "a" $x "b" $x}}{{end}}`, large),
		text("split", `{{$x := repeat 900000 "a"}}{{len (split "" $x)}}`, long),
		text("splitList", `{{$x := repeat 900000 "a"}}{{len (splitList "" $x)}}`, long),
		text("replace", `{{$x := repeat 900000 "a"}}{{len (replace "a" $x $x)}}`, long),
		text("indent", `{{$x := repeat 500000 "\n"}}{{len (indent 1000 $x)}}`, long),
		text("repeat", `{{len (repeat 2147483647 "abc")}}`, long),
		text("concat", `{{$x := until 100000}}{{len (concat`+repeat(" $x", 900)+`)}}`, much),
		text("uniq", `{{$x := until 100000}}{{range until 100}}{{$y := uniq $x}}{{end}}`, steps),
		text("fromJson", `{{$x := repeat 250000 "[],"}}{{len (fromJson (print "[" $x "1]"))}}`, large),
		text("fromJson deep", `{{fromJson (print (repeat 9000 "[") (repeat 9000 "]"))}}`, large),
		text("toPrettyJson", `{{$x := until 20000}}{{range until 100000}}{{$y := toPrettyJson $x}}{{end}}`, steps),
		text("a dict in itself", `{{$x := dict}}{{$y := set $x "a" $x}}{{$x}}`, large),
		// Regular expressions.
		text("regex size", `{{regexMatch "((a{100}){100}){100}" "a"}}`, "the regular expression is too large"),
		text("regex length", `{{regexMatch (repeat 100000 "a?") "a"}}`, "the regular expression is too large"),
		text("regex product", `{{$x := repeat 1000000 "a"}}{{regexMatch "(a?){4000}b" $x}}`,
			"the regular expression is too large"),
		text("regex long text",
			`{{$x := repeat 1000000 "a"}}{{range until 1000}}{{regexMatch "(a|aa)*b" $x}}{{end}}`, steps),
		text("regex all", `{{$x := repeat 1000000 "a"}}{{len (regexReplaceAll "a.*z|a" $x "b")}}`, steps),
		text("regex find all", `{{$x := repeat 1000000 "a"}}{{len (regexFindAll "a.*z|a" $x -1)}}`, steps),
		text("regex split", `{{$x := repeat 1000000 "a"}}{{len (regexSplit "a.*z|a" $x -1)}}`, steps),
		text("regex groups", `{{len (regexReplaceAll "(a+)" (repeat 50000 "ab") (repeat 30000 "$1"))}}`, steps),
		// Loops and calls.
		text("loops", "{{range until 100000}}{{range until 200}}{{end}}{{end}}", steps),
		text("loop over a number", "{{range 9000000000000000000}}{{end}}", steps).withAllSteps(),
		text("loop without output", "{{range 9000000000000000000}}{{$x := 1}}{{end}}", steps),
		text("loop of long bodies",
			"{{range 262000}}"+repeat("{{$x := len (slice $.x 0 0)}}", 200)+"{{end}}", steps),
		text("loop of conditions", "{{range 262000}}"+repeat("{{if eq $.x 5}}{{end}}", 200)+"{{end}}", steps),
		text("loop of comparisons",
			`{{range 9000000}}{{$y := lt "2026-01-31 09:30:00+01" "2026-01-31 09:30:00+02"}}{{end}}`, steps),
		text("loop of functions", "{{range 9000000}}{{$y := upper (title (trim $.x))}}{{end}}", steps),
		text("loop of dates",
			`{{range 9000000}}{{$y := dateIn "de" "Monday, 2. January 2006" "2026-01-31"}}{{end}}`, steps),
		text("loop of numbers", `{{range 9000000}}{{$y := number "de" 2 1234567.891}}{{end}}`, steps),
		text("loop of large texts", big+"{{range 9000000}}{{$y := upper $x}}{{end}}", steps),
		text("loop of large tests", big+"{{range 9000000}}{{if $x}}{{end}}{{end}}", steps),
		text("loop of large comparisons", big+"{{range 9000000}}{{if eq $x $x}}{{end}}{{end}}", steps),
		text("recursion", `{{define "a"}}{{template "a" .}}{{template "a" .}}{{end}}{{template "a" .}}`, steps),
		text("recursion within an argument",
			`{{define "a"}}{{$x := printf "%1000d" 1}}{{template "a" $x}}{{end}}{{template "a" .}}`, steps),
		text("templates that call templates", doubling(40), steps),
		text("variables", repeat(big, 500), steps),
		text("output", "{{range 9000000}}"+repeat("x", 1000)+"{{end}}", "the output is longer than 10 MiB").withAllSteps(),
		{name: "subject", spec: Spec{Subject: "{{range 9000000000}}{{end}}x", Text: "x"}, want: steps},
		// Parsing and compiling.
		text("nested if", repeat("{{if 1}}", 9_000)+repeat("{{end}}", 9_000), "holds more than 10,000 actions"),
		text("nested if, less deep",
			repeat("{{if 1}}", 4_000)+repeat("{{end}}", 4_000), "is nested deeper than 100"),
		derived("nested if in HTML",
			repeat("{{if .x}}", 40_000)+repeat("{{end}}", 40_000), "holds more than 10,000 actions"),
		derived("else if", "{{if .x}}"+repeat("{{else if .x}}", 4_000)+"{{end}}", "more than 300 {{else if}}"),
		text("parentheses", "{{len "+repeat("(print ", 400)+".x"+repeat(")", 400)+"}}", "parentheses"),
		text("one long action", "{{print "+repeat("1 ", 700_000)+"}}", "holds more than 256 KiB within"),
		text("many templates", manyTemplates(1000), "defines more than 200 templates"),
		html("two quotes", twoQuotes(40), "nested too deep"),
		html("nested loops", repeat("{{range .x}}", 60)+repeat("{{end}}", 60), "nested too deep"),
		html("templates in HTML", doubling(40), "nested too deep"),
		html("recursion in a script",
			`{{define "a"}}`+"`${ "+`{{template "a"}}{{end}}<script>{{template "a"}}</script>`,
			"calls itself and is used within"),
		html("recursion in a link",
			`{{define "a"}}x{{template "b" .}}{{end}}{{define "b"}}?{{template "a" .}}{{template "a" .}}{{end}}`+
				`<a href="{{template "a" .}}">x</a>`,
			"calls itself and is used within"),
		html("recursion in text",
			`{{define "a"}}<p>{{if .}}{{template "a" ""}}{{end}}</p>{{end}}{{template "a" "x"}}`, ""),
		html("a long script", "<script>"+repeat(`"a";`, 250_000)+"</script>", "<script> holds more than 128 KiB"),
		html("a long style", "<style>"+repeat(`a{b:"c"}`, 150_000)+"</style>", "<style> holds more than 128 KiB"),
		html("a long attribute", `<a title="`+repeat(`'<>`, 300_000)+`{{.x}}">x</a>`, ""),
		html("scripts in loops",
			repeat("{{range .x}}", 9)+"<script>"+repeat(`"a";`, 25_000)+"</script>"+repeat("{{end}}", 9),
			"nested too deep"),
		html("a script in loops",
			repeat("{{range .x}}", 4)+"<script>"+repeat(`"a";`, 25_000)+"</script>"+repeat("{{end}}", 4), ""),
		html("tags and signs", repeat("<p>< x", 200_000), ""),
		html("many tags", repeat("<", 1_000_000), ""),
		html("many comments", repeat("<!--", 300_000), "a comment is not closed"),
		html("many conditions", repeat("<!--[if mso]>", 100_000), "a comment is not closed"),
		html("an error behind much text",
			repeat("<p>words</p>\n", 100_000)+"<a href=x{{.x}}=>", "in unquoted attr"),
		html("an open tag", repeat("<p>{{.x}}</p>\n", 9_000)+"<a ", "a tag is not closed"),
		text("a faulty action", repeat("<p>{{.x}}</p>\n", 9_000)+"{{if}}", "missing value for if"),
		// The text part that is made from HTML.
		derived("marks in the template", repeat("dmqq", 300_000)+"{{.x}}", ""),
		derived("open formatting", formattingOf(500)+repeat("<p>x", 200_000), "give content.text"),
		derived("deep elements", repeat("<div>", 200_000), "give content.text"),
		derived("deep tables", repeat("<table><tr><td>", 100)+repeat("<p>x", 100_000), ""),
		derived("links in links", repeat("<a href=x>", 100_000), ""),
		derived("lists", repeat("<ul><li>x", 150), ""),
		derived("many actions", repeat("<td>{{.x}}<tr>{{if .x}}y{{end}}", 3_000), ""),
		derived("hidden elements", repeat(`<p style="display:none">x`, 30_000), ""),
		derived("a style of many rules", "<style>"+repeat(".a,.b{display:none}", 6_000)+"</style><p>x{{.x}}", ""),
		derived("attributes", "<p "+attributes(60_000)+">x", ""),
		page("a page with open formatting", formattingOf(500)+repeat("<p>x", 200_000)),
		page("a page with deep elements", repeat("<div>", 200_000)),
		page("a page with attributes", repeat("<b "+attributes(10_000)+">x", 5)),
		page("a page with links", repeat("<a href=x>", 90_000)),
		page("a page with tables", repeat("<table>", 500)+repeat("<b>x", 100_000)),
	}
	value := repeat("<'&\">", 200_000)
	for _, a := range [][2]string{
		{"a large value often", repeat("{{.x}}\n", 1000)},
		{"a large value in attributes", repeat(`<a title="{{.x}}" href="{{.x}}">x</a>`, 500)},
		{"a large value in a script", "<script>" + repeat("f({{.x}});", 500) + "</script>"},
		{"a large value in a style", "<style>" + repeat("p{color:{{.x}}}", 500) + "</style>"},
		{"a large value without quotes", repeat("<a title={{.x}}>x</a>", 500)},
		{"a large value in a loop", "{{range 100000}}{{$y := lineBreaks $.x}}{{end}}"},
		{"a large value through all of it", "{{range 100000}}{{$y := html $.x | js}}{{end}}"},
		{"a large value in names of styles", repeat(`<p style="font-family:'{{.x}}'">x</p>`, 500)},
	} {
		all = append(all, attack{name: a[0], spec: Spec{HTML: a[1], Text: "x"}, value: value, want: " "})
	}
	// To read a template, and to find the place of its fault, must come to an end. Any end will do.
	for _, piece := range []string{"<!x>", "<!--[if a]>", "<!-- a -->", "<![endif]-->", "<a", "</ ", "<!--", "{{.x}}",
		"<p title='", "{{if .x}}", "<style>", "<title></title", "--", "<a b=c", "{{.x}}<", "<p>{{.x}}</p><a b=\"c\"d'>"} {
		for _, end := range []string{"", "{{nofunc}}", "<a b=c=d>", "{{end}}"} {
			all = append(all, derived("a template of "+piece+" and "+end, repeat(piece, 20_000/len(piece))+end, " "))
		}
	}
	for _, piece := range []string{"<div>", "<table><tr><td>", "<a href='", "dmq", "\n \n", "q", "<!--", "<b><i><a>",
		"{{", "x    "} {
		all = append(all, page(fmt.Sprintf("a page of %q", piece), "dm"+repeat(piece, maxPageText/len(piece)-2)))
	}
	return all
}

// doubling is a chain of templates of which each calls the next one twice.
func doubling(depth int) string {
	var b strings.Builder
	for i := range depth {
		fmt.Fprintf(&b, `{{define "t%d"}}{{template "t%d" .}}{{template "t%d" .}}{{end}}`, i, i+1, i+1)
	}
	fmt.Fprintf(&b, `{{define "t%d"}}x{{end}}{{template "t0" .}}`, depth)
	return b.String()
}

// twoQuotes is a chain of templates that end in another place than they begin.
func twoQuotes(depth int) string {
	var b strings.Builder
	for i := range depth {
		const one = `{{define "t%d"}}{{if .}}{{template "t%d" .}}{{else}}{{template "t%d" .}}{{end}}{{end}}`
		fmt.Fprintf(&b, one, i, i+1, i+1)
	}
	fmt.Fprintf(&b, `{{define "t%d"}}x?y={{end}}`, depth)
	b.WriteString(`<a href="{{template "t0" .}}">x</a><a href='{{template "t0" .}}'>y</a>`)
	return b.String()
}

func manyTemplates(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{{define "t%d"}}x{{end}}`, i)
	}
	return b.String()
}

func formattingOf(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "<b id=b%d>", i)
	}
	return b.String()
}

func attributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a%d=%d ", i, i)
	}
	return b.String()
}
