package render

import (
	"strings"
	"unicode/utf8"

	"directmailer/internal/audience/field"
)

// fieldValue returns a field's value as bodies show it: without blanks around it, and with one line
// break for each control character and each other kind of line break. Spreadsheets put line breaks
// in cells.
func fieldValue(s string) string {
	s = field.Trim(s)
	if ordinary(s) || !strings.ContainsFunc(s, breaks) {
		return s
	}
	s = strings.ReplaceAll(s, "\r\n", "\n")
	var b strings.Builder
	for s != "" {
		r, size := utf8.DecodeRuneInString(s)
		if breaks(r) {
			b.WriteByte('\n')
		} else {
			b.WriteString(s[:size])
		}
		s = s[size:]
	}
	return b.String()
}

// ordinary tells at a glance that a text has neither control characters nor tabs.
func ordinary(s string) bool {
	for i := 0; i < len(s); i++ {
		if special[s[i]] {
			return false
		}
	}
	return true
}

// special are the octets that control characters begin with: 0xC2 for U+0080 to U+009F, 0xE2 for
// U+2028.
var special = func() (all [256]bool) {
	for c := range ' ' {
		all[c] = true
	}
	all[0x7F], all[0xC2], all[0xE2] = true, true, true
	return all
}()
