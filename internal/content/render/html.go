package render

import (
	"bytes"
	"errors"
	htmltemplate "html/template"
	"strings"
	"text/template/parse"
)

// htmlPart is an HTML template on its way to a [part].
//
// html/template escapes each value for its place. It also changes the author's own text: it drops
// comments and writes "<" as "&lt;" where no tag begins, which breaks conditional comments. So it
// is shown the text with dots in place of comments and declarations. When it has put its escapers
// into the actions, every text gets its own octets again.
type htmlPart struct {
	authored  *templateText
	template  *htmltemplate.Template
	originals map[parse.Pos][]byte
	reader    *markupReader

	problem, unclosed *Problem // what the reader found
}

func parseHTML(s *templateText) (*htmltemplate.Template, error) {
	return htmltemplate.New(FieldHTML).Funcs(functions(true)).Parse(s.compiled)
}

func newHTMLPart(s *templateText, t *htmltemplate.Template) *htmlPart {
	h := &htmlPart{authored: s, template: t, originals: map[parse.Pos][]byte{}}
	trees := map[string]*parse.Tree{}
	for _, each := range t.Templates() {
		trees[each.Name()] = each.Tree
		authorsMarkup(each.Tree)
	}
	h.reader = newMarkupReader(FieldHTML, s, trees)
	return h
}

func compileHTML(text string) (*part, *Problem) {
	s := newTemplateText(text)
	if problem := Oversized(FieldHTML, s.original); problem != nil {
		return nil, problem
	}
	t, err := parseHTML(s)
	if err != nil {
		return nil, s.syntax(FieldHTML, err)
	}
	h := newHTMLPart(s, t)
	if problem := tooComplex(FieldHTML, s, h.reader.trees); problem != nil {
		return nil, problem
	}
	p := &part{field: FieldHTML, html: true, authored: s, constant: constant(t.Tree), trees: map[string]*parse.Tree{}}
	byName(t.Tree)
	for _, each := range t.Templates() {
		applyTruth(each.Tree)
	}
	h.cover()
	if problem := h.check(); problem != nil {
		return p, problem
	}
	h.uncover()
	for _, each := range t.Templates() {
		p.trees[each.Name()] = each.Tree
	}
	p.finish()
	return p, nil
}

// authorsMarkup turns each action that prints nothing but a comment or a declaration, such as
// {{"<!--[if mso]>"}}, into text: that is the author's own. It is the way to write one in plain
// html/template.
func authorsMarkup(t *parse.Tree) {
	walkLists(root(t), func(l *parse.ListNode) {
		for i, n := range l.Nodes {
			action, ok := n.(*parse.ActionNode)
			if !ok || len(action.Pipe.Decl) > 0 || len(action.Pipe.Cmds) != 1 || len(action.Pipe.Cmds[0].Args) != 1 {
				continue
			}
			word, ok := action.Pipe.Cmds[0].Args[0].(*parse.StringNode)
			if ok && len(word.Text) > 2 && strings.HasPrefix(word.Text, "<") && declares([]byte(word.Text)) {
				l.Nodes[i] = &parse.TextNode{NodeType: parse.NodeText, Pos: word.Pos, Text: []byte(word.Text)}
			}
		}
	})
}

// cover hides comments and declarations from html/template.
func (h *htmlPart) cover() {
	h.problem, h.unclosed = h.reader.read(FieldHTML)
	for _, tree := range h.reader.trees {
		walk(root(tree), func(n parse.Node) {
			text, ok := n.(*parse.TextNode)
			if !ok || len(text.Text) == 0 {
				return
			}
			h.originals[text.Pos] = text.Text
			if h.reader.lone[text] {
				at := bytes.LastIndexByte(text.Text, '<')
				h.originals[text.Pos] = append(append(bytes.Clone(text.Text[:at]), "&lt;"...), text.Text[at+1:]...)
			}
			text.Text = cover(text.Text, h.reader.spans[text])
		})
	}
}

