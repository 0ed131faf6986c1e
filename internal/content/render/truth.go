package render

import (
	"strings"
	texttemplate "text/template"
	"text/template/parse"
	"time"

	"directmailer/internal/audience/field"
)

// Fields of a file are text. Fields of a query may be numbers and booleans too, and lists. One rule
// holds for both, in if, with, and, or, not and the comparisons:
//
//   - Blanks around a text do not count.
//   - A value is false when it is empty, zero, or a word for no (see [noWords]).
//   - Two values that both read as numbers are compared as numbers. So are two dates (2026-01-31),
//     and two times of day.
//   - Everything else is compared as text. A text with a digit in it is neither less nor greater
//     than another: such a comparison fails the recipient. So does a comparison with a number or
//     a date in another notation, such as 1.234,50 or 31.01.2026, unless it is certainly false.

// noWords and yesWords are what people, spreadsheets and databases write for no and for yes: the
// words of the languages of Europe, those of Excel, and marks for "nothing". A word that is missing
// here gives somebody an offer who must not have it. A name that is here only needs default.
var (
	noWords = wordSet(`no n false f off none null nil n/a - – — unchecked
		nein falsch non faux falso não nao nee onwaar nej nei falsk falskt usant usann ei epätosi
		nie fałsz falsz ne nepravda nem hamis nu fals hayır hayir yanlış yanliş нет ложь ні неправда όχι ψευδές`)
	yesWords = wordSet(`yes y true t on checked
		ja wahr oui vrai sí si sì sim verdadero vero verdadeiro waar sand sann sant kyllä tosi
		tak prawda ano áno pravda igen igaz da adevărat evet doğru да истина так правда ναι αληθές`)
)

// noBytes are the octets that words for no begin with. longestNo is the length of the longest.
var noBytes, longestNo = func() (first [256]bool, longest int) {
	for word := range noWords {
		first[word[0]], first[strings.ToUpper(word)[0]] = true, true
		longest = max(longest, len(word))
	}
	return first, longest
}()

// truth tells whether a value counts as true in a condition.
func truth(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case time.Time:
		return !v.IsZero()
	case moment:
		return !v.at.IsZero()
	case string:
		return textTruth(v)
	}
	if n, ok := goNumber(v); ok {
		return n.sign() != 0
	}
	if s, ok := textValue(v); ok {
		return textTruth(s)
	}
	yes, _ := texttemplate.IsTrue(v)
	return yes
}

func textTruth(s string) bool {
	s = field.Trim(s)
	if s == "" || noBytes[s[0]] && len(s) <= longestNo && noWords[strings.ToLower(s)] {
		return false
	}
	// A text without a zero, or with another digit, is no zero.
	if strings.IndexByte(s, '0') < 0 || strings.ContainsAny(s, "123456789") {
		return true
	}
	if n, ok := parseNumber(s); ok {
		return n.sign() != 0
	}
	for _, n := range otherNotations(s) {
		if n.sign() == 0 { // 0,00 or 0 %
			return false
		}
	}
	return true
}

// orNothing returns a value that counts as true, and nothing for one that does not.
func orNothing(v any) any {
	if truth(v) {
		return v
	}
	return ""
}

// The template functions that this package adds to conditions and loops.
const (
	truthFunc = "_true" // orNothing
	listFunc  = "_list" // listOrNothing
)

// listOrNothing returns a value that a loop goes through: nothing for an empty text, as a query
// gives for NULL.
func listOrNothing(v any) (any, error) {
	s, isText := v.(string)
	switch {
	case isText && field.Trim(s) == "":
		return []any(nil), nil
	case isText:
		return nil, errNoList
	}
	return v, nil
}

var errNoList = &valueError{reason: "range needs a list: make one of a text with splitList, as in " +
	"(splitList \",\" .tags)"}

// applyTruth has if, with, and, or and not follow this package's rule for truth: it puts a call of
// truthFunc behind what they test. Behind what range goes through, it puts listFunc.
func applyTruth(t *parse.Tree) {
	walk(root(t), func(n parse.Node) {
		switch n := n.(type) {
		case *parse.IfNode:
			n.Pipe = tested(n.Pipe)
		case *parse.WithNode:
			n.Pipe = tested(n.Pipe)
		case *parse.RangeNode:
			testOperands(n.Pipe)
			n.Pipe.Cmds = listed(n.Pipe)
		case *parse.ActionNode:
			testOperands(n.Pipe)
		case *parse.TemplateNode:
			testOperands(n.Pipe)
		}
	})
}

// tested returns a pipeline that ends in truthFunc. The variable that it declares has the same
// value.
func tested(p *parse.PipeNode) *parse.PipeNode {
	testOperands(p)
	p.Cmds = append(p.Cmds, call(p.Pos, truthFunc))
	return p
}

// listed returns the commands of a loop's pipeline with listFunc behind them. A single value
// becomes its argument, so that an error names the value.
func listed(p *parse.PipeNode) []*parse.CommandNode {
	if last := p.Cmds[len(p.Cmds)-1]; len(p.Cmds) == 1 && len(last.Args) == 1 {
		if _, isFunction := last.Args[0].(*parse.IdentifierNode); !isFunction {
			return []*parse.CommandNode{call(p.Pos, listFunc, last.Args[0])}
		}
	}
	return append(p.Cmds, call(p.Pos, listFunc))
}

// testOperands puts truthFunc behind the operands of and, or and not.
func testOperands(p *parse.PipeNode) {
	if p == nil {
		return
	}
	var cmds []*parse.CommandNode
	for i, c := range p.Cmds {
		for _, arg := range c.Args {
			switch arg := arg.(type) {
			case *parse.PipeNode:
				testOperands(arg)
			case *parse.ChainNode:
				if inner, ok := arg.Node.(*parse.PipeNode); ok {
					testOperands(inner)
				}
			}
		}
		name, ok := c.Args[0].(*parse.IdentifierNode)
		if ok && (name.Ident == "and" || name.Ident == "or" || name.Ident == "not") {
			for j, arg := range c.Args[1:] {
				c.Args[1+j] = operand(arg)
			}
			if i > 0 {
				cmds = append(cmds, call(c.Pos, truthFunc))
			}
		}
		cmds = append(cmds, c)
	}
	p.Cmds = cmds
}

func operand(n parse.Node) parse.Node {
	at := n.Position()
	return &parse.PipeNode{NodeType: parse.NodePipe, Pos: at, Cmds: []*parse.CommandNode{call(at, truthFunc, n)}}
}
