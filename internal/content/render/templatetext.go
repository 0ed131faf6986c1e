package render

import (
	"errors"
	htmltemplate "html/template"
	"regexp"
	"sort"
	"strconv"
	"strings"
	texttemplate "text/template"
	"text/template/parse"
	"unicode/utf8"
)

// templateText is the text of a template as its author wrote it. It finds the line and column of an
// octet, and of an error of the template packages.
type templateText struct {
	original string
	compiled string // what the parser gets: a part of original
	start    int    // where that part begins
}

// newTemplateText makes each line end LF or CRLF. Some editors and file transfers write CR CR LF,
// and old files have CR alone.
func newTemplateText(text string) *templateText {
	text = lineEnds(text)
	return &templateText{original: text, compiled: text}
}

// lineEnds returns a text whose lines end in LF or CRLF.
func lineEnds(text string) string {
	if !strings.Contains(text, "\r") {
		return text
	}
	var b strings.Builder
	b.Grow(len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '\r' {
			b.WriteByte(text[i])
			continue
		}
		end := i
		for end < len(text) && text[end] == '\r' {
			end++
		}
		switch {
		case end < len(text) && text[end] == '\n': // any number of CR before an LF is one line end
			b.WriteString("\r\n")
			i = end
		default: // each CR is one
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// offset returns where a line (from 1) and an octet in it (from 0) are in the compiled template.
func (s *templateText) offset(line, column int) int {
	start := 0
	for ; line > 1; line-- {
		i := strings.IndexByte(s.compiled[start:], '\n')
		if i < 0 {
			break
		}
		start += i + 1
	}
	return min(start+column, len(s.compiled))
}

// at returns line and column in the original, from 1 and in characters, of an offset in the
// compiled template.
func (s *templateText) at(offset int) (line, column int) {
	before := s.original[:min(max(offset+s.start, 0), len(s.original))]
	return 1 + strings.Count(before, "\n"), 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
}

// "template: NAME:LINE: TEXT", "html/template:NAME:LINE:COLUMN: TEXT", "html/template:NAME: TEXT"
var located = regexp.MustCompile(`^(?:html/)?template: ?[^:\s]*(?::(\d+))?(?::(\d+))?: `)

// syntax turns an error of a template's parser or of html/template's escaper into a Problem.
func (s *templateText) syntax(field string, err error) *Problem {
	text := err.Error()
	p := &Problem{Field: field, Message: text}
	m := located.FindStringSubmatch(text)
	if m == nil {
		return p
	}
	p.Message = explain(text[len(m[0]):])
	line, _ := strconv.Atoi(m[1])
	switch {
	case m[2] != "":
		column, _ := strconv.Atoi(m[2])
		p.Line, p.Column = s.at(s.offset(line, column))
	case line > 0:
		p.Line, p.Column = s.at(s.faulty(line, text[len(m[0]):]))
	}
	return p
}

var undefined = regexp.MustCompile(`^function "(\w+)" not defined$`)

// explain replaces the least helpful texts of the template packages.
func explain(s string) string {
	if i := strings.Index(s, " branches end in different contexts"); i >= 0 {
		return s[:i] + " branches end in different contexts (one leaves a tag, an attribute or a comment open)"
	}
	if m := undefined.FindStringSubmatch(s); m != nil {
		return s + ": a field is written with a dot, {{." + m[1] + "}}"
	}
	switch {
	case strings.HasSuffix(s, "unexpected EOF"):
		return s + " (an {{if}}, {{range}}, {{with}} or {{define}} without its {{end}}?)"
	case strings.HasPrefix(s, "ends in a non-text context"):
		return "ends within a tag, an attribute, a comment, a script or a style"
	case strings.Contains(s, "in unquoted attr"):
		return s + ": put the value of the attribute in quotes"
	}
	return s
}

// faulty returns the offset of the action that the parser's error is about. The parser names a line
// only, and the line of the template's end for an action that is not closed by an {{end}}.
func (s *templateText) faulty(line int, message string) int {
	text := s.compiled
	if strings.HasSuffix(message, "unexpected EOF") {
		return s.unended()
	}
	// The parser stops at the first fault: it is in the last action of the shortest text that has
	// it.
	var ends []int
	for at := s.offset(line, 0); ; {
		i := strings.Index(text[at:], "}}")
		if i < 0 {
			break
		}
		at += i + 2
		ends = append(ends, at)
	}
	end := len(text)
	if i := sort.Search(len(ends), func(i int) bool { return parseError(text[:ends[i]]) == message }); i < len(ends) {
		end = ends[i]
	}
	return max(strings.LastIndex(text[:end], "{{"), 0)
}

// unended returns the offset of the innermost action that lacks its {{end}}.
func (s *templateText) unended() int {
	var open []int
	for _, m := range blockWord.FindAllStringSubmatchIndex(s.compiled, -1) {
		switch word := s.compiled[m[2]:m[3]]; {
		case word != "end":
			open = append(open, m[0])
		case len(open) > 0:
			open = open[:len(open)-1]
		}
	}
	if len(open) == 0 {
		return max(strings.LastIndex(s.compiled, "{{"), 0)
	}
	return open[len(open)-1]
}

var blockWord = regexp.MustCompile(`\{\{(?:- )?\s*(if|range|with|define|block|end)\b`)

// parseError returns the parser's message for a text, without its place; "" when there is none.
func parseError(text string) string {
	_, err := texttemplate.New("").Funcs(functions(false)).Parse(text)
	if err == nil {
		return ""
	}
	return located.ReplaceAllString(err.Error(), "")
}

// unplaced returns the offset of the text that html/template's error is about. Of some errors it
// tells neither line nor column. They come while it reads the template's own text from the
// beginning, so the error is still there when the text behind the fault is taken away: the search
// is for the shortest such text.
func (s *templateText) unplaced(fault *htmltemplate.Error) int {
	low, high := 0, len(s.compiled)
	for low < high {
		middle := (low + high) / 2
		if s.fails(middle, fault.ErrorCode) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return max(high-1, 0)
}

// fails tells whether the template has an error of a kind without the text behind an offset.
func (s *templateText) fails(end int, code htmltemplate.ErrorCode) bool {
	t, err := parseHTML(s)
	if err != nil {
		return false
	}
	for _, each := range t.Templates() {
		walk(root(each.Tree), func(n parse.Node) {
			if text, ok := n.(*parse.TextNode); ok {
				text.Text = text.Text[:min(max(end-int(text.Pos), 0), len(text.Text))]
			}
		})
	}
	h := newHTMLPart(s, t)
	h.cover()
	var fault *htmltemplate.Error
	return errors.As(h.escape(), &fault) && fault.ErrorCode == code && fault.Line == 0 && fault.Node == nil
}

func root(t *parse.Tree) *parse.ListNode {
	if t == nil {
		return nil
	}
	return t.Root
}
