package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"directmailer/activities/policy"
)

// Mailing sends one mailing and ends when every recipient has an outcome.
//
// In order: wait for not_before, OpenMailing, PrepareList, then a sliding window of RenderBatch and SendBatch over the batches
// (window.go), then CloseMailing. Cancelling the workflow ends the mailing early: recipients that are still open become unsent.
func Mailing(ctx workflow.Context, in Input) (Result, error) {
	m := &mailing{in: in.WithDefaults(), id: workflow.GetInfo(ctx).WorkflowExecution.ID, log: workflow.GetLogger(ctx)}
	if err := m.setup(ctx); err != nil {
		return Result{}, err
	}
	return m.run(ctx)
}

type mailing struct {
	in  Input
	id  string
	log interface {
		Info(msg string, keyvals ...any)
		Warn(msg string, keyvals ...any)
	}

	Progress
	opened bool

	rendering int            // RenderBatch activities in flight
	sending   map[string]int // SendBatch activities in flight, by drop point
	probing   bool           // suspended, and one activity is out to see whether the cause is gone
	resume    bool           // somebody asked not to wait for the next probe
	waking    bool           // the state has changed since the window was last filled
	gaveUp    string         // why the mailing has to fail, by on_exhausted
	expired   bool           // not_after has come
	closing   bool           // the ledger is being reconciled
	late      bool           // not_after came meanwhile
	reason    string         // why it ended, for the query
}

func (m *mailing) setup(ctx workflow.Context) error {
	m.sending = map[string]int{}
	if m.in.Resume != nil && workflow.GetInfo(ctx).ContinuedExecutionRunID == "" {
		// Somebody typed it: it would go past OpenMailing, and with it past every check.
		problem := Problem{"resume", "is set by the workflow itself only"}
		return temporal.NewNonRetryableApplicationError("invalid input: "+problem.String(), policy.InvalidInput, nil, []Problem{problem})
	}
	if m.in.Resume != nil {
		m.Progress, m.in.Resume, m.opened = *m.in.Resume, nil, true
	}
	if err := workflow.SetQueryHandler(ctx, StatusQuery, func() (Status, error) { return m.status(), nil }); err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, ResumeUpdate,
		func(workflow.Context) (string, error) {
			m.resume, m.waking = true, true
			return "trying again", nil
		},
		workflow.UpdateHandlerOptions{
			Description: "Try again at once instead of waiting for the next probe of a suspended mailing",
			Validator: func(workflow.Context) error {
				if m.Suspended == nil {
					return errors.New("the mailing is not suspended: there is nothing to resume")
				}
				return nil
			},
		})
}

// run goes from phase to phase; each ends the mailing on its own account if it cannot go on.
func (m *mailing) run(ctx workflow.Context) (Result, error) {
	work, stop := workflow.WithCancel(ctx)
	defer stop()
	m.expireAt(work, m.in.NotAfter, stop)

	var err error
	if !m.opened {
		if err = m.open(work); err == nil {
			err = m.waitForStart(work)
		}
		if err == nil {
			err = m.prepare(work)
		}
	}
	for err == nil {
		if err = m.sendAll(work); err != nil {
			break
		}
		var done bool
		var result Result
		if done, result, err = m.close(work, StateCompleted, ""); err == nil && done {
			return result, nil
		}
	}
	if workflow.IsContinueAsNewError(err) {
		return Result{}, err
	}
	return m.endEarly(ctx, err)
}

// open checks the input and reserves the ID, before anything else is done.
func (m *mailing) open(ctx workflow.Context) error {
	if m.id != m.in.ID && m.in.ID != "" {
		return temporal.NewNonRetryableApplicationError(fmt.Sprintf("invalid input: id: is %q, but the workflow ID is %q: they must be equal", m.in.ID, m.id),
			policy.InvalidInput, nil, []Problem{{"id", "differs from the workflow ID"}})
	}
	m.in.ID = m.id
	m.enter(ctx, StatePreparing)
	var opened Opened
	call := OpenCall{Input: m.in, FirstRunID: workflow.GetInfo(ctx).FirstRunID}
	err := m.persist(ctx, m.in.Retry.Database, func(ctx workflow.Context, retry Retry) error {
		call.Input.Retry.Database = retry
		return m.execute(ctx, policy.OpenMailing, "check the input and reserve the ID", call, &opened)
	})
	if err != nil {
		return err
	}
	m.opened = true
	m.in.Content = Content{} // in the database from now on
	for _, name := range opened.DropPoints {
		m.DropPoints = append(m.DropPoints, DropPointStatus{Name: name, InList: true})
	}
	return nil
}

func (m *mailing) waitForStart(ctx workflow.Context) error {
	wait := m.in.NotBefore.Sub(workflow.Now(ctx))
	if m.in.NotBefore.IsZero() || wait <= 0 {
		return nil
	}
	m.enter(ctx, StateWaiting)
	return workflow.NewTimerWithOptions(ctx, wait, workflow.TimerOptions{Summary: "wait for not_before"}).Get(ctx, nil)
}

func (m *mailing) prepare(ctx workflow.Context) error {
	m.enter(ctx, StatePreparing)
	err := m.persist(ctx, m.in.Retry.List, func(ctx workflow.Context, retry Retry) error {
		return m.execute(ctx, policy.PrepareList, "freeze the list "+m.in.List+" into recipients", PrepareCall{Mailing: m.id, Retry: retry}, &m.Prepared)
	})
	m.NextRender = 1
	m.Counts.OptedOut = m.Prepared.OptedOut
	return err
}

