package render

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
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

// rawElements are the elements in which no tag and no comment begins.
var rawElements = []string{"style", "script", "title", "textarea", "xmp", "iframe", "noembed", "noframes"}

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

// text reads one text. next is the node behind it in its list, nil at the list's end.
func (r *markupReader) text(n *parse.TextNode, next parse.Node, s markupState) markupState {
	_, seen := r.spans[n]
	spans := []span{}
	hide := func(from, to int) { spans = append(spans, span{from, to}) }
	for i := 0; i < len(n.Text); {
		rest := n.Text[i:]
		var length int
		switch s.mode {
		case inText:
			length = r.running(n, i, next, &s)
			if s.own() || length > 0 && n.Text[i] == '<' && s.mode == inText && declares(rest) {
				hide(i, i+length)
			}
		case inComment:
			length = commentEnd(rest)
			if length == 0 {
				length = len(rest)
			} else {
				s = markupState{hidden: s.hidden}
			}
			hide(i, i+length)
		case inDeclaration:
			if length = bytes.IndexByte(rest, '>') + 1; length == 0 {
				length = len(rest)
			} else {
				s = markupState{hidden: s.hidden && !endsCondition(rest[:length])}
			}
			hide(i, i+length)
		case inRaw:
			length = r.rawText(n, i, &s)
		default:
			length = s.tag(rest)
		}
		i += length
	}
	if seen && !slices.Equal(spans, r.spans[n]) {
		r.report(n.Pos, "the template is used in running text and within a tag, and holds a comment: write it twice")
	}
	r.spans[n] = spans
	return s
}

