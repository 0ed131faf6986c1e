package output

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"directmailer/internal/foreign"
)

// Thousands writes a number as 1,234,567.
func Thousands[T int | int32 | int64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Count writes a number with its noun: "1 row", "2 rows", "3 batches".
func Count[T int | int64](n T, noun string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(noun, "s"), strings.HasSuffix(noun, "ch"):
		noun += "es"
	default:
		noun += "s"
	}
	return Thousands(n) + " " + noun
}

// Moment writes a time for people, in the local time zone.
func Moment(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 MST") }

// Minute is Moment without seconds and time zone, for tables.
func Minute(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }

// Duration writes a duration for people: "12s", "1m05s", "2h30m", "3 days".
func Duration(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()+0.5))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(d.Hours())/24)
}

// Clean replaces control and invisible characters. Text that others wrote must not control a
// terminal.
func Clean(s string) string { return foreign.Clean(s) }

// OneLine joins the lines of a text, without repeating one, and cleans it.
func OneLine(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return Clean(strings.Join(lines, "; "))
}

// Typed returns what a user typed, short and clean enough to be shown in an error.
func Typed(s string) string {
	s = Clean(s)
	if len(s) > 100 {
		s = strings.ToValidUTF8(s[:100], "") + "…"
	}
	return s
}

// Base is a file's name without its folder, because folders can name people.
func Base(path string) string { return Clean(filepath.Base(path)) }

// Terminal tells whether w is a terminal, and how many columns it has.
func Terminal(w io.Writer) (columns int, ok bool) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil || columns < 20 {
		return 0, false
	}
	return columns, true
}
