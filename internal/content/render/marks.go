package render

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template/parse"
)

// marks is a template whose actions are replaced by marks: letters and digits that occur nowhere in
// it.
type marks struct {
	html    strings.Builder
	prefix  string
	found   *regexp.Regexp
	actions []action
	open    int // structures seen so far

	hiddenNames map[string]bool // ".class", "#id", "tag.class" of elements that no client shows
	failed      error
}

// action is one {{…}} and where it belongs.
type action struct {
	code   string // without the braces
	value  bool   // prints something, and may be piped on
	kind   kind
	within []place // the branches it is in, outermost first
	at     place   // the branch that a control action begins
}

// place is a branch of a control structure: its number, and whether it is the one after else.
type place struct {
	structure int
	orElse    bool
}

type kind int

const (
	leaf kind = iota
	opening
	otherwise
	closing
)

func newMarks(template string) *marks {
	m := &marks{prefix: "dmq", hiddenNames: map[string]bool{}}
	for lower, n := strings.ToLower(template), 0; strings.Contains(lower, m.prefix); n++ {
		m.prefix = "dmq" + lettersOf(sha256.Sum256(fmt.Append(nil, n, template)))
	}
	m.found = regexp.MustCompile(m.prefix + `(\d+)([zuw])`)
	return m
}

// lettersOf returns the first octets of a hash as small letters.
func lettersOf(hash [sha256.Size]byte) string {
	letters := make([]byte, 12)
	for i := range letters {
		letters[i] = 'a' + hash[i]%16
	}
	return string(letters)
}

// The last letter of a mark says how its value is written.
const (
	asIs    = "z"
	asURL   = "u" // all of a URL, or its path
	asQuery = "w" // in a URL behind "?" or "#"
)

func (m *marks) add(a action) {
	fmt.Fprintf(&m.html, "%s%d%s", m.prefix, len(m.actions), asIs)
	m.actions = append(m.actions, a)
}

func (m *marks) flatten(list *parse.ListNode, within []place) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		if b := branch(n); b != nil {
			m.flattenBranch(n, b, within)
			continue
		}
		switch n := n.(type) {
		case *parse.TextNode:
			m.html.Write(n.Text)
		case *parse.ActionNode:
			m.add(action{code: n.Pipe.String(), value: len(n.Pipe.Decl) == 0, within: within})
		case *parse.CommentNode:
		default: // template, break, continue
			m.add(action{code: strings.TrimSuffix(strings.TrimPrefix(n.String(), "{{"), "}}"), within: within})
		}
	}
}

func (m *marks) flattenBranch(n parse.Node, b *parse.BranchNode, within []place) {
	word := "if"
	switch n.Type() {
	case parse.NodeRange:
		word = "range"
	case parse.NodeWith:
		word = "with"
	}
	m.open++
	first, second := place{structure: m.open}, place{m.open, true}
	m.add(action{code: word + " " + b.Pipe.String(), kind: opening, within: within, at: first})
	m.flatten(b.List, append(slices.Clip(within), first))
	if b.ElseList != nil {
		m.add(action{code: "else", kind: otherwise, within: within, at: second})
		m.flatten(b.ElseList, append(slices.Clip(within), second))
	}
	m.add(action{code: "end", kind: closing, within: within, at: first})
}

var noMark = regexp.MustCompile(`a^`) // matches nothing

// conditions returns the marks of a comment that print nothing, each in a comment of its own.
func (m *marks) conditions(comment string) string {
	var out strings.Builder
	for _, mark := range m.found.FindAllString(comment, -1) {
		if a := m.action(mark); !a.value && !strings.HasPrefix(a.code, "template ") {
			out.WriteString("<!--" + mark + "-->")
		}
	}
	return out.String()
}

// depth returns how many more conditions a text opens than it closes.
func (m *marks) depth(text string) (n int) {
	for _, mark := range m.found.FindAllString(text, -1) {
		switch m.action(mark).kind {
		case opening:
			n++
		case closing:
			n--
		}
	}
	return n
}

// sameActions replaces marks by their actions, so that two texts can be compared.
func (m *marks) sameActions(s string) string {
	return m.found.ReplaceAllStringFunc(strings.TrimSpace(s), func(mark string) string {
		return "{{" + m.action(mark).code + "}}"
	})
}

func (m *marks) escapeInURL(target string) string {
	var out strings.Builder
	end := 0
	for _, at := range m.found.FindAllStringIndex(target, -1) {
		how := asURL
		if strings.ContainsAny(target[:at[0]], "?#") {
			how = asQuery
		}
		out.WriteString(target[end : at[1]-1])
		out.WriteString(how)
		end = at[1]
	}
	return out.String() + target[end:]
}

func (m *marks) action(mark string) *action {
	i, _ := strconv.Atoi(mark[len(m.prefix) : len(mark)-1])
	return &m.actions[i]
}

var (
	errMoved  = errors.New("an {{if}}, {{range}} or {{with}} is torn apart by the conversion")
	errHidden = errors.New("an element is hidden by a condition or a value in its style")
)

// checkOrder makes sure that what is left of the actions still says the same: each in the branches
// where it was.
func (m *marks) checkOrder(text string) error {
	var stack []place
	for _, mark := range m.found.FindAllString(text, -1) {
		a := m.action(mark)
		switch a.kind {
		case otherwise, closing:
			top := len(stack) - 1
			if top < 0 || stack[top].structure != a.at.structure {
				return errMoved
			}
			if stack = stack[:top]; !slices.Equal(stack, a.within) {
				return errMoved
			}
			if a.kind == otherwise {
				stack = append(stack, a.at)
			}
		default:
			if !slices.Equal(stack, a.within) {
				return errMoved
			}
			if a.kind == opening {
				stack = append(stack, a.at)
			}
		}
	}
	if len(stack) > 0 {
		return errMoved
	}
	return nil
}

// restore puts the actions back in place of their marks.
func (m *marks) restore(text string) string {
	var out strings.Builder
	end := 0
	for _, at := range m.found.FindAllStringIndex(text, -1) {
		out.WriteString(literal(text[end:at[0]]))
		mark := text[at[0]:at[1]]
		a := m.action(mark)
		out.WriteString("{{" + a.code)
		if a.value {
			switch mark[len(mark)-1:] {
			case asURL:
				out.WriteString(" | " + urlFunc)
			case asQuery:
				out.WriteString(" | urlquery")
			}
		}
		out.WriteString("}}")
		end = at[1]
	}
	return out.String() + literal(text[end:])
}

// literal keeps two braces that the HTML wrote as entities from being an action.
func literal(s string) string { return strings.ReplaceAll(s, "{{", `{{"{{"}}`) }

// urlFunc is the template function that escapes what no URL may hold, and leaves its delimiters.
const urlFunc = "_url"

func normalURL(value string) string {
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c <= ' ', c >= 0x7F, strings.IndexByte("\"'<>\\^`{|}()", c) >= 0:
			fmt.Fprintf(&b, "%%%02X", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
