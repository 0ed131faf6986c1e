package workflows

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The Web UI passes the details to its Markdown renderer in the URL of a frame. Proxies refuse URLs
// of more than 8 KiB, so the details have limits: for the number of drop points, and for the bytes
// that each text of a server takes in a URL.
const (
	shownPoints   = 8
	longestText   = 360
	longestReason = 1000
)

// Details returns the status as Markdown, for the current details of the Web UI: the state, what
// the mailing waits for, the rate and the time of the end, then the counts as a table and the drop
// points as a list. Texts of servers are escaped. In a URL, the Markdown takes at most 8,000 bytes.
//
// Blank lines surround each table and each list: without them, the Web UI joins them.
func (s Status) Details() string {
	var b strings.Builder
	fact := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "- **%s:** "+format+"\n", append([]any{name}, args...)...)
	}
	fact("State", "**%s**", plainText(string(s.State), longestText))
	if s.Doing != "" {
		fact("Now", "%s", plainText(s.Doing, longestReason))
	}
	if text := IgnoredOptOuts(s.IgnoresOptOuts); text != "" {
		fact("Ignores opt-outs", "**%s**", plainText(text, longestText))
	}
	if !s.Since.IsZero() {
		fact("Since", "%s", stamp(s.Since))
	}
	if !s.Until.IsZero() {
		name := "Until"
		if s.State == StateSuspended {
			name = "Next probe"
		}
		fact(name, "%s", stamp(s.Until))
	}
	if s.RatePerSecond > 0 {
		fact("Rate", "%s messages/s", perSecond(s.RatePerSecond))
	}
	if !s.ETA.IsZero() {
		fact("Done at about", "%s", stamp(s.ETA))
	}
	if s.Deferred > 0 {
		fact("Deferred", "%s recipients are refused for now; the next round is at %s",
			thousands(int64(s.Deferred)), stamp(s.NextRound))
	}
	if s.Recipients > 0 {
		s.writeCounts(&b)
	}
	if len(s.DropPoints) > 0 {
		s.writePoints(&b)
	}
	if !s.State.Ended() {
		b.WriteString("\nThe tab *Pending Activities* shows each attempt that failed: " +
			"its failure, and when the next attempt is.\n")
	}
	return b.String()
}

// IgnoredOptOuts says in words whose requests a mailing with this ignore_opt_outs ignores, or "".
func IgnoredOptOuts(scopes []string) string {
	var parts []string
	for _, s := range []struct{ scope, words string }{
		{"all", "people who asked not to get any mail"},
		{"list", "people who left the list"},
		{"topic", "people who left the topic"},
	} {
		if slices.Contains(scopes, s.scope) {
			parts = append(parts, s.words)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "the mailing also goes to " + strings.Join(parts, ", and to ")
}

// writeCounts writes the outcomes as a table. No-break spaces separate the columns, because the Web
// UI does not.
func (s Status) writeCounts(b *strings.Builder) {
	c := s.Counts
	b.WriteString("\n| Outcome | Recipients |\n| :-- | --: |\n")
	row := func(name string, n int64) { fmt.Fprintf(b, "| %s\u00a0\u00a0\u00a0 | %s |\n", name, thousands(n)) }
	row("sent", c.Sent)
	row("bounced", c.Bounced)
	row("failed", c.Failed)
	row("opted out", c.OptedOut)
	row("uncertain", c.Uncertain)
	row("unsent", c.Unsent)
	row("open", s.Recipients-c.Total())
	row("**all**", s.Recipients)
	fmt.Fprintf(b, "\n%s of %s batches closed, %s rendered.\n",
		thousands(int64(s.Closed)), thousands(int64(s.Batches)), thousands(int64(s.Rendered)))
}

// writePoints lists the drop points, those with a failure first.
func (s Status) writePoints(b *strings.Builder) {
	points := slices.Clone(s.DropPoints)
	slices.SortStableFunc(points, func(p, q DropPointStatus) int { return p.severity() - q.severity() })
	b.WriteString("\nDrop points:\n\n")
	for _, p := range points[:min(len(points), shownPoints)] {
		fmt.Fprintf(b, "- **%s** %s\n", plainText(p.Name, longestText), p.describe())
	}
	if more := len(points) - shownPoints; more > 0 {
		fmt.Fprintf(b, "- and %d others\n", more)
	}
}

// severity orders drop points: out of the list, resting, on trial, being retried, failed before,
// without a failure.
func (p DropPointStatus) severity() int {
	switch {
	case !p.InList:
		return 0
	case !p.Until.IsZero():
		return 1
	case p.OnTrial:
		return 2
	case p.Failures > 0:
		return 3
	case p.LastFailure != "":
		return 4
	}
	return 5
}

// describe says in words what state a drop point is in, and what slows it down.
func (p DropPointStatus) describe() string {
	if p.Slowed != "" {
		return p.describeState() + "; " + plainText(p.Slowed, longestText)
	}
	return p.describeState()
}

func (p DropPointStatus) describeState() string {
	failure := plainText(strings.TrimPrefix(p.LastFailure, "drop point "+p.Name+": "), longestText)
	switch {
	case !p.InList:
		return fmt.Sprintf("has left the list, next probe %s: %s", stamp(p.Until), failure)
	case !p.Until.IsZero():
		return fmt.Sprintf("rests until %s after attempt %d of %d: %s", stamp(p.Until), p.Failures, p.Attempts, failure)
	case p.OnTrial:
		return "is back, on trial; before: " + failure
	case p.Failures > 0:
		return fmt.Sprintf("is tried again after attempt %d of %d: %s", p.Failures, p.Attempts, failure)
	case p.LastFailure != "":
		return "is in use; before: " + failure
	}
	return "is in use"
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// perSecond formats a rate: without decimals from 10 on, with one decimal below.
func perSecond(rate float64) string {
	if rate < 9.95 {
		return strconv.FormatFloat(rate, 'f', 1, 64)
	}
	return thousands(int64(rate + 0.5))
}

// thousands formats a number as 1,234,567.
func thousands(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// plainText escapes the characters that have a meaning in Markdown or HTML, replaces line breaks,
// and cuts the text where it takes more than most bytes in a URL.
func plainText(text string, most int) string {
	var b strings.Builder
	runes := []rune(text[:min(len(text), most)])
	taken := inURL("…")
	for i, r := range runes {
		word := i > 0 && i+1 < len(runes) && letterOrDigit(runes[i-1]) && letterOrDigit(runes[i+1])
		piece := string(r)
		switch {
		case r == '\uFFFD', unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			piece = " "
		case r == '_' && word: // not_before
		case strings.ContainsRune("\\`*_[]<>&|$~^#!", r),
			r == ':' && i+1 < len(runes) && runes[i+1] == '/', // no link
			r == '@' || r == '{':                              // no mail link; the Web UI replaces {namespace}
			piece = fmt.Sprintf("&#%d;", r)
		}
		if taken += inURL(piece); taken > most {
			return b.String() + "…"
		}
		b.WriteString(piece)
	}
	if len(text) > most {
		b.WriteString("…")
	}
	return b.String()
}

// inURL returns the number of bytes that a text takes in a URL.
func inURL(text string) (n int) {
	for _, c := range []byte(text) {
		if c < utf8.RuneSelf && (letterOrDigit(rune(c)) || strings.IndexByte("-_.!~*'()", c) >= 0) {
			n++
		} else {
			n += 3
		}
	}
	return n
}

func letterOrDigit(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
