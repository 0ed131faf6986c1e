// Package mailings keeps what a mailing is and to whom it goes: it reserves IDs, and freezes lists, answers of queries, or what an
// earlier mailing has left, into recipients and batches.
//
// What became of each recipient is the job of package ledger.
package mailings

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/audience/lists"
	"directmailer/internal/database"
)

var (
	// ErrExists says that the ID belongs to another start, now or long ago.
	ErrExists = errors.New("the mailing exists already")
	// ErrNotFound says that no mailing has the ID.
	ErrNotFound = errors.New("no such mailing")
	// ErrEnded says that the mailing has ended before its list was frozen.
	ErrEnded = errors.New("the mailing has ended")
	// ErrNoList says that the list to be frozen does not exist.
	ErrNoList = errors.New("no such list")
	// ErrEmptyList says that the list to be frozen has no members.
	ErrEmptyList = errors.New("the list is empty")
	// ErrNoEarlier says that the mailing to be continued does not exist.
	ErrNoEarlier = errors.New("the mailing to be continued does not exist")
	// ErrNotEnded says that the mailing to be continued has not ended.
	ErrNotEnded = errors.New("the mailing to be continued has not ended")
	// ErrNobodyLeft says that the mailing to be continued has no recipient with one of the outcomes.
	ErrNobodyLeft = errors.New("nobody has one of the outcomes")
)

// Store reads and writes mailings.
type Store struct{ pool *pgxpool.Pool }

// New returns a Store on pool.
func New(pool *pgxpool.Pool) *Store { return &Store{pool} }

// Mailing is a row of the table mailings.
type Mailing struct {
	Key        int64 // internal: what other tables refer to
	ID         string
	FirstRunID string
	Input      json.RawMessage // as the workflow was given it, with defaults
	List       string          // its name, "query:SOURCE" or "continue:ID"
	State      string
	Reason     string
	Members    int64
	Duplicates int64
	Recipients int64
	Mailable   int64 // recipients in batches
	Batches    int
	Rejected   int64           // rows of the query that could not be used
	Rejects    []lists.Reject  // the first of them
	Counts     json.RawMessage // nil until the ledger is closed
	CreatedAt  time.Time
	PreparedAt *time.Time
	ClosedAt   *time.Time
	Ending     bool // its ledger is being closed before it is complete
}

// Reserve makes the ID belong to the workflow chain of firstRunID for ever; ErrExists when it belongs to another.
// The same owner may reserve again: nothing changes.
func (s *Store) Reserve(ctx context.Context, id, firstRunID, list string, input json.RawMessage) error {
	var owner string
	err := pgx.BeginTxFunc(ctx, s.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `
			WITH added AS (
				INSERT INTO mailings (id, first_run_id, list, input, state) VALUES ($1, $2, $3, $4, 'preparing')
				ON CONFLICT (id) DO NOTHING RETURNING first_run_id)
			SELECT first_run_id FROM added UNION ALL SELECT first_run_id FROM mailings WHERE id = $1 LIMIT 1`,
			id, firstRunID, list, input).Scan(&owner)
	})
	if errors.Is(err, pgx.ErrNoRows) { // another start committed it between the two halves of the statement
		return s.Reserve(ctx, id, firstRunID, list, input)
	}
	if err != nil {
		return fmt.Errorf("reserve the mailing's ID: %w", err)
	}
	if owner != firstRunID {
		return ErrExists
	}
	return nil
}

const columns = `key, id, first_run_id, input, list, state, reason, members, duplicates, recipients, mailable, batches, rejected, rejects, counts, created_at, prepared_at, closed_at, ending`

func (m *Mailing) fields() []any {
	return []any{&m.Key, &m.ID, &m.FirstRunID, &m.Input, &m.List, &m.State, &m.Reason, &m.Members, &m.Duplicates, &m.Recipients,
		&m.Mailable, &m.Batches, &m.Rejected, &m.Rejects, &m.Counts, &m.CreatedAt, &m.PreparedAt, &m.ClosedAt, &m.Ending}
}

// Frozen says what became of the mailing's list when it was prepared.
func (m *Mailing) Frozen() Frozen {
	return Frozen{Members: m.Members, Duplicates: m.Duplicates, Recipients: m.Recipients, OptedOut: m.Recipients - m.Mailable, Batches: m.Batches,
		Rejected: m.Rejected, Rejects: m.Rejects}
}

// Get returns the mailing with the ID, or ErrNotFound.
func (s *Store) Get(ctx context.Context, id string) (Mailing, error) {
	var m Mailing
	err := s.pool.QueryRow(ctx, `SELECT `+columns+` FROM mailings WHERE id = $1`, id).Scan(m.fields()...)
	if errors.Is(err, pgx.ErrNoRows) {
		return m, ErrNotFound
	}
	if err != nil {
		return m, fmt.Errorf("read the mailing: %w", err)
	}
	return m, nil
}

// Latest returns the newest mailings, at most limit, newest first, without their inputs.
func (s *Store) Latest(ctx context.Context, limit int) ([]Mailing, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+columns+` FROM mailings ORDER BY key DESC LIMIT $1`, limit)
	if err != nil {
		return nil, fmt.Errorf("read the mailings: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Mailing, error) {
		var m Mailing
		err := row.Scan(m.fields()...)
		m.Input = nil
		return m, err
	})
}
