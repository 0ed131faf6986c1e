package listfile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"directmailer/internal/audience/charset"
	"directmailer/internal/audience/csvlist"
	"directmailer/internal/audience/member"
	"directmailer/internal/audience/statuscolumn"
	"directmailer/starter/internal/output"
)

// Decisions is what the reading of a list file has decided.
type Decisions struct {
	Encoding  string            `json:"encoding"`
	Letters   string            `json:"letters,omitempty"` // by which the encoding was recognized
	Separator string            `json:"separator"`
	Mapping   []member.Column   `json:"mapping"`
	Filled    int64             `json:"filled"`   // rows whose last cells were missing
	LeftOut   []csvlist.LeftOut `json:"left_out"` // rows that a status column leaves out
	// Contradicted is how many active rows are left out because another row says that their address
	// must not be mailed.
	Contradicted int64                 `json:"contradicted"`
	Reasons      []Reason              `json:"reasons"` // of rejected rows
	Warnings     []csvlist.Warning     `json:"warnings"`
	Status       []statuscolumn.Report `json:"status_columns"`
}

// Reason is how many rows were rejected for a reason.
type Reason struct {
	Reason string `json:"reason"`
	Rows   int64  `json:"rows"`
}

// mostReasons is how many reasons are counted one by one.
const mostReasons = 20

type reasonCounts map[string]int64

func (r reasonCounts) add(reason string) {
	if _, there := r[reason]; !there && len(r) >= mostReasons {
		reason = "other reasons"
	}
	r[reason]++
}

func decisionsOf(f *csvlist.File, r *csvlist.Reader, reasons reasonCounts) Decisions {
	d := Decisions{
		Encoding: f.Encoding, Letters: f.Letters, Separator: string(f.Separator), Mapping: f.Mapping,
		Filled: r.Filled(), LeftOut: r.LeftOut(), Reasons: []Reason{},
		Warnings: append([]csvlist.Warning{}, f.Warnings...), Status: append([]statuscolumn.Report{}, f.Status...),
	}
	for reason, n := range reasons {
		d.Reasons = append(d.Reasons, Reason{reason, n})
	}
	slices.SortFunc(d.Reasons, func(a, b Reason) int {
		return cmp.Or(cmp.Compare(b.Rows, a.Rows), cmp.Compare(a.Reason, b.Reason))
	})
	return d
}

var separators = map[string]string{",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars (|)"}

var encodings = map[string]string{
	charset.UTF8: "UTF-8", charset.UTF16LE: "UTF-16 (little-endian)", charset.UTF16BE: "UTF-16 (big-endian)",
	charset.Windows1252: "Windows-1252",
}

// Lines says for people what was decided, all but the mapping. The file is named as in file.
func (d Decisions) Lines(file string) (lines []string) {
	say := func(format string, args ...any) { lines = append(lines, output.Clean(fmt.Sprintf(format, args...))) }
	if text := d.format(); text != "" {
		say("%s: %s", file, text)
	}
	for _, w := range d.Warnings {
		say("%s:%d: warning: column %d %s (%s)", file, w.Line, w.Column, w.Text, output.Count(w.Rows, "row"))
	}
	if d.Filled > 0 {
		say("%s filled up: the last cells were missing", output.Count(d.Filled, "row"))
	}
	if len(d.LeftOut) > 0 {
		say("%s left out by status: %s", output.Count(d.LeftOutRows(), "row"), joinLeftOut(d.LeftOut))
	}
	if d.Contradicted > 0 {
		say("%s left out: another row says that the address must not be mailed", output.Count(d.Contradicted, "row"))
	}
	for _, r := range d.Reasons {
		say("%s rejected: %s", output.Count(r.Rows, "row"), r.Reason)
	}
	return lines
}

// format says how the file is written.
func (d Decisions) format() string {
	separator := cmp.Or(separators[d.Separator], "the character "+d.Separator)
	text := cmp.Or(encodings[d.Encoding], d.Encoding) + ", separated by " + separator
	if d.Encoding == charset.Windows1252 && d.Letters != "" {
		text += ". The encoding was recognized by these characters: " + d.Letters +
			". If they are wrong, name the encoding"
	}
	return text
}

func joinLeftOut(all []csvlist.LeftOut) string {
	var values []string
	for _, l := range all {
		values = append(values, fmt.Sprintf("%s=%s %s", l.Column, l.Value, output.Thousands(l.Rows)))
	}
	return strings.Join(values, ", ")
}

// LeftOutRows is the number of rows that a status column leaves out.
func (d Decisions) LeftOutRows() (n int64) {
	for _, l := range d.LeftOut {
		n += l.Rows
	}
	return n
}
