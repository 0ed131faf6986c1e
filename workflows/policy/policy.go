// Package policy is the one table of how activities are tried: names, timeouts, retries, and the types of error that decide.
//
// It is apart from package activities so that the workflow, and with it every program that imports the contract, needs no database
// driver and no SMTP client.
package policy

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// The activities, by the names under which they stand in histories for ever.
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
)

// row is one activity's policy.
type row struct {
	// startToClose bounds one attempt. It only ends attempts that hang while their heartbeat goes on.
	startToClose time.Duration
	// heartbeat is how long a worker may be silent before its attempt counts as dead. It bounds the pause after a crash.
	heartbeat time.Duration
	// scheduleToClose is the whole budget; when it is used up, the workflow decides anew.
	scheduleToClose time.Duration
	// first and most are the pauses after an attempt that died without an error of a type below: they double from first to most.
	// There is no limit to their number: a crash is nobody's fault and never gives up a recipient.
	first, most time.Duration
	// queue is where the activity waits for a worker. Each queue has slots of its own, so that long activities of one kind do not keep
	// short ones of another waiting.
	queue queue
}

// queue is what the name of a task queue ends in.
type queue string

const (
	sends    queue = ""         // the mailings' own: workflows and SendBatch
	renders  queue = "-render"  // bounded by pages and processors
	prepares queue = "-prepare" // may take hours, where a query does
	steps    queue = "-steps"   // short, few, and waited for by a whole mailing
)

// RenderQueue, PrepareQueue and StepsQueue are the task queues that workers listen on besides the mailings' own.
func RenderQueue(main string) string  { return main + string(renders) }
func PrepareQueue(main string) string { return main + string(prepares) }
func StepsQueue(main string) string   { return main + string(steps) }

// Queue is the task queue in which an activity of a mailing with the main queue waits.
func Queue(activity, main string) string { return main + string(table[activity].queue) }

// table has a row for each activity.
var table = map[string]row{
	OpenMailing:      {startToClose: time.Minute, heartbeat: 10 * time.Second, scheduleToClose: 10 * 24 * time.Hour, first: time.Second, most: 30 * time.Second, queue: steps},
	PrepareList:      {startToClose: 12 * time.Hour, heartbeat: 10 * time.Second, scheduleToClose: 10 * 24 * time.Hour, first: time.Second, most: 30 * time.Second, queue: prepares},
	RenderBatch:      {startToClose: time.Hour, heartbeat: 10 * time.Second, scheduleToClose: 24 * time.Hour, first: time.Second, most: 30 * time.Second, queue: renders},
	SendBatch:        {startToClose: 6 * time.Hour, heartbeat: 10 * time.Second, scheduleToClose: 24 * time.Hour, first: time.Second, most: 30 * time.Second, queue: sends},
	GatherDeferred:   {startToClose: time.Hour, heartbeat: 10 * time.Second, scheduleToClose: 24 * time.Hour, first: time.Second, most: 30 * time.Second, queue: steps},
	CheckDropPoint:   {startToClose: 5 * time.Minute, heartbeat: 10 * time.Second, scheduleToClose: time.Hour, first: time.Second, most: 30 * time.Second, queue: steps},
	SetRate:          {startToClose: time.Minute, heartbeat: 10 * time.Second, scheduleToClose: 10 * time.Minute, first: time.Second, most: 10 * time.Second, queue: steps},
	ResolveUncertain: {startToClose: time.Hour, heartbeat: 10 * time.Second, scheduleToClose: 24 * time.Hour, first: time.Second, most: 30 * time.Second, queue: steps},
	CloseMailing:     {startToClose: 6 * time.Hour, heartbeat: 10 * time.Second, scheduleToClose: 10 * 24 * time.Hour, first: time.Second, most: time.Minute, queue: steps},
}

// Names lists the activities of the table in the order in which a mailing meets them.
func Names() []string {
	return []string{OpenMailing, PrepareList, RenderBatch, SendBatch, GatherDeferred, CheckDropPoint, SetRate, ResolveUncertain, CloseMailing}
}

// Heartbeat returns the activity's heartbeat timeout.
func Heartbeat(activity string) time.Duration { return table[activity].heartbeat }

// Options returns fresh options for the activity of a mailing whose task queue is main, to be shown with summary (up to 400 bytes) in the
// Web UI. The mailing is the fairness key: where the server knows those, mailings take turns, however much each has queued.
//
// A cancelled activity is waited for: it finishes the message that is in flight and writes down what became of it.
func Options(activity, summary, main, mailing string) workflow.ActivityOptions {
	r := table[activity]
	return workflow.ActivityOptions{
		StartToCloseTimeout:    r.startToClose,
		ScheduleToCloseTimeout: r.scheduleToClose,
		HeartbeatTimeout:       r.heartbeat,
		WaitForCancellation:    true,
		Summary:                summary,
		TaskQueue:              Queue(activity, main),
		Priority:               temporal.Priority{FairnessKey: firstBytes(mailing, 64)},
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    r.first,
			BackoffCoefficient: 2,
			MaximumInterval:    r.most,
		},
	}
}

