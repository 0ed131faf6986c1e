package mailing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.temporal.io/api/workflowservice/v1"

	"directmailer/internal/delivery/ratelimit"
	"directmailer/internal/mailings"
	"directmailer/internal/temporalclient"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
	"directmailer/starter/internal/status"
	"directmailer/workflows"
)

func (a *app) showCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show a mailing: what it does, what it waits for, its ledger",
		Long: `Shows a mailing from the database, and what Temporal knows of it while Temporal answers. The
database keeps a mailing after Temporal has forgotten it.

The command counts a mailing whose workflow was terminated row by row. ` + "`starter close`" + `
closes its ledger.`,
		Example: `  starter show newsletter-2026-11

  # the number of messages sent
  starter show newsletter-2026-11 --output json | jq .sent`,
		Args: command.NeedsMailing,
	}
	format := output.AddFormat(cmd, "table", "json")
	cmd.ValidArgsFunction = command.CompleteMailing
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := command.OpenStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.Close()
		v, err := a.readStatus(cmd.Context(), s, args[0])
		if err != nil {
			return err
		}
		return status.One.Write(a.Out, format, &v)
	}
	return cmd
}

// readStatus reads all that is known of a mailing.
func (a *app) readStatus(ctx context.Context, s *command.Store, id string) (status.Status, error) {
	w := askTemporal(ctx, id)
	v, err := s.Status.Read(ctx, id, func(context.Context) status.Workflow { return w })
	if err != nil {
		return v, command.NotFound(err, id)
	}
	if w.Err != nil && !v.Closed {
		sayWithoutTemporal(a.App, w.Err)
	}
	if v.Stored && v.Ended() && !v.Closed {
		if err := s.Status.CountRows(ctx, &v); err != nil {
			return v, err
		}
	}
	return v, addRates(ctx, s, &v)
}

// sayWithoutTemporal says why the answer is that of the database alone.
func sayWithoutTemporal(a command.App, err error) {
	why := "Temporal does not answer"
	if !temporalclient.Unreachable(err) {
		why = command.TextOf(temporalclient.Explain(err))
	}
	a.Say("%s: this is what the database has", why)
}

// askTemporal asks Temporal, if it answers soon.
func askTemporal(ctx context.Context, id string) status.Workflow {
	c, err := command.TryDial(ctx)
	if err != nil {
		return status.Workflow{Err: err}
	}
	defer c.Close()
	return status.Ask(ctx, c, id)
}

// addRates adds the limits that apply to the mailing's messages: its own, those of its drop points,
// and those of all domains.
func addRates(ctx context.Context, s *command.Store, v *status.Status) error {
	if v.Ended() {
		return nil
	}
	all, err := s.Limits(ctx)
	for _, l := range all {
		named := func(p workflows.DropPointStatus) bool { return p.Name == l.Name }
		switch {
		case l.Mailing != "" && l.Mailing != v.ID:
			continue
		case l.Kind == ratelimit.DropPoint.String() &&
			len(v.DropPoints) > 0 && !slices.ContainsFunc(v.DropPoints, named):
			continue
		}
		v.Rates = append(v.Rates, l)
	}
	return err
}

func (a *app) lsCommand() *cobra.Command {
	var limit int
	var tests bool
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List mailings, newest first",
		Long:    "Lists mailings from the database, and those that Temporal has and no worker has taken up yet.",
		Example: "  starter ls\n  starter ls --limit 5 --output json",
		Args:    command.Needs(),
	}
	format := output.AddFormat(cmd, "table", "json")
	cmd.Flags().IntVar(&limit, "limit", 50, "most mailings to list")
	cmd.Flags().BoolVar(&tests, "tests", false, "list the tests of starter test instead")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit < 1 || limit > 10_000 {
			return exit.Usagef("--limit is %d: set it to 1 to 10000", limit)
		}
		c, err := command.Settings()
		if err != nil {
			return err
		}
		s, err := command.OpenStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.Close()
		all, err := latest(cmd.Context(), a.App, s, c.TaskQueue, limit, tests)
		if err != nil {
			return err
		}
		return status.List.Write(a.Out, format, all)
	}
	return cmd
}

// Latest returns the newest mailings. Those that only Temporal has come first.
func Latest(ctx context.Context, a command.App, s *command.Store, queue string, limit int) ([]status.Status, error) {
	return latest(ctx, a, s, queue, limit, false)
}

// latest is Latest, or the same of tests.
func latest(
	ctx context.Context, a command.App, s *command.Store, queue string, limit int, tests bool,
) ([]status.Status, error) {
	c, err := command.TryDial(ctx)
	if err != nil {
		sayWithoutTemporal(a, err)
	} else {
		defer c.Close()
	}
	var started []status.Status
	if c != nil {
		if started, err = running(ctx, c, queue, typeOf(tests)); err != nil {
			a.Say("%v: this is what the database has", err)
		}
	}
	// After Temporal: a mailing that a worker takes up meanwhile is in one of the two answers.
	if started, err = notStored(ctx, s, started); err != nil {
		return nil, err
	}
	rows, err := s.Mailings.Latest(ctx, limit, tests)
	if err != nil {
		return nil, err
	}
	all := without(started, rows)
	for _, m := range rows {
		v, err := s.Status.Of(ctx, m)
		if err != nil {
			return nil, err
		}
		if !v.Closed && c != nil {
			w := status.Peek(ctx, c, v)
			if w.Err != nil && ctx.Err() == nil { // each further question could take as long
				sayWithoutTemporal(a, w.Err)
				c = nil
			}
			v.Merge(w)
		}
		v.Doing = "" // `starter show` says that
		all = append(all, v)
	}
	return all[:min(limit, len(all))], nil
}

// running returns the running mailings of a task queue (of all, if queue is empty), as Temporal's
// list has them.
func running(ctx context.Context, c *temporalclient.Client, queue, workflowType string) ([]status.Status, error) {
	query := fmt.Sprintf("WorkflowType = '%s' AND ExecutionStatus = 'Running'", workflowType)
	if queue != "" {
		query += fmt.Sprintf(" AND TaskQueue = '%s'", strings.ReplaceAll(queue, "'", "''"))
	}
	response, err := c.ListWorkflow(
		ctx,
		&workflowservice.ListWorkflowExecutionsRequest{Namespace: c.Namespace, PageSize: 100, Query: query},
	)
	if err != nil {
		return nil, command.TemporalFailure("list Temporal's mailings", err)
	}
	var all []status.Status
	for _, info := range response.Executions {
		all = append(all, status.Listed(info))
	}
	return all, nil
}

// notStored returns those of the mailings that are not in the database, because no worker has taken
// them up yet.
func notStored(ctx context.Context, s *command.Store, all []status.Status) (left []status.Status, err error) {
	for _, v := range all {
		_, err := s.Mailings.Get(ctx, v.ID)
		switch {
		case errors.Is(err, mailings.ErrNotFound):
			left = append(left, v)
		case err != nil:
			return nil, err
		}
	}
	return left, nil
}

// without returns those of the mailings that are not among the rows.
func without(all []status.Status, rows []mailings.Mailing) []status.Status {
	return slices.DeleteFunc(all, func(v status.Status) bool {
		return slices.ContainsFunc(rows, func(m mailings.Mailing) bool { return m.ID == v.ID })
	})
}

// typeOf returns the workflow type of mailings, or of tests.
func typeOf(tests bool) string {
	if tests {
		return workflows.TestType
	}
	return workflows.MailingType
}
