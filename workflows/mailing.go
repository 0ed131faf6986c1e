package workflows

import (
	"fmt"

	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"directmailer/workflows/policy"
)

// Mailing sends one mailing and ends when every recipient has an outcome.
//
// The steps are: wait for not_before, OpenMailing, PrepareList, then RenderBatch and SendBatch for
// each batch (sending.go), with later rounds for deferred recipients, then CloseMailing. A
// cancellation of the workflow, or the update cancel, ends the mailing early: recipients without an
// outcome become unsent.
func Mailing(ctx workflow.Context, in Input) (Result, error) {
	m, err := newMailing(ctx, in)
	if err != nil {
		return Result{}, err
	}
	if in.Resume != nil { // a starter may have set it, to skip every check of the input
		if err := checkSeal(ctx, in); err != nil {
			return Result{}, err
		}
	}
	return m.run(ctx)
}

// MailingTest sends a test ([TestType]) as [Mailing] sends a mailing.
func MailingTest(ctx workflow.Context, in Input) (Result, error) { return Mailing(ctx, in) }

// mailing is one run of the workflow. Its parts decide: points which drop points can be used, queue
// which batches may start, suspension what waits for a resource that is unavailable. mailing starts
// the activities and gives their answers to the parts.
type mailing struct {
	in  Input
	id  string
	log log.Logger

	step     Step
	ending   *Ending
	state    State
	prepared Prepared
	paused   *Pause

	points     dropPoints
	queue      batchQueue
	outcomes   outcomes
	suspension suspension
	rollover   rollover
	speed      speed
	alarm      alarm

	renderAnyway bool // an operator accepts that the first recipients have no message
	searchable   bool // the namespace has the search attributes

	work       workflow.Context // of the steps before the closing; nil before they begin
	cancelWork func()           // ends the steps before the closing; nil before they begin
	sends      workflow.Context // of the SendBatch activities
	stopSends  func()           // makes SendBatch activities hand back their batches
	changed    bool             // the sending loop has to run again

	failure   string // why the mailing must fail, by its on_exhausted
	cancelled bool   // by the update cancel
	expired   bool   // not_after came while the mailing was being sent
	closing   bool   // CloseMailing runs
	late      bool   // not_after came while CloseMailing ran
	reason    string // why the mailing ended, for the query
}

// newMailing returns a mailing that answers queries and updates, with the progress of the previous
// run.
func newMailing(ctx workflow.Context, in Input) (*mailing, error) {
	info := workflow.GetInfo(ctx)
	if err := refuseRepetition(info); err != nil {
		return nil, err
	}
	p := Progress{Step: StepOpen}
	continued := in.Resume != nil
	if continued {
		p, in.Resume = *in.Resume, nil
	}
	in = in.WithDefaults()
	m := &mailing{
		in: in, id: info.WorkflowExecution.ID, log: workflow.GetLogger(ctx),
		step: p.Step, ending: p.Ending, state: p.State, prepared: p.Prepared, paused: p.Paused,
		renderAnyway: p.RenderAnyway,
		points:       newDropPoints(p.DropPoints, in.Retry.DropPoint),
		queue: batchQueue{
			BatchProgress: p.BatchProgress, window: p.Window,
			listed: p.Prepared.Batches, batchSize: in.BatchSize, pages: p.Pages,
		},
		outcomes:   outcomes{OutcomeProgress: p.OutcomeProgress},
		suspension: suspension{SuspensionProgress: p.SuspensionProgress, inherited: continued},
	}
	// A starter, or an earlier run, has set a search attribute only if the namespace has it.
	_, m.searchable = workflow.GetTypedSearchAttributes(ctx).GetKeyword(StateAttribute)
	status := func() (Status, error) { return m.status(), nil }
	if err := workflow.SetQueryHandler(ctx, StatusQuery, status); err != nil {
		return nil, err
	}
	return m, handleUpdates(ctx, m)
}

// refuseRepetition returns an error if Temporal would start the mailing again and again: its
// recipients would get the mail once, and later runs would find that out.
func refuseRepetition(info *workflow.Info) error {
	switch {
	case info.CronSchedule != "":
		return refusedInput(Problem{"cron", "is set for the workflow: start a mailing of its own for each date, with a " +
			"schedule of Temporal for example"})
	case info.RetryPolicy != nil && info.RetryPolicy.MaximumAttempts != 1:
		return refusedInput(Problem{"retry", "is set for the workflow: a mailing repeats its steps itself, by its retry " +
			"setting"})
	}
	return nil
}

