package dkim

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// appendRelaxedBody appends the canonical form of a body (RFC 6376, 3.4.4). Runs of blanks and tabs
// become one blank, those at the end of a line are left out, and so are empty lines at the end.
//
// This is most of the work of a signature besides its two hashes, so the loop looks at seven octets
// at a time and copies what lies between two changes as a whole.
func appendRelaxedBody(dst, body []byte) []byte {
	start, done := len(dst), 0
	for i := nextChange(body, 0); i < len(body); i = nextChange(body, i) {
		dst = append(dst, body[done:i]...)
		for i < len(body) && isBlank(body[i]) {
			i++
		}
		if i < len(body) && !bytes.HasPrefix(body[i:], crlf) {
			dst = append(dst, ' ')
		}
		done = i
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

// nextChange returns the next octet from i on that may begin a change: a tab, or a blank before an
// octet that is not visible or before the end. It returns len(b) if there is none.
func nextChange(b []byte, i int) int {
	for ; i+8 <= len(b); i += 7 {
		if hit := changes(binary.LittleEndian.Uint64(b[i:])); hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
	}
	for ; i < len(b); i++ {
		if b[i] == '\t' || b[i] == ' ' && (i+1 == len(b) || b[i+1] <= ' ') {
			return i
		}
	}
	return len(b)
}

// changes sets the highest bit of each of the first seven octets, the lowest first, that nextChange
// looks for. No octet's sum carries into the next one, so each bit is exact.
func changes(eight uint64) uint64 {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	low := eight &^ highs
	blanks := ^((low ^ ' '*ones) + 0x7F*ones | eight) & highs
	tabs := ^((low ^ '\t'*ones) + 0x7F*ones | eight) & highs
	invisible := ^(low + (0x7F-' ')*ones | eight) & highs
	return (blanks&(invisible>>8) | tabs) & (highs >> 8)
}

// appendRelaxedField appends the canonical form of a header field (RFC 6376, 3.4.2) with its line
// end: the name in lower case, the value on one line without blanks around it, each run of blanks
// as one blank.
func appendRelaxedField(dst []byte, f field) []byte {
	dst = append(appendLower(dst, f.name), ':')
	blank, empty := false, true
	for _, c := range f.value {
		switch c {
		case ' ', '\t', '\r', '\n':
			blank = true
			continue
		}
		if blank && !empty {
			dst = append(dst, ' ')
		}
		blank, empty = false, false
		dst = append(dst, c)
	}
	return append(dst, crlf...)
}

func appendLower(dst, name []byte) []byte {
	for _, c := range name {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}

// field is a header field of a message.
type field struct {
	name  []byte // as written
	value []byte // what follows the colon, with folds and the line end
}

// appendFields appends the fields of a header, which ends with the line end of its last field.
func appendFields(all []field, header []byte) []field {
	for len(header) > 0 {
		end := fieldEnd(header)
		name, value, _ := bytes.Cut(header[:end], []byte(":"))
		all = append(all, field{bytes.TrimRight(name, " \t"), value})
		header = header[end:]
	}
	return all
}

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
