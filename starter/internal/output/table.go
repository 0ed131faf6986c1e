package output

import (
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Column describes one column of a table of T.
type Column[T any] struct {
	Title string
	Cell  func(T) string
	Right bool // flush right, for numbers
	// Wrap is the width below which the column is not wrapped. Zero: the column is never wrapped.
	Wrap int
}

// Table describes an answer of several T: a table with these columns, or a JSON array of T.
type Table[T any] []Column[T]

// Write writes the rows in the format.
func (t Table[T]) Write(w io.Writer, f *Format, rows []T) error {
	if f.JSON() {
		return WriteJSON(w, append([]T{}, rows...)) // [] and not null
	}
	t.Render(w, rows)
	return nil
}

// maxWidth is the width that tables fit in, whatever the names and texts in them.
const maxWidth = 120

// minWidth is the width that tables have even on a narrower terminal.
const minWidth = 80

// Render writes the table for people. It fits in 120 columns, or in a narrower terminal.
func (t Table[T]) Render(w io.Writer, rows []T) {
	width := maxWidth
	if columns, ok := Terminal(w); ok {
		width = min(max(columns, minWidth), maxWidth)
	}
	cells := make([][]string, len(rows))
	for i, row := range rows {
		for _, c := range t {
			cells[i] = append(cells[i], c.Cell(row))
		}
	}
	out := newWriter(w)
	out.AppendHeader(t.header())
	out.SetColumnConfigs(t.layout(cells, width))
	for _, row := range cells {
		out.AppendRow(asRow(row))
	}
	out.Render()
}

func (t Table[T]) header() table.Row {
	row := make(table.Row, len(t))
	for i, c := range t {
		row[i] = c.Title
	}
	return row
}

// layout divides the width among the columns. Where there is not enough room for all, it wraps
// those that may be wrapped. Those that need less leave the rest to the others.
func (t Table[T]) layout(cells [][]string, width int) []table.ColumnConfig {
	room := width - 3*len(t) - 1 // the lines and blanks between the columns
	needs := make([]int, len(t))
	for i, c := range t {
		needs[i] = text.LongestLineLen(c.Title)
		for _, row := range cells {
			needs[i] = max(needs[i], text.LongestLineLen(row[i]))
		}
		if c.Wrap > 0 {
			room -= min(needs[i], c.Wrap)
		} else {
			room -= needs[i]
		}
	}
	configs := make([]table.ColumnConfig, len(t))
	for i, c := range t {
		config := table.ColumnConfig{Number: i + 1}
		if c.Right {
			config.Align, config.AlignHeader = text.AlignRight, text.AlignRight
		}
		if c.Wrap > 0 {
			least := min(needs[i], c.Wrap)
			config.WidthMax = min(needs[i], least+max(room, 0))
			config.WidthMaxEnforcer = wrapLines
			room -= config.WidthMax - least
		}
		configs[i] = config
	}
	return configs
}

// wrapLines wraps each line of a text between words, or in a word that is too long.
func wrapLines(s string, width int) string {
	var lines []string
	for line := range strings.SplitSeq(s, "\n") {
		lines = append(lines, text.WrapText(text.WrapSoft(line, width), width))
	}
	return strings.Join(lines, "\n")
}

func asRow(cells []string) table.Row {
	row := make(table.Row, len(cells))
	for i, c := range cells {
		row[i] = c
	}
	return row
}

func newWriter(w io.Writer) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	return t
}
