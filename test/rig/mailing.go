package rig

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// Mailing returns a valid input with short retries. It sends to the list "people".
func Mailing(batchSize int) workflows.Input {
	quick := func(attempts int) workflows.Retry {
		return workflows.Retry{Attempts: attempts, Interval: workflows.Duration(200 * time.Millisecond)}
	}
	return workflows.Input{
		From: "News <news@example.com>", Subject: "Hello {{.name}}", List: "people", BatchSize: batchSize,
		Content: workflows.Content{Text: "Dear {{.name}},\nyou are {{.email}}.\n",
			HTML: "<p>Dear <b>{{.name}}</b>, you are {{.email}}.</p>"},
		Retry: workflows.Retries{List: quick(20), Database: quick(100), DropPoint: quick(5)},
		Deferral: workflows.Deferral{First: workflows.Duration(200 * time.Millisecond),
			Most: workflows.Duration(time.Second),
			For:  workflows.Duration(time.Hour)},
	}
}

// Start starts the mailing, under the ID that ID returns.
func (r *Rig) Start(in workflows.Input) client.WorkflowRun {
	r.Helper()
	options := client.StartWorkflowOptions{ID: r.ID(), TaskQueue: r.TaskQueue}
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		run, err := r.Temporal.ExecuteWorkflow(r.Context(), options, workflows.MailingType, in)
		if err == nil {
			return run
		}
		// A Temporal that has hung for a while says so until it has read its namespaces again.
		if !errors.As(err, new(*serviceerror.NamespaceNotFound)) || time.Now().After(end) {
			r.Fatal(err)
		}
	}
}

// ID returns the mailing's ID. No other test of the package uses it.
func (r *Rig) ID() string {
	if r.MailingID != "" {
		return r.MailingID
	}
	return strings.TrimPrefix(r.TaskQueue, "q-")
}

// Update sends the mailing's workflow an update and returns its answer, for which it waits two
// minutes.
func (r *Rig) Update(name string, args ...any) (answer string, err error) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	h, err := r.Temporal.UpdateWorkflow(ctx,
		client.UpdateWorkflowOptions{WorkflowID: r.ID(), UpdateName: name, Args: args,
			WaitForStage: client.WorkflowUpdateStageCompleted})
	if err == nil {
		err = h.Get(ctx, &answer)
	}
	return answer, err
}

// MustUpdate sends an update that must succeed.
func (r *Rig) MustUpdate(name string, args ...any) {
	r.Helper()
	if answer, err := r.Update(name, args...); err != nil {
		r.Fatalf("the update %s: %q, %v\n%s", name, answer, err, r.Explain())
	}
}

// Resume resumes a suspended mailing. If what it waits for is back, the mailing may have noticed by
// itself before.
func (r *Rig) Resume() {
	r.Helper()
	answer, err := r.Update(workflows.ResumeUpdate)
	if err != nil && !strings.Contains(err.Error(), "neither paused nor suspended") &&
		!strings.Contains(err.Error(), "already completed") {
		r.Fatalf("the update %s: %q, %v\n%s", workflows.ResumeUpdate, answer, err, r.Explain())
	}
}

// Status queries the workflow.
func (r *Rig) Status() (workflows.Status, error) {
	var s workflows.Status
	v, err := r.Temporal.QueryWorkflow(r.Context(), r.ID(), "", workflows.StatusQuery)
	if err != nil {
		return s, err
	}
	return s, v.Get(&s)
}

// Eventually waits until the condition holds, at most for Timeout. The pauses between two checks
// grow: each check may cost a query of the workflow.
func (r *Rig) Eventually(what string, holds func() bool) {
	r.Helper()
	deadline := time.Now().Add(Timeout)
	for pause := 20 * time.Millisecond; !holds(); pause = min(pause*5/4, 100*time.Millisecond) {
		if time.Now().After(deadline) {
			s, err := r.Status()
			r.Fatalf("not within %v: %s; status: %+v, %v\n%s", Timeout, what, s, err, r.Explain())
		}
		select {
		case <-r.Context().Done():
			r.Fatal("the test was ended")
		case <-time.After(pause):
		}
	}
}

// AwaitStatus waits until the status fulfils the condition. The mailing must not end before.
func (r *Rig) AwaitStatus(what string, is func(workflows.Status) bool) {
	r.Helper()
	r.Eventually(what, func() bool {
		s, err := r.Status()
		if err == nil && s.State.Ended() && !is(s) {
			r.Fatalf("the mailing has ended before %s: %+v", what, s)
		}
		return err == nil && is(s)
	})
}

// AwaitCancelReceived waits until the workers know that the mailing's batches are cancelled.
// Temporal has asked for the cancellation of each SendBatch, and has had two heartbeats since: a
// worker sends the second only after the answer to the first.
func (r *Rig) AwaitCancelReceived() {
	r.Helper()
	last, heartbeats := map[string]time.Time{}, map[string]int{}
	r.Eventually("the workers have learned of the cancellation", func() bool {
		d, err := r.Temporal.DescribeWorkflowExecution(r.Context(), r.ID(), "")
		if err != nil {
			return false
		}
		for _, a := range d.PendingActivities {
			if a.ActivityType.Name != policy.SendBatch {
				continue
			}
			if a.State != enumspb.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED {
				return false
			}
			at := a.LastHeartbeatTime.AsTime()
			if was, known := last[a.ActivityId]; known && at.After(was) {
				heartbeats[a.ActivityId]++
			}
			last[a.ActivityId] = at
			if heartbeats[a.ActivityId] < 2 {
				return false
			}
		}
		return len(last) > 0
	})
}

// Result waits for the end of a mailing that succeeds. It checks that the closed ledger adds up.
func (r *Rig) Result(run client.WorkflowRun) workflows.Result {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), Timeout)
	defer cancel()
	var result workflows.Result
	if err := run.Get(ctx, &result); err != nil {
		r.Fatalf("the mailing did not end well: %v\n%s", err, r.Explain())
	}
	if result.Counts.Total() != result.Recipients {
		r.Errorf("the ledger is not closed: %+v", result)
	}
	return result
}

// Failure waits for the end of a mailing that fails. It returns the error and, if there is one, the
// result.
func (r *Rig) Failure(run client.WorkflowRun) (*temporal.ApplicationError, workflows.Result) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), Timeout)
	defer cancel()
	var app *temporal.ApplicationError
	if err := run.Get(ctx, nil); !errors.As(err, &app) {
		r.Fatalf("the mailing did not fail: %v\n%s", err, r.Explain())
	}
	var result workflows.Result
	if app.HasDetails() {
		_ = app.Details(&result) // not of every type of error
	}
	return app, result
}

// Explain returns what the mailing is doing, for a test that waits in vain.
func (r *Rig) Explain() string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 5*time.Second)
	defer cancel()
	d, err := r.Temporal.DescribeWorkflowExecution(ctx, r.ID(), "")
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	fmt.Fprintln(&b, d.WorkflowExecutionInfo.Status)
	for _, a := range d.PendingActivities {
		fmt.Fprintln(&b, a.ActivityType.Name, a.State, "attempt", a.Attempt, a.LastFailure.GetMessage())
	}
	return b.String()
}
