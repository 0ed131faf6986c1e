package member

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// addressColumns are the names under which a column is taken for the e-mail address, in the form
// that fields have. If a table has several, the first of this order is taken.
var addressColumns = []string{
	"email", "e_mail", "email_address", "e_mail_address", "emailaddress", "mail", "mail_address", "rcp_email",
	"address", // of a report of ours; elsewhere it may be a street
}

// Header is the columns of a table of people.
type Header struct {
	names   []string // of fields
	keys    []string // the names as JSON, with what stands before and behind: `,"name":`
	address int      // the column that holds the address
}

// ReadHeader makes a Header of the names of columns. One of them must be an address column. Error
// texts continue a sentence ("has no column …").
func ReadHeader(cells []string) (Header, error) {
	var h Header
	seen := map[string]int{}
	for i, cell := range cells {
		if strings.Contains(cell, "@") {
			return Header{}, fmt.Errorf(
				"holds an @ in column %d: the first line must name the columns, one of them email",
				i+1,
			)
		}
		name := fieldName(cell)
		if !isField(name) {
			return Header{}, fmt.Errorf(
				"column %d (%s) cannot be a field of templates: its name must be letters, digits "+
					"and _, and begin with a letter",
				i+1,
				shown(cell),
			)
		}
		if first, ok := seen[name]; ok {
			return Header{}, fmt.Errorf("columns %d and %d are both named %s", first+1, i+1, name)
		}
		seen[name] = i
		h.names = append(h.names, name)
	}
	h.address = -1
	for _, name := range addressColumns {
		if i, ok := seen[name]; ok {
			h.address = i
			break
		}
	}
	if h.address < 0 {
		return Header{}, fmt.Errorf("has no column for the e-mail address: name it email; the columns are %s",
			joined(h.names))
	}
	for _, name := range h.names {
		key := appendString([]byte{','}, name)
		h.keys = append(h.keys, string(append(key, ':')))
	}
	return h, nil
}

// Columns returns the names of the fields that templates see: all but the address.
func (h *Header) Columns() []string {
	return slices.Delete(slices.Clone(h.names), h.address, h.address+1)
}

// fieldName returns the field that a column becomes.
func fieldName(cell string) string {
	name := strings.ToLower(norm.NFC.String(strings.TrimSpace(cell)))
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || unicode.IsSpace(r) {
			return '_'
		}
		return r
	}, name)
}

// isField reports whether a template's parser takes name for a field.
func isField(name string) bool {
	for i, r := range name {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r)) {
			return false
		}
	}
	return name != ""
}

// shown returns a column's name as an error shows it.
func shown(cell string) string {
	if strings.TrimSpace(cell) == "" {
		return "without a name"
	}
	if utf8.RuneCountInString(cell) > 40 {
		cell = string([]rune(cell)[:40]) + "…"
	}
	return fmt.Sprintf("%q", cell)
}

// joined joins up to 20 names.
func joined(names []string) string {
	const most = 20
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}
