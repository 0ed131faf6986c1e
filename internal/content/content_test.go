package content_test

import (
	"strings"
	"testing"

	"directmailer/internal/content"
	"directmailer/workflows"
)

func TestProblemsOfAPageAreAmongThoseOfTheContent(t *testing.T) {
	t.Parallel()
	in := workflows.Input{ID: "spring", From: "news@example.com", Subject: "{{", Content: workflows.Content{
		PageURL: "https://{{.host}}/", PageColumn: "page", PageHosts: []string{"https://x.example"}, Text: "{{if}}"},
		ToName: "{{", Headers: map[string]string{"Bcc": "x", "X-A": "a"}}
	var fields []string
	for _, p := range content.Check(in) {
		fields = append(fields, p.Field)
	}
	const want = "subject to_name headers.Bcc content.text content.page_hosts[0] content.page_url"
	if got := strings.Join(fields, " "); got != want {
		t.Errorf("got %s", got)
	}
}
