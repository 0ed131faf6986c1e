package render

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"directmailer/internal/audience/field"
)

// Limits of one attack: what this package promises, with room for a busy machine and the race
// detector, whose memory is not counted. An attack that is not stopped takes minutes to days, or
// gigabytes.
const (
	attackSeconds = 60
	attackMemory  = 700 << 20
)

// attack is content, and how it ends: with a problem of the content, one of the recipient, or a
// message.
type attack struct {
	name  string
	spec  Spec
	value string // of the field x
	want  string // the beginning of what is wrong; empty: a message
}

// inOneProcess is how many attacks one process runs, one after the other.
const inOneProcess = 12

// TestAttacksEndWithinTheirBudget runs the attacks in processes of their own, which end when one of
// them takes too much memory or processor time.
func TestAttacksEndWithinTheirBudget(t *testing.T) {
	t.Parallel()
	if os.Getenv("RENDER_ATTACK") != "" {
		t.Skip("this is the process of an attack")
	}
	if testing.Short() {
		t.Skip("these take a minute")
	}
	for all, first := attacks(), 0; first < len(all); first += inOneProcess {
		t.Run(fmt.Sprint("from ", first), func(t *testing.T) {
			t.Parallel()
			runAttacks(t, all[first:min(first+inOneProcess, len(all))], first)
		})
	}
}

func runAttacks(t *testing.T, attacks []attack, first int) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOneAttack$", "-test.count=1")
	cmd.Env = append(os.Environ(), fmt.Sprint("RENDER_ATTACK=", first))
	out, err := cmd.CombinedOutput()
	lines := strings.Split(string(out), "\n")
	for i, a := range attacks {
		if i+1 >= len(lines) || !strings.Contains(lines[i], "\t") {
			t.Fatalf("%s: %v: %.500s", a.name, err, strings.Join(lines[min(i, len(lines)):], "\n"))
		}
		result, used, _ := strings.Cut(lines[i], "\t")
		t.Logf("%s: %s (%s)", a.name, result, used)
		if a.want == "" && result != "a message" || !strings.Contains(result, a.want) {
			t.Errorf("%s: got %q, want %q", a.name, result, a.want)
		}
	}
}

// TestOneAttack is the process of some attacks.
func TestOneAttack(t *testing.T) {
	first, err := strconv.Atoi(os.Getenv("RENDER_ATTACK"))
	if err != nil {
		t.Skip("TestAttacksEndWithinTheirBudget starts it")
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CPU, &limit); err != nil {
		t.Fatal(err)
	}
	watch := watchMemory()
	for i, a := range attacks()[first:] {
		if i == inOneProcess {
			break
		}
		before := processorTime()
		limit.Cur = uint64(before/time.Second) + attackSeconds
		if err := syscall.Setrlimit(syscall.RLIMIT_CPU, &limit); err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		watch()
		result := a.run(t)
		fmt.Printf("%s\t%s, %d MiB\n", result, (processorTime() - before).Round(time.Millisecond), watch()>>20)
	}
	os.Exit(0)
}

// processorTime is what the process has used.
func processorTime() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// watchMemory ends the process when it takes too much memory. The function that it returns says how
// much it took since its last call.
func watchMemory() (most func() uint64) {
	var highest uint64
	ask, answer := make(chan struct{}), make(chan uint64)
	go func() {
		ticker := time.NewTicker(2 * time.Millisecond)
		for {
			select {
			case <-ticker.C:
				if highest = max(highest, memoryInUse()); highest > attackMemory {
					fmt.Printf("too much memory: %d MiB\n", highest>>20)
					os.Exit(1)
				}
			case <-ask:
				answer <- highest
				highest = 0
			}
		}
	}()
	return func() uint64 { ask <- struct{}{}; return <-answer }
}

// memoryInUse is what the process has allocated and not freed, without the race detector's part.
func memoryInUse() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64() + sample[1].Value.Uint64()
}

func (a *attack) run(t *testing.T) string {
	s := a.spec
	s.Mailing, s.From, s.Date = "attack", "news@example.com", time.Unix(0, 0)
	if s.Subject == "" {
		s.Subject = "Hello"
	}
	template, problems := Compile(s)
	if len(problems) > 0 {
		return problems[0].Error()
	}
	to := Recipient{Number: 1, Address: "anna@example.org", Attributes: field.Values{"x": {Text: a.value}}}
	if s.Page {
		to.Page.HTML = []byte(a.value)
	}
	r := template.NewRenderer(t.Context())
	// A part of the steps shows the same, unless the limit of the output has to come first.
	if os.Getenv("RENDER_ATTACK_FULL") == "" && !strings.Contains(a.want, "10 MiB") {
		r.budget.most = maxSteps / 16
	}
	_, _, err := r.Render(nil, to)
	var problem *Problem
	switch {
	case err == nil:
		return "a message"
	case !errors.As(err, &problem):
		return "not a problem of the recipient: " + err.Error()
	}
	return problem.Error()
}

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
	text := func(name, text, want string) attack { return attack{name, Spec{Text: text}, "", want} }
	html := func(name, html, want string) attack { return attack{name, Spec{HTML: html, Text: "x"}, "", want} }
	derived := func(name, html, want string) attack { return attack{name, Spec{HTML: html}, "", want} }
	page := func(name, html string) attack { return attack{name, Spec{Page: true}, html, ""} }
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
		text("loop over a number", "{{range 9000000000000000000}}{{end}}", steps),
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
		text("output", "{{range 9000000}}"+repeat("x", 1000)+"{{end}}", "the output is longer than 10 MiB"),
		{"subject", Spec{Subject: "{{range 9000000000}}{{end}}x", Text: "x"}, "", steps},
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
	for name, html := range map[string]string{
		"a large value often":              repeat("{{.x}}\n", 1000),
		"a large value in attributes":      repeat(`<a title="{{.x}}" href="{{.x}}">x</a>`, 500),
		"a large value in a script":        "<script>" + repeat("f({{.x}});", 500) + "</script>",
		"a large value in a style":         "<style>" + repeat("p{color:{{.x}}}", 500) + "</style>",
		"a large value without quotes":     repeat("<a title={{.x}}>x</a>", 500),
		"a large value in a loop":          "{{range 100000}}{{$y := lineBreaks $.x}}{{end}}",
		"a large value through all of it":  "{{range 100000}}{{$y := html $.x | js}}{{end}}",
		"a large value in names of styles": repeat(`<p style="font-family:'{{.x}}'">x</p>`, 500),
	} {
		all = append(all, attack{name, Spec{HTML: html, Text: "x"}, value, " "})
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
