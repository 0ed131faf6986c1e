package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"directmailer/internal/config"
	"directmailer/internal/feedback/events"
	"directmailer/internal/feedback/inbound"
	"directmailer/internal/feedback/intake"
	"directmailer/internal/feedback/mailbox"
	"directmailer/internal/feedback/token"
	"directmailer/internal/feedback/tokenkey"
	"directmailer/workflows"
)

// feedbackMail takes over the mail that comes back to this worker. Its listener is open before the
// database is, so that an address that is taken is told at once.
type feedbackMail struct {
	server *inbound.Server
	keys   atomic.Pointer[tokenkey.Watch]
	intake atomic.Pointer[intake.Intake]
}

var errNotReady = errors.New("the worker is starting")

func (f *feedbackMail) listen(c config.Worker, log *slog.Logger) (err error) {
	if c.InboundAddress.IsSet() {
		f.server, err = inbound.Listen(c.InboundAddress, token.Keys(c.TokenKeys), f.mayBeGenuine, f.handle, log)
	}
	return err
}

// mayBeGenuine takes every token for one that may be genuine until the database is open.
func (f *feedbackMail) mayBeGenuine(claimed token.Recipient) bool {
	keys := f.keys.Load()
	return keys == nil || keys.MayBeGenuine(claimed)
}

func (f *feedbackMail) handle(ctx context.Context, m inbound.Message) error {
	i := f.intake.Load()
	if i == nil {
		return errNotReady
	}
	_, err := i.Take(ctx, intake.Message{Named: m.Named, Data: m.Data, Size: m.Size, Origin: events.Inbound}, nil)
	return err
}

// begin begins to take messages over. It returns the reader of the worker's mailbox, or nil.
func (f *feedbackMail) begin(
	c config.Worker, keys *tokenkey.Watch, pool *pgxpool.Pool, log *slog.Logger,
) *mailbox.Reader {
	i := intake.New(pool, token.Keys(c.TokenKeys))
	f.keys.Store(keys)
	f.intake.Store(i)
	if f.server != nil {
		log.Info("receiving mail that comes back", "address", f.server.Addr())
	}
	if !c.InboundMailbox.IsSet() {
		return nil
	}
	return mailbox.NewReader(c.InboundMailbox, pool, i, keys, log)
}

// close stops the listener. It may be called twice.
func (f *feedbackMail) close(c config.Worker) {
	if f.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.StopTimeout)
	defer cancel()
	f.server.Close(ctx)
	f.server = nil
}

// startMailbox starts the workflow that reads the mailbox, unless another worker has started it.
func startMailbox(ctx context.Context, c client.Client, taskQueue string) (client.WorkflowRun, error) {
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: workflows.MailboxID(taskQueue), TaskQueue: taskQueue,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
	}, workflows.MailboxType, workflows.MailboxInput{})
	if err != nil {
		return nil, fmt.Errorf("start the workflow that reads the mailbox: %w", err)
	}
	return run, nil
}
