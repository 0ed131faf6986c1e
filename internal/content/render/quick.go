package render

import (
	"slices"
	"strings"
	"text/template/parse"

	"directmailer/internal/audience/field"
)

// quick is a template in the form that most have: texts, values of fields, and choices by whether a
// field counts as true. It writes the same octets as the template's engine at a fraction of its
// cost: reflection and an allocation or two for each step of each value. What it does not know, in
// the template or in a value, is left to the engine.
type quick []op

// op is a text, a choice, or a value.
type op struct {
	text    []byte // nil: a choice or a value
	field   string
	choice  bool
	yes, no quick
	escape  escape
}

// escape says how a value is escaped at its place.
type escape int

const (
	escapeNothing escape = iota
	escapeHTML           // in the text of an element or in a quoted attribute
	escapeComment        // in a comment
	escapeQuery          // in a quoted attribute, within the query of a URL
	escapeURL            // in a quoted attribute, a whole URL
	escapePath           // in a quoted attribute, in a URL in front of its query
	escapeOther          // some other way that leaves letters, digits and -._~ alone; nothing else is known of it
)

// escapes are the chains of functions that are known here. A test holds them against html/template
// itself.
var escapes = []struct {
	functions []string
	escape    escape
}{
	{nil, escapeNothing},
	{[]string{"_html_template_htmlescaper"}, escapeHTML},
	{[]string{"_html_template_attrescaper"}, escapeHTML},
	{[]string{"_html_template_rcdataescaper"}, escapeHTML},
	{[]string{"_html_template_htmlescaper", commentFunc}, escapeComment},
	{[]string{"_html_template_urlescaper", "_html_template_attrescaper"}, escapeQuery},
	{[]string{"_html_template_urlnormalizer", "_html_template_attrescaper"}, escapePath},
	{[]string{urlFilterFunc, "_html_template_urlnormalizer", "_html_template_attrescaper"}, escapeURL},
	{[]string{bareFunc}, escapeOther},
}

// compileQuick returns the nodes of a list as a quick template, if they can be one. The tree must
// not change any more.
func compileQuick(list *parse.ListNode) (quick, bool) {
	var q quick
	if list == nil {
		return q, true
	}
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.CommentNode:
		case *parse.TextNode:
			if len(n.Text) > 0 && !isTick(n.Text) {
				q = append(q, op{text: n.Text})
			}
		case *parse.ActionNode:
			o, ok := compileAction(n.Pipe)
			if !ok {
				return nil, false
			}
			q = append(q, o)
		case *parse.IfNode:
			field, functions, ok := fieldOf(n.Pipe)
			yes, yesOK := compileQuick(n.List)
			no, noOK := compileQuick(n.ElseList)
			if !ok || !slices.Equal(functions, []string{truthFunc}) || !yesOK || !noOK {
				return nil, false
			}
			q = append(q, op{field: field, choice: true, yes: yes, no: no})
		default:
			return nil, false
		}
	}
	return q, true
}

func compileAction(pipe *parse.PipeNode) (op, bool) {
	field, functions, ok := fieldOf(pipe)
	if !ok {
		return op{}, false
	}
	for _, known := range escapes {
		if slices.Equal(known.functions, functions) {
			return op{field: field, escape: known.escape}, true
		}
	}
	return op{}, false
}

// fieldOf takes {{.field | function | function}} apart.
func fieldOf(pipe *parse.PipeNode) (field string, functions []string, ok bool) {
	if len(pipe.Decl) > 0 || len(pipe.Cmds[0].Args) != 1 {
		return "", nil, false
	}
	f, ok := pipe.Cmds[0].Args[0].(*parse.FieldNode)
	if !ok || len(f.Ident) != 1 {
		return "", nil, false
	}
	for _, c := range pipe.Cmds[1:] {
		name, ok := c.Args[0].(*parse.IdentifierNode)
		if !ok || len(c.Args) != 1 && name.Ident != urlFilterFunc && name.Ident != bareFunc {
			return "", nil, false
		}
		functions = append(functions, name.Ident)
	}
	return f.Ident[0], functions, true
}

// run writes the template's output to o. If it returns false, o holds a part of the output, and the
// template's engine must be used instead.
func (q quick) run(o *output, data field.Values) bool {
	for i := range q {
		switch op := &q[i]; {
		case op.text != nil:
			if _, err := o.Write(op.text); err != nil {
				return false
			}
		default:
			value, ok := data[op.field]
			if !ok || value.Kind == field.JSON {
				return false
			}
			switch { // numbers, booleans and NULL print, and count, as their texts do
			case op.choice && textTruth(value.Text):
				ok = op.yes.run(o, data)
			case op.choice:
				ok = op.no.run(o, data)
			default:
				ok = o.value(value.Text, op.escape)
			}
			if !ok {
				return false
			}
		}
	}
	return true
}

// value writes a value, escaped; not if that is not known, or might be too long.
func (o *output) value(value string, e escape) bool {
	if len(value) > maxValue || len(o.b)+o.inserted > maxBytes-6*maxValue {
		return false
	}
	switch e {
	case escapeHTML:
		o.b = appendHTML(o.b, value)
	case escapeComment:
		if strings.Contains(value, "-") {
			return false
		}
		o.b = appendHTML(o.b, value)
	case escapeQuery:
		o.b = appendQuery(o.b, value)
	case escapeURL, escapePath:
		if !plainURL(value) || e == escapeURL && !harmlessURL(value) {
			return false
		}
		o.b = appendHTML(o.b, value)
	case escapeOther:
		for i := 0; i < len(value); i++ {
			if !unreserved(value[i]) {
				return false
			}
		}
		if value == "" {
			return false
		}
		fallthrough
	default:
		o.b = append(o.b, value...)
	}
	return true
}

func appendHTML(b []byte, s string) []byte {
	done := 0
	for i := 0; i < len(s); i++ {
		var by string
		switch s[i] {
		case '<':
			by = "&lt;"
		case '>':
			by = "&gt;"
		case '&':
			by = "&amp;"
		case '"':
			by = "&#34;"
		case '\'':
			by = "&#39;"
		case '+':
			by = "&#43;"
		case 0:
			by = "\uFFFD"
		default:
			continue
		}
		b = append(append(b, s[done:i]...), by...)
		done = i + 1
	}
	return append(b, s[done:]...)
}

// appendQuery escapes as RFC 3986, 2.1, does, with the small letters that html/template uses.
func appendQuery(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	for i := 0; i < len(s); i++ {
		if c := s[i]; unreserved(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return b
}

// plainURL tells whether a URL holds only characters that need no escape in a URL.
func plainURL(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !unreserved(c) && strings.IndexByte(":/?#[]@!$&+,;=", c) < 0 {
			return false
		}
	}
	return true
}

// unreserved are the characters of RFC 3986, 2.3.
func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' ||
		c == '~'
}
