package workflows

import (
	"strings"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// enter changes the phase where people look for it: the search attribute and the current details in the Web UI.
func (m *mailing) enter(ctx workflow.Context, state State) {
	if m.State != state {
		m.State = state
		m.log.Info("mailing", "state", string(state))
		attributes := []temporal.SearchAttributeUpdate{StateAttribute.ValueSet(string(state))}
		// The input is not checked yet at first, and Temporal ends a workflow that sets what it cannot keep.
		audience := m.in.Audience()
		if validID(audience[strings.IndexByte(audience, ':')+1:]) {
			attributes = append(attributes, ListAttribute.ValueSet(audience))
		}
		err := workflow.UpsertTypedSearchAttributes(ctx, attributes...)
		if err != nil {
			m.log.Warn("search attributes were not set", "error", err)
		}
	}
	m.describe(ctx)
}

// describe writes the current details of the Web UI. They are no part of the history.
func (m *mailing) describe(ctx workflow.Context) {
	workflow.SetCurrentDetails(ctx, m.status().Details())
}

func (m *mailing) status() Status {
	s := Status{
		ID:         m.id,
		State:      m.State,
		Recipients: m.Prepared.Recipients,
		Counts:     m.counts(),
		Deferred:   m.Deferred,
		Batches:    m.Prepared.Batches + m.Gathered,
		Rendered:   max(m.NextRender-1+m.Gathered-m.rendering-len(m.Redo), 0),
		Closed:     m.Closed,
		DropPoints: append([]DropPointStatus(nil), m.DropPoints...),
	}
	for i := range s.DropPoints {
		s.DropPoints[i].Attempts = m.in.Retry.DropPoint.Attempts
	}
	if m.Deferred > 0 {
		s.NextRound = m.NextRound
	}
	s.Doing = m.doing()
	if m.State == StateSending {
		s.RatePerSecond = m.speed.perSecond()
		s.ETA = m.speed.end(s.Recipients - s.Counts.Total() - int64(m.Deferred))
	}
	switch {
	case m.State.Ended():
	case m.State == StateWaiting:
		s.Until = m.in.NotBefore
	case m.Paused != nil:
		s.Since = m.Paused.Since
	case m.Suspended != nil:
		s.Since = m.Suspended.Since
		if !m.probing {
			s.Until = m.Suspended.Until
		}
	case m.waitsForRounds():
		s.Until = m.NextRound
	case m.waitsForRate():
		s.Until = m.Paced[0].NotBefore
	default:
		s.Until = m.pointsRestUntil()
	}
	return s
}

// waitsForRounds and waitsForRate tell whether nothing else is left to do just now.
func (m *mailing) waitsForRounds() bool {
	return m.State == StateSending && m.Deferred > 0 && m.inFlight() == 0 && m.nothingToSend()
}

func (m *mailing) waitsForRate() bool {
	return m.State == StateSending && len(m.Paced) > 0 && m.inFlight() == 0 && len(m.Ready) == 0
}

func (m *mailing) doing() string {
	switch m.State {
	case StateWaiting:
		return "waits for not_before"
	case StatePreparing:
		if m.opened() {
			return "freezes " + m.audience() + " into recipients"
		}
		return "checks the input"
	case StateSending:
		switch {
		case m.waitsForRounds():
			return "waits for the next round for recipients that were refused for now"
		case m.waitsForRate():
			return "waits for its rate limit"
		case !m.pointsRestUntil().IsZero():
			return "waits to try again: " + m.failures()
		}
		return "renders and sends"
	case StatePaused:
		if m.inFlight() > 0 {
			return "somebody has paused it; what is in flight is finished"
		}
		return "somebody has paused it, and it waits to be resumed"
	case StateSuspended:
		return m.suspended()
	case StateClosing:
		return "reconciles the ledger"
	case StateCompleted:
		return "every recipient has an outcome"
	}
	return m.reason
}

func (m *mailing) suspended() string {
	s := m.Suspended
	switch {
	case s == nil:
		return "goes on"
	case m.probing:
		return "tries again after: " + s.Reason
	case s.Cause == CauseErrors:
		return "waits to be resumed or cancelled, because " + s.Reason
	case s.Cause == CausePage:
		return "sends what is rendered, and probes every " + s.every() + ", because: " + s.Reason
	}
	return "waits, and probes every " + s.every() + ", because: " + s.Reason
}

func (s *Suspension) every() string {
	text, _ := s.Every.MarshalText()
	return string(text)
}
