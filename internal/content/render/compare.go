package render

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"directmailer/internal/audience/field"
)

// textValue reads a value as text: a text, or what writes itself as one. Numbers, booleans, times,
// lists and dicts are none.
func textValue(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case nil:
		return "", true
	case []byte:
		return string(v), true
	case time.Time, moment, decimal, listValue, dictValue, *big.Rat, *big.Int:
		return "", false
	case fmt.Stringer:
		return v.String(), true
	}
	return "", false
}

// dateLayouts are the forms of a date and a time that are read. Those in front have no time zone.
var dateLayouts = []string{
	time.DateOnly, "2006-01-02 15:04", time.DateTime, "2006-01-02T15:04", "2006-01-02T15:04:05",
	time.RFC3339, "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z07", "2006-01-02 15:04:05Z07:00:00",
}

const layoutsWithoutZone = 5

// dateOf reads a value as a date or a time.
func dateOf(v any) (moment, bool) {
	switch v := v.(type) {
	case moment:
		return v, true
	case time.Time:
		return moment{v, true}, true
	}
	s, ok := textValue(v)
	if s = field.Trim(s); !ok || len(s) < len(time.DateOnly) || len(s) > 40 || s[4] != '-' {
		return moment{}, false
	}
	for i, layout := range dateLayouts {
		if t, err := parseTime(layout, s); err == nil {
			return moment{t, i >= layoutsWithoutZone}, true
		}
	}
	return moment{}, false
}

// parseTime is time.Parse, except that it does not look at the machine's time zone.
func parseTime(layout, s string) (time.Time, error) { return time.ParseInLocation(layout, s, time.UTC) }

// compareDates compares two dates. One without a time zone has that of the other.
func compareDates(a, b moment) int {
	if a.zoned != b.zoned {
		if a.zoned {
			b.at = inZoneOf(b.at, a.at)
		} else {
			a.at = inZoneOf(a.at, b.at)
		}
	}
	return a.at.Compare(b.at)
}

func inZoneOf(t, other time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), other.Location())
}

// otherDates are forms of a date that people write. Which is the day, and which the month, they
// alone know.
var otherDates = []string{
	"2.1.2006", "2. 1. 2006", "2.1.06", "2/1/2006", "1/2/2006", "2/1/06", "1/2/06", "2-1-2006", "1-2-2006",
	"2006/1/2", "2006.1.2", "20060102", "2 January 2006", "2 Jan 2006", "January 2, 2006", "Jan 2, 2006",
}

// mayBe reports whether a text in another form is that date.
func mayBe(s string, date moment) bool {
	for _, layout := range otherDates {
		if t, err := parseTime(layout, s); err == nil && compareDates(moment{at: t}, date) == 0 {
			return true
		}
	}
	return false
}

// timeOfDay reads a text as a time of day, such as 09:30 or PostgreSQL's 09:30:00.
func timeOfDay(v any) (t time.Time, ok bool) {
	s, ok := textValue(v)
	if s = field.Trim(s); !ok || !strings.Contains(s, ":") || len(s) > 15 {
		return t, false
	}
	for _, layout := range []string{"15:04", time.TimeOnly} {
		if t, err := parseTime(layout, s); err == nil {
			return t, true
		}
	}
	return t, false
}

// wordOf reads a value as yes or no.
func wordOf(v any) (yes, ok bool) {
	switch v := v.(type) {
	case bool:
		return v, true
	case string:
		s := strings.ToLower(field.Trim(v))
		return yesWords[s], yesWords[s] || noWords[s]
	}
	return false, false
}

