// Compose runs a workflow of your own that composes two mailings: an announcement, and a reminder
// one minute later for the same list.
//
//	go run ./examples/compose harvest-2026
//
// The workflow Campaign runs on a task queue of its own. Its two mailings run on the workers of
// Direct Mailer, as child workflows with the IDs harvest-2026-announcement and
// harvest-2026-reminder. It needs the same environment as examples/start.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"directmailer/workflows"
)

const queue = "campaigns"

// Plan is the input of Campaign.
type Plan struct {
	// Mailers is the task queue of Direct Mailer's workers.
	Mailers string
	// Pause is the time between the two mailings.
	Pause time.Duration
}

// Campaign sends the announcement, waits, and sends the reminder if the announcement completed.
func Campaign(ctx workflow.Context, plan Plan) ([]workflows.Result, error) {
	id := workflow.GetInfo(ctx).WorkflowExecution.ID
	announcement, err := mailing(ctx, plan, workflows.Input{
		ID:      id + "-announcement",
		From:    "Example News <news@example.com>",
		Subject: "The harvest is in",
		List:    "subscribers",
		Content: workflows.Content{Text: "Hello {{.first_name}},\n\nthe harvest is in.\n"},
	})
	if err != nil || announcement.State != workflows.StateCompleted {
		return []workflows.Result{announcement}, err
	}
	if err := workflow.Sleep(ctx, plan.Pause); err != nil {
		return []workflows.Result{announcement}, err
	}
	reminder, err := mailing(ctx, plan, workflows.Input{
		ID:      id + "-reminder",
		From:    "Example News <news@example.com>",
		Subject: "Last bags of the harvest",
		List:    "subscribers",
		Content: workflows.Content{Text: "Hello {{.first_name}},\n\nthese are the last bags.\n"},
	})
	return []workflows.Result{announcement, reminder}, err
}

// mailing runs one mailing and waits for its end.
func mailing(ctx workflow.Context, plan Plan, in workflows.Input) (workflows.Result, error) {
	ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            in.ID, // the mailing's ID
		TaskQueue:             plan.Mailers,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		// When Campaign is cancelled, its mailing is cancelled, and closes its ledger before
		// Campaign ends. When Campaign is terminated, the mailing is asked to cancel instead of
		// being terminated: a terminated mailing cannot close its ledger.
		WaitForCancellation: true,
		ParentClosePolicy:   enumspb.PARENT_CLOSE_POLICY_REQUEST_CANCEL,
	})
	var result workflows.Result
	err := workflow.ExecuteChildWorkflow(ctx, workflows.MailingType, in).Get(ctx, &result)
	var cancelled *temporal.CanceledError
	if errors.As(err, &cancelled) && cancelled.HasDetails() {
		return result, errors.Join(err, cancelled.Details(&result))
	}
	return result, err
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: compose ID")
	}
	plan := Plan{Mailers: cmp.Or(os.Getenv("DM_TASK_QUEUE"), workflows.TaskQueue), Pause: time.Minute}
	if pause := os.Getenv("CAMPAIGN_PAUSE"); pause != "" {
		var err error
		if plan.Pause, err = time.ParseDuration(pause); err != nil {
			log.Fatal("CAMPAIGN_PAUSE: ", err)
		}
	}
	if err := run(context.Background(), os.Args[1], plan); err != nil {
		log.Fatal(err)
	}
}

// run runs a worker for Campaign, starts it, and prints the results of its mailings. A real program
// runs the worker for as long as campaigns run.
func run(ctx context.Context, id string, plan Plan) error {
	options, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		return err
	}
	c, err := client.Dial(options)
	if err != nil {
		return err
	}
	defer c.Close()
	w := worker.New(c, queue, worker.Options{})
	w.RegisterWorkflow(Campaign)
	if err := w.Start(); err != nil {
		return err
	}
	defer w.Stop()

	campaign, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: queue}, Campaign, plan)
	if err != nil {
		return err
	}
	var results []workflows.Result
	if err := campaign.Get(ctx, &results); err != nil {
		return err
	}
	for _, r := range results {
		fmt.Printf("%s %s: %d of %d sent\n", r.ID, r.State, r.Counts.Sent, r.Recipients)
	}
	return nil
}
