package render

import (
	"bytes"
	"strings"

	"directmailer/internal/content/message"
)

// breaks are the control characters, and the line and paragraph separators of Unicode, but not the
// tab.
func breaks(r rune) bool {
	return r < ' ' && r != '\t' || r >= 0x7F && r <= 0x9F || r == '\u2028' || r == '\u2029'
}

// headerText returns a text as a header shows it: control characters, and the blanks around them,
// are one blank.
func headerText(b []byte) string {
	s := strings.Trim(string(b), " ")
	if ordinary(s) || !strings.ContainsFunc(s, inHeaderBlank) {
		return s
	}
	words := strings.FieldsFunc(s, inHeaderBlank)
	kept := words[:0]
	for i, each := range words {
		if i > 0 {
			each = strings.TrimLeft(each, " ")
		}
		if i < len(words)-1 {
			each = strings.TrimRight(each, " ")
		}
		if each != "" {
			kept = append(kept, each)
		}
	}
	return strings.Join(kept, " ")
}

func inHeaderBlank(r rune) bool { return breaks(r) || r == '\t' }

func unlessBlank(b []byte) []byte {
	if len(bytes.TrimSpace(b)) == 0 {
		return nil
	}
	return b
}

// compileLine compiles the template of a header. It trims the template first, because a block of a
// YAML file ends in a line break.
func compileLine(field, text string) (*part, *Problem) {
	text = lineEnds(text)
	trimmed := strings.TrimSpace(text)
	if trimmed == "" {
		return nil, &Problem{Field: field, Message: message.ErrMissing.Error()}
	}
	s := &templateText{original: text, compiled: trimmed, start: strings.Index(text, trimmed)}
	p, problem := compileText(field, s)
	if problem != nil {
		return nil, problem
	}
	return p, oneLine(p, s)
}
