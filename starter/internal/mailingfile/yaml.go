package mailingfile

import (
	"encoding"
	"errors"
	"math"
	"reflect"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"directmailer/workflows"
)

// maxTokens is far more than any mailing has; the parser's time grows with the square of what is nested.
const maxTokens = 10_000

// parse returns the mapping that the file is, or nil and a fault.
func (r *reader) parse(text string) *ast.MappingNode {
	tokens := lexer.Tokenize(text)
	if len(tokens) > maxTokens {
		r.fault(where(tokens[maxTokens].Position), "is no mailing: there are too many fields and values")
		return nil
	}
	parsed, err := parser.Parse(tokens, 0)
	if err != nil {
		r.syntax(err)
		return nil
	}
	var body ast.Node
	for _, document := range parsed.Docs {
		_, directive := document.Body.(*ast.DirectiveNode)
		switch {
		case document.Body == nil || directive:
		case body != nil:
			r.fault(position(document.Body), "a second document begins here: a file holds one mailing")
			return nil
		default:
			body = document.Body
		}
	}
	switch body := body.(type) {
	case nil, *ast.NullNode:
		r.fault(place{}, "is empty: from, subject, list and content are needed")
	case *ast.MappingNode:
		return body
	default:
		r.fault(position(body), "is no mailing: it must be fields and their values, as in \"subject: News\"")
	}
	return nil
}

// syntax reports what the parser says, without its picture of the source.
func (r *reader) syntax(err error) {
	var syntax yaml.Error
	if !errors.As(err, &syntax) || syntax.GetToken() == nil {
		r.fault(place{}, "is not YAML: %s", oneLine(err.Error()))
		return
	}
	found, message := where(syntax.GetToken().Position), oneLine(syntax.GetMessage())
	if r.file.line(found.line, "{{") || strings.Contains(message, "mapping value") || strings.Contains(message, "reserved") {
		message += `: a text that begins with a { or @, or has ": " in it, must be in quotes`
	}
	r.fault(found, "%s", message)
}

// line tells whether a line of the file has s in it.
func (f *File) line(number int, s string) bool {
	return number >= 1 && number <= len(f.lines) && strings.Contains(f.lines[number-1], s)
}

func where(p *token.Position) place {
	if p == nil {
		return place{}
	}
	return place{line: p.Line, column: p.Column}
}

// position is where a node begins.
func position(n ast.Node) place {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return position(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return position(n.Key)
	}
	if t := n.GetToken(); t != nil {
		return where(t.Position)
	}
	return place{}
}

// mailing reads the fields of the input; list and content are written in another way than in JSON.
func (r *reader) mailing(root *ast.MappingNode) {
	in := &r.file.Input
	r.object(root, reflect.ValueOf(in).Elem(), "", map[string]func(ast.Node){
		"resume":  nil, // the workflow's own
		"list":    r.list,
		"content": r.content,
	})
}

// object reads the fields of a struct by their JSON names, but those in others, which are read by a function or, if it is nil, unknown.
func (r *reader) object(n *ast.MappingNode, v reflect.Value, path string, others map[string]func(ast.Node)) {
	fields := map[string]reflect.Value{}
	for i := range v.NumField() {
		if name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); name != "" {
			fields[name] = v.Field(i)
		}
	}
	for _, entry := range n.Values {
		name := keyName(entry.Key)
		at := strings.TrimPrefix(path+"."+name, ".")
		read, special := others[name]
		field, known := fields[name]
		if !known && !special || special && read == nil {
			r.fail(at, position(entry.Key), "is not a field of a mailing")
			continue
		}
		r.file.places[at] = r.valuePlace(entry)
		switch {
		case isNull(entry.Value): // as if it were left out
		case special:
			read(entry.Value)
		default:
			r.value(entry.Value, field, at)
		}
	}
}

func keyName(key ast.MapKeyNode) string {
	if t := key.GetToken(); t != nil {
		return oneLine(t.Value)
	}
	return oneLine(key.String())
}

func isNull(n ast.Node) bool {
	_, null := n.(*ast.NullNode)
	return n == nil || null
}

// valuePlace is where a value begins: for one that has fields or items of its own, where its key does.
func (r *reader) valuePlace(entry *ast.MappingValueNode) place {
	switch n := entry.Value.(type) {
	case nil, *ast.NullNode, *ast.MappingNode, *ast.MappingValueNode, *ast.SequenceNode:
		return position(entry.Key)
	case *ast.LiteralNode:
		p := where(n.Start.Position)
		if strings.HasPrefix(n.Start.Value, "|") {
			p.block = r.file.indent(p.line) - leading(n.Value.Value)
		}
		return p
	}
	return position(entry.Value)
}

