package render

import (
	"maps"
	"slices"
	"text/template/parse"
)

// fieldsOf returns the names of the fields that parts use, sorted, so that others need not be
// looked at. It returns nil when a part may use any field, as {{index . "name"}} does.
func fieldsOf(parts ...*part) []string {
	names := map[string]bool{}
	for _, p := range parts {
		if p == nil {
			continue
		}
		for _, tree := range p.trees {
			if !namedIn(root(tree), names) {
				return nil
			}
		}
	}
	return append([]string{}, slices.Sorted(maps.Keys(names))...)
}

func namedIn(list *parse.ListNode, names map[string]bool) bool {
	known := true
	walk(list, func(n parse.Node) {
		if b := branch(n); b != nil {
			known = known && namedBy(b.Pipe, names)
		}
		switch n := n.(type) {
		case *parse.ActionNode:
			known = known && namedBy(n.Pipe, names)
		case *parse.TemplateNode:
			// All templates are looked through, so a dot that is handed on names nothing.
			handedOn := n.Pipe == nil || n.Pipe.String() == "." || n.Pipe.String() == "$"
			known = known && (handedOn || namedBy(n.Pipe, names))
		}
	})
	return known
}

// namedBy collects the fields of a node. It returns false when the node may use any.
func namedBy(n parse.Node, names map[string]bool) bool {
	add := func(name string) { names[name] = true }
	switch n := n.(type) {
	case *parse.PipeNode:
		for _, c := range n.Cmds {
			for _, arg := range c.Args {
				if !namedBy(arg, names) {
					return false
				}
			}
		}
	case *parse.ChainNode:
		return namedBy(n.Node, names)
	case *parse.FieldNode:
		add(n.Ident[0])
	case *parse.VariableNode:
		if n.Ident[0] == "$" && len(n.Ident) == 1 {
			return false
		}
		if n.Ident[0] == "$" {
			add(n.Ident[1])
		}
	case *parse.DotNode:
		return false
	}
	return true
}
