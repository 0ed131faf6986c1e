// Package status tells what a mailing is doing: its state and counts from the database, and what it
// does and waits for from Temporal, as far as Temporal answers. It also follows a mailing until its
// end.
package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"directmailer/internal/content"
	"directmailer/internal/delivery/rate"
	"directmailer/internal/feedback/events"
	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
	"directmailer/internal/temporalclient"
	"directmailer/workflows"
)

// StateStarted is a state that a workflow cannot have: Temporal has the mailing, and no worker has
// taken it up yet.
const StateStarted workflows.State = "started"

// Status is what is known of a mailing. It is also its form in JSON.
type Status struct {
	ID     string          `json:"id"`
	State  workflows.State `json:"state"`
	Reason string          `json:"reason,omitempty"`
	// Doing says what the mailing does or waits for. Since is when it began to wait for an outside
	// cause or an operator. Until is when the waiting ends by itself, or is checked again.
	Doing string    `json:"doing,omitempty"`
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// Waiting is work that has failed and is retried, or that no worker has taken up.
	Waiting []Waiting `json:"waiting,omitempty"`
	// Audience is a list's name, "query:SOURCE" or "continue:ID". List is empty if it is not a
	// list.
	Audience string `json:"audience,omitempty"`
	List     string `json:"list,omitempty"`
	// Topic is what people can opt out of. IgnoresOptOuts are the scopes whose opt-outs the mailing
	// ignores: all, list, topic.
	Topic          string   `json:"topic,omitempty"`
	IgnoresOptOuts []string `json:"ignores_opt_outs,omitempty"`

	Members    int64 `json:"members"`
	Duplicates int64 `json:"duplicates"`
	Recipients int64 `json:"recipients"`
	workflows.Counts
	// Open recipients have no outcome yet. Closed tells that the ledger is closed: nobody is open.
	Open   int64 `json:"open"`
	Closed bool  `json:"closed"`
	// Events counts recipients by what came back about their messages later. It changes no outcome:
	// a recipient who was sent, and bounced later, is counted in both.
	Events events.Counts `json:"events"`
	// Deferred recipients are open ones whose message the server refused for now. NextRound is when
	// the first of them are tried again.
	Deferred  int       `json:"deferred"`
	NextRound time.Time `json:"next_round,omitzero"`

	// Signatures are the names of the keys that workers sign with. Unsigned tells that a worker has
	// rendered messages without a signature.
	Signatures []string `json:"signatures,omitempty"`
	Unsigned   bool     `json:"unsigned,omitempty"`
	// BouncesTo is the address to which bounces go. A * in it stands for the token of a recipient.
	BouncesTo string `json:"bounces_to,omitempty"`

	Batches       int `json:"batches"`
	Rendered      int `json:"batches_rendered"`
	ClosedBatches int `json:"batches_closed"`

	DropPoints []workflows.DropPointStatus `json:"drop_points,omitempty"`
	// Rates are the limits that apply to its messages. A list of mailings leaves them out.
	Rates    []Limit             `json:"rates,omitempty"`
	Problems []workflows.Problem `json:"problems,omitempty"`

	CreatedAt  *time.Time `json:"created_at,omitempty"`
	PreparedAt *time.Time `json:"prepared_at,omitempty"`
	ClosedAt   *time.Time `json:"closed_at,omitempty"`

	// Stored tells that the database has the mailing.
	Stored     bool   `json:"-"`
	key        int64  // in the database
	firstRunID string // of the workflow that owns the ID
}

// Limit is a rate limit.
type Limit struct {
	Kind    string    `json:"kind"`              // drop_point, domain or mailing
	Name    string    `json:"name"`              // of a mailing its ID
	Mailing string    `json:"mailing,omitempty"` // the ID of the only mailing that it is for; empty: all together
	Rate    rate.Rate `json:"rate"`
	SetAt   time.Time `json:"set_at"`
}

// ErrNotFound says that neither the database nor Temporal has the mailing.
var ErrNotFound = errors.New("no such mailing")

// UnaskedError says that the database does not have a mailing, and that Temporal, which may have
// it, cannot be asked.
type UnaskedError struct {
	ID  string
	Err error // of Temporal
}

func (e *UnaskedError) Error() string {
	return fmt.Sprintf("the database has no mailing %s, and Temporal cannot be asked: %v", e.ID,
		temporalclient.Explain(e.Err))
}

func (e *UnaskedError) Unwrap() error { return e.Err }

// Reader reads the status of mailings.
type Reader struct {
	mailings *mailings.Store
	ledger   *ledger.Ledger
	events   *events.Store
}

// NewReader returns a reader of these stores.
func NewReader(m *mailings.Store, l *ledger.Ledger, e *events.Store) *Reader { return &Reader{m, l, e} }

// Ended tells whether nothing more will happen.
func (s *Status) Ended() bool { return s.State.Ended() }

// Stored returns what the database has of a mailing, or [mailings.ErrNotFound].
func (r *Reader) Stored(ctx context.Context, id string) (Status, error) {
	m, err := r.mailings.Get(ctx, id)
	if err != nil {
		return Status{}, err
	}
	return r.Of(ctx, m)
}

