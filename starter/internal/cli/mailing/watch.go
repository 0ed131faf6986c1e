package mailing

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
	"directmailer/starter/internal/status"
	"directmailer/workflows"
)

func (a *app) watchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "watch ID",
		Short: "Watch a mailing until it ends",
		Long: `Shows a mailing's progress, what it waits for and until when, and at its end the closed ledger.
On a terminal it shows a progress bar, else a line every few seconds. With --output json it
writes a JSON object a line, the last one for the end.

The exit code tells how the mailing ended: 0 when all recipients were sent to, 9 when it
completed and nobody was sent to, 10 when it completed and some recipients are bounced, failed or
uncertain, 8 when it did not complete. Recipients who have opted out do not count as missed.

Ctrl-C stops watching. The mailing continues.`,
		Example: "  starter watch newsletter-2026-11",
		Args:    command.NeedsMailing,
	}
	format := output.AddFormat(cmd, "table", "json")
	cmd.ValidArgsFunction = command.CompleteMailing
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := command.OpenStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.Close()
		return Watch(cmd.Context(), a.App, s, args[0], format.JSON())
	}
	return cmd
}

// Watch follows the mailing to its end and shows it. The error tells an end other than completed,
// that recipients of a completed mailing were not sent to, or that ctx was cancelled.
func Watch(ctx context.Context, a command.App, s *command.Store, id string, asJSON bool) error {
	d := status.NewJSONDisplay(a.Out)
	if !asJSON {
		d = status.NewDisplay(a.Out)
	}
	v, err := s.Status.Follow(ctx, command.TryDial, id, d)
	d.End(v)
	if err != nil {
		if ctx.Err() != nil {
			return exit.Errorf(
				exit.Interrupted,
				"stopped watching, and the mailing continues: `starter watch %s` watches it again, "+
					"`starter cancel %s` ends it",
				id,
				id,
			)
		}
		return command.NotFound(err, id)
	}
	if v.Stored && !v.Closed {
		if err := s.Status.CountRows(ctx, &v); err != nil {
			return err
		}
	}
	if asJSON {
		err = output.WriteLine(a.Out, v)
	} else if v.Stored {
		v.RenderLedger(a.Out)
	}
	return errors.Join(err, EndError(v))
}

// EndError is nil for a completed mailing that was sent to every recipient who had not opted out.
// A mailing whose ledger is open did not complete, whatever its workflow says.
func EndError(v status.Status) error {
	if v.State == workflows.StateCompleted && !v.Unclosed() {
		return missedError(v)
	}
	verb := map[workflows.State]string{
		workflows.StateFailed: "failed", workflows.StateExpired: "has expired",
		workflows.StateCompleted: "completed, and the database has lost its end",
	}[v.State]
	if verb == "" {
		verb = "was " + string(v.State)
	}
	text := fmt.Sprintf("mailing %s %s", v.ID, verb)
	if v.Reason != "" && v.Reason != string(v.State) {
		text += ": " + v.Reason
	}
	if v.Unclosed() {
		text += fmt.Sprintf(": `starter close %s` closes its ledger", v.ID)
	}
	return exit.Errorf(exit.NotCompleted, "%s", text)
}

// missedError tells which recipients of a completed mailing were not sent to. It is nil if there
// are none. Opted-out recipients are none: they are not to be sent to.
func missedError(v status.Status) error {
	if !v.Closed {
		return nil // the counts are not known
	}
	var missed []string
	for _, m := range []struct {
		outcome string
		n       int64
	}{
		{"bounced", v.Bounced}, {"failed", v.Failed}, {"uncertain", v.Uncertain}, {"unsent", v.Unsent},
	} {
		if m.n > 0 {
			missed = append(missed, output.Thousands(m.n)+" "+m.outcome)
		}
	}
	code, text := exit.SomeNotSent, ""
	switch {
	case v.Sent == 0 && v.Uncertain == 0:
		code, text = exit.NobodySent, "nobody was sent to"
		if v.OptedOut > 0 {
			missed = append(missed, output.Thousands(v.OptedOut)+" opted out")
		}
	case len(missed) == 0:
		return nil
	default:
		text = "not all recipients were sent to"
	}
	if len(missed) > 0 {
		text += " (" + strings.Join(missed, ", ") + ")"
	}
	return exit.Errorf(code, "mailing %s completed, but %s: see `starter report %s`", v.ID, text, v.ID)
}
