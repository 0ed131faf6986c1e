package workflows

import (
	"errors"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"directmailer/workflows/policy"
)

// exhausted reports whether err says that the attempts of a resource are used up.
func exhausted(err error) bool { return policy.SettingOf(typeOf(err)) != policy.None }

// cutShort reports whether err only looks as if the attempts of a resource were used up. The
// activity was being cancelled when an attempt failed, so Temporal started no further one.
func cutShort(ctx workflow.Context, err error) bool {
	run, ok := errors.AsType[*temporal.ActivityError](err)
	if !ok || run.RetryState() != enumspb.RETRY_STATE_CANCEL_REQUESTED || !exhausted(err) {
		return false
	}
	app, ok := errors.AsType[*temporal.ApplicationError](err)
	return ok && !app.NonRetryable() && changed(ctx, changeCutShort)
}

// typeOf returns the type of an activity's error; empty if err has none.
func typeOf(err error) policy.ErrorType {
	if app, ok := errors.AsType[*temporal.ApplicationError](err); ok {
		return app.Type()
	}
	return ""
}

// workflowError returns an activity's error as an error of the workflow, with the same text, type
// and problems. Other errors it returns as they are.
func workflowError(err error) error {
	app, ok := errors.AsType[*temporal.ApplicationError](err)
	if !ok {
		return err
	}
	if problems := problemsOf(err); problems != nil {
		return temporal.NewNonRetryableApplicationError(app.Message(), app.Type(), nil, problems)
	}
	return temporal.NewNonRetryableApplicationError(app.Message(), app.Type(), nil)
}

// problemsOf returns the problems of the input in an activity's error, or nil.
func problemsOf(err error) (problems []Problem) {
	app, ok := errors.AsType[*temporal.ApplicationError](err)
	if ok && app.HasDetails() && app.Details(&problems) == nil {
		return problems
	}
	return nil
}

// errorText returns the text of an activity's error without Temporal's wrapping.
func errorText(err error) string {
	if app, ok := errors.AsType[*temporal.ApplicationError](err); ok {
		return app.Message()
	}
	if temporal.IsTimeoutError(err) {
		return "an activity used up its whole time"
	}
	return err.Error()
}
