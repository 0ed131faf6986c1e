// Package recipients freezes an audience: the members of a list, the answer of a query, or what an
// earlier mailing has left become the recipients of a mailing, one for each address. It is the only
// writer of the tables recipients and test_recipients.
//
// A freeze is one transaction. It also opens the batches (package ledger) and writes down in the
// mailing's row what became of the audience (package mailings).
package recipients

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/audience/field"
	"directmailer/internal/database"
)

var (
	// ErrEnded says that the mailing has ended before its audience was frozen.
	ErrEnded = errors.New("the mailing has ended")
	// ErrNoList says that the list to be frozen does not exist.
	ErrNoList = errors.New("no such list")
	// ErrEmptyList says that the list to be frozen has no members.
	ErrEmptyList = errors.New("the list is empty")
	// ErrNoEarlier says that the mailing to be continued does not exist.
	ErrNoEarlier = errors.New("the mailing to be continued does not exist")
	// ErrNotEnded says that the mailing to be continued has not ended.
	ErrNotEnded = errors.New("the mailing to be continued has not ended")
	// ErrNobodyLeft says that the mailing to be continued has no recipient with one of the
	// outcomes.
	ErrNobodyLeft = errors.New("nobody has one of the outcomes")
)

// Store freezes audiences and reads recipients. It is safe for concurrent use.
type Store struct{ pool *pgxpool.Pool }

// New returns a Store on pool.
func New(pool *pgxpool.Pool) *Store { return &Store{pool} }

// Recipient is one frozen member.
type Recipient struct {
	Number     int32
	Address    string
	Attributes field.Values
}

// Range calls each for every recipient of the mailing numbered first to last, in order. Attributes
// is a new map each time. The error of each ends the call and is returned.
func (s *Store) Range(ctx context.Context, mailing int64, first, last int32, each func(Recipient) error) error {
	return s.read(ctx, each, `number BETWEEN $2 AND $3`, mailing, first, last)
}

// Numbered calls each for every recipient of the mailing that has one of the numbers, as
// [Store.Range] does.
func (s *Store) Numbered(ctx context.Context, mailing int64, numbers []int32, each func(Recipient) error) error {
	return s.read(ctx, each, `number = ANY($2)`, mailing, numbers)
}

func (s *Store) read(ctx context.Context, each func(Recipient) error, which string, args ...any) error {
	rows, err := s.pool.Query(ctx,
		`SELECT number, address, attributes FROM recipients WHERE mailing = $1 AND `+which+` ORDER BY number`, args...)
	if err != nil {
		return fmt.Errorf("read recipients: %w", err)
	}
	var r Recipient
	var attributes string
	_, err = pgx.ForEachRow(rows, []any{&r.Number, &r.Address, &attributes}, func() (err error) {
		if r.Attributes, err = field.Read(attributes); err != nil {
			return err
		}
		return each(r)
	})
	if err != nil {
		return fmt.Errorf("read recipients: %w", err)
	}
	return nil
}

// Columns returns the names of the attributes that the mailing's recipients have, in the order of
// the alphabet. The first recipient has those of all.
func (s *Store) Columns(ctx context.Context, mailing int64) ([]string, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT jsonb_object_keys(attributes)
		FROM (SELECT attributes FROM recipients WHERE mailing = $1 ORDER BY number LIMIT 1) first ORDER BY 1`, mailing)
	if err != nil {
		return nil, fmt.Errorf("read a recipient: %w", err)
	}
	columns, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read a recipient: %w", err)
	}
	return columns, nil
}

// Known returns those of the addresses, given by their keys, that a mailing has among its
// recipients.
func (s *Store) Known(ctx context.Context, keys []string) ([]string, error) {
	var found []string
	read := func(rows pgx.Rows) (err error) {
		found, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	}
	err := database.Read(ctx, s.pool, read, `
		SELECT DISTINCT r.address_key FROM mailings m
		JOIN recipients r ON r.mailing = m.key AND r.address_key = ANY($1)`, keys)
	if err != nil {
		return nil, fmt.Errorf("find addresses in the mailings: %w", err)
	}
	return found, nil
}
