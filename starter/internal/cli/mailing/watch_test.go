package mailing

import (
	"strings"
	"testing"
	"time"

	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/status"
	"directmailer/workflows"
)

// A script must not take a mailing that reached nobody for one that reached all.
func TestTheExitCodeTellsWhetherACompletedMailingReachedItsRecipients(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		counts workflows.Counts
		code   exit.Code
		words  string
	}{
		"all":                   {workflows.Counts{Sent: 5}, exit.Done, ""},
		"all but the opted out": {workflows.Counts{Sent: 5, OptedOut: 3}, exit.Done, ""},
		"possibly twice":        {workflows.Counts{Sent: 5, PossiblyTwice: 1}, exit.Done, ""},
		"one failed": {workflows.Counts{Sent: 5, Failed: 1}, exit.SomeNotSent,
			"not all recipients were sent to (1 failed)"},
		"one bounced":   {workflows.Counts{Sent: 5, Bounced: 1}, exit.SomeNotSent, "(1 bounced)"},
		"one uncertain": {workflows.Counts{Sent: 5, Uncertain: 1}, exit.SomeNotSent, "(1 uncertain)"},
		"several": {workflows.Counts{Sent: 5, Bounced: 1200, Failed: 2, Uncertain: 3, OptedOut: 9}, exit.SomeNotSent,
			"(1,200 bounced, 2 failed, 3 uncertain)"},
		"only uncertain": {workflows.Counts{Uncertain: 2}, exit.SomeNotSent, "(2 uncertain)"},
		"nobody": {workflows.Counts{Failed: 2, Bounced: 1}, exit.NobodySent,
			"nobody was sent to (1 bounced, 2 failed)"},
		"everybody has opted out": {workflows.Counts{OptedOut: 2}, exit.NobodySent, "nobody was sent to (2 opted out)"},
	} {
		now := time.Now()
		v := status.Status{ID: "spring", State: workflows.StateCompleted, Counts: test.counts, Closed: true, ClosedAt: &now}
		err := EndError(v)
		if got := command.CodeOf(err); got != test.code {
			t.Errorf("%s: code %d, want %d", name, got, test.code)
		}
		if err != nil && (!strings.Contains(err.Error(), test.words) || !strings.Contains(err.Error(),
			"starter report spring")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A failover to an asynchronous standby can lose the end. Temporal has it.
	lost := status.Status{ID: "spring", State: workflows.StateCompleted, Counts: workflows.Counts{Sent: 5}, Stored: true}
	if err := EndError(lost); command.CodeOf(err) != exit.NotCompleted ||
		!strings.Contains(err.Error(), "`starter close spring`") {
		t.Errorf("a completed mailing whose ledger is open: %v", err)
	}
	cancelled := status.Status{ID: "spring", State: workflows.StateCancelled, Counts: workflows.Counts{Unsent: 5},
		Closed: true}
	if got := command.CodeOf(EndError(cancelled)); got != exit.NotCompleted {
		t.Errorf("a cancelled mailing: code %d", got)
	}
}
