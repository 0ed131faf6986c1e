package render

import (
	"context"
	"errors"
	htmltemplate "html/template"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"text/template"
	"text/template/parse"

	"github.com/Masterminds/sprig/v3"

	"directmailer/internal/audience/field"
)

// fewSteps is a budget for tests that use it up. What uses up the whole one takes seconds under the
// race detector.
const fewSteps = maxSteps / 16

func rendererOf(t *testing.T, ctx context.Context, text string) *Renderer {
	t.Helper()
	return mustCompile(t, Spec{Mailing: "m", From: "a@example.com", Subject: "s", Text: text, Date: day}).NewRenderer(ctx)
}

func somebody() Recipient { return Recipient{Number: 1, Address: "anna@example.org"} }

// The context ends a message, too: a loop of many steps does not keep a worker from stopping.
func TestRenderingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	r := rendererOf(t, ctx, "{{range 100000}}{{end}}x")
	if _, _, err := r.Render(nil, somebody()); err != nil {
		t.Fatal(err)
	}
	cancel()
	_, _, err := r.Render(nil, somebody())
	var problem *Problem
	if !errors.Is(err, context.Canceled) || errors.As(err, &problem) {
		t.Errorf("got %v", err)
	}
}

func TestABatchThatTakesTooManyStepsBlamesNoRecipient(t *testing.T) {
	t.Parallel()
	r := rendererOf(t, t.Context(), "{{range 62500}}{{end}}x")
	r.budget.most, r.budget.batch = fewSteps, 3*fewSteps
	failed := -1
	for i := range 20 {
		_, _, err := r.Render(nil, somebody())
		if errors.Is(err, ErrBatchTooSlow) {
			failed = i
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if failed < 12 || failed > 13 { // each message takes a little less than a quarter of fewSteps
		t.Errorf("message %d was refused", failed)
	}
}

func TestEachMessageHasABudgetOfItsOwn(t *testing.T) {
	t.Parallel()
	r := rendererOf(t, t.Context(), `{{range 30}}{{$x := repeat 1000000 "a"}}{{end}}x`)
	for range 3 { // 30 MB each, of 64 MiB
		if _, _, err := r.Render(nil, somebody()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatIsQuicklyEscapedIsWhatHTMLTemplateWrites(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	for name, kind := range quickEscapers {
		for range 2000 {
			value := values(rng)
			var want strings.Builder
			if err := escaperTemplates()[escaperPrefix+name].Execute(&want, value); err != nil {
				t.Fatal(err)
			}
			if got := quickly(value, kind); got != want.String() {
				t.Errorf("%s of %q is %q, want %q", name, value, got, want.String())
			}
		}
	}
}

// Each function that html/template puts into a template is known here.
func TestEveryEscaperOfHTMLTemplateIsKnown(t *testing.T) {
	t.Parallel()
	const page = `{{.}}<a title="{{.}}" href="{{.}}" {{.}}="x" onclick="f({{.}})" style="color:{{.}}">` +
		`{{html . .}}</a><a href="/?{{.}}">` +
		`<a href={{.}}><img srcset="{{.}}"><script>f({{.}}, "{{.}}", /{{.}}/, ` + "`{{.}}`" + `)</script>` +
		`<style>p { font: "{{.}}"; color: {{.}} }</style><title>{{.}}</title>`
	plain := htmltemplate.Must(htmltemplate.New("x").Parse(page))
	_ = plain.Execute(closed{}, "")
	walkParts(plain.Tree.Root, func(n parse.Node) {
		name, ok := n.(*parse.IdentifierNode)
		if !ok || name.Ident == "html" {
			return
		}
		if _, known := functionsOf(nil, true)[name.Ident]; !known {
			t.Errorf("%s is not known", name.Ident)
		}
	})
	html, problem := compileHTML(page)
	if problem != nil {
		t.Fatal(problem)
	}
	data := fields{values: field.Values{}, typed: map[string]any{"x": 1}}
	if _, err := html.execute(&output{budget: newBudget(t.Context())}, &data); err == nil {
		t.Error("a dict passes as a URL") // executed, not refused as unknown
	}
}

func TestRegularExpressionsDoWhatSprigsDo(t *testing.T) {
	t.Parallel()
	library := sprig.GenericFuncMap()
	for name := range regexHelpers(nil) {
		for _, args := range [][]any{
			{"a+", "baab a"}, {"", "abc"}, {"^|b", "abcb"}, {`\b`, "two words"}, {"(a)(b)?", "ab a"}, {"x*", ""}, {"é", "été"},
		} {
			switch kind := strings.TrimPrefix(strings.ToLower(name), "must"); kind {
			case "regexfindall", "regexsplit":
				for _, n := range []int{-1, 0, 1, 2} {
					sameAsSprig(t, library[name], name, append(args, n))
				}
			case "regexreplaceall", "regexreplaceallliteral":
				sameAsSprig(t, library[name], name, append(args, "<$1>"))
			default:
				sameAsSprig(t, library[name], name, args)
			}
		}
	}
}

func sameAsSprig(t *testing.T, sprigs any, name string, args []any) {
	t.Helper()
	var in []reflect.Value
	for _, arg := range args {
		in = append(in, reflect.ValueOf(arg))
	}
	want := reflect.ValueOf(sprigs).Call(in)[0].Interface()
	got := reflect.ValueOf(regexHelpers(newBudget(t.Context()))[name]).Call(in)
	if !got[1].IsNil() || !reflect.DeepEqual(got[0].Interface(), want) {
		t.Errorf("%s %q: got %q, %v, want %q", name, args, got[0], got[1], want)
	}
}

// What a part costs is what its author can count, so that a limit can be told from its error.
func TestStepsAreThoseOfTheLongestWayThroughATemplate(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"":       1,
		"words":  2,
		"{{.a}}": 3,
		"{{if .a}}{{.b}}{{.c}}{{else}}{{.d}}{{end}}": 9,
		"{{range .a}}{{.b}}{{.c}}{{end}}":            4,
		"{{print .a.b (print .c)}}":                  8,
	} {
		tree, err := template.New("x").Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := stepsOf(root(tree.Tree)); got != want {
			t.Errorf("%s: %d steps, want %d", text, got, want)
		}
	}
}

func TestAListOfAQueryThatIsNestedTooDeepFailsItsRecipient(t *testing.T) {
	t.Parallel()
	r := rendererOf(t, t.Context(), "{{.x}}")
	to := somebody()
	to.Attributes = field.Values{"x": {Kind: field.JSON, Text: strings.Repeat("[", 5000) + strings.Repeat("]", 5000)}}
	_, _, err := r.Render(nil, to)
	var problem *Problem
	if !errors.As(err, &problem) || !strings.Contains(err.Error(), "nested too deep or too large") {
		t.Errorf("got %v", err)
	}
}

func TestLimitsOfATemplateAreFarFromWhatAnybodyWrites(t *testing.T) {
	t.Parallel()
	rows := strings.Repeat("<tr>{{if .a}}<td>{{upper .b}}</td>{{else if .c}}<td>{{.d}}</td>{{end}}</tr>\n", 1500)
	countries := "{{if eq .x 0}}"
	for range 250 {
		countries += `{{else if eq .x "DE"}}x`
	}
	countries += "{{end}}"
	layout := `{{define "button"}}<a href="{{.}}">x</a>{{end}}{{define "row"}}<tr>` +
		strings.Repeat(`<td>{{template "button" .}}</td>`, 5) + `</tr>{{end}}` +
		strings.Repeat(`{{template "row" .x}}`, 100) + strings.Repeat("{{range .l}}", 6) + "x" + strings.Repeat("{{end}}", 6)
	for name, html := range map[string]string{"rows": rows, "countries": countries, "layout": layout} {
		if _, problem := compileHTML(html); problem != nil {
			t.Errorf("%s: %v", name, problem)
		}
	}
}

func TestNestedLoopsAreCountedAsOftenAsTheyAreVisited(t *testing.T) {
	t.Parallel()
	loops := func(n int) string {
		return strings.Repeat("{{range .x}}", n) + "x" + strings.Repeat("{{end}}", n)
	}
	if _, problem := compileHTML(loops(12)); problem != nil {
		t.Error(problem)
	}
	if _, problem := compileHTML(loops(18)); problem == nil || !strings.Contains(problem.Message, "nested too deep") {
		t.Errorf("got %v", problem)
	}
}
