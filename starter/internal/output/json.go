package output

import (
	"bytes"
	"encoding/json"
	"io"
)

// WriteJSON writes one JSON value, indented.
func WriteJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// WriteLine writes one JSON value on one line.
func WriteLine(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
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
