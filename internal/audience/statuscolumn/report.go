package statuscolumn

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Report is what a column says about who may be mailed.
type Report struct {
	Number int     `json:"column"`
	Header string  `json:"header"`
	Kind   Kind    `json:"-"`
	Values []Count `json:"values"` // the commonest first, at most 20
	Others int64   `json:"others"` // rows with other values
}

// Count is how many rows have a value.
type Count struct {
	Value  string `json:"value"`
	Rows   int64  `json:"rows"`
	Active bool   `json:"active"` // whether these people may be mailed
}

// mostReported is how many values a report names.
const mostReported = 20

// Report describes the column, which has that number.
func (c *Column) Report(number int) Report {
	r := Report{Number: number, Header: strings.TrimSpace(c.Header), Kind: c.kind, Others: c.others}
	for value, n := range c.values {
		r.Values = append(r.Values, Count{value, *n, c.kind.MayBeMailed(value)})
	}
	slices.SortFunc(r.Values, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.Rows, a.Rows), cmp.Compare(a.Value, b.Value))
	})
	for len(r.Values) > mostReported {
		r.Others += r.Values[len(r.Values)-1].Rows
		r.Values = r.Values[:len(r.Values)-1]
	}
	return r
}

// WithoutData returns the report with no value that is not a word of the vocabulary: it may be
// somebody's data.
func (r Report) WithoutData() Report {
	known := []Count{}
	for _, v := range r.Values {
		if isWord(v.Value) {
			known = append(known, v)
		} else {
			r.Others += v.Rows
		}
	}
	r.Values = known
	return r
}

// String says in one line who may be mailed by the column, without values that may be addresses.
func (r Report) String() string {
	const most = 6 // values that are named, of the active and of the others
	var named [2][]string
	rows := [2]int64{r.Others, 0}
	others := rows
	for _, v := range r.Values {
		active := 0
		if v.Active {
			active = 1
		}
		rows[active] += v.Rows
		if len(named[active]) == most || strings.Contains(v.Value, "@") {
			others[active] += v.Rows
			continue
		}
		named[active] = append(named[active], fmt.Sprintf("%s %d", Shown(v.Value), v.Rows))
	}
	for i, n := range others {
		if n > 0 {
			named[i] = append(named[i], fmt.Sprintf("other values %d", n))
		}
	}
	text := fmt.Sprintf("column %d (%s) says who may be mailed: %d active", r.Number, Shown(r.Header), rows[1])
	if rows[1] > 0 {
		text += " (" + strings.Join(named[1], ", ") + ")"
	}
	return text + fmt.Sprintf(", %d not (%s)", rows[0], strings.Join(named[0], ", "))
}

// Shown returns a value as messages show it.
func Shown(value string) string {
	value = strings.Join(strings.Fields(value), " ")
	switch runes := []rune(value); {
	case value == "":
		return "(empty)"
	case len(runes) > 30:
		return string(runes[:30]) + "…"
	}
	return value
}