// declares tells whether a text begins with a comment or a declaration.
func declares(b []byte) bool {
	return len(b) > 1 && (b[1] == '!' || b[1] == '?' || b[1] == '/' && len(b) > 2 && !letter(b[2]) && b[2] != '>')
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// running reads running text from an octet on, up to the next "<" or one piece of markup that
// begins there. It returns the length.
func (r *markupReader) running(n *parse.TextNode, at int, next parse.Node, s *markupState) int {
	rest := n.Text[at:]
	if i := bytes.IndexByte(rest, '<'); i != 0 {
		if i < 0 {
			i = len(rest)
		}
		return i
	}
	opened := n.Pos + parse.Pos(at)
	begin := func(m mode) int {
		s.mode, s.opened, s.raw = m, opened, ""
		return len(rest)
	}
	switch {
	case n != r.last && torn.Match(rest):
		return r.torn(n, next, opened, rest)
	case bytes.HasPrefix(rest, []byte("<!--")):
		length, open, conditional := comment(rest, r.plain)
		s.hidden = s.hidden || conditional
		if open {
			return begin(inComment)
		}
		s.hidden = s.hidden && !endsCondition(rest[:length])
		return length
	case declares(rest):
		length := bytes.IndexByte(rest, '>') + 1
		if length == 0 {
			return begin(inDeclaration)
		}
		s.hidden = s.hidden && !endsCondition(rest[:length])
		return length
	}
	start := bytes.TrimPrefix(rest[1:], []byte("/"))
	if len(start) == 0 || !letter(start[0]) {
		return 1
	}
	name := start
	if end := bytes.IndexAny(name, " \t\n\f\r/>"); end >= 0 {
		name = name[:end]
	}
	length := len(rest) - len(start) + len(name)
	begin(inTag)
	if element := strings.ToLower(string(name)); rest[1] != '/' && slices.Contains(rawElements, element) {
		s.raw = element
	}
	return length
}

// torn handles a text that ends in the first octets of a tag, with an action behind them. A value
// there must not become a tag, so html/template's "&lt;" stays. With a condition there the author
// means a tag.
func (r *markupReader) torn(n *parse.TextNode, next parse.Node, opened parse.Pos, rest []byte) int {
	_, isValue := next.(*parse.ActionNode)
	if next != nil && (!isValue || len(rest) > 1 && rest[1] == '/') {
		r.report(opened, "%q stands before an action: write the whole tag, in each branch of the condition", rest)
	}
	r.lone[n] = true
	return len(rest)
}

var (
	torn         = regexp.MustCompile(`^<(?:/|!-?)?$`)
	condition    = regexp.MustCompile(`(?i)^<!--\s*\[\s*if\b[^\]>]*\]\s*>`)
	conditionEnd = regexp.MustCompile(`(?i)<!?\s*\[\s*endif\s*\]`)
	innerComment = regexp.MustCompile(`^\s*(?:<!--|--!?>)`)
)

func endsCondition(b []byte) bool { return conditionEnd.Match(b) }

// comment measures the comment that a text begins with. Of a conditional comment it is only the
// part before the first octet that Outlook reads as HTML. open tells that the comment does not end
// in the text. With plain every comment is one as a whole.
func comment(b []byte, plain bool) (length int, open, hidden bool) {
	if head := condition.Find(b); head != nil && !plain {
		if !innerComment.Match(b[len(head):]) {
			return len(head), false, true
		}
		// <!--[if !mso]><!--> and its like: all clients show what follows.
		if end := commentEnd(b[len(head):]); end > 0 {
			return len(head) + end, false, false
		}
		return len(b), true, false
	}
	for _, whole := range []string{"<!-->", "<!--->"} {
		if bytes.HasPrefix(b, []byte(whole)) {
			return len(whole), false, false
		}
	}
	if end := commentEnd(b[4:]); end > 0 {
		return 4 + end, false, false
	}
	return len(b), true, false
}

// commentEnd returns where the first end of a comment in b ends, 0 when there is none.
func commentEnd(b []byte) int {
	for i := 0; ; {
		j := bytes.Index(b[i:], []byte("--"))
		if j < 0 {
			return 0
		}
		i += j
		switch after := b[i+2:]; {
		case bytes.HasPrefix(after, []byte(">")):
			return i + 3
		case bytes.HasPrefix(after, []byte("!>")):
			return i + 4
		}
		i++
	}
}

// rawText reads the text of a raw element up to its end tag.
func (r *markupReader) rawText(n *parse.TextNode, at int, s *markupState) int {
	rest := n.Text[at:]
	for i := 0; ; {
		j := bytes.IndexByte(rest[i:], '<')
		if j < 0 {
			return len(rest)
		}
		i += j
		tag := rest[i+1:]
		switch {
		case s.raw != "script":
		case bytes.HasPrefix(tag, []byte("!--")):
			s.dashed = true
		case s.dashed && hasPrefixFold(tag, "script"): // HTML has a rule of its own for the two, 13.2.5.23
			r.report(n.Pos+parse.Pos(at+i), `a script holds "<!--" and "<script": write "<\script"`)
		}
		end := 1 + len(s.raw)
		if hasPrefixFold(tag, "/"+s.raw) && (len(tag) == end || bytes.IndexAny(tag[end:end+1], " \t\n\f\r/>") == 0) {
			*s = markupState{mode: inTag, hidden: s.hidden, opened: n.Pos + parse.Pos(at+i)}
			return i + 1 + end
		}
		i++
	}
}

func hasPrefixFold(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && strings.EqualFold(string(b[:len(prefix)]), prefix)
}

// tag reads one step within a tag and returns its length.
func (s *markupState) tag(b []byte) int {
	until := func(ends string, m mode) int {
		i := bytes.IndexAny(b, ends)
		if i < 0 {
			return len(b)
		}
		s.mode = m
		return i + 1
	}
	switch s.mode {
	case inDouble:
		return until(`"`, inTag)
	case inSingle:
		return until(`'`, inTag)
	}
	c := b[0]
	blank := bytes.IndexByte([]byte(" \t\n\f\r"), c) >= 0
	switch {
	case c == '>':
		*s = s.afterTag()
	case s.mode == beforeValue && blank:
	case s.mode == beforeValue && c == '"':
		s.mode = inDouble
	case s.mode == beforeValue && c == '\'':
		s.mode = inSingle
	case s.mode == beforeValue:
		s.mode = inUnquoted
	case s.mode == inUnquoted && blank:
		s.mode, s.unfilled = inTag, false
	case s.mode == inUnquoted:
		s.unfilled = false
	case c == '/':
		s.mode = inTag
	case c == '=' && (s.mode == inName || s.mode == afterName):
		s.mode = beforeValue
	case blank && s.mode == inName:
		s.mode = afterName
	case !blank:
		s.mode = inName
	}
	return 1
}

func (s markupState) afterTag() markupState {
	if s.raw != "" {
		return markupState{mode: inRaw, raw: s.raw, hidden: s.hidden, opened: s.opened}
	}
	return markupState{hidden: s.hidden}
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
