package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"directmailer/workflows/policy"
)

// Mailing sends one mailing and ends when every recipient has an outcome.
//
// In order: wait for not_before, OpenMailing, PrepareList, then a sliding window of RenderBatch and SendBatch over the batches
// (window.go), with later rounds for deferred recipients (rounds.go), then CloseMailing. Cancelling the workflow, or the update cancel,
// ends the mailing early: recipients that are still open become unsent.
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
	continued bool // an earlier run has handed its Progress over

	rendering int             // RenderBatch activities in flight
	sending   int             // SendBatch activities in flight
	gathering bool            // a GatherDeferred activity is in flight
	trials    map[string]bool // drop points on trial whose one batch is in flight
	checks    map[string]bool // drop points that are looked at just now

	sends     workflow.Context // of the SendBatch activities
	stopSends func()           // makes them hand back what they have not sent
	stop      func()           // ends the work
	resumes   int              // how often somebody has resumed a suspended mailing in this run
	alarm     alarm
	leaving   leaving
	speed     speed

	probing     bool   // suspended, and one activity is out to see whether the cause is gone
	resume      bool   // somebody asked not to wait for the next probe
	settingRate bool   // a limit is being set: the next one comes after it
	waking      bool   // the state has changed since the window was last filled
	gaveUp      string // why the mailing has to fail, by on_exhausted
	cancelled   bool   // by the update
	expired     bool   // not_after has come
	closing     bool   // the ledger is being reconciled
	late        bool   // not_after came meanwhile
	reason      string // why it ended, for the query
}

func (m *mailing) setup(ctx workflow.Context) error {
	m.trials, m.checks = map[string]bool{}, map[string]bool{}
	m.Step = StepOpen
	if m.in.Resume != nil && workflow.GetInfo(ctx).ContinuedExecutionRunID == "" {
		// Somebody typed it: it would go past OpenMailing, and with it past every check.
		problem := Problem{"resume", "is set by the workflow itself only"}
		return temporal.NewNonRetryableApplicationError("invalid input: "+problem.String(), policy.InvalidInput, nil, []Problem{problem})
	}
	if m.in.Resume != nil {
		m.Progress, m.in.Resume, m.continued = *m.in.Resume, nil, true
	}
	if err := workflow.SetQueryHandler(ctx, StatusQuery, func() (Status, error) { return m.status(), nil }); err != nil {
		return err
	}
	return m.handleUpdates(ctx)
}

// opened tells whether the mailing is in the database.
func (m *mailing) opened() bool { return m.Step != StepOpen }

// run goes from step to step; each ends the mailing on its own account if it cannot go on.
func (m *mailing) run(ctx workflow.Context) (Result, error) {
	if m.Step == StepClose {
		return m.end(ctx)
	}
	work, stop := workflow.WithCancel(ctx)
	defer stop()
	m.stop = stop
	if m.cancelled { // an update that came with the start
		stop()
	}
	m.expireAt(work, m.in.NotAfter, stop)

	var err error
	if m.Step == StepOpen {
		err = m.open(work)
	}
	if err == nil && m.Step == StepPrepare {
		if err = m.waitForStart(work); err == nil {
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
			return result, m.handlersFinished(ctx)
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
	run := workflow.GetInfo(ctx)
	call := OpenCall{Mailing: m.id, RunID: run.WorkflowExecution.RunID, FirstRunID: run.FirstRunID}
	err := m.persist(ctx, m.in.Retry.Database, func(ctx workflow.Context, retry Retry) error {
		call.Retry = retry
		return m.execute(ctx, policy.OpenMailing, "check the input and reserve the ID", call, &opened)
	})
	if err != nil {
		return err
	}
	m.Step = StepPrepare
	m.Pages = m.in.Content.PageURL != "" || m.in.Content.PageColumn != ""
	m.in.Content = Content{} // in the database from now on
	if m.in.Query != nil {
		m.in.Query = &Query{Source: m.in.Query.Source}
	}
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
		return m.execute(ctx, policy.PrepareList, "freeze "+m.audience()+" into recipients", PrepareCall{Mailing: m.id, Retry: retry}, &m.Prepared)
	})
	if err != nil {
		return err
	}
	m.Step = StepSend
	m.NextRender = 1
	m.Window.Size = firstWindow
	m.Counts.OptedOut = m.Prepared.OptedOut
	return nil
}

// audience is who gets the mail, in words.
func (m *mailing) audience() string {
	switch {
	case m.in.Query != nil:
		return "the answer of a query on " + m.in.Query.Source
	case m.in.Continue != nil:
		return "what mailing " + m.in.Continue.Mailing + " has left"
	}
	return "the list " + m.in.List
}

