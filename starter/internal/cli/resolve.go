package cli

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
	"directmailer/internal/temporalclient"
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
` + "`starter start --continue ID --outcome uncertain`" + ` does.`,
		Example: `  starter resolve newsletter-2026-11 --as sent
  starter resolve newsletter-2026-11 --as resend --yes`,
		Args: needsMailing,
	}
	cmd.Flags().Var(as, "as", "what becomes of them (required)")
	_ = cmd.RegisterFlagCompletionFunc("as", as.Complete)
	addYes(cmd, &yes)
	cmd.ValidArgsFunction = a.completeMailing
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if as.Value == "" {
			return exit.Usagef("--as is missing: give --as sent or --as resend")
		}
		s, err := openStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.close()
		return a.resolve(cmd.Context(), s, args[0], ledger.Resolution(as.Value), yes)
	}
	return cmd
}

func (a *app) resolve(ctx context.Context, s *store, id string, as ledger.Resolution, yes bool) error {
	m, err := s.mailings.Get(ctx, id)
	if err != nil {
		return notFound(err, id)
	}
	now, err := s.ledger.Progress(ctx, m.Key)
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
		n, err := s.ledger.Resolve(ctx, m.Key, as)
		if err != nil {
			return err
		}
		return a.tellResolved(id, n, as)
	}
	if as == ledger.Again {
		err := a.confirm(
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
		p, err := a.planContinuation(ctx, s, continuation{of: id, outcomes: []string{string(ledger.Uncertain)}})
		if err != nil {
			return err
		}
		return a.begin(ctx, s, p, startOptions{})
	}
	return a.onRunning(ctx, id, "resolve", func(c *temporalclient.Client, queue string) error {
		answer, err := update(ctx, c, id, queue, workflows.ResolveUpdate, workflows.Resolution{As: string(as)})
		if err != nil {
			return refusal(id, "resolve", err)
		}
		n, _ := answer.(float64)
		return a.tellResolved(id, int(n), as)
	})
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
	c, err := dial(ctx)
	if err != nil {
		return false, err
	}
	defer c.Close()
	info, err := status.Describe(ctx, c, m.ID)
	switch {
	case status.IsNotFound(err):
		return true, nil // terminated, and forgotten
	case err != nil:
		return false, temporalFailure("read the mailing", err)
	}
	return !status.IsOpen(info.Status), nil
}

// addYes gives a command the flag that answers its question.
func addYes(cmd *cobra.Command, yes *bool) {
	cmd.Flags().BoolVarP(yes, "yes", "y", false, "answer yes to the question")
}

// confirm asks a question whose answer must be yes. Without a terminal only --yes is an answer.
func (a *app) confirm(yes bool, format string, args ...any) error {
	if yes {
		return nil
	}
	question := fmt.Sprintf(format, args...)
	if f, ok := a.In.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return exit.Usagef("%s Nothing was done: answer with --yes", question)
	}
	fmt.Fprint(a.Err, question+" [y/N] ")
	line, err := bufio.NewReader(a.In).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); err == nil && (answer == "y" || answer == "yes") {
		return nil
	}
	return exit.Errorf(exit.BadInput, "nothing was done")
}
