package output

import (
	"io"
	"slices"
)

// Record describes an answer of one T: its fields and what follows them, for people, or T as JSON.
type Record[T any] struct {
	Fields func(T) []Field
	// Rest writes the tables and lines under the fields. Nil: nothing follows.
	Rest func(io.Writer, T)
}

// Write writes the answer in the format.
func (r Record[T]) Write(w io.Writer, f *Format, answer T) error {
	if f.JSON() {
		return WriteJSON(w, answer)
	}
	r.Render(w, answer)
	return nil
}

// Render writes the answer for people.
func (r Record[T]) Render(w io.Writer, answer T) {
	renderFields(w, r.Fields(answer))
	if r.Rest != nil {
		r.Rest(w, answer)
	}
}

// Field is one line of a description: a name and a text.
type Field struct{ Name, Text string }

// renderFields writes the description of one thing for people. It leaves out fields without a text.
// On a terminal it wraps long texts. Elsewhere each text stays on one line, so that grep finds it.
func renderFields(w io.Writer, fields []Field) {
	shown := slices.DeleteFunc(slices.Clone(fields), func(f Field) bool { return f.Text == "" })
	if len(shown) == 0 {
		return
	}
	t := Table[Field]{
		{Cell: func(f Field) string { return f.Name }},
		{Cell: func(f Field) string { return Clean(f.Text) }, Wrap: 40},
	}
	cells := make([][]string, len(shown))
	out := newWriter(w)
	for i, f := range shown {
		cells[i] = []string{t[0].Cell(f), t[1].Cell(f)}
		out.AppendRow(asRow(cells[i]))
	}
	if columns, ok := Terminal(w); ok {
		out.SetColumnConfigs(t.layout(cells, max(columns, minWidth)))
	}
	out.Render()
}
