package render

import (
	"fmt"
	"strings"
	"text/template/parse"
)

// Limits of a template, which is checked before anything goes through it. Compiling takes time and
// memory by some products of these numbers.
const (
	maxActions      = 10_000    // {{…}}, counted before the template is parsed
	maxActionOctets = 256 << 10 // of all actions together, without comments
	maxParts        = 100_000   // functions, their arguments, fields, texts
	maxActionParts  = 1_000     // of one action
	maxDepth        = 100       // blocks within blocks
	maxElseIf       = 300       // {{else if}} of one {{if}}
	maxParens       = 50        // parentheses within parentheses
	maxTemplates    = 200       // {{define}} and {{block}}
	maxVisits       = 1 << 18   // see [visits]
)

// Oversized returns the problem of a template that is too large to be parsed, or nil.
func Oversized(field, text string) *Problem {
	actions, octets := 0, 0
	for at := 0; ; {
		i := strings.Index(text[at:], "{{")
		if i < 0 {
			return nil
		}
		at += i
		end := len(text)
		if i := strings.Index(text[at:], "}}"); i >= 0 {
			end = at + i + 2
		}
		if actions++; actions > maxActions {
			return tooMuch(field, text, at, "holds more than 10,000 actions ({{…}}): "+
				"let a loop, the query or the list do it")
		}
		if !isComment(text[at:end]) {
			octets += end - at
		}
		if octets > maxActionOctets {
			return tooMuch(field, text, at, "holds more than 256 KiB within {{ and }}: write plain text outside of them")
		}
		at += 2
	}
}

func isComment(action string) bool {
	return strings.HasPrefix(action, "{{/*") || strings.HasPrefix(action, "{{- /*")
}

func tooMuch(field, text string, at int, message string) *Problem {
	line, column := (&templateText{original: text}).at(at)
	return &Problem{Field: field, Line: line, Column: column, Message: message}
}

// measure holds parsed trees against the limits.
type measure struct {
	field   string
	text    *templateText
	parts   int
	problem *Problem // the first
}

// tooComplex returns the problem of a template that is too large or nested too deep, or nil.
func tooComplex(field string, s *templateText, trees map[string]*parse.Tree) *Problem {
	m := measure{field: field, text: s}
	if len(trees) > maxTemplates {
		m.report(0, "defines more than %d templates: join some", maxTemplates)
	}
	for _, tree := range trees {
		m.list(root(tree), 0)
	}
	return m.problem
}

func (m *measure) report(at parse.Pos, format string, args ...any) {
	if m.problem == nil {
		line, column := m.text.at(int(at))
		m.problem = &Problem{Field: m.field, Line: line, Column: column, Message: fmt.Sprintf(format, args...)}
	}
}

func (m *measure) list(l *parse.ListNode, depth int) {
	if l == nil || m.problem != nil {
		return
	}
	if depth > maxDepth {
		m.report(l.Pos, "is nested deeper than %d: put a part of it into a {{define}}", maxDepth)
		return
	}
	for _, n := range l.Nodes {
		m.count(n, 1)
		b, chain := branch(n), 0
		switch n := n.(type) {
		case *parse.ActionNode:
			m.action(n.Pipe, n)
		case *parse.TemplateNode:
			m.action(n.Pipe, n)
		}
		if b == nil {
			continue
		}
		for b != nil { // the block, and each {{else if}}, which the parser puts into an else
			m.action(b.Pipe, n)
			m.list(b.List, depth+1)
			next := chained(b.ElseList)
			if next == nil {
				m.list(b.ElseList, depth+1)
				break
			}
			if chain++; chain > maxElseIf {
				m.report(n.Position(), "has more than %d {{else if}}: use a dict, as in {{get (dict …) .field}}", maxElseIf)
				return
			}
			n = b.ElseList.Nodes[0]
			m.count(n, 1)
			b = next
		}
	}
}

// chained returns the block of an else that holds nothing else, as {{else if}} does.
func chained(l *parse.ListNode) *parse.BranchNode {
	if l != nil && len(l.Nodes) == 1 {
		return branch(l.Nodes[0])
	}
	return nil
}

func (m *measure) count(n parse.Node, parts int) {
	if m.parts += parts; m.parts > maxParts {
		m.report(n.Position(), "has more than 100,000 parts: functions, arguments and fields. Make it simpler")
	}
}

func (m *measure) action(p *parse.PipeNode, n parse.Node) {
	parts := partsOf(p)
	m.count(n, parts)
	if parts > maxActionParts {
		m.report(n.Position(), "an action has more than 1,000 parts: functions, arguments and fields. "+
			"Use variables, as in {{$x := …}}")
	}
	if m.problem == nil && parens(p) > maxParens {
		m.report(n.Position(), "an action has more than 50 parentheses within each other: "+
			"use variables, as in {{$x := …}}")
	}
}

// parens returns how deep parentheses are nested.
func parens(n parse.Node) int {
	deepest := 0
	switch n := n.(type) {
	case *parse.PipeNode:
		if n == nil {
			return 0
		}
		for _, c := range n.Cmds {
			for _, arg := range c.Args {
				deepest = max(deepest, parens(arg))
			}
		}
		return deepest + 1
	case *parse.ChainNode:
		return parens(n.Node)
	}
	return deepest
}

// visits counts how often html/template looks at the parts of a template while it works out what
// escapes each value. It goes through a loop twice, and twice through a template that ends in
// another kind of place than it begins; it forgets what it has found out on the way. So templates
// within templates and loops within loops double the work each time.
type visits struct {
	trees map[string]*parse.Tree
	in    map[string]bool // templates that are being gone through
	loops map[string]bool // templates that call themselves
	count int
}

func (v *visits) template(name string, times int) {
	if v.in[name] {
		v.loops[name] = true
		return
	}
	v.in[name] = true
	v.list(root(v.trees[name]), times)
	delete(v.in, name)
}

// textPerVisit is how many octets of text take as long as another part.
const textPerVisit = 16

func (v *visits) list(l *parse.ListNode, times int) {
	if l == nil {
		return
	}
	for _, n := range l.Nodes {
		if v.count += times; v.count > maxVisits {
			return
		}
		switch n := n.(type) {
		case *parse.TextNode:
			v.count += times * (len(n.Text) / textPerVisit)
		case *parse.TemplateNode:
			v.count += times * (len(v.trees) / 4)
			v.template(n.Name, min(2*times, maxVisits))
		case *parse.RangeNode:
			v.list(n.List, min(2*times, maxVisits))
			v.list(n.ElseList, times)
		default:
			if b := branch(n); b != nil {
				v.list(b.List, times)
				v.list(b.ElseList, times)
			}
		}
	}
}

// tooTangled returns the problem of an HTML template that html/template would take too long for.
// The reader has been through it.
func (h *htmlPart) tooTangled() *Problem {
	v := visits{trees: h.reader.trees, in: map[string]bool{}, loops: map[string]bool{}}
	v.template(FieldHTML, 1)
	if v.count > maxVisits {
		return &Problem{Field: FieldHTML, Message: "its loops and {{template}}s are nested too deep, " +
			"or call each other too often, to be escaped: make it simpler"}
	}
	for name := range v.loops {
		for begin, end := range h.reader.reached[name] {
			if begin != inText || end.mode != inText {
				return &Problem{Field: FieldHTML, Message: fmt.Sprintf(
					"the template %q calls itself and is used within a tag, a style or a script: "+
						"use it in running text only", shorten(name))}
			}
		}
	}
	return nil
}
