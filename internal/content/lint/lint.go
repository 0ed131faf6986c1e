// Package lint looks at the finished messages of a mailing before it starts, as receivers see them:
// the header, the text and HTML parts, the links and the images. It reads the rendered bytes and
// not the templates. The templates only serve to name the line of a finding.
//
// A finding has a [Code] that never changes its meaning. [Rules] describes all codes. No text of a
// finding holds recipient data: it quotes a link only as the template has it.
package lint

import (
	"cmp"
	"slices"

	"directmailer/workflows"
)

// Severity says how bad a finding is.
type Severity string

const (
	// Error is a finding for which receivers refuse the mail, or that makes it useless. A mailing
	// with an error does not start.
	Error Severity = "error"
	// Warning is a finding that costs trust or readers.
	Warning Severity = "warning"
	// Note is a finding that can be on purpose.
	Note Severity = "note"
)

// Finding is something about a mailing that receivers or readers dislike.
type Finding struct {
	Code     Code     `json:"code"`
	Severity Severity `json:"severity"`
	// Field is the field of the mailing's input that causes the finding, or is empty.
	Field string `json:"field,omitempty"`
	// Line and Column are the place in the field's template. They are 0 if they are not known.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
	// Place is the file, the line and the column, for who knows the file. It may be empty.
	Place string `json:"place,omitempty"`
	// Where is the place in the message, or the name that was looked up: "header Subject", "link 3".
	Where string `json:"where"`
	// Message says what is wrong, and Action what to do. Both have no recipient data.
	Message string `json:"message"`
	Action  string `json:"action"`
	// Messages is how many messages of the sample have the finding. It is 0 for a finding that is
	// not about messages.
	Messages int `json:"messages,omitempty"`

	literal bool // the template itself holds what is wrong, whatever the recipient's values are
}

// New returns a finding with the severity and the action of the code's rule.
func New(code Code, where, message string) Finding {
	rule := code.Rule()
	return Finding{Code: code, Severity: rule.Severity, Where: where, Message: message, Action: rule.Action}
}

// Setup is what the check knows besides the input and the messages.
type Setup struct {
	// Recipients is the number of members of the audience, as far as it is known.
	Recipients int64
	// NoLinks is true if no unsubscribe links can be made, and those of the messages only stand for
	// them.
	NoLinks bool
	// LocalLinks is true if the links lead to this machine, and those of the messages only stand for
	// them.
	LocalLinks bool
	// KeysNotRead is true if there are keys for From's domain, and the messages are not signed
	// because this process cannot read the keys.
	KeysNotRead bool
}

// Sizes are the sizes of the largest messages of a sample, in octets.
type Sizes struct {
	Message int `json:"message"`
	HTML    int `json:"html"` // of the HTML part, decoded
}

// Linter collects the findings of the messages of one mailing. It is not safe for concurrent use.
type Linter struct {
	in       workflows.Input
	source   source
	messages int
	pages    bool // the bodies of messages only stand for pages
	sizes    Sizes
	found    map[Finding]int
	order    []Finding
}

// NewLinter returns a Linter for a mailing.
func NewLinter(in workflows.Input) *Linter {
	return &Linter{in: in, source: newSource(in), found: map[Finding]int{}}
}

// Sizes returns the sizes of the largest messages so far.
func (l *Linter) Sizes() Sizes { return l.sizes }

// Findings returns the findings of the mailing and of its messages so far, the worst first. An
// error that only a part of the messages has is a warning, unless the template itself holds it.
func (l *Linter) Findings(setup Setup) []Finding {
	all := l.aboutMailing(setup)
	if l.messages == 0 {
		all = append(all, New(SampleMissing, "sample", "no message was looked at"))
	}
	if l.pages {
		all = append(all, New(PagesNotSeen, "body", "was not looked at: it is a page"))
	}
	for _, f := range l.order {
		f.Messages = l.found[f]
		if f.Code == DKIMKeyMissing && setup.KeysNotRead {
			f = New(DKIMKeyNotRead, f.Where, "the key cannot be read here, so the sample is not signed")
		}
		if f.Severity == Error && !f.literal && f.Messages < l.messages {
			f.Severity = Warning
		}
		all = append(all, f)
	}
	Sort(all)
	return all
}

// Sort sorts findings: the worst first, then in the order of [Rules].
func Sort(all []Finding) {
	rank := map[Severity]int{Error: 0, Warning: 1, Note: 2}
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(rank[a.Severity], rank[b.Severity]), cmp.Compare(a.Code.index(), b.Code.index()))
	})
}

// once are the findings of one message.
type once map[Finding]bool

func (l *Linter) keep(found once) {
	fresh := make([]Finding, 0, len(found))
	for f := range found {
		if l.found[f]++; l.found[f] == 1 {
			fresh = append(fresh, f)
		}
	}
	slices.SortFunc(fresh, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Code.index(), b.Code.index()), cmp.Compare(a.Field, b.Field),
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Where, b.Where),
			cmp.Compare(a.Message, b.Message))
	})
	l.order = append(l.order, fresh...)
}

func (o once) add(code Code, where, message string) { o[New(code, where, message)] = true }

func (o once) addAt(code Code, at spot, message string) {
	f := New(code, at.where, message)
	f.Field, f.Line, f.Column, f.literal = at.field, at.line, at.column, at.literal
	o[f] = true
}
