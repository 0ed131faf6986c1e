package csvlist

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// encodedTwice reports whether a text has characters that were UTF-8, were read as Windows-1252,
// and were encoded again: MÃ¼ller, itâ€™s.
func encodedTwice(s string) bool {
	if !strings.ContainsAny(s, "ÃÂâ") {
		return false
	}
	for i, r := range s {
		rest := s[i+utf8.RuneLen(r):]
		switch r {
		case 'Ã', 'Â':
			if continues(rest, 1) {
				return true
			}
		case 'â':
			if continues(rest, 2) {
				return true
			}
		}
	}
	return false
}

// continues reports whether the first n characters of s stand for octets that go on a character of
// UTF-8.
func continues(s string, n int) bool {
	for range n {
		r, size := utf8.DecodeRuneInString(s)
		c, ok := charmap.Windows1252.EncodeRune(r)
		if !ok || c < 0x80 || c > 0xbf {
			return false
		}
		s = s[size:]
	}
	return true
}
