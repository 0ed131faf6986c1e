package content_test

import (
	"bytes"
	"net/mail"
	"strings"
	"testing"
	"time"

	"directmailer/internal/content"
	"directmailer/internal/content/dkim"
	"directmailer/internal/content/render"
	"directmailer/internal/feedback"
	"directmailer/workflows"
)

// rendered returns the header of a recipient's message in a mailing whose recipients come from
// origin.
func rendered(t *testing.T, in workflows.Input, origin string, number int32) mail.Header {
	t.Helper()
	in.Subject, in.Content.Text = "News", "Hello"
	c, err := content.Compile(in, origin, time.Unix(0, 0), dkim.Keys{}, feedback.Settings{}.PreviewLinks())
	if err != nil {
		t.Fatal(err)
	}
	to := render.Recipient{Number: number, Address: "ann@example.org"}
	out, _, err := c.Template.NewRenderer(t.Context()).Render(nil, to)
	if err != nil {
		t.Fatal(err)
	}
	m, err := mail.ReadMessage(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	return m.Header
}

func TestAMailingIsKnownByItsListAndToGmailByItsMailing(t *testing.T) {
	t.Parallel()
	const long = "a-rather-long-name-of-a-sender.example"
	for _, test := range []struct{ from, origin, list, feedback string }{
		{"News <news@example.com>", "people", "<people.example.com>", "spring:people:example.com"},
		{"news@mail.example.co.uk", "people", "<people.mail.example.co.uk>", "spring:people:example.co.uk"},
		{"news@example.com", "query:crm", "<crm.query.example.com>", "spring:crm:example.com"},
		{"news@example.com", "continue:winter", "", "spring:winter:example.com"}, // an origin that is not known
		{"news@" + long, "people", "<people." + long + ">", "spring:people:"},
		{"news@a.io", "people", "<people.a.io>", "spring:people:"},
		{"n@" + strings.Repeat("a.", 122) + "example", "people", "", "spring:people:a.example"},
	} {
		in := workflows.Input{ID: "spring", From: test.from, EnvelopeSender: "bounces@other.example"}
		header := rendered(t, in, test.origin, 1)
		if got := header.Get("List-Id"); got != test.list {
			t.Errorf("%s, %s: List-Id %q, want %q", test.from, test.origin, got, test.list)
		}
		got := header.Get("Feedback-Id")
		if !strings.HasPrefix(got, test.feedback) {
			t.Errorf("%s, %s: Feedback-ID %q, want %q", test.from, test.origin, got, test.feedback)
		}
		sender := got[strings.LastIndexByte(got, ':')+1:]
		if strings.Count(got, ":") != 2 || len(sender) < 5 || len(sender) > 15 {
			t.Errorf("Gmail does not take the Feedback-ID %q", got)
		}
		if other := rendered(t, in, test.origin, 2).Get("Feedback-Id"); other != got {
			t.Errorf("the Feedback-ID of one recipient is %q, of another %q", got, other)
		}
	}
}

func TestAMailingMayHaveAFeedbackIDOfItsOwn(t *testing.T) {
	t.Parallel()
	in := workflows.Input{
		ID: "spring", From: "news@example.com", Headers: map[string]string{"feedback-id": "a:b:c:sender"},
	}
	if got := rendered(t, in, "people", 1)["Feedback-Id"]; len(got) != 1 || got[0] != "a:b:c:sender" {
		t.Errorf("got %q", got)
	}
}

func TestMailThatNobodyCanLeaveSaysThatAProgramHasSentIt(t *testing.T) {
	t.Parallel()
	in := workflows.Input{ID: "receipt", From: "shop@example.com"}
	if got := rendered(t, in, "people", 1).Get("Auto-Submitted"); got != "" {
		t.Errorf("mail of a list says %q", got)
	}
	in.Unsubscribe = workflows.UnsubscribeNone
	if got := rendered(t, in, "people", 1).Get("Auto-Submitted"); got != "auto-generated" {
		t.Errorf("a notice says %q", got)
	}
	in.Headers = map[string]string{"auto-submitted": "no"}
	if got := rendered(t, in, "people", 1)["Auto-Submitted"]; len(got) != 1 || got[0] != "no" {
		t.Errorf("a header of the mailing does not replace it: %q", got)
	}
}
