package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"

	"directmailer/internal/audience/lists"
	"directmailer/internal/content"
	"directmailer/internal/content/render"
	"directmailer/internal/feedback"
	"directmailer/internal/mailings"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// OpenMailing checks the whole input. If the input has no problem, OpenMailing reserves the
// mailing's ID in the database for ever. After a crash, it finds its own reservation.
func (a *Activities) OpenMailing(ctx context.Context, call workflows.OpenCall) (workflows.Opened, error) {
	w, retry := work{policy.OpenMailing, call.Mailing}, workflows.Retries{Database: call.Retry}
	return timedSlots(ctx, a.slots.steps, w, retry, func(ctx context.Context) (workflows.Opened, error) {
		if opened, err := a.reserved(ctx, call.Mailing, call.FirstRunID); err != nil || opened != nil {
			return deref(opened), err
		}
		in, err := startInput(ctx, call)
		if err != nil {
			return workflows.Opened{}, err
		}
		problems, err := a.readStoredQuery(ctx, &in)
		if err == nil && len(problems) == 0 {
			problems, err = a.check(ctx, in)
		}
		if err != nil {
			return workflows.Opened{}, err
		}
		if len(problems) > 0 {
			return workflows.Opened{}, invalid(problems)
		}
		if len(in.DropPoints) == 0 {
			in.DropPoints = a.dropPoints.Names()
		}
		stored, err := json.Marshal(in)
		if err != nil {
			return workflows.Opened{}, err
		}
		namespace := activity.GetInfo(ctx).Namespace
		err = a.mailings.Reserve(ctx, in.ID, call.FirstRunID, in.Audience(), stored, a.Feedback.Marks(), namespace)
		if errors.Is(err, mailings.ErrExists) {
			return workflows.Opened{}, exists(in.ID)
		}
		if err != nil {
			return workflows.Opened{}, err
		}
		opened, err := a.reserved(ctx, in.ID, call.FirstRunID)
		return deref(opened), err
	})
}

// startInput reads a mailing's input from the first event of its run. As an argument of the
// activity, the input would be in the history once more with each probe of a mailing that waits for
// its database.
func startInput(ctx context.Context, call workflows.OpenCall) (workflows.Input, error) {
	request := &workflowservice.GetWorkflowExecutionHistoryRequest{
		Namespace:       activity.GetInfo(ctx).Namespace,
		Execution:       &common.WorkflowExecution{WorkflowId: call.Mailing, RunId: call.RunID},
		MaximumPageSize: 1,
	}
	answer, err := activity.GetClient(ctx).WorkflowService().GetWorkflowExecutionHistory(ctx, request)
	if err != nil {
		return workflows.Input{}, fmt.Errorf("read the mailing's input from Temporal: %w", err)
	}
	events := answer.GetHistory().GetEvents()
	if len(events) == 0 || events[0].GetWorkflowExecutionStartedEventAttributes() == nil {
		return workflows.Input{}, errors.New("read the mailing's input from Temporal: its history has no first event")
	}
	var in workflows.Input
	payloads := events[0].GetWorkflowExecutionStartedEventAttributes().GetInput()
	if err := converter.GetDefaultDataConverter().FromPayloads(payloads, &in); err != nil {
		return workflows.Input{}, fmt.Errorf("read the mailing's input from Temporal: %w", err)
	}
	in.ID, in.Resume = call.Mailing, nil
	return in.WithDefaults(), nil
}