// close reconciles the ledger. A completed mailing whose ledger does not close is not ended: its open batches are sent again.
func (m *mailing) close(ctx workflow.Context, state State, reason string) (bool, Result, error) {
	m.enter(ctx, StateClosing)
	m.closing = true
	var out Closing
	call := CloseCall{Mailing: m.id, FirstRunID: workflow.GetInfo(ctx).FirstRunID, State: state, Reason: reason}
	err := m.persist(ctx, m.in.Retry.Database, func(ctx workflow.Context, retry Retry) error {
		call.Retry = retry
		return m.execute(ctx, policy.CloseMailing, "reconcile the ledger and end as "+string(state), call, &out)
	})
	if err != nil {
		return false, Result{}, err
	}
	if len(out.Open) > 0 {
		m.log.Warn("the ledger does not close: open batches are sent again", "batches", len(out.Open))
		m.Redo = append(m.Redo, out.Open...)
		m.Closed -= len(out.Open)
		if m.closing = false; m.late {
			m.expired = true
			return false, Result{}, errors.New("not_after has come")
		}
		return false, Result{}, nil
	}
	m.reason = reason
	m.Counts = out.Result.Counts
	m.enter(ctx, state)
	return true, out.Result, nil
}

// endEarly closes the ledger of a mailing that was cancelled, has expired, or failed, and says which in its error or result.
func (m *mailing) endEarly(ctx workflow.Context, cause error) (Result, error) {
	if t := typeOf(cause); t == policy.InvalidInput || t == policy.MailingExists || !m.opened && m.gaveUp != "" {
		m.reason = message(cause) // this mailing is not in the database, so there is nothing to close
		m.enter(ctx, StateFailed)
		return Result{}, plain(cause)
	}
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	state, reason := StateFailed, ""
	switch {
	case m.expired:
		state, reason = StateExpired, "not_after came before the end of the list"
	case m.gaveUp != "":
		reason = m.gaveUp
	case temporal.IsCanceledError(cause):
		state, reason = StateCancelled, "cancelled"
	default:
		reason = message(cause)
	}
	m.in.OnExhausted = Suspend // closing the ledger is not given up, however long the database is away
	_, result, err := m.close(ctx, state, reason)
	switch {
	case err != nil:
		return Result{}, err
	case state == StateExpired:
		return result, nil
	case state == StateCancelled:
		return Result{}, temporal.NewCanceledError(result)
	case m.gaveUp != "":
		return Result{}, temporal.NewNonRetryableApplicationError(reason, "MailingFailed", nil, result)
	}
	return Result{}, plain(cause)
}

// expireAt ends the work when not_after comes.
func (m *mailing) expireAt(ctx workflow.Context, at time.Time, stop func()) {
	if at.IsZero() {
		return
	}
	workflow.Go(ctx, func(ctx workflow.Context) {
		timer := workflow.NewTimerWithOptions(ctx, at.Sub(workflow.Now(ctx)), workflow.TimerOptions{Summary: "not_after"})
		if timer.Get(ctx, nil) != nil {
			return
		}
		if m.closing { // everybody has an outcome, unless the ledger says otherwise
			m.late = true
			return
		}
		m.expired = true
		stop()
	})
}

// persist runs do, and again after each suspension, until it has an answer that is not about a resource that is away.
func (m *mailing) persist(ctx workflow.Context, retry Retry, do func(workflow.Context, Retry) error) error {
	before := m.State
	for {
		err := do(ctx, retry)
		if temporal.IsTimeoutError(err) && !exhausted(err) {
			continue // no worker came for days: nobody's failure
		}
		if !exhausted(err) {
			if m.Suspended != nil {
				m.Suspended = nil
				m.enter(ctx, before)
			}
			return err
		}
		if err := m.giveUp(ctx, message(err), retry.Interval); err != nil {
			return err
		}
		if err := m.waitForProbe(ctx); err != nil {
			return err
		}
		retry.Attempts = 1
	}
}

// giveUp suspends the mailing, or ends it with an error where its on_exhausted says so.
func (m *mailing) giveUp(ctx workflow.Context, reason string, every Duration) error {
	if m.in.OnExhausted == Fail {
		m.gaveUp = reason
		return errors.New(reason)
	}
	until := workflow.Now(ctx).Add(time.Duration(every))
	m.Suspended = &Suspension{Reason: reason, Until: until, Every: every}
	m.enter(ctx, StateSuspended)
	return nil
}

// waitForProbe waits until the next probe of a suspended mailing is due, or somebody resumes it.
func (m *mailing) waitForProbe(ctx workflow.Context) error {
	wait := max(m.Suspended.Until.Sub(workflow.Now(ctx)), time.Millisecond)
	_, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{Timeout: wait, TimerOptions: workflow.TimerOptions{Summary: "suspended: next probe"}},
		func() bool { return m.resume })
	m.resume = false
	return err
}

func (m *mailing) execute(ctx workflow.Context, activity, summary string, call, out any) error {
	return workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, policy.Options(activity, summary)), activity, call).Get(ctx, out)
}

// exhausted tells whether err is about a resource whose tries are used up.
func exhausted(err error) bool {
	return policy.SettingOf(typeOf(err)) != policy.None
}

// plain is the cause as the workflow's own error: the type and the details that the activity gave, without the wrapping.
func plain(err error) error {
	var app *temporal.ApplicationError
	if !errors.As(err, &app) {
		return err
	}
	var problems []Problem
	if app.HasDetails() && app.Details(&problems) == nil {
		return temporal.NewNonRetryableApplicationError(app.Message(), app.Type(), nil, problems)
	}
	return temporal.NewNonRetryableApplicationError(app.Message(), app.Type(), nil)
}

func message(err error) string {
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		return app.Message()
	}
	if temporal.IsTimeoutError(err) {
		return "an activity used up its whole time"
	}
	return err.Error()
}
