package mailing

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
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/exit"
	"directmailer/starter/internal/output"
	"directmailer/starter/internal/status"
	"directmailer/workflows"
)

func (a *app) pauseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pause ID",
		Short: "Pause a mailing until it is resumed",
		Long: `Pauses a mailing. The workers finish the messages in flight and record them. They render and
send nothing more until ` + "`starter resume`" + `. The mailing's time limit (not_after) keeps
running.`,
		Example: "  starter pause newsletter-2026-11",
		Args:    command.NeedsMailing,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.steer(cmd.Context(), args[0], workflows.PauseUpdate, "is paused")
		},
	}
	cmd.ValidArgsFunction = command.CompleteMailing
	return cmd
}

func (a *app) resumeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resume ID",
		Short: "Resume a paused mailing, or make a suspended one try at once",
		Long: `Resumes a mailing that was paused. A suspended mailing probes by itself, and continues when its
cause is gone. This command makes it try at once. A mailing that has reached its error limit
continues too, and its limit counts from zero.`,
		Example: "  starter resume newsletter-2026-11",
		Args:    command.NeedsMailing,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.steer(cmd.Context(), args[0], workflows.ResumeUpdate, "continues")
		},
	}
	cmd.ValidArgsFunction = command.CompleteMailing
	return cmd
}

func (a *app) cancelCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cancel ID",
		Short: "Cancel a mailing: recipients without an outcome become unsent",
		Long: `Cancels a mailing. The workers finish the messages in flight and record them. All other
recipients without an outcome become unsent, and the ledger is closed. "Cancel" in the Web UI
does the same.

If no worker answers, Temporal keeps the cancellation. The mailing then ends as soon as a worker
runs.`,
		Example: "  starter cancel newsletter-2026-11",
		Args:    command.NeedsMailing,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, id := cmd.Context(), args[0]
			return OnRunning(ctx, id, "cancel", func(c *temporalclient.Client, queue string) error {
				return a.cancel(ctx, c, id, queue)
			})
		},
	}
	cmd.ValidArgsFunction = command.CompleteMailing
	return cmd
}

// cancel asks the workflow itself, so that it learns whether the workflow has taken the request up.
// If no worker answers, cancel asks Temporal, which keeps the request for the workflow.
func (a *app) cancel(ctx context.Context, c *temporalclient.Client, id, queue string) error {
	_, err := Update(ctx, c, id, queue, workflows.CancelUpdate)
	var unanswered *noAnswer
	switch {
	case errors.As(err, &unanswered), isUnknownUpdate(err):
		if err := c.CancelWorkflow(ctx, id, ""); err != nil && status.IsNotFound(err) {
			return hasEnded(id, "", "cancel")
		} else if err != nil {
			return command.TemporalFailure("cancel the mailing", err)
		}
		if unanswered != nil {
			a.Say("starter: warning: %s: the mailing ends as soon as a worker is there", unanswered.why)
		}
	case err != nil && !errors.Is(err, errUnfinished):
		return Refusal(id, "cancel", err)
	}
	fmt.Fprintf(a.Out, "mailing %s is being cancelled: see `starter watch %s`\n", id, id)
	return nil
}

// steer sends an update without an argument. It prints what the workflow answers, or done.
func (a *app) steer(ctx context.Context, id, name, done string) error {
	return OnRunning(ctx, id, name, func(c *temporalclient.Client, queue string) error {
		answer, err := Update(ctx, c, id, queue, name)
		if err != nil {
			return Refusal(id, name, err)
		}
		if said, ok := answer.(string); ok && said != "" {
			fmt.Fprintf(a.Out, "mailing %s: %s\n", id, output.Clean(said))
		} else {
			fmt.Fprintf(a.Out, "mailing %s %s\n", id, done)
		}
		return nil
	})
}

// updateTimeout is how long a worker may need to take an update up, and then to answer it. Most
// updates need milliseconds. Some wait for the database. noWorkerTimeout is how long no worker may
// have asked for work before an update is not sent at all.
const (
	updateTimeout   = 10 * time.Second
	noWorkerTimeout = 3 * time.Second
)

// noAnswer says that no worker has taken an update up in time. If it was sent, Temporal keeps it
// for a while, and may give it to a worker that comes later.
type noAnswer struct {
	why  string
	sent bool
}

func (e *noAnswer) Error() string { return e.why }

// errUnfinished says that the mailing has taken an update up, and has not answered it in time.
var errUnfinished = errors.New("the mailing has taken it up, and has not finished it yet")

