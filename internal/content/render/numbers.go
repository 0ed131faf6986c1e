package render

import (
	"math/big"
	"strconv"
	"strings"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/number"

	"directmailer/internal/audience/field"
)

// mostDigits is how many digits behind the point a number is written with.
const mostDigits = 15

// digits returns how many digits behind the point the number needs.
func (n num) digits() int {
	if n.big == nil {
		return 0
	}
	digits, _ := n.big.FloatPrec()
	return min(digits, mostDigits)
}

// formatNumber writes a number with the separators of a language. With a number of digits in front
// of the value, it is rounded to them: {{number "de" 2 .price}}. Halves are rounded away from zero.
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
	digits := n.digits()
	if len(args) == 2 {
		wantedDigits, err := wanted(args[0])
		if err != nil || wantedDigits.big != nil || wantedDigits.small < 0 || wantedDigits.small > mostDigits {
			return "", errDigits
		}
		digits = int(wantedDigits.small)
	}
	return writeNumber(message.NewPrinter(language), n.rat().FloatString(digits), digits)
}

var (
	errDigits = &valueError{reason: "the digits behind the point must be a whole number from 0 to 15"}
	errLarge  = &valueError{reason: "the number has more than 18 digits before the point"}
)

// writeNumber writes a number with so many digits behind the point. The library takes floats and
// integers, so a number that is longer than a float is written in two parts.
func writeNumber(printer *message.Printer, text string, digits int) (string, error) {
	write := func(v any) string { return printer.Sprint(number.Decimal(v, number.Scale(digits))) }
	if len(strings.Trim(text, "-0.")) <= 16 { // 15 digits and a point
		f, err := strconv.ParseFloat(text, 64)
		return write(f), err
	}
	whole, fraction, _ := strings.Cut(text, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return "", errLarge
	}
	behind := ""
	if digits > 0 {
		f, err := strconv.ParseFloat("0."+fraction, 64)
		if err != nil {
			return "", errLarge
		}
		zero := []rune(write(f)) // its first rune is the zero of the language
		behind = string(zero[1:])
	}
	return printer.Sprint(number.Decimal(n)) + behind, nil
}

// round rounds a number to so many digits behind the point, halves away from zero. That of sprig
// rounds -0.1 to -1.
func round(value any, digits int) (decimal, error) {
	n, err := wanted(value)
	if err != nil {
		return "", err
	}
	if digits < 0 || digits > mostDigits {
		return "", errDigits
	}
	rounded, _ := ratNumber(n.rat().FloatString(digits))
	return decimal(rounded.rat().FloatString(rounded.digits())), nil
}

// towards returns the next whole number upwards (1) or downwards (-1), or the number itself.
func towards(value any, direction int) (decimal, error) {
	n, err := wanted(value)
	if err != nil {
		return "", err
	}
	whole := new(big.Int).Quo(n.rat().Num(), n.rat().Denom()) // towards zero
	if !n.rat().IsInt() && n.sign() == direction {
		whole.Add(whole, big.NewInt(int64(direction)))
	}
	return decimal(whole.String()), nil
}

// cutFraction returns a number without what is behind its point.
func cutFraction(value any) (int64, error) {
	n, err := wanted(value)
	if err != nil {
		return 0, err
	}
	whole := new(big.Int).Quo(n.rat().Num(), n.rat().Denom())
	if !whole.IsInt64() {
		return 0, errLarge
	}
	return whole.Int64(), nil
}

// toNumber reads a number as a language writes it: {{toNumber "de" "1.234,50"}}. A currency or a
// percent sign does not count. An empty text stays empty.
func toNumber(tag string, value any) (any, error) {
	language, err := language.Parse(tag)
	if err != nil {
		return "", errLanguage
	}
	text, isText := textValue(value)
	if text = field.Trim(text); isText && text == "" {
		return "", nil
	}
	if n, ok := goNumber(value); ok {
		return decimal(n.rat().FloatString(n.digits())), nil
	}
	sample := message.NewPrinter(language).Sprint(number.Decimal(12345678.5, number.Scale(1)))
	separators := []rune(strings.Map(notDigit, sample))
	m := notation.FindStringSubmatch(strings.ReplaceAll(text, "−", "-"))
	if m == nil || len(separators) == 0 {
		return "", errNoNumber
	}
	point, thousands := separators[len(separators)-1], separators[0]
	sign, whole, fraction := m[1]+m[2], m[3], m[5]
	if before, behind, ok := lastPoint(whole); ok && fraction == "" && whole[len(before)] == byte(point) {
		whole, fraction = before, behind // 1,234 in German
	} else if m[4] != "" && m[4] != string(point) {
		return "", errNoNumber
	}
	for _, r := range strings.Map(notDigit, whole) {
		if r != thousands && !(isSpace(r) && isSpace(thousands)) && !(isApostrophe(r) && isApostrophe(thousands)) {
			return "", errNoNumber
		}
	}
	n, ok := new(big.Rat).SetString(sign + onlyDigits(whole) + "." + fraction + "0")
	if !ok {
		return "", errNoNumber
	}
	return decimal(n.FloatString(len(fraction))), nil
}

func isSpace(r rune) bool { return strings.ContainsRune(" \u00a0\u2009\u202f", r) }

func isApostrophe(r rune) bool { return r == '\'' || r == '’' }

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
	whole, fraction, _ = strings.Cut(strings.TrimLeft(n.rat().FloatString(n.digits()), "-"), ".")
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
