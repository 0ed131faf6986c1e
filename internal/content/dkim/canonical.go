package dkim

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
)

// appendRelaxedBody appends the canonical form of a body (RFC 6376, 3.4.4). Runs of blanks and tabs
// become one blank, those at the end of a line are left out, and so are empty lines at the end.
//
// Besides the hash, this is the largest part of a signature's work. So it looks for changes in
// eight octets at a time, and copies what lies between two changes as a whole.
func appendRelaxedBody(dst, body []byte) []byte {
	start, done := len(dst), 0
	for i, tab := 0, -1; ; done = i {
		if tab < i {
			tab = indexFrom(body, i, '\t')
		}
		if i = nextRun(body, i, tab); i == len(body) {
			break
		}
		dst = append(dst, body[done:i]...)
		for i < len(body) && isBlank(body[i]) {
			i++
		}
		if i < len(body) && !bytes.HasPrefix(body[i:], crlf) {
			dst = append(dst, ' ')
		}
	}
	dst = append(dst, body[done:]...)
	for bytes.HasSuffix(dst[start:], crlf) {
		dst = dst[:len(dst)-len(crlf)]
	}
	if len(dst) > start {
		dst = append(dst, crlf...)
	}
	return dst
}

var crlf = []byte("\r\n")

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// indexFrom returns where c is from i on, or len(b).
func indexFrom(b []byte, i int, c byte) int {
	if n := bytes.IndexByte(b[i:], c); n >= 0 {
		return i + n
	}
	return len(b)
}

// nextRun returns the next octet from i on that may begin a change: the tab, which is the next one,
// or a blank before an octet that is not visible or before the end. It returns len(b) if there is
// none.
func nextRun(b []byte, i, tab int) int {
	for rest := b[i:min(tab+1, len(b))]; len(rest) > 8; rest = rest[8:] {
		if pairs := blankPairs(binary.LittleEndian.Uint64(rest), binary.LittleEndian.Uint64(rest[1:])); pairs != 0 {
			return i + bits.TrailingZeros64(pairs)/8
		}
		i += 8
	}
	for ; i < tab; i++ {
		if b[i] == ' ' && (i+1 == len(b) || b[i+1] <= ' ') {
			return i
		}
	}
	return tab
}

// blankPairs looks at eight octets at a time, the first one in the lowest bits. next has the octet
// that follows each of them. The result has the highest bit of each octet that is a blank and that
// is followed by a blank or a control character. No sum carries into the next octet, so each bit is
// exact.
func blankPairs(eight, next uint64) uint64 {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	other := eight ^ ' '*ones
	other |= other&^highs + 0x7F*ones
	visible := next | (next&^highs + (0x7F-' ')*ones)
	return ^(other | visible) & highs
}

// appendRelaxedField appends the canonical form of a header field (RFC 6376, 3.4.2) with its line
// end: the name in lower case, the value on one line without blanks around it, each run of blanks
// as one blank.
func appendRelaxedField(dst []byte, name string, value []byte) []byte {
	dst = append(append(dst, name...), ':')
	for first := true; ; first = false {
		begin := 0
		for begin < len(value) && isSpace(value[begin]) {
			begin++
		}
		if value = value[begin:]; len(value) == 0 {
			return append(dst, crlf...)
		}
		end := 0
		for end < len(value) && !isSpace(value[end]) {
			end++
		}
		if !first {
			dst = append(dst, ' ')
		}
		dst = append(dst, value[:end]...)
		value = value[end:]
	}
}

func isSpace(c byte) bool { return c <= ' ' && (c == ' ' || c == '\t' || c == '\r' || c == '\n') }

// field is a header field of a message.
type field struct {
	name  string // in lower case
	value []byte // what follows the colon, with folds and the line end
}

// appendFields appends the fields of a header, which ends with the line end of its last field.
func appendFields(all []field, header []byte) []field {
	for len(header) > 0 {
		end := fieldEnd(header)
		name, value, _ := bytes.Cut(header[:end], []byte(":"))
		all = append(all, field{lowerName(bytes.TrimRight(name, " \t")), value})
		header = header[end:]
	}
	return all
}

// lowerName returns a field's name in lower case. For the usual names it allocates nothing.
func lowerName(name []byte) string {
	var space [64]byte
	lower := space[:0]
	for _, c := range name {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		lower = append(lower, c)
	}
	if known, ok := knownNames[string(lower)]; ok {
		return known
	}
	return string(lower)
}

// knownNames are the names of [oversigned] and [unsigned].
var knownNames = func() map[string]string {
	names := map[string]string{}
	for _, name := range slices.Concat(oversigned, unsigned) {
		names[name] = name
	}
	return names
}()

// fieldEnd returns where the first field ends: after the line end that no blank follows.
func fieldEnd(header []byte) int {
	end := 0
	for {
		i := bytes.IndexByte(header[end:], '\n')
		if i < 0 {
			return len(header)
		}
		if end += i + 1; end == len(header) || !isBlank(header[end]) {
			return end
		}
	}
}
