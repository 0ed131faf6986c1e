// Package workflows holds the workflow Mailing and its public contract: input, result, status,
// updates and search attributes.
//
// A Go program that starts mailings imports this package and no other package of Direct Mailer. A
// program in another language sends the same JSON (docs/api.md and docs/mailing.schema.json). The
// package has no database driver and no SMTP client among its dependencies.
//
// The workflow itself is in mailing.go. Its parts have files of their own: droppoints.go (which
// drop points can be used), queue.go (which batches may start), suspension.go (what a mailing waits
// for), outcomes.go (counts and the error limit). sending.go starts the activities, and updates.go
// answers operators.
package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
)

const (
	// MailingType is the workflow type. The workflow ID is the mailing's ID.
	MailingType = "Mailing"
	// TestType is the workflow type of a test that `starter test` starts. A test is a mailing, with
	// [Input.Test].
	TestType = "MailingTest"
	// TaskQueue is the default task queue of workers.
	TaskQueue = "direct-mailer"
	// StatusQuery returns a [Status], also after the mailing has ended.
	StatusQuery = "status"
	// PauseUpdate pauses the mailing: messages in flight are finished, everything else waits for a
	// resume. It takes no argument.
	PauseUpdate = "pause"
	// ResumeUpdate resumes a paused mailing. A suspended mailing, and a mailing whose drop points
	// all rest after a failure, tries again at once. It takes no argument. The update is refused
	// when there is nothing to resume.
	ResumeUpdate = "resume"
	// CancelUpdate ends the mailing: messages in flight are finished, every other recipient without
	// an outcome becomes unsent. It takes no argument.
	CancelUpdate = "cancel"
	// RateUpdate sets a rate limit: it takes a [RateChange].
	RateUpdate = "rate"
	// ResolveUpdate resolves uncertain recipients: it takes a [Resolution] and returns the number
	// of recipients.
	ResolveUpdate = "resolve"
)

// Search attributes of every mailing. `starter migrate` and each worker register them.
var (
	// StateAttribute holds a [State].
	StateAttribute = temporal.NewSearchAttributeKeyKeyword("MailingState")
	// ListAttribute holds what [Input.Audience] returns: the name of the list, for example.
	ListAttribute = temporal.NewSearchAttributeKeyKeyword("MailingList")
)

