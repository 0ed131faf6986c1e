package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"

	"directmailer/internal/delivery/ratelimit"
	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
	"directmailer/workflows"
)

func (a *app) closeCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "close ID",
		Short: "Close the ledger of a mailing whose workflow was terminated",
		Long: `Closes the ledger of a mailing whose workflow is gone: it was terminated, or Temporal no longer knows it. The mailing ends
as terminated. Recipients whose message was handed over and whose answer was never seen become uncertain; all others
without an outcome become unsent. A worker that still sends a batch of the mailing finishes only what is in flight.

After that ` + "`starter start --continue ID`" + ` sends to everybody who was left out.

The command asks before it changes anything; --yes is the answer where there is no terminal. It refuses while the
workflow is open (` + "`starter cancel`" + ` ends it), and while Temporal cannot be reached: the workflow might be open. A worker
takes up to two seconds to notice a termination. Close the ledger after that, and fewer recipients are uncertain.`,
		Example: `  starter close newsletter-2026-11
  starter close newsletter-2026-11 --yes && starter start --continue newsletter-2026-11`,
		Args: wants("the mailing's ID"),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.ValidArgsFunction = a.completeMailing
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := openStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.close()
		return a.closeLedger(cmd.Context(), s, args[0], yes)
	}
	return cmd
}

func (a *app) closeLedger(ctx context.Context, s *store, id string, yes bool) error {
	m, err := s.mailings.Get(ctx, id)
	if err != nil {
		return notStored(err, id)
	}
	why := ""
	if m.ClosedAt == nil {
		if why, err = gone(ctx, m); err != nil {
			return err
		}
		if m, err = s.mailings.Get(ctx, id); err != nil { // the workflow may have closed it just before its own end
			return err
		}
	}
	if m.ClosedAt != nil {
		return a.closedAlready(ctx, s, m)
	}
	v, err := s.standingOf(ctx, m)
	if err == nil {
		err = s.tally(ctx, &v)
	}
	if err != nil {
		return err
	}
	err = a.confirm(yes, "Mailing %s: %s. %s of %s have no outcome and become unsent, or uncertain. Close its ledger?", id, why, thousands(v.Open), count(v.Recipients, "recipient"))
	if err != nil {
		return err
	}
	end, err := s.ledger.Close(ctx, m.Key, false, string(workflows.StateTerminated), why)
	if err != nil {
		return err
	}
	if err := s.dropRate(ctx, m); err != nil {
		return err
	}
	a.tellClosed(id, end)
	return nil
}

// gone returns why the mailing's workflow will never close the ledger, or an error if it may. What
// Temporal says decides: a workflow that is open sends, whatever else looks like its end.
func gone(ctx context.Context, m mailings.Mailing) (why string, err error) {
	c, err := dial(ctx)
	if err != nil {
		return "", failf(NoTemporal, "%w. The workflow of mailing %s may be open, so nothing was done: try again when Temporal answers", err, m.ID)
	}
	defer c.Close()
	info, err := describe(ctx, c, m.ID)
	switch {
	case isNotFound(err):
		return fmt.Sprintf("Temporal (namespace %s) does not know its workflow", c.Namespace), nil
	case err != nil:
		return "", temporalFailure("see whether the workflow is open; nothing was done", err)
	case info.FirstRunId != m.FirstRunID:
		return "its workflow is gone, and another one has its ID", nil // Temporal has one open workflow of an ID at most
	}
	switch info.Status {
	case enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED:
		return "its workflow was terminated", nil
	case enumspb.WORKFLOW_EXECUTION_STATUS_TIMED_OUT:
		return "its workflow has timed out", nil
	case enumspb.WORKFLOW_EXECUTION_STATUS_FAILED:
		return "its workflow has failed", nil
	case enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED, enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:
		return "its workflow has ended without closing the ledger", nil
	}
	return "", failf(NotFound, "mailing %s has an open workflow: `starter cancel %s` ends it and closes its ledger; nothing was done", m.ID, m.ID)
}

// closedAlready answers for a ledger that is closed: that is no error where this command has done
// it before.
func (a *app) closedAlready(ctx context.Context, s *store, m mailings.Mailing) error {
	if m.State != string(workflows.StateTerminated) {
		return hasEnded(m.ID, workflows.State(m.State), "close")
	}
	if err := s.dropRate(ctx, m); err != nil {
		return err
	}
	fmt.Fprintf(a.Out, "mailing %s is closed already, as terminated\n", m.ID)
	return nil
}

// dropRate removes the mailing's own rate limit, as a workflow does when it closes its ledger.
func (s *store) dropRate(ctx context.Context, m mailings.Mailing) error {
	return ratelimit.New(s.pool).Drop(ctx, ratelimit.OfMailing(m.Key))
}

func (a *app) tellClosed(id string, end ledger.Ending) {
	c := workflows.Counts(end.Counts)
	fmt.Fprintf(a.Out, "mailing %s is closed as terminated: %s of %s\n", id, outcomeLine(c), count(end.Recipients, "recipient"))
	if c.Uncertain > 0 {
		a.say("`starter resolve %s` decides about those who are uncertain", id)
	}
	if c.Unsent > 0 {
		a.say("`starter start --continue %s` sends to those who are unsent", id)
	}
}
