package statuscolumn

import "strings"

// mostValues is how many different values of a column are counted one by one. Words of the
// vocabulary are counted beyond it.
const mostValues = 32

// Column collects the values of a column. Its memory does not grow with the table.
type Column struct {
	Header string
	kind   Kind
	values map[string]*int64
	others int64 // values that are not counted one by one
	full   bool
	// mustNot is how many of the others say, in a negative column, that the person must not be
	// mailed.
	mustNot int64
	numbers int64 // numbers of more than one digit among the others
}

// New returns a Column without values.
func New(header string) *Column {
	return &Column{Header: header, kind: KindOf(header), values: map[string]*int64{}}
}

// NewForeign returns a Column that never says who may be mailed.
func NewForeign(header string) *Column { return &Column{Header: header, kind: Foreign} }

// Kind returns what the name of the column says.
func (c *Column) Kind() Kind { return c.kind }

// Add counts a value.
func (c *Column) Add(value string) {
	if c.kind == Foreign {
		return
	}
	if !c.full {
		if n, ok := c.values[value]; ok {
			*n++
			return
		}
		if len(c.values) < mostValues && len(value) <= 4*longest {
			n := int64(1)
			c.values[strings.Clone(value)] = &n
			return
		}
		c.overflow()
	}
	c.addFull(value)
}

// overflow keeps of the values only the words of the vocabulary.
func (c *Column) overflow() {
	c.full = true
	for value, n := range c.values {
		if WordOf(value) == Unknown {
			delete(c.values, value)
			c.addOther(value, *n)
		}
	}
}

func (c *Column) addFull(value string) {
	if !mayBeWord(value) || WordOf(value) == Unknown {
		c.addOther(value, 1)
		return
	}
	if n, ok := c.values[value]; ok {
		*n++
	} else if len(c.values) < 8*mostValues {
		n := int64(1)
		c.values[strings.Clone(value)] = &n
	} else { // so many spellings
		c.addOther(value, 1)
	}
}

func (c *Column) addOther(value string, n int64) {
	c.others += n
	if c.kind == Negative && !c.kind.MayBeMailed(value) {
		c.mustNot += n
	}
	if hasNumber(value) {
		c.numbers += n
	}
}

// Found reports whether the column says who may be mailed, and somebody must not be.
func (c *Column) Found() bool {
	n, numbers := map[Word]int64{Unknown: c.others}, c.numbers
	mustNot := c.mustNot
	for value, times := range c.values {
		word := WordOf(value)
		if word == Unknown && hasNumber(value) {
			numbers += *times
			if c.kind == Positive && isMoment(value) {
				word = Active
				numbers -= *times
			}
		}
		n[word] += *times
		if c.kind == Negative && !c.kind.MayBeMailed(value) {
			mustNot += *times
		}
	}
	yes, no, inactive := n[Yes]+n[Active], n[No], n[Weak]+n[Strong]+n[Clear]
	doubtful := no > 0 || n[Blank] > 0 && yes > 0
	switch c.kind {
	case Negative:
		return mustNot > 0
	case Positive:
		return inactive > 0 || no > 0 && numbers == 0 || doubtful && n[Unknown] == 0
	case Status:
		return inactive > 0 || doubtful && n[Unknown] == 0
	case Other:
		return n[Clear] > 0 || inactive > 0 && n[Active] > 0 && n[Unknown] == 0
	}
	return false
}

// isMoment reports whether a value that has a number is a date or a time.
func isMoment(value string) bool { return len(value) >= 8 && strings.ContainsAny(value, "-/.:") }
