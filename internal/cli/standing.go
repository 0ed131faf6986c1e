package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
	"directmailer/workflows"
)

// States that are no [workflows.State]: the workflow cannot say them any more, or not yet.
const (
	stateStarted    workflows.State = "started"    // known to Temporal only: no worker has taken it up
	stateTerminated workflows.State = "terminated" // nobody could close its ledger, which still answers
)

// standing is what is known of a mailing: from the database, and from Temporal as far as that answers.
type standing struct {
	ID     string          `json:"id"`
	State  workflows.State `json:"state"`
	Reason string          `json:"reason,omitempty"`
	// Doing says what goes on or what is waited for, Until when the waiting ends by itself.
	Doing string    `json:"doing,omitempty"`
	Until time.Time `json:"until,omitzero"`
	List  string    `json:"list,omitempty"`

	Members    int64 `json:"members"`
	Duplicates int64 `json:"duplicates"`
	Recipients int64 `json:"recipients"`
	workflows.Counts
	// Open recipients have no outcome yet. Closed tells that nobody is open and the ledger is reconciled.
	Open   int64 `json:"open"`
	Closed bool  `json:"closed"`

	Batches       int `json:"batches"`
	Rendered      int `json:"batches_rendered"`
	ClosedBatches int `json:"batches_closed"`

	DropPoints []workflows.DropPointStatus `json:"drop_points,omitempty"`
	Problems   []workflows.Problem         `json:"problems,omitempty"`

	CreatedAt  *time.Time `json:"created_at,omitempty"`
	PreparedAt *time.Time `json:"prepared_at,omitempty"`
	ClosedAt   *time.Time `json:"closed_at,omitempty"`

	key        int64  // internal, of the database
	firstRunID string // of the workflow that owns the ID
	stored     bool   // the database knows it
}

// ended tells whether nothing more will happen.
func (s *standing) ended() bool { return s.State.Ended() || s.State == stateTerminated }

// fromStore reads what the database knows; mailings.ErrNotFound.
func (s *store) standing(ctx context.Context, id string) (standing, error) {
	m, err := s.mailings.Get(ctx, id)
	if err != nil {
		return standing{}, err
	}
	return s.standingOf(ctx, m)
}

func (s *store) standingOf(ctx context.Context, m mailings.Mailing) (standing, error) {
	v := standing{
		ID: m.ID, State: workflows.State(m.State), Reason: m.Reason, List: m.List,
		Members: m.Members, Duplicates: m.Duplicates, Recipients: m.Recipients, Batches: m.Batches,
		CreatedAt: &m.CreatedAt, PreparedAt: m.PreparedAt, ClosedAt: m.ClosedAt, Closed: m.ClosedAt != nil,
		key: m.Key, firstRunID: m.FirstRunID, stored: true,
	}
	var in struct {
		DropPoints []string `json:"drop_points"`
	}
	if len(m.Input) > 0 && json.Unmarshal(m.Input, &in) == nil {
		for _, name := range in.DropPoints {
			v.DropPoints = append(v.DropPoints, workflows.DropPointStatus{Name: name, InList: true})
		}
	}
	now, err := s.ledger.Standing(ctx, m.Key)
	if err != nil {
		return v, err
	}
	v.Rendered, v.ClosedBatches = now.Rendered, now.Closed
	v.setCounts(workflows.Counts(now.Counts))
	return v, nil
}

func (s *standing) setCounts(c workflows.Counts) {
	s.Counts = c
	s.Open = s.Recipients - c.Total()
}

// tally counts the ledger row by row, for a mailing whose ledger was never closed: batches that were cut short count as well.
func (s *store) tally(ctx context.Context, v *standing) error {
	var c workflows.Counts
	err := s.ledger.Report(ctx, v.key, nil, func(l ledger.Line) error {
		switch l.Outcome {
		case ledger.Sent:
			c.Sent++
		case ledger.Bounced:
			c.Bounced++
		case ledger.Failed:
			c.Failed++
		case ledger.OptedOut:
			c.OptedOut++
		case ledger.Uncertain:
			c.Uncertain++
		case ledger.Unsent:
			c.Unsent++
		}
		if l.PossiblyTwice {
			c.PossiblyTwice++
		}
		return nil
	})
	if err == nil {
		v.setCounts(c)
	}
	return err
}

// with adds what Temporal says. An ended mailing's ledger needs no addition.
func (s *standing) with(l live) {
	if s.Closed {
		return
	}
	switch {
	case l.err != nil:
		s.Doing = "Temporal does not answer: this is what the database knows"
		return
	case !l.known:
		s.Doing = "Temporal does not know its workflow: it was terminated and forgotten, or runs in another namespace"
		return
	}
	if !s.stored {
		s.State, s.List, s.CreatedAt = stateStarted, l.list, &l.startedAt
	}
	if l.state != "" {
		s.State = l.state
	}
	if l.answer != nil {
		s.addAnswer(*l.answer)
	}
	switch {
	case l.ended != "":
		s.State, s.Reason, s.Problems, s.Doing, s.Until = l.ended, l.reason, l.problems, "", time.Time{}
		s.ClosedAt = l.closedAt
	case l.pollers == 0:
		s.Doing = fmt.Sprintf("waits for a worker: none polls the task queue %q", l.queue)
	case l.answer == nil:
		s.Doing = "no worker answers at the moment"
	}
}

func (s *standing) addAnswer(a workflows.Status) {
	s.Doing, s.Until = a.Doing, a.Until
	if a.State != "" {
		s.State = a.State
	}
	if len(a.DropPoints) > 0 {
		s.DropPoints = a.DropPoints
	}
}

// readBoth returns a mailing's standing from the database and Temporal; NotFound when neither knows it.
func readBoth(ctx context.Context, s *store, id string, ask func(context.Context) live) (standing, error) {
	l := ask(ctx) // first: a workflow that has ended by now has its end in the database
	v, err := s.standing(ctx, id)
	if errors.Is(err, mailings.ErrNotFound) {
		if l.err != nil {
			return v, failf(NotFound, "no mailing %s in the database, and %v", id, l.err)
		}
		if !l.known {
			return v, noMailing(id)
		}
		v, err = standing{ID: id}, nil
	}
	if err != nil {
		return v, err
	}
	if !v.stored || l.firstRunID == v.firstRunID {
		v.with(l)
	} else {
		v.with(live{err: l.err, queue: l.queue})
	}
	return v, nil
}

func noMailing(id string) error { return failf(NotFound, "no mailing is named %s", printable(id)) }

// printable is what a user typed, fit to be shown again.
func printable(s string) string {
	s = clean(s)
	if len(s) > 100 {
		s = s[:100] + "…"
	}
	return s
}
