// Package mailings keeps one row for each mailing: what it is, how far it is and how it ended. It
// is the only writer of the tables mailings, queries and seal_key.
//
// Methods of [Store] use a transaction of their own. The functions that take a transaction change
// the row as one step of their caller's: package recipients freezes an audience, package ledger
// gathers batches, resolves recipients and ends the mailing.
package mailings

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/audience/member"
	"directmailer/internal/audience/optouts"
	"directmailer/internal/counts"
	"directmailer/internal/database"
	"directmailer/internal/feedback"
)

var (
	// ErrExists says that the ID belongs to another start, now or long ago.
	ErrExists = errors.New("the mailing exists already")
	// ErrNotFound says that no mailing has the ID or the key.
	ErrNotFound = errors.New("no such mailing")
	// ErrStarting says that another command is starting a mailing with the ID.
	ErrStarting = errors.New("another command is starting the mailing")
)

// Store reads and writes mailings. It is safe for concurrent use.
type Store struct{ pool *pgxpool.Pool }

// New returns a Store on pool.
func New(pool *pgxpool.Pool) *Store { return &Store{pool} }

// Mailing is a row of the table mailings.
type Mailing struct {
	Key         int64           `db:"key"` // internal: what other tables refer to
	ID          string          `db:"id"`
	FirstRunID  string          `db:"first_run_id"`
	Namespace   string          `db:"namespace"` // Temporal's; "" if an earlier version opened the mailing
	Input       json.RawMessage `db:"input"`     // as the workflow was given it, with defaults
	List        string          `db:"list"`      // its name, "query:SOURCE" or "continue:ID"
	Origin      string          `db:"origin"`    // the same, of the first of the mailings that it continues
	State       string          `db:"state"`
	Reason      string          `db:"reason"`
	Members     int64           `db:"members"`
	Duplicates  int64           `db:"duplicates"`
	Recipients  int64           `db:"recipients"`
	Mailable    int64           `db:"mailable"` // recipients in batches
	Batches     int             `db:"batches"`
	Rejected    int64           `db:"rejected"`    // rows of the query that could not be used
	Rejects     []member.Reject `db:"rejects"`     // the first of them
	Counts      *counts.Counts  `db:"counts"`      // nil until the ledger is closed
	Suppression *Suppression    `db:"suppression"` // nil until the ledger is closed
	CreatedAt   time.Time       `db:"created_at"`
	PreparedAt  *time.Time      `db:"prepared_at"`
	ClosedAt    *time.Time      `db:"closed_at"`
	Ending      bool            `db:"ending"` // its ledger is being closed before it is complete
	Test        bool            `db:"test"`   // it is one of `starter test`
	Marks       feedback.Marks  `db:"marks"`  // what its messages name of the settings of its opening
	// Topic is the input's, or that of the mailing that it continues, or "".
	Topic string `db:"topic"`
	// IgnoreOptOuts are the scopes that the input ignores: all, list, topic. OptOutScopes are the
	// scopes of the requests that the mailing respects: all, list:NAME, topic:NAME.
	IgnoreOptOuts []string `db:"ignore_opt_outs"`
	OptOutScopes  []string `db:"opt_out_scopes"`
	// SignedWith are the names of the keys that workers sign with, and Unsigned if one has no key. It
	// is empty until a worker renders.
	SignedWith []string `db:"signed_with"`
}

// columns are those of a Mailing.
const columns = `key, id, first_run_id, namespace, input, list, origin, state, reason, members, duplicates,
	recipients, mailable, batches, rejected, rejects, counts, suppression, created_at, prepared_at, closed_at, ending,
	topic, ignore_opt_outs, opt_out_scopes, signed_with, marks, test`

// Frozen says what became of the mailing's audience when it was frozen.
func (m *Mailing) Frozen() Frozen {
	return Frozen{
		Members: m.Members, Duplicates: m.Duplicates, Recipients: m.Recipients,
		OptedOut: m.Recipients - m.Mailable, Batches: m.Batches, Rejected: m.Rejected, Rejects: m.Rejects,
	}
}

