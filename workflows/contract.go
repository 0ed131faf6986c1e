// Package workflows holds the workflow Mailing and its public contract: input, result, names, IDs, search attributes.
//
// A program that starts mailings imports this package and nothing else of Direct Mailer; one in another language sends the same
// JSON (docs/api.md and docs/mailing.schema.json). The package knows no database and no SMTP.
package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
)

const (
	// MailingType is the workflow type. The workflow ID is the mailing's ID.
	MailingType = "Mailing"
	// TaskQueue is the queue that workers listen on unless they are told otherwise.
	TaskQueue = "direct-mailer"
	// StatusQuery answers a [Status] at any time, also after the mailing has ended.
	StatusQuery = "status"
	// PauseUpdate holds the mailing: messages in flight are finished, everything else waits for a resume. It takes no argument.
	PauseUpdate = "pause"
	// ResumeUpdate goes on with a paused mailing. A suspended one, and one whose drop points all rest
	// after a failure, tries again at once. It takes no argument. It is refused when there is nothing
	// to resume.
	ResumeUpdate = "resume"
	// CancelUpdate ends the mailing: messages in flight are finished, everybody else becomes unsent. It takes no argument.
	CancelUpdate = "cancel"
	// RateUpdate sets a rate limit: it takes a [RateChange].
	RateUpdate = "rate"
	// ResolveUpdate decides about the recipients that are held as uncertain: it takes a [Resolution] and answers how many there were.
	ResolveUpdate = "resolve"
)

// Search attributes of every mailing. `starter migrate` and each worker register them.
var (
	// StateAttribute holds a [State].
	StateAttribute = temporal.NewSearchAttributeKeyKeyword("MailingState")
	// ListAttribute holds the name of the list that is mailed.
	ListAttribute = temporal.NewSearchAttributeKeyKeyword("MailingList")
)

// Input says what to send to whom. Fields left out have the defaults that [Input.WithDefaults] gives.
type Input struct {
	// ID of the mailing, which is the workflow ID as well. May be left out; when given it must equal the workflow ID.
	ID string `json:"id,omitempty" jsonschema:"maxLength=100,pattern=^[A-Za-z0-9]+([._-][A-Za-z0-9]+)*$"`
	// From is the author that recipients see: an address, or a name and an address ("Example News <news@example.com>").
	From string `json:"from" jsonschema:"minLength=1"`
	// ReplyTo is where answers go, if not to From.
	ReplyTo string `json:"reply_to,omitempty"`
	// EnvelopeSender is the bare address that bounces go to (MAIL FROM). Default: the address of From.
	EnvelopeSender string `json:"envelope_sender,omitempty"`
	// Subject is a text template.
	Subject string `json:"subject" jsonschema:"minLength=1"`
	// List is the name of a stored list, whose members at the time of preparation become the recipients. One of List, Query and
	// Continue is needed, and only one can be given.
	List string `json:"list,omitempty" jsonschema:"maxLength=63,pattern=^[a-z0-9]+([_-]?[a-z0-9])*$"`
	// Query is a query on a source database, run when the mailing is prepared.
	Query *Query `json:"query,omitempty"`
	// Continue takes the recipients that an earlier mailing has ended without.
	Continue *Continuation `json:"continue,omitempty"`
	// Content is what is sent.
	Content Content `json:"content"`
	// DropPoints names the drop points to hand the mail to, as configured in the workers. Default: all that they have.
	DropPoints []string `json:"drop_points,omitempty" jsonschema:"uniqueItems=true,maxLength=63,pattern=^[a-z0-9]+([_-]?[a-z0-9])*$"`
	// BatchSize is how many recipients one activity handles, 1 to 5000. Default: 500.
	BatchSize int `json:"batch_size,omitempty" jsonschema:"minimum=1,maximum=5000,default=500"`
	// Retry says how often, and how far apart, a failing resource is tried again before the mailing gives it up.
	Retry Retries `json:"retry,omitzero"`
	// OnUncertain says what happens to a recipient whose message was handed over but whose answer was never seen.
	OnUncertain OnUncertain `json:"on_uncertain,omitempty" jsonschema:"enum=resend,enum=hold,default=resend"`
	// OnExhausted says what happens when the tries of a resource that the mailing cannot do without are used up.
	OnExhausted OnExhausted `json:"on_exhausted,omitempty" jsonschema:"enum=suspend,enum=fail,default=suspend"`
	// Deferral says how recipients that a server refuses for now are tried again.
	Deferral Deferral `json:"deferral,omitzero"`
	// MaxErrorPercent suspends (or fails, by OnExhausted) a mailing when more of its recipients than that have bounced, failed or were
	// refused for reasons of ours. 0 to 100; 0 means no limit.
	MaxErrorPercent int `json:"max_error_percent,omitempty" jsonschema:"minimum=0,maximum=100"`
	// ErrorMinimum is how many recipients must have been tried before MaxErrorPercent counts. Default: 100.
	ErrorMinimum int `json:"error_minimum,omitempty" jsonschema:"minimum=1,default=100"`
	// Rates limits how fast mail is handed over.
	Rates Rates `json:"rates,omitzero"`
	// NotBefore is when list preparation and sending may begin (RFC 3339). Default: at once.
	NotBefore time.Time `json:"not_before,omitzero"`
	// NotAfter is when sending stops (RFC 3339); whoever has not got the mail by then is unsent. Default: never.
	NotAfter time.Time `json:"not_after,omitzero"`

	// Resume is the workflow's own state, carried over by continue-as-new; no starter may set it.
	Resume *Progress `json:"resume,omitempty" jsonschema:"-"`

	// misread holds what was wrong with the JSON, so that it is reported together with every other problem.
	misread []Problem
}

