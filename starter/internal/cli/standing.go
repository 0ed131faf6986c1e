package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"directmailer/internal/delivery/ratelimit"
	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
	"directmailer/workflows"
)

// stateStarted is no [workflows.State], because the workflow cannot say it: known to Temporal only,
// no worker has taken it up.
const stateStarted workflows.State = "started"

// standing is what is known of a mailing: from the database, and from Temporal as far as that answers.
type standing struct {
	ID     string          `json:"id"`
	State  workflows.State `json:"state"`
	Reason string          `json:"reason,omitempty"`
	// Doing says what goes on or what is waited for, Since when it has been waited for a cause outside or an operator, Until when the
	// waiting ends, or is looked into, by itself.
	Doing string    `json:"doing,omitempty"`
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// Waiting is work that has failed and is tried again, or that no worker has taken up.
	Waiting []waitingFor `json:"waiting,omitempty"`
	// Audience is a list's name, "query:SOURCE" or "continue:ID"; List is empty if it is no list.
	Audience string `json:"audience,omitempty"`
	List     string `json:"list,omitempty"`

	Members    int64 `json:"members"`
	Duplicates int64 `json:"duplicates"`
	Recipients int64 `json:"recipients"`
	workflows.Counts
	// Open recipients have no outcome yet. Closed tells that nobody is open and the ledger is reconciled.
	Open   int64 `json:"open"`
	Closed bool  `json:"closed"`
	// Deferred recipients, among the open, are refused for now; the next of them are tried again at NextRound.
	Deferred  int       `json:"deferred"`
	NextRound time.Time `json:"next_round,omitzero"`

	Batches       int `json:"batches"`
	Rendered      int `json:"batches_rendered"`
	ClosedBatches int `json:"batches_closed"`

	DropPoints []workflows.DropPointStatus `json:"drop_points,omitempty"`
	// Rates are the limits that its messages come under; not in a list of mailings.
	Rates    []limitLine         `json:"rates,omitempty"`
	Problems []workflows.Problem `json:"problems,omitempty"`

	CreatedAt  *time.Time `json:"created_at,omitempty"`
	PreparedAt *time.Time `json:"prepared_at,omitempty"`
	ClosedAt   *time.Time `json:"closed_at,omitempty"`

	key        int64  // internal, of the database
	firstRunID string // of the workflow that owns the ID
	stored     bool   // the database knows it
}

// ended tells whether nothing more will happen.
func (s *standing) ended() bool { return s.State.Ended() }

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
		ID: m.ID, State: workflows.State(m.State), Reason: m.Reason,
		Members: m.Members, Duplicates: m.Duplicates, Recipients: m.Recipients, Batches: m.Batches,
		CreatedAt: &m.CreatedAt, PreparedAt: m.PreparedAt, ClosedAt: m.ClosedAt, Closed: m.ClosedAt != nil,
		key: m.Key, firstRunID: m.FirstRunID, stored: true,
	}
	v.setAudience(m.List)
	var in struct {
		DropPoints []string `json:"drop_points"`
	}
	if len(m.Input) > 0 && json.Unmarshal(m.Input, &in) == nil {
		for _, name := range in.DropPoints {
			v.DropPoints = append(v.DropPoints, workflows.DropPointStatus{Name: name, InList: true})
		}
	}
	now, err := s.ledger.Progress(ctx, m.Key)
	if err != nil {
		return v, err
	}
	v.Rendered, v.ClosedBatches, v.Deferred = now.Rendered, now.Closed, now.Deferred
	if now.NextRound != nil {
		v.NextRound = *now.NextRound
	}
	v.setCounts(workflows.Counts(now.Counts))
	return v, nil
}

func (s *standing) setAudience(audience string) {
	if s.Audience = audience; !strings.Contains(audience, ":") {
		s.List = audience
	}
}

func (s *standing) setCounts(c workflows.Counts) {
	s.Counts = c
	s.Open = s.Recipients - c.Total()
}

// addRates adds the limits that the mailing's messages come under: its own, those of its drop points, and those of all domains.
func (s *store) addRates(ctx context.Context, v *standing) error {
	if v.ended() {
		return nil
	}
	all, err := s.limits(ctx)
	for _, l := range all {
		named := func(p workflows.DropPointStatus) bool { return p.Name == l.Name }
		switch l.Kind {
		case ratelimit.Mailing.String():
			if l.Name != v.ID {
				continue
			}
		case ratelimit.DropPoint.String():
			if len(v.DropPoints) > 0 && !slices.ContainsFunc(v.DropPoints, named) {
				continue
			}
		}
		v.Rates = append(v.Rates, l)
	}
	return err
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
		s.Doing = "Temporal does not know its workflow: it was terminated and forgotten (`starter close` closes its ledger), or runs in another namespace"
		return
	}
	if !s.stored {
		s.State, s.CreatedAt = stateStarted, &l.startedAt
		s.setAudience(l.audience)
	}
	if l.state != "" {
		s.State = l.state
	}
	if l.answer != nil {
		s.addAnswer(*l.answer)
	}
	s.Waiting = l.waiting
	if l.answer != nil {
		s.Waiting = append(waitingPoints(l.answer.DropPoints), l.waiting...)
	}
	switch {
	case l.ended != "":
		s.State, s.Reason, s.Problems, s.Doing, s.Until = l.ended, l.reason, l.problems, "", time.Time{}
		s.Since, s.NextRound = time.Time{}, time.Time{}
		s.ClosedAt, s.Waiting = l.closedAt, nil
	case l.pollers == 0:
		s.Doing = fmt.Sprintf("waits for a worker: none polls the task queue %q", l.queue)
	case l.answer == nil:
		s.Doing = "no worker answers at the moment"
	}
}

func (s *standing) addAnswer(a workflows.Status) {
	s.Doing, s.Since, s.Until = a.Doing, a.Since, a.Until
	if !a.NextRound.IsZero() { // the workflow says when it comes again, the database when the first is due
		s.NextRound = a.NextRound
	}
	if a.State != "" && !a.State.Ended() { // an end, and why, is what Temporal says of the workflow: a moment later
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