// escape makes html/template do its contextual escaping now. html/template does so at the first
// execution, and this one is stopped at its first write: that of an empty text in front of
// everything, because no budget bounds what comes behind it.
func (h *htmlPart) escape() (err error) {
	first := &parse.TextNode{NodeType: parse.NodeText, Pos: -1, Text: []byte{}}
	h.template.Tree.Root.Nodes = append([]parse.Node{first}, h.template.Tree.Root.Nodes...)
	defer func() {
		if recover() != nil {
			err = errEscaperPanics
		}
	}()
	err = h.template.Execute(closed{}, map[string]any{})
	var escape *htmltemplate.Error
	if errors.As(err, &escape) {
		return escape
	}
	return nil // errClosed, or of this execution alone
}

type closed struct{}

var (
	errClosed        = errors.New("closed")
	errEscaperPanics = errors.New("makes html/template panic")
)

func (closed) Write([]byte) (int, error) { return 0, errClosed }

// check returns the first problem of the template's HTML, with its place.
func (h *htmlPart) check() *Problem {
	if h.problem != nil {
		return h.problem
	}
	if problem := h.tooTangled(); problem != nil {
		return problem
	}
	err := h.escape()
	var fault *htmltemplate.Error
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &fault):
		return &Problem{Field: FieldHTML, Message: err.Error()}
	case fault.ErrorCode == htmltemplate.ErrEndContext && h.unclosed != nil:
		return h.unclosed
	}
	p := h.authored.syntax(FieldHTML, err)
	switch {
	case fault.ErrorCode == htmltemplate.ErrEndContext:
		p.Line, p.Column = h.authored.at(len(h.authored.compiled))
	case p.Line == 0:
		p.Line, p.Column = h.authored.at(h.authored.unplaced(fault))
	}
	return p
}

// uncover gives each text its own octets again, and puts this package's filters in the place of
// html/template's.
func (h *htmlPart) uncover() {
	for _, each := range h.template.Templates() {
		walk(root(each.Tree), func(n parse.Node) {
			switch n := n.(type) {
			case *parse.TextNode:
				if text, ok := h.originals[n.Pos]; ok {
					n.Text = text
				}
			case *parse.ActionNode:
				replaceFilters(n, h.reader.bare[n.Pos])
				if h.reader.comments[n.Pos] && len(n.Pipe.Decl) == 0 {
					n.Pipe.Cmds = append(n.Pipe.Cmds, call(n.Pos, commentFunc))
				}
			}
		})
	}
}

// call returns the command of a pipeline that calls a function.
func call(at parse.Pos, name string, args ...parse.Node) *parse.CommandNode {
	all := append([]parse.Node{parse.NewIdentifier(name).SetPos(at)}, args...)
	return &parse.CommandNode{NodeType: parse.NodeCommand, Pos: at, Args: all}
}

// replaceFilters replaces those of html/template's functions that write "ZgotmplZ" instead of a
// value that they refuse. The first argument of the replacement says what the value is, for its
// error. bare is what an empty value is in an attribute without quotes.
func replaceFilters(n *parse.ActionNode, bare string) {
	what := ""
	for i, c := range n.Pipe.Cmds {
		name, ok := c.Args[0].(*parse.IdentifierNode)
		if ours, replaced := filters[identifier(name, ok)]; replaced {
			args := []parse.Node{stringNode(n.Pos, what)}
			if ours == bareFunc {
				args = append(args, stringNode(n.Pos, bare))
			}
			n.Pipe.Cmds[i] = call(n.Pos, ours, args...)
		} else if !strings.HasPrefix(identifier(name, ok), "_html_template_") {
			if what != "" {
				what += " | "
			}
			what += c.String()
		}
	}
}

func stringNode(at parse.Pos, text string) parse.Node {
	return &parse.StringNode{NodeType: parse.NodeString, Pos: at, Quoted: "“" + text + "”", Text: text}
}

func identifier(n *parse.IdentifierNode, ok bool) string {
	if !ok {
		return ""
	}
	return n.Ident
}

// filters are html/template's functions that this package replaces, and the replacements.
var filters = map[string]string{
	"_html_template_urlfilter":      urlFilterFunc,
	"_html_template_srcsetescaper":  srcsetFunc,
	"_html_template_cssvaluefilter": cssFilterFunc,
	"_html_template_htmlnamefilter": nameFilterFunc,
	"_html_template_nospaceescaper": bareFunc,
}
