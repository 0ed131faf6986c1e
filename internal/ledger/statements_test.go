package ledger

import (
	"strings"
	"testing"
)

// The two statements of the gate differ in how they write results, and in nothing else.
func TestBothStatementsOfTheGateTakeTheSameClaimsAndIntents(t *testing.T) {
	t.Parallel()
	part := func(statement, from, to string) string {
		_, rest, found := strings.Cut(statement, from)
		text, _, ended := strings.Cut(rest, to)
		if !found || !ended {
			t.Fatalf("no part from %q to %q in\n%s", from, to, statement)
		}
		return text
	}
	for _, c := range []struct{ from, to string }{
		{"WITH held AS MATERIALIZED (", "\n)"},
		{"intents AS (", "\n)"},
		{"unnest($4", "AS x"},
	} {
		if a, b := part(commitGroup, c.from, c.to), part(commitSecondOutcomes, c.from, c.to); a != b {
			t.Errorf("%s\ngate.sql has %s\ngate_second_outcomes.sql has %s", c.from, a, b)
		}
	}
}
