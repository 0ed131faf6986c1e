package render

import (
	"html"
	htmltemplate "html/template"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/goodsign/monday"
	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/number"
)

// ownHelpers are functions that sprig lacks, or has in a form that is wrong for mail.
var ownHelpers = map[string]any{
	"title":      title,
	"initials":   initials,
	"trunc":      truncate,
	"substr":     substring,
	"abbrev":     abbreviate,
	"atoi":       func(n int) int { return n },
	"has":        has,
	"mustHas":    has,
	"date":       formatDate,
	"dateIn":     formatDateIn,
	"toDate":     toDate,
	"number":     formatNumber,
	"pluralIn":   pluralIn,
	"lineBreaks": func(s string) string { return s },
}

// htmlHelpers are functions that return HTML. They replace those of the same name in HTML
// templates.
var htmlHelpers = map[string]any{
	"lineBreaks": func(value any) htmltemplate.HTML { return lineBreaks(value) },
}

// lineBreaks returns a text as HTML with a <br> for each of its line breaks.
func lineBreaks(value any) htmltemplate.HTML {
	return htmltemplate.HTML(strings.ReplaceAll(html.EscapeString(printed(value)), "\n", "<br>\n"))
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
func has(value any, list any) bool {
	values, ok := list.([]any)
	if texts, isTexts := list.([]string); isTexts {
		return slices.ContainsFunc(texts, func(each string) bool { return equal(each, value) })
	}
	return ok && slices.ContainsFunc(values, func(each any) bool { return equal(each, value) })
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
	return t.Format(layout), nil
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
	return monday.Format(t, layout, locale), nil
}

func dateArgument(value any) (t time.Time, empty bool, err error) {
	if s, ok := textValue(value); ok && strings.TrimSpace(s) == "" {
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
	if strings.TrimSpace(text) == "" {
		return "", nil
	}
	t, err := time.Parse(layout, strings.TrimSpace(text))
	if err != nil {
		return "", errNoDate
	}
	return t, nil
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

// formatNumber writes a number with the separators of a language. With a number of digits in front
// of the value, it is rounded to them: {{number "de" 2 .price}}.
func formatNumber(tag string, args ...any) (string, error) {
	language, err := language.Parse(tag)
	if err != nil {
		return "", errLanguage
	}
	if len(args) != 1 && len(args) != 2 {
		return "", &valueError{reason: "number takes a language, digits if you like, and a value: " +
			`(number "de" 2 .price)`}
	}
	n, err := wanted(args[len(args)-1])
	if err != nil {
		return "", err
	}
	var options []number.Option
	if len(args) == 2 {
		digits, err := wanted(args[0])
		if err != nil || digits.big != nil || digits.small < 0 || digits.small > 20 {
			return "", errNoNumber
		}
		options = append(options, number.Scale(int(digits.small)))
	} else {
		_, fraction := n.decimal()
		options = append(options, number.Scale(len(fraction)))
	}
	return message.NewPrinter(language).Sprint(number.Decimal(n.value(), options...)), nil
}

var pluralForms = map[string]plural.Form{
	"zero": plural.Zero, "one": plural.One, "two": plural.Two,
	"few": plural.Few, "many": plural.Many, "other": plural.Other,
}

// pluralIn chooses the form of a word for a number by the rules of a language (Unicode CLDR).
func pluralIn(tag string, count any, forms ...string) (string, error) {
	language, err := language.Parse(tag)
	if err != nil {
		return "", errLanguage
	}
	n, err := wanted(count)
	if err != nil {
		return "", err
	}
	words := map[plural.Form]string{}
	for i := 0; i+1 < len(forms); i += 2 {
		form, ok := pluralForms[forms[i]]
		if !ok {
			return "", errForms
		}
		words[form] = forms[i+1]
	}
	other, ok := words[plural.Other]
	if !ok || len(forms)%2 != 0 {
		return "", errForms
	}
	if word, ok := words[formOf(language, n)]; ok {
		return word, nil
	}
	return other, nil
}

func formOf(tag language.Tag, n num) plural.Form {
	digits, fraction := n.decimal()
	last := atMost(fraction)
	return plural.Cardinal.MatchPlural(tag, atMost(digits), len(fraction), len(fraction), last, last)
}

// decimal returns the digits before and behind the point.
func (n num) decimal() (whole, fraction string) {
	whole, fraction, _ = strings.Cut(strings.TrimLeft(n.rat().FloatString(6), "-"), ".")
	return whole, strings.TrimRight(fraction, "0")
}

// atMost returns the last digits of a number: the rules look at no more.
func atMost(digits string) int {
	n, _ := strconv.Atoi(digits[max(len(digits)-6, 0):])
	if len(digits) > 6 {
		n += 1_000_000
	}
	return n
}