// Of returns what the database has of the mailing m.
func (r *Reader) Of(ctx context.Context, m mailings.Mailing) (Status, error) {
	s := Status{
		ID: m.ID, State: workflows.State(m.State), Reason: m.Reason,
		Members: m.Members, Duplicates: m.Duplicates, Recipients: m.Recipients, Batches: m.Batches,
		CreatedAt: &m.CreatedAt, PreparedAt: m.PreparedAt, ClosedAt: m.ClosedAt, Closed: m.ClosedAt != nil,
		key: m.Key, firstRunID: m.FirstRunID, Stored: true,
	}
	s.setAudience(m.List)
	for _, name := range m.SignedWith {
		if name == mailings.Unsigned {
			s.Unsigned = true
		} else {
			s.Signatures = append(s.Signatures, name)
		}
	}
	s.Topic, s.IgnoresOptOuts = m.Topic, m.IgnoreOptOuts
	var in struct {
		DropPoints     []string `json:"drop_points"`
		From           string   `json:"from"`
		EnvelopeSender string   `json:"envelope_sender"`
	}
	if len(m.Input) > 0 && json.Unmarshal(m.Input, &in) == nil {
		sender := workflows.Input{From: in.From, EnvelopeSender: in.EnvelopeSender}
		s.BouncesTo = content.SenderPattern(sender, m.Marks.BounceDomain)
		for _, name := range in.DropPoints {
			s.DropPoints = append(s.DropPoints, workflows.DropPointStatus{Name: name, InList: true})
		}
	}
	now, err := r.ledger.Progress(ctx, m.Key)
	if err != nil {
		return s, err
	}
	s.Rendered, s.ClosedBatches, s.Deferred = now.Rendered, now.Closed, now.Deferred
	if now.NextRound != nil {
		s.NextRound = *now.NextRound
	}
	s.setCounts(now.Counts)
	s.Events, err = r.events.Counts(ctx, m.Key)
	return s, err
}

func (s *Status) setAudience(audience string) {
	if s.Audience = audience; !strings.Contains(audience, ":") {
		s.List = audience
	}
}

func (s *Status) setCounts(c workflows.Counts) {
	s.Counts = c
	s.Open = s.Recipients - c.Total()
}

// CountRows counts the ledger row by row, for a mailing whose ledger was never closed. It also
// counts batches that were cut short.
func (r *Reader) CountRows(ctx context.Context, s *Status) error {
	var c workflows.Counts
	err := r.ledger.Report(ctx, s.key, nil, func(l ledger.Line) error {
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
		s.setCounts(c)
	}
	return err
}

// Read returns what the database and Temporal have of a mailing, or [ErrNotFound], or an
// [*UnaskedError]. ask asks Temporal.
func (r *Reader) Read(ctx context.Context, id string, ask func(context.Context) Workflow) (Status, error) {
	w := ask(ctx) // first: a workflow that has ended by now has its end in the database
	s, err := r.Stored(ctx, id)
	if errors.Is(err, mailings.ErrNotFound) {
		if w.Err != nil {
			return s, &UnaskedError{id, w.Err}
		}
		if !w.Known {
			return s, ErrNotFound
		}
		s, err = Status{ID: id}, nil
	}
	if err != nil {
		return s, err
	}
	if !s.Stored || w.firstRunID == s.firstRunID {
		s.Merge(w)
	} else {
		s.Merge(Workflow{Err: w.Err, queue: w.queue})
	}
	return s, nil
}

// Merge adds what Temporal says. It adds nothing where the ledger is closed, because that is the
// end.
func (s *Status) Merge(w Workflow) {
	if s.Closed {
		return
	}
	switch {
	case w.Err != nil:
		s.Doing = "Temporal does not answer: this is what the database has"
		return
	case !w.Known:
		s.Doing = "Temporal has no workflow for it: it was terminated and forgotten (`starter close` closes its ledger), " +
			"or it runs in another namespace"
		return
	}
	if !s.Stored {
		s.State, s.CreatedAt = StateStarted, &w.startedAt
		s.setAudience(w.audience)
	}
	if w.state != "" {
		s.State = w.state
	}
	s.Waiting = w.waiting
	if w.answer != nil {
		s.addAnswer(*w.answer)
		s.Waiting = append(waitingDropPoints(w.answer.DropPoints), w.waiting...)
	}
	switch {
	case w.Ended != "":
		s.end(w)
	case w.pollers == 0:
		s.Doing = fmt.Sprintf("waits for a worker: none polls the task queue %q", w.queue)
	case w.answer == nil:
		s.Doing = "no worker answers at the moment"
	}
}

// end takes the end of the workflow from Temporal.
func (s *Status) end(w Workflow) {
	s.State, s.Reason, s.Problems, s.ClosedAt = w.Ended, w.reason, w.problems, w.closedAt
	s.Doing, s.Since, s.Until, s.NextRound, s.Waiting = "", time.Time{}, time.Time{}, time.Time{}, nil
}

// addAnswer adds what the workflow itself says.
func (s *Status) addAnswer(a workflows.Status) {
	s.Doing, s.Since, s.Until = a.Doing, a.Since, a.Until
	if !a.NextRound.IsZero() { // the workflow has the time of the round, the database when the first is due
		s.NextRound = a.NextRound
	}
	if a.State != "" && !a.State.Ended() { // Temporal tells an end, with its reason, a moment later
		s.State = a.State
	}
	if len(a.DropPoints) > 0 {
		s.DropPoints = a.DropPoints
	}
}
