package mailingfile

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// YAML ends a plain text at a # behind a blank, without an error. In these fields a # is probably
// part of the text.
var mayHoldNumberSign = []string{
	"from", "reply_to", "to_name", "subject", "content.text", "content.html", "query.sql",
}

// These fields keep the line breaks of a block (| or >). All others are one line.
var keepLines = []string{"content.text", "content.html", "query.sql"}

// scalar refuses a value that YAML reads as less than its author wrote, and makes one line of a
// block. It returns where the field is.
func (r *reader) scalar(field string, key, value *yaml.Node) places {
	p := r.placesOf(key, value)
	if value.Kind != yaml.ScalarNode {
		return p
	}
	isText := slices.Contains(mayHoldNumberSign, field) || strings.HasPrefix(field, "headers.")
	if isText && value.Style == 0 {
		if at := r.file.commentBehind(key, value); at.line > 0 {
			r.fail(field, at, "a comment begins at this #, so the text ends before it: "+
				"put the text in quotes, or the comment on a line of its own")
		}
	}
	if isNull(value) && value.Value != "" && (field == "from" || field == "subject") {
		r.fail(field, start(key), "is missing, because %s stands for no value: put a text in quotes", value.Value)
	}
	// A quoted text has a line break only where its author wrote \n.
	isQuoted := value.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0
	if strings.Contains(value.Value, "\n") && !isQuoted && !slices.Contains(keepLines, field) {
		joined := joinLines(value.Value)
		if value.Style&yaml.LiteralStyle != 0 {
			p.shown.joined = &joined
		}
		value.Value = joined.text
	}
	return p
}

// commentBehind returns where a comment begins behind a plain value, in the line where the value
// ends. A value that is left out ends behind the colon. The zero place says that there is none.
func (f *File) commentBehind(key, value *yaml.Node) place {
	at, left := start(value), len([]rune(withoutBlanks(value.Value)))
	if left == 0 {
		name, _, _ := strings.Cut(f.from(start(key)), ":")
		at = place{line: key.Line, column: key.Column + len([]rune(name)) + 1}
	}
	for ; at.line <= len(f.lines); at = (place{line: at.line + 1, column: 1}) {
		for i, c := range []rune(f.from(at)) {
			switch {
			case c == ' ' || c == '\t':
			case left > 0: // a plain value is written as it is, except for its blanks
				left--
			case c == '#':
				return place{line: at.line, column: at.column + i}
			default:
				return place{}
			}
		}
		if left == 0 {
			break
		}
	}
	return place{}
}

func withoutBlanks(s string) string {
	return strings.Map(func(c rune) rune {
		if strings.ContainsRune(" \t\n", c) {
			return -1
		}
		return c
	}, s)
}

// joinedLines is a text of several lines as one line. It knows where each character comes from.
type joinedLines struct {
	text string
	from []place // of each character, and of the end
}

// joinLines puts one blank between the lines. It leaves out blank lines and the blanks around each
// line.
func joinLines(text string) (j joinedLines) {
	var b strings.Builder
	line := 0
	for each := range strings.SplitSeq(text, "\n") {
		line++
		trimmed := strings.Trim(each, " \t")
		if trimmed == "" {
			continue
		}
		column := 1 + strings.Index(each, trimmed) // blanks are one octet each
		if b.Len() > 0 {
			b.WriteByte(' ')
			j.from = append(j.from, place{line: line, column: column})
		}
		b.WriteString(trimmed)
		for i := range []rune(trimmed) {
			j.from = append(j.from, place{line: line, column: column + i})
		}
	}
	j.text = b.String()
	j.from = append(j.from, place{line: max(line, 1), column: 1})
	return j
}

// place returns where a column of the one line is in the lines, both from 1.
func (j *joinedLines) place(column int) place {
	return j.from[min(max(column, 1), len(j.from))-1]
}
