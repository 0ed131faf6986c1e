package render

import (
	"errors"
	"strings"
	texttemplate "text/template"
	"text/template/parse"
	"time"

	"directmailer/internal/audience/address"
	"directmailer/internal/content/message"
	"directmailer/internal/naming"
)

// Compile checks and compiles the content. It returns a Template, or every problem found. There is
// at most one problem for each template, because a template's parser stops at its first.
func Compile(s Spec) (*Template, []Problem) {
	c := compiler{spec: s, t: &Template{mailing: s.Mailing, signer: s.Signer, test: s.Test}}
	c.compileHead()
	c.compileUnsubscribe()
	c.compileBodies()
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	c.t.fields = fieldsOf(c.t.allParts()...)
	return c.t, nil
}

type compiler struct {
	spec     Spec
	t        *Template
	problems []Problem
}

func (c *compiler) report(p *Problem) {
	if p != nil {
		c.problems = append(c.problems, *p)
	}
}

func (c *compiler) compileHead() {
	s, head := c.spec, &c.t.head
	if !naming.ValidID(s.Mailing) {
		c.report(&Problem{Field: FieldMailing, Message: "must be " + naming.IDRule})
	}
	head.From = c.mailbox(FieldFrom, s.From)
	c.t.domain = head.From.Address.Domain()
	if s.ReplyTo != "" {
		head.ReplyTo = c.mailbox(FieldReplyTo, s.ReplyTo)
	}
	if head.ListID = s.ListID; s.ListID != "" && !message.ValidListID(s.ListID) {
		c.report(&Problem{Field: FieldListID, Message: message.ErrListID.Error()})
	}
	if head.Date = s.Date.Truncate(time.Second); s.Date.IsZero() {
		c.report(&Problem{Field: FieldDate, Message: message.ErrMissing.Error()})
	}
	var problem *Problem
	c.t.subject, problem = compileLine(FieldSubject, s.Subject)
	c.report(problem)
	if !blank(s.ToName) {
		c.t.toName, problem = compileLine(FieldToName, s.ToName)
		c.report(problem)
	}
	c.compileHeaders()
}

func (c *compiler) mailbox(field, value string) address.Mailbox {
	if strings.TrimSpace(value) == "" {
		c.report(&Problem{Field: field, Message: message.ErrMissing.Error()})
		return address.Mailbox{}
	}
	m, err := address.ParseMailbox(value)
	if err != nil {
		c.report(&Problem{Field: field, Message: err.Error()})
	}
	return m
}

func (c *compiler) compileBodies() {
	hasText, hasHTML := !blank(c.spec.Text), !blank(c.spec.HTML) && !c.spec.Page
	c.t.page = c.spec.Page
	switch {
	case !hasText && !hasHTML && !c.spec.Page:
		c.report(&Problem{Field: FieldContent, Message: "is missing: give content.text, content.html or both"})
		return
	case c.spec.Static:
		c.setBodies(hasText, hasHTML, []byte(lineEnds(c.spec.Text)), []byte(lineEnds(c.spec.HTML)))
		return
	}
	var problem *Problem
	if hasText {
		c.t.text, problem = compileText(FieldText, newTemplateText(c.spec.Text))
		c.report(problem)
	}
	if hasHTML {
		c.t.html, problem = compileHTML(c.spec.HTML)
		c.report(problem)
	}
	if hasHTML && !hasText && problem == nil {
		c.t.derived = true
		c.t.text, problem = compileDerived(c.spec.HTML)
		c.report(problem)
	}
	if len(c.problems) == 0 {
		c.setConstants()
	}
}

func blank(s string) bool { return strings.TrimSpace(s) == "" }

func compileText(field string, s *templateText) (*part, *Problem) {
	if problem := Oversized(field, s.original); problem != nil {
		return nil, problem
	}
	t, err := texttemplate.New(field).Funcs(functions(false)).Parse(s.compiled)
	if err != nil {
		return nil, s.syntax(field, err)
	}
	p := &part{field: field, authored: s, constant: constant(t.Tree), trees: map[string]*parse.Tree{}}
	for _, each := range t.Templates() {
		p.trees[each.Name()] = each.Tree
	}
	if problem := tooComplex(field, s, p.trees); problem != nil {
		return nil, problem
	}
	byName(t.Tree)
	for _, tree := range p.trees {
		applyTruth(tree)
		addShown(tree)
	}
	p.finish()
	return p, nil
}

// finish looks through trees that change no more after it.
func (p *part) finish() {
	p.passages = passages{}
	for _, tree := range p.trees {
		addTicks(tree)
		findPassages(p.passages, tree)
	}
	p.calls = callsOf(p.trees)
	p.quick, _ = compileQuick(root(p.trees[p.field]))
}

func compileDerived(html string) (*part, *Problem) {
	text, err := textFromHTML(lineEnds(html))
	if err == nil {
		var p *part
		var problem *Problem
		if p, problem = compileText(FieldText, newTemplateText(text)); problem == nil {
			p.authored = nil // nobody has seen it: a position in it says nothing
			return p, nil
		}
		err = errors.New(problem.Message)
	}
	return nil, &Problem{Field: FieldText,
		Message: "cannot be made from content.html (" + err.Error() + "): give content.text"}
}

// walk calls visit for the nodes of a list and of the lists below it.
func walk(list *parse.ListNode, visit func(parse.Node)) {
	walkLists(list, func(l *parse.ListNode) {
		for _, n := range l.Nodes {
			visit(n)
		}
	})
}

// walkLists calls visit for a list and the lists below it.
func walkLists(list *parse.ListNode, visit func(*parse.ListNode)) {
	if list == nil {
		return
	}
	visit(list)
	for _, n := range list.Nodes {
		if b := branch(n); b != nil {
			walkLists(b.List, visit)
			walkLists(b.ElseList, visit)
		}
	}
}

// branch returns what if, range and with have in common, or nil.
func branch(n parse.Node) *parse.BranchNode {
	switch n := n.(type) {
	case *parse.IfNode:
		return &n.BranchNode
	case *parse.RangeNode:
		return &n.BranchNode
	case *parse.WithNode:
		return &n.BranchNode
	}
	return nil
}

// oneLine refuses a line break in the text of a header's template: nobody would see the lines.
func oneLine(p *part, s *templateText) (problem *Problem) {
	for _, tree := range p.trees {
		walk(root(tree), func(n parse.Node) {
			text, ok := n.(*parse.TextNode)
			if !ok || problem != nil || isTick(text.Text) {
				return
			}
			if i := strings.IndexAny(string(text.Text), "\r\n"); i >= 0 {
				line, column := s.at(int(text.Pos) + i)
				problem = &Problem{Field: p.field, Line: line, Column: column,
					Message: "holds a line break; " + lineWords(p.field) + " is one line"}
			}
		})
	}
	return problem
}

func lineWords(field string) string {
	switch field {
	case FieldSubject:
		return "a subject"
	case FieldToName:
		return "a name"
	}
	return "a header"
}
