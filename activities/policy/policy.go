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
	OpenMailing  = "OpenMailing"
	PrepareList  = "PrepareList"
	RenderBatch  = "RenderBatch"
	SendBatch    = "SendBatch"
	CloseMailing = "CloseMailing"
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
}

// table has a row for each activity.
var table = map[string]row{
	OpenMailing:  {startToClose: time.Minute, heartbeat: 10 * time.Second, scheduleToClose: 10 * 24 * time.Hour, first: time.Second, most: 30 * time.Second},
	PrepareList:  {startToClose: 6 * time.Hour, heartbeat: 10 * time.Second, scheduleToClose: 10 * 24 * time.Hour, first: time.Second, most: 30 * time.Second},
	RenderBatch:  {startToClose: time.Hour, heartbeat: 10 * time.Second, scheduleToClose: 24 * time.Hour, first: time.Second, most: 30 * time.Second},
	SendBatch:    {startToClose: 6 * time.Hour, heartbeat: 10 * time.Second, scheduleToClose: 24 * time.Hour, first: time.Second, most: 30 * time.Second},
	CloseMailing: {startToClose: 6 * time.Hour, heartbeat: 10 * time.Second, scheduleToClose: 10 * 24 * time.Hour, first: time.Second, most: time.Minute},
}

// Names lists the activities of the table in the order in which a mailing meets them.
func Names() []string {
	return []string{OpenMailing, PrepareList, RenderBatch, SendBatch, CloseMailing}
}

// Heartbeat returns the activity's heartbeat timeout.
func Heartbeat(activity string) time.Duration { return table[activity].heartbeat }

// Options returns fresh options for the activity, to be shown with summary (up to 400 bytes) in the Web UI.
//
// A cancelled activity is waited for: it finishes the message that is in flight and writes down what became of it.
func Options(activity, summary string) workflow.ActivityOptions {
	r := table[activity]
	return workflow.ActivityOptions{
		StartToCloseTimeout:    r.startToClose,
		ScheduleToCloseTimeout: r.scheduleToClose,
		HeartbeatTimeout:       r.heartbeat,
		WaitForCancellation:    true,
		Summary:                summary,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    r.first,
			BackoffCoefficient: 2,
			MaximumInterval:    r.most,
		},
	}
}

// ErrorType is the type of an application error; what happens next is decided by it alone.
type ErrorType = string

// The types of error, and who decides.
const (
	// Never tried again: the input or its data has to change.
	InvalidInput  ErrorType = "InvalidInput"  // details: the problems, field by field
	MailingExists ErrorType = "MailingExists" // the database knows the ID from another start
	ListUnusable  ErrorType = "ListUnusable"  // no such list, or nobody in it

	// Never tried again by the activity: the workflow renders the batch anew.
	SpoolMissing ErrorType = "SpoolMissing" // the batch is open and has no rendered messages

	// Tried again at the interval of the mailing's retry setting, as often as that says. Then the mailing is suspended or fails,
	// or, if it is a drop point and others are left, it goes on without it.
	DatabaseUnavailable  ErrorType = "DatabaseUnavailable"
	PageUnavailable      ErrorType = "PageUnavailable"
	DropPointUnavailable ErrorType = "DropPointUnavailable"
	DropPointRefuses     ErrorType = "DropPointRefuses" // policy, authentication, TLS: it will not take our mail

	// Tried again at once, by whichever worker is free.
	WorkerStopping ErrorType = "WorkerStopping" // the worker shuts down and hands the batch back
	BatchTaken     ErrorType = "BatchTaken"     // another attempt holds the batch's fence

	// Tried again for ever at growing pauses, as after a crash: somebody has to look, and nobody is given up.
	Unexpected ErrorType = "Unexpected"
)

// Setting is the part of a mailing's retry settings that counts an error type.
type Setting int

// The settings.
const (
	None Setting = iota
	Database
	Page
	DropPoint
)

// decision is what an error type means for the next attempt.
type decision struct {
	setting   Setting // counted by it
	permanent bool    // no further attempt
	atOnce    bool    // without a pause
}

var decisions = map[ErrorType]decision{
	InvalidInput:         {permanent: true},
	MailingExists:        {permanent: true},
	ListUnusable:         {permanent: true},
	SpoolMissing:         {permanent: true},
	DatabaseUnavailable:  {setting: Database},
	PageUnavailable:      {setting: Page},
	DropPointUnavailable: {setting: DropPoint},
	DropPointRefuses:     {setting: DropPoint},
	WorkerStopping:       {atOnce: true},
	BatchTaken:           {atOnce: true},
	Unexpected:           {},
}

// SettingOf tells which retry setting counts errors of the type; None for those that are tried for ever or never.
func SettingOf(t ErrorType) Setting { return decisions[t].setting }

// Permanent tells whether the activity is not to be tried again after an error of the type.
func Permanent(t ErrorType) bool { return decisions[t].permanent }

// AtOnce is the pause after an error of a type that needs none, or 0 for that of the retry policy.
func AtOnce(t ErrorType) time.Duration {
	if decisions[t].atOnce {
		return time.Millisecond
	}
	return 0
}
