package cli

import (
	"strings"

	"directmailer/internal/audience/member"
	"directmailer/internal/content/render"
	"directmailer/starter/internal/output"
)

// columnMapping describes what becomes of the columns of a list file.
var columnMapping = output.Table[member.Column]{
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

// isRenamed reports whether a column has another name in templates than in the file.
func isRenamed(c member.Column) bool { return !c.Address && c.Header != c.Field }

// explainField adds to a problem how the field is written whose header stands in the template.
func explainField(p plan, problem render.Problem, mapping []member.Column) render.Problem {
	text := map[string]string{
		render.FieldSubject: p.in.Subject, render.FieldText: p.in.Content.Text,
		render.FieldHTML: p.in.Content.HTML, render.FieldPageURL: p.in.Content.PageURL,
	}[problem.Field]
	lines := strings.Split(text, "\n")
	if problem.Line < 1 || problem.Line > len(lines) {
		return problem
	}
	for _, c := range mapping {
		header := strings.TrimSpace(c.Header)
		if header == "" || c.Field == "" || !strings.Contains(lines[problem.Line-1], "."+header) {
			continue
		}
		action := member.Action(c.Field)
		if c.Address {
			action = "{{.email}}"
		}
		if action != "{{."+header+"}}" && !strings.Contains(problem.Message, action) {
			problem.Message += "; the column " + output.Clean(header) + " is " + action
		}
	}
	return problem
}
