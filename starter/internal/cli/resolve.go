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
	"directmailer/workflows"
)

func (a *app) resolveCommand() *cobra.Command {
	var yes bool
	as := &choice{"", []string{string(ledger.AsSent), string(ledger.Again)}}
	cmd := &cobra.Command{
		Use:   "resolve ID --as sent|resend",
		Short: "Decide about recipients that are uncertain",
		Long: `Uncertain recipients are those whose message was handed over and whose answer was never seen.
` + "`starter report ID --outcome uncertain`" + ` names them.

  --as sent     somebody has found out that they have got it, in the mail server's log for example
  --as resend   they are sent to again. Who has got it already gets it twice, so this asks first; --yes is the answer
                where there is no terminal

In a running mailing both are done by the mailing itself. For one that has ended, sent is written into its ledger, and resend
starts a new mailing, as ` + "`starter start --continue ID --outcomes uncertain`" + ` does.`,
		Example: `  starter resolve newsletter-2026-11 --as sent
  starter resolve newsletter-2026-11 --as resend --yes`,
		Args: wants("the mailing's ID"),
	}
	cmd.Flags().Var(as, "as", "sent or resend (required)")
	_ = cmd.RegisterFlagCompletionFunc("as", as.complete)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.ValidArgsFunction = a.completeMailing
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if as.value == "" {
			return usage("--as is missing: sent or resend")
		}
		s, err := openStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.close()
		return a.resolve(cmd.Context(), s, args[0], ledger.Resolution(as.value), yes)
	}
	return cmd
}

func (a *app) resolve(ctx context.Context, s *store, id string, as ledger.Resolution, yes bool) error {
	m, err := s.mailings.Get(ctx, id)
	if err != nil {
		return notStored(err, id)
	}
	now, err := s.ledger.Progress(ctx, m.Key)
	if err != nil {
		return err
	}
	held := now.Counts.Uncertain
	if held == 0 {
		return failf(NotFound, "mailing %s has nobody whose outcome is uncertain, in the batches that are closed: there is nothing to resolve", id)
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
		if err := a.confirm(yes, "%s of mailing %s may have got it already and would get it twice. Send again?", count(held, "recipient"), id); err != nil {
			return err
		}
	}
	if over {
		p, err := a.planContinuation(ctx, s, continuation{of: id, outcomes: []string{string(ledger.Uncertain)}})
		if err != nil {
			return err
		}
		return a.begin(ctx, s, p, false)
	}
	return a.onRunning(ctx, id, "resolve", func(c *temporalclient.Cluster, queue string) error {
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
		return failf(NotFound, "mailing %s: nobody is uncertain any more: there is nothing to resolve", id)
	}
	verb := "counts as sent now"
	if as == ledger.Again {
		verb = "is sent to again"
	}
	if n > 1 {
		verb = strings.NewReplacer("counts", "count", "is", "are").Replace(verb)
	}
	fmt.Fprintf(a.Out, "mailing %s: %s %s\n", id, count(n, "recipient"), verb)
	return nil
}

// isOver tells whether nobody but us will write into the mailing's ledger any more.
func (a *app) isOver(ctx context.Context, m mailings.Mailing) (bool, error) {
	if m.ClosedAt != nil {
		return true, nil
	}
	c, err := dial(ctx)
	if err != nil {
		return false, err
	}
	defer c.Close()
	info, err := describe(ctx, c, m.ID)
	switch {
	case isNotFound(err):
		return true, nil // terminated, and forgotten
	case err != nil:
		return false, temporalFailure("read the mailing", err)
	}
	return !isOpen(info.Status), nil
}

// confirm asks a question whose answer must be yes. Where nobody can be asked, only --yes is an answer.
func (a *app) confirm(yes bool, format string, args ...any) error {
	if yes {
		return nil
	}
	question := fmt.Sprintf(format, args...)
	if f, ok := a.In.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return usage("%s Say so with --yes; nothing was done", question)
	}
	fmt.Fprint(a.Err, question+" [y/N] ")
	line, err := bufio.NewReader(a.In).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); err == nil && (answer == "y" || answer == "yes") {
		return nil
	}
	return failf(BadInput, "nothing was done")
}