// Input says what to send to whom. [Input.WithDefaults] gives the defaults of fields that are left
// out.
type Input struct {
	// ID of the mailing. It must be equal to the workflow ID. Default: the workflow ID.
	ID string `json:"id,omitempty"`
	// From is the author that recipients see: an address, or a name and an address ("Example News
	// <news@example.com>"). The name stays as it is written, with parentheses. It is no template.
	From string `json:"from" jsonschema:"minLength=1,maxLength=1000"`
	// ReplyTo is the address for replies. Default: From.
	ReplyTo string `json:"reply_to,omitempty" jsonschema:"maxLength=1000"`
	// EnvelopeSender is the bare address that bounces go to (MAIL FROM). If it has an asterisk
	// ("bounces+*@example.com"), each recipient has a bounce address, with a signed token in its
	// place. Default: a bounce address for each recipient if the workers have a bounce domain,
	// otherwise the address of From.
	EnvelopeSender string `json:"envelope_sender,omitempty"`
	// ToName is a text template for the name in To ("{{.first_name}} {{.last_name}}"). If it gives
	// nothing but blanks, To has the address alone. Default: no name.
	ToName string `json:"to_name,omitempty"`
	// Subject is a text template.
	Subject string `json:"subject" jsonschema:"minLength=1"`
	// Headers holds text templates of further header fields by their names: X-…, Auto-Submitted,
	// Comments, Feedback-ID, Importance, In-Reply-To, Keywords, List-Archive, List-Help, List-Owner,
	// List-Post, List-Subscribe, Organization, Precedence, Priority, References and Sensitivity. A
	// header that is blank for a recipient is left out.
	Headers map[string]string `json:"headers,omitempty"`
	// List is the name of a stored list. Its members at the time of preparation become the
	// recipients. Exactly one of List, Query and Continue must be given.
	List string `json:"list,omitempty"`
	// Query selects the recipients with a SQL query, which runs when the mailing is prepared.
	Query *Query `json:"query,omitempty"`
	// Continue sends to recipients of an earlier mailing, for example those that it did not send
	// to.
	Continue *Continuation `json:"continue,omitempty"`
	// Topic is what the mailing is about, such as "offers": people can opt out of a topic. It is a
	// name, as that of a list. Default: none; a continuation has that of the earlier mailing.
	Topic string `json:"topic,omitempty"`
	// IgnoreOptOuts names scopes whose opt-outs do not count: "list", "topic", and "all" for
	// requests not to get any mail. It is for mail that the law demands, such as a recall.
	// Suppressed addresses are left out all the same.
	IgnoreOptOuts []string `json:"ignore_opt_outs,omitempty" jsonschema:"uniqueItems=true"`
	// LegallyRequired confirms that the law demands the mailing. IgnoreOptOuts needs it for "all".
	LegallyRequired bool `json:"legally_required,omitempty"`
	// Content is the body of the messages.
	Content Content `json:"content"`
	// Unsubscribe says whether recipients can unsubscribe: "link" puts the headers for it into each
	// message, and {{.unsubscribe_url}} gives the link. "none" does neither. Default: link.
	Unsubscribe Unsubscribe `json:"unsubscribe,omitempty" jsonschema:"enum=link,enum=none,default=link"`
	// DropPoints names the drop points to use, as configured in the workers, up to 100. Default: all
	// of them.
	DropPoints []string `json:"drop_points,omitempty" jsonschema:"uniqueItems=true,maxItems=100"`
	// BatchSize is the number of recipients in a batch, 1 to 5000. Default: 500.
	BatchSize int `json:"batch_size,omitempty" jsonschema:"minimum=1,maximum=5000,default=500"`
	// Retry says how often a failing resource is tried, and at which interval, before OnExhausted
	// decides.
	Retry Retries `json:"retry,omitzero"`
	// OnUncertain says what happens to a recipient whose message was handed over without an answer.
	OnUncertain OnUncertain `json:"on_uncertain,omitempty" jsonschema:"enum=resend,enum=hold,default=resend"`
	// OnExhausted says what happens when the attempts of a resource that the mailing needs are used
	// up.
	OnExhausted OnExhausted `json:"on_exhausted,omitempty" jsonschema:"enum=suspend,enum=fail,default=suspend"`
	// Deferral says when deferred recipients (4xx) are tried again.
	Deferral Deferral `json:"deferral,omitzero"`
	// MaxErrorPercent is the error limit. A mailing is suspended (or fails, by OnExhausted) when a
	// larger part of its tried recipients has bounced or failed, or when servers have refused our
	// mail as often. 0 to 100; 0 means no limit.
	MaxErrorPercent int `json:"max_error_percent,omitempty" jsonschema:"minimum=0,maximum=100"`
	// ErrorMinimum is the number of tried recipients from which on MaxErrorPercent applies.
	// Default: 100.
	ErrorMinimum int `json:"error_minimum,omitempty" jsonschema:"minimum=1,default=100"`
	// Rates holds rate limits.
	Rates Rates `json:"rates,omitzero"`
	// NotBefore is when list preparation and sending may start (RFC 3339). Default: at once.
	NotBefore time.Time `json:"not_before,omitzero"`
	// NotAfter is when sending stops (RFC 3339). Recipients without an outcome become unsent then.
	// Default: never.
	NotAfter time.Time `json:"not_after,omitzero"`

	// Test marks a test: marked messages to the addresses that `starter test` has stored in the
	// database, and to nobody else. It is for TestType only.
	Test bool `json:"test,omitempty" jsonschema:"-"`

	// Resume is the progress of the previous run, set by continue-as-new. A starter must not set
	// it.
	Resume *Progress `json:"resume,omitempty" jsonschema:"-"`

	// misread holds the problems of the JSON, so that Validate returns them with all others.
	misread []Problem
}

// Content is the mailing's body: templates, with the recipient's columns as fields
// ({{.first_name}}) and .email, or a page that is fetched for each recipient.
type Content struct {
	// Text is the text/plain part, a Go text/template. Default: made from HTML.
	Text string `json:"text,omitempty"`
	// HTML is the text/html part, a Go html/template. Default: none.
	HTML string `json:"html,omitempty"`
	// Static sends Text and HTML unchanged: {{ has no meaning in them.
	Static bool `json:"static,omitempty"`
	// PageURL is the address of a page that is fetched for each recipient by HTTP and replaces
	// HTML. It is a text template: the values of the recipient's columns are escaped for their
	// place in the URL.
	PageURL string `json:"page_url,omitempty"`
	// PageColumn names a column that holds a URL. Where the column is not empty, its URL replaces
	// PageURL.
	PageColumn string `json:"page_column,omitempty"`
	// PageHosts lists the hosts ("www.example.com" or "www.example.com:8080") that may serve pages,
	// including redirects, up to 100. Default: the host of PageURL.
	PageHosts []string `json:"page_hosts,omitempty" jsonschema:"uniqueItems=true,maxItems=100"`
}

// Query selects recipients with a SQL query: each row of the result is a member.
type Query struct {
	// Source names a source database, as configured in the workers (DM_SOURCES).
	Source string `json:"source" jsonschema:"minLength=1"`
	// SQL is one SELECT statement. It runs in a read-only transaction. One of its columns must be
	// named email, in upper or lower case. The other columns are fields for templates.
	SQL string `json:"sql,omitempty" jsonschema:"required,minLength=1"`
	// Stored refers to a statement in the mailings' database. `starter start` stores the statement
	// there and sets Stored instead of SQL, so that nobody can read the statement in Temporal.
	Stored string `json:"stored,omitempty" jsonschema:"-"`
	// Timeout is the longest time that the query may take, 1s to 6h. Default: 10m.
	Timeout Duration `json:"timeout,omitzero"`
}

