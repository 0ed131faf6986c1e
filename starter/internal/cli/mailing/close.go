package mailing

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"

	"directmailer/internal/delivery/ratelimit"
	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
	"directmailer/starter/internal/status"
	"directmailer/workflows"
)

func (a *app) closeCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "close ID",
		Short: "Close the ledger of a mailing whose workflow was terminated",
		Long: `Closes the ledger of a mailing whose workflow is gone: it was terminated, Temporal has forgotten
it, or it has ended and the database has lost its end. The mailing ends as terminated. Recipients
whose message was handed over and whose answer was never seen become uncertain. All others without
an outcome become unsent. A worker that still sends a batch of the mailing only finishes messages
in flight.

After that ` + "`starter start --continue ID`" + ` sends to the recipients that were left out.

The command asks before it changes anything. Where there is no terminal, --yes answers. It
refuses while the workflow is open (` + "`starter cancel`" + ` ends it), and while Temporal does
not answer, because the workflow might be open. It also refuses to ask another namespace of
Temporal than that of the mailing. A worker takes up to two seconds to notice a
termination. If you close the ledger after that, fewer recipients are uncertain.`,
		Example: `  starter close newsletter-2026-11

  # close it, and send to the rest
  starter close newsletter-2026-11 --yes && starter start --continue newsletter-2026-11`,
		Args: command.NeedsMailing,
	}
	command.AddYes(cmd, &yes)
	cmd.ValidArgsFunction = command.CompleteMailing
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := command.OpenStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.Close()
		return a.closeLedger(cmd.Context(), s, args[0], yes)
	}
	return cmd
}

func (a *app) closeLedger(ctx context.Context, s *command.Store, id string, yes bool) error {
	m, err := s.Mailings.Get(ctx, id)
	if err != nil {
		return command.NotFound(err, id)
	}
	why := ""
	if m.ClosedAt == nil {
		if why, err = gone(ctx, m); err != nil {
			return err
		}
		if m, err = s.Mailings.Get(ctx, id); err != nil { // the workflow may have closed it just before its own end
			return err
		}
	}
	if m.ClosedAt != nil {
		return a.closedAlready(ctx, s, m)
	}
	v, err := s.Status.Of(ctx, m)
	if err == nil {
		err = s.Status.CountRows(ctx, &v)
	}
	if err != nil {
		return err
	}
	err = a.Confirm(yes, "Mailing %s: %s. %s of %s have no outcome, and become unsent or uncertain. Close its ledger?",
		id, why, output.Thousands(v.Open), output.Count(v.Recipients, "recipient"))
	if err != nil {
		return err
	}
	end, err := s.Ledger.Close(ctx, m.Key, false, string(workflows.StateTerminated), why)
	if err != nil {
		return err
	}
	// A worker that was closing it when its workflow was terminated may have been first.
	if m, err = s.Mailings.Get(ctx, id); err != nil {
		return err
	}
	if m.State != string(workflows.StateTerminated) {
		return a.closedAlready(ctx, s, m)
	}
	if err := afterClose(ctx, s, m); err != nil {
		return err
	}
	a.tellClosed(id, end)
	return nil
}

// gone returns why the mailing's workflow will never close the ledger, or an error if it may. Only
// Temporal can tell: a workflow that is open sends.
func gone(ctx context.Context, m mailings.Mailing) (why string, err error) {
	c, err := command.Dial(ctx)
	if err != nil {
		return "", exit.Errorf(
			exit.NoTemporal,
			"%w; nothing was done, because the workflow of mailing %s may be open: try again when Temporal answers",
			err,
			m.ID,
		)
	}
	defer c.Close()
	if err := CheckNamespace(m, c.Namespace); err != nil {
		return "", err
	}
	info, err := status.Describe(ctx, c, m.ID)
	switch {
	case status.IsNotFound(err):
		return fmt.Sprintf("Temporal (namespace %s) has no workflow for it", c.Namespace), nil
	case err != nil:
		return "", command.TemporalFailure("see whether the workflow is open; nothing was done", err)
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
	return "", exit.Errorf(
		exit.NotFound,
		"mailing %s has an open workflow: `starter cancel %s` ends it and closes its ledger; nothing was done",
		m.ID,
		m.ID,
	)
}

// CheckNamespace refuses to ask another namespace than that of the mailing's workflow, where the
// workflow would seem to be gone.
func CheckNamespace(m mailings.Mailing, asked string) error {
	if m.Namespace == "" || m.Namespace == asked { // an earlier version has not written it down
		return nil
	}
	return exit.Usagef("the workflow of mailing %s is in the Temporal namespace %s, and this shell asks %s: "+
		"set TEMPORAL_NAMESPACE to %s; nothing was done", m.ID, m.Namespace, asked, m.Namespace)
}

// closedAlready answers for a ledger that is closed. That is not an error where this command has
// closed it.
func (a *app) closedAlready(ctx context.Context, s *command.Store, m mailings.Mailing) error {
	if m.State != string(workflows.StateTerminated) {
		return hasEnded(m.ID, workflows.State(m.State), "close")
	}
	if err := afterClose(ctx, s, m); err != nil { // this command may have been killed before
		return err
	}
	fmt.Fprintf(a.Out, "mailing %s is closed already, as terminated\n", m.ID)
	return nil
}

// afterClose does what a workflow does when it has closed its ledger: it reconsiders the mailing's
// bounces, and removes its own rate limits. It may be repeated.
func afterClose(ctx context.Context, s *command.Store, m mailings.Mailing) error {
	if err := s.Events.Reconsider(ctx, m.Key, m.ID); err != nil {
		return err
	}
	return ratelimit.New(s.Pool).DropMailing(ctx, m.Key)
}

func (a *app) tellClosed(id string, end ledger.Ending) {
	c := end.Counts
	fmt.Fprintf(
		a.Out,
		"mailing %s is closed as terminated: %s of %s\n",
		id,
		status.Outcomes(c),
		output.Count(end.Recipients, "recipient"),
	)
	if c.Uncertain > 0 {
		a.Say("`starter resolve %s` resolves the uncertain ones", id)
	}
	if c.Unsent > 0 {
		a.Say("`starter start --continue %s` sends to the unsent ones", id)
	}
}
