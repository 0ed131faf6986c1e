package csvlist

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"directmailer/internal/audience/statuscolumn"
)

// Status is what the caller decides about columns that say who may be mailed.
type Status string

// The decisions.
const (
	Undecided Status = ""
	// UseStatus leaves everybody out who is not active.
	UseStatus Status = "use"
	// IgnoreStatus takes such a column for a field as any other.
	IgnoreStatus Status = "ignore"
)

// ParseStatus reads a decision.
func ParseStatus(s string) (Status, error) {
	if d := Status(s); d == UseStatus || d == IgnoreStatus {
		return d, nil
	}
	return Undecided, errors.New(`must be "use" (only the active are members) or "ignore" (everybody is a member)`)
}

// StatusColumn is a column that says who may be mailed.
type StatusColumn struct {
	Number int                  `json:"column"`
	Header string               `json:"header"`
	Values []statuscolumn.Count `json:"values"` // the commonest, at most 20
	Others int64                `json:"others"` // rows with other values
	kind   statuscolumn.Kind
}

// UndecidedError says that columns tell who may be mailed, and that nobody has decided about them.
type UndecidedError struct {
	File    string
	Columns []StatusColumn
}

func (e *UndecidedError) Error() string {
	var columns []string
	for _, c := range e.Columns {
		columns = append(columns, c.String())
	}
	return e.File + ": " + strings.Join(columns, "; ")
}

// String says what the values of the column are, without those that may be addresses.
func (c StatusColumn) String() string {
	const most = 6 // values that are named, of the active and of the others
	var named [2][]string
	rows := [2]int64{c.Others, 0}
	others := rows
	for _, v := range c.Values {
		active := 0
		if v.Active {
			active = 1
		}
		rows[active] += v.Rows
		if len(named[active]) == most || strings.Contains(v.Value, "@") {
			others[active] += v.Rows
			continue
		}
		named[active] = append(named[active], fmt.Sprintf("%s %d", shownValue(v.Value), v.Rows))
	}
	for i, n := range others {
		if n > 0 {
			named[i] = append(named[i], fmt.Sprintf("other values %d", n))
		}
	}
	text := fmt.Sprintf("column %d (%s) says who may be mailed: %d active", c.Number, shownValue(c.Header), rows[1])
	if rows[1] > 0 {
		text += " (" + strings.Join(named[1], ", ") + ")"
	}
	return text + fmt.Sprintf(", %d not (%s)", rows[0], strings.Join(named[0], ", "))
}

func shownValue(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	switch runes := []rune(s); {
	case s == "":
		return "(empty)"
	case len(runes) > 30:
		return string(runes[:30]) + "…"
	}
	return s
}

// LeftOut is how many rows are left out because of a value.
type LeftOut struct {
	Column string `json:"column"` // as the file names it
	Value  string `json:"value"`
	Rows   int64  `json:"rows"`
}

// statusFilter leaves rows out whose status columns do not say that the person may be mailed.
type statusFilter struct {
	columns []StatusColumn
	left    map[LeftOut]int64 // by column and value
}

// mostLeftOut is how many different values are counted one by one.
const mostLeftOut = 50

func (f *statusFilter) admits(fields []string) bool {
	for _, c := range f.columns {
		value := fields[c.Number-1]
		if c.kind.MayBeMailed(value) {
			continue
		}
		key := LeftOut{Column: strings.TrimSpace(c.Header), Value: shownValue(value)}
		if _, there := f.left[key]; !there && len(f.left) >= mostLeftOut || strings.Contains(value, "@") {
			key.Value = "other values"
		}
		if f.left == nil {
			f.left = map[LeftOut]int64{}
		}
		key.Value = strings.Clone(key.Value)
		f.left[key]++
		return false
	}
	return true
}

func (f *statusFilter) counts() []LeftOut {
	all := []LeftOut{}
	for key, n := range f.left {
		key.Rows = n
		all = append(all, key)
	}
	slices.SortFunc(all, func(a, b LeftOut) int {
		return cmp.Or(cmp.Compare(b.Rows, a.Rows), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Value, b.Value))
	})
	return all
}
