package activities

import (
	"context"

	"directmailer/workflows"
)

// maxMailboxRead is how many messages one attempt of ReadMailbox reads.
const maxMailboxRead = 500

// ReadMailbox reads the messages of the worker's mailbox that were not read before. Each message is
// one transaction, so an attempt that dies has read what it has committed.
func (a *Activities) ReadMailbox(ctx context.Context, call workflows.MailboxCall) (workflows.MailboxRead, error) {
	once := workflows.Retry{Attempts: 1} // the workflow tries again
	return attempt(ctx, workflows.Retries{Database: once}, func(ctx context.Context) (workflows.MailboxRead, error) {
		if a.Mailbox == nil {
			return workflows.MailboxRead{}, nil
		}
		found, err := a.Mailbox.Read(ctx, maxMailboxRead)
		if err != nil {
			return workflows.MailboxRead{}, err
		}
		return workflows.MailboxRead{
			Messages: found.Messages, Reports: found.Reports, Events: found.Events, Skipped: found.Skipped, More: found.More,
		}, nil
	})
}
