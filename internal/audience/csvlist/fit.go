package csvlist

import (
	"slices"
	"strings"
)

// fit returns the fields of a row, as many as the header has. A row that lacks only its last cells
// is filled up if its other cells fit their columns. Blank cells behind the last column do not
// count. A reason that is not empty says why the row does not fit.
func (r *Reader) fit(row *row) (fields []string, filled bool, reason string) {
	want := r.header.Width()
	switch have := len(row.fields); {
	case have == want:
		return row.fields, false, ""
	case have > want:
		if blank(row.fields[want:]) {
			return row.fields[:want], false, ""
		}
	case !r.header.Uses(have):
		return r.fill(row.fields, want), false, ""
	case !row.broken && r.cellsFit(row.fields):
		return r.fill(row.fields, want), true, ""
	}
	return nil, false, r.header.Misfit(len(row.fields))
}

// fill adds blank fields.
func (r *Reader) fill(fields []string, want int) []string {
	r.short = append(r.short[:0], fields...)
	for len(r.short) < want {
		r.short = append(r.short, "")
	}
	return r.short
}

// cellsFit reports whether each cell is of a kind that its column has in whole rows. Another kind
// means that a cell in the middle is missing.
func (r *Reader) cellsFit(fields []string) bool {
	if len(r.columns) == 0 {
		return true
	}
	for i, cell := range fields {
		if !r.columns[i].fits(cell) {
			return false
		}
	}
	return true
}

// cellKind is a kind of cells, as a bit.
type cellKind uint8

const (
	text cellKind = 1 << iota
	number
	moment
	truth
	mailAddress
	link
)

func kindOf(cell string) cellKind {
	switch c := cell[0]; {
	case strings.IndexByte(cell, '@') > 0:
		return mailAddress
	case len(cell) <= 5 && truthWords[cell]:
		return truth
	case c >= '0' && c <= '9', c == '-', c == '+':
		return numeric(cell)
	case strings.HasPrefix(cell, "http://"), strings.HasPrefix(cell, "https://"):
		return link
	}
	return text
}

var truthWords = map[string]bool{
	"true": true, "false": true, "TRUE": true, "FALSE": true, "True": true, "False": true, "yes": true, "no": true,
	"Yes": true, "No": true, "YES": true, "NO": true, "ja": true, "nein": true, "Ja": true, "Nein": true,
}

// numeric returns the kind of a cell that begins as a number.
func numeric(cell string) cellKind {
	separators, points := 0, 0
	for i := range len(cell) {
		switch c := cell[i]; {
		case c >= '0' && c <= '9':
		case c == '.' || c == ',':
			points++
		case i > 0 && (c == '-' || c == '/' || c == ':' || c == 'T' || c == 'Z' || c == ' ' || c == '+'):
			separators++
		case i > 0:
			return text
		}
	}
	if separators > 1 || points > 1 {
		return moment
	}
	return number
}

const (
	// mostOf is how many values a column has at most whose values are a fixed set.
	mostOf = 10
	// leastRows is how many whole rows show that.
	leastRows = 50
)

// column is what the first reading knows of a column, from whole rows.
type column struct {
	kinds  cellKind
	values []string // the different values, as long as they are few
	many   bool
	rows   int64 // that are not blank
}

func (c *column) add(cell string) {
	if cell == "" {
		return
	}
	c.rows++
	if !c.many && !slices.Contains(c.values, cell) {
		if c.many = len(c.values) == mostOf; !c.many {
			c.values = append(c.values, strings.Clone(cell))
		}
	}
	c.kinds |= kindOf(cell)
}

// fits reports whether a cell could be one of this column.
func (c *column) fits(cell string) bool {
	cell = strings.TrimSpace(cell)
	switch {
	case cell == "" || c.rows == 0:
		return true
	case !c.many && c.rows >= leastRows && c.kinds&(number|moment|mailAddress) == 0:
		return slices.Contains(c.values, cell)
	}
	return c.kinds&kindOf(cell) != 0
}
