// Start starts a mailing, prints what it does, and waits for its end.
//
//	go run ./examples/start spring-2026
//
// It needs a worker, and a stored list "subscribers" with the columns first_name and city: see
// docs/first-mailing.md. TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and the other variables of Temporal's
// clients say where Temporal is, DM_TASK_QUEUE the workers' task queue.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/temporal"

	"directmailer/workflows"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: start ID")
	}
	if err := run(context.Background(), os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, id string) error {
	options, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		return err
	}
	c, err := client.Dial(options)
	if err != nil {
		return err
	}
	defer c.Close()

	in := workflows.Input{
		ID:      id,
		From:    "Example News <news@example.com>",
		Subject: "Hello {{.first_name}}",
		List:    "subscribers",
		Content: workflows.Content{Text: "Hello {{.first_name}},\n\nnews from {{.city}}.\n"},
	}
	// Validate finds what can be found without the database. The workflow's first activity checks
	// the list, the templates and the drop points.
	if problems := in.Validate(); len(problems) > 0 {
		return invalid(problems)
	}
	mailing, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:        in.ID,
		TaskQueue: cmp.Or(os.Getenv("DM_TASK_QUEUE"), workflows.TaskQueue),
		// A mailing's ID is used once: Temporal refuses a second start at once, and the database
		// refuses it always.
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowIDConflictPolicy:                 enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
	}, workflows.MailingType, in)
	if temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		return fmt.Errorf("mailing %s was started before: nothing is sent again", id)
	}
	if err != nil {
		return err
	}

	answer, err := c.QueryWorkflow(ctx, id, "", workflows.StatusQuery)
	if err != nil {
		return err
	}
	var status workflows.Status
	if err := answer.Get(&status); err != nil {
		return err
	}
	fmt.Printf("%s: %s\n", status.State, status.Doing)

	return wait(ctx, mailing)
}

// wait waits for the end of the mailing and prints its result.
func wait(ctx context.Context, mailing client.WorkflowRun) error {
	var result workflows.Result
	err := mailing.Get(ctx, &result)
	var failed *temporal.ApplicationError
	var cancelled *temporal.CanceledError
	switch {
	case errors.As(err, &failed) && failed.Type() == "InvalidInput":
		var problems []workflows.Problem
		if err := failed.Details(&problems); err != nil {
			return err
		}
		return invalid(problems)
	case errors.As(err, &cancelled) && cancelled.HasDetails(): // cancelled by Temporal's own means
		err = cancelled.Details(&result)
	}
	if err != nil {
		return err
	}
	counts := result.Counts
	fmt.Printf("%s: %d of %d sent, %d bounced\n", result.State, counts.Sent, result.Recipients, counts.Bounced)
	return nil
}

func invalid(problems []workflows.Problem) error {
	err := errors.New("nothing was sent")
	for _, p := range problems {
		err = errors.Join(err, errors.New(p.String()))
	}
	return err
}
