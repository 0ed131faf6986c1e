package workflows

import (
	"strings"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"directmailer/internal/naming"
)

// enter changes the state, and shows it in the search attributes and in the current details of the
// Web UI.
func (m *mailing) enter(ctx workflow.Context, state State) {
	if m.state != state {
		m.state = state
		m.log.Info("mailing", "state", string(state))
		if m.searchable {
			m.setSearchAttributes(ctx)
		}
	}
	workflow.SetCurrentDetails(ctx, m.status().Details()) // details are no part of the history
}

// setSearchAttributes shows the state and the audience in the search attributes. If the namespace
// does not have them, Temporal refuses the workflow task, again and again. So whether they are set
// is decided by what the history has: the start's search attributes, and OpenMailing's answer.
func (m *mailing) setSearchAttributes(ctx workflow.Context) {
	attributes := []temporal.SearchAttributeUpdate{StateAttribute.ValueSet(string(m.state))}
	// The input may not be checked yet, and Temporal ends a workflow that sets a value that is too
	// long.
	audience := m.in.Audience()
	if naming.ValidID(audience[strings.IndexByte(audience, ':')+1:]) {
		attributes = append(attributes, ListAttribute.ValueSet(audience))
	}
	if err := workflow.UpsertTypedSearchAttributes(ctx, attributes...); err != nil {
		m.log.Warn("search attributes were not set", "error", err)
	}
}

// status returns what the mailing is doing, for the query and the Web UI.
func (m *mailing) status() Status {
	s := Status{
		ID:         m.id,
		State:      m.state,
		Doing:      m.doing(),
		Recipients: m.prepared.Recipients,
		Counts:     m.outcomes.all(),
		Deferred:   m.queue.Deferred,
		Batches:    m.queue.known(),
		Rendered:   m.queue.rendered(),
		Closed:     m.outcomes.Closed,
		DropPoints: m.points.statuses(),

		IgnoresOptOuts: m.in.IgnoreOptOuts,
	}
	if s.Deferred > 0 {
		s.NextRound = m.queue.NextRound
	}
	if m.state == StateSending {
		s.RatePerSecond = m.speed.perSecond()
		s.ETA = m.speed.end(s.Recipients - s.Counts.Total() - int64(s.Deferred))
	}
	idle := m.state == StateSending && m.inFlight() == 0
	switch {
	case m.state.Ended():
	case m.state == StateWaiting:
		s.Until = m.in.NotBefore
	case m.paused != nil:
		s.Since = m.paused.Since
	case m.suspension.Suspended != nil:
		s.Since = m.suspension.Suspended.Since
		if !m.suspension.probing {
			s.Until = m.suspension.Suspended.Until
		}
	case idle && m.queue.waitsForRound():
		s.Until = m.queue.NextRound
	case idle && m.queue.waitsForRate():
		s.Until = m.queue.Paced[0].NotBefore
	default:
		s.Until = m.points.restUntil()
	}
	return s
}

// doing says in one sentence what the mailing does or waits for.
func (m *mailing) doing() string {
	if m.endsEarly() && !m.closing && !m.state.Ended() {
		switch {
		case m.expired:
			return "not_after has come: what is in flight is finished"
		case m.failure != "":
			return "fails when what is in flight is finished, because: " + m.failure
		}
		return "was cancelled: what is in flight is finished"
	}
	switch m.state {
	case StateWaiting:
		return "waits for not_before"
	case StatePreparing:
		if m.step == StepOpen {
			return "checks the input"
		}
		return "freezes " + audienceText(m.in) + " into recipients"
	case StateSending:
		idle := m.inFlight() == 0
		switch {
		case idle && m.queue.waitsForRound():
			return "waits for the next round for deferred recipients"
		case idle && m.queue.waitsForRate():
			return "waits for its rate limit"
		case !m.points.restUntil().IsZero():
			return "waits to try again: " + m.points.failures()
		case m.points.connects() != "":
			return "waits for a connection: " + m.points.connects()
		}
		return "renders and sends"
	case StatePaused:
		if m.inFlight() > 0 {
			return "was paused by an operator: what is in flight is finished"
		}
		return "was paused by an operator: waits to be resumed"
	case StateSuspended:
		return m.suspension.describe()
	case StateClosing:
		return "reconciles the ledger"
	case StateCompleted:
		return "every recipient has an outcome"
	}
	return m.reason
}

// audienceText says in words where the recipients come from.
func audienceText(in Input) string {
	switch {
	case in.Query != nil:
		return "the answer of a query on " + in.Query.Source
	case in.Continue != nil:
		return "the remaining recipients of mailing " + in.Continue.Mailing
	}
	return "the list " + in.List
}