// indent is how far the first line behind a line that is not blank is indented.
func (f *File) indent(line int) int {
	return leading(strings.Join(f.lines[min(line, len(f.lines)):], "\n"))
}

// leading is the number of blanks before the first character, in its line.
func leading(text string) int {
	for line := range strings.SplitSeq(text, "\n") {
		if trimmed := strings.TrimLeft(line, " "); strings.TrimSpace(trimmed) != "" {
			return len(line) - len(trimmed)
		}
	}
	return 0
}

// value reads a node into a field of the input.
func (r *reader) value(n ast.Node, v reflect.Value, path string) {
	if !r.plain(n, path) {
		return
	}
	switch target := v.Addr().Interface().(type) {
	case encoding.TextUnmarshaler: // time and duration
		s, ok := text(n)
		if !ok || target.UnmarshalText([]byte(s)) != nil {
			r.fail(path, position(n), "must be %s", kind(v))
		} else if v.IsZero() {
			r.fail(path, position(n), "must not be zero: leave it out for the default")
		}
		return
	case *int:
		r.number(n, target, path)
		return
	case *bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			r.fail(path, position(n), "must be true or false")
			return
		}
		*target = b.Value
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem())) // also when it cannot be read: it is there
		if fields, ok := r.mapping(n, path); ok {
			r.object(fields, v.Elem(), path, nil)
		}
	case reflect.Map:
		r.entries(n, v, path)
	case reflect.Struct:
		if fields, ok := r.mapping(n, path); ok {
			r.object(fields, v, path, nil)
		}
	case reflect.Slice:
		r.sequence(n, v, path)
	case reflect.String:
		s, ok := text(n)
		if !ok {
			r.fail(path, position(n), "must be %s", kind(v))
		}
		v.SetString(s)
	}
}

// plain refuses what could make little YAML into much, or into something else than it seems.
func (r *reader) plain(n ast.Node, path string) bool {
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		r.fail(path, position(n), "has an anchor, an alias or a tag (&, *, !): write the value itself, or put the text in quotes")
		return false
	}
	return true
}

func kind(v reflect.Value) string {
	switch v.Interface().(type) {
	case time.Time:
		return "a time such as 2026-01-31T09:00:00Z"
	case workflows.Duration:
		return `a duration such as "30s" or "5m"`
	case workflows.Rate:
		return `a rate such as 20/s, 500/min or none`
	}
	return "a text: put it in quotes"
}

// text returns the text that a node is; a number is none.
func text(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	}
	return "", false
}

func (r *reader) number(n ast.Node, target *int, path string) {
	if n, ok := n.(*ast.IntegerNode); ok {
		switch value := n.Value.(type) {
		case int64:
			*target = int(value)
		case uint64:
			*target = int(min(value, math.MaxInt))
		}
		if *target == 0 { // which the input would take for left out
			r.fail(path, position(n), "must not be 0: leave it out for the default")
		}
		return
	}
	r.fail(path, position(n), "must be a whole number")
}

// mapping returns the fields that a node has.
func (r *reader) mapping(n ast.Node, path string) (*ast.MappingNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n, true
	case *ast.MappingValueNode:
		return &ast.MappingNode{Values: []*ast.MappingValueNode{n}}, true
	}
	if !r.plain(n, path) {
		return nil, false
	}
	r.fail(path, position(n), "must have fields of its own, as in \"%s: {name: value}\"", path)
	return nil, false
}

// entries reads a node whose names are the author's own into a map.
func (r *reader) entries(n ast.Node, v reflect.Value, path string) {
	fields, ok := r.mapping(n, path)
	if !ok {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, entry := range fields.Values {
		name := keyName(entry.Key)
		at := path + "." + name
		r.file.places[at] = r.valuePlace(entry)
		value := reflect.New(v.Type().Elem()).Elem()
		if isNull(entry.Value) {
			r.fail(at, position(entry.Key), "must be %s", kind(value))
			continue
		}
		r.value(entry.Value, value, at)
		v.SetMapIndex(reflect.ValueOf(name), value)
	}
}

func (r *reader) sequence(n ast.Node, v reflect.Value, path string) {
	items, ok := n.(*ast.SequenceNode)
	if !ok {
		r.fail(path, position(n), "must be a list, as in \"%s: [a, b]\"", path)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(items.Values), len(items.Values)))
	for i, item := range items.Values {
		field := index(path, i)
		r.file.places[field] = position(item)
		r.value(item, v.Index(i), field)
	}
}
