package workflows

import (
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"directmailer/workflows/policy"
)

// close reconciles the ledger. If a completed mailing has recipients without an outcome, close
// returns false: their batches are in the queue again.
func (m *mailing) close(ctx workflow.Context, state State, reason string) (bool, Result, error) {
	m.enter(ctx, StateClosing)
	m.closing = true
	if err := awaitHandlers(ctx); err != nil { // an update must not change the ledger while it is closed
		return false, Result{}, err
	}
	var out Closing
	call := CloseCall{Mailing: m.id, FirstRunID: workflow.GetInfo(ctx).FirstRunID, State: state, Reason: reason}
	err := m.runStep(ctx, m.in.Retry.Database, func(ctx workflow.Context, retry Retry) error {
		call.Retry = retry
		return m.execute(ctx, policy.CloseMailing, "reconcile the ledger and end as "+string(state), call, &out)
	})
	if err != nil {
		return false, Result{}, err
	}
	if len(out.Open) > 0 || out.Deferred > 0 {
		m.log.Warn("the ledger does not close: recipients without an outcome are sent to again",
			"batches", len(out.Open), "recipients", out.Deferred)
		m.queue.reopen(out.Open, out.Deferred, workflow.Now(ctx))
		m.outcomes.Closed -= len(out.Open) // Counts still has their outcomes, until the ledger is closed
		if m.closing = false; m.late {
			m.expired = true
			return false, Result{}, errors.New("not_after has come")
		}
		return false, Result{}, nil
	}
	if out.Result.State == StateCompleted { // before the cancellation came
		state, reason = StateCompleted, ""
	}
	m.reason = reason
	m.outcomes.Counts = out.Result.Counts
	m.queue.Deferred, m.queue.NextRound = 0, time.Time{}
	m.enter(ctx, state)
	return true, out.Result, nil
}

// endEarly ends a mailing that was cancelled, has expired, or failed because of cause.
func (m *mailing) endEarly(ctx workflow.Context, cause error) (Result, error) {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	t := typeOf(cause)
	if t == policy.InvalidInput || t == policy.MailingExists || m.step == StepOpen && m.failure != "" {
		m.reason = errorText(cause) // this mailing is not in the database, so there is no ledger to close
		m.enter(ctx, StateFailed)
		return Result{}, workflowError(cause)
	}
	e := &Ending{State: StateFailed}
	switch {
	case m.expired:
		e.State, e.Reason = StateExpired, "not_after came before the end of the list"
	case m.failure != "":
		e.Reason, e.Type, e.WithResult = m.failure, "MailingFailed", true
	case m.cancelled, temporal.IsCanceledError(cause):
		e.State, e.Reason, e.Update = StateCancelled, "cancelled", m.cancelled
	default:
		e.Reason, e.Type, e.Problems = errorText(cause), t, problemsOf(cause)
	}
	m.step, m.ending = StepClose, e
	m.in.OnExhausted = Suspend // the ledger is closed however long the database is unavailable
	return m.end(ctx)
}

// end closes the ledger of a mailing that ends early. A cancellation does not stop it.
func (m *mailing) end(ctx workflow.Context) (Result, error) {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	e := m.ending
	_, result, err := m.close(ctx, e.State, e.Reason)
	if err == nil {
		err = awaitHandlers(ctx)
	}
	switch {
	case err != nil:
		return Result{}, err
	case e.State == StateExpired, e.Update, result.State == StateCompleted:
		return result, nil
	case e.State == StateCancelled:
		return Result{}, temporal.NewCanceledError(result)
	case e.WithResult:
		return Result{}, temporal.NewNonRetryableApplicationError(e.Reason, e.Type, nil, result)
	case e.Problems != nil:
		return Result{}, temporal.NewNonRetryableApplicationError(e.Reason, e.Type, nil, e.Problems)
	}
	return Result{}, temporal.NewNonRetryableApplicationError(e.Reason, e.Type, nil)
}

// expireAt cancels the work when not_after comes.
func (m *mailing) expireAt(ctx workflow.Context, notAfter time.Time) {
	if notAfter.IsZero() {
		return
	}
	workflow.Go(ctx, func(ctx workflow.Context) {
		options := workflow.TimerOptions{Summary: "not_after"}
		timer := workflow.NewTimerWithOptions(ctx, notAfter.Sub(workflow.Now(ctx)), options)
		if timer.Get(ctx, nil) != nil {
			return
		}
		if m.closing { // every recipient has an outcome, unless the ledger says otherwise
			m.late = true
			return
		}
		m.expired = true
		m.cancelWork()
	})
}
