package message

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
	"unicode/utf8"
)

// lineRoom is how many octets a line of quoted-printable holds before the "=" of a soft line break
// (RFC 2045 §6.7: 76).
const lineRoom = 75

const hexDigits = "0123456789ABCDEF"

// appendQuotedPrintable appends UTF-8 text in quoted-printable. LF and CRLF become CRLF, and a last
// line without an end gets one. No character is split over two lines.
func appendQuotedPrintable(dst, src []byte) ([]byte, error) {
	dst = slices.Grow(dst, len(src)+len(src)/8+128)
	for len(src) > 0 {
		line := src
		if i := bytes.IndexByte(src, '\n'); i >= 0 {
			line, src = src[:i], src[i+1:]
			if i > 0 && line[i-1] == '\r' {
				line = line[:i-1]
			}
		} else {
			src = nil
		}
		var err error
		if dst, err = appendLine(dst, line); err != nil {
			return dst, err
		}
		dst = append(dst, '\r', '\n')
	}
	return dst, nil
}

// appendLine appends one line without its end.
func appendLine(dst, line []byte) ([]byte, error) {
	if len(line) == 0 {
		return dst, nil
	}
	dst = slices.Grow(dst, 4*len(line)+16) // the most it can become, and eight octets that are overwritten
	out, w := dst[:cap(dst)], len(dst)
	start := w // of the line in out
	for i := 0; i < len(line); {
		if w == start && needsShield(line[i:]) {
			w = putHex(out, w, line[i])
			i++
			continue
		}
		for i+8 < len(line) {
			eight := binary.LittleEndian.Uint64(line[i:])
			binary.LittleEndian.PutUint64(out[w:], eight)
			n := min(plainRun(eight), start+lineRoom-w)
			i += n
			w += n
			if n < 8 {
				break
			}
		}
		// White space at the end of a line is lost on the way, so it is escaped.
		c := line[i]
		bare := isPlain(c) && (i+1 < len(line) || c != ' ' && c != '\t')
		size, width := 1, 1
		if !bare {
			var err error
			if size, err = escapeSize(line[i:]); err != nil {
				return dst, err
			}
			width = 3 * size
		}
		if w+width > start+lineRoom {
			w += copy(out[w:], "=\r\n")
			start = w
			continue
		}
		if bare {
			out[w] = c
			w++
		} else {
			for _, c := range line[i : i+size] {
				w = putHex(out, w, c)
			}
		}
		i += size
	}
	return out[:w], nil
}

// needsShield reports whether the first octet of a line must be escaped so that neither SMTP (a
// dot) nor a mailbox file ("From ") takes the line for its own.
func needsShield(line []byte) bool {
	return line[0] == '.' || line[0] == 'F' && len(line) > 4 && string(line[:5]) == "From "
}

// isPlain says whether an octet may stand for itself within a line.
func isPlain(c byte) bool {
	return c == '\t' || c >= ' ' && c < 0x7F && c != '='
}

// escapeSize returns how many octets the character at the start of b has.
func escapeSize(b []byte) (int, error) {
	switch c := b[0]; {
	case c == '\r':
		return 0, errBareCR
	case c == 0:
		return 0, errNUL
	case c < utf8.RuneSelf:
		return 1, nil
	}
	r, size := utf8.DecodeRune(b)
	if r == utf8.RuneError && size == 1 {
		return 0, errNotUTF8
	}
	return size, nil
}

func appendHex(dst []byte, c byte) []byte {
	return append(dst, '=', hexDigits[c>>4], hexDigits[c&15])
}

func putHex(out []byte, w int, c byte) int {
	out[w+2], out[w+1], out[w] = hexDigits[c&15], hexDigits[c>>4], '='
	return w + 3
}

// plainRun returns how many of eight octets, the first of them lowest, are printable ASCII other
// than "=" before one that is not (a tab is rare, and counts as not). Of each octet the highest bit
// is set where it is less than a space, "=", or above "~". Borrows and carries can set it wrongly
// only above the first that is rightly set, and only the first counts.
func plainRun(eight uint64) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	equals := eight ^ '='*ones
	hit := (eight-' '*ones)&^eight | (equals-ones)&^equals | (eight + ones) | eight
	return bits.TrailingZeros64(hit&highs) / 8 // 64 when there is none
}