// run goes from step to step. A step that fails ends the mailing early.
func (m *mailing) run(ctx workflow.Context) (Result, error) {
	if m.step == StepClose {
		return m.end(ctx)
	}
	work, cancel := workflow.WithCancel(ctx)
	defer cancel()
	m.work, m.cancelWork = work, cancel
	if m.cancelled { // by an update that came with the start
		cancel()
	}
	m.expireAt(work, m.in.NotAfter)

	var err error
	if m.step == StepOpen {
		err = m.open(work)
	}
	if err == nil && m.step == StepPrepare {
		if err = m.waitForStart(work); err == nil {
			err = m.prepare(work)
		}
	}
	for err == nil {
		if err = m.sendAll(work); err != nil {
			break
		}
		var closed bool
		var result Result
		if closed, result, err = m.close(work, StateCompleted, ""); err == nil && closed {
			return result, awaitHandlers(ctx)
		}
	}
	if workflow.IsContinueAsNewError(err) {
		return Result{}, err
	}
	return m.endEarly(ctx, err)
}

// stopped reports whether the mailing was cancelled or has expired before its end.
func (m *mailing) stopped() bool { return m.work != nil && m.work.Err() != nil }

// endsEarly reports whether the mailing ends as soon as nothing is in flight.
func (m *mailing) endsEarly() bool { return m.stopped() || m.failure != "" }

// open checks the input and reserves the ID, before anything else is done.
func (m *mailing) open(ctx workflow.Context) error {
	if m.id != m.in.ID && m.in.ID != "" {
		text := fmt.Sprintf("invalid input: id: is %q, but the workflow ID is %q: they must be equal", m.in.ID, m.id)
		problems := []Problem{{"id", "differs from the workflow ID"}}
		return temporal.NewNonRetryableApplicationError(text, policy.InvalidInput, nil, problems)
	}
	m.in.ID = m.id
	m.enter(ctx, StatePreparing)
	var opened Opened
	run := workflow.GetInfo(ctx)
	call := OpenCall{Mailing: m.id, RunID: run.WorkflowExecution.RunID, FirstRunID: run.FirstRunID}
	err := m.runStep(ctx, m.in.Retry.Database, func(ctx workflow.Context, retry Retry) error {
		call.Retry = retry
		return m.execute(ctx, policy.OpenMailing, "check the input and reserve the ID", call, &opened)
	})
	if err != nil {
		return err
	}
	m.step = StepPrepare
	m.queue.pages = m.in.Content.PageURL != "" || m.in.Content.PageColumn != ""
	m.in.Content, m.in.Headers = Content{}, nil // the activities read them from the database
	if m.in.Query != nil {
		m.in.Query = &Query{Source: m.in.Query.Source}
	}
	m.points.add(opened.DropPoints)
	if opened.SearchAttributes && !m.searchable {
		m.searchable = true
		m.setSearchAttributes(ctx)
	}
	return nil
}

// waitForStart waits for not_before.
func (m *mailing) waitForStart(ctx workflow.Context) error {
	wait := m.in.NotBefore.Sub(workflow.Now(ctx))
	if m.in.NotBefore.IsZero() || wait <= 0 {
		return nil
	}
	m.enter(ctx, StateWaiting)
	options := workflow.TimerOptions{Summary: "wait for not_before"}
	return workflow.NewTimerWithOptions(ctx, wait, options).Get(ctx, nil)
}

// prepare freezes the audience into recipients and batches.
func (m *mailing) prepare(ctx workflow.Context) error {
	m.enter(ctx, StatePreparing)
	err := m.runStep(ctx, m.in.Retry.List, func(ctx workflow.Context, retry Retry) error {
		call := PrepareCall{Mailing: m.id, Retry: retry}
		summary := "freeze " + audienceText(m.in) + " into recipients"
		return m.execute(ctx, policy.PrepareList, summary, call, &m.prepared)
	})
	if err != nil {
		return err
	}
	m.step = StepSend
	m.queue.start(m.prepared.Batches)
	m.outcomes.Counts.OptedOut = m.prepared.OptedOut
	return nil
}

// execute runs an activity with the options of its policy. The Web UI shows the summary.
func (m *mailing) execute(ctx workflow.Context, activity, summary string, call, out any) error {
	options := policy.Options(activity, summary, workflow.GetInfo(ctx).TaskQueueName, m.id)
	if m.in.Test {
		options.Priority.PriorityKey = policy.First
	}
	switch activity {
	case policy.SetRate, policy.CheckDropPoint: // an operator waits for the answer, or a probe is made again
	default:
		options.ScheduleToCloseTimeout += m.in.Retry.pauses()
	}
	return workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, options), activity, call).Get(ctx, out)
}

// awaitHandlers waits until every update has its answer: the client of an unanswered update would
// not know whether it took effect.
func awaitHandlers(ctx workflow.Context) error {
	return workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
}
