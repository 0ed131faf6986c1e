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
	// ResumeUpdate makes a suspended mailing try again at once. It takes no argument and is refused when nothing is suspended.
	ResumeUpdate = "resume"
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
	// List is the name of a stored list, whose members at the time of preparation become the recipients.
	List string `json:"list" jsonschema:"maxLength=63,pattern=^[a-z0-9]+([_-]?[a-z0-9])*$"`
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
	// NotBefore is when list preparation and sending may begin (RFC 3339). Default: at once.
	NotBefore time.Time `json:"not_before,omitzero"`
	// NotAfter is when sending stops (RFC 3339); whoever has not got the mail by then is unsent. Default: never.
	NotAfter time.Time `json:"not_after,omitzero"`

	// Resume is the workflow's own state, carried over by continue-as-new; no starter may set it.
	Resume *Progress `json:"resume,omitempty" jsonschema:"-"`

	// misread holds what was wrong with the JSON, so that it is reported together with every other problem.
	misread []Problem
}

// Content is the mailing's body: templates, with the recipient's columns as fields ({{.first_name}}) and .email.
type Content struct {
	// Text is the text/plain part, a Go text/template. Default: made from HTML.
	Text string `json:"text,omitempty"`
	// HTML is the text/html part, a Go html/template. Default: none.
	HTML string `json:"html,omitempty"`
}

// Retries holds the retry settings by what fails.
type Retries struct {
	// List: the list cannot be prepared because the database is away. Default: 10 attempts, 30 s apart.
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

// The states of a mailing. The last four are ends.
const (
	StateWaiting   State = "waiting"   // not_before has not come
	StatePreparing State = "preparing" // the list is frozen into recipients
	StateSending   State = "sending"
	StateSuspended State = "suspended" // a cause outside is waited for, and probed
	StateClosing   State = "closing"   // the ledger is reconciled
	StateCompleted State = "completed"
	StateCancelled State = "cancelled"
	StateExpired   State = "expired" // not_after came before the end of the list
	StateFailed    State = "failed"
)

// Ended tells whether the mailing is over.
func (s State) Ended() bool {
	switch s {
	case StateCompleted, StateCancelled, StateExpired, StateFailed:
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
	// Recipients is the number of addresses; Counts divides it by outcome.
	Recipients int64  `json:"recipients"`
	Counts     Counts `json:"counts"`
	Batches    int    `json:"batches"`
}

// Status is what a mailing is doing, as [StatusQuery] answers it.
type Status struct {
	ID    string `json:"id"`
	State State  `json:"state"`
	// Doing says in one sentence what goes on or what is waited for.
	Doing string `json:"doing"`
	// Until is when the waiting ends by itself; zero when nothing is waited for.
	Until      time.Time         `json:"until,omitzero"`
	Recipients int64             `json:"recipients"`
	Counts     Counts            `json:"counts"`
	Batches    int               `json:"batches"`
	Rendered   int               `json:"rendered"`
	Closed     int               `json:"closed"`
	DropPoints []DropPointStatus `json:"drop_points,omitempty"`
}

// DropPointStatus is the standing of a drop point in one mailing.
type DropPointStatus struct {
	Name string `json:"name"`
	// InList is false after the drop point has used up its attempts.
	InList bool `json:"in_list"`
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
