package cli

import (
	"context"
	"errors"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"directmailer/workflows"
)

// live is what Temporal says of a mailing.
type live struct {
	err   error // Temporal does not answer
	known bool  // it knows the workflow

	firstRunID string
	queue      string
	audience   string
	state      workflows.State   // by the search attribute; empty before the first worker took it up
	answer     *workflows.Status // nil when no worker answered
	pollers    int               // workers that lately asked for work; -1 when not asked
	waiting    []waitingFor      // while the workflow runs
	startedAt  time.Time

	ended    workflows.State // empty while the workflow runs
	closedAt *time.Time
	reason   string
	problems []workflows.Problem
}

// queryPatience is how long a worker may take to answer what a mailing is doing.
const queryPatience = 3 * time.Second

// askTemporal describes the mailing's workflow and, while it runs, asks it what it does.
func askTemporal(ctx context.Context, c client.Client, id string) live {
	l := live{pollers: -1}
	d, err := describeAll(ctx, c, id)
	if isNotFound(err) {
		return l
	}
	if err != nil {
		l.err = err
		return l
	}
	info := d.WorkflowExecutionInfo
	l.known = true
	l.read(info)
	if l.ended != "" {
		l.readEnd(ctx, c, id, info.Execution.RunId)
		return l
	}
	if queue, err := c.DescribeTaskQueue(ctx, l.queue, enumspb.TASK_QUEUE_TYPE_WORKFLOW); err == nil {
		l.pollers = len(queue.Pollers)
	}
	l.waiting = waitingOf(ctx, c, l.queue, d.PendingActivities, time.Now())
	if l.pollers != 0 {
		l.answer = queryStatus(ctx, c, id, info.Execution.RunId)
	}
	return l
}

// describe returns the workflow's description; NotFound also for a workflow that is no mailing.
func describe(ctx context.Context, c client.Client, id string) (*workflowpb.WorkflowExecutionInfo, error) {
	d, err := describeAll(ctx, c, id)
	if err != nil {
		return nil, err
	}
	return d.WorkflowExecutionInfo, nil
}

// describeAll is describe with what the workflow waits for.
func describeAll(ctx context.Context, c client.Client, id string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	d, err := c.DescribeWorkflowExecution(ctx, id, "")
	if err != nil {
		return nil, err
	}
	if d.WorkflowExecutionInfo.Type.GetName() != workflows.MailingType {
		return nil, serviceerror.NewNotFound("the workflow is no mailing")
	}
	return d, nil
}

func (l *live) read(info *workflowpb.WorkflowExecutionInfo) {
	l.firstRunID, l.queue, l.startedAt = info.FirstRunId, info.TaskQueue, info.StartTime.AsTime()
	attributes := info.SearchAttributes.GetIndexedFields()
	var state string
	if p, ok := attributes[workflows.StateAttribute.GetName()]; ok && converter.GetDefaultDataConverter().FromPayload(p, &state) == nil {
		l.state = workflows.State(state)
	}
	if p, ok := attributes[workflows.ListAttribute.GetName()]; ok {
		_ = converter.GetDefaultDataConverter().FromPayload(p, &l.audience)
	}
	l.ended = endedAs(info.Status)
	if l.ended != "" && info.CloseTime != nil {
		at := info.CloseTime.AsTime()
		l.closedAt = &at
	}
}

// isOpen tells whether a workflow may still do something.
func isOpen(s enumspb.WorkflowExecutionStatus) bool { return endedAs(s) == "" }

func endedAs(s enumspb.WorkflowExecutionStatus) workflows.State {
	switch s {
	case enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED, enumspb.WORKFLOW_EXECUTION_STATUS_TIMED_OUT:
		return workflows.StateTerminated
	case enumspb.WORKFLOW_EXECUTION_STATUS_FAILED:
		return workflows.StateFailed
	case enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED:
		return workflows.StateCancelled
	case enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:
		return workflows.StateCompleted
	}
	return ""
}

// readEnd reads why a workflow did not complete.
func (l *live) readEnd(ctx context.Context, c client.Client, id, run string) {
	var result workflows.Result
	err := c.GetWorkflow(ctx, id, run).Get(ctx, &result)
	var app *temporal.ApplicationError
	switch {
	case err == nil && result.State != "":
		l.ended, l.reason = result.State, result.Reason
	case errors.As(err, &app):
		l.reason = app.Message()
		if app.HasDetails() {
			_ = app.Details(&l.problems) // a failed mailing has its result there instead
		}
	}
}

func queryStatus(ctx context.Context, c client.Client, id, run string) *workflows.Status {
	ctx, cancel := context.WithTimeout(ctx, queryPatience)
	defer cancel()
	value, err := c.QueryWorkflow(ctx, id, run, workflows.StatusQuery)
	if err != nil {
		return nil
	}
	var s workflows.Status
	if value.Get(&s) != nil {
		return nil
	}
	return &s
}

func isNotFound(err error) bool {
	var notFound *serviceerror.NotFound
	return errors.As(err, &notFound)
}
