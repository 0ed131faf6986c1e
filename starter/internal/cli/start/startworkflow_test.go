package start

import (
	"strings"
	"testing"
	"time"

	"directmailer/workflows"
)

func TestADerivedIDIsAValidIDWhateverTheFileIsCalled(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 10, 15, 2, 0, time.UTC)
	for path, want := range map[string]string{
		"newsletter.yaml":                         "newsletter-20261123-101502",
		"/srv/mail/Spring sale (final).yml":       "Spring-sale-final-20261123-101502",
		"..yaml":                                  "mailing-20261123-101502",
		"новости.yaml":                            "mailing-20261123-101502",
		"a@example.com.yaml":                      "a-example-com-20261123-101502",
		strings.Repeat("long-", 40) + "name.yaml": strings.TrimSuffix(strings.Repeat("long-", 12), "-") + "-20261123-101502",
	} {
		got := derivedID(path, now)
		if got != want {
			t.Errorf("derivedID(%q) = %q, want %q", path, got, want)
		}
		for _, p := range (workflows.Input{ID: got}).Validate() {
			if p.Field == "id" {
				t.Errorf("derivedID(%q) = %q is no valid ID", path, got)
			}
		}
	}
}
