package message

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

const (
	foldAt     = 78 // RFC 5322 §2.1.1
	wordLine   = 76 // RFC 2047 §2: a line with encoded words
	wordMax    = 75 // RFC 2047 §2: one encoded word
	wordFrame  = len("=?utf-8?q?") + len("?=")
	longestRun = 60 // octets without a space that are left unencoded: always fits on a line, after any field name
)

// appendUnstructured appends a field with its line end: as it is and folded at spaces if it is
// plain ASCII, else as encoded words.
func appendUnstructured(b []byte, name, value string) ([]byte, error) {
	plain, err := checkValue(value)
	if err != nil {
		return b, err
	}
	b = append(b, name...)
	if plain && foldable(value) {
		b = appendFolded(b, len(name), value)
	} else {
		b, _ = appendEncodedWords(b, len(name), value)
	}
	return append(b, "\r\n"...), nil
}

// checkValue refuses what no header value may hold, and says whether the value is printable ASCII.
func checkValue(s string) (plain bool, err error) {
	plain = true
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\t': // harmless, but only an encoded word keeps it
			plain = false
		case c < ' ' || c == 0x7F:
			return false, errControl
		case c >= utf8.RuneSelf:
			plain = false
		}
	}
	if !plain && !utf8.ValidString(s) {
		return false, errNotUTF8
	}
	return plain, nil
}

// foldable reports whether printable ASCII comes back unchanged from every reader when it is folded
// at its spaces. Some make one space of several where a line begins.
func foldable(s string) bool {
	if strings.Contains(s, "=?") || strings.HasPrefix(s, " ") || strings.HasSuffix(s, " ") ||
		strings.Contains(s, "  ") {
		return false
	}
	for word := range strings.SplitSeq(s, " ") {
		if len(word) > longestRun {
			return false
		}
	}
	return true
}

// appendFolded appends a foldable value; column is where it begins.
func appendFolded(b []byte, column int, s string) []byte {
	for i := 0; i < len(s); {
		end := i + 1 // past the space, if it begins with one
		for end < len(s) && s[end] != ' ' {
			end++
		}
		if i > 0 && column+end-i > foldAt {
			b = append(b, "\r\n"...)
			column = 0
		}
		b = append(b, s[i:end]...)
		column += end - i
		i = end
	}
	return b
}

// appendEncodedWords appends a value as encoded words of RFC 2047, in the shorter of its two
// encodings, folded, no character split over two words. The words are fit for a phrase as well (§5
// rule 3). It returns the column reached.
func appendEncodedWords(b []byte, column int, s string) ([]byte, int) {
	q := 0
	for i := 0; i < len(s); i++ {
		q += qWidth(s[i])
	}
	if q <= (len(s)+2)/3*4 {
		return appendQ(b, column, s)
	}
	return appendB(b, column, s)
}

// qWidth returns how many octets the octet takes in the Q encoding of a phrase.
func qWidth(c byte) int {
	switch {
	case c == ' ', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9',
		c == '!', c == '*', c == '+', c == '-', c == '/':
		return 1
	}
	return 3
}

func appendQ(b []byte, column int, s string) ([]byte, int) {
	room := min(wordMax, wordLine-column) - wordFrame
	b = append(b, "=?utf-8?q?"...)
	column += wordFrame
	for i := 0; i < len(s); {
		_, size := utf8.DecodeRuneInString(s[i:])
		width := 0
		for j := i; j < i+size; j++ {
			width += qWidth(s[j])
		}
		if width > room {
			b = append(b, "?=\r\n =?utf-8?q?"...)
			column = 1 + wordFrame
			room = wordMax - wordFrame
		}
		for j := i; j < i+size; j++ {
			switch c := s[j]; {
			case c == ' ':
				b = append(b, '_')
			case qWidth(c) == 1:
				b = append(b, c)
			default:
				b = appendHex(b, c)
			}
		}
		room -= width
		column += width
		i += size
	}
	return append(b, "?="...), column
}

func appendB(b []byte, column int, s string) ([]byte, int) {
	room := min(wordMax, wordLine-column) - wordFrame
	for {
		n := min(len(s), room/4*3)
		for n < len(s) && !utf8.RuneStart(s[n]) {
			n--
		}
		var piece [wordMax]byte
		b = append(b, "=?utf-8?b?"...)
		b = base64.StdEncoding.AppendEncode(b, piece[:copy(piece[:], s[:n])])
		b = append(b, "?="...)
		column += wordFrame + (n+2)/3*4
		if s = s[n:]; s == "" {
			return b, column
		}
		b = append(b, "\r\n "...)
		column = 1
		room = wordMax - wordFrame
	}
}

// validMessageID reports whether id is <left@right> with visible ASCII on both sides.
func validMessageID(id string) bool {
	if len(id) < 5 || len(id) > 900 || id[0] != '<' || id[len(id)-1] != '>' {
		return false
	}
	left, right, found := strings.Cut(id[1:len(id)-1], "@")
	return found && isDotAtom(left) && isDotAtom(right)
}

// ValidListID reports whether id is a list identifier of RFC 2919 §2: a dot-atom of two labels or
// more, at most 255 octets, without angle brackets.
func ValidListID(id string) bool {
	return len(id) <= 255 && strings.Contains(id, ".") && isDotAtom(id)
}
