package events

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/database"
	"directmailer/internal/delivery/smtp"
	"directmailer/internal/feedback/token"
	"directmailer/internal/foreign"
)

//go:embed sql/*.sql
var files embed.FS

var (
	statement      = database.Statements(files)
	lockMailings   = statement("lock")
	readRecipients = statement("recipients")
	insertEvent    = statement("insert")
	addCounts      = statement("count")
)

// Store reads and writes events. It is safe for concurrent use.
type Store struct{ pool *pgxpool.Pool }

// New returns a Store on pool.
func New(pool *pgxpool.Pool) *Store { return &Store{pool} }

// Recorded says what became of the events of one call.
type Recorded struct {
	New      int // written
	Known    int // there already: their report was read before
	Unknown  int // about recipients that the database does not have
	Overfull int // not written: their recipients have too many
}

// Record is the function Record in a transaction of its own.
func (s *Store) Record(ctx context.Context, all ...Event) (r Recorded, err error) {
	err = pgx.BeginTxFunc(ctx, s.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		r, err = Record(ctx, tx, all...)
		return err
	})
	return r, err
}

// Record writes events and what follows from them, as one step of the caller's transaction. Events
// that are there already change nothing.
func Record(ctx context.Context, tx pgx.Tx, all ...Event) (Recorded, error) {
	var r Recorded
	if len(all) == 0 {
		return r, nil
	}
	known, err := lock(ctx, tx, all)
	if err != nil {
		return r, err
	}
	var fresh, surplus []recorded
	for i := range all {
		e := &all[i]
		at, ok := known[e.Recipient]
		if !ok {
			r.Unknown++
			continue
		}
		written := recorded{Event: e, recipient: at}
		if at.Events >= e.Class.most() {
			r.Overfull++
			if e.Class.isRequest() {
				surplus = append(surplus, written)
			}
			continue
		}
		inserted, err := written.insert(ctx, tx)
		if err != nil {
			return r, fmt.Errorf("write an event: %w", err)
		}
		if !inserted {
			r.Known++
			continue
		}
		r.New++
		at.Events++
		fresh = append(fresh, written)
	}
	if err := count(ctx, tx, fresh); err != nil {
		return r, err
	}
	return r, act(ctx, tx, append(fresh, surplus...))
}

// recorded is an event that was written.
type recorded struct {
	*Event
	*recipient
	first bool      // the recipient had no event of the class before
	at    time.Time // as it is written; zero: it is not written, and is of now
}

// recipient is what the database knows of a recipient.
type recipient struct {
	Mailing       int64
	Number        int32
	Address       string
	AddressKey    string
	ID            string // of the mailing
	Topic         string
	MailingOrigin string
	Events        int
}

// lock locks the mailings of the events, and reads their recipients. Whoever writes events of
// several mailings locks them in the same order.
func lock(ctx context.Context, tx pgx.Tx, all []Event) (map[token.Recipient]*recipient, error) {
	wanted := map[token.Recipient]bool{}
	mailings := map[int64]bool{}
	var keys []int64
	var numbers []int32
	for _, e := range all {
		number := int32(e.Recipient.Number)
		if wanted[e.Recipient] || int(number) != e.Recipient.Number {
			continue
		}
		wanted[e.Recipient], mailings[e.Recipient.Mailing] = true, true
		keys, numbers = append(keys, e.Recipient.Mailing), append(numbers, number)
	}
	_, err := tx.Exec(ctx, lockMailings, pgx.NamedArgs{"mailings": slices.Sorted(maps.Keys(mailings))})
	if err != nil {
		return nil, fmt.Errorf("lock the events of a mailing: %w", err)
	}
	rows, err := tx.Query(ctx, readRecipients, pgx.NamedArgs{"mailings": keys, "numbers": numbers})
	if err == nil {
		var found []*recipient
		if found, err = pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[recipient]); err == nil {
			known := map[token.Recipient]*recipient{}
			for _, r := range found {
				known[token.Recipient{Mailing: r.Mailing, Number: int(r.Number)}] = r
			}
			return known, nil
		}
	}
	return nil, fmt.Errorf("read the recipients of events: %w", err)
}

// insert writes the event, unless it is there already.
func (e *recorded) insert(ctx context.Context, tx pgx.Tx) (inserted bool, err error) {
	args := pgx.NamedArgs{
		"mailing": e.Mailing, "recipient": e.Number, "kind": e.Class.kind(), "class": string(e.Class),
		"enhanced": enhancedCode(e.Enhanced), "diagnostic": diagnostic(e.Diagnostic, e.Address),
		"origin": string(e.Origin), "identity": e.identity(), "at": nil,
	}
	if !e.At.IsZero() {
		args["at"] = e.At
	}
	err = tx.QueryRow(ctx, insertEvent, args).Scan(&e.first, &e.at)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

var enhancedForm = regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}$`)

// enhancedCode returns an enhanced status code, or nothing for a text that is none.
func enhancedCode(s string) string {
	if !enhancedForm.MatchString(s) {
		return ""
	}
	return s
}

// diagnostic returns the beginning of a text without what may be an address.
func diagnostic(text, recipient string) string {
	const most = 4096 // octets that are looked at
	return smtp.Quote(smtp.Words(foreign.Clean(foreign.Cut(text, most)), recipient))
}

// count adds the recipients with a first event of a class to the counts of their mailings.
func count(ctx context.Context, tx pgx.Tx, fresh []recorded) error {
	counts := map[int64]map[Class]int64{}
	for _, e := range fresh {
		if !e.first {
			continue
		}
		if counts[e.Recipient.Mailing] == nil {
			counts[e.Recipient.Mailing] = map[Class]int64{}
		}
		counts[e.Recipient.Mailing][e.Class]++
	}
	for _, mailing := range slices.Sorted(maps.Keys(counts)) {
		args := pgx.NamedArgs{"mailing": mailing}
		for _, c := range Classes() {
			args[string(c)] = counts[mailing][c]
		}
		if _, err := tx.Exec(ctx, addCounts, args); err != nil {
			return fmt.Errorf("count the events of a mailing: %w", err)
		}
	}
	return nil
}
