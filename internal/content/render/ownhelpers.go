package render

import (
	"html"
	htmltemplate "html/template"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/goodsign/monday"
	"golang.org/x/text/language"

	"directmailer/internal/audience/field"
)

// ownHelpers are functions that sprig lacks, or has in a form that is wrong for mail.
var ownHelpers = map[string]any{
	"title":       title,
	"initials":    initials,
	"trunc":       truncate,
	"substr":      substring,
	"abbrev":      abbreviate,
	"atoi":        func(n int) int { return n },
	"has":         has,
	"mustHas":     has,
	"mustCompact": compact, "mustFromJson": readDocument,
	"date":       formatDate,
	"dateIn":     formatDateIn,
	"toDate":     toDate,
	"number":     formatNumber,
	"round":      round,
	"ceil":       func(v any) (decimal, error) { return towards(v, 1) },
	"floor":      func(v any) (decimal, error) { return towards(v, -1) },
	"int":        func(v any) (int64, error) { return cutFraction(v) },
	"int64":      func(v any) (int64, error) { return cutFraction(v) },
	"toNumber":   toNumber,
	"pluralIn":   pluralIn,
	"default":    defaultValue,
	"empty":      isEmpty,
	"coalesce":   coalesce,
	"compact":    compact,
	"all":        func(values ...any) bool { return !slices.ContainsFunc(values, isFalse) },
	"any":        func(values ...any) bool { return slices.ContainsFunc(values, truth) },
	"dig":        dig,
	"fromJson":   readDocument,
	"lineBreaks": func(s string) string { return s },
}

// lineBreaks returns a text as HTML with a <br> for each of its line breaks. It replaces the helper
// of that name in HTML templates.
func (b *budget) lineBreaks(value any) (htmltemplate.HTML, error) {
	s, err := b.printed(func(v ...any) string {
		return strings.ReplaceAll(html.EscapeString(printed(v...)), "\n", "<br>\n")
	}, []any{value})
	return htmltemplate.HTML(s), err
}

// title writes the first letter of each word as a capital: "anna-maria o'neil" is "Anna-Maria
// O'Neil", and "it's" is "It's".
func title(s string) string {
	runes := []rune(s)
	start := 0 // of the word
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsDigit(r):
			if (r != '\'' && r != '’') || i-start == 1 {
				start = i + 1
			}
		case i == start:
			runes[i] = unicode.ToTitle(r)
		}
	}
	return string(runes)
}

// initials returns the first letter of each word.
func initials(s string) string {
	var out []rune
	for _, word := range strings.Fields(s) {
		out = append(out, []rune(word)[0])
	}
	return string(out)
}

// truncate keeps the first n characters of a text, or the last -n.
func truncate(n int, s string) string {
	runes := []rune(s)
	switch {
	case n >= 0 && len(runes) > n:
		return string(runes[:n])
	case n < 0 && len(runes) > -n:
		return string(runes[len(runes)+n:])
	}
	return s
}

// substring returns the characters from start to before end. A negative end is the end of the text.
func substring(start, end int, s string) string {
	runes := []rune(s)
	start = min(max(start, 0), len(runes))
	if end < 0 || end > len(runes) {
		end = len(runes)
	}
	return string(runes[start:max(start, end)])
}

// abbreviate shortens a text to n characters and ends it with "…".
func abbreviate(n int, s string) string {
	if runes := []rune(s); len(runes) > n && n > 0 {
		return strings.TrimRight(string(runes[:n-1]), " ") + "…"
	}
	return s
}

// has tells whether a list has a value, by the rule of eq.
func has(value any, list any) (bool, error) {
	values, _ := ofLibrary(list).([]any)
	if texts, isTexts := list.([]string); isTexts {
		for _, each := range texts {
			values = append(values, each)
		}
	}
	for _, each := range values {
		if same, err := equal(each, value); same || err != nil {
			return same, err
		}
	}
	return false, nil
}

var (
	errNoDate = &valueError{reason: "an argument is not a date: a date is 2026-01-31, with a time " +
		"2026-01-31 09:30 or 2026-01-31T09:30:00Z"}
	errLanguage = &valueError{reason: `the language is not known, or not to this function: write it as "de" or "pt-BR"`}
	errForms    = &valueError{reason: "the forms of pluralIn are pairs, with \"other\" among them: " +
		`"one" "file" "other" "files"`}
)

// formatDate writes a date by a layout of Go, such as "2 January 2006". An empty value stays empty.
func formatDate(layout string, value any) (string, error) {
	t, empty, err := dateArgument(value)
	if empty || err != nil {
		return "", err
	}
	return t.at.Format(layout), nil
}

// formatDateIn is formatDate with the names of months and weekdays in a language.
func formatDateIn(tag, layout string, value any) (string, error) {
	locale, err := dateLocale(tag)
	if err != nil {
		return "", err
	}
	t, empty, err := dateArgument(value)
	if empty || err != nil {
		return "", err
	}
	return monday.Format(t.at, layout, locale), nil
}

func dateArgument(value any) (t moment, empty bool, err error) {
	if s, ok := textValue(value); ok && field.Trim(s) == "" {
		return t, true, nil
	}
	t, ok := dateOf(value)
	if !ok {
		return t, false, errNoDate
	}
	return t, false, nil
}

// toDate reads a text by a layout of Go: {{toDate "02.01.2006" .joined | date "2 January 2006"}}.
func toDate(layout, text string) (any, error) {
	if field.Trim(text) == "" {
		return "", nil
	}
	t, err := parseTime(layout, field.Trim(text))
	if err != nil {
		return "", errNoDate
	}
	return moment{t, strings.Contains(layout, "07") || strings.Contains(layout, "MST")}, nil
}

var dateLocales = sync.OnceValues(matchLocales)

func matchLocales() (language.Matcher, []monday.Locale) {
	locales := append([]monday.Locale{monday.LocaleEnUS}, monday.ListLocales()...)
	var tags []language.Tag
	for _, each := range locales {
		tags = append(tags, language.MustParse(strings.ReplaceAll(string(each), "_", "-")))
	}
	return language.NewMatcher(tags), locales
}

func dateLocale(tag string) (monday.Locale, error) {
	wanted, err := language.Parse(tag)
	if err != nil {
		return "", errLanguage
	}
	matcher, locales := dateLocales()
	_, i, _ := matcher.Match(wanted)
	base, _ := wanted.Base()
	if name := base.String(); !strings.HasPrefix(string(locales[i]), name+"_") && name != "no" { // no: Bokmål
		return "", errLanguage
	}
	return locales[i], nil
}
