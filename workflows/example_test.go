package workflows_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"directmailer/workflows"
)

// A program in another language sends the same JSON. examples/start sends it, and waits for the
// end.
func Example() {
	in := workflows.Input{
		ID:      "spring-2026",
		From:    "news@example.com",
		Subject: "Hello {{.first_name}}",
		List:    "subscribers",
		Content: workflows.Content{Text: "Hello {{.first_name}}"},
		Rates:   workflows.Rates{Mailing: "500/min"},
	}
	if problems := in.Validate(); len(problems) > 0 {
		fmt.Println(problems)
		return
	}
	text, _ := json.MarshalIndent(in, "", "  ")
	fmt.Println(string(text))
	// Output:
	// {
	//   "id": "spring-2026",
	//   "from": "news@example.com",
	//   "subject": "Hello {{.first_name}}",
	//   "list": "subscribers",
	//   "content": {
	//     "text": "Hello {{.first_name}}"
	//   },
	//   "rates": {
	//     "mailing": "500/min"
	//   }
	// }
}

// Validate reports every problem at once.
func ExampleInput_Validate() {
	in := workflows.Input{
		From:      "news",
		Subject:   "Hello",
		List:      "subscribers",
		Content:   workflows.Content{Text: "Hello"},
		BatchSize: 9000,
	}
	for _, problem := range in.Validate() {
		fmt.Println(problem.Field)
	}
	// Output:
	// from
	// batch_size
}

// WithDefaults fills what the input leaves out.
func ExampleInput_WithDefaults() {
	in := workflows.Input{
		From:    "news@example.com",
		Subject: "Hello",
		List:    "subscribers",
		Content: workflows.Content{Text: "Hello"},
	}.WithDefaults()
	fmt.Println(in.BatchSize, in.OnUncertain, in.OnExhausted)
	fmt.Println(in.Retry.DropPoint.Attempts, "attempts,", time.Duration(in.Retry.DropPoint.Interval), "apart")
	// Output:
	// 500 resend suspend
	// 5 attempts, 30s apart
}

// In a closed ledger, the counts add up to the recipients.
func ExampleCounts() {
	ledger := workflows.Counts{Sent: 1990, Bounced: 7, OptedOut: 1}.Add(workflows.Counts{Unsent: 2})
	fmt.Println(ledger.Total())
	// Output: 2000
}

// A workflow of another program runs a mailing as a child. Its test runs without a server and sends
// nothing.
func Example_childWorkflow() {
	campaign := func(ctx workflow.Context) (int64, error) {
		in := workflows.Input{
			ID:      "spring-2026",
			From:    "news@example.com",
			Subject: "News",
			List:    "subscribers",
			Content: workflows.Content{Text: "Hello"},
		}
		ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
			WorkflowID:            in.ID,
			TaskQueue:             workflows.TaskQueue,
			WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
			WaitForCancellation:   true,
			ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_REQUEST_CANCEL,
		})
		var result workflows.Result
		err := workflow.ExecuteChildWorkflow(ctx, workflows.MailingType, in).Get(ctx, &result)
		return result.Counts.Sent, err
	}

	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	mailing := func(_ workflow.Context, in workflows.Input) (workflows.Result, error) { // instead of the real one
		return workflows.Result{ID: in.ID, State: workflows.StateCompleted, Counts: workflows.Counts{Sent: 2000}}, nil
	}
	env.RegisterWorkflowWithOptions(mailing, workflow.RegisterOptions{Name: workflows.MailingType})
	env.ExecuteWorkflow(campaign)
	var sent int64
	fmt.Println(env.GetWorkflowResult(&sent), sent)
	// Output: <nil> 2000
}
