package render

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"text/template/parse"
)

// rawElements are the elements in which no tag and no comment begins.
var rawElements = []string{"style", "script", "title", "textarea", "xmp", "iframe", "noembed", "noframes"}

// text reads one text. next is the node behind it in its list, nil at the list's end.
func (r *markupReader) text(n *parse.TextNode, next parse.Node, s markupState) markupState {
	_, seen := r.spans[n]
	spans, signs := []span{}, []span{}
	hide := func(from, to int) { spans = append(spans, span{from, to}) }
	for i := 0; i < len(n.Text); {
		rest := n.Text[i:]
		var length int
		switch s.mode {
		case inText:
			length = r.running(n, i, next, &s)
			if s.own() || length > 0 && n.Text[i] == '<' && s.mode == inText && declares(rest) {
				hide(i, i+length)
			} else if length == 1 && n.Text[i] == '<' && s.mode == inText {
				signs = append(signs, span{i, i + 1})
			}
		case inComment:
			length = commentEnd(rest)
			if length == 0 {
				length = len(rest)
			} else {
				s = markupState{hidden: s.hidden}
			}
			hide(i, i+length)
		case inDeclaration:
			if length = bytes.IndexByte(rest, '>') + 1; length == 0 {
				length = len(rest)
			} else {
				s = markupState{hidden: s.hidden && !endsCondition(rest[:length])}
			}
			hide(i, i+length)
		case inRaw:
			length = r.rawText(n, i, &s)
		default:
			length = s.tag(rest)
		}
		i += length
	}
	if len(signs) > maxSigns {
		spans = append(spans, signs...)
	}
	if seen && !slices.Equal(spans, r.spans[n]) {
		r.report(n.Pos, "the template is used in running text and within a tag, and holds a comment: write it twice")
	}
	r.spans[n] = spans
	return s
}

// maxSigns is how many "<" of a text that begin no tag html/template may see. It takes time by the
// length of the rest of the text for each.
const maxSigns = 100

