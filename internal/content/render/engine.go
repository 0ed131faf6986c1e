package render

import (
	"fmt"
	htmltemplate "html/template"
	"io"
	"reflect"
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
func escaper(b *budget, name string) func(...any) (string, error) {
	t := escaperTemplates()[name]
	appends, quick := quickEscapers[strings.TrimPrefix(name, escaperPrefix)]
	return func(args ...any) (string, error) {
		size, err := weight(args...)
		if err != nil {
			return "", err
		}
		if err := b.read(size); err != nil {
			return "", err
		}
		if len(args) != 1 {
			args = []any{fmt.Sprint(args...)}
		}
		var out string
		if s, ok := args[0].(string); ok && quick {
			out = s
			var room [256]byte
			if by := appends(room[:0], s); string(by) != s {
				out = string(by)
			}
		} else {
			var w strings.Builder
			if err := t.Execute(&w, args[0]); err != nil {
				return "", err
			}
			out = w.String()
		}
		return out, b.keep(len(out))
	}
}

// quickEscapers do with a plain text what html/template's functions do. A test compares them.
var quickEscapers = map[string]func([]byte, string) []byte{
	"attrescaper": appendHTML, "rcdataescaper": appendHTML, "htmlescaper": appendHTML,
	"urlescaper": appendQuery,
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

// printed prints values that are not too large.
func (b *budget) printed(print func(...any) string, args []any) (string, error) {
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
func limited[T any](b *budget, f func(any) T) func(any) (T, error) {
	return func(v any) (result T, err error) {
		if err = b.value(v); err == nil {
			result = f(v)
		}
		return result, err
	}
}

// value takes the steps for looking at a value, whose size is known at a glance for most.
func (b *budget) value(v any) error {
	switch v := v.(type) {
	case string:
		return b.read(len(v))
	case int, int64, bool, decimal, nil:
		return b.spend(1)
	}
	if kind := reflect.TypeOf(v).Kind(); kind == reflect.Slice || kind == reflect.Map {
		return b.spend(1) // only its length is looked at
	}
	return b.spend(1)
}
