package csvlist

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"directmailer/internal/audience/address"
)

// AddressColumns are the names, in the form that fields have, under which a column is taken for the e-mail address. When a list has
// several, the first of this order is the one.
var AddressColumns = []string{"email", "e_mail", "email_address", "e_mail_address", "emailaddress", "mail", "mail_address", "rcp_email"}

var (
	errEmpty = errors.New("is empty: the first line must name the columns")
	errUTF16 = errors.New("is UTF-16 or no text at all: save it as CSV in UTF-8")
)

// Header says what the columns of a table of people are: of a file, or of what a query answers.
type Header struct {
	names   []string // of fields
	keys    []string // the same as JSON, with what stands before and behind: `,"name":"`
	address int      // which column holds it
}

// sniff looks at the beginning of the file, skips a byte order mark, and returns what separates the columns.
func sniff(r *bufio.Reader) (comma rune, err error) {
	start, err := r.Peek(bufferSize)
	if len(start) == 0 && err == io.EOF {
		return 0, errEmpty
	}
	if err != nil && err != io.EOF && !errors.Is(err, errLong) {
		return 0, cause(err)
	}
	if bytes.HasPrefix(start, []byte("\xff\xfe")) || bytes.HasPrefix(start, []byte("\xfe\xff")) {
		return 0, errUTF16
	}
	if bytes.HasPrefix(start, []byte("\xef\xbb\xbf")) {
		_, _ = r.Discard(3)
		start = start[3:]
	}
	line, complete := firstLine(start)
	switch {
	case bytes.IndexByte(line, 0) >= 0:
		return 0, errUTF16
	case !complete && err == nil:
		return 0, errors.New("the first line is longer than 64 KiB: it must name the columns")
	case bytes.IndexByte(bytes.TrimRight(line, "\r"), '\r') >= 0:
		return 0, errors.New("has lines that end with a carriage return alone: save it with the line ends of Windows or Unix")
	}
	return separator(line), nil
}

// firstLine returns the first line that is not blank, up to a line break outside quotes.
func firstLine(b []byte) (line []byte, complete bool) {
	b = bytes.TrimLeft(b, "\r\n")
	quoted := false
	for i, c := range b {
		switch {
		case c == '"':
			quoted = !quoted
		case c == '\n' && !quoted:
			return b[:i], true
		}
	}
	return b, false
}

// separator returns whichever of tab, semicolon and comma the line has most of outside quotes.
func separator(line []byte) rune {
	var n [utf8.RuneSelf]int
	quoted := false
	for _, c := range line {
		if c == '"' {
			quoted = !quoted
		}
		if !quoted && c < utf8.RuneSelf {
			n[c]++
		}
	}
	best := ','
	for _, c := range ";\t" {
		if n[c] > n[best] {
			best = c
		}
	}
	return best
}

// ReadHeader makes fields of the names of columns, one of which must be that of the e-mail address. Its errors are the rest of a sentence.
func ReadHeader(cells []string) (Header, error) {
	var h Header
	seen := map[string]int{}
	for i, cell := range cells {
		if strings.Contains(cell, "@") {
			return Header{}, fmt.Errorf("holds an @ in column %d: the first line must name the columns, one of them email", i+1)
		}
		name := fieldName(cell)
		if !isField(name) {
			return Header{}, fmt.Errorf("column %d (%s) cannot be a field of templates: its name must be letters, digits and _, and begin with a letter", i+1, shown(cell))
		}
		if first, ok := seen[name]; ok {
			return Header{}, fmt.Errorf("columns %d and %d are both named %s", first+1, i+1, name)
		}
		seen[name] = i
		h.names = append(h.names, name)
	}
	h.address = -1
	for _, name := range AddressColumns {
		if i, ok := seen[name]; ok {
			h.address = i
			break
		}
	}
	if h.address < 0 {
		return Header{}, fmt.Errorf("has no column for the e-mail address: name it email; the columns are %s", list(h.names))
	}
	for _, name := range h.names {
		key := appendString([]byte{','}, name)
		h.keys = append(h.keys, string(append(key, ':')))
	}
	return h, nil
}

// Columns returns all names but that of the address.
func (h *Header) Columns() []string {
	return slices.Delete(slices.Clone(h.names), h.address, h.address+1)
}

// Member makes a member's address and attributes (a JSON object of strings, appended to buf) of a row's fields, which must be valid UTF-8
// without NUL, or says why it cannot.
func (h *Header) Member(buf []byte, fields []string) (a address.Address, attributes []byte, reason string) {
	if want := len(h.names); len(fields) != want {
		return a, buf, fmt.Sprintf("has %s, but the header names %s", count(len(fields), "field"), count(want, "column"))
	}
	text := strings.TrimSpace(fields[h.address])
	if text == "" {
		return a, buf, "has no address"
	}
	a, err := address.Parse(text)
	if err != nil {
		return address.Address{}, buf, "the address " + err.Error()
	}
	attributes = h.appendAttributes(buf, fields)
	if len(attributes)-len(buf) > maxAttributes {
		return address.Address{}, attributes, "the fields are longer than 64 KiB together"
	}
	return a, attributes, ""
}

// appendAttributes appends all fields but the address as a JSON object.
func (h *Header) appendAttributes(b []byte, fields []string) []byte {
	b = append(b, '{')
	for i, value := range fields {
		if i == h.address {
			continue
		}
		key := h.keys[i]
		if b[len(b)-1] == '{' {
			key = key[1:]
		}
		b = append(b, key...)
		b = appendString(b, value)
	}
	return append(b, '}')
}

// fieldName is the name of a column as templates know it.
func fieldName(cell string) string {
	name := strings.ToLower(norm.NFC.String(strings.TrimSpace(cell)))
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || unicode.IsSpace(r) {
			return '_'
		}
		return r
	}, name)
}

// isField tells what a template's parser takes for a field.
func isField(name string) bool {
	for i, r := range name {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r)) {
			return false
		}
	}
	return name != ""
}

// shown makes a column's name fit for an error.
func shown(cell string) string {
	if strings.TrimSpace(cell) == "" {
		return "without a name"
	}
	if utf8.RuneCountInString(cell) > 40 {
		cell = string([]rune(cell)[:40]) + "…"
	}
	return fmt.Sprintf("%q", cell)
}

// list joins names, as many as somebody would read.
func list(names []string) string {
	const most = 20
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

const hexDigits = "0123456789abcdef"

// appendString appends valid UTF-8 as a JSON string.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		if start = i + 1; c < ' ' {
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		} else {
			b = append(b, '\\', c)
		}
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
