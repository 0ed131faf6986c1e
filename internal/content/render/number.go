package render

import (
	"cmp"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"directmailer/internal/audience/field"
)

// num is a number without loss: a small integer, or any other as a fraction.
type num struct {
	small int64
	big   *big.Rat // nil: small
}

func (n num) sign() int {
	if n.big != nil {
		return n.big.Sign()
	}
	return cmp.Compare(n.small, 0)
}

func (n num) rat() *big.Rat {
	if n.big != nil {
		return n.big
	}
	return new(big.Rat).SetInt64(n.small)
}

func (n num) compare(m num) int {
	if n.big == nil && m.big == nil {
		return cmp.Compare(n.small, m.small)
	}
	return n.rat().Cmp(m.rat())
}

// value returns the number as an int64, or as a float64 when it has a fraction or is larger.
func (n num) value() any {
	if n.big == nil {
		return n.small
	}
	f, _ := n.big.Float64()
	return f
}

// numeral is a number as databases and programs write it. Separators of thousands and a comma for
// the point are not taken: 1,234 is one number to some and another to others.
var (
	numeral      = regexp.MustCompile(`^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,2})?$`)
	plainNumeral = regexp.MustCompile(`^-?(?:0|[1-9]\d*)(?:\.\d+)?$`)
	// 1.234 in a file can be a thousand or a fraction.
	twofold = regexp.MustCompile(`^[+-]?[1-9]\d{0,2}\.\d{3}$`)
)

// maxNumeral is the length of the longest text that is read as a number.
const maxNumeral = 100

// numeric tells whether a text begins as a number does.
func numeric(s string) bool {
	return s != "" && (s[0] >= '0' && s[0] <= '9' || s[0] == '-' || s[0] == '+' || s[0] == '.')
}

func parseNumber(s string) (num, bool) {
	if !numeric(s) || len(s) > maxNumeral || !numeral.MatchString(s) {
		return num{}, false
	}
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return num{small: i}, true
	}
	return ratNumber(s)
}

func ratNumber(s string) (num, bool) {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return num{}, false
	}
	if r.IsInt() && r.Num().IsInt64() { // 12.00
		return num{small: r.Num().Int64()}, true
	}
	return num{big: r}, true
}

// numberOf reads a value as a number: a number of Go, or a text that is one and can be no other.
func numberOf(v any) (num, bool) {
	if n, ok := goNumber(v); ok {
		return n, true
	}
	s, ok := textValue(v)
	if s = field.Trim(s); !ok || twofold.MatchString(s) {
		return num{}, false
	}
	return parseNumber(s)
}

// wanted reads an argument as a number.
func wanted(v any) (num, error) {
	n, ok := numberOf(v)
	if ok {
		return n, nil
	}
	if s, isText := textValue(v); isText && field.Trim(s) == "" {
		return n, errEmptyNumber
	}
	return n, errNoNumber
}

// notation is a number as people write it: with separators of thousands, a comma for the point, a
// currency or a percent sign.
var notation = regexp.MustCompile(`^([+-]?)` + currency +
	`([+-]?)(\d{1,3}(?:[.,'’\x{A0}\x{2009}\x{202F} ]\d{3})+|\d+)` +
	`(?:([.,])(\d+))?[\s\x{A0}\x{202F}]?(?:%|‰|` + currency + `)$`)

const currency = `(?:(?:\p{Sc}|[A-Z]{3}|kr\.?|Kč|zł|Ft|lei|лв\.?|руб\.?|Fr\.?)?[\s\x{A0}\x{202F}]?)`

// otherNotations returns the numbers that a text can mean when it is not written as [numeral] says.
// 1,234 has two.
func otherNotations(s string) []num {
	if len(s) > maxNumeral || !strings.ContainsAny(s, "0123456789") {
		return nil
	}
	m := notation.FindStringSubmatch(strings.ReplaceAll(s, "−", "-"))
	if m == nil {
		return nil
	}
	sign, whole, fraction := m[1]+m[2], m[3], m[5]
	if len(sign) > 1 {
		return nil
	}
	thousands := sign + onlyDigits(whole) + "." + fraction
	texts := []string{thousands}
	if before, behind, ok := lastPoint(whole); ok && fraction == "" {
		texts = []string{sign + onlyDigits(before) + "." + behind}
		if onlyDigits(before) == before && before[0] != '0' {
			texts = append(texts, thousands) // 1.234 is a thousand or a fraction
		}
	}
	var numbers []num
	for _, text := range texts {
		if n, ok := ratNumber(strings.TrimSuffix(text, ".")); ok {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// lastPoint cuts a number at its last separator if that can be a decimal point: it is a point or a
// comma, and the number has no other of its kind.
func lastPoint(s string) (before, behind string, ok bool) {
	at := strings.LastIndexAny(s, ".,")
	if at < 0 || strings.Count(s, s[at:at+1]) > 1 || onlyDigits(s[at+1:]) != s[at+1:] {
		return s, "", false
	}
	return s[:at], s[at+1:], true
}

func onlyDigits(s string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
}

func notDigit(r rune) rune {
	if r >= '0' && r <= '9' {
		return -1
	}
	return r
}

func goNumber(v any) (num, bool) {
	switch v := v.(type) {
	case int:
		return num{small: int64(v)}, true
	case int8:
		return num{small: int64(v)}, true
	case int16:
		return num{small: int64(v)}, true
	case int32:
		return num{small: int64(v)}, true
	case int64:
		return num{small: v}, true
	case uint, uint8, uint16, uint32, uint64:
		return ratNumber(fmt.Sprint(v))
	case float32:
		return floatNumber(float64(v), 32)
	case float64:
		return floatNumber(v, 64)
	case decimal:
		return ratNumber(string(v))
	case *big.Rat:
		return num{big: v}, true
	case *big.Int:
		return num{big: new(big.Rat).SetInt(v)}, true
	}
	return num{}, false
}

// floatNumber takes a float as it is written: 0.1 is a tenth.
func floatNumber(f float64, bits int) (num, bool) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return num{}, false
	}
	if i := int64(f); float64(i) == f && math.Abs(f) < 1<<53 {
		return num{small: i}, true
	}
	r, ok := new(big.Rat).SetString(strconv.FormatFloat(f, 'g', -1, bits))
	return num{big: r}, ok
}
