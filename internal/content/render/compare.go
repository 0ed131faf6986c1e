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
