package start

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/serviceerror"

	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
	"directmailer/workflows"
)

// Somebody who takes it for refused starts it again under another ID, and mails everybody twice.
func TestAStartThatWasNotRefusedMayHaveComeThrough(t *testing.T) {
	t.Parallel()
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for name, c := range map[string]struct {
		ctx   context.Context
		err   error
		code  exit.Code
		known bool
	}{
		"done":            {t.Context(), nil, exit.Done, true},
		"taken":           {t.Context(), serviceerror.NewWorkflowExecutionAlreadyStarted("", "", ""), exit.Exists, true},
		"invalid":         {t.Context(), serviceerror.NewInvalidArgument("x"), exit.NoTemporal, true},
		"invalid, Ctrl-C": {stopped, serviceerror.NewInvalidArgument("x"), exit.NoTemporal, true},
		"denied":          {t.Context(), serviceerror.NewPermissionDenied("x", ""), exit.NoTemporal, true},
		"no namespace":    {t.Context(), serviceerror.NewNamespaceNotFound("x"), exit.NoTemporal, true},
		"away":            {t.Context(), serviceerror.NewUnavailable("x"), exit.NoTemporal, false},
		"late":            {t.Context(), context.DeadlineExceeded, exit.NoTemporal, false},
		"a proxy fails":   {t.Context(), serviceerror.NewInternal("x"), exit.NoTemporal, false},
		"anything else":   {t.Context(), errors.New("x"), exit.NoTemporal, false},
		"Ctrl-C":          {stopped, context.Canceled, exit.Interrupted, false},
	} {
		err := startFailure(c.ctx, "spring", false, c.err)
		if command.CodeOf(err) != c.code {
			t.Errorf("%s: code %d, want %d", name, command.CodeOf(err), c.code)
		}
		if known := err == nil || !strings.Contains(err.Error(), "may be started or not"); known != c.known ||
			!known && !strings.Contains(err.Error(), "--id spring") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := startFailure(stopped, "spring", true, context.Canceled); strings.Contains(err.Error(), "--id") {
		t.Errorf("a test, which takes no --id: %v", err)
	}
}

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
