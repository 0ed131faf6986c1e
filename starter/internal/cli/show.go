package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.temporal.io/api/workflowservice/v1"

	"directmailer/internal/delivery/ratelimit"
	"directmailer/internal/temporalclient"
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
		Args: needsMailing,
	}
	format := output.AddFormat(cmd, "table", "json")
	cmd.ValidArgsFunction = a.completeMailing
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := openStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.close()
		v, err := a.readStatus(cmd.Context(), s, args[0])
		if err != nil {
			return err
		}
		if format.JSON() {
			return output.WriteJSON(a.Out, v)
		}
		v.Render(a.Out)
		return nil
	}
	return cmd
}

// readStatus reads all that is known of a mailing.
func (a *app) readStatus(ctx context.Context, s *store, id string) (status.Status, error) {
	w := askTemporal(ctx, id)
	v, err := s.status.Read(ctx, id, func(context.Context) status.Workflow { return w })
	if err != nil {
		return v, notFound(err, id)
	}
	if w.Err != nil && !v.Closed {
		a.say("Temporal does not answer: this is what the database has")
	}
	if v.Stored && v.Ended() && !v.Closed {
		if err := s.status.CountRows(ctx, &v); err != nil {
			return v, err
		}
	}
	return v, s.addRates(ctx, &v)
}

// askTemporal asks Temporal, if it answers soon.
func askTemporal(ctx context.Context, id string) status.Workflow {
	c, err := tryDial(ctx)
	if err != nil {
		return status.Workflow{Err: err}
	}
	defer c.Close()
	return status.Ask(ctx, c, id)
}

// addRates adds the limits that apply to the mailing's messages: its own, those of its drop points,
// and those of all domains.
func (s *store) addRates(ctx context.Context, v *status.Status) error {
	if v.Ended() {
		return nil
	}
	all, err := s.limits(ctx)
	for _, l := range all {
		named := func(p workflows.DropPointStatus) bool { return p.Name == l.Name }
		switch l.Kind {
		case ratelimit.Mailing.String():
			if l.Name != v.ID {
				continue
			}
		case ratelimit.DropPoint.String():
			if len(v.DropPoints) > 0 && !slices.ContainsFunc(v.DropPoints, named) {
				continue
			}
		}
		v.Rates = append(v.Rates, l)
	}
	return err
}

// notFound says that there is no mailing of that ID, where err is that.
func notFound(err error, id string) error {
	if codeOf(err) == exit.NotFound {
		return noMailing(id)
	}
	return err
}

func noMailing(id string) error {
	return exit.Errorf(exit.NotFound, "no mailing is named %s: see `starter ls`", output.Typed(id))
}

func (a *app) lsCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List mailings, newest first",
		Long:    "Lists mailings from the database, and those that Temporal has and no worker has taken up yet.",
		Example: "  starter ls\n  starter ls --limit 5 --output json",
		Args:    needs(),
	}
	format := output.AddFormat(cmd, "table", "json")
	cmd.Flags().IntVar(&limit, "limit", 50, "most mailings to list")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit < 1 || limit > 10_000 {
			return exit.Usagef("--limit is %d: set it to 1 to 10000", limit)
		}
		c, err := settings()
		if err != nil {
			return err
		}
		s, err := openStore(cmd.Context())
		if err != nil {
			return err
		}
		defer s.close()
		all, err := a.latest(cmd.Context(), s, c.TaskQueue, limit)
		if err != nil {
			return err
		}
		return status.List.Write(a.Out, format, all)
	}
	return cmd
}

// latest returns the newest mailings. Those that only Temporal has come first.
func (a *app) latest(ctx context.Context, s *store, queue string, limit int) ([]status.Status, error) {
	rows, err := s.mailings.Latest(ctx, limit)
	if err != nil {
		return nil, err
	}
	c, err := tryDial(ctx)
	if err != nil {
		a.say("Temporal does not answer: this is what the database has")
	} else {
		defer c.Close()
	}
	var all []status.Status
	if c != nil {
		if all, err = onlyStarted(ctx, c, s, queue); err != nil {
			a.say("%v: this is what the database has", err)
		}
	}
	for _, m := range rows {
		v, err := s.status.Of(ctx, m)
		if err != nil {
			return nil, err
		}
		if !v.Closed && c != nil {
			v.Merge(status.Peek(ctx, c, v))
		}
		v.Doing = "" // `starter show` says that
		all = append(all, v)
	}
	return all[:min(limit, len(all))], nil
}

// onlyStarted returns running mailings of a task queue (of all, if queue is empty) that are not in
// the database, because no worker has taken them up yet.
func onlyStarted(ctx context.Context, c *temporalclient.Client, s *store, queue string) ([]status.Status, error) {
	query := fmt.Sprintf("WorkflowType = '%s' AND ExecutionStatus = 'Running'", workflows.MailingType)
	if queue != "" {
		query += fmt.Sprintf(" AND TaskQueue = '%s'", strings.ReplaceAll(queue, "'", "''"))
	}
	response, err := c.ListWorkflow(
		ctx,
		&workflowservice.ListWorkflowExecutionsRequest{Namespace: c.Namespace, PageSize: 100, Query: query},
	)
	if err != nil {
		return nil, temporalFailure("list Temporal's mailings", err)
	}
	var all []status.Status
	for _, info := range response.Executions {
		if _, err := s.mailings.Get(ctx, info.Execution.GetWorkflowId()); err != nil {
			all = append(all, status.Listed(info))
		}
	}
	return all, nil
}
