package foreign_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"directmailer/internal/foreign"
)

func TestATextFromOutsideBecomesOneShortLineWithoutAddresses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                      "",
		"no such table":                         "no such table",
		"one\r\n\r\n# two\tthree ":              "one # two three",
		"\x1b[2J\x1b]0;title\x07gone":           "[2J ]0;title gone",
		"pay\u202eexe.txt\u2066 \u2028x\u200b":  "pay exe.txt x",
		"bad \xff\xfe octets":                   "bad ? octets",
		"for <jane.doe@mail.example>: unknown":  "for <…>: unknown",
		`"jane@mail.example","bob@x.example"`:   `"…","…"`,
		"to=jane%40mail.example, jane=40x.ex":   "…, …",
		"jane＠mail.example 5=4":                 "… 5=4",
		"100% = all, mailto:jane@mail.example.": "100% = all, mailto:…",
		strings.Repeat("é", 301):                strings.Repeat("é", 300) + "…",
		strings.Repeat("é", 300):                strings.Repeat("é", 300),
		strings.Repeat(" ", 1<<20) + "late":     "…",
		strings.Repeat("a@b ", 10):              strings.TrimSpace(strings.Repeat("… ", 10)),
	} {
		if got := foreign.Line(text); got != want {
			t.Errorf("%.60q: got %q, want %q", text, got, want)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("550 <jane@mail.example> \x1b[31m")
	f.Add("é\u202e\xff%40")
	f.Fuzz(func(t *testing.T, text string) {
		got := foreign.Line(text)
		if utf8.RuneCountInString(got) > foreign.Most+1 || !utf8.ValidString(got) ||
			strings.ContainsFunc(got, foreign.Invisible) || strings.ContainsAny(got, "@＠") {
			t.Errorf("%q becomes %q", text, got)
		}
		if again := foreign.Line(got); again != got && !strings.HasSuffix(got, foreign.Hidden) {
			t.Errorf("%q becomes %q, and then %q", text, got, again)
		}
	})
}
