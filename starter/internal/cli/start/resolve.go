package start

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
	"directmailer/internal/temporalclient"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/cli/mailing"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
	"directmailer/starter/internal/status"
	"directmailer/workflows"
)

func (a *app) resolveCommand() *cobra.Command {
	var yes bool
	as := &output.Choice{Allowed: []string{string(ledger.AsSent), string(ledger.Again)}}
	cmd := &cobra.Command{
		Use:   "resolve ID --as sent|resend",
		Short: "Resolve recipients whose outcome is uncertain",
		Long: `Resolves uncertain recipients: those whose message was handed over and whose answer was never
seen. ` + "`starter report ID --outcome uncertain`" + ` names them.

  --as sent     they got the message, as the mail server's log shows for example
  --as resend   the mailing sends the message again. A recipient who has got it already gets it
                twice, so the command asks first. Where there is no terminal, --yes answers

A running mailing does both by itself. For a mailing that has ended, sent is written into its
ledger, and resend starts a new mailing, as
` + "`starter start --continue ID --outcome uncertain`" + ` does. Where that needs
--ignore-all-opt-outs, give that command.`,
		Example: `  starter resolve newsletter-2026-11 --as sent
  starter resolve newsletter-2026-11 --as resend --yes`,
		Args: command.NeedsMailing,
	}
	cmd.Flags().Var(as, "as", "what becomes of them (required)")
	_ = cmd.RegisterFlagCompletionFunc("as", as.Complete)
	command.AddYes(cmd, &yes)
	cmd.ValidArgsFunction = command.CompleteMailing
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if as.Value == "" {
			return exit.Usagef("--as is missing: give --as sent or --as resend")
		}
		s, err := command.OpenStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.Close()
		return a.resolve(cmd.Context(), s, args[0], ledger.Resolution(as.Value), yes)
	}
	return cmd
}

func (a *app) resolve(ctx context.Context, s *command.Store, id string, as ledger.Resolution, yes bool) error {
	m, err := s.Mailings.Get(ctx, id)
	if err != nil {
		return command.NotFound(err, id)
	}
	now, err := s.Ledger.Progress(ctx, m.Key)
	if err != nil {
		return err
	}
	uncertain := now.Counts.Uncertain
	if uncertain == 0 {
		return exit.Errorf(
			exit.NotFound,
			"mailing %s has no uncertain recipient in its closed batches: there is nothing to resolve",
			id,
		)
	}
	over, err := a.isOver(ctx, m)
	switch {
	case err != nil:
		return err
	case over && as == ledger.AsSent:
		n, err := s.Ledger.Resolve(ctx, m.Key, as)
		if err != nil {
			return err
		}
		return a.tellResolved(id, n, as)
	}
	if as == ledger.Again {
		err := a.Confirm(
			yes,
			"%s of mailing %s may have got the message already, and would get it twice. Send it again?",
			output.Count(uncertain, "recipient"),
			id,
		)
		if err != nil {
			return err
		}
	}
	if over {
		return a.resend(ctx, s, id)
	}
	return mailing.OnRunning(ctx, id, "resolve", func(c *temporalclient.Client, queue string) error {
		answer, err := mailing.Update(ctx, c, id, queue, workflows.ResolveUpdate, workflows.Resolution{As: string(as)})
		if err != nil {
			return mailing.Refusal(id, "resolve", err)
		}
		n, _ := answer.(float64)
		return a.tellResolved(id, int(n), as)
	})
}

// resend starts a mailing to the uncertain recipients of one that is over, as `starter start
// --continue` does.
func (a *app) resend(ctx context.Context, s *command.Store, id string) error {
	p, err := a.planContinuation(ctx, s, continuation{of: id, outcomes: []string{string(ledger.Uncertain)}})
	if err != nil {
		return err
	}
	if err := a.sayIgnoredOptOuts(p, startOptions{}); err != nil {
		return exit.Usagef("%w: see `starter start --continue %s --outcome uncertain`, which has this flag", err, id)
	}
	return a.begin(ctx, s, p, startOptions{})
}

func (a *app) tellResolved(id string, n int, as ledger.Resolution) error {
	if n == 0 {
		return exit.Errorf(
			exit.NotFound,
			"mailing %s has no uncertain recipient any more: there is nothing to resolve",
			id,
		)
	}
	text := "now counted as sent"
	if as == ledger.Again {
		text = "to be sent to again"
	}
	fmt.Fprintf(a.Out, "mailing %s: %s %s\n", id, output.Count(n, "recipient"), text)
	return nil
}

// isOver tells whether the mailing's workflow will not write into its ledger any more.
func (a *app) isOver(ctx context.Context, m mailings.Mailing) (bool, error) {
	if m.ClosedAt != nil {
		return true, nil
	}
	c, err := command.Dial(ctx)
	if err != nil {
		return false, err
	}
	defer c.Close()
	if err := mailing.CheckNamespace(m, c.Namespace); err != nil {
		return false, err
	}
	info, err := status.Describe(ctx, c, m.ID)
	switch {
	case status.IsNotFound(err):
		return true, nil // terminated, and forgotten
	case err != nil:
		return false, command.TemporalFailure("read the mailing", err)
	}
	// Another workflow may have the ID of one that is gone.
	return info.FirstRunId != m.FirstRunID || !status.IsOpen(info.Status), nil
}
