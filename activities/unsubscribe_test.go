package activities

import (
	"testing"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/feedback"
	"directmailer/internal/feedback/token/tokentest"
	"directmailer/workflows"
)

// A mailing without a listener is refused, unless it says that nobody can unsubscribe: nothing is
// silently sent without.
func TestAMailingWithoutAListenerIsRefusedUnlessItSaysNone(t *testing.T) {
	t.Parallel()
	_, a := prepared(t, 1, workflows.Content{Text: "Hello"})
	a.dropPoints = droppoint.NewSet([]droppoint.Config{{Name: "drop", Dir: t.TempDir(), Connections: 1}})
	in := workflows.Input{ID: "summer", From: "News <news@example.com>", Subject: "Hello", List: "people",
		Content: workflows.Content{Text: "Leave: {{.unsubscribe_url}}"}}.WithDefaults()
	for name, settings := range map[string]feedback.Settings{"nothing": {}, "keys alone": {Keys: tokentest.Keys(t, "n")}} {
		a.Feedback = settings
		problems, err := a.check(t.Context(), in)
		want := workflows.Problem{Field: "unsubscribe", Message: "a link needs the public listener: set DM_TOKEN_KEYS " +
			"and DM_PUBLIC_URL on every worker (see docs/unsubscribe.md), or write unsubscribe: none"}
		if err != nil || len(problems) != 1 || problems[0] != want {
			t.Errorf("%s: got %v, %v", name, problems, err)
		}
	}
	a.Feedback = feedback.Settings{Keys: tokentest.Keys(t, "n"), PublicURL: "https://mail.example.com"}
	if problems, err := a.check(t.Context(), in); err != nil || len(problems) > 0 {
		t.Errorf("with a listener: %v, %v", problems, err)
	}
	a.Feedback, in.Unsubscribe, in.Content.Text = feedback.Settings{}, workflows.UnsubscribeNone, "Hello"
	if problems, err := a.check(t.Context(), in); err != nil || len(problems) > 0 {
		t.Errorf("none: %v, %v", problems, err)
	}
}
