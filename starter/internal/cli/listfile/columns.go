package listfile

import (
	"strings"

	"directmailer/internal/audience/member"
	"directmailer/starter/internal/output"
)

// Mapping describes what becomes of the columns of a list file.
var Mapping = output.Table[member.Column]{
	{Title: "column", Right: true, Cell: func(c member.Column) string { return output.Thousands(int64(c.Number)) }},
	{Title: "header", Wrap: 40, Cell: func(c member.Column) string { return output.Clean(strings.TrimSpace(c.Header)) }},
	{Title: "field", Wrap: 40, Cell: fieldOf},
}

func fieldOf(c member.Column) string {
	switch {
	case c.Address:
		return "{{.email}} (the address)"
	case c.Field == "" && strings.TrimSpace(c.Header) == "":
		return "left out: it has no name"
	case c.Field == "":
		return "left out: its name has no letter"
	}
	return member.Action(c.Field)
}

// IsRenamed reports whether a column has another name in templates than in the file.
func IsRenamed(c member.Column) bool { return !c.Address && c.Header != c.Field }
