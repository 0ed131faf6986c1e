package render

import "text/template/parse"

// ticks are what templates write, instead of text, to say how many steps come next: a slice of it
// of that length. Nobody reads it.
var ticks [maxTick]byte

const (
	maxTick = 1 << 20
	// templateSteps are the steps of a call of a template, besides those of what is in it. Each call
	// within another one takes memory until it returns.
	templateSteps = 256
)

func isTick(text []byte) bool { return len(text) > 0 && &text[0] == &ticks[0] }

func tick(steps int) *parse.TextNode {
	// It has no place in the template's text.
	return &parse.TextNode{NodeType: parse.NodeText, Pos: -1, Text: ticks[:min(max(steps, 1), maxTick)]}
}

// addTicks puts a tick at the start of a template and of each loop in it: how many steps the
// longest way through it takes, without the loops and templates in it, which have ticks of their
// own.
func addTicks(tree *parse.Tree) {
	if tree == nil || tree.Root == nil {
		return
	}
	var loops []*parse.ListNode
	walk(tree.Root, func(n parse.Node) {
		if loop, ok := n.(*parse.RangeNode); ok {
			loops = append(loops, loop.List)
		}
	})
	prepend(tree.Root, templateSteps+stepsOf(tree.Root))
	for _, list := range loops {
		prepend(list, stepsOf(list))
	}
}

func prepend(list *parse.ListNode, steps int) {
	list.Nodes = append([]parse.Node{tick(steps)}, list.Nodes...)
}

// stepsOf returns the steps of the longest way through a list.
func stepsOf(list *parse.ListNode) int {
	if list == nil {
		return 0
	}
	steps := 1
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.ActionNode:
			steps += partsOf(n.Pipe)
		case *parse.TemplateNode:
			steps += 1 + partsOf(n.Pipe)
		case *parse.RangeNode:
			steps += 1 + partsOf(n.Pipe) + stepsOf(n.ElseList)
		default:
			if b := branch(n); b != nil {
				steps += partsOf(b.Pipe) + max(stepsOf(b.List), stepsOf(b.ElseList))
			}
			steps++
		}
	}
	return steps
}

// partsOf returns the number of parts of an action: functions, their arguments, fields of fields.
func partsOf(n parse.Node) int {
	parts := 0
	walkPipe(n, func(n parse.Node) {
		switch n := n.(type) {
		case *parse.FieldNode:
			parts += len(n.Ident)
		case *parse.VariableNode:
			parts += len(n.Ident)
		case *parse.ChainNode:
			parts += len(n.Field)
		default:
			parts++
		}
	})
	return parts
}

// walkParts calls visit for each part of each action of a list and the lists below it.
func walkParts(list *parse.ListNode, visit func(parse.Node)) {
	walk(list, func(n parse.Node) {
		switch n := n.(type) {
		case *parse.ActionNode:
			walkPipe(n.Pipe, visit)
		case *parse.TemplateNode:
			walkPipe(n.Pipe, visit)
		default:
			if b := branch(n); b != nil {
				walkPipe(b.Pipe, visit)
			}
		}
	})
}

// walkPipe calls visit for a part of an action and the parts below it.
func walkPipe(n parse.Node, visit func(parse.Node)) {
	switch n := n.(type) {
	case *parse.PipeNode:
		if n == nil {
			return
		}
		visit(n)
		for _, each := range n.Decl {
			visit(each)
		}
		for _, c := range n.Cmds {
			for _, arg := range c.Args {
				walkPipe(arg, visit)
			}
		}
	case *parse.ChainNode:
		visit(n)
		walkPipe(n.Node, visit)
	default:
		visit(n)
	}
}