// Update sends an update to the mailing's workflow and waits for its answer, which is decoded from
// JSON.
func Update(
	ctx context.Context,
	c *temporalclient.Client,
	id, queue, name string,
	arguments ...any,
) (answer any, err error) {
	polled, err := awaitWorker(ctx, c, queue)
	switch {
	case err != nil:
		return nil, err
	case !polled:
		return nil, &noAnswer{fmt.Sprintf("no worker polls the task queue %q", queue), false}
	}
	waiting, cancel := context.WithTimeout(ctx, updateTimeout)
	defer cancel()
	handle, err := c.UpdateWorkflow(waiting, client.UpdateWorkflowOptions{
		WorkflowID: id, UpdateName: name, Args: arguments, WaitForStage: client.WorkflowUpdateStageAccepted,
	})
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case late(waiting, err):
		return nil, &noAnswer{fmt.Sprintf("no worker has answered within %s", updateTimeout), true}
	default:
		return nil, err
	}
	waiting, cancel = context.WithTimeout(ctx, updateTimeout)
	defer cancel()
	err = handle.Get(waiting, &answer)
	switch {
	case err == nil, errors.Is(err, temporal.ErrNoData):
		return answer, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case late(waiting, err):
		return nil, errUnfinished
	}
	return nil, err
}

// awaitWorker tells whether a worker asks for work, now or within noWorkerTimeout. It says yes if
// Temporal does not tell. The error is that of ctx.
func awaitWorker(ctx context.Context, c *temporalclient.Client, queue string) (polled bool, err error) {
	for end := time.Now().Add(noWorkerTimeout); ; {
		n, _, err := command.Pollers(ctx, c, queue, enumspb.TASK_QUEUE_TYPE_WORKFLOW)
		if err != nil || n > 0 {
			return true, ctx.Err()
		}
		if time.Now().After(end) {
			return false, nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// late tells whether the time was up, by our clock or by the server's.
func late(waiting context.Context, err error) bool {
	var timeout *client.WorkflowUpdateServiceTimeoutOrCanceledError
	var deadline *serviceerror.DeadlineExceeded
	return waiting.Err() != nil || errors.As(err, &timeout) || errors.As(err, &deadline)
}

// isUnknownUpdate tells whether err is the answer of a worker that is older than the update.
func isUnknownUpdate(err error) bool {
	var app *temporal.ApplicationError
	return errors.As(err, &app) && strings.HasPrefix(app.Message(), "unknown update ")
}

// Refusal is the error for an update that was not done. It has the workflow's own words.
func Refusal(id, what string, err error) error {
	var refused *temporal.ApplicationError
	var unanswered *noAnswer
	switch {
	case isUnknownUpdate(err):
		return exit.Errorf(
			exit.NoTemporal,
			"mailing %s: its worker is older than this starter and cannot %s it: update the workers",
			id,
			what,
		)
	case errors.As(err, &refused):
		return exit.Errorf(exit.NotFound, "mailing %s: %s", id, refused.Message())
	case errors.As(err, &unanswered) && unanswered.sent:
		return exit.Errorf(exit.NoTemporal, "mailing %s: %s: a worker that comes back may still do it, "+
			"see `starter show %s`", id, unanswered.why, id)
	case errors.As(err, &unanswered):
		return exit.Errorf(exit.NoTemporal, "mailing %s: %s; nothing was changed", id, unanswered.why)
	case errors.Is(err, errUnfinished):
		return exit.Errorf(exit.Unexpected, "mailing %s: %w: see `starter show %s`", id, err, id)
	case status.IsNotFound(err):
		return hasEnded(id, "", what)
	}
	return command.TemporalFailure(what+" the mailing", err)
}

// OnRunning connects to Temporal and, if the mailing is running, calls do with the workflow's task
// queue.
func OnRunning(
	ctx context.Context,
	id, what string,
	do func(c *temporalclient.Client, queue string) error,
) error {
	c, err := command.Dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	info, err := status.Describe(ctx, c, id)
	switch {
	case status.IsNotFound(err):
		return command.NoMailing(id)
	case err != nil:
		return command.TemporalFailure("read the mailing", err)
	case !status.IsOpen(info.Status):
		return hasEnded(id, status.EndOf(ctx, c, info), what)
	}
	return do(c, info.TaskQueue)
}

// hasEnded is the error for a mailing that is over.
func hasEnded(id string, as workflows.State, what string) error {
	how := ""
	if as != "" {
		how = " (" + string(as) + ")"
	}
	return exit.Errorf(exit.NotFound, "mailing %s has ended%s: there is nothing to %s", id, how, what)
}
