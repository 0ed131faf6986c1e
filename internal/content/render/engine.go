package render

import (
	"fmt"
	htmltemplate "html/template"
	"io"
	"strings"
	"sync"
	texttemplate "text/template"
	"text/template/parse"
)

// engine returns the part as a template whose functions spend the budget. It is for one goroutine.
// The trees are those that were compiled: nothing is parsed or escaped again.
func (p *part) engine(b *budget) *texttemplate.Template {
	t := texttemplate.New(p.field).Option("missingkey=error").Funcs(p.functionsFor(b))
	for name, tree := range p.trees {
		if tree != nil && tree.Root != nil {
			_, _ = t.AddParseTree(name, tree) // it fails for a template in use only
		}
	}
	return t
}

// functionsFor returns the functions that the part calls.
func (p *part) functionsFor(b *budget) map[string]any {
	all := functionsOf(b, p.html)
	used := map[string]any{}
	for name := range p.calls {
		if f, ok := all[name]; ok {
			used[name] = f
		} else if h, ok := helpers()[name]; ok {
			used[name] = h.bound(b)
		}
	}
	return used
}

// callsOf returns the names of the functions that trees call.
func callsOf(trees map[string]*parse.Tree) map[string]bool {
	names := map[string]bool{}
	for _, tree := range trees {
		walkParts(root(tree), func(n parse.Node) {
			if name, ok := n.(*parse.IdentifierNode); ok {
				names[name.Ident] = true
			}
		})
	}
	return names
}

// escaperPrefix is that of html/template's own functions.
const escaperPrefix = "_html_template_"

// escapers are html/template's functions that stand in compiled trees.
var escapers = []string{"attrescaper", "commentescaper", "cssescaper", "cssvaluefilter", "htmlnamefilter",
	"htmlescaper", "jsregexpescaper", "jsstrescaper", "jstmpllitescaper", "jsvalescaper", "nospaceescaper",
	"rcdataescaper", "srcsetescaper", "urlescaper", "urlfilter", "urlnormalizer"}

// escaperTemplates has a template for each of html/template's functions that does nothing but call
// it. There is no other way to them.
var escaperTemplates = sync.OnceValue(func() map[string]*htmltemplate.Template {
	all := map[string]*htmltemplate.Template{}
	for _, name := range escapers {
		t := htmltemplate.Must(htmltemplate.New(name).Parse("{{.}}"))
		_ = t.Execute(io.Discard, "") // now it is escaped, and its tree is left alone
		action := t.Tree.Root.Nodes[0].(*parse.ActionNode)
		action.Pipe.Cmds = []*parse.CommandNode{action.Pipe.Cmds[0], call(action.Pos, escaperPrefix+name)}
		all[escaperPrefix+name] = t
	}
	return all
})

// escaper returns one of html/template's functions, which spends the budget. Texts, which most
// values are, are escaped by this package's own code where that does the same.
func escaper(b *budget, name string) func(...any) string {
	t, kind := escaperTemplates()[name], quickEscapers[strings.TrimPrefix(name, escaperPrefix)]
	return func(args ...any) string {
		size, err := weight(args...)
		must(err)
		must(b.read(size))
		if len(args) != 1 {
			args = []any{fmt.Sprint(args...)}
		}
		s, ok := args[0].(string)
		if ok && kind != escapeNothing {
			s = quickly(s, kind)
		} else {
			var w strings.Builder
			must(t.Execute(&w, args[0]))
			s = w.String()
		}
		must(b.keep(len(s)))
		return s
	}
}

// must ends a function that a template calls. The engine takes a panic for the function's error. A
// function with a second result for the error costs two allocations more at each call.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// quickEscapers are those of html/template's functions that do with a text what is known here. A
// test compares them.
var quickEscapers = map[string]escape{
	"attrescaper": escapeHTML, "rcdataescaper": escapeHTML, "htmlescaper": escapeHTML, "urlescaper": escapeQuery,
}

// quickly returns an escaped text. It allocates nothing for a short text that stays as it is.
func quickly(s string, kind escape) string {
	var room [256]byte
	by := room[:0]
	if kind == escapeQuery {
		by = appendQuery(by, s)
	} else {
		by = appendHTML(by, s)
	}
	if string(by) == s {
		return s
	}
	return string(by)
}

// text returns a text that a function has made, unless it is too long.
func (b *budget) text(s string) (string, error) {
	if len(s) > maxValue {
		return "", errValueTooLong
	}
	return s, b.keep(len(s))
}

// evalArgs is html/template's function of that name, for {{html .a .b}} in an attribute.
func evalArgs(b *budget) func(...any) (string, error) {
	return func(args ...any) (string, error) { return b.printed(fmt.Sprint, args) }
}

// printed prints values that are not too large. What a function has not found is an empty text.
func (b *budget) printed(print func(...any) string, args []any) (string, error) {
	for i, each := range args {
		args[i] = nothingIsEmpty(each)
	}
	size, err := weight(args...)
	if err != nil {
		return "", err
	}
	if err := b.read(size); err != nil {
		return "", err
	}
	return b.text(print(args...))
}

// limited returns a function of one value that spends the budget for reading it.
func limited[T any](b *budget, f func(any) T) func(any) T {
	return func(v any) T {
		must(b.value(v))
		return f(v)
	}
}

// value takes the steps for finding out whether a value is true. Of most values only the kind or
// the length is looked at.
func (b *budget) value(v any) error {
	if s, ok := v.(string); ok {
		return b.read(len(s))
	}
	return b.spend(1)
}
