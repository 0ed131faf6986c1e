package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"directmailer/workflows/policy"
)

// MailboxType is the workflow type that reads a mailbox of mail that came back. There is one for
// each task queue, under the ID that [MailboxID] returns. Workers that have the mailbox start it.
const MailboxType = "Mailbox"

// MailboxID returns the workflow ID of a task queue's mailbox. No mailing can have it.
func MailboxID(taskQueue string) string { return "mailbox/" + taskQueue }

// MailboxInput is the input of the workflow Mailbox.
type MailboxInput struct {
	// Interval is the time between two readings. Default: 1m.
	Interval Duration `json:"interval,omitzero"`
	// Progress is that of the previous run, set by continue-as-new.
	Progress MailboxProgress `json:"progress,omitzero"`
}

// MailboxProgress says what was read so far.
type MailboxProgress struct {
	MailboxRead
	// Failures counts the readings in a row that have failed, the last of them for the reason
	// Failure.
	Failures int    `json:"failures,omitempty"`
	Failure  string `json:"failure,omitempty"`
}

// maxMailboxPause is the longest time between two readings after failures.
const maxMailboxPause = 15 * time.Minute

// Mailbox reads a mailbox again and again, until it is cancelled or terminated. The position in the
// mailbox is in the database, so that nothing is read twice whatever happens to the workflow.
func Mailbox(ctx workflow.Context, in MailboxInput) error {
	if in.Interval <= 0 {
		in.Interval = Duration(time.Minute)
	}
	for {
		workflow.SetCurrentDetails(ctx, in.Progress.details())
		var read MailboxRead
		options := policy.Options(policy.ReadMailbox, "read the mailbox", workflow.GetInfo(ctx).TaskQueueName,
			MailboxType)
		options.WaitForCancellation = false // what is committed is committed
		err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, options), policy.ReadMailbox, MailboxCall{}).
			Get(ctx, &read)
		if ctx.Err() != nil || temporal.IsCanceledError(err) {
			return ctx.Err()
		}
		in.Progress.add(read, err)
		if workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
			return workflow.NewContinueAsNewError(ctx, MailboxType, in)
		}
		if pause := in.Progress.pause(time.Duration(in.Interval)); pause > 0 {
			workflow.SetCurrentDetails(ctx, in.Progress.details())
			if err := workflow.NewTimerWithOptions(ctx, pause,
				workflow.TimerOptions{Summary: "wait for mail"}).Get(ctx, nil); err != nil {
				return err
			}
		}
	}
}

// add applies the end of a reading.
func (p *MailboxProgress) add(read MailboxRead, err error) {
	if err != nil {
		p.Failures++
		p.Failure, p.More = errorText(err), false
		return
	}
	p.Failures, p.Failure = 0, ""
	p.Messages += read.Messages
	p.Reports += read.Reports
	p.Skipped += read.Skipped
	p.Events += read.Events
	p.More = read.More
}

// pause returns the time to the next reading. It doubles with each failure.
func (p *MailboxProgress) pause(interval time.Duration) time.Duration {
	switch {
	case p.More:
		return 0
	case p.Failures == 0:
		return interval
	}
	return max(interval, min(interval<<min(p.Failures-1, 16), maxMailboxPause))
}

// details describes the workflow for Temporal's Web UI.
func (p *MailboxProgress) details() string {
	text := fmt.Sprintf("Reads the mail that came back. Messages so far: %d, about recipients of ours: %d, "+
		"new events: %d.", p.Messages, p.Reports, p.Events)
	if p.Skipped > 0 {
		text += fmt.Sprintf(" Messages that could not be recorded, and are flagged in the mailbox: %d.", p.Skipped)
	}
	if p.Failures > 0 {
		text += fmt.Sprintf("\n\n**Failed readings since the last success:** %d. The last one failed because %s",
			p.Failures, plainText(p.Failure, longestReason))
	}
	return text
}
