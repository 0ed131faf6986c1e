// Package policy is the one table of activities: their names, timeouts and retries, and the types
// of error that decide what happens next.
//
// It is not part of package activities, so that the workflow, and every program that imports the
// contract, needs no database driver and no SMTP client.
package policy

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// The names of the activities. Histories contain them, so they never change.
const (
	OpenMailing      = "OpenMailing"
	PrepareList      = "PrepareList"
	RenderBatch      = "RenderBatch"
	SendBatch        = "SendBatch"
	GatherDeferred   = "GatherDeferred"
	CheckDropPoint   = "CheckDropPoint"
	SetRate          = "SetRate"
	ResolveUncertain = "ResolveUncertain"
	CloseMailing     = "CloseMailing"
	ReadMailbox      = "ReadMailbox"
)

// The names of the local activities, which run in the worker that has the workflow.
const (
	SealProgress = "SealProgress"
	CheckSeal    = "CheckSeal"
)

// row is one activity's policy.
type row struct {
	// startToClose limits one attempt. It ends only attempts that hang while their heartbeats go
	// on.
	startToClose time.Duration
	// scheduleToClose limits all attempts together, besides the pauses that the mailing's retry
	// settings put between them. Then the workflow decides again.
	scheduleToClose time.Duration
	// maxBackoff is the longest pause after an attempt that ended without an error of a type below,
	// by a crash for example. There is no limit to the number of such attempts: a crash is not the
	// fault of a recipient.
	maxBackoff time.Duration
	// queue is where the activity waits for a worker. Each queue has slots of its own, so that long
	// activities of one kind do not delay short activities of another kind.
	queue queue
}

const (
	// HeartbeatTimeout is how long a worker may be silent before Temporal takes the attempt for dead.
	// It limits the pause after a crash.
	HeartbeatTimeout = 10 * time.Second
	// firstBackoff is the pause after the first attempt that crashed. Each later pause is twice as
	// long, up to the row's maxBackoff.
	firstBackoff = time.Second

	halfMinute = 30 * time.Second
	day        = 24 * time.Hour
)

// queue is the suffix of a task queue's name.
type queue string

const (
	sends    queue = ""         // the main queue: workflows and SendBatch
	renders  queue = "-render"  // limited by pages and processors
	prepares queue = "-prepare" // may take hours if a query does
	steps    queue = "-steps"   // short activities that a whole mailing waits for
	mailbox  queue = "-mailbox" // for the workers that have the mailbox
)

// RenderQueue returns the task queue of RenderBatch, given the main queue.
func RenderQueue(main string) string { return main + string(renders) }

// PrepareQueue returns the task queue of PrepareList, given the main queue.
func PrepareQueue(main string) string { return main + string(prepares) }

// StepsQueue returns the task queue of the short activities of a mailing, given the main queue.
func StepsQueue(main string) string { return main + string(steps) }

// MailboxQueue returns the task queue of ReadMailbox, given the main queue.
func MailboxQueue(main string) string { return main + string(mailbox) }

// Queue returns the task queue of an activity, given the main queue.
func Queue(activity, main string) string { return main + string(table[activity].queue) }

// table has a row for each activity: startToClose, scheduleToClose, maxBackoff, queue.
var table = map[string]row{
	OpenMailing:      {10 * time.Minute, 10 * day, halfMinute, steps},
	PrepareList:      {12 * time.Hour, 10 * day, halfMinute, prepares},
	RenderBatch:      {time.Hour, day, halfMinute, renders},
	SendBatch:        {6 * time.Hour, day, halfMinute, sends},
	GatherDeferred:   {time.Hour, day, halfMinute, steps},
	CheckDropPoint:   {10 * time.Minute, time.Hour, halfMinute, steps},
	SetRate:          {time.Minute, 10 * time.Minute, 10 * time.Second, steps},
	ResolveUncertain: {time.Hour, day, halfMinute, steps},
	CloseMailing:     {6 * time.Hour, 10 * day, time.Minute, steps},
	ReadMailbox:      {30 * time.Minute, day, time.Minute, mailbox},
}

