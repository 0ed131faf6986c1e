package smtp

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Servers that refuse for now write in different words when to try again: "try again in 5 minutes",
// "greylisted for 300 seconds", "please come back in 00:04:59", "retry after 90". A time counts if
// it stands after a word for trying again or for greylisting. A number without a unit counts only
// after "in", "after" or "for". No part of an IP address or a URL is a time.
var (
	retryAfter = regexp.MustCompile(
		`(?i)\b(?:again|retry|retrying|back|greylist(?:ed|ing)|graylist(?:ed|ing)|wait|resend|later)\b[^0-9]{0,40}?` +
			`(?:(\d{1,2}):(\d{2}):(\d{2})\b|` +
			`(\d{1,6})\s*(milliseconds|msecs?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h)?\b)`)
	endsWithPreposition = regexp.MustCompile(`(?i)\b(?:in|after|for)\s*$`)
	units               = map[string]time.Duration{
		"": time.Second, "ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour,
	}
)

// RetryAfter returns how long the text of a server's reply asks to wait before the next attempt,
// and false if it does not say.
func RetryAfter(text string) (time.Duration, bool) {
	m := retryAfter.FindStringSubmatch(text)
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
	place := retryAfter.FindStringSubmatchIndex(text)
	head, tail := text[:place[8]], text[place[9]:]
	if inAddress(head, tail) {
		return 0, false
	}
	unit := strings.ToLower(m[5])
	switch {
	case strings.HasPrefix(unit, "ms"), strings.HasPrefix(unit, "milli"):
		unit = "ms"
	case unit != "":
		unit = unit[:1]
	case !endsWithPreposition.MatchString(head):
		return 0, false
	}
	return number(4) * units[unit], true
}

// inAddress reports whether the number between head and tail is part of an IP address or a URL.
func inAddress(head, tail string) bool {
	return strings.HasSuffix(head, ".") || strings.HasSuffix(head, "/") || strings.HasSuffix(head, ":") ||
		len(tail) > 1 && tail[0] == '.' && tail[1] >= '0' && tail[1] <= '9'
}
