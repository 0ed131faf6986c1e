package render

import (
	"bytes"
	"fmt"
	"text/template/parse"
)

// markupReader reads the texts of an HTML template as an HTML tokenizer does (WHATWG HTML, 13.2.5),
// across the actions between them. It finds the comments and the declarations, which html/template
// drops or escapes. It knows no elements: what a client makes of the tags does not matter here.
//
// A conditional comment has two readings. Outlook for Windows reads what is between <!--[if mso]>
// and <![endif]--> as HTML. All other clients read one comment. The reader takes Outlook's reading:
// html/template then escapes each value in it for its place, and such a value is as safe in the
// other reading, because no escaper leaves a "<" or a ">".
type markupReader struct {
	trees    map[string]*parse.Tree
	reached  map[string]map[mode]markupState // end states of the templates that were read, by start
	spans    map[*parse.TextNode][]span      // what html/template must not see
	lone     map[*parse.TextNode]bool        // texts that end in a "<" that begins no tag
	comments map[parse.Pos]bool              // actions whose value stands in a comment
	bare     map[parse.Pos]string            // actions that begin a value without quotes: what an empty value is
	plain    bool                            // read conditional comments as all clients but Outlook do
	last     parse.Node                      // nothing follows it
	template *templateText
	field    string
	problem  *Problem // the first
}

// span is a part of a text, from one octet to before another.
type span struct{ from, to int }

type mode int

const (
	inText      mode = iota
	inTag            // in the name of a tag, or before the name of an attribute
	inName           // in the name of an attribute
	afterName        // in the blanks behind it
	beforeValue      // behind the "="
	inDouble         // in a value in double quotes
	inSingle         // in a value in single quotes
	inUnquoted       // in a value without quotes
	inRaw            // in a style, a script, a title and the like, where no tag begins
	inComment
	inDeclaration // in <!…> or <?…>, which clients read as a comment up to the first ">"
)

// markupState is where the reader is.
type markupState struct {
	mode   mode
	raw    string    // the element whose end tag ends inRaw, or which the tag that is being read begins
	hidden bool      // in a conditional comment, which clients other than Outlook do not show
	opened parse.Pos // where the tag, comment or element began

	unfilled bool // inUnquoted, and nothing but values yet
	dashed   bool // inRaw, in a script that holds "<!--"
}

func newMarkupReader(field string, s *templateText, trees map[string]*parse.Tree) *markupReader {
	return &markupReader{
		field: field, template: s, trees: trees, reached: map[string]map[mode]markupState{},
		spans: map[*parse.TextNode][]span{}, lone: map[*parse.TextNode]bool{},
		comments: map[parse.Pos]bool{}, bare: map[parse.Pos]string{},
	}
}

// read reads the template with a name, which begins in running text. It returns the first problem
// that html/template does not see, and, as unclosed, what is open at the end.
func (r *markupReader) read(name string) (problem, unclosed *Problem) {
	if tree := r.trees[name]; tree != nil && len(root(tree).Nodes) > 0 {
		r.last = tree.Root.Nodes[len(tree.Root.Nodes)-1]
	}
	end := r.tree(name, markupState{})
	problem, r.problem = r.problem, nil
	if end.mode != inText {
		r.report(end.opened, "%s is not closed before the end of the template", end.what())
		unclosed = r.problem
		if problem == nil && end.own() {
			problem = unclosed
		}
	}
	return problem, unclosed
}

func (s markupState) what() string {
	switch s.mode {
	case inComment:
		return "a comment"
	case inDeclaration:
		return "a declaration (<! or <?)"
	case inRaw:
		return "<" + s.raw + ">"
	case inDouble, inSingle, inUnquoted, beforeValue:
		return "the value of an attribute"
	}
	return "a tag"
}

func (r *markupReader) report(at parse.Pos, format string, args ...any) {
	if r.problem == nil {
		line, column := r.template.at(int(at))
		r.problem = &Problem{Field: r.field, Line: line, Column: column, Message: fmt.Sprintf(format, args...)}
	}
}

func (r *markupReader) tree(name string, s markupState) markupState {
	tree := r.trees[name]
	if tree == nil || tree.Root == nil {
		return s // html/template reports it
	}
	known := r.reached[name]
	if known == nil {
		known = map[mode]markupState{}
		r.reached[name] = known
	}
	if end, ok := known[s.mode]; ok {
		return end
	}
	known[s.mode] = s // a template that calls itself ends as it begins
	known[s.mode] = r.list(tree.Root, s)
	return known[s.mode]
}

func (r *markupReader) list(l *parse.ListNode, s markupState) markupState {
	if l == nil {
		return s
	}
	for i, n := range l.Nodes {
		if b := branch(n); b != nil {
			s = r.branches(n, b, s)
			continue
		}
		var next parse.Node
		if i+1 < len(l.Nodes) {
			next = l.Nodes[i+1]
		}
		switch n := n.(type) {
		case *parse.TextNode:
			s = r.text(n, next, s)
		case *parse.ActionNode:
			s = r.action(n, next, s)
		case *parse.TemplateNode:
			s = r.tree(n.Name, s)
		}
	}
	return s
}

// What an empty value is, in an attribute's value without quotes that begins with it.
const (
	emptyQuotes = "quotes" // written as ""
	emptyFails  = "fails"  // what follows could become the value
)

func (r *markupReader) action(n *parse.ActionNode, next parse.Node, s markupState) markupState {
	if len(n.Pipe.Decl) > 0 {
		return s
	}
	if s.own() || s.hidden && (s.mode == inUnquoted || s.mode == beforeValue) {
		r.comments[n.Pos] = true
	}
	if s.mode == beforeValue || s.mode == inUnquoted && s.unfilled {
		r.bare[n.Pos] = emptyFails
		text, ok := next.(*parse.TextNode)
		if ok && s.mode == beforeValue && bytes.IndexAny(text.Text[:min(1, len(text.Text))], " \t\n\f\r>") == 0 {
			r.bare[n.Pos] = emptyQuotes
		}
		s.mode, s.unfilled = inUnquoted, true
	}
	return s
}

// branches reads the branches of an if, range or with. Each must leave the same kind of place, or
// the reader does not know where it is. html/template reports the rest of the differences.
func (r *markupReader) branches(n parse.Node, b *parse.BranchNode, s markupState) markupState {
	first, second := r.list(b.List, s), r.list(b.ElseList, s)
	if n.Type() == parse.NodeRange && b.ElseList == nil {
		second = s
	}
	if first.mode != second.mode && (first.own() || second.own()) {
		one := first
		if !first.own() {
			one = second
		}
		r.report(n.Position(), "the branches of {{%s}} end in different places: one leaves %s open",
			word(n), one.what())
	}
	if r.plain && (first.own() != s.own() || second.own() != s.own()) {
		r.report(n.Position(), "a branch of {{%s}} opens or closes a comment", word(n))
	}
	first.hidden = first.hidden || second.hidden
	return first
}

// own tells whether html/template does not see that kind of place.
func (s markupState) own() bool { return s.mode == inComment || s.mode == inDeclaration }

func word(n parse.Node) string {
	switch n.Type() {
	case parse.NodeRange:
		return "range"
	case parse.NodeWith:
		return "with"
	}
	return "if"
}

// cover replaces what html/template must not see by dots, and keeps blanks: all positions stay.
func cover(text []byte, spans []span) []byte {
	covered := bytes.Clone(text)
	for _, each := range spans {
		for i := each.from; i < each.to; i++ {
			if !bytes.ContainsRune([]byte(" \t\r\n"), rune(covered[i])) {
				covered[i] = '.'
			}
		}
	}
	return covered
}
