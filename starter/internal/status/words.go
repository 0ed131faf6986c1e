package status

import (
	"fmt"
	"io"
	"strings"
	"time"

	"directmailer/internal/delivery/ratelimit"
	"directmailer/starter/internal/output"
	"directmailer/workflows"
)

// One describes the answer of `starter show`: what a mailing does, and its ledger.
var One = output.Record[*Status]{
	Fields: fieldsOf,
	Rest: func(w io.Writer, s *Status) {
		for _, p := range s.Problems {
			fmt.Fprintf(w, "  %s\n", output.Clean(p.String()))
		}
		if s.Stored && s.PreparedAt != nil {
			s.RenderLedger(w)
			s.renderEvents(w)
		}
	},
}

// fieldsOf describes the mailing. A field without a text is not shown.
func fieldsOf(s *Status) []output.Field {
	var all []output.Field
	add := func(name, text string) { all = append(all, output.Field{Name: name, Text: text}) }
	add("mailing", s.ID)
	add("state", string(s.State))
	add("reason", s.Reason)
	if s.Unclosed() {
		add("reason", fmt.Sprintf("its workflow %s, and its ledger is open: `starter close %s` closes it", s.gone(), s.ID))
	}
	add("doing", s.Doing)
	add("since", moment(&s.Since))
	add(s.untilWord(), moment(&s.Until))
	for _, w := range s.Waiting {
		if w.dropPoint == "" { // drop points have lines of their own
			add("waits for", describe(w))
		}
	}
	add("deferred", s.describeDeferred())
	if s.List != "" {
		add("list", s.List)
	} else {
		add("audience", s.Audience)
	}
	add("topic", s.Topic)
	if text := workflows.IgnoredOptOuts(s.IgnoresOptOuts); text != "" {
		add("ignores opt-outs", text)
	}
	if s.PreparedAt != nil {
		add("members", Members(s.Members, s.Duplicates))
		add("batches", fmt.Sprintf("%s, %s rendered, %s closed",
			output.Thousands(s.Batches), output.Thousands(s.Rendered), output.Thousands(s.ClosedBatches)))
	}
	add("signed", s.describeSignatures())
	add("bounces go to", output.Clean(s.BouncesTo))
	for _, p := range s.DropPoints {
		add("drop point", describeDropPoint(p))
	}
	for _, l := range s.Rates {
		add("rate limit", describeLimit(l))
	}
	add("started", moment(s.CreatedAt))
	add("prepared", moment(s.PreparedAt))
	add("ended", moment(s.ClosedAt))
	return all
}

// describeSignatures says whether the messages that are rendered so far are signed.
func (s *Status) describeSignatures() string {
	keys := strings.Join(s.Signatures, ", ")
	switch {
	case !s.Unsigned:
		return keys
	case keys == "":
		return "no: DM_DKIM of the workers has no key for the domain of from"
	}
	return "IN PART, with " + keys + ": not every worker has a key for the domain of from: " +
		"give all of them the same DM_DKIM"
}

// Unclosed tells that the workflow is over and that the ledger is open. It was terminated, or the
// database has lost its end in a failover.
func (s *Status) Unclosed() bool { return s.Stored && s.Ended() && !s.Closed }

// gone says how the workflow of an unclosed mailing went.
func (s *Status) gone() string {
	if s.State == workflows.StateTerminated {
		return "was terminated"
	}
	return "has ended"
}

// Members says how many rows an audience had, and how many of them repeat an address.
func Members(members, duplicates int64) string {
	return fmt.Sprintf(
		"%s, %s of which repeat an address",
		output.Count(members, "member"),
		output.Thousands(duplicates),
	)
}

// moment writes a time, or nothing for none.
func moment(at *time.Time) string {
	if at == nil || at.IsZero() {
		return ""
	}
	return output.Moment(*at)
}

// untilWord names Until: a suspended mailing probes at that time, others continue.
func (s *Status) untilWord() string {
	if s.State == workflows.StateSuspended {
		return "next probe"
	}
	return "until"
}

// describeDoing says what the mailing does or waits for, since when and until when.
func (s *Status) describeDoing() string {
	text := output.Clean(s.Doing)
	var times []string
	if !s.Since.IsZero() {
		times = append(times, "since "+output.Moment(s.Since))
	}
	if !s.Until.IsZero() {
		times = append(times, s.untilWord()+" "+output.Moment(s.Until))
	}
	if len(times) > 0 {
		text += " (" + strings.Join(times, ", ") + ")"
	}
	return text
}

func (s *Status) describeDeferred() string {
	if s.Deferred == 0 {
		return ""
	}
	text := output.Count(s.Deferred, "recipient") + " refused for now"
	if !s.NextRound.IsZero() {
		text += ", next round at " + output.Moment(s.NextRound)
	}
	return text
}

