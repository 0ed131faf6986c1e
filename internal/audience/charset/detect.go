package charset

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// ErrMixed says that a text is UTF-8 in some places and not in others.
var ErrMixed = errors.New("is not UTF-8, but other lines are: correct this line (and perhaps others), " +
	"or name the encoding of the whole file")

// Detector tells whether a text that is not UTF-8 is Windows-1252. Its memory does not grow with
// the text.
type Detector struct {
	valid    int  // characters of more than one octet in UTF-8
	line     int  // of the octets that follow
	firstBad int  // line of the first octet that is no UTF-8
	cr       bool // whether the latest octet of ASCII was a carriage return

	characters [256]int // beyond ASCII, by octet
	inWords    int      // symbols and capitals in the middle of a word
	inRuns     int      // letters beyond ASCII in runs of four and more
	run        int
	before     [2]rune // the latest characters
	rest       []byte  // the start of a character that the next octets may complete
}

// Write takes the next octets. It returns no error.
func (d *Detector) Write(p []byte) (int, error) {
	n := len(p)
	if d.line == 0 {
		d.line = 1
	}
	for _, c := range p {
		d.octet(c)
	}
	if len(d.rest) > 0 {
		p = append(d.rest, p...)
	}
	d.rest = d.utf8(p, false)
	return n, nil
}

// utf8 counts the characters of UTF-8, and returns what may be the start of one.
func (d *Detector) utf8(p []byte, last bool) (rest []byte) {
	for len(p) > 0 {
		if p[0] < utf8.RuneSelf {
			if p[0] == '\r' || p[0] == '\n' && !d.cr {
				d.line++
			}
			d.cr = p[0] == '\r'
			p = p[1:]
			continue
		}
		if !last && !utf8.FullRune(p) {
			return slices.Clone(p)
		}
		r, size := utf8.DecodeRune(p)
		if r == utf8.RuneError && size == 1 {
			if d.firstBad == 0 {
				d.firstBad = d.line
			}
		} else {
			d.valid++
		}
		p = p[size:]
	}
	return nil
}

// octet looks at an octet as a character of Windows-1252.
func (d *Detector) octet(c byte) {
	r := rune(c)
	if c >= utf8.RuneSelf {
		d.characters[c]++
		r = charmap.Windows1252.DecodeByte(c)
	}
	if c >= utf8.RuneSelf && unicode.IsLetter(r) {
		if d.run++; d.run == 4 {
			d.inRuns += 4
		} else if d.run > 4 {
			d.inRuns++
		}
	} else {
		d.run = 0
	}
	if odd(d.before[0], d.before[1], r) {
		d.inWords++
	}
	d.before = [2]rune{d.before[1], r}
}

// odd reports whether no word has the character in the middle between the two others.
func odd(before, middle, after rune) bool {
	switch {
	case middle < utf8.RuneSelf, unicode.IsLower(middle), strings.ContainsRune(wordMarks, middle):
		return false
	case unicode.IsUpper(middle):
		return unicode.IsLetter(before) && unicode.IsLower(after) ||
			unicode.IsLower(before) && unicode.IsLetter(after)
	}
	return unicode.IsLetter(before) && unicode.IsLetter(after)
}

// wordMarks are characters beyond ASCII that words have in them.
const wordMarks = "’‘´·–—\u00ad"

// undefined are the octets that Windows-1252 gives no character.
const undefined = "\x81\x8d\x8f\x90\x9d"

// Windows1252 returns an error with the first line that is not UTF-8 if the text is not clearly
// Windows-1252. Letters are the characters beyond ASCII, the commonest first.
func (d *Detector) Windows1252() (letters string, line int, err error) {
	d.rest = d.utf8(d.rest, true)
	beyond, bad := 0, 0
	for c := utf8.RuneSelf; c < 256; c++ {
		beyond += d.characters[c]
		if strings.IndexByte(undefined, byte(c)) >= 0 {
			bad += d.characters[c]
		}
	}
	switch {
	case d.firstBad == 0:
		return "", 0, nil
	case d.valid*20 > beyond:
		return "", d.firstBad, ErrMixed
	case bad > 0, d.inWords*20 > beyond, d.inRuns*3 > beyond:
		return "", d.firstBad, errors.New("is not UTF-8, and not clearly Windows-1252: name the encoding, for example " +
			"windows-1250 (Central Europe), windows-1251 (Cyrillic), macintosh or shift_jis")
	}
	return d.letters(), 0, nil
}

// letters returns up to 20 different characters beyond ASCII.
func (d *Detector) letters() string {
	var found []byte
	for c := utf8.RuneSelf; c < 256; c++ {
		if r := charmap.Windows1252.DecodeByte(byte(c)); d.characters[c] > 0 && unicode.IsGraphic(r) && r != '\u00a0' {
			found = append(found, byte(c))
		}
	}
	slices.SortStableFunc(found, func(a, b byte) int { return cmp.Compare(d.characters[b], d.characters[a]) })
	var b strings.Builder
	for _, c := range found[:min(20, len(found))] {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(charmap.Windows1252.DecodeByte(c))
	}
	return b.String()
}
