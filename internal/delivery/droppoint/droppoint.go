package droppoint

import (
	"context"
	"errors"
	"slices"
	"time"

	"directmailer/internal/delivery/smtp"
)

// Message is a rendered message and its envelope.
type Message struct {
	From, To string
	Name     string // file name in a drop directory, without ".eml"
	Data     []byte
	UTF8     bool   // needs SMTPUTF8
	Key      string // value of the idempotency header field, the same for every attempt
}

// Answer is a drop point's answer to a message.
type Answer struct {
	Code     int    // SMTP reply code; 0 for a directory
	Enhanced string // enhanced status code (RFC 3463); may be empty
	Text     string // the server's text. It may contain addresses: it is for the ledger only
}

// Conn is a connection of a [DropPoint] in use. It sends messages one after the other. It is not
// safe for concurrent use.
type Conn interface {
	// Begin takes every step but the final one. After an error the message is certainly not handed
	// over. After an error for which NotReopened is true, only Release or Abort may follow. The end of
	// ctx interrupts Begin.
	Begin(ctx context.Context, m *Message) error
	// Fits returns the error of Begin for a message that the drop point is known not to take, such as
	// one that is too large. It takes no step.
	Fits(m *Message) error
	// Finish takes the final step and waits for the answer until the drop point's own timeout. next
	// may be nil. If it is not, it must be the next message that begins.
	Finish(next *Message) (Answer, error)
	// PipelinesNext reports whether Finish sends the envelope of next.
	PipelinesNext() bool
	// Release returns the connection to its pool, or closes it if no message can follow.
	Release()
	// Abort closes the connection and abandons a message that has begun.
	Abort()
}

// Outcome is what an error of a drop point means for the message.
type Outcome = smtp.Class

// The outcomes.
const (
	Unavailable = smtp.Connection // the drop point failed; the message is certainly not handed over
	Bounced     = smtp.Bounced    // refused for good
	Deferred    = smtp.Deferred   // refused for now
	Refused     = smtp.Refused    // the drop point refuses us; no recipient is to blame
	Uncertain   = smtp.Uncertain  // handed over or not: no answer was seen
	Unclear     = smtp.Unclear    // refused for good, because of the recipient or of us
	Unfit       = smtp.Unfit      // this drop point cannot take the message; another one may
	Throttled   = smtp.Throttled  // refused for now: the drop point asks for a lower rate
)

// OutcomeOf returns what an error of Acquire, Begin or Finish means.
func OutcomeOf(err error) Outcome { return smtp.Classify(err) }

// AnswerOf returns the server's answer that err contains, or the zero Answer.
func AnswerOf(err error) Answer {
	var r *smtp.Refusal
	if errors.As(err, &r) {
		return answerOf(r.Reply)
	}
	return Answer{}
}

func answerOf(r smtp.Reply) Answer {
	return Answer{Code: r.Code, Enhanced: r.Enhanced.String(), Text: r.Text}
}

// Health is the result of [DropPoint.Check].
type Health struct {
	Took time.Duration
	Err  error // nil if the drop point can be used
}

// Set holds a worker's drop points by name. It is safe for concurrent use.
type Set struct {
	dropPoints map[string]*DropPoint
	names      []string
}

// NewSet returns the drop points of the configurations. It opens no connection.
func NewSet(configs []Config) *Set {
	s := &Set{dropPoints: map[string]*DropPoint{}}
	for _, c := range configs {
		s.dropPoints[c.Name] = newDropPoint(c)
		s.names = append(s.names, c.Name)
	}
	slices.Sort(s.names)
	return s
}

// Names returns the names in alphabetical order.
func (s *Set) Names() []string { return slices.Clone(s.names) }

// Has reports whether there is a drop point of that name.
func (s *Set) Has(name string) bool { return s.dropPoints[name] != nil }

// Get returns the drop point of that name, and whether there is one.
func (s *Set) Get(name string) (*DropPoint, bool) {
	d, ok := s.dropPoints[name]
	return d, ok
}

// Close closes idle connections now, and connections in use when they are released.
func (s *Set) Close() {
	for _, d := range s.dropPoints {
		d.close()
	}
}
