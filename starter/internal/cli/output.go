package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// choice is a flag with a few possible values.
type choice struct {
	value   string
	allowed []string
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return "format" }
func (c *choice) Set(s string) error {
	for _, v := range c.allowed {
		if s == v {
			c.value = s
			return nil
		}
	}
	return fmt.Errorf("must be one of %v", c.allowed)
}

func (c *choice) complete(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return c.allowed, cobra.ShellCompDirectiveNoFileComp
}

// outputFlag gives a command --output table|json.
func outputFlag(cmd *cobra.Command) *choice {
	c := &choice{"table", []string{"table", "json"}}
	cmd.Flags().VarP(c, "output", "o", "table or json")
	_ = cmd.RegisterFlagCompletionFunc("output", c.complete)
	return c
}

func (c *choice) json() bool { return c.value == "json" }

// writeJSON writes one indented JSON value.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// writeLine writes one JSON value on one line.
func writeLine(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// arrayWriter writes a JSON array while its elements come in, one a line: memory does not grow, and a stream that was cut short is no
// JSON.
type arrayWriter struct {
	w     io.Writer
	count int
	buf   bytes.Buffer
}

func (a *arrayWriter) add(v any) error {
	a.buf.Reset()
	a.buf.WriteString(",\n")
	if a.count == 0 {
		a.buf.Reset()
		a.buf.WriteString("[\n")
	}
	a.count++
	if err := writeLine(&a.buf, v); err != nil {
		return err
	}
	_, err := a.w.Write(bytes.TrimSuffix(a.buf.Bytes(), []byte("\n")))
	return err
}

func (a *arrayWriter) end() error {
	last := "\n]\n"
	if a.count == 0 {
		last = "[]\n"
	}
	_, err := io.WriteString(a.w, last)
	return err
}

// newTable returns a table in the style of all our tables; the columns named in numbers are set flush right.
func newTable(w io.Writer, header table.Row, numbers ...string) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	if header != nil {
		t.AppendHeader(header)
	}
	var configs []table.ColumnConfig
	for _, name := range numbers {
		configs = append(configs, table.ColumnConfig{Name: name, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(configs)
	return t
}

// pageWidth is what tables must fit in, whatever the names and texts in them.
const pageWidth = 120

// writeFitted writes a table of at most pageWidth columns. The columns named in least are wrapped
// where there is not enough room for all: none of them below that width, and those that need less
// leave the rest to the others.
func writeFitted(w io.Writer, header []string, rows [][]string, least map[string]int, numbers ...string) {
	t := newTable(w, asRow(header), numbers...)
	configs := make([]table.ColumnConfig, 0, len(header))
	room := pageWidth - 3*len(header) - 1 // what the lines and blanks between the columns leave
	needs := make([]int, len(header))
	for i, name := range header {
		needs[i] = text.LongestLineLen(name)
		for _, row := range rows {
			needs[i] = max(needs[i], text.LongestLineLen(row[i]))
		}
		if least[name] > 0 {
			room -= min(needs[i], least[name])
		} else {
			room -= needs[i]
		}
	}
	for i, name := range header {
		c := table.ColumnConfig{Name: name}
		if slices.Contains(numbers, name) {
			c.Align, c.AlignHeader = text.AlignRight, text.AlignRight
		}
		if least[name] > 0 {
			c.WidthMax = min(needs[i], least[name]+max(room, 0))
			c.WidthMaxEnforcer = wrapLines
			room -= c.WidthMax - min(needs[i], least[name])
		}
		configs = append(configs, c)
	}
	t.SetColumnConfigs(configs)
	for _, row := range rows {
		t.AppendRow(asRow(row))
	}
	t.Render()
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

// thousands writes a number as 1,234,567.
func thousands[T int | int32 | int64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// count writes a number with its noun: "1 row", "2 rows".
func count[T int | int64](n T, noun string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(noun, "s"), strings.HasSuffix(noun, "ch"):
		noun += "es"
	default:
		noun += "s"
	}
	return thousands(n) + " " + noun
}

// moment writes a time for people, in their own zone.
func moment(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 MST") }

// terminal tells whether w is one, and how many columns it has.
func terminal(w io.Writer) (int, bool) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 20 {
		return 0, false
	}
	return width, true
}
