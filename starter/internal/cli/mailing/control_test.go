package mailing

import (
	"strings"
	"testing"

	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
)

// Temporal keeps an update that was sent, and may give it to the next worker.
func TestOnlyAnUpdateThatWasNotSentIsSaidToHaveChangedNothing(t *testing.T) {
	t.Parallel()
	for _, sent := range []bool{false, true} {
		err := Refusal("spring", "pause", &noAnswer{"no worker", sent})
		if command.CodeOf(err) != exit.NoTemporal || strings.Contains(err.Error(), "nothing was changed") == sent ||
			strings.Contains(err.Error(), "`starter show spring`") != sent {
			t.Errorf("sent %v: %v", sent, err)
		}
	}
}
