package output_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"directmailer/starter/internal/output"
)

type relay struct {
	Name   string `json:"name"`
	Detail string `json:"detail"`
	Sent   int    `json:"sent"`
}

var relays = output.Table[relay]{
	{Title: "relay", Cell: func(r relay) string { return r.Name }, Wrap: 24},
	{Title: "detail", Cell: func(r relay) string { return r.Detail }, Wrap: 50},
	{Title: "sent", Cell: func(r relay) string { return output.Thousands(r.Sent) }, Right: true},
}

func TestATableFitsOnAPageWhateverIsInIt(t *testing.T) {
	t.Parallel()
	for name, rows := range map[string][]relay{
		"nothing":    {},
		"short":      {{"mx", "connects", 1000}},
		"long names": {{strings.Repeat("backup-relay-", 8), "x", 123_456_789}},
		"long texts": {{"mx", strings.Repeat("tls: the certificate is valid for other.example.com; ", 5), 1},
			{"y", strings.Repeat("x", 300), 2}},
		"wide runes": {{"mx", strings.Repeat("小", 200), 9999}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			relays.Render(&b, rows)
			for line := range strings.Lines(b.String()) {
				if n := text.StringWidthWithoutEscSequences(strings.TrimSuffix(line, "\n")); n > 120 {
					t.Errorf("%d columns: %s", n, line)
				}
			}
			for _, r := range rows {
				if !contains(b.String(), r.Name) || !contains(b.String(), r.Detail) {
					t.Errorf("%v is not in\n%s", r, b.String())
				}
			}
		})
	}
	var b bytes.Buffer
	relays.Render(&b, []relay{{"mx", "connects", 1000}})
	if !strings.Contains(b.String(), "│ mx    │ connects │ 1,000 │") {
		t.Errorf("what fits is wrapped:\n%s", b.String())
	}
}

// contains looks for a text in the columns of a table, however it is wrapped.
func contains(rendered, want string) bool {
	columns := make([]strings.Builder, 20)
	for line := range strings.Lines(rendered) {
		for i, cell := range strings.Split(line, "│") {
			columns[i].WriteString(strings.Join(strings.Fields(cell), ""))
		}
	}
	for i := range columns {
		if strings.Contains(columns[i].String(), strings.Join(strings.Fields(want), "")) {
			return true
		}
	}
	return false
}

func TestTheSameRowsAreATableAndJSON(t *testing.T) {
	t.Parallel()
	cmd := &cobra.Command{}
	format := output.AddFormat(cmd, "table", "json")
	rows := []relay{{"mx", "a <b> & c", 7}}
	var b bytes.Buffer
	if err := relays.Write(&b, format, rows); err != nil || !strings.Contains(b.String(), "│ mx ") {
		t.Errorf("%v\n%s", err, b.String())
	}
	if err := cmd.Flags().Set("output", "json"); err != nil {
		t.Fatal(err)
	}
	b.Reset()
	var got []relay
	if err := relays.Write(&b, format, rows); err != nil || json.Unmarshal(b.Bytes(), &got) != nil || len(got) != 1 ||
		got[0] != rows[0] {
		t.Errorf("%v\n%s", err, b.String())
	}
	b.Reset()
	if err := relays.Write(&b, format, nil); err != nil || b.String() != "[]\n" {
		t.Errorf("nothing is %q, %v", b.String(), err)
	}
	if err := cmd.Flags().Set("output", "xml"); err == nil || !strings.Contains(err.Error(), "must be table or json") {
		t.Errorf("xml: %v", err)
	}
}

func TestAnArrayIsJSONAtEveryLength(t *testing.T) {
	t.Parallel()
	for n := range 3 {
		var b bytes.Buffer
		a := output.NewArray(&b)
		for i := range n {
			if err := a.Add(map[string]any{"n": i, "text": "<a> & b"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.End(); err != nil {
			t.Fatal(err)
		}
		var got []map[string]any
		if err := json.Unmarshal(b.Bytes(), &got); err != nil || len(got) != n {
			t.Errorf("%d elements: %v, %d read from %q", n, err, len(got), b.String())
		}
		if n > 0 && !strings.Contains(b.String(), "<a> & b") {
			t.Errorf("text is escaped for HTML: %q", b.String())
		}
	}
}

func TestNumbersAndNounsReadAsPeopleWriteThem(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1000: "-1,000", -999: "-999",
		1234567: "1,234,567"} {
		if got := output.Thousands(n); got != want {
			t.Errorf("thousands(%d) = %q, want %q", n, got, want)
		}
	}
	for _, c := range []struct {
		n          int
		noun, want string
	}{{1, "row", "1 row"}, {2, "row", "2 rows"}, {0, "batch", "0 batches"}, {1, "address", "1 address"},
		{3000, "address", "3,000 addresses"}} {
		if got := output.Count(c.n, c.noun); got != c.want {
			t.Errorf("count(%d, %q) = %q, want %q", c.n, c.noun, got, c.want)
		}
	}
}

func TestErrorsAreOneLineThatCannotSteerATerminal(t *testing.T) {
	t.Parallel()
	got := output.OneLine("first\r\n\nsecond \x1b[2J\nfirst\n")
	if got != "first; second  [2J" {
		t.Errorf("%q", got)
	}
}