// Content is the mailing's body: templates, with the recipient's columns as fields ({{.first_name}}) and .email, or a page that is
// fetched for each recipient.
type Content struct {
	// Text is the text/plain part, a Go text/template. Default: made from HTML.
	Text string `json:"text,omitempty"`
	// HTML is the text/html part, a Go html/template. Default: none.
	HTML string `json:"html,omitempty"`
	// Static takes Text and HTML as they are, the same for everybody: {{ means nothing in them.
	Static bool `json:"static,omitempty"`
	// PageURL is fetched for each recipient by HTTP, and is the body instead of HTML: a text template over the recipient's columns, whose
	// values are escaped for their place in a URL.
	PageURL string `json:"page_url,omitempty"`
	// PageColumn names a column with a URL that goes before PageURL where it is not empty.
	PageColumn string `json:"page_column,omitempty"`
	// PageHosts are the hosts ("www.example.com" or "www.example.com:8080") that pages, and redirects from them, may be on. Default: that
	// of PageURL.
	PageHosts []string `json:"page_hosts,omitempty" jsonschema:"uniqueItems=true"`
}

// Query is an SQL audience: each row of its answer is a member.
type Query struct {
	// Source names a source database, as configured in the workers.
	Source string `json:"source" jsonschema:"minLength=1,maxLength=63,pattern=^[a-z0-9]+([_-]?[a-z0-9])*$"`
	// SQL is one SELECT, run in a transaction that can only read. One of its columns is named email (in any case); the others are fields
	// for templates.
	SQL string `json:"sql" jsonschema:"minLength=1"`
	// Timeout ends a query that takes longer. Default: 10 m; 1s to 6h.
	Timeout Duration `json:"timeout,omitzero"`
}

// Continuation takes up an earlier mailing, which must have ended.
type Continuation struct {
	// Mailing is its ID.
	Mailing string `json:"mailing" jsonschema:"maxLength=100,pattern=^[A-Za-z0-9]+([._-][A-Za-z0-9]+)*$"`
	// Outcomes are those whose recipients are sent to now: unsent, failed, bounced, uncertain. Default: unsent.
	Outcomes []string `json:"outcomes,omitempty" jsonschema:"uniqueItems=true,enum=unsent,enum=failed,enum=bounced,enum=uncertain"`
}

// Deferral is the schedule for recipients that are refused for now (4xx).
type Deferral struct {
	// First is the pause before the second round; each further one is twice as long. A server that says when to come again is believed.
	// Default: 30m; 10ms to 24h.
	First Duration `json:"first,omitzero"`
	// Most is the longest pause. Default: 4h; up to 24h.
	Most Duration `json:"most,omitzero"`
	// For is how long a recipient is tried again, from the first refusal on; then it is failed. Default: 96h; up to 240h.
	For Duration `json:"for,omitzero"`
}

// Rate is a number of messages in a time: "20/s", "500/min", "10000/h", "1000 per hour"; "none" is no limit.
type Rate string

// Rates are limits on how fast mail is handed over, by all workers together. Those of drop points and domains hold for all mailings,
// and stay until somebody sets others.
type Rates struct {
	// Mailing is this mailing's own limit.
	Mailing Rate `json:"mailing,omitempty"`
	// DropPoints are limits by the name of a drop point.
	DropPoints map[string]Rate `json:"drop_points,omitempty"`
	// Domains are limits by the domain of recipients' addresses ("gmail.com").
	Domains map[string]Rate `json:"domains,omitempty"`
}

