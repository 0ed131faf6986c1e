package render

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	texttemplate "text/template"
	"text/template/parse"
	"time"
)

// Fields of a file are text. Fields of a query may be numbers, booleans and times. The rule for
// both, in if, with, and, or, not and the comparisons:
//
//   - Blanks around a text do not count.
//   - A value is false when it is empty, zero, or a word for no (see [noWords]).
//   - Two values that both read as numbers are compared as numbers. Two dates (2026-01-31) are
//     compared as dates.
//   - Everything else is compared as text. A text is not less or greater than a number or a date:
//     such a comparison fails the recipient.

// noWords and yesWords are what people, spreadsheets and databases write for no and for yes.
var (
	noWords  = wordSet("no n false f off nein falsch non faux falso não nao")
	yesWords = wordSet("yes y true t on ja wahr oui vrai sí si verdadero sì vero sim verdadeiro")
)

// truth tells whether a value counts as true in a condition.
func truth(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case time.Time:
		return !v.IsZero()
	case string:
		return textTruth(v)
	}
	if n, ok := numberOf(v); ok {
		return !n.zero()
	}
	if s, ok := textValue(v); ok {
		return textTruth(s)
	}
	yes, _ := texttemplate.IsTrue(v)
	return yes
}

func textTruth(s string) bool {
	s = strings.TrimSpace(s)
	if len(s) == 0 {
		return false
	}
	if c := s[0]; c <= '9' { // a digit, a sign or a point
		if n, ok := parseNumber(s); ok {
			return !n.zero()
		}
		return true
	}
	return len(s) > len("falsch") || !noWords[strings.ToLower(s)]
}

// orNothing returns a value that counts as true, and nothing for one that does not.
func orNothing(v any) any {
	if truth(v) {
		return v
	}
	return ""
}

// truthFunc is the template function orNothing.
const truthFunc = "_true"

// applyTruth has if, with, and, or and not follow this package's rule for truth: it puts a call of
// truthFunc behind what they test.
func applyTruth(t *parse.Tree) {
	walk(root(t), func(n parse.Node) {
		switch n := n.(type) {
		case *parse.IfNode:
			n.Pipe = tested(n.Pipe)
		case *parse.WithNode:
			n.Pipe = tested(n.Pipe)
		case *parse.RangeNode:
			testOperands(n.Pipe)
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

// num is a number without loss: a small integer, or any other as a fraction.
type num struct {
	small int64
	big   *big.Rat // nil: small
}

func (n num) zero() bool { return n.big == nil && n.small == 0 || n.big != nil && n.big.Sign() == 0 }

func (n num) rat() *big.Rat {
	if n.big != nil {
		return n.big
	}
	return new(big.Rat).SetInt64(n.small)
}

func (n num) compare(m num) int {
	if n.big == nil && m.big == nil {
		return cmp.Compare(n.small, m.small)
	}
	return n.rat().Cmp(m.rat())
}

// value returns the number as an int64, or as a float64 when it has a fraction or is larger.
func (n num) value() any {
	if n.big == nil {
		return n.small
	}
	f, _ := n.big.Float64()
	return f
}

// numeral is a number as people and databases write it. Separators of thousands and a comma for the
// point are not taken: 1,234 is one number to some and another to others.
var (
	numeral      = regexp.MustCompile(`^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,2})?$`)
	plainNumeral = regexp.MustCompile(`^-?(?:0|[1-9]\d*)(?:\.\d+)?$`)
)

// maxNumeral is the length of the longest text that is read as a number.
const maxNumeral = 100

// numeric tells whether a text begins as a number does.
func numeric(s string) bool {
	return s != "" && (s[0] >= '0' && s[0] <= '9' || s[0] == '-' || s[0] == '+' || s[0] == '.')
}

func parseNumber(s string) (num, bool) {
	if !numeric(s) || len(s) > maxNumeral || !numeral.MatchString(s) {
		return num{}, false
	}
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return num{small: i}, true
	}
	r, ok := new(big.Rat).SetString(s)
	return num{big: r}, ok
}

// numberOf reads a value as a number: a number of Go, or a text that is one.
func numberOf(v any) (num, bool) {
	if n, ok := goNumber(v); ok {
		return n, true
	}
	s, ok := textValue(v)
	if !ok {
		return num{}, false
	}
	return parseNumber(strings.TrimSpace(s))
}

func goNumber(v any) (num, bool) {
	switch v := v.(type) {
	case int:
		return num{small: int64(v)}, true
	case int8:
		return num{small: int64(v)}, true
	case int16:
		return num{small: int64(v)}, true
	case int32:
		return num{small: int64(v)}, true
	case int64:
		return num{small: v}, true
	case uint, uint8, uint16, uint32, uint64:
		return parseNumber(fmt.Sprint(v))
	case float32:
		return floatNumber(float64(v), 32)
	case float64:
		return floatNumber(v, 64)
	case json.Number:
		return parseNumber(v.String())
	case *big.Rat:
		return num{big: v}, true
	case *big.Int:
		return num{big: new(big.Rat).SetInt(v)}, true
	}
	return num{}, false
}

// floatNumber takes a float as it is written: 0.1 is a tenth.
func floatNumber(f float64, bits int) (num, bool) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return num{}, false
	}
	if i := int64(f); float64(i) == f && math.Abs(f) < 1<<53 {
		return num{small: i}, true
	}
	r, ok := new(big.Rat).SetString(strconv.FormatFloat(f, 'g', -1, bits))
	return num{big: r}, ok
}

// textValue reads a value as text: a text, or what writes itself as one. Numbers, booleans and
// times are none.
func textValue(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case nil:
		return "", true
	case []byte:
		return string(v), true
	case time.Time, *big.Rat, *big.Int, json.Number:
		return "", false
	case fmt.Stringer:
		return v.String(), true
	}
	return "", false
}

