package query

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"

	"directmailer/internal/audience/field"
)

// session makes the session print values in the one form that package render reads, whatever the
// source's settings are. ISO leaves the order of day and month in the query's own literals alone.
// With extra_float_digits, PostgreSQL prints a float so that nothing of it is lost.
const session = `SET LOCAL client_encoding = 'UTF8'; SET LOCAL datestyle = 'ISO'; ` +
	`SET LOCAL intervalstyle = 'postgres'; SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1`

// reader makes a field's value of what PostgreSQL prints for a value that is not NULL.
type reader func(text string) field.Value

// readers are the types that do not become texts.
var readers = map[uint32]reader{
	pgtype.BoolOID: readBool,
	pgtype.Int2OID: readNumber, pgtype.Int4OID: readNumber, pgtype.Int8OID: readNumber, pgtype.NumericOID: readNumber,
	pgtype.OIDOID:    readNumber,
	pgtype.Float4OID: func(text string) field.Value { return readFloat(text, 32) },
	pgtype.Float8OID: func(text string) field.Value { return readFloat(text, 64) },
	pgtype.JSONOID:   readDocument, pgtype.JSONBOID: readDocument,
}

// types knows the types that each PostgreSQL has.
var types = pgtype.NewMap()

// readerOf returns the reader of a column with that type, or nil when its values are texts.
func readerOf(oid uint32) reader {
	if r := readers[oid]; r != nil {
		return r
	}
	known, ok := types.TypeForOID(oid)
	if !ok {
		return nil
	}
	array, ok := known.Codec.(*pgtype.ArrayCodec)
	if !ok || array.ElementType.OID == pgtype.BoxOID { // boxes have another separator
		return nil
	}
	element := readerOf(array.ElementType.OID)
	return func(text string) field.Value { return readArray(text, element) }
}

func readText(text string) field.Value { return field.Value{Text: field.Trim(text)} }

func readBool(text string) field.Value {
	if text == "t" {
		return field.Value{Text: "true", Kind: field.Bool}
	}
	return field.Value{Text: "false", Kind: field.Bool}
}

// readNumber leaves NaN and Infinity texts: they are no numbers of JSON.
func readNumber(text string) field.Value {
	if field.IsNumber(text) {
		return field.Value{Text: text, Kind: field.Number}
	}
	return readText(text)
}

func readFloat(text string, bits int) field.Value {
	f, err := strconv.ParseFloat(text, bits)
	if err != nil || math.IsInf(f, 0) {
		return readText(text)
	}
	return readNumber(strconv.FormatFloat(f, 'f', -1, bits))
}

// readDocument reads JSON. What jsonb cannot keep (a NUL, an enormous number) stays a text.
func readDocument(text string) field.Value {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var document any
	if decoder.Decode(&document) != nil || decoder.Decode(&struct{}{}) != io.EOF {
		return readText(text)
	}
	document, err := storable(document)
	if err != nil {
		return readText(text)
	}
	switch document := document.(type) {
	case nil:
		return field.Value{Kind: field.Null}
	case string:
		return field.Value{Text: document}
	case bool:
		return field.Value{Text: strconv.FormatBool(document), Kind: field.Bool}
	case json.Number:
		return field.Value{Text: document.String(), Kind: field.Number}
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(document) != nil {
		return readText(text)
	}
	return field.Value{Text: strings.TrimSpace(b.String()), Kind: field.JSON}
}

var errNotStorable = errors.New("jsonb cannot keep it")

// storable returns a part of a document as the database keeps it: texts without blanks around them,
// numbers without an exponent.
func storable(part any) (any, error) {
	var err error
	switch part := part.(type) {
	case string:
		if strings.ContainsRune(part, 0) {
			return nil, errNotStorable
		}
		return field.Trim(part), nil
	case json.Number:
		return withoutExponent(part)
	case []any:
		for i := range part {
			if part[i], err = storable(part[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for name := range part {
			if strings.ContainsRune(name, 0) {
				return nil, errNotStorable
			}
			if part[name], err = storable(part[name]); err != nil {
				return nil, err
			}
		}
	}
	return part, nil
}

// maxExponent is the largest exponent of a number that is written without it. A float has no larger
// one.
const maxExponent = 400

func withoutExponent(n json.Number) (json.Number, error) {
	mantissa, exponent, has := strings.Cut(strings.ToLower(n.String()), "e")
	if !has {
		return n, nil
	}
	e, err := strconv.Atoi(exponent)
	value, ok := new(big.Rat).SetString(mantissa)
	if err != nil || e > maxExponent || e < -maxExponent || !ok {
		return "", errNotStorable
	}
	power := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(e, -e))), nil)
	if e < 0 {
		value.Quo(value, new(big.Rat).SetInt(power))
	} else {
		value.Mul(value, new(big.Rat).SetInt(power))
	}
	digits, _ := value.FloatPrec() // all of them: the denominator is a power of ten
	return json.Number(value.FloatString(digits)), nil
}

// readArray reads what PostgreSQL prints for an array: {1,NULL,{"a b",c}}, or [0:1]={1,2} with
// bounds.
func readArray(text string, element reader) field.Value {
	if element == nil {
		element = readText
	}
	body := text
	if strings.HasPrefix(text, "[") {
		_, body, _ = strings.Cut(text, "=")
	}
	a := arrayReader{rest: body, element: element}
	if !a.array(0) || a.rest != "" {
		return readText(text)
	}
	return field.Value{Text: string(a.out), Kind: field.JSON}
}

// arrayReader turns an array of PostgreSQL into one of JSON.
type arrayReader struct {
	rest    string
	element reader
	out     []byte
}

// maxDimensions is PostgreSQL's own limit.
const maxDimensions = 6

func (a *arrayReader) array(depth int) bool {
	if depth == maxDimensions || !a.take("{") {
		return false
	}
	a.out = append(a.out, '[')
	if a.take("}") {
		a.out = append(a.out, ']')
		return true
	}
	for {
		if strings.HasPrefix(a.rest, "{") {
			if !a.array(depth + 1) {
				return false
			}
		} else if !a.value() {
			return false
		}
		if a.take("}") {
			a.out = append(a.out, ']')
			return true
		}
		if !a.take(",") {
			return false
		}
		a.out = append(a.out, ',')
	}
}

func (a *arrayReader) take(prefix string) (ok bool) {
	a.rest, ok = strings.CutPrefix(a.rest, prefix)
	return ok
}

// value reads one element.
func (a *arrayReader) value() bool {
	if !strings.HasPrefix(a.rest, `"`) {
		end := strings.IndexAny(a.rest, ",}")
		if end < 0 {
			return false
		}
		text := a.rest[:end]
		a.rest = a.rest[end:]
		v := field.Value{Kind: field.Null}
		if text != "NULL" { // the text NULL is in quotes
			v = a.element(text)
		}
		a.out = field.AppendJSON(a.out, v)
		return true
	}
	var text []byte
	for i := 1; i < len(a.rest); i++ {
		switch c := a.rest[i]; {
		case c == '"':
			a.rest = a.rest[i+1:]
			a.out = field.AppendJSON(a.out, a.element(string(text)))
			return true
		case c == '\\' && i+1 < len(a.rest):
			i++
			text = append(text, a.rest[i])
		default:
			text = append(text, c)
		}
	}
	return false
}
