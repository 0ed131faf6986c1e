package render

import (
	"strings"
	"time"

	"directmailer/internal/audience/field"
)

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

// printedTime is a date where the time of day is midnight.
func printedTime(t time.Time) string {
	if t.Hour() == 0 && t.Minute() == 0 && t.Second() == 0 && t.Nanosecond() == 0 {
		return t.Format(time.DateOnly)
	}
	return t.Format("2006-01-02 15:04:05")
}