// firstBytes keeps a key within what Temporal takes: mailings whose IDs begin alike share a turn then.
func firstBytes(s string, n int) string { return s[:min(len(s), n)] }

// ErrorType is the type of an application error; what happens next is decided by it alone.
type ErrorType = string

// The types of error, and who decides.
const (
	// Never tried again: the input or its data has to change.
	InvalidInput  ErrorType = "InvalidInput"  // details: the problems, field by field
	MailingExists ErrorType = "MailingExists" // the database knows the ID from another start
	ListUnusable  ErrorType = "ListUnusable"  // no such list, nobody in it, or a query that cannot be answered

	// Never tried again: the mailing fails. Its batches keep the size that they have.
	BatchTooLarge ErrorType = "BatchTooLarge" // the rendered messages of a batch do not fit into the spool

	// Never tried again by the activity: the workflow renders the batch anew.
	SpoolMissing ErrorType = "SpoolMissing" // the batch is open and has no rendered messages

	// Never tried again by the activity: the workflow counts the failures of each drop point, lets
	// it rest for the interval of the mailing's retry setting, and after its attempts goes on
	// without it, or is suspended or fails.
	DropPointUnavailable ErrorType = "DropPointUnavailable"
	DropPointRefuses     ErrorType = "DropPointRefuses" // policy, authentication, TLS: it will not take our mail

	// Tried again at the interval of the mailing's retry setting, as often as that says. Then the
	// mailing is suspended or fails.
	DatabaseUnavailable ErrorType = "DatabaseUnavailable"
	SourceUnavailable   ErrorType = "SourceUnavailable" // the source database of a query
	PageUnavailable     ErrorType = "PageUnavailable"

	// Tried again by whichever worker is free: the batch goes from hand to hand, and nothing has failed.
	WorkerStopping ErrorType = "WorkerStopping" // the worker shuts down and hands the batch back
	BatchTaken     ErrorType = "BatchTaken"     // another attempt holds the batch's fence
	WorkerBusy     ErrorType = "WorkerBusy"     // what the worker has keeps its connections busy
	NoDropPoint    ErrorType = "NoDropPoint"    // the worker knows none of the drop points

	// Tried again [UnexpectedAttempts] times, at growing pauses. Then the mailing is suspended with
	// the reason: somebody has to look, and nobody is given up.
	Unexpected ErrorType = "Unexpected"
)

// UnexpectedAttempts is how often an activity fails for a reason that no type above names before
// its mailing is suspended. Crashes and timeouts do not count.
const UnexpectedAttempts = 10

// Setting is the part of a mailing's retry settings that counts an error type.
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
	setting   Setting // counted by it
	permanent bool    // no further attempt
	handOver  bool    // to another worker
}

var decisions = map[ErrorType]decision{
	InvalidInput:         {permanent: true},
	MailingExists:        {permanent: true},
	ListUnusable:         {permanent: true},
	BatchTooLarge:        {permanent: true},
	SpoolMissing:         {permanent: true},
	DatabaseUnavailable:  {setting: Database},
	SourceUnavailable:    {setting: List},
	PageUnavailable:      {setting: Page},
	DropPointUnavailable: {setting: DropPoint, permanent: true},
	DropPointRefuses:     {setting: DropPoint, permanent: true},
	WorkerStopping:       {handOver: true},
	BatchTaken:           {handOver: true},
	WorkerBusy:           {handOver: true},
	NoDropPoint:          {handOver: true},
	Unexpected:           {setting: Bug},
}

// SettingOf tells which retry setting counts errors of the type; None for those that are tried for ever or never.
func SettingOf(t ErrorType) Setting { return decisions[t].setting }

// Permanent tells whether the activity is not to be tried again after an error of the type.
func Permanent(t ErrorType) bool { return decisions[t].permanent }

// HandsOver tells whether an error of the type only gives the work to another worker: nothing has failed.
func HandsOver(t ErrorType) bool { return decisions[t].handOver }

// HandOverPause is the time after which work that was handed over n times, by an error of the type,
// is offered again. Work that a worker leaves because it must is offered at once; work for which
// there was no room, at growing pauses.
func HandOverPause(t ErrorType, n int) time.Duration {
	if t == WorkerBusy || t == NoDropPoint {
		return 250 * time.Millisecond << min(n-1, 3)
	}
	return time.Millisecond
}
