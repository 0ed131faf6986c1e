// Package rate reads and writes rates of messages as people write them: 20/s, 500/min, 1,000 per
// hour.
//
// Package ratelimit makes workers keep to a rate. Errors say what is wrong with the text, as the
// rest of a sentence.
package rate

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// MaxPerSecond is the highest rate that can be written. No single installation sends faster.
const MaxPerSecond = 1_000_000

// Rate is Count messages in each Per, which is a second, a minute, an hour or a day. The zero value
// is no limit. Rates compare with ==: 60/min and 1/s are as fast, but differ.
type Rate struct {
	Count int
	Per   time.Duration
}

// IsZero tells that there is no limit.
func (r Rate) IsZero() bool { return r == Rate{} }

// Interval is the time from one message to the next, rounded up to a nanosecond so that the rate is
// never exceeded. It is 0 without a limit.
func (r Rate) Interval() time.Duration {
	if r.Count <= 0 {
		return 0
	}
	return time.Duration((int64(r.Per)-1)/int64(r.Count) + 1)
}

// units are the names that are understood; the first of each is the one that is written.
var units = []struct {
	per   time.Duration
	names []string
}{
	{time.Second, []string{"s", "sec", "secs", "second", "seconds"}},
	{time.Minute, []string{"min", "m", "mins", "minute", "minutes"}},
	{time.Hour, []string{"h", "hr", "hrs", "hour", "hours"}},
	{day, []string{"d", "day", "days"}},
}

// String is a text that [Parse] reads as r; "unlimited" for the zero value.
func (r Rate) String() string {
	if r.IsZero() {
		return "unlimited"
	}
	for _, u := range units {
		if u.per == r.Per {
			return strconv.Itoa(r.Count) + "/" + u.names[0]
		}
	}
	return fmt.Sprintf("%d/%s", r.Count, r.Per) // not valid
}

// Check says what is wrong with a Rate that did not come from [Parse].
func (r Rate) Check() error {
	if r.IsZero() {
		return nil
	}
	var known bool
	for _, u := range units {
		known = known || u.per == r.Per
	}
	switch {
	case !known:
		return errors.New("is not per second, minute, hour or day")
	case r.Count == 0:
		return errors.New("would send nothing: pause the mailing instead, or write unlimited for no limit")
	case r.Count < 0:
		return errors.New("is negative")
	case int64(r.Count) > MaxPerSecond*int64(r.Per/time.Second):
		return errTooMany
	}
	return nil
}

// MarshalText is String.
func (r Rate) MarshalText() ([]byte, error) {
	if err := r.Check(); err != nil {
		return nil, fmt.Errorf("the rate %s %w", r, err)
	}
	return []byte(r.String()), nil
}

// UnmarshalText is [Parse].
func (r *Rate) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*r = parsed
	return nil
}

// longest is the length limit of a rate as text, in octets. The text of an update is part of the
// summary of an activity, for which Temporal has 400 octets.
const longest = 100

// Parse reads a number of messages, "/" or "per", and second, minute, hour or day, short or in
// full. "unlimited" and "none" are no limit. Thousands may be set off by commas. Blanks and upper
// case do not matter.
func Parse(s string) (Rate, error) {
	r, err := Rate{}, errForm
	if len(s) <= longest {
		r, err = parse(strings.ToLower(strings.TrimSpace(s)))
	}
	if err != nil {
		return Rate{}, fmt.Errorf("the rate %s %w", quote(s), err)
	}
	return r, nil
}

var (
	errForm    = errors.New("is not like 20/s, 500/min, 1000/h, 5000 per day or unlimited")
	errTooMany = fmt.Errorf("is more than %d/s: write unlimited for no limit", MaxPerSecond)
)

func parse(s string) (Rate, error) {
	if s == "unlimited" || s == "none" {
		return Rate{}, nil
	}
	number, unit, ok := strings.Cut(s, "/")
	if !ok {
		if number, unit, ok = strings.Cut(s, " per "); !ok {
			return Rate{}, errForm
		}
	}
	var r Rate
	for _, u := range units {
		for _, name := range u.names {
			if name == strings.TrimSpace(unit) {
				r.Per = u.per
			}
		}
	}
	if r.Per == 0 {
		return Rate{}, errForm
	}
	var err error
	if r.Count, err = parseCount(strings.TrimSpace(number)); err != nil {
		return Rate{}, err
	}
	return r, r.Check()
}

// parseCount reads digits, all together or in threes.
func parseCount(s string) (int, error) {
	groups := strings.Split(s, ",")
	for i, g := range groups {
		if g == "" || len(groups) > 1 && (len(g) > 3 || i > 0 && len(g) < 3) {
			return 0, errForm
		}
	}
	n := 0
	for _, c := range []byte(strings.Join(groups, "")) {
		switch {
		case c == '.':
			return 0, errors.New("has a fraction: write 30/min for half a message a second")
		case c < '0' || c > '9':
			return 0, errForm
		}
		if n > (math.MaxInt-9)/10 {
			return 0, errTooMany
		}
		n = n*10 + int(c-'0')
	}
	return n, nil
}

// quote quotes the first 40 bytes of what was given.
func quote(s string) string {
	if len(s) > 40 {
		s = s[:40]
	}
	return strconv.QuoteToASCII(s)
}