// reserved returns the answer of an earlier attempt of the same start, even if the list or the drop
// points have changed since. It returns nil if the ID is not reserved, and an error if another
// start has reserved it: a second start gets that error before any problem of its input.
func (a *Activities) reserved(ctx context.Context, id, firstRunID string) (*workflows.Opened, error) {
	m, err := a.mailings.Get(ctx, id)
	switch {
	case errors.Is(err, mailings.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case m.FirstRunID != firstRunID:
		return nil, exists(id)
	}
	in, err := decodeInput(m)
	if err != nil {
		return nil, err
	}
	opened := &workflows.Opened{DropPoints: in.DropPoints, SearchAttributes: a.SearchAttributes}
	return opened, a.setRates(ctx, m.Key, in.Rates)
}

// deref returns what o points to; the zero value for nil.
func deref(o *workflows.Opened) workflows.Opened {
	if o == nil {
		return workflows.Opened{}
	}
	return *o
}

// place says at which line and column of a template a problem is.
func place(p render.Problem) string {
	switch {
	case p.Line == 0:
		return ""
	case p.Column == 0:
		return fmt.Sprintf("line %d: ", p.Line)
	}
	return fmt.Sprintf("line %d, column %d: ", p.Line, p.Column)
}

// exists returns the error of a start whose ID is reserved.
func exists(id string) error {
	return failf(policy.MailingExists,
		"mailing %s exists already: an ID can be used only once: choose another ID", id)
}

// check returns every problem of the input: of its fields, its templates, its audience and its drop
// points.
func (a *Activities) check(ctx context.Context, in workflows.Input) ([]workflows.Problem, error) {
	problems := in.Validate()
	if len(in.TooLarge()) > 0 { // nothing else of the input is worth its time
		return problems, nil
	}
	if !in.NotAfter.IsZero() && !in.NotAfter.After(time.Now()) {
		past := workflows.Problem{Field: "not_after", Message: "is in the past: nothing would be sent"}
		problems = append(problems, past)
	}
	for _, p := range append(content.Check(in), a.checkPages(ctx, in)...) {
		known := func(q workflows.Problem) bool { return q.Field == p.Field }
		if !slices.ContainsFunc(problems, known) {
			problems = append(problems, workflows.Problem{Field: p.Field, Message: place(p) + p.Message})
		}
	}
	if content.CanUnsubscribe(in) && !a.Feedback.CanUnsubscribe() {
		problems = append(problems, workflows.Problem{Field: render.FieldUnsubscribe, Message: feedback.NoUnsubscribe})
	}
	if _, _, perRecipient := in.SenderPattern(); perRecipient && len(a.Feedback.Keys) == 0 {
		problems = append(problems, workflows.Problem{Field: "envelope_sender", Message: content.ErrNoTokenKeys.Error()})
	}
	for i, name := range in.DropPoints {
		if !a.dropPoints.Has(name) {
			message := fmt.Sprintf("no drop point is named %q; the workers have: %s",
				name, strings.Join(a.dropPoints.Names(), ", "))
			problems = append(problems, workflows.Problem{Field: fmt.Sprintf("drop_points[%d]", i), Message: message})
		}
	}
	if in.Query != nil && !in.Test {
		found, err := a.checkQuery(ctx, in, problems)
		problems = append(problems, found...)
		if err != nil {
			return nil, err
		}
	}
	ofContinue := func(p workflows.Problem) bool { return strings.HasPrefix(p.Field, "continue.") }
	if c := in.Continue; c != nil && !in.Test && !slices.ContainsFunc(problems, ofContinue) {
		_, err := a.recipients.Left(ctx, c.Mailing, c.Outcomes)
		if text := notContinuable(in, err); text != "" {
			problems = append(problems, workflows.Problem{Field: "continue.mailing", Message: text})
		} else if err != nil {
			return nil, err
		}
	}
	if in.List == "" || in.Test { // the recipients of a test are stored
		return problems, nil
	}
	l, err := a.lists.Get(ctx, in.List)
	switch {
	case errors.Is(err, lists.ErrNotFound):
		message := fmt.Sprintf("no list is named %q; import it with `starter list import`", in.List)
		problems = append(problems, workflows.Problem{Field: "list", Message: message})
	case err != nil:
		return nil, err
	case l.Members == 0:
		message := fmt.Sprintf("the list %q is empty", in.List)
		problems = append(problems, workflows.Problem{Field: "list", Message: message})
	}
	return problems, nil
}
