// Package foreign makes texts from outside safe to store and to show: replies of servers, names in
// their certificates, messages of databases.
//
// Such a text can hold line breaks, sequences that control a terminal, characters that reverse the
// direction of writing (Unicode Technical Report 36), addresses, and megabytes.
package foreign

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// Most is the length limit of a line, in characters.
	Most = 300
	// Hidden stands for what is masked or cut off.
	Hidden = "…"
	// looked is how many octets of a text are looked at. Runs of blanks become one blank, so this is
	// more than a line can hold.
	looked = 16 << 10
)

// address matches what may be an address, or a part of one: a word with an @, or with one of the
// ways in which an @ is written in URLs and in quoted-printable text.
var address = regexp.MustCompile(`[^\s"'(),;:<>\[\]]*(?:[@＠]|%40|=40)[^\s"'(),;:<>\[\]]*`)

// Line returns a text as one line of at most 300 characters, without addresses.
func Line(text string) string {
	cut := len(text) > looked
	if cut {
		text = text[:looked]
	}
	text = strings.Join(strings.Fields(Clean(text)), " ")
	if strings.ContainsAny(text, "@＠%=") {
		text = address.ReplaceAllString(text, Hidden)
	}
	if len(text) > Most && utf8.RuneCountInString(text) > Most {
		text, cut = string([]rune(text)[:Most]), true
	}
	if cut {
		text += Hidden
	}
	return text
}

// Cut returns a text that is no longer than most octets, for texts of our own that quote others.
func Cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + Hidden
}

// Clean returns a text as valid UTF-8, with a blank for each character that breaks a line, controls
// a terminal, or cannot be seen.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		if Invisible(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// Invisible reports whether a character breaks a line, controls a terminal, or cannot be seen.
func Invisible(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029'
}