// Names returns the activities in the order in which a mailing runs them, and then those of other
// workflows.
func Names() []string {
	return []string{
		OpenMailing, PrepareList, RenderBatch, SendBatch, GatherDeferred, CheckDropPoint, SetRate,
		ResolveUncertain, CloseMailing, ReadMailbox,
	}
}

// LocalNames returns the local activities.
func LocalNames() []string { return []string{SealProgress, CheckSeal} }

// Options returns new options for an activity of a mailing, given the main task queue and a summary
// of up to 400 bytes for the Web UI. The mailing is the fairness key: if the server supports
// fairness, mailings take turns, however many activities each has queued.
//
// After a cancellation, the workflow waits for the activity: it finishes the messages in flight and
// records their outcomes.
func Options(activity, summary, main, mailing string) workflow.ActivityOptions {
	r := table[activity]
	return workflow.ActivityOptions{
		StartToCloseTimeout:    r.startToClose,
		ScheduleToCloseTimeout: r.scheduleToClose,
		HeartbeatTimeout:       HeartbeatTimeout,
		WaitForCancellation:    true,
		Summary:                summary,
		TaskQueue:              Queue(activity, main),
		Priority:               temporal.Priority{FairnessKey: firstBytes(mailing, 64)},
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    firstBackoff,
			BackoffCoefficient: 2,
			MaximumInterval:    r.maxBackoff,
		},
	}
}

// First is the priority key of tests: a server that knows priorities (1.28 or newer) gives them to
// workers before all mailings.
const First = 1

// LocalOptions returns the options of the local activities. They compute, and need nothing but the
// memory of the worker, which has read its key at its start. A worker that hangs does not make the
// mailing fail: another attempt is made.
func LocalOptions() workflow.LocalActivityOptions {
	return workflow.LocalActivityOptions{
		StartToCloseTimeout:    halfMinute,
		ScheduleToCloseTimeout: 10 * day, // without it, the timeout of one attempt ends all of them
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: firstBackoff, MaximumInterval: halfMinute},
	}
}

// firstBytes shortens a key to the length that Temporal accepts. Mailings whose IDs start with the
// same bytes share their turns.
func firstBytes(s string, n int) string { return s[:min(len(s), n)] }

// ErrorType is the type of an application error. It alone decides what happens next.
type ErrorType = string

