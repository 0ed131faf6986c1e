package mailingfile

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// maxNodes is far more fields and values than a mailing has.
const maxNodes = 10_000

const tooMany = "is no mailing: there are too many fields and values"

// parse returns the mapping that the file is, or reports a fault and returns nil.
func (r *reader) parse(text string) *yaml.Node {
	decoder := yaml.NewDecoder(strings.NewReader(withoutVersion(text)))
	var root *yaml.Node
	for {
		var document yaml.Node
		switch err := decoder.Decode(&document); {
		case err == io.EOF:
			return r.mapping(root)
		case err != nil:
			r.syntax(err)
			return nil
		}
		switch body := document.Content[0]; {
		case isNull(body):
		case root != nil:
			r.fault(start(body), "a second document begins here: a file holds one mailing")
			return nil
		default:
			root = body
		}
	}
}

// withoutVersion turns a %YAML 1.2 directive into a comment: the parser knows version 1.1 only. The
// two versions do not differ in what a mailing file may hold.
func withoutVersion(text string) string {
	for _, version := range []string{"%YAML 1.2\n", "%YAML 1.1\n"} {
		if rest, ok := strings.CutPrefix(text, version); ok {
			return "#" + version[1:] + rest
		}
	}
	return text
}

func (r *reader) mapping(root *yaml.Node) *yaml.Node {
	switch {
	case root == nil:
		r.fault(place{}, "is empty: from, subject, list and content are needed")
	case root.Kind != yaml.MappingNode:
		r.fault(start(root), `is no mailing: it must be fields and their values, as in "subject: News"`)
	case count(root) > maxNodes:
		r.fault(place{}, tooMany)
	default:
		return root
	}
	return nil
}

// count returns the number of nodes in n, itself among them.
func count(n *yaml.Node) int {
	total := 1
	for _, each := range n.Content {
		total += count(each)
	}
	return total
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// start is where a node begins.
func start(n *yaml.Node) place { return place{line: n.Line, column: n.Column} }

// syntax reports an error of the parser in our words, at the place where the author can put it
// right.
func (r *reader) syntax(err error) {
	var syntax *yaml.LoadError
	switch {
	case !errors.As(err, &syntax):
		r.fault(place{}, "is not YAML: %s", oneLine(err.Error()))
	case strings.Contains(syntax.Message, "exceeded max depth"):
		r.fault(place{}, tooMany)
	default:
		at, message := r.explain(syntax)
		r.fault(at, "%s", message)
	}
}

const inQuotes = `a text that begins with { [ & * ! | > @ or %, or has ": " or " #" in it, must be in quotes`

func (r *reader) explain(e *yaml.LoadError) (place, string) {
	at, context := mark(e.Mark), mark(e.ContextMark)
	switch {
	case r.character(at) == '\t' || strings.Contains(e.Message, "tab character"):
		return at, "a tab stands here: YAML is indented with blanks only"
	case e.Message == "found character that cannot start any token":
		return at, fmt.Sprintf("a text must not begin with %c: put it in quotes", r.character(at))
	case e.ContextMsg == "while scanning a quoted scalar" && e.Message == "found unexpected end of stream":
		return context, "a quotation mark opens here, and none closes it"
	case e.Message == "found unknown escape character":
		return at, `is not an escape sequence of a text in "…": write \\ for a backslash, or put the text in '…'`
	case strings.HasPrefix(e.ContextMsg, "while parsing a flow"):
		bracket := r.openBracket(at)
		if at.line >= len(r.file.lines) && r.character(at) == 0 {
			return bracket, fmt.Sprintf("%c opens here, and nothing closes it: %s", r.character(bracket), inQuotes)
		}
		return bracket, fmt.Sprintf(
			"what begins here with %c is no list and no fields: %s",
			r.character(bracket),
			inQuotes,
		)
	case e.Message == "block sequence entries are not allowed in this context",
		e.Message == "mapping keys are not allowed in this context":
		return at, fmt.Sprintf(`a text must not begin with "%c ": put it in quotes`, r.character(at))
	case strings.HasPrefix(e.Message, "did not find expected") && r.isBehindQuotes(at):
		return at, `stands behind a text in quotes: put the whole value in quotes, as in '"Ann Lee" <ann@example.com>'. ` +
			`Within '…', an apostrophe is written twice`
	case e.Message == "mapping values are not allowed in this context":
		return at, `a second ": " stands in this value, or the line is indented too far: ` + inQuotes
	case e.Message == "could not find expected ':'":
		return context, `has no ": " after a field's name, as in "subject: News"`
	case strings.HasPrefix(e.Message, "unknown anchor"):
		return at, notPlain
	case e.Message == "did not find expected '-' indicator":
		return at, `is not an item of the list above: each item begins with "- ", all of them in the same column`
	case strings.HasPrefix(e.Message, "did not find expected"):
		return r.template(at), "is not a field and its value: " + inQuotes
	}
	return at, "is not YAML: " + oneLine(e.Message)
}

func mark(m yaml.Mark) place { return place{line: m.Line, column: m.Column} }

// character returns the character at a place of the file, or 0 where there is none.
func (r *reader) character(at place) rune {
	rest := r.file.from(at)
	c, size := utf8.DecodeRuneInString(rest)
	if size == 0 {
		return 0
	}
	return c
}

// from returns the rest of a line from a place on.
func (f *File) from(at place) string {
	if at.line < 1 || at.line > len(f.lines) || at.column < 1 {
		return ""
	}
	line := []rune(f.lines[at.line-1])
	return string(line[min(at.column-1, len(line)):])
}

// isBehindQuotes reports whether a quotation mark stands before a place, or before the blanks
// before it.
func (r *reader) isBehindQuotes(at place) bool {
	line := []rune(r.file.from(place{line: at.line, column: 1}))
	before := strings.TrimRight(string(line[:min(max(at.column-1, 0), len(line))]), " \t")
	return strings.HasSuffix(before, `"`) || strings.HasSuffix(before, `'`)
}

// template returns where the line's first {{ is, or else at: a template that is not in quotes is
// the commonest slip.
func (r *reader) template(at place) place {
	line := r.file.from(place{line: at.line, column: 1})
	if before, _, ok := strings.Cut(line, "{{"); ok {
		return place{line: at.line, column: utf8.RuneCountInString(before) + 1}
	}
	return at
}

// openBracket returns the last [ or { before a place that is still open there, or else the place.
func (r *reader) openBracket(at place) place {
	closed := 0
	for line := min(at.line, len(r.file.lines)); line >= 1; line-- {
		characters, before := []rune(r.file.lines[line-1]), closed
		if line == at.line {
			characters = characters[:min(at.column-1, len(characters))]
		}
		for i := len(characters) - 1; i >= 0; i-- {
			if i > 0 && characters[i] == '#' && (characters[i-1] == ' ' || characters[i-1] == '\t') {
				closed = before // what stands in a comment closes nothing
				continue
			}
			switch characters[i] {
			case ']', '}':
				closed++
			case '[', '{':
				if closed--; closed < 0 {
					return place{line: line, column: i + 1}
				}
			}
		}
	}
	return r.template(at)
}