// equal compares two values by this package's rule. The error says that it is not certain.
func equal(a, b any) (bool, error) {
	x, isBool := a.(bool)
	y, bothBool := b.(bool)
	switch {
	case isBool && bothBool:
		return x == y, nil
	case isBool:
		return equalsBool(b, x), nil
	case bothBool:
		return equalsBool(a, y), nil
	}
	s, t := field.Trim(printed(a)), field.Trim(printed(b))
	if s == t {
		return true, nil
	}
	if m, n, ok := bothNumbers(a, b); ok {
		return m.compare(n) == 0, nil
	}
	if d, ok := dateOf(a); ok {
		if e, ok := dateOf(b); ok {
			return compareDates(d, e) == 0, nil
		}
	}
	if d, ok := timeOfDay(a); ok {
		if e, ok := timeOfDay(b); ok {
			return d.Equal(e), nil
		}
	}
	if _, isWord := wordOf(s); isWord && strings.EqualFold(s, t) { // TRUE of a spreadsheet is true
		return true, nil
	}
	if strings.ContainsAny(s, "0123456789") && strings.ContainsAny(t, "0123456789") {
		return false, mayBeEqual(a, b)
	}
	return false, nil
}

func equalsBool(v any, want bool) bool {
	if n, ok := numberOf(v); ok {
		return n.sign() != 0 == want
	}
	yes, ok := wordOf(v)
	return ok && yes == want
}

// bothNumbers reads two values as numbers. Two texts must look like numbers: 007 is the number 7
// where it is compared with 7, and a text where it is compared with "7", as the code of an article
// is.
func bothNumbers(a, b any) (m, n num, ok bool) {
	m, ok = numberOf(a)
	if !ok {
		return m, n, false
	}
	if n, ok = numberOf(b); !ok {
		return m, n, false
	}
	s, isText := textValue(a)
	t, bothTexts := textValue(b)
	ok = !isText || !bothTexts ||
		plainNumeral.MatchString(field.Trim(s)) && plainNumeral.MatchString(field.Trim(t))
	return m, n, ok
}

// mayBeEqual returns an error when two values that are not equal would be so if one of them were
// written as this package reads numbers and dates: 12,50 and 12.5, or 31.01.2026 and 2026-01-31.
func mayBeEqual(a, b any) error {
	for _, pair := range [][2]any{{a, b}, {b, a}} {
		text, isText := textValue(pair[0])
		if text = field.Trim(text); !isText {
			continue
		}
		if d, ok := dateOf(pair[1]); ok && mayBe(text, d) {
			return errOtherDate
		}
		others := otherNotations(text)
		if _, certain := numberOf(text); certain || len(others) == 0 {
			continue
		}
		readings := others
		if n, ok := numberOf(pair[1]); ok {
			readings = []num{n}
		} else if t, ok := textValue(pair[1]); ok {
			readings = otherNotations(field.Trim(t))
		}
		for _, m := range others {
			for _, n := range readings {
				if m.compare(n) == 0 {
					return errOtherNumber
				}
			}
		}
	}
	return nil
}

var (
	errNoOrder = &valueError{reason: "only two numbers, two dates (2026-01-31), two times (09:30) or two texts without " +
		"digits can be compared. Read other numbers with toNumber, as in (toNumber \"de\" .points), and other " +
		"dates with toDate"}
	errEmptyOrder = &valueError{reason: "an empty value is compared with a number or a date: " +
		"use default, as in (default 0 .points)"}
	errOtherNumber = &valueError{reason: "one value is a number that is written in another way, such as 1.234,50 or " +
		"10 %: read it with toNumber, as in (toNumber \"de\" .price)"}
	errOtherDate = &valueError{reason: "one value is a date that is written in another way: " +
		"read it with toDate, as in (toDate \"02.01.2006\" .joined)"}
	errOperand = errors.New("missing argument for comparison")
)

