package content

import (
	"fmt"
	"strings"
	"testing"

	"directmailer/workflows"
)

func TestFieldsThatNoColumnHasAreFoundWithLineAndColumn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		want       []string // field line:column
	}{
		{"plain", "Hello {{.first_name}},\n\nyou are {{.plna}}", []string{"plna 3:11"}},
		{"columns and email are known", "{{.first_name}} {{.plan}} {{.email}}", nil},
		{"in a condition and behind it", "{{if eq .x \"a\"}}é{{.y}}{{else}}{{.z}}{{end}}",
			[]string{"x 1:9", "y 1:20", "z 1:34"}},
		{"dot is something else inside with", "{{with .first_name}}{{.}}{{.nobody}}{{else}}{{.q}}{{end}}",
			[]string{"q 1:47"}},
		{"the root by its variable", "{{with .plan}}{{$.gone}}{{end}}", []string{"gone 1:18"}},
		{"as an argument", "{{printf \"%s\" (printf \"%s\" .gone)}}", []string{"gone 1:28"}},
		{"in a template that is called", "{{define \"foot\"}}{{.gone}}{{end}}{{template \"foot\" .}}", []string{"gone 1:20"}},
		{"by its name in quotes", `{{index . "gone"}}{{index $ "plan"}}{{with .plan}}{{index . "x"}}{{get $ "y z"}}{{end}}`,
			[]string{"gone 1:11", "y z 1:74"}},
		{"text that is no template is left to the compiler", "{{.first_name", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			in := workflows.Input{Content: workflows.Content{Text: c.text}}
			var got []string
			for _, p := range UnknownFields(in, []string{"first_name", "plan"}) {
				name := strings.TrimPrefix(strings.SplitN(p.Message, ":", 2)[0], "no column of the list is named ")
				got = append(got, fmt.Sprintf("%s %d:%d", name, p.Line, p.Column))
			}
			if strings.Join(got, ";") != strings.Join(c.want, ";") {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestFieldsOfPagesAreColumnsAndStaticContentHasNone(t *testing.T) {
	t.Parallel()
	in := workflows.Input{
		Subject: "{{.plan}}",
		Content: workflows.Content{
			PageURL:    "https://www.example.com/{{.number}}",
			PageColumn: "page",
			Text:       "{{.gone}}",
		},
	}
	var got []string
	for _, p := range UnknownFields(in, []string{"plan"}) {
		got = append(got, p.Field)
	}
	if strings.Join(got, " ") != "content.page_url content.text content.page_column" {
		t.Errorf("got %v", got)
	}
	if problems := UnknownFields(workflows.Input{Content: workflows.Content{Text: "{{.gone}}", Static: true}},
		nil); len(problems) > 0 {
		t.Errorf("static content: %v", problems)
	}
}

func TestAFieldInAnotherSpellingIsAnsweredWithTheRightOne(t *testing.T) {
	t.Parallel()
	columns := []string{"first_name", "ชื่อ_เล่น"}
	for text, want := range map[string]string{
		`{{.FirstName}}`:           "no column of the list is named FirstName: write {{.first_name}}",
		`{{index . "First name"}}`: "no column of the list is named First name: write {{.first_name}}",
		`{{index . "ชื่อเล่น"}}`:   "no column of the list is named ชื่อเล่น: write {{index . \"ชื่อ_เล่น\"}}",
		`{{.firstnames}}`: "no column of the list is named firstnames: there are email, first_name, ชื่อ_เล่น, " +
			"unsubscribe_url",
		`{{index . "ชื่อ_เล่น"}}`:    "",
		`{{.email}}{{.first_name}} `: "",
	} {
		got := ""
		for _, p := range UnknownFields(workflows.Input{Content: workflows.Content{Text: text}}, columns) {
			got += p.Message
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestFieldsOfNamesAndHeadersAreColumns(t *testing.T) {
	t.Parallel()
	in := workflows.Input{
		ToName: "{{.first_name}} {{.last}}", Headers: map[string]string{"X-B": "{{.plan}}", "X-A": "a {{.plna}}"},
		Content: workflows.Content{Text: "{{", Static: true},
	}
	var got []string
	for _, p := range UnknownFields(in, []string{"first_name", "plan"}) {
		got = append(got, fmt.Sprintf("%s %d:%d", p.Field, p.Line, p.Column))
	}
	if strings.Join(got, ";") != "to_name 1:19;headers.X-A 1:5" {
		t.Errorf("got %v", got)
	}
}
