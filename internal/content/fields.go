package content

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template/parse"
	"unicode/utf8"

	"directmailer/internal/audience/member"
	"directmailer/internal/content/render"
	"directmailer/workflows"
)

// UnknownFields returns the places where templates use fields that a list with these columns does
// not have. Each recipient would fail there. A field behind a condition counts, too.
func UnknownFields(in workflows.Input, columns []string) []render.Problem {
	known := append([]string{"email"}, columns...)
	c := in.Content
	type template struct{ field, text string }
	templates := []template{
		{render.FieldToName, in.ToName}, {render.FieldSubject, in.Subject}, {render.FieldPageURL, c.PageURL},
	}
	for _, name := range slices.Sorted(maps.Keys(in.Headers)) {
		templates = append(templates, template{render.FieldHeaders + "." + name, in.Headers[name]})
	}
	var problems []render.Problem
	for _, t := range templates {
		problems = append(problems, unknownIn(t.field, t.text, known)...)
	}
	if CanUnsubscribe(in) {
		known = append(known, render.UnsubscribeField)
	}
	if !c.Static {
		problems = append(problems, unknownIn(render.FieldText, c.Text, known)...)
		problems = append(problems, unknownIn(render.FieldHTML, c.HTML, known)...)
	}
	if c.PageColumn != "" && !slices.Contains(columns, c.PageColumn) {
		problems = append(problems, unknownField("content.page_column", c.PageColumn, known))
	}
	return problems
}

func unknownField(field, name string, known []string) render.Problem {
	message := fmt.Sprintf("no column of the list is named %s: there are %s", name, strings.Join(known, ", "))
	for _, k := range known {
		if letters(k) == letters(name) {
			message = fmt.Sprintf("no column of the list is named %s: write %s", name, member.Action(k))
		}
	}
	return render.Problem{Field: field, Message: message}
}

// letters returns a name without what people spell differently: capitals, blanks and underscores.
func letters(name string) string { return strings.ReplaceAll(member.FieldName(name), "_", "") }

// maxUnknown is how many uses of unknown fields of one template are reported.
const maxUnknown = 50

func unknownIn(field, text string, known []string) []render.Problem {
	if render.Oversized(field, text) != nil {
		return nil // compiling it has said so
	}
	tree := parse.New(field)
	tree.Mode = parse.SkipFuncCheck
	trees := map[string]*parse.Tree{}
	if _, err := tree.Parse(text, "", "", trees); err != nil {
		return nil // compiling it has said so
	}
	w := fieldWalker{trees: trees, seen: map[string]bool{}}
	w.template(field)
	var problems []render.Problem
	for _, use := range w.uses {
		if slices.Contains(known, use.name) {
			continue
		}
		if len(problems) == maxUnknown {
			break
		}
		before := text[:min(int(use.at), len(text))]
		problem := unknownField(field, use.name, known)
		problem.Line = 1 + strings.Count(before, "\n")
		problem.Column = 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
		problems = append(problems, problem)
	}
	return problems
}

// fieldWalker collects the fields of the recipient that a template uses.
type fieldWalker struct {
	trees map[string]*parse.Tree
	seen  map[string]bool
	uses  []fieldUse
}

type fieldUse struct {
	name string
	at   parse.Pos
}

func (w *fieldWalker) template(name string) {
	if t := w.trees[name]; t != nil && !w.seen[name] {
		w.seen[name] = true
		w.list(t.Root, true)
	}
}

// list walks nodes. dot says whether "." is the recipient there. Inside with and range it is not.
func (w *fieldWalker) list(l *parse.ListNode, dot bool) {
	if l == nil {
		return
	}
	for _, n := range l.Nodes {
		switch n := n.(type) {
		case *parse.ActionNode:
			w.node(n.Pipe, dot)
		case *parse.IfNode:
			w.node(n.Pipe, dot)
			w.list(n.List, dot)
			w.list(n.ElseList, dot)
		case *parse.WithNode:
			w.branch(&n.BranchNode, dot)
		case *parse.RangeNode:
			w.branch(&n.BranchNode, dot)
		case *parse.TemplateNode:
			w.node(n.Pipe, dot)
			if n.Pipe != nil && (dot && n.Pipe.String() == "." || n.Pipe.String() == "$") {
				w.template(n.Name)
			}
		}
	}
}

func (w *fieldWalker) branch(n *parse.BranchNode, dot bool) {
	w.node(n.Pipe, dot)
	w.list(n.List, false)
	w.list(n.ElseList, dot)
}

func (w *fieldWalker) node(n parse.Node, dot bool) {
	switch n := n.(type) {
	case *parse.PipeNode:
		if n == nil {
			return
		}
		for _, c := range n.Cmds {
			for _, arg := range c.Args {
				w.node(arg, dot)
			}
			w.indexed(c, dot)
		}
	case *parse.ChainNode:
		w.node(n.Node, dot)
	case *parse.FieldNode:
		if dot {
			w.uses = append(w.uses, fieldUse{n.Ident[0], n.Pos})
		}
	case *parse.VariableNode:
		if n.Ident[0] == "$" && len(n.Ident) > 1 {
			w.uses = append(w.uses, fieldUse{n.Ident[1], n.Pos})
		}
	}
}

// indexed collects the field of {{index . "name"}}, which reaches names that have no {{.name}}.
func (w *fieldWalker) indexed(c *parse.CommandNode, dot bool) {
	if len(c.Args) != 3 || c.Args[0].String() != "index" && c.Args[0].String() != "get" {
		return
	}
	name, ok := c.Args[2].(*parse.StringNode)
	if of := c.Args[1].String(); ok && (dot && of == "." || of == "$") {
		w.uses = append(w.uses, fieldUse{name.Text, name.Pos})
	}
}
