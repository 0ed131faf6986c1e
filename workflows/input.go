package workflows

import (
	"time"

	"directmailer/internal/naming"
)

// MaxInput is the length limit of an input as JSON, in octets. Temporal refuses payloads above 2
// MiB, and continue-as-new adds to the input.
const MaxInput = 1536 << 10

// ValidName reports whether s can name a list, a drop point or a source database: up to 63
// lower-case letters and digits, with single - or _ between them.
func ValidName(s string) bool { return naming.Valid(s) }

// Audience describes the mailing's audience for people: the list's name, "query:SOURCE" or
// "continue:ID". No list can have one of the latter names.
func (in Input) Audience() string {
	switch {
	case in.Query != nil:
		return "query:" + in.Query.Source
	case in.Continue != nil:
		return "continue:" + in.Continue.Mailing
	}
	return in.List
}

// WithDefaults returns the input with every setting that was left out filled in.
func (in Input) WithDefaults() Input {
	fill(&in.BatchSize, 500)
	fill(&in.Unsubscribe, UnsubscribeLink)
	fill(&in.OnUncertain, Resend)
	fill(&in.OnExhausted, Suspend)
	fill(&in.ErrorMinimum, 100)
	fill(&in.Deferral.First, Duration(30*time.Minute))
	fill(&in.Deferral.Most, max(Duration(4*time.Hour), in.Deferral.First))
	fill(&in.Deferral.For, Duration(96*time.Hour))
	if in.Query != nil && in.Query.Timeout == 0 {
		query := *in.Query
		query.Timeout = Duration(10 * time.Minute)
		in.Query = &query
	}
	if in.Continue != nil && len(in.Continue.Outcomes) == 0 {
		in.Continue = &Continuation{Mailing: in.Continue.Mailing, Outcomes: []string{"unsent"}}
	}
	r := &in.Retry
	for _, setting := range []struct {
		retry    *Retry
		attempts int
	}{{&r.List, 10}, {&r.Database, 10}, {&r.Page, 10}, {&r.DropPoint, 5}} {
		fill(&setting.retry.Attempts, setting.attempts)
		fill(&setting.retry.Interval, Duration(30*time.Second))
	}
	return in
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