// dateLayouts are the forms of a date and a time that are read. A text without a zone is in UTC.
var dateLayouts = []string{
	time.DateOnly, "2006-01-02 15:04", time.DateTime, "2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339,
	"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z07",
}

// dateOf reads a value as a date or a time.
func dateOf(v any) (time.Time, bool) {
	if t, ok := v.(time.Time); ok {
		return t, true
	}
	s, ok := textValue(v)
	if s = strings.TrimSpace(s); !ok || len(s) < len(time.DateOnly) || len(s) > 40 || s[4] != '-' {
		return time.Time{}, false
	}
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// wordOf reads a value as yes or no.
func wordOf(v any) (yes, ok bool) {
	switch v := v.(type) {
	case bool:
		return v, true
	case string:
		s := strings.ToLower(strings.TrimSpace(v))
		return yesWords[s], yesWords[s] || noWords[s]
	}
	return false, false
}

// equal compares two values by this package's rule.
func equal(a, b any) bool {
	x, isBool := a.(bool)
	y, bothBool := b.(bool)
	switch {
	case isBool && bothBool:
		return x == y
	case isBool:
		return equalsBool(b, x)
	case bothBool:
		return equalsBool(a, y)
	}
	if m, n, ok := bothNumbers(a, b); ok {
		return m.compare(n) == 0
	}
	if s, ok := dateOf(a); ok {
		if t, ok := dateOf(b); ok {
			return s.Equal(t)
		}
	}
	s, t := strings.TrimSpace(printed(a)), strings.TrimSpace(printed(b))
	if s == t {
		return true
	}
	_, isWord := wordOf(s)
	return isWord && strings.EqualFold(s, t) // TRUE of a spreadsheet is true
}

func equalsBool(v any, want bool) bool {
	if n, ok := numberOf(v); ok {
		return !n.zero() == want
	}
	yes, ok := wordOf(v)
	return ok && yes == want
}

// bothNumbers reads two values as numbers. Two texts must look like numbers: 007 is the number 7
// where it is compared with 7, and a text where it is compared with "7", as the code of an article
// is.
func bothNumbers(a, b any) (m, n num, ok bool) {
	m, ok1 := goNumber(a)
	n, ok2 := goNumber(b)
	switch {
	case ok1 && ok2:
		return m, n, true
	case ok1:
		n, ok = numberOf(b)
		return m, n, ok
	case ok2:
		m, ok = numberOf(a)
		return m, n, ok
	}
	s, ok1 := textValue(a)
	t, ok2 := textValue(b)
	s, t = strings.TrimSpace(s), strings.TrimSpace(t)
	if !ok1 || !ok2 || !numeric(s) || !numeric(t) || !plainNumeral.MatchString(s) || !plainNumeral.MatchString(t) {
		return m, n, false
	}
	m, ok1 = parseNumber(s)
	n, ok2 = parseNumber(t)
	return m, n, ok1 && ok2
}

var (
	errNoOrder = &valueError{reason: "only two numbers, two dates (2026-01-31) or two texts can be compared, " +
		"and a value here is of another kind: a number has digits and a point, without a separator of thousands"}
	errEmptyOrder = &valueError{reason: "an empty value is compared with a number or a date: " +
		"use default, as in (default 0 .points)"}
	errOperand = errors.New("missing argument for comparison")
)

// order compares two values by this package's rule. The error says why they cannot be compared.
func order(a, b any) (int, error) {
	m, isNumber := numberOf(a)
	n, bothNumbers := numberOf(b)
	if isNumber && bothNumbers {
		return m.compare(n), nil
	}
	s, isDate := dateOf(a)
	t, bothDates := dateOf(b)
	if isDate && bothDates {
		return s.Compare(t), nil
	}
	x, isText := textValue(a)
	y, bothTexts := textValue(b)
	x, y = strings.TrimSpace(x), strings.TrimSpace(y)
	switch {
	case isText && x == "" && (bothNumbers || bothDates), bothTexts && y == "" && (isNumber || isDate):
		return 0, errEmptyOrder
	case isNumber || bothNumbers || isDate || bothDates || !isText || !bothTexts:
		return 0, errNoOrder
	case equal(x, y):
		return 0, nil
	}
	return strings.Compare(x, y), nil
}

// comparisons are the template functions that compare.
var comparisons = map[string]any{
	truthFunc: orNothing,
	"not":     func(v any) bool { return !truth(v) },
	"eq": func(a any, others ...any) (bool, error) {
		if len(others) == 0 {
			return false, errOperand
		}
		for _, b := range others {
			if equal(a, b) {
				return true, nil
			}
		}
		return false, nil
	},
	"ne": func(a, b any) bool { return !equal(a, b) },
	"lt": ordered(func(c int) bool { return c < 0 }),
	"le": ordered(func(c int) bool { return c <= 0 }),
	"gt": ordered(func(c int) bool { return c > 0 }),
	"ge": ordered(func(c int) bool { return c >= 0 }),
}

func ordered(holds func(int) bool) func(a, b any) (bool, error) {
	return func(a, b any) (bool, error) {
		c, err := order(a, b)
		return err == nil && holds(c), err
	}
}

// printed returns values as print does, a single text as it is.
func printed(args ...any) string {
	if len(args) == 1 {
		switch v := args[0].(type) {
		case string:
			return v
		case nil:
			return ""
		case time.Time:
			return printedTime(v)
		}
	}
	return fmt.Sprint(args...)
}

// printedTime is a date where the time of day is midnight.
func printedTime(t time.Time) string {
	if t.Hour() == 0 && t.Minute() == 0 && t.Second() == 0 && t.Nanosecond() == 0 {
		return t.Format(time.DateOnly)
	}
	return t.Format("2006-01-02 15:04:05")
}
