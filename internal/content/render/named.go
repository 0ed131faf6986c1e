package render

import (
	"slices"
	"text/template/parse"
)

// byName turns {{index . "first name"}} into what {{.first_name}} is, where the dot is the
// recipient: a field that does not exist fails the recipient, and is not printed as "<no value>".
// It is the way to fields whose names have marks, such as those of Thai.
func byName(tree *parse.Tree) {
	byNameIn(root(tree), true)
}

// byNameIn goes through a list. dot says whether "." is the recipient there.
func byNameIn(list *parse.ListNode, dot bool) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.ActionNode:
			byNameOf(n.Pipe, dot)
		case *parse.TemplateNode:
			byNameOf(n.Pipe, dot)
		default:
			if b := branch(n); b != nil {
				byNameOf(b.Pipe, dot)
				byNameIn(b.List, dot && n.Type() == parse.NodeIf)
				byNameIn(b.ElseList, dot)
			}
		}
	}
}

func byNameOf(n parse.Node, dot bool) {
	switch n := n.(type) {
	case *parse.PipeNode:
		if n == nil {
			return
		}
		for i, c := range n.Cmds {
			for _, arg := range c.Args {
				byNameOf(arg, dot)
			}
			if field := fieldByName(c, dot); i == 0 && field != nil {
				c.Args = []parse.Node{field}
			}
		}
	case *parse.ChainNode:
		byNameOf(n.Node, dot)
	}
}

// fieldByName returns the field that a command means, or nil.
func fieldByName(c *parse.CommandNode, dot bool) parse.Node {
	if len(c.Args) != 3 || c.Args[0].String() != "index" {
		return nil
	}
	name, ok := c.Args[2].(*parse.StringNode)
	if !ok || name.Text == "" {
		return nil
	}
	switch of := c.Args[1].(type) {
	case *parse.DotNode:
		if dot {
			return &parse.FieldNode{NodeType: parse.NodeField, Pos: c.Pos, Ident: []string{name.Text}}
		}
	case *parse.VariableNode:
		if slices.Equal(of.Ident, []string{"$"}) {
			return &parse.VariableNode{NodeType: parse.NodeVariable, Pos: c.Pos, Ident: []string{"$", name.Text}}
		}
	}
	return nil
}

// shownFunc is the template function that each value of a text goes through last, unless it is a
// field: so the first of an empty list is nothing, and not "<no value>".
const shownFunc = "_shown"

func nothingIsEmpty(v any) any {
	if v == nil {
		return ""
	}
	return v
}

func addShown(tree *parse.Tree) {
	walk(root(tree), func(n parse.Node) {
		action, ok := n.(*parse.ActionNode)
		if !ok || len(action.Pipe.Decl) > 0 {
			return
		}
		if cmds := action.Pipe.Cmds; len(cmds) == 1 && len(cmds[0].Args) == 1 {
			switch cmds[0].Args[0].(type) {
			case *parse.FieldNode, *parse.StringNode, *parse.NumberNode, *parse.BoolNode:
				return
			}
		}
		action.Pipe.Cmds = append(action.Pipe.Cmds, call(action.Pos, shownFunc))
	})
}
