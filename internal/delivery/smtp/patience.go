package smtp

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Servers that refuse for now say in many words when to come again. What is believed is a time after a word for coming again, or about
// greylisting: "try again in 5 minutes", "greylisted for 300 seconds", "please come back in 00:04:59", "retry after 90". A number without a
// unit needs a word before it, and no part of an IP address or a URL is a time.
var (
	again = regexp.MustCompile(`(?i)\b(?:again|retry|retrying|back|greylist(?:ed|ing)|graylist(?:ed|ing)|wait|resend|later)\b[^0-9]{0,40}?` +
		`(?:(\d{1,2}):(\d{2}):(\d{2})\b|(\d{1,6})\s*(milliseconds|msecs?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h)?\b)`)
	units = map[string]time.Duration{
		"": time.Second, "ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour,
	}
)

// before is what a number without a unit stands behind.
var before = regexp.MustCompile(`(?i)\b(?:in|after|for)\s*$`)

// ComeAgain reads from a reply's text how long the server asks to wait before the next try; false if it says nothing of it.
func ComeAgain(text string) (time.Duration, bool) {
	m := again.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	number := func(i int) time.Duration {
		n, _ := strconv.Atoi(m[i])
		return time.Duration(n)
	}
	if m[1] != "" {
		return number(1)*time.Hour + number(2)*time.Minute + number(3)*time.Second, true
	}
	place := again.FindStringSubmatchIndex(text)
	head, tail := text[:place[8]], text[place[9]:]
	if strings.HasSuffix(head, ".") || strings.HasSuffix(head, "/") || strings.HasSuffix(head, ":") || len(tail) > 1 && tail[0] == '.' && tail[1] >= '0' && tail[1] <= '9' {
		return 0, false
	}
	unit := strings.ToLower(m[5])
	switch {
	case strings.HasPrefix(unit, "ms"), strings.HasPrefix(unit, "milli"):
		unit = "ms"
	case unit != "":
		unit = unit[:1]
	case !before.MatchString(head):
		return 0, false
	}
	return number(4) * units[unit], true
}