// RateChange is the argument of [RateUpdate]: with neither DropPoint nor Domain it is about the mailing itself.
type RateChange struct {
	DropPoint string `json:"drop_point,omitempty"`
	Domain    string `json:"domain,omitempty"`
	Rate      Rate   `json:"rate"`
}

// Resolution is the argument of [ResolveUpdate].
type Resolution struct {
	// As is "sent" (somebody has found out that they have got it) or "resend" (they are sent to again, possibly twice).
	As string `json:"as" jsonschema:"enum=sent,enum=resend"`
}

// Retries holds the retry settings by what fails.
type Retries struct {
	// List: the list cannot be prepared because the database, or the source of the query, is away. Default: 10 attempts, 30 s apart.
	List Retry `json:"list,omitzero"`
	// Database: it is lost while the mailing is rendered or sent. Default: 10 attempts, 30 s apart.
	Database Retry `json:"database,omitzero"`
	// Page: the page server is unavailable. Default: 10 attempts, 30 s apart.
	Page Retry `json:"page,omitzero"`
	// DropPoint: a drop point is unavailable or refuses us. Default: 5 attempts, 30 s apart.
	DropPoint Retry `json:"drop_point,omitzero"`
}

// Retry is a number of attempts and the time between two of them.
type Retry struct {
	// Attempts is the number of tries in all, 1 to 1000.
	Attempts int `json:"attempts,omitempty" jsonschema:"minimum=1,maximum=1000"`
	// Interval is the time between two tries, "30s" or "5m", 10ms to 24h.
	Interval Duration `json:"interval,omitzero"`
}

// OnUncertain is the policy for recipients whose outcome was never seen.
type OnUncertain string

const (
	// Resend sends again: at least once, and at most one duplicate per connection that broke.
	Resend OnUncertain = "resend"
	// Hold leaves the recipient uncertain: at most once.
	Hold OnUncertain = "hold"
)

// OnExhausted is the policy for a mailing that has used up its tries.
type OnExhausted string

const (
	// Suspend keeps the mailing open and probes at the retry interval until the cause is gone.
	Suspend OnExhausted = "suspend"
	// Fail ends the mailing: recipients that are still open become unsent.
	Fail OnExhausted = "fail"
)

// State is the phase that a mailing is in, or how it ended.
type State string

// The states of a mailing. The last five are ends.
const (
	StateWaiting   State = "waiting"   // not_before has not come
	StatePreparing State = "preparing" // the list is frozen into recipients
	StateSending   State = "sending"
	StatePaused    State = "paused"    // somebody has paused it
	StateSuspended State = "suspended" // a cause outside is waited for, and probed
	StateClosing   State = "closing"   // the ledger is reconciled
	StateCompleted State = "completed"
	StateCancelled State = "cancelled"
	StateExpired   State = "expired" // not_after came before the end of the list
	StateFailed    State = "failed"
	// StateTerminated is the end of a mailing whose workflow is gone: it was terminated, or
	// Temporal has forgotten it. No workflow sets it: `starter close` closes the ledger so.
	StateTerminated State = "terminated"
)

// Ended tells whether the mailing is over.
func (s State) Ended() bool {
	switch s {
	case StateCompleted, StateCancelled, StateExpired, StateFailed, StateTerminated:
		return true
	}
	return false
}

// Counts are numbers of recipients by outcome. In a closed ledger they add up to the mailing's recipients.
type Counts struct {
	Sent      int64 `json:"sent"`
	Bounced   int64 `json:"bounced"`
	Failed    int64 `json:"failed"`
	OptedOut  int64 `json:"opted_out"`
	Uncertain int64 `json:"uncertain"`
	Unsent    int64 `json:"unsent"`
	// PossiblyTwice counts recipients, among those above, who were sent to again after an uncertain attempt.
	PossiblyTwice int64 `json:"possibly_twice"`
}

// Total is the number of recipients that have an outcome.
func (c Counts) Total() int64 {
	return c.Sent + c.Bounced + c.Failed + c.OptedOut + c.Uncertain + c.Unsent
}

// Add returns the sums of c and d.
func (c Counts) Add(d Counts) Counts {
	c.Sent += d.Sent
	c.Bounced += d.Bounced
	c.Failed += d.Failed
	c.OptedOut += d.OptedOut
	c.Uncertain += d.Uncertain
	c.Unsent += d.Unsent
	c.PossiblyTwice += d.PossiblyTwice
	return c
}