// Continuation selects recipients of an earlier mailing. That mailing must have ended.
type Continuation struct {
	// Mailing is the ID of the earlier mailing.
	Mailing string `json:"mailing"`
	// Outcomes selects recipients by their outcome: unsent, failed, bounced, uncertain. Default:
	// unsent.
	Outcomes []string `json:"outcomes,omitempty" jsonschema:"uniqueItems=true,maxItems=4"`
}

// Deferral is the schedule of later rounds for deferred recipients (4xx).
type Deferral struct {
	// First is the pause before the second round, 10ms to 24h. Each later pause is twice as long.
	// If the server says how long to wait, that pause is used instead. Default: 30m.
	First Duration `json:"first,omitzero"`
	// Most is the longest pause, up to 24h. Default: 4h.
	Most Duration `json:"most,omitzero"`
	// For is how long a recipient is tried after it was first deferred, up to 240h. Then its
	// outcome is failed. Default: 96h.
	For Duration `json:"for,omitzero"`
}

// Rate is a number of messages per time: "20/s", "500/min", "10000/h", "1000 per hour". "none"
// means no limit.
type Rate string

// Rates holds rate limits of this mailing, each for all workers together. They end with the
// mailing. The operator's limits of drop points and domains, for all mailings together, hold
// besides: a message waits for both.
type Rates struct {
	// Mailing is the limit of all its messages.
	Mailing Rate `json:"mailing,omitempty"`
	// DropPoints holds limits by the name of the drop point, up to 100.
	DropPoints map[string]Rate `json:"drop_points,omitempty"`
	// Domains holds limits by recipient domain ("gmail.com"), up to 1000.
	Domains map[string]Rate `json:"domains,omitempty"`
}

// RateChange is the argument of [RateUpdate]. Without DropPoint and Domain, it sets the limit of
// all messages of the mailing.
type RateChange struct {
	DropPoint string `json:"drop_point,omitempty"`
	Domain    string `json:"domain,omitempty"`
	Rate      Rate   `json:"rate"`
}

// Resolution is the argument of [ResolveUpdate].
type Resolution struct {
	// As is "sent" (the messages are known to have arrived) or "resend" (send again, possibly
	// twice).
	As string `json:"as" jsonschema:"enum=sent,enum=resend"`
}

// Retries holds the retry settings by the resource that fails.
type Retries struct {
	// List is for the database, or the source database of the query, while the list is prepared.
	// Default: 10 attempts, 30 s apart.
	List Retry `json:"list,omitzero"`
	// Database is for the database while the mailing is rendered, sent and closed. Default: 10
	// attempts, 30 s apart.
	Database Retry `json:"database,omitzero"`
	// Page is for the page server. Default: 10 attempts, 30 s apart.
	Page Retry `json:"page,omitzero"`
	// DropPoint is for a drop point that is unavailable or refuses our mail. Default: 5 attempts,
	// 30 s apart.
	DropPoint Retry `json:"drop_point,omitzero"`
}

// Retry is a number of attempts and the interval between two of them.
type Retry struct {
	// Attempts is the number of attempts, the first included, 1 to 1000.
	Attempts int `json:"attempts,omitempty" jsonschema:"minimum=1,maximum=1000"`
	// Interval is the time between two attempts, "30s" or "5m", 10ms to 24h.
	Interval Duration `json:"interval,omitzero"`
}

// Unsubscribe says whether recipients can unsubscribe.
type Unsubscribe string

const (
	// UnsubscribeLink puts a link of the recipient's own into each message.
	UnsubscribeLink Unsubscribe = "link"
	// UnsubscribeNone is for mail that is no bulk mail, and for links of another system.
	UnsubscribeNone Unsubscribe = "none"
)

// OnUncertain is the policy for recipients whose message was handed over without an answer.
type OnUncertain string

const (
	// Resend sends again: at least once, with at most one duplicate per broken connection.
	Resend OnUncertain = "resend"
	// Hold does not send again, and leaves the recipient uncertain: at most once.
	Hold OnUncertain = "hold"
)

// OnExhausted is the policy for a mailing that has used up the attempts of a resource.
type OnExhausted string

const (
	// Suspend keeps the mailing open and probes at increasing intervals until the cause is gone.
	Suspend OnExhausted = "suspend"
	// Fail ends the mailing: recipients without an outcome become unsent.
	Fail OnExhausted = "fail"
)

// Problem is one problem of an input: the JSON path of a field, and what is wrong with the field.
type Problem struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

func (p Problem) String() string { return fmt.Sprintf("%s: %s", p.Field, p.Message) }
