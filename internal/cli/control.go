package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"directmailer/internal/cluster"
	"directmailer/workflows"
)

func (a *app) cancelCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cancel ID",
		Short: "End a mailing early: the rest becomes unsent",
		Long: `Cancels a mailing. Messages in flight are finished and written down, everybody else becomes unsent, and the ledger
closes. "Cancel" in the Web UI does the same.`,
		Example: "  starter cancel newsletter-2026-11",
		Args:    wants("the mailing's ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, id := cmd.Context(), args[0]
			return a.onRunning(ctx, id, "cancel", func(c *cluster.Cluster) error {
				if err := c.CancelWorkflow(ctx, id, ""); err != nil {
					if isNotFound(err) {
						return failf(NotFound, "mailing %s has ended: there is nothing to cancel", id)
					}
					return temporalFailure("cancel the mailing", err)
				}
				fmt.Fprintf(a.Out, "mailing %s is being cancelled: see `starter watch %s`\n", id, id)
				return nil
			})
		},
	}
}

func (a *app) resumeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "resume ID",
		Short: "Make a suspended mailing try again at once",
		Long: `A suspended mailing probes by itself and goes on when its cause has gone away. This makes it try at once instead of at
its next probe.`,
		Example: "  starter resume newsletter-2026-11",
		Args:    wants("the mailing's ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onRunning(cmd.Context(), args[0], "resume", func(c *cluster.Cluster) error {
				return a.resume(cmd.Context(), c, args[0])
			})
		},
	}
}

func (a *app) resume(ctx context.Context, c *cluster.Cluster, id string) error {
	waiting, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	handle, err := c.UpdateWorkflow(waiting, client.UpdateWorkflowOptions{
		WorkflowID: id, UpdateName: workflows.ResumeUpdate, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	var answer string
	if err == nil {
		err = handle.Get(waiting, &answer)
	}
	var refused *temporal.ApplicationError
	switch {
	case err == nil:
		fmt.Fprintf(a.Out, "mailing %s: %s\n", id, answer)
		return nil
	case errors.As(err, &refused):
		return failf(NotFound, "mailing %s: %s", id, refused.Message())
	case isNotFound(err):
		return failf(NotFound, "mailing %s has ended: there is nothing to resume", id)
	case waiting.Err() != nil && ctx.Err() == nil:
		return failf(NoTemporal, "no worker has answered for mailing %s: is one running? The mailing tries again by itself", id)
	}
	return temporalFailure("resume the mailing", err)
}

// onRunning connects to Temporal and calls do if the mailing is running.
func (a *app) onRunning(ctx context.Context, id, what string, do func(*cluster.Cluster) error) error {
	c, err := dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	info, err := describe(ctx, c, id)
	switch {
	case isNotFound(err):
		return noMailing(id)
	case err != nil:
		return temporalFailure("read the mailing", err)
	case info.Status != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING:
		return failf(NotFound, "mailing %s has ended (%s): there is nothing to %s", id, endWord(info), what)
	}
	return do(c)
}

func endWord(info *workflowpb.WorkflowExecutionInfo) workflows.State {
	var l live
	l.read(info)
	if l.ended == workflows.StateCompleted && l.state != "" {
		return l.state // an expired mailing's workflow has completed, too
	}
	return l.ended
}
