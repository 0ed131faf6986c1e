// Package intake takes over a message that came back, whichever way it came: it reads the message,
// finds the recipients of ours that it is about, and has package events record what it says of
// them. All that follows from one message is one transaction.
package intake

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/database"
	"directmailer/internal/feedback"
	"directmailer/internal/feedback/events"
	"directmailer/internal/feedback/report"
	"directmailer/internal/feedback/token"
)

// Message is a message that came back.
type Message struct {
	// Named are the recipients of ours that the addresses name to which the message was sent, as
	// far as its way in knows them. If there are none, the message itself is searched for them.
	Named  []feedback.Named
	Data   []byte // its beginning
	Size   int64  // of the whole message
	Origin events.Origin
	At     time.Time // when it arrived; zero: now
	// LacksKey says that a key is missing here with which tokens of ours are signed.
	LacksKey bool
}

// Taken says what became of a message.
type Taken struct {
	events.Recorded
	// Report is what the message says.
	Report *report.Report
	// Named is the number of recipients of ours that the message is about. A message about none of
	// ours does nothing.
	Named int
	Kept  int // recipients about whom nobody could read what it says
	// Later says that the message may be about another recipient of ours, whose token is signed with
	// a key that is missing here. It has to be taken over again by a process with the key.
	Later bool
}

// Intake takes messages over. It is safe for concurrent use.
type Intake struct {
	pool   *pgxpool.Pool
	reader report.Reader
}

// New returns an Intake that verifies tokens with the keys.
func New(pool *pgxpool.Pool, keys token.Keys) *Intake {
	return &Intake{pool, report.Reader{Keys: keys}}
}

// Take takes a message over. When it returns nil, all that follows from it is committed. Also takes
// part in the transaction, unless it is nil.
func (i *Intake) Take(
	ctx context.Context, m Message, also func(context.Context, pgx.Tx, Taken) error,
) (t Taken, err error) {
	t.Report = i.reader.Read(m.Data)
	if len(m.Named) == 0 {
		m.Named = named(t.Report)
		t.Later = m.LacksKey && t.Report.Unverified
	}
	m.Named = distinct(m.Named)
	t.Named = len(m.Named)
	if len(m.Named) == 0 && also == nil {
		return t, nil
	}
	err = pgx.BeginTxFunc(ctx, i.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		if err := m.record(ctx, tx, &t); err != nil || also == nil {
			return err
		}
		return also(ctx, tx, t)
	})
	return t, err
}

// record writes what the message says of each recipient.
func (m *Message) record(ctx context.Context, tx pgx.Tx, t *Taken) error {
	r, at := t.Report, m.At
	if m.Origin == events.Import { // a file does not say when the message arrived
		at = r.At
	}
	var known, unread []events.Event
	for _, n := range m.Named {
		e := events.Event{Recipient: n.Recipient, Origin: m.Origin, At: at, ReportID: r.ID}
		address := ""
		if len(r.Findings) > 1 {
			var err error
			if address, err = events.AddressOf(ctx, tx, n.Recipient); err != nil {
				return err
			}
		}
		f := r.About(address)
		var ok bool
		e.Enhanced, e.Diagnostic = f.Enhanced, f.Diagnostic
		if e.Class, ok = classes[f.Class]; n.Kind == token.Unsubscribe {
			if ok = !r.Answer; ok {
				e.Class, e.Enhanced, e.Diagnostic = events.Unsubscribe, "", ""
			}
		}
		if ok {
			known = append(known, e)
		} else {
			unread = append(unread, e)
		}
	}
	var err error
	if t.Recorded, err = events.Record(ctx, tx, known...); err != nil {
		return err
	}
	t.Kept = len(unread)
	for _, e := range unread {
		if err := events.Keep(ctx, tx, e, m.Data, m.Size); err != nil {
			return err
		}
	}
	return nil
}

var classes = map[report.Class]events.Class{
	report.Hard: events.Hard, report.Soft: events.Soft, report.Complaint: events.Complaint,
	report.Automatic: events.Automatic, report.Delayed: events.Delayed, report.Delivered: events.Delivered,
}

// named returns the recipients of ours that a message names whose envelope is not known: those of
// its own address, or else all that stand in it.
func named(r *report.Report) (all []feedback.Named) {
	if len(r.Addressed) > 0 {
		return r.Addressed
	}
	for _, t := range r.Tokens {
		all = append(all, feedback.Named{Recipient: t, Kind: token.Bounce})
	}
	return all
}

// distinct returns each of the recipients once. Somebody whose address was named for both does
// unsubscribe.
func distinct(all []feedback.Named) (out []feedback.Named) {
	for _, n := range all {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}
