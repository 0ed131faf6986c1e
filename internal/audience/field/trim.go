package field

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Trim takes off what people do not see at the ends of a value: blanks of every script, control
// characters and invisible characters. Excel, CRMs, pasting and PostgreSQL's char(n) leave them.
func Trim(s string) string {
	if s == "" || visible(s[0]) && visible(s[len(s)-1]) {
		return s
	}
	s = strings.TrimLeftFunc(s, isBlank)
	for s != "" {
		r, size := utf8.DecodeLastRuneInString(s)
		rest := s[:len(s)-size]
		if !isBlank(r) || joins(r) && endsInMark(rest) {
			break
		}
		s = rest
	}
	return s
}

// visible reports whether an octet is a visible character of ASCII.
func visible(c byte) bool { return c > ' ' && c < 0x7F }

// isBlank reports whether nobody sees r at the end of a text. Variation selectors and the tags of
// flags are no blanks: they are parts of the emoji in front of them.
func isBlank(r rune) bool {
	switch {
	case r < utf8.RuneSelf:
		return r <= ' ' || r == 0x7F
	case unicode.IsSpace(r), unicode.Is(unicode.Cc, r):
		return true
	case r >= 0x200B && r <= 0x200F, r >= 0x202A && r <= 0x202E, r >= 0x2060 && r <= 0x206F:
		return true // zero width, directions, and other marks of layout
	}
	switch r {
	case 0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180E, 0x2800, 0x3164, 0xFEFF, 0xFFA0:
		return true // soft hyphen, fillers, the blank of Braille, the byte order mark
	}
	return false
}

// joins reports whether r is one of the two joiners. Behind the virama of an Indic script they say
// how the last letter looks.
func joins(r rune) bool { return r == 0x200C || r == 0x200D }

func endsInMark(s string) bool {
	r, _ := utf8.DecodeLastRuneInString(s)
	return unicode.Is(unicode.M, r)
}
