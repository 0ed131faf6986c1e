package status

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

// Workflow is what Temporal says of a mailing's workflow.
type Workflow struct {
	Err   error // Temporal does not answer
	Known bool  // it has the workflow

	firstRunID string
	queue      string
	audience   string
	state      workflows.State   // the search attribute; empty before the first worker took the mailing up
	answer     *workflows.Status // nil when no worker answered
	pollers    int               // workers that lately asked for work; -1 when not asked
	waiting    []Waiting         // while the workflow runs
	startedAt  time.Time

	Ended    workflows.State // empty while the workflow runs
	closedAt *time.Time
	reason   string
	problems []workflows.Problem
}

// queryTimeout is how long a worker may take to answer what a mailing is doing.
const queryTimeout = 3 * time.Second

// Ask describes the mailing's workflow and, while it runs, asks it what it does.
func Ask(ctx context.Context, c client.Client, id string) Workflow {
	w := Workflow{pollers: -1}
	d, err := describeWorkflow(ctx, c, id)
	if IsNotFound(err) {
		return w
	}
	if err != nil {
		w.Err = err
		return w
	}
	info := d.WorkflowExecutionInfo
	w.Known = true
	w.read(info)
	if w.Ended != "" {
		w.readEnd(ctx, c, id, info.Execution.RunId)
		return w
	}
	if queue, err := c.DescribeTaskQueue(ctx, w.queue, enumspb.TASK_QUEUE_TYPE_WORKFLOW); err == nil {
		w.pollers = len(queue.Pollers)
	}
	w.waiting = waitingOf(ctx, c, w.queue, d.PendingActivities, time.Now())
	if w.pollers != 0 {
		w.answer = queryStatus(ctx, c, id, info.Execution.RunId)
	}
	return w
}

// Peek asks Temporal alone and no worker, for a list of mailings: it would have to wait for an
// answer for each of its lines.
func Peek(ctx context.Context, c client.Client, s Status) Workflow {
	w := Workflow{pollers: -1}
	info, err := Describe(ctx, c, s.ID)
	switch {
	case IsNotFound(err):
	case err != nil:
		w.Err = err
	case info.FirstRunId == s.firstRunID:
		w.Known = true
		w.read(info)
	}
	return w
}

// Listed is the status of a mailing that only Temporal has, from a line of its list.
func Listed(info *workflowpb.WorkflowExecutionInfo) Status {
	s := Status{ID: info.Execution.GetWorkflowId()}
	w := Workflow{Known: true, pollers: -1}
	w.read(info)
	s.Merge(w)
	s.Doing = ""
	return s
}

// EndOf returns the state that a workflow ended in, as the mailing's result has it.
func EndOf(ctx context.Context, c client.Client, info *workflowpb.WorkflowExecutionInfo) workflows.State {
	var w Workflow
	w.read(info)
	w.readEnd(ctx, c, info.Execution.GetWorkflowId(), info.Execution.GetRunId())
	return w.Ended
}

// Describe returns the workflow's description, or an error for which [IsNotFound] is true: also for
// a workflow that is not a mailing.
func Describe(ctx context.Context, c client.Client, id string) (*workflowpb.WorkflowExecutionInfo, error) {
	d, err := describeWorkflow(ctx, c, id)
	if err != nil {
		return nil, err
	}
	return d.WorkflowExecutionInfo, nil
}

// describeWorkflow is Describe with the pending activities.
func describeWorkflow(
	ctx context.Context,
	c client.Client,
	id string,
) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	d, err := c.DescribeWorkflowExecution(ctx, id, "")
	if err != nil {
		return nil, err
	}
	if name := d.WorkflowExecutionInfo.Type.GetName(); name != workflows.MailingType && name != workflows.TestType {
		return nil, serviceerror.NewNotFound("the workflow is not a mailing")
	}
	return d, nil
}

func (w *Workflow) read(info *workflowpb.WorkflowExecutionInfo) {
	w.firstRunID, w.queue, w.startedAt = info.FirstRunId, info.TaskQueue, info.StartTime.AsTime()
	attributes := info.SearchAttributes.GetIndexedFields()
	var state string
	if p, ok := attributes[workflows.StateAttribute.GetName()]; ok &&
		converter.GetDefaultDataConverter().FromPayload(p, &state) == nil {
		w.state = workflows.State(state)
	}
	if p, ok := attributes[workflows.ListAttribute.GetName()]; ok {
		_ = converter.GetDefaultDataConverter().FromPayload(p, &w.audience)
	}
	w.Ended = endedAs(info.Status)
	if w.Ended != "" && info.CloseTime != nil {
		at := info.CloseTime.AsTime()
		w.closedAt = &at
	}
}

// IsOpen tells whether a workflow may still do something.
func IsOpen(s enumspb.WorkflowExecutionStatus) bool { return endedAs(s) == "" }

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
func (w *Workflow) readEnd(ctx context.Context, c client.Client, id, run string) {
	var result workflows.Result
	err := c.GetWorkflow(ctx, id, run).Get(ctx, &result)
	var app *temporal.ApplicationError
	switch {
	case err == nil && result.State != "":
		w.Ended, w.reason = result.State, result.Reason
	case errors.As(err, &app):
		w.reason = app.Message()
		if app.HasDetails() {
			_ = app.Details(&w.problems) // a failed mailing has its result there instead
		}
	}
}

func queryStatus(ctx context.Context, c client.Client, id, run string) *workflows.Status {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
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

// IsNotFound tells whether Temporal has said that it has no such workflow.
func IsNotFound(err error) bool {
	var notFound *serviceerror.NotFound
	return errors.As(err, &notFound)
}