// order compares two values by this package's rule. The error says why they cannot be compared.
func order(a, b any) (int, error) {
	m, isNumber := numberOf(a)
	n, bothNumbers := numberOf(b)
	if isNumber && bothNumbers {
		return m.compare(n), nil
	}
	s, isDate := dateOf(a)
	t, bothDates := dateOf(b)
	if isDate && bothDates {
		return compareDates(s, t), nil
	}
	if s, ok := timeOfDay(a); ok {
		if t, ok := timeOfDay(b); ok {
			return s.Compare(t), nil
		}
	}
	x, isText := textValue(a)
	y, bothTexts := textValue(b)
	x, y = field.Trim(x), field.Trim(y)
	digits := strings.ContainsAny(x+y, "0123456789")
	switch {
	case isText && bothTexts && x == y:
		return 0, nil
	case isText && bothTexts && (x == "" || y == "") && digits, isText && x == "" && !bothTexts,
		bothTexts && y == "" && !isText:
		return 0, errEmptyOrder
	case !isText || !bothTexts || digits:
		return 0, errNoOrder
	}
	return compareTexts(x, y), nil
}

// compareTexts orders texts as a dictionary does. Capitals decide between texts that are the same
// otherwise.
func compareTexts(x, y string) int {
	if c := strings.Compare(strings.ToLower(x), strings.ToLower(y)); c != 0 {
		return c
	}
	if yes, isWord := wordOf(x); isWord {
		if other, bothWords := wordOf(y); bothWords && yes == other {
			return 0 // TRUE and true
		}
	}
	return strings.Compare(x, y)
}

// compareSteps are the steps of a comparison: both values are read as numbers and as dates.
const compareSteps = 48

// comparisons returns the template functions that compare, and those that test a value.
func comparisons(b *budget) map[string]any {
	return map[string]any{
		truthFunc: limited(b, orNothing),
		"not":     limited(b, func(v any) bool { return !truth(v) }),
		listFunc: func(v any) (any, error) {
			if err := b.value(v); err != nil {
				return nil, err
			}
			return listOrNothing(v)
		},
		"eq": func(a any, others ...any) (bool, error) { return b.equalsAny(a, others) },
		"ne": func(x, y any) (bool, error) {
			same, err := b.equalsAny(x, []any{y})
			return err == nil && !same, err
		},
		"lt": ordered(b, func(c int) bool { return c < 0 }),
		"le": ordered(b, func(c int) bool { return c <= 0 }),
		"gt": ordered(b, func(c int) bool { return c > 0 }),
		"ge": ordered(b, func(c int) bool { return c >= 0 }),
	}
}

// equalsAny tells whether a value equals one of others.
func (b *budget) equalsAny(value any, others []any) (bool, error) {
	if len(others) == 0 {
		return false, errOperand
	}
	for _, other := range others {
		if err := b.comparing(value, other); err != nil {
			return false, err
		}
		if same, err := equal(value, other); same || err != nil {
			return same, err
		}
	}
	return false, nil
}

// comparing takes the steps of a comparison.
func (b *budget) comparing(x, y any) error {
	size, err := weight(x, y)
	if err != nil {
		return err
	}
	return b.spend(compareSteps + 8*size/octetsPerStep)
}

func ordered(b *budget, holds func(int) bool) func(x, y any) (bool, error) {
	return func(x, y any) (bool, error) {
		if err := b.comparing(x, y); err != nil {
			return false, err
		}
		c, err := order(x, y)
		return err == nil && holds(c), err
	}
}

// printed returns values as print does, a single text as it is.
func printed(args ...any) string {
	if len(args) == 1 {
		switch v := args[0].(type) {
		case string:
			return v
		case nil:
			return ""
		case time.Time:
			return printedTime(v)
		case float64:
			if text, err := floatText(v); err == nil {
				return string(text)
			}
		}
	}
	return fmt.Sprint(args...)
}

// printedTime is a date where the time of day is midnight.
func printedTime(t time.Time) string {
	if t.Hour() == 0 && t.Minute() == 0 && t.Second() == 0 && t.Nanosecond() == 0 {
		return t.Format(time.DateOnly)
	}
	return t.Format("2006-01-02 15:04:05")
}
