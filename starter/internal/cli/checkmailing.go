package cli

import (
	"fmt"
	"io"
	"strings"

	"directmailer/internal/content/lint"
	"directmailer/starter/internal/cli/start"
	"directmailer/starter/internal/output"
)

// checkedMailing is the answer of `starter check -f`.
type checkedMailing struct {
	Mailing     start.Checked `json:"mailing"`
	Environment []finding     `json:"environment"`
}

// mailingFindings describes the findings of a mailing.
var mailingFindings = output.Table[lint.Finding]{
	{Title: "finding", Cell: func(f lint.Finding) string { return string(f.Code) }},
	{Title: "severity", Cell: severity},
	{Title: "where", Wrap: 24, Cell: start.WhereOf},
	{Title: "what is wrong, and what to do", Wrap: 30, Cell: func(f lint.Finding) string {
		return output.Clean(f.Message + ": " + f.Action)
	}},
}

func severity(f lint.Finding) string {
	if f.Severity == lint.Error {
		return strings.ToUpper(string(f.Severity))
	}
	return string(f.Severity)
}

// checkedMailings describes the answer about a mailing.
var checkedMailings = output.Record[checkedMailing]{
	Fields: func(c checkedMailing) []output.Field {
		fields := []output.Field{{Name: "mailing file", Text: c.Mailing.File}, {Name: "sample", Text: sampled(c.Mailing)}}
		if c.Mailing.Largest.Message == 0 {
			return fields
		}
		return append(fields,
			output.Field{Name: "largest message", Text: output.Count(c.Mailing.Largest.Message, "octet")},
			output.Field{Name: "largest HTML part", Text: output.Count(c.Mailing.Largest.HTML, "octet")})
	},
	Rest: func(w io.Writer, c checkedMailing) {
		if len(c.Mailing.Findings) > 0 {
			mailingFindings.Render(w, c.Mailing.Findings)
		} else {
			fmt.Fprintln(w, "nothing was found")
		}
		fmt.Fprintln(w, "The mailing was checked with the environment of this shell. That of the workers may differ.")
		findings.Render(w, c.Environment)
	},
}

func sampled(c start.Checked) string {
	text := output.Count(c.Sampled, "recipient") + " rendered"
	if c.Failed > 0 {
		text += fmt.Sprintf(", %d would fail", c.Failed)
	}
	return text
}
