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

func TestTheSenderPatternSaysWhereBouncesGo(t *testing.T) {
	t.Parallel()
	const from = "News <news@example.com>"
	for _, test := range []struct{ from, envelopeSender, bounceDomain, want string }{
		{from, "", "", "news@example.com"},
		{from, "", "bounce.example.com", "b-*@bounce.example.com"},
		{from, "returns@example.org", "bounce.example.com", "returns@example.org"},
		{from, "returns+*@Bücher.example", "bounce.example.com", "returns+*@xn--bcher-kva.example"},
		{"nobody", "", "", ""},
	} {
		in := workflows.Input{From: test.from, EnvelopeSender: test.envelopeSender}
		if got := content.SenderPattern(in, test.bounceDomain); got != test.want {
			t.Errorf("%+v: got %q", test, got)
		}
	}
}