func describeDropPoint(p workflows.DropPointStatus) string {
	if p.Slowed != "" {
		return describeUse(p) + "; " + p.Slowed
	}
	return describeUse(p)
}

// describeUse says how the mailing uses a drop point.
func describeUse(p workflows.DropPointStatus) string {
	var text string
	switch {
	case !p.InList:
		text = p.Name + " has left the list"
		if !p.Until.IsZero() {
			text += ", next probe at " + output.Moment(p.Until)
		}
	case !p.Until.IsZero():
		text = p.Name + " waits until " + output.Moment(p.Until)
	case p.OnTrial:
		text = p.Name + ", back in the list, on trial with one batch at a time"
	case p.Failures > 0:
		text = p.Name + " is retried"
	case p.LastFailure != "":
		text = p.Name + ", in the list again"
	default:
		return p.Name
	}
	switch {
	case p.InList && p.Failures > 0 && p.Attempts > 0:
		text += fmt.Sprintf(", after attempt %d of %d", p.Failures, p.Attempts)
	case p.Failures > 0:
		text += ", after " + output.Count(p.Failures, "failure")
	}
	if p.LastFailure != "" {
		text += ": " + strings.TrimPrefix(p.LastFailure, "drop point "+p.Name+": ")
	}
	return text
}

func describeLimit(l Limit) string {
	text := l.Rate.String()
	switch l.Kind {
	case ratelimit.DropPoint.String():
		text += " to drop point " + l.Name
	case ratelimit.Domain.String():
		text += " to " + l.Name
	}
	if l.Mailing != "" {
		text += " of this mailing"
	}
	return text
}

// outcome is a number of recipients with the same outcome.
type outcome struct {
	name string
	n    int64
}

func outcomesOf(c workflows.Counts) []outcome {
	return []outcome{{"sent", c.Sent}, {"bounced", c.Bounced}, {"failed", c.Failed}, {"opted out", c.OptedOut},
		{"uncertain", c.Uncertain}, {"unsent", c.Unsent}}
}

// Outcomes is the outcomes that recipients have, in one line.
func Outcomes(c workflows.Counts) string {
	parts := []string{"sent " + output.Thousands(c.Sent)}
	for _, o := range outcomesOf(c)[1:] {
		if o.n > 0 {
			parts = append(parts, o.name+" "+output.Thousands(o.n))
		}
	}
	if c.PossiblyTwice > 0 {
		parts = append(parts, "possibly twice "+output.Thousands(c.PossiblyTwice))
	}
	return strings.Join(parts, ", ")
}

// RenderLedger shows the outcomes and their sum.
func (s *Status) RenderLedger(w io.Writer) {
	title := "Ledger, closed"
	rows := outcomesOf(s.Counts)
	if !s.Closed {
		title = "Ledger, open"
		rows = append(rows, outcome{"open", s.Open})
	}
	output.Table[outcome]{
		{Title: title, Cell: func(o outcome) string { return o.name }},
		{Title: "recipients", Cell: func(o outcome) string { return output.Thousands(o.n) }, Right: true},
	}.Render(w, append(rows, outcome{"all recipients", s.Recipients}))
	if s.PossiblyTwice > 0 {
		fmt.Fprintf(
			w,
			"%s may have got the message twice: `starter report %s` names them\n",
			output.Count(s.PossiblyTwice, "recipient"),
			s.ID,
		)
	}
}

// List describes a list of mailings.
var List = output.Table[Status]{
	{Title: "mailing", Wrap: 30, Cell: func(s Status) string { return s.ID + "\n" + output.Clean(s.Audience) }},
	{Title: "state", Cell: func(s Status) string { return string(s.State) }},
	{Title: "recipients", Right: true, Cell: func(s Status) string { return output.Thousands(s.Recipients) }},
	{Title: "sent", Right: true, Cell: func(s Status) string { return output.Thousands(s.Sent) }},
	{Title: "others", Wrap: 20, Cell: otherOutcomes},
	{Title: "started", Cell: func(s Status) string {
		if s.CreatedAt == nil {
			return ""
		}
		return output.Minute(*s.CreatedAt)
	}},
}

// otherOutcomes leaves out outcomes that no recipient has.
func otherOutcomes(s Status) string {
	var parts []string
	for _, o := range append([]outcome{{"open", s.Open}}, outcomesOf(s.Counts)...) {
		if o.n > 0 && o.name != "sent" {
			parts = append(parts, o.name+" "+output.Thousands(o.n))
		}
	}
	return strings.Join(parts, ", ")
}
