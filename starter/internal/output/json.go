package output

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"

	"directmailer/internal/foreign"
)

// WriteJSON writes one JSON value, indented.
func WriteJSON(w io.Writer, v any) error { return write(w, v, "  ") }

// WriteLine writes one JSON value on one line.
func WriteLine(w io.Writer, v any) error { return write(w, v, "") }

func write(w io.Writer, v any, indent string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(escapeInvisible(b.Bytes()))
	return err
}

// escapeInvisible escapes control and invisible characters beyond ASCII, which encoding/json leaves
// as they are. A terminal may obey them. In JSON they stand in strings only.
func escapeInvisible(encoded []byte) []byte {
	first := bytes.IndexFunc(encoded, mustEscape)
	if first < 0 {
		return encoded
	}
	out := append([]byte{}, encoded[:first]...)
	for _, r := range string(encoded[first:]) {
		switch {
		case !mustEscape(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

func mustEscape(r rune) bool {
	return r >= 0x7f && foreign.Invisible(r)
}

// Array writes a JSON array element by element, one a line, so that memory does not grow with it.
// An array that was cut short is not valid JSON.
type Array struct {
	w     io.Writer
	count int
	buf   bytes.Buffer
}

// NewArray returns an array that is written to w.
func NewArray(w io.Writer) *Array { return &Array{w: w} }

// Add writes one element.
func (a *Array) Add(v any) error {
	a.buf.Reset()
	a.buf.WriteString(",\n")
	if a.count == 0 {
		a.buf.Reset()
		a.buf.WriteString("[\n")
	}
	a.count++
	if err := WriteLine(&a.buf, v); err != nil {
		return err
	}
	_, err := a.w.Write(bytes.TrimSuffix(a.buf.Bytes(), []byte("\n")))
	return err
}

// End writes the end of the array.
func (a *Array) End() error {
	last := "\n]\n"
	if a.count == 0 {
		last = "[]\n"
	}
	_, err := io.WriteString(a.w, last)
	return err
}
