// Package activities has the activities of a mailing: open, prepare, render, send, gather, close.
// Each of them may run again at any time.
//
// The table of their timeouts, retries and error types is package workflows/policy. The error of an
// activity names no recipient, and its type says what happens next. The database says what was
// done. A heartbeat says only how often something failed.
package activities

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"

	"directmailer/internal/audience/lists"
	"directmailer/internal/audience/optouts"
	"directmailer/internal/audience/query"
	"directmailer/internal/audience/recipients"
	"directmailer/internal/content"
	"directmailer/internal/content/dkim"
	"directmailer/internal/content/page"
	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/delivery/ratelimit"
	"directmailer/internal/delivery/sender"
	"directmailer/internal/delivery/spool"
	"directmailer/internal/feedback"
	"directmailer/internal/feedback/events"
	"directmailer/internal/feedback/mailbox"
	"directmailer/internal/fifo"
	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// Activities has the activities as methods. One value serves all mailings of a worker. It is safe
// for concurrent use.
type Activities struct {
	// SearchAttributes is true if the namespace has the mailings' search attributes.
	SearchAttributes bool
	// Keys sign messages.
	Keys dkim.Keys
	// Feedback is what this worker's environment says of links to recipients.
	Feedback feedback.Settings
	// SendSlots are the worker's slots for SendBatch.
	SendSlots *SendSlots
	// Mailbox reads the mailbox of this worker; nil if it has none.
	Mailbox *mailbox.Reader

	mailings   *mailings.Store
	recipients *recipients.Store
	lists      *lists.Store
	optOuts    *optouts.Watch
	ledger     *ledger.Ledger
	events     *events.Store
	gate       *ledger.Gate
	pacer      *ratelimit.Pacer
	dropPoints *droppoint.Set
	sources    *query.Set
	contents   *content.Cache[*content.Content]
	pages      *page.Fetcher
	partials   *fifo.Cache[ledger.Batch, partialBatch]
	evidence   *fifo.Cache[evidenceKey, *sender.Evidence]
	admission  *admission
	worker     string // identifies this worker; random
	buffers    spool.BufferPool
	sealKey    atomic.Pointer[[]byte]
	slots      slots
	suspects   chan struct{} // held while a batch is rendered that may have killed a worker
	ends       renderingEnds
	log        *slog.Logger
}

// New returns the activities of a worker with a database, drop points, source databases for
// queries, and a fetcher of pages. It renders and sends up to maxBatches batches at a time.
func New(
	pool *pgxpool.Pool, points *droppoint.Set, sources *query.Set, pages *page.Fetcher, maxBatches int, log *slog.Logger,
) *Activities {
	l := ledger.New(pool)
	return &Activities{
		SendSlots:  newSendSlots(maxBatches),
		mailings:   mailings.New(pool),
		recipients: recipients.New(pool),
		lists:      lists.New(pool),
		optOuts:    optouts.NewWatch(pool),
		ledger:     l,
		events:     events.New(pool),
		gate:       ledger.NewGate(pool),
		pacer:      ratelimit.New(pool),
		dropPoints: points,
		sources:    sources,
		slots:      newSlots(maxBatches),
		suspects:   make(chan struct{}, 1),
		contents:   content.NewCache[*content.Content](),
		pages:      pages,
		partials:   newPartials(maxPartial),
		evidence:   fifo.New[evidenceKey, *sender.Evidence](maxEvidence, fifo.One),
		admission:  newAdmission(maxBatches),
		worker:     rand.Text()[:8],
		ends:       renderingEnds{end: l.EndRendering},
		log:        log,
	}
}

// Close is called when no activity runs any more. It tries once more to write the answers of drop
// points, and the ends of renderings, that could not be written before.
func (a *Activities) Close(ctx context.Context) {
	if n := a.ends.close(ctx); n > 0 {
		a.log.Warn("the ends of renderings could not be written: each counts as the death of a worker", "renderings", n)
	}
	if n := a.gate.Close(ctx); n > 0 {
		a.log.Warn("answers of drop points could not be written: their recipients are uncertain", "answers", n)
	}
}

// Register registers the activities of one task queue with a worker, under the names of package
// policy. Main is the main task queue, from which the names of all others are made.
func (a *Activities) Register(r worker.ActivityRegistry, main, queue string) {
	for name, do := range map[string]any{
		policy.OpenMailing:      a.OpenMailing,
		policy.PrepareList:      a.PrepareList,
		policy.RenderBatch:      a.RenderBatch,
		policy.SendBatch:        a.SendBatch,
		policy.GatherDeferred:   a.GatherDeferred,
		policy.CheckDropPoint:   a.CheckDropPoint,
		policy.SetRate:          a.SetRate,
		policy.ResolveUncertain: a.ResolveUncertain,
		policy.CloseMailing:     a.CloseMailing,
		policy.ReadMailbox:      a.ReadMailbox,
	} {
		if policy.Queue(name, main) == queue {
			r.RegisterActivityWithOptions(do, activity.RegisterOptions{Name: name})
		}
	}
	if queue == main { // where the workflows are
		r.RegisterActivityWithOptions(a.SealProgress, activity.RegisterOptions{Name: policy.SealProgress})
		r.RegisterActivityWithOptions(a.CheckSeal, activity.RegisterOptions{Name: policy.CheckSeal})
	}
}

// mailing reads a mailing that OpenMailing has reserved.
func (a *Activities) mailing(ctx context.Context, id string) (mailings.Mailing, error) {
	m, err := a.mailings.Get(ctx, id)
	if errors.Is(err, mailings.ErrNotFound) {
		return m, fmt.Errorf("mailing %s: %w", id, err)
	}
	return m, err
}

// invalid returns the error of an input with problems.
func invalid(problems []workflows.Problem) error {
	problems = workflows.Bounded(problems)
	return &failure{kind: policy.InvalidInput, text: "invalid input: " + sentence(problems), details: []any{problems}}
}

// sentence joins the problems to one text.
func sentence(problems []workflows.Problem) string {
	lines := make([]string, len(problems))
	for i, p := range problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "; ")
}

func decodeInput(m mailings.Mailing) (workflows.Input, error) {
	var in workflows.Input
	if err := json.Unmarshal(m.Input, &in); err != nil {
		return in, fmt.Errorf("mailing %s: its stored input cannot be read: %w", m.ID, err)
	}
	return in, nil
}