// Result is what the workflow returns; a cancelled or failed one carries it in its error's details.
type Result struct {
	ID    string `json:"id"`
	State State  `json:"state"`
	// Reason says why a mailing did not complete; empty when it did.
	Reason string `json:"reason,omitempty"`
	// Members is the number of rows in the list, Duplicates those of them that repeat an address.
	Members    int64 `json:"members"`
	Duplicates int64 `json:"duplicates"`
	// Rejected is the number of rows of a query that were left out because they cannot be used. Those of a file are told at its import.
	Rejected int64 `json:"rejected,omitempty"`
	// Recipients is the number of addresses; Counts divides it by outcome.
	Recipients int64  `json:"recipients"`
	Counts     Counts `json:"counts"`
	Batches    int    `json:"batches"`
	// Suppressed is the number of addresses that do not exist (5.1.1, 5.1.6, 5.1.10) and are kept from later mailings.
	Suppressed int64 `json:"suppressed,omitempty"`
	// Withheld lists the drop points on whose word nobody was suppressed, because they said so of too many.
	Withheld []WithheldSuppression `json:"withheld,omitempty"`
}

// WithheldSuppression is a drop point that said of too many recipients that they do not exist: its
// recipient map may be broken.
type WithheldSuppression struct {
	DropPoint string `json:"drop_point"`
	// Bad recipients do not exist, in its words, of those that it Answered: accepted, or refused for good.
	Bad      int64 `json:"bad"`
	Answered int64 `json:"answered"`
}

// Status is what a mailing is doing, as [StatusQuery] answers it.
type Status struct {
	ID    string `json:"id"`
	State State  `json:"state"`
	// Doing says in one sentence what goes on or what is waited for.
	Doing string `json:"doing"`
	// Since is when a suspension or a pause began, Until when the waiting ends by itself, or is looked into; zero when nothing is waited
	// for, or nothing but an operator.
	Since      time.Time `json:"since,omitzero"`
	Until      time.Time `json:"until,omitzero"`
	Recipients int64     `json:"recipients"`
	// Counts are the outcomes so far, those in batches that are still open among them.
	Counts Counts `json:"counts"`
	// RatePerSecond is the number of messages a second lately, and ETA the time at which the
	// mailing is done at that rate. Both are zero when they are not known.
	RatePerSecond float64   `json:"rate_per_second,omitempty"`
	ETA           time.Time `json:"eta,omitzero"`
	// Deferred recipients are refused for now; NextRound is when the next of them are tried again.
	Deferred  int       `json:"deferred,omitempty"`
	NextRound time.Time `json:"next_round,omitzero"`
	Batches   int       `json:"batches"`
	Rendered  int       `json:"rendered"`
	Closed    int       `json:"closed"`
	// DropPoints of the mailing, in the order of its input.
	DropPoints []DropPointStatus `json:"drop_points,omitempty"`
}

// DropPointStatus is the standing of a drop point in one mailing.
type DropPointStatus struct {
	Name string `json:"name"`
	// InList is false after the drop point has used up its attempts. It is looked at then until it is back.
	InList bool `json:"in_list"`
	// Failures counts its failures since it last accepted mail. After Attempts failures it leaves the list.
	Failures int `json:"failures,omitempty"`
	Attempts int `json:"attempts,omitempty"`
	// Until is when it is tried, or looked at, again after a failure; zero when it is in use.
	Until time.Time `json:"until,omitzero"`
	// OnTrial is true when it has come back and has not accepted mail since: it is given one batch at a time.
	OnTrial bool `json:"on_trial,omitempty"`
	// Looks counts the looks at it since it last accepted mail: the time between them doubles.
	Checks int `json:"checks,omitempty"`
	// Proven is true when it has accepted mail of this mailing.
	Proven bool `json:"proven,omitempty"`
	// LastFailure is its latest failure, without addresses; empty when there was none.
	LastFailure string `json:"last_failure,omitempty"`
}

// Problem is one fault of an input: the field's JSON path and what is wrong with it.
type Problem struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

func (p Problem) String() string { return fmt.Sprintf("%s: %s", p.Field, p.Message) }

// Duration is a time.Duration that reads and writes as text ("30s") in JSON and YAML.
type Duration time.Duration

// MarshalText writes the duration as time.Duration does: "1m30s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 30s or 5m", text)
	}
	*d = Duration(v)
	return nil
}
