package csvlist

import (
	"cmp"
	"errors"
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

// UndecidedError says that columns tell who may be mailed, and that nobody has decided about them.
type UndecidedError struct {
	File    string
	Columns []statuscolumn.Report
}

func (e *UndecidedError) Error() string {
	var columns []string
	for _, c := range e.Columns {
		columns = append(columns, c.String())
	}
	return e.File + ": " + strings.Join(columns, "; ")
}

// LeftOut is how many rows are left out because of a value.
type LeftOut struct {
	Column string `json:"column"` // as the file names it
	Value  string `json:"value"`
	Rows   int64  `json:"rows"`
}

// UsesStatus reports whether columns of the file decide who is left out.
func (f *File) UsesStatus() bool { return f.decision == UseStatus && len(f.Status) > 0 }

// statusFilter leaves rows out whose status columns do not say that the person may be mailed.
type statusFilter struct {
	columns []statuscolumn.Report
	left    map[LeftOut]int64 // by column and value
}

// mostLeftOut is how many different values are counted one by one.
const mostLeftOut = 50

func (f *statusFilter) admits(fields []string) bool {
	for _, c := range f.columns {
		value := fields[c.Number-1]
		if c.Kind.MayBeMailed(value) {
			continue
		}
		key := LeftOut{Column: strings.TrimSpace(c.Header), Value: statuscolumn.Shown(value)}
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