// close reconciles the ledger. A completed mailing whose ledger does not close is not ended: whoever is open is sent to.
func (m *mailing) close(ctx workflow.Context, state State, reason string) (bool, Result, error) {
	m.enter(ctx, StateClosing)
	m.closing = true
	if err := m.handlersFinished(ctx); err != nil { // what an update has asked for must not change the ledger while it is closed
		return false, Result{}, err
	}
	var out Closing
	call := CloseCall{Mailing: m.id, FirstRunID: workflow.GetInfo(ctx).FirstRunID, State: state, Reason: reason}
	err := m.persist(ctx, m.in.Retry.Database, func(ctx workflow.Context, retry Retry) error {
		call.Retry = retry
		return m.execute(ctx, policy.CloseMailing, "reconcile the ledger and end as "+string(state), call, &out)
	})
	if err != nil {
		return false, Result{}, err
	}
	if len(out.Open) > 0 || out.Deferred > 0 {
		m.log.Warn("the ledger does not close: who is open is sent to again", "batches", len(out.Open), "recipients", out.Deferred)
		m.Redo = append(m.Redo, out.Open...)
		m.Closed -= len(out.Open) // their counts are part of Counts until the ledger is closed
		m.Deferred, m.NextRound = out.Deferred, workflow.Now(ctx)
		if m.closing = false; m.late {
			m.expired = true
			return false, Result{}, errors.New("not_after has come")
		}
		return false, Result{}, nil
	}
	m.reason = reason
	m.Counts = out.Result.Counts
	m.Deferred, m.NextRound = 0, time.Time{}
	m.enter(ctx, state)
	return true, out.Result, nil
}

// endEarly closes the ledger of a mailing that was cancelled, has expired, or failed, and says which in its error or result.
func (m *mailing) endEarly(ctx workflow.Context, cause error) (Result, error) {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	if t := typeOf(cause); t == policy.InvalidInput || t == policy.MailingExists || !m.opened() && m.gaveUp != "" {
		m.reason = message(cause) // this mailing is not in the database, so there is nothing to close
		m.enter(ctx, StateFailed)
		return Result{}, plain(cause)
	}
	e := &Ending{State: StateFailed}
	switch {
	case m.expired:
		e.State, e.Reason = StateExpired, "not_after came before the end of the list"
	case m.gaveUp != "":
		e.Reason, e.Type, e.WithResult = m.gaveUp, "MailingFailed", true
	case m.cancelled, temporal.IsCanceledError(cause):
		e.State, e.Reason, e.Update = StateCancelled, "cancelled", m.cancelled
	default:
		e.Reason, e.Type, e.Problems = message(cause), typeOf(cause), problemsOf(cause)
	}
	m.Step, m.Ending = StepClose, e
	m.in.OnExhausted = Suspend // closing the ledger is not given up, however long the database is away
	return m.end(ctx)
}

// end closes the ledger of a mailing that ends early. Nothing cuts it short, not even a cancellation.
func (m *mailing) end(ctx workflow.Context) (Result, error) {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	e := m.Ending
	_, result, err := m.close(ctx, e.State, e.Reason)
	if err == nil {
		err = m.handlersFinished(ctx)
	}
	switch {
	case err != nil:
		return Result{}, err
	case e.State == StateExpired, e.Update:
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

// handlersFinished waits for updates that are being answered: one that is cut off would not know what became of it.
func (m *mailing) handlersFinished(ctx workflow.Context) error {
	return workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
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

func (m *mailing) execute(ctx workflow.Context, activity, summary string, call, out any) error {
	options := policy.Options(activity, summary, workflow.GetInfo(ctx).TaskQueueName, m.id)
	return workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, options), activity, call).Get(ctx, out)
}

// exhausted tells whether err is about a resource whose tries are used up.
func exhausted(err error) bool {
	return policy.SettingOf(typeOf(err)) != policy.None
}

func typeOf(err error) policy.ErrorType {
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		return app.Type()
	}
	return ""
}

// plain is the cause as the workflow's own error: the type and the problems that the activity gave,
// without the wrapping.
func plain(err error) error {
	var app *temporal.ApplicationError
	if !errors.As(err, &app) {
		return err
	}
	if problems := problemsOf(err); problems != nil {
		return temporal.NewNonRetryableApplicationError(app.Message(), app.Type(), nil, problems)
	}
	return temporal.NewNonRetryableApplicationError(app.Message(), app.Type(), nil)
}

// problemsOf returns what an activity found wrong with the input, if that is what err says.
func problemsOf(err error) []Problem {
	var app *temporal.ApplicationError
	var problems []Problem
	if errors.As(err, &app) && app.HasDetails() && app.Details(&problems) == nil {
		return problems
	}
	return nil
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
