package render

import (
	htmltemplate "html/template"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// source is a template as its author wrote it and as it is compiled, so that errors name the author's lines and columns.
type source struct {
	original, compiled string
	edits              []edit // in order
}

// edit says which octets of the compiled template stand for which of the original.
type edit struct {
	at, length       int
	oldAt, oldLength int
}

func plainSource(text string) *source { return &source{original: text, compiled: text} }

// offset returns where a line (from 1) and an octet in it (from 0) are in the compiled template.
func (s *source) offset(line, column int) int {
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

// at returns line and column in the original, from 1 and in characters, of an offset in the compiled template.
func (s *source) at(offset int) (line, column int) {
	shift := 0
	for _, e := range s.edits {
		if offset < e.at {
			break
		}
		if offset < e.at+e.length {
			shift = e.oldAt - offset
			break
		}
		shift = e.oldAt + e.oldLength - e.at - e.length
	}
	before := s.original[:min(max(offset+shift, 0), len(s.original))]
	return 1 + strings.Count(before, "\n"), 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
}

// "template: NAME:LINE: TEXT", "html/template:NAME:LINE:COLUMN: TEXT", "html/template:NAME: TEXT"
var located = regexp.MustCompile(`^(?:html/)?template: ?[^:\s]*(?::(\d+))?(?::(\d+))?: `)

// syntax turns an error of a template's parser or escaper into a Problem.
func (s *source) syntax(field string, err error) *Problem {
	text := err.Error()
	p := &Problem{Field: field, Message: text}
	m := located.FindStringSubmatch(text)
	if m == nil {
		return p
	}
	p.Message = text[len(m[0]):]
	p.Message = explain(p.Message)
	line, _ := strconv.Atoi(m[1])
	if line == 0 {
		return p
	}
	column, known := s.guess(line), false
	if m[2] != "" {
		column, _ = strconv.Atoi(m[2])
		known = true
	}
	p.Line, p.Column = s.at(s.offset(line, max(column, 0)))
	if !known && column < 0 {
		p.Column = 0
	}
	return p
}

// explain puts the least helpful words of the template packages in others.
func explain(s string) string {
	switch {
	case strings.HasSuffix(s, "unexpected EOF"):
		return s + " (an {{if}}, {{range}}, {{with}} or {{define}} without its {{end}}?)"
	case strings.HasPrefix(s, "ends in a non-text context"):
		return "ends within a tag, an attribute, a comment, a script or a style"
	}
	if i := strings.Index(s, " branches end in different contexts"); i >= 0 {
		return s[:i] + " branches end in different contexts (one leaves a tag, an attribute or a comment open)"
	}
	return s
}

// guess returns the octet of the one action that begins on a line, since the parser names lines only; -1 when there are
// several, or none.
func (s *source) guess(line int) int {
	text, _, _ := strings.Cut(s.compiled[s.offset(line, 0):], "\n")
	if strings.Count(text, "{{") != 1 {
		return -1
	}
	return strings.Index(text, "{{")
}

// literalFunc is the template function that stands for a conditional comment.
const literalFunc = "_literal"

// literals are pieces of the author's HTML that html/template would drop.
type literals []string

// at returns a piece. It can give nothing but the author's own words, so a template that calls it does no harm.
func (l *literals) at(i int) htmltemplate.HTML {
	if i < 0 || i >= len(*l) {
		return ""
	}
	return htmltemplate.HTML((*l)[i])
}

// conditional matches the delimiters of Outlook's conditional comments, hidden and revealed. What is between them is
// left to html/template, so that values in it are escaped as anywhere.
var conditional = regexp.MustCompile(`(?i)<!--\s*\[if\s[^\]]*\]>(?:\s*<!-->|\s*-->)?|(?:<!--\s*)?<!\[endif\]-->`)

// shelterComments replaces conditional comments, which html/template takes for comments and drops, by calls of
// literalFunc.
func shelterComments(text string) (*source, *literals) {
	s, kept := &source{original: text}, &literals{}
	var b strings.Builder
	end := 0
	for _, m := range conditional.FindAllStringIndex(text, -1) {
		b.WriteString(text[end:m[0]])
		call := "{{" + literalFunc + " " + strconv.Itoa(len(*kept)) + strings.Repeat("\n", strings.Count(text[m[0]:m[1]], "\n")) + "}}"
		s.edits = append(s.edits, edit{at: b.Len(), length: len(call), oldAt: m[0], oldLength: m[1] - m[0]})
		b.WriteString(call)
		*kept = append(*kept, text[m[0]:m[1]])
		end = m[1]
	}
	b.WriteString(text[end:])
	s.compiled = b.String()
	return s, kept
}