// The types of error.
const (
	// No further attempt, because the input or its data must change. The mailing fails.
	InvalidInput  ErrorType = "InvalidInput"  // details: the problems by field
	MailingExists ErrorType = "MailingExists" // another start has reserved the ID
	ListUnusable  ErrorType = "ListUnusable"  // no such list, an empty list, or a query that fails

	// No further attempt, because a batch keeps its size. The mailing fails.
	BatchTooLarge ErrorType = "BatchTooLarge" // its messages do not fit into the spool, or take too long to render

	// No further attempt of the activity, because the content or the data must change. The workflow
	// is suspended until an operator decides. Nothing of the batch is stored.
	NothingRendered ErrorType = "NothingRendered" // no message for any of the mailing's first recipients

	// No further attempt of the activity: the next one would kill another worker. The workflow is
	// suspended until an operator decides.
	PoisonBatch ErrorType = "PoisonBatch" // workers have died while they rendered the batch

	// No further attempt of the activity. The workflow renders the batch again.
	SpoolMissing ErrorType = "SpoolMissing" // the batch is not closed and has no rendered messages

	// No further attempt of the activity. The workflow counts the failures of each drop point and
	// lets the drop point rest for the interval of the mailing's retry setting. After the last
	// attempt, the workflow goes on without the drop point, or is suspended or fails.
	DropPointUnavailable ErrorType = "DropPointUnavailable"
	DropPointRefuses     ErrorType = "DropPointRefuses" // by policy, authentication or TLS

	// Attempts at the interval of the mailing's retry setting, up to its number. Then the mailing
	// is suspended or fails.
	DatabaseUnavailable ErrorType = "DatabaseUnavailable"
	SourceUnavailable   ErrorType = "SourceUnavailable" // the source database of a query
	PageUnavailable     ErrorType = "PageUnavailable"

	// No further attempt of the activity. The workflow reads the mailbox again later.
	MailboxUnavailable ErrorType = "MailboxUnavailable"

	// Nothing has failed: the work is offered to another worker.
	WorkerStopping ErrorType = "WorkerStopping" // the worker shuts down and hands the batch back
	BatchTaken     ErrorType = "BatchTaken"     // another attempt has the batch, or may have it
	WorkerBusy     ErrorType = "WorkerBusy"     // the connections of the worker are busy with the mailing
	NoDropPoint    ErrorType = "NoDropPoint"    // the worker has none of the drop points
	NoTokenKey     ErrorType = "NoTokenKey"     // the worker lacks the token key of the mailing
	SlotsTaken     ErrorType = "SlotsTaken"     // the worker has no room for work that is slow, or may kill it

	// [UnexpectedAttempts] attempts at growing pauses. Then the mailing is suspended with the
	// reason, so that an operator can look at it. No recipient gets an outcome for it.
	Unexpected ErrorType = "Unexpected"
)

// UnexpectedAttempts is the number of attempts that fail for a reason without a type above before
// the mailing is suspended. Crashes and timeouts do not count.
const UnexpectedAttempts = 10

// Setting is the part of a mailing's retry settings that limits the attempts of an error type.
type Setting int

// The settings.
const (
	None Setting = iota
	Database
	Page
	DropPoint
	List
	Bug // no setting of the mailing: [UnexpectedAttempts]
)

// decision is what an error type means for the next attempt.
type decision struct {
	setting  Setting // limits the attempts
	handOver bool    // to another worker
}

// decisions has every error type. One with neither a setting nor a hand-over ends the activity, and
// so does one that the setting DropPoint counts: the workflow counts it.
var decisions = map[ErrorType]decision{
	InvalidInput:         {},
	MailingExists:        {},
	ListUnusable:         {},
	BatchTooLarge:        {},
	NothingRendered:      {},
	PoisonBatch:          {},
	SpoolMissing:         {},
	DatabaseUnavailable:  {setting: Database},
	SourceUnavailable:    {setting: List},
	PageUnavailable:      {setting: Page},
	MailboxUnavailable:   {},
	DropPointUnavailable: {setting: DropPoint},
	DropPointRefuses:     {setting: DropPoint},
	WorkerStopping:       {handOver: true},
	BatchTaken:           {handOver: true},
	WorkerBusy:           {handOver: true},
	NoDropPoint:          {handOver: true},
	NoTokenKey:           {handOver: true},
	SlotsTaken:           {handOver: true},
	Unexpected:           {setting: Bug},
}

// SettingOf returns the setting that limits the attempts after errors of the type; None if nothing
// limits them, or if there is no further attempt.
func SettingOf(t ErrorType) Setting { return decisions[t].setting }

// HandsOver reports whether an error of the type only offers the work to another worker.
func HandsOver(t ErrorType) bool { return decisions[t].handOver }

// HandOverPause returns the pause before work is offered again that was handed over n times by
// errors of the type. Work that a worker had to leave is offered at once. Work for which no worker
// had room is offered at growing pauses, slow work at the longest.
func HandOverPause(t ErrorType, n int) time.Duration {
	switch t {
	case WorkerBusy, NoDropPoint, NoTokenKey:
		return 250 * time.Millisecond << min(n-1, 3)
	case SlotsTaken:
		return time.Second << min(n-1, 4)
	}
	return time.Millisecond
}
