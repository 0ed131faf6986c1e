package member

import (
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"
)

// FieldName returns the field that a column of that name becomes: the letters and digits of all
// scripts with their marks, in lower case, and one _ for everything between them. A name that would
// begin with a digit gets a _ in front, because templates take it for a number otherwise. FieldName
// returns "" if there is neither a letter nor a digit.
func FieldName(header string) string {
	var b strings.Builder
	kept, gap := false, false // whether the latest character is in the name; whether some were left out
	for _, r := range strings.ToLower(norm.NFC.String(width.Fold.String(header))) {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r):
			if gap && b.Len() > 0 || b.Len() == 0 && unicode.IsDigit(r) {
				b.WriteByte('_')
			}
			b.WriteRune(r)
			kept, gap = true, false
		case kept && unicode.In(r, unicode.Mn, unicode.Mc) && !unicode.Is(unicode.Variation_Selector, r):
			b.WriteRune(r)
		default:
			kept, gap = false, true
		}
	}
	return b.String()
}

// Action returns the template action that prints a field. The names of Go templates have no marks,
// such as the vowels of Thai and Hindi.
func Action(field string) string {
	for _, r := range field {
		if r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return "{{index . " + strconv.Quote(field) + "}}"
		}
	}
	return "{{." + field + "}}"
}