// declares tells whether a text begins with a comment or a declaration.
func declares(b []byte) bool {
	return len(b) > 1 && (b[1] == '!' || b[1] == '?' || b[1] == '/' && len(b) > 2 && !letter(b[2]) && b[2] != '>')
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// running reads running text from an octet on, up to the next "<" or one piece of markup that
// begins there. It returns the length.
func (r *markupReader) running(n *parse.TextNode, at int, next parse.Node, s *markupState) int {
	rest := n.Text[at:]
	if i := bytes.IndexByte(rest, '<'); i != 0 {
		if i < 0 {
			i = len(rest)
		}
		return i
	}
	opened := n.Pos + parse.Pos(at)
	begin := func(m mode) int {
		s.mode, s.opened, s.raw = m, opened, ""
		return len(rest)
	}
	switch {
	case n != r.last && torn.Match(rest):
		return r.torn(n, next, opened, rest)
	case bytes.HasPrefix(rest, []byte("<!--")):
		length, open, conditional := comment(rest, r.plain)
		s.hidden = s.hidden || conditional
		if open {
			return begin(inComment)
		}
		s.hidden = s.hidden && !endsCondition(rest[:length])
		return length
	case declares(rest):
		length := bytes.IndexByte(rest, '>') + 1
		if length == 0 {
			return begin(inDeclaration)
		}
		s.hidden = s.hidden && !endsCondition(rest[:length])
		return length
	}
	start := bytes.TrimPrefix(rest[1:], []byte("/"))
	if len(start) == 0 || !letter(start[0]) {
		return 1
	}
	name := start
	if end := bytes.IndexAny(name, " \t\n\f\r/>"); end >= 0 {
		name = name[:end]
	}
	length := len(rest) - len(start) + len(name)
	begin(inTag)
	if element := strings.ToLower(string(name)); rest[1] != '/' && slices.Contains(rawElements, element) {
		s.raw = element
	}
	return length
}

// torn handles a text that ends in the first octets of a tag, with an action behind them. A value
// there must not become a tag, so html/template's "&lt;" stays. With a condition there the author
// means a tag.
func (r *markupReader) torn(n *parse.TextNode, next parse.Node, opened parse.Pos, rest []byte) int {
	_, isValue := next.(*parse.ActionNode)
	if next != nil && (!isValue || len(rest) > 1 && rest[1] == '/') {
		r.report(opened, "%q stands before an action: write the whole tag, in each branch of the condition", rest)
	}
	r.lone[n] = true
	return len(rest)
}

var (
	torn         = regexp.MustCompile(`^<(?:/|!-?)?$`)
	condition    = regexp.MustCompile(`(?i)^<!--\s*\[\s*if\b[^\]>]*\]\s*>`)
	conditionEnd = regexp.MustCompile(`(?i)<!?\s*\[\s*endif\s*\]`)
	innerComment = regexp.MustCompile(`^\s*(?:<!--|--!?>)`)
)

func endsCondition(b []byte) bool { return conditionEnd.Match(b) }

// comment measures the comment that a text begins with. Of a conditional comment it is only the
// part before the first octet that Outlook reads as HTML. open tells that the comment does not end
// in the text. With plain every comment is one as a whole.
func comment(b []byte, plain bool) (length int, open, hidden bool) {
	if head := condition.Find(b); head != nil && !plain {
		if !innerComment.Match(b[len(head):]) {
			return len(head), false, true
		}
		// <!--[if !mso]><!--> and its like: all clients show what follows.
		if end := commentEnd(b[len(head):]); end > 0 {
			return len(head) + end, false, false
		}
		return len(b), true, false
	}
	for _, whole := range []string{"<!-->", "<!--->"} {
		if bytes.HasPrefix(b, []byte(whole)) {
			return len(whole), false, false
		}
	}
	if end := commentEnd(b[4:]); end > 0 {
		return 4 + end, false, false
	}
	return len(b), true, false
}

// commentEnd returns where the first end of a comment in b ends, 0 when there is none.
func commentEnd(b []byte) int {
	for i := 0; ; {
		j := bytes.Index(b[i:], []byte("--"))
		if j < 0 {
			return 0
		}
		i += j
		switch after := b[i+2:]; {
		case bytes.HasPrefix(after, []byte(">")):
			return i + 3
		case bytes.HasPrefix(after, []byte("!>")):
			return i + 4
		}
		i++
	}
}

// maxRaw is how long a text in a script, a style or a title may be, in octets. For each of its
// quotation marks and brackets html/template looks for the end of the element.
const maxRaw = 128 << 10

// rawText reads the text of a raw element up to its end tag.
func (r *markupReader) rawText(n *parse.TextNode, at int, s *markupState) int {
	rest := n.Text[at:]
	for i := 0; ; {
		j := bytes.IndexByte(rest[i:], '<')
		if j < 0 {
			j = len(rest) - i
		}
		if i += j; i > maxRaw {
			r.report(n.Pos+parse.Pos(at), "<%s> holds more than 128 KiB: mail programs cut such a message off", s.raw)
		}
		if i == len(rest) {
			return i
		}
		tag := rest[i+1:]
		switch {
		case s.raw != "script":
		case bytes.HasPrefix(tag, []byte("!--")):
			s.dashed = true
		case s.dashed && hasPrefixFold(tag, "script"): // HTML has a rule of its own for the two, 13.2.5.23
			r.report(n.Pos+parse.Pos(at+i), `a script holds "<!--" and "<script": write "<\script"`)
		}
		end := 1 + len(s.raw)
		if hasPrefixFold(tag, "/"+s.raw) && (len(tag) == end || bytes.IndexAny(tag[end:end+1], " \t\n\f\r/>") == 0) {
			*s = markupState{mode: inTag, hidden: s.hidden, opened: n.Pos + parse.Pos(at+i)}
			return i + 1 + end
		}
		i++
	}
}

func hasPrefixFold(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && strings.EqualFold(string(b[:len(prefix)]), prefix)
}

// tag reads one step within a tag and returns its length.
func (s *markupState) tag(b []byte) int {
	until := func(ends string, m mode) int {
		i := bytes.IndexAny(b, ends)
		if i < 0 {
			return len(b)
		}
		s.mode = m
		return i + 1
	}
	switch s.mode {
	case inDouble:
		return until(`"`, inTag)
	case inSingle:
		return until(`'`, inTag)
	}
	c := b[0]
	blank := bytes.IndexByte([]byte(" \t\n\f\r"), c) >= 0
	switch {
	case c == '>':
		*s = s.afterTag()
	case s.mode == beforeValue && blank:
	case s.mode == beforeValue && c == '"':
		s.mode = inDouble
	case s.mode == beforeValue && c == '\'':
		s.mode = inSingle
	case s.mode == beforeValue:
		s.mode = inUnquoted
	case s.mode == inUnquoted && blank:
		s.mode, s.unfilled = inTag, false
	case s.mode == inUnquoted:
		s.unfilled = false
	case c == '/':
		s.mode = inTag
	case c == '=' && (s.mode == inName || s.mode == afterName):
		s.mode = beforeValue
	case blank && s.mode == inName:
		s.mode = afterName
	case !blank:
		s.mode = inName
	}
	return 1
}

func (s markupState) afterTag() markupState {
	if s.raw != "" {
		return markupState{mode: inRaw, raw: s.raw, hidden: s.hidden, opened: s.opened}
	}
	return markupState{hidden: s.hidden}
}
