// Package sample chooses the recipients for whom a mailing is rendered before it starts, and
// renders their messages. It finds templates that suit nobody, and values that a template does not
// expect.
package sample

import (
	"cmp"
	"maps"
	"slices"

	"directmailer/internal/audience/field"
	"directmailer/internal/content/render"
)

const (
	// MaxMembers is how many members of an audience are looked at, from its first one on. It bounds
	// the time that a start takes.
	MaxMembers = 100_000
	// firsts is how many members are in the sample because they come first.
	firsts = 20
	// maxFields is how many fields have members in the sample for their values.
	maxFields = 50
)

// Sample is a choice of members: the first ones, and for each field those with the shortest and the
// longest value, and with the first and the last value in the order of the characters (which finds
// "n/a" among numbers). It also has the members with the fewest and with the most characters in all
// fields together.
type Sample struct {
	all    bool     // the templates may use any field
	fields []string // that the templates use
	seen   int32
	least  int32 // how many members are counted, whatever the sample needs
	first  []render.Recipient
	chosen map[string]*extremes // by field; "" is all fields together
}

// New returns an empty sample for templates that use these fields. With nil they may use any.
func New(fields []string) *Sample {
	return &Sample{all: fields == nil, fields: limited(fields), chosen: map[string]*extremes{}}
}

func limited(fields []string) []string { return fields[:min(len(fields), maxFields)] }

// Add adds the next member of the audience. It returns false when another one would not change the
// sample.
func (s *Sample) Add(r render.Recipient) (more bool) {
	if s.seen++; r.Number == 0 {
		r.Number = s.seen
	}
	if len(s.first) < firsts {
		s.first = append(s.first, r)
	}
	if s.all && s.seen == 1 {
		s.fields = limited(slices.Sorted(maps.Keys(r.Attributes)))
	}
	together := 0
	for _, name := range s.fields {
		value := field.Trim(r.Attributes[name].Text)
		together += len(value)
		s.of(name).add(r, len(value), value)
	}
	if len(s.fields) > 1 {
		s.of("").add(r, together, "")
	}
	return s.seen < s.least || s.seen < MaxMembers && (len(s.fields) > 0 || len(s.first) < firsts)
}

func (s *Sample) of(name string) *extremes {
	e := s.chosen[name]
	if e == nil {
		e = &extremes{}
		s.chosen[name] = e
	}
	return e
}

// Recipients returns the sample in the order of the audience.
func (s *Sample) Recipients() []render.Recipient {
	chosen := slices.Clone(s.first)
	for _, e := range s.chosen {
		for _, each := range []extreme{e.shortest, e.longest, e.lowest, e.highest} {
			chosen = append(chosen, each.member)
		}
	}
	slices.SortStableFunc(chosen, func(a, b render.Recipient) int { return cmp.Compare(a.Number, b.Number) })
	return slices.CompactFunc(chosen, func(a, b render.Recipient) bool { return a.Number == b.Number })
}

// extremes are the members whose value of one field is the shortest, the longest, and the first and
// last in the order of the characters.
type extremes struct{ shortest, longest, lowest, highest extreme }

type extreme struct {
	member render.Recipient
	length int
	value  string
}

func (e *extremes) add(r render.Recipient, length int, value string) {
	now := extreme{r, length, value}
	if e.shortest.member.Number == 0 {
		*e = extremes{now, now, now, now}
		return
	}
	if length < e.shortest.length {
		e.shortest = now
	}
	if length > e.longest.length {
		e.longest = now
	}
	if value < e.lowest.value {
		e.lowest = now
	}
	if value > e.highest.value {
		e.highest = now
	}
}
