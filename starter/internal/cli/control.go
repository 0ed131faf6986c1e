package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"directmailer/internal/temporalclient"
	"directmailer/workflows"
)

func (a *app) pauseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pause ID",
		Short: "Hold a mailing until it is resumed",
		Long: `Holds a mailing: messages in flight are finished and written down, and nothing more is rendered or sent until
` + "`starter resume`" + `. A time that the mailing has (not_after) goes on running.`,
		Example: "  starter pause newsletter-2026-11",
		Args:    wants("the mailing's ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.steer(cmd.Context(), args[0], workflows.PauseUpdate, "is paused")
		},
	}
	cmd.ValidArgsFunction = a.completeMailing
	return cmd
}

func (a *app) resumeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resume ID",
		Short: "Go on with a paused mailing, or make a suspended one try at once",
		Long: `Goes on with a mailing that was paused. A suspended mailing probes by itself and goes on when its cause has gone away; this
makes it try at once instead of at its next probe. One that has reached its error limit goes on too; the limit begins to count anew.`,
		Example: "  starter resume newsletter-2026-11",
		Args:    wants("the mailing's ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.steer(cmd.Context(), args[0], workflows.ResumeUpdate, "goes on")
		},
	}
	cmd.ValidArgsFunction = a.completeMailing
	return cmd
}

func (a *app) cancelCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cancel ID",
		Short: "End a mailing early: the rest becomes unsent",
		Long: `Cancels a mailing. Messages in flight are finished and written down, everybody else becomes unsent, and the ledger
closes. "Cancel" in the Web UI does the same.

If no worker answers, the cancellation is left with Temporal: the mailing ends as soon as a worker is there.`,
		Example: "  starter cancel newsletter-2026-11",
		Args:    wants("the mailing's ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, id := cmd.Context(), args[0]
			return a.onRunning(ctx, id, "cancel", func(c *temporalclient.Cluster, queue string) error {
				return a.cancel(ctx, c, id, queue)
			})
		},
	}
	cmd.ValidArgsFunction = a.completeMailing
	return cmd
}

// cancel asks the workflow itself, and so learns that it has heard. A request to Temporal, which waits for a worker, is what is left if
// it has not: nobody sends meanwhile, or whoever does is told by the next heartbeat.
func (a *app) cancel(ctx context.Context, c *temporalclient.Cluster, id, queue string) error {
	_, err := update(ctx, c, id, queue, workflows.CancelUpdate)
	var unanswered *noAnswer
	switch {
	case errors.As(err, &unanswered), isUnknownUpdate(err):
		if err := c.CancelWorkflow(ctx, id, ""); err != nil && isNotFound(err) {
			return hasEnded(id, "", "cancel")
		} else if err != nil {
			return temporalFailure("cancel the mailing", err)
		}
		if unanswered != nil {
			a.say("starter: warning: %s: the mailing ends as soon as a worker is there", unanswered.why)
		}
	case err != nil && !errors.Is(err, errAtIt):
		return refusal(id, "cancel", err)
	}
	fmt.Fprintf(a.Out, "mailing %s is being cancelled: see `starter watch %s`\n", id, id)
	return nil
}

// steer sends an update without an argument and tells what the workflow says, or else that it is done.
func (a *app) steer(ctx context.Context, id, name, done string) error {
	return a.onRunning(ctx, id, name, func(c *temporalclient.Cluster, queue string) error {
		answer, err := update(ctx, c, id, queue, name)
		if err != nil {
			return refusal(id, name, err)
		}
		if said, ok := answer.(string); ok && said != "" {
			fmt.Fprintf(a.Out, "mailing %s: %s\n", id, clean(said))
		} else {
			fmt.Fprintf(a.Out, "mailing %s %s\n", id, done)
		}
		return nil
	})
}

// updatePatience is how long a worker may take to take an update up, and then to answer it. Most take milliseconds; those that write into
// the database wait for it. Where nobody has asked for work lately, loneliness is long enough.
const (
	updatePatience = 10 * time.Second
	loneliness     = 3 * time.Second
)

