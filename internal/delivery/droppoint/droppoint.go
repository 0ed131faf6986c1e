// Package droppoint hands messages over: to SMTP servers, and to drop directories. Each has a name, by which mailings know it, and a URL,
// which only workers know.
//
//	smtp://user:password@host:587?connections=8&messages=1000&tls=required&next_behind_dot=true&hello=mail.example.com&ca=/etc/ca.pem
//	smtps://user:password@host:465
//	dir:/var/spool/drop?connections=8
//
// Parameters, all optional:
//
//	connections      at most, from one worker, over all its batches and mailings (8). A message waits for the ledger between its body and
//	                 its dot, so more connections mean more throughput: 8 keep within what relays allow one host as they come, 32
//	                 are worth having where the server is one's own
//	messages         over one connection (1000); 0 for no limit
//	tls              opportunistic, required (what it is when there is a password) or none; certificates are always verified
//	ca               PEM file of the authorities to trust, instead of the system's
//	hello            our name in EHLO (the host's)
//	auth             xoauth2: the password is an access token. Otherwise the strongest mechanism that the server offers
//	idempotency      name of a header field that is put before each message, and holds a key that every attempt at a recipient has the
//	                 same: for relays that refuse or swallow what they have had already
//	next_behind_dot  true: the next envelope goes out with the final dot, which saves a round trip. Not for Postfix, which holds the
//	                 dot's answer back meanwhile
//
// Either is used through lanes. A message goes over a lane in two steps: Begin does all but the final step, Finish takes it. The final
// step is the dot of RFC 5321, or the rename that makes a file visible. Before Finish a message is certainly not handed over.
//
// A drop directory gets a file for each message, `<name>.eml`, whose name is a function of mailing and recipient: delivered again, it
// replaces itself. Its first lines are the envelope, as in the pickup directory of Microsoft's SMTP service:
//
//	X-Sender: <bounces@example.com>
//	X-Receiver: <somebody@example.org>
//
// and then follows the message. Files are written aside under names with a dot in front
// (.dm-*.part), synced, and renamed. They are readable by owner and group: a service that picks
// them up as another user needs the directory's group (chmod g+s). After the rename the directory
// is synced. Where a file server's answer to the rename is lost, the message is uncertain, unless
// the file is found under its final name.
package droppoint

import (
	"context"
	"errors"
	"slices"
	"time"

	"directmailer/internal/delivery/smtp"
)

// Message is one rendered message and its envelope.
type Message struct {
	From, To string
	Name     string // stem of its file in a drop directory
	Data     []byte
	UTF8     bool   // needs SMTPUTF8
	Key      string // the same for every attempt: what an idempotency header holds
}

// Answer is what a drop point says of a message.
type Answer struct {
	Code     int    // SMTP reply code; 0 for a directory
	Enhanced string // enhanced status code; may be empty
	Text     string // the server's words, which may hold addresses: for the ledger only
}

// Lane carries messages to a drop point, one after the other. It is for one goroutine.
type Lane interface {
	// Begin does all but the final step. After an error the message is certainly not handed over. The end of ctx interrupts it.
	Begin(ctx context.Context, m *Message) error
	// Finish takes the final step and waits for the answer, for as long as the drop point's own patience lasts. next, if not nil, is
	// the message that will begin next.
	Finish(next *Message) (Answer, error)
	// Announces tells whether Finish makes use of next.
	Announces() bool
	// Release gives the lane back; Abort gives it back broken, and abandons a message that has begun.
	Release()
	Abort()
}

// Outcome is what an error of a drop point means for the message.
type Outcome = smtp.Class

// The outcomes.
const (
	Unavailable = smtp.Connection // the drop point cannot be used; certainly not handed over
	Bounced     = smtp.Bounced
	Deferred    = smtp.Deferred
	Refused     = smtp.Refused // the drop point refuses us
	Uncertain   = smtp.Uncertain
)

// OutcomeOf says what an error of Acquire, Begin or Finish means.
func OutcomeOf(err error) Outcome { return smtp.Classify(err) }

// AnswerOf returns the server's answer that an error holds; empty when it holds none.
func AnswerOf(err error) Answer {
	var r *smtp.Refusal
	if errors.As(err, &r) {
		return answer(r.Reply)
	}
	return Answer{}
}

func answer(r smtp.Reply) Answer {
	return Answer{Code: r.Code, Enhanced: r.Enhanced.String(), Text: r.Text}
}

// Health is the result of a check.
type Health struct {
	Took time.Duration
	Err  error // nil: usable
}

// transport is the way to one kind of drop point.
type transport interface {
	// open makes a lane's connection.
	open(ctx context.Context) (connection, error)
}

// connection is what a lane works on.
type connection interface {
	begin(ctx context.Context, m *Message) error
	finish(next *Message) (Answer, error)
	announces() bool
	alive() bool
	used() int // messages begun
	close()    // politely
	abort()
}

// Set holds a worker's drop points by name.
type Set struct {
	points map[string]*Point
	names  []string
}

// NewSet returns the drop points of the configurations. Nothing is connected yet.
func NewSet(configs []Config) *Set {
	s := &Set{points: map[string]*Point{}}
	for _, c := range configs {
		s.points[c.Name] = newPoint(c)
		s.names = append(s.names, c.Name)
	}
	slices.Sort(s.names)
	return s
}

// Names returns the names in order.
func (s *Set) Names() []string { return slices.Clone(s.names) }

// Has tells whether there is a drop point of the name.
func (s *Set) Has(name string) bool { return s.points[name] != nil }

// Get returns the drop point of the name.
func (s *Set) Get(name string) (*Point, bool) {
	p, ok := s.points[name]
	return p, ok
}

// Close closes idle connections, and those in use as soon as they are given back.
func (s *Set) Close() {
	for _, p := range s.points {
		p.shut()
	}
}
