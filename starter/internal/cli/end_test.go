package cli

import (
	"testing"

	"directmailer/workflows"
)

// A workflow may end between Temporal's description, which says that it runs, and its own answer.
// Its end is shown with the next description, which also has the reason.
func TestAnEndIsNotShownBeforeTemporalKnowsItsReason(t *testing.T) {
	t.Parallel()
	v := standing{ID: "m", State: workflows.StatePreparing}
	if v.with(live{known: true, pollers: 1, answer: &workflows.Status{State: workflows.StateFailed}}); v.ended() {
		t.Errorf("%s, without a reason", v.State)
	}
	if v.with(live{known: true, pollers: 1, ended: workflows.StateFailed, reason: "query.sql: line 1"}); !v.ended() || v.Reason == "" {
		t.Errorf("%s, because %q", v.State, v.Reason)
	}
}