// noAnswer says that no worker has taken an update up in time. Temporal does not keep it then.
type noAnswer struct{ why string }

func (e *noAnswer) Error() string { return e.why }

// errAtIt says that the mailing has taken an update up, and not answered it in time.
var errAtIt = errors.New("it has been taken up, and is not done yet")

// update sends an update to the mailing's workflow and waits for its answer: what JSON makes of it.
func update(ctx context.Context, c *temporalclient.Cluster, id, queue, name string, arguments ...any) (answer any, err error) {
	patience, why := updatePatience, fmt.Sprintf("no worker has answered within %s", updatePatience)
	if n, err := workflowPollers(ctx, c, queue); err == nil && n == 0 {
		patience, why = loneliness, fmt.Sprintf("no worker polls the task queue %q", queue)
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	handle, err := c.UpdateWorkflow(waiting, client.UpdateWorkflowOptions{
		WorkflowID: id, UpdateName: name, Args: arguments, WaitForStage: client.WorkflowUpdateStageAccepted,
	})
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case late(waiting, err):
		return nil, &noAnswer{why}
	default:
		return nil, err
	}
	waiting, cancel = context.WithTimeout(ctx, updatePatience)
	defer cancel()
	err = handle.Get(waiting, &answer)
	switch {
	case err == nil, errors.Is(err, temporal.ErrNoData):
		return answer, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case late(waiting, err):
		return nil, errAtIt
	}
	return nil, err
}

// late tells that time was up, by our clock or by the server's.
func late(waiting context.Context, err error) bool {
	var timeout *client.WorkflowUpdateServiceTimeoutOrCanceledError
	var deadline *serviceerror.DeadlineExceeded
	return waiting.Err() != nil || errors.As(err, &timeout) || errors.As(err, &deadline)
}

func workflowPollers(ctx context.Context, c client.Client, queue string) (int, error) {
	d, err := c.DescribeTaskQueue(ctx, queue, enumspb.TASK_QUEUE_TYPE_WORKFLOW)
	if err != nil {
		return 0, err
	}
	return len(d.Pollers), nil
}

// isUnknownUpdate tells the answer of a worker that is older than the update.
func isUnknownUpdate(err error) bool {
	var app *temporal.ApplicationError
	return errors.As(err, &app) && strings.HasPrefix(app.Message(), "unknown update ")
}

// refusal is what became of an update that was not done. The workflow's own words are told as they are.
func refusal(id, what string, err error) error {
	var refused *temporal.ApplicationError
	var unanswered *noAnswer
	switch {
	case isUnknownUpdate(err):
		return failf(NoTemporal, "mailing %s: its worker is older than this starter and does not know how to %s", id, what)
	case errors.As(err, &refused):
		return failf(NotFound, "mailing %s: %s", id, refused.Message())
	case errors.As(err, &unanswered):
		return failf(NoTemporal, "mailing %s: %s; nothing was changed", id, unanswered.why)
	case errors.Is(err, errAtIt):
		return failf(Unexpected, "mailing %s: %w: see `starter show %s`", id, err, id)
	case isNotFound(err):
		return hasEnded(id, "", what)
	}
	return temporalFailure(what+" the mailing", err)
}

// onRunning connects to Temporal and calls do, with the workflow's task queue, if the mailing is running.
func (a *app) onRunning(ctx context.Context, id, what string, do func(c *temporalclient.Cluster, queue string) error) error {
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
	case !isOpen(info.Status):
		var l live
		l.read(info)
		l.readEnd(ctx, c, id, info.Execution.RunId) // an expired mailing's workflow has completed, too
		return hasEnded(id, l.ended, what)
	}
	return do(c, info.TaskQueue)
}

// hasEnded refuses to do something with a mailing that is over.
func hasEnded(id string, as workflows.State, what string) error {
	how := ""
	if as != "" {
		how = " (" + string(as) + ")"
	}
	return failf(NotFound, "mailing %s has ended%s: there is nothing to %s", id, how, what)
}
