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
		PageURL: "https://{{.host}}/", PageColumn: "page", PageHosts: []string{"https://x.example"}, Text: "{{if}}"}}
	var fields []string
	for _, p := range content.Check(in) {
		fields = append(fields, p.Field)
	}
	if got := strings.Join(fields, " "); got != "subject content.text content.page_hosts[0] content.page_url" {
		t.Errorf("got %s", got)
	}
}
