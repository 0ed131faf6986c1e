package start

import (
	"strings"
	"testing"

	"directmailer/internal/naming"
	"directmailer/workflows"
)

func TestTheIDOfATestIsValidWhereverThatOfItsMailingIsCut(t *testing.T) {
	t.Parallel()
	for n := range 100 {
		id := strings.Repeat("a", n+1) + "-2026.spring_letter"
		if got := testInput(workflows.Input{ID: id}).ID; !naming.ValidID(got) {
			t.Errorf("%s: %s", id, got)
		}
	}
}