// Starting calls start while no other command that uses Starting starts a mailing with the ID.
// If one does for longer than a few seconds, it returns ErrStarting. Of two commands with different
// files, the one that is refused must not replace the list of the one that starts the mailing.
//
// start calls alone before a step that another command must not meet. An error of alone says that
// the database has lost the lock: another command may start the mailing, too.
func (s *Store) Starting(ctx context.Context, id string, start func(alone func() error) error) error {
	tx, err := s.pool.BeginTx(ctx, database.Holding)
	if err != nil {
		return fmt.Errorf("lock the mailing's ID: %w", err)
	}
	defer func() { _ = tx.Rollback(ctx) }() // it has changed nothing
	// The server needs a moment to notice that a command was killed.
	_, err = tx.Exec(ctx, `SET LOCAL lock_timeout = '3s'`)
	if err == nil {
		_, err = tx.Exec(ctx, `
			SELECT pg_advisory_xact_lock(hashtextextended('start of the mailing ' || $1::text, 0))`, id)
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "55P03" { // lock_not_available
		return ErrStarting
	}
	if err != nil {
		return fmt.Errorf("lock the mailing's ID: %w", err)
	}
	return start(func() error {
		if _, err := tx.Exec(ctx, `SELECT`); err != nil {
			return fmt.Errorf("keep the mailing's ID locked: %w", err)
		}
		return nil
	})
}

// Reserve makes the ID belong to the workflow chain of firstRunID for ever. It returns ErrExists
// when the ID belongs to another chain. The same owner may reserve again: nothing changes. Reserve
// writes down the Temporal namespace of the workflow, and which requests not to be mailed hold for
// the mailing (see [Store.ScopeOf]).
func (s *Store) Reserve(
	ctx context.Context, id, firstRunID, list string, input json.RawMessage, marks feedback.Marks, namespace string,
) error {
	kept, err := database.JSON(marks)
	if err != nil {
		return err
	}
	var owner string
	err = pgx.BeginTxFunc(ctx, s.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		scope, err := scopeOfInput(ctx, tx, list, input)
		if err != nil {
			return err
		}
		return tx.QueryRow(ctx, `
			WITH added AS (
				INSERT INTO mailings (id, first_run_id, namespace, list, origin, input, marks, state,
					topic, ignore_opt_outs, opt_out_scopes)
				VALUES (@id, @first_run_id, @namespace, @list, @origin, @input, @marks, 'preparing',
					@topic, @ignore, @scopes)
				ON CONFLICT (id) DO NOTHING RETURNING first_run_id)
			SELECT first_run_id FROM added UNION ALL SELECT first_run_id FROM mailings WHERE id = @id LIMIT 1`,
			pgx.NamedArgs{
				"id": id, "first_run_id": firstRunID, "namespace": namespace, "list": list,
				"input": string(input), "marks": kept,
				"origin": scope.Origin, "topic": scope.Topic, "ignore": scope.Ignore,
				"scopes": optouts.Texts(scope.Respected()),
			}).Scan(&owner)
	})
	if errors.Is(err, pgx.ErrNoRows) { // another start committed the ID between the two halves of the statement
		return s.Reserve(ctx, id, firstRunID, list, input, marks, namespace)
	}
	if err != nil {
		return fmt.Errorf("reserve the mailing's ID: %w", err)
	}
	if owner != firstRunID {
		return ErrExists
	}
	return nil
}

// Get returns the mailing with the ID, or ErrNotFound.
func (s *Store) Get(ctx context.Context, id string) (Mailing, error) {
	m, err := one(ctx, s.pool, `WHERE id = $1`, id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return m, fmt.Errorf("read the mailing: %w", err)
	}
	return m, err
}

// Latest returns the newest mailings, at most limit, newest first, without their inputs. With tests
// it returns those that are tests, and else the others.
func (s *Store) Latest(ctx context.Context, limit int, tests bool) ([]Mailing, error) {
	all, err := s.read(ctx, `WHERE test = $2 ORDER BY key DESC LIMIT $1`, limit, tests)
	for i := range all {
		all[i].Input = nil
	}
	return all, err
}

// Open returns those of the mailings with the keys whose ledger is not closed.
func (s *Store) Open(ctx context.Context, keys []int64) ([]Mailing, error) {
	return s.read(ctx, `WHERE key = ANY($1) AND closed_at IS NULL`, keys)
}

// ByAudience returns the mailings whose List is audience, oldest first.
func (s *Store) ByAudience(ctx context.Context, audience string) ([]Mailing, error) {
	return s.read(ctx, `WHERE list = $1 ORDER BY key`, audience)
}

func (s *Store) read(ctx context.Context, which string, args ...any) ([]Mailing, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+columns+` FROM mailings `+which, args...)
	if err == nil {
		var all []Mailing
		if all, err = pgx.CollectRows(rows, pgx.RowToStructByName[Mailing]); err == nil {
			return all, nil
		}
	}
	return nil, fmt.Errorf("read the mailings: %w", err)
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// one reads the one mailing that the clause selects, or returns ErrNotFound.
func one(ctx context.Context, db querier, which string, args ...any) (Mailing, error) {
	rows, err := db.Query(ctx, `SELECT `+columns+` FROM mailings `+which, args...)
	if err != nil {
		return Mailing{}, err
	}
	m, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Mailing])
	if errors.Is(err, pgx.ErrNoRows) {
		return m, ErrNotFound
	}
	return m, err
}
