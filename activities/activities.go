// Package activities does a mailing's work in steps that may be repeated at any time: open, prepare, render, send, close.
//
// The table of their timeouts, retries and error types is in package policy beside it. An activity's error names no recipient, and
// says by its type what happens next. The database is the truth about what has been done; nothing is taken from a heartbeat except
// how often something failed.
package activities

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"

	"directmailer/internal/audience/lists"
	"directmailer/internal/audience/query"
	"directmailer/internal/content"
	"directmailer/internal/content/page"
	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/delivery/ratelimit"
	"directmailer/internal/delivery/spool"
	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// Activities holds what the activities work with. It serves all mailings of a worker.
type Activities struct {
	mailings   *mailings.Store
	lists      *lists.Store
	ledger     *ledger.Ledger
	gate       *ledger.Gate
	pacer      *ratelimit.Pacer
	dropPoints *droppoint.Set
	sources    *query.Set
	contents   *content.Cache[*content.Content]
	pages      *page.Fetcher
	begun      *begun
	admission  *admission
	worker     string // tells this worker from others; random
	buffers    spool.BufferPool
	log        *slog.Logger
}

// New returns the activities on a database, a set of drop points, the source databases that
// mailings may query, and the fetcher of their pages.
func New(pool *pgxpool.Pool, points *droppoint.Set, sources *query.Set, pages *page.Fetcher, log *slog.Logger) *Activities {
	store := mailings.New(pool)
	return &Activities{
		mailings:   store,
		lists:      lists.New(pool),
		ledger:     ledger.New(pool),
		gate:       ledger.NewGate(pool),
		pacer:      ratelimit.New(pool),
		dropPoints: points,
		sources:    sources,
		contents:   content.NewCache[*content.Content](),
		pages:      pages,
		begun:      newBegun(maxBegun),
		admission:  newAdmission(),
		worker:     rand.Text()[:8],
		log:        log,
	}
}

// Register makes a worker do those of the activities that wait in its task queue, one of those of the main queue, under the policy's names.
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
	} {
		if policy.Queue(name, main) == queue {
			r.RegisterActivityWithOptions(do, activity.RegisterOptions{Name: name})
		}
	}
}

// mailing reads a mailing that OpenMailing has put there.
func (a *Activities) mailing(ctx context.Context, id string) (mailings.Mailing, error) {
	m, err := a.mailings.Get(ctx, id)
	if errors.Is(err, mailings.ErrNotFound) {
		return m, fmt.Errorf("mailing %s: %w", id, err)
	}
	return m, err
}

// invalid is the error of an input with problems, all of which it names.
func invalid(problems []workflows.Problem) error {
	return &failure{kind: policy.InvalidInput, text: "invalid input: " + sentence(problems), details: []any{problems}}
}

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
