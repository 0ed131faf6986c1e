package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"directmailer/internal/audience/field"
)

// fields are the fields of one recipient, in the two forms that templates look at.
type fields struct {
	values field.Values   // for quick templates
	typed  map[string]any // for the engine; empty until the engine needs them
}

func newFields() fields { return fields{values: field.Values{}, typed: map[string]any{}} }

func (f *fields) clear() {
	clear(f.values)
	if len(f.typed) > 0 {
		clear(f.typed)
	}
}

// set sets a field. A text is set as bodies show it.
func (f *fields) set(name string, v field.Value) {
	if v.Kind == field.Text {
		v.Text = fieldValue(v.Text)
	}
	f.values[name] = v
}

// forEngine returns the fields as values of Go. A list or an object that is nested too deep is an
// error: to print it would take time by its size times its depth.
func (f *fields) forEngine() (map[string]any, error) {
	if len(f.typed) > 0 {
		return f.typed, nil
	}
	for name, v := range f.values {
		value := typedValue(v)
		if v.Kind == field.JSON {
			room := maxField
			if !weighValue(value, &room, maxNesting) {
				f.typed = map[string]any{}
				return nil, &valueError{what: "." + name, reason: "is nested too deep or too large for a template"}
			}
		}
		f.typed[name] = value
	}
	return f.typed, nil
}

// maxField is how large a list or an object of a query may be, in octets of memory.
const maxField = 16 * maxValue

// typedValue returns a field as a value of Go: a text, an int64, a decimal, a bool, a listValue or
// a dictValue. NULL is an empty text.
func typedValue(v field.Value) any {
	switch v.Kind {
	case field.Number:
		return typedNumber(v.Text)
	case field.Bool:
		return v.Text == "true"
	case field.JSON:
		document, err := readDocument(v.Text)
		if err != nil {
			return v.Text
		}
		return document
	}
	return v.Text
}

// typedNumber returns a number as an int64 if that prints the same. One with an enormous exponent,
// which only fromJson can meet, stays a text.
func typedNumber(text string) any {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && (n != 0 || text == "0") {
		return n
	}
	if !field.IsNumber(text) && !numeral.MatchString(text) {
		return text
	}
	return decimal(text)
}

// readDocument reads JSON as values of Go.
func readDocument(text string) (any, error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var document any
	if err := decoder.Decode(&document); err != nil {
		return nil, err
	}
	return typedPart(document), nil
}

func typedPart(part any) any {
	switch part := part.(type) {
	case nil:
		return ""
	case string:
		return fieldValue(part)
	case json.Number:
		return typedNumber(part.String())
	case []any:
		for i := range part {
			part[i] = typedPart(part[i])
		}
		return listValue(part)
	case map[string]any:
		for name := range part {
			part[name] = typedPart(part[name])
		}
		return dictValue(part)
	}
	return part
}

// listValue is an array of a query. It prints its values with commas between them.
type listValue []any

func (l listValue) String() string {
	texts := make([]string, len(l))
	for i, each := range l {
		texts[i] = printed(each)
	}
	return strings.Join(texts, ", ")
}

// dictValue is an object of a query's JSON. It prints as JSON.
type dictValue map[string]any

func (d dictValue) String() string { return jsonText(map[string]any(d)) }

// MarshalJSON is needed because of String.
func (d dictValue) MarshalJSON() ([]byte, error) { return []byte(d.String()), nil }

func jsonText(v any) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(v) != nil {
		return ""
	}
	return strings.TrimSpace(b.String())
}

// decimal is a number as it is written, without loss: 12.50 prints as 12.50.
type decimal string

func (d decimal) String() string { return string(d) }

// MarshalJSON writes the number as a number of JSON.
func (d decimal) MarshalJSON() ([]byte, error) { return []byte(d), nil }

// Format formats the number for each verb that fits a text, a fraction, or a whole number when it
// is one. It rounds halves away from zero, as PostgreSQL does.
func (d decimal) Format(f fmt.State, verb rune) {
	n, ok := ratNumber(string(d))
	switch {
	case verb == 's' || verb == 'v' || verb == 'q':
		fmt.Fprintf(f, fmt.FormatString(f, verb), string(d))
	case (verb == 'f' || verb == 'F') && ok:
		formatFixed(f, n)
	case (verb == 'e' || verb == 'E' || verb == 'g' || verb == 'G') && ok:
		float, _ := n.rat().Float64()
		fmt.Fprintf(f, fmt.FormatString(f, verb), float)
	case ok && n.big == nil:
		fmt.Fprintf(f, fmt.FormatString(f, verb), n.small)
	case ok && n.big.IsInt() && verb == 'd':
		n.big.Num().Format(f, verb)
	default:
		fmt.Fprintf(f, "%%!%c(number)", verb)
	}
}

// formatFixed is %f without the rounding of a float.
func formatFixed(f fmt.State, n num) {
	digits, ok := f.Precision()
	if !ok {
		digits = 6
	}
	text := n.rat().FloatString(min(digits, maxNumeral))
	sign, text := "", strings.TrimPrefix(text, "-")
	switch {
	case n.sign() < 0:
		sign = "-"
	case f.Flag('+'):
		sign = "+"
	case f.Flag(' '):
		sign = " "
	}
	width, _ := f.Width()
	pad := max(min(width, maxNumeral)-len(sign)-len(text), 0)
	switch {
	case f.Flag('-'):
		text = sign + text + strings.Repeat(" ", pad)
	case f.Flag('0'):
		text = sign + strings.Repeat("0", pad) + text
	default:
		text = strings.Repeat(" ", pad) + sign + text
	}
	_, _ = f.Write([]byte(text))
}

// floatText writes a float without an exponent.
func floatText(f float64) (decimal, error) {
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if !field.IsNumber(text) {
		return "", errNoNumber
	}
	return decimal(text), nil
}

// moment is a date or a time that a helper has read. Templates cannot call the methods of a
// time.Time, because some of them look at the machine's time zone.
type moment struct {
	at    time.Time
	zoned bool // the text that was read had a time zone
}

func (m moment) String() string { return printedTime(m.at) }

// MarshalJSON writes the date as a text.
func (m moment) MarshalJSON() ([]byte, error) { return json.Marshal(m.String()) }
