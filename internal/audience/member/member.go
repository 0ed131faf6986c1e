// Package member makes members of an audience from a table of people: a CSV file, or the answer of
// a query. The table's [Header] says which column holds the e-mail address. The other columns
// become the fields of templates.
//
// No text of this package quotes an address.
package member

import (
	"fmt"
	"strings"

	"directmailer/internal/audience/address"
	"directmailer/internal/audience/field"
)

// maxAttributes is the length limit of a member's attributes as JSON, in octets.
const maxAttributes = 64 << 10

// Member is a row with a usable address.
type Member struct {
	// Position is the line of a file in which the row begins, or the number of the row in a query's
	// answer. Both count from 1.
	Position int64
	Address  address.Address
	// Taken names the marks that stood around the address in the table, or is empty.
	Taken string
	// Inactive says that the person must not be mailed. Only a reader that is asked for these rows
	// returns them.
	Inactive bool
	// Attributes is a JSON object of values without blanks around them, in the order of the columns.
	Attributes []byte
}

// Reject is a row that is left out, at a position as in [Member].
type Reject struct {
	Position int64  `json:"line"`
	Reason   string `json:"reason"` // without the address
}

// Pasted is a row whose address has lost the marks around it, at a position as in [Member].
type Pasted struct {
	Position int64  `json:"line"`
	Taken    string `json:"taken"` // the marks, in words
}

// Member makes a member of a row's fields, which must be valid UTF-8 without NUL. It appends the
// attributes to buf. A reason that is not empty says why the row cannot be used.
func (h *Header) Member(position int64, buf []byte, fields []string) (m Member, reason string) {
	return h.TypedMember(position, buf, fields, nil)
}

// TypedMember is [Header.Member] for fields that have kinds. Without kinds, all are texts.
func (h *Header) TypedMember(
	position int64, buf []byte, fields []string, kinds []field.Kind,
) (m Member, reason string) {
	m = Member{Position: position, Attributes: buf}
	if len(fields) != len(h.columns) {
		return m, h.Misfit(len(fields))
	}
	text := fields[h.address]
	if strings.TrimSpace(text) == "" {
		return m, "has no address"
	}
	a, taken, err := address.ReadPasted(text)
	switch {
	case err == address.ErrSeveral:
		return m, "the address column " + err.Error()
	case err != nil:
		return m, "the address " + err.Error()
	}
	m.Attributes = h.appendAttributes(buf, fields, kinds)
	if len(m.Attributes)-len(buf) > maxAttributes {
		return m, "the fields are longer than 64 KiB together"
	}
	m.Address, m.Taken = a, taken
	return m, ""
}

// appendAttributes appends all fields but the address as a JSON object, without the blanks around
// them.
func (h *Header) appendAttributes(b []byte, fields []string, kinds []field.Kind) []byte {
	b = append(b, '{')
	for _, f := range h.fields {
		key := f.key
		if b[len(b)-1] == '{' {
			key = key[1:]
		}
		b = append(b, key...)
		value := field.Value{Text: field.Trim(fields[f.column])}
		if kinds != nil {
			value.Kind = kinds[f.column]
		}
		b = field.AppendJSON(b, value)
	}
	return append(b, '}')
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
