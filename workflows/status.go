package workflows

import (
	"errors"
	"fmt"
	"strings"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"directmailer/activities/policy"
)

// enter changes the phase where people look for it: the search attribute and the current details in the Web UI.
func (m *mailing) enter(ctx workflow.Context, state State) {
	if m.State != state {
		m.State = state
		m.log.Info("mailing", "state", string(state))
		attributes := []temporal.SearchAttributeUpdate{StateAttribute.ValueSet(string(state))}
		if ValidName(m.in.List) { // not checked yet at first, and Temporal ends a workflow that sets what it cannot keep
			attributes = append(attributes, ListAttribute.ValueSet(m.in.List))
		}
		err := workflow.UpsertTypedSearchAttributes(ctx, attributes...)
		if err != nil {
			m.log.Warn("search attributes were not set", "error", err)
		}
	}
	m.describe(ctx)
}

// describe writes the current details of the Web UI.
func (m *mailing) describe(ctx workflow.Context) {
	s := m.status()
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**: %s\n\n", s.State, s.Doing)
	if s.Recipients > 0 {
		c := s.Counts
		fmt.Fprintf(&b, "| recipients | sent | bounced | failed | opted out | uncertain | unsent | open |\n|---|---|---|---|---|---|---|---|\n| %d | %d | %d | %d | %d | %d | %d | %d |\n\n",
			s.Recipients, c.Sent, c.Bounced, c.Failed, c.OptedOut, c.Uncertain, c.Unsent, s.Recipients-c.Total())
		fmt.Fprintf(&b, "%d of %d batches closed, %d rendered.\n", s.Closed, s.Batches, s.Rendered)
	}
	for _, p := range s.DropPoints {
		switch {
		case !p.InList:
			fmt.Fprintf(&b, "- drop point `%s` has left the list: %s\n", p.Name, p.LastFailure)
		case p.LastFailure != "":
			fmt.Fprintf(&b, "- drop point `%s` is in the list again; before: %s\n", p.Name, p.LastFailure)
		default:
			fmt.Fprintf(&b, "- drop point `%s` is in the list\n", p.Name)
		}
	}
	workflow.SetCurrentDetails(ctx, b.String())
}

func (m *mailing) status() Status {
	s := Status{
		ID:         m.id,
		State:      m.State,
		Recipients: m.Prepared.Recipients,
		Counts:     m.Counts,
		Batches:    m.Prepared.Batches,
		Rendered:   max(m.NextRender-1-m.rendering-len(m.Redo), 0),
		Closed:     m.Closed,
		DropPoints: append([]DropPointStatus(nil), m.DropPoints...),
	}
	s.Doing = m.doing()
	switch {
	case m.State == StateWaiting:
		s.Until = m.in.NotBefore
	case m.Suspended != nil && !m.probing:
		s.Until = m.Suspended.Until
	}
	return s
}

func (m *mailing) doing() string {
	switch m.State {
	case StateWaiting:
		return "waits for not_before"
	case StatePreparing:
		if m.opened {
			return "freezes the list " + m.in.List + " into recipients"
		}
		return "checks the input"
	case StateSending:
		if len(m.Later) > 0 && m.inFlight() == 0 {
			return "waits to send to deferred recipients again"
		}
		return "renders and sends"
	case StateSuspended:
		if m.probing {
			return "tries again after: " + m.Suspended.Reason
		}
		return "waits, and probes every " + m.Suspended.every() + ", because: " + m.Suspended.Reason
	case StateClosing:
		return "reconciles the ledger"
	case StateCompleted:
		return "every recipient has an outcome"
	}
	return m.reason
}

func (s *Suspension) every() string {
	text, _ := s.Every.MarshalText()
	return string(text)
}

func typeOf(err error) policy.ErrorType {
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		return app.Type()
	}
	return ""
}
