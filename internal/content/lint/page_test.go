package lint_test

import (
	"os"
	"strings"
	"testing"

	"directmailer/internal/content/lint"
)

// page is the page that describes all codes.
const page = "../../../docs/check.md"

func TestTheTableOfThePageIsThatOfTheRules(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	want.WriteString("| code | severity | what it means | what to do |\n| --- | --- | --- | --- |\n")
	for _, rule := range lint.Rules() {
		cell := strings.NewReplacer("|", `\|`, "<", "&lt;").Replace
		want.WriteString("| `" + string(rule.Code) + "` | " + string(rule.Severity) + " | " + cell(rule.Meaning) + " | " +
			strings.ToUpper(rule.Action[:1]) + cell(rule.Action[1:]) + " |\n")
	}
	if !strings.Contains(string(text), "\n\n"+want.String()) {
		t.Errorf("the table of %s must be:\n%s", page, want.String())
	}
}
