package optouts

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/database"
)

// Store reads and writes requests and suppressions. It is safe for concurrent use.
type Store struct{ pool *pgxpool.Pool }

// New returns a Store on pool.
func New(pool *pgxpool.Pool) *Store { return &Store{pool} }

// Exclusion is a request or a suppression, as commands show it.
type Exclusion struct {
	Address string     `json:"address"` // the key: lower case, or a whole domain behind an @
	Scope   string     `json:"scope"`   // "all" for a suppression
	Reason  string     `json:"reason"`  // "bounced" for a suppression
	AddedAt time.Time  `json:"added_at"`
	Mailing string     `json:"mailing,omitempty"`
	Class   string     `json:"class,omitempty"` // of a suppression
	Code    string     `json:"code,omitempty"`
	Count   int        `json:"count,omitempty"`
	LastAt  *time.Time `json:"last_at,omitempty"`
	Expires *time.Time `json:"expires_at,omitempty"`
}

// Bounced is the reason of a suppression.
const Bounced = "bounced"

// Add is the function [Add] in a transaction of its own.
func (s *Store) Add(ctx context.Context, requests []Request) (n int64, err error) {
	return s.change(ctx, func(tx pgx.Tx) (int64, error) { return Add(ctx, tx, requests) })
}

// Remove is the function [Remove] in a transaction of its own.
func (s *Store) Remove(ctx context.Context, like []Request) (n int64, err error) {
	return s.change(ctx, func(tx pgx.Tx) (int64, error) { return Remove(ctx, tx, like) })
}

// Lift is the function [Lift] in a transaction of its own.
func (s *Store) Lift(ctx context.Context, keys []string) (n int64, err error) {
	return s.change(ctx, func(tx pgx.Tx) (int64, error) { return Lift(ctx, tx, keys) })
}

// RemoveAll takes back, for a person or an operator, all requests of the addresses, and lifts their
// suppressions. It returns how many of the addresses had any.
func (s *Store) RemoveAll(ctx context.Context, keys []string) (n int64, err error) {
	err = pgx.BeginTxFunc(ctx, s.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, removeAll, pgx.NamedArgs{"keys": keys}).Scan(&n)
	})
	if err != nil {
		return 0, fmt.Errorf("remove opt-outs: %w", err)
	}
	return n, nil
}

// LiftMailing ends the suppressions that come from the mailing, and returns how many there were.
// Requests stay.
func (s *Store) LiftMailing(ctx context.Context, mailing string) (n int64, err error) {
	return s.change(ctx, func(tx pgx.Tx) (int64, error) {
		tag, err := tx.Exec(ctx, `DELETE FROM suppressions WHERE mailing = $1`, mailing)
		if err != nil {
			return 0, fmt.Errorf("remove the suppressions of a mailing: %w", err)
		}
		return tag.RowsAffected(), nil
	})
}

func (s *Store) change(ctx context.Context, do func(pgx.Tx) (int64, error)) (n int64, err error) {
	err = pgx.BeginTxFunc(ctx, s.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		n, err = do(tx)
		return err
	})
	return n, err
}

var (
	removeAll    = statement("remove_all")
	readAll      = statement("all")
	readExcluded = statement("excluded")
)

// All calls each for every request and every suppression in force, in the order of addresses, while
// it reads.
func (s *Store) All(ctx context.Context, each func(Exclusion) error) error {
	read := func(rows pgx.Rows) error {
		for rows.Next() {
			e, err := pgx.RowToStructByPos[Exclusion](rows)
			if err == nil {
				err = each(e)
			}
			if err != nil {
				return err
			}
		}
		return rows.Err()
	}
	if err := database.Read(ctx, s.pool, read, readAll); err != nil {
		return fmt.Errorf("read the opt-outs: %w", err)
	}
	return nil
}

// Excluded returns those of the addresses, given by their keys, that a mailing which respects
// requests of the scopes leaves out.
func (s *Store) Excluded(ctx context.Context, keys []string, scopes []Scope) ([]string, error) {
	rows, err := s.pool.Query(ctx, readExcluded, pgx.NamedArgs{"keys": keys, "scopes": Texts(scopes)})
	if err != nil {
		return nil, fmt.Errorf("read the opt-outs: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read the opt-outs: %w", err)
	}
	return found, nil
}

// Texts returns scopes as the column mailings.opt_out_scopes has them.
func Texts(scopes []Scope) []string {
	texts := make([]string, len(scopes))
	for i, s := range scopes {
		texts[i] = string(s)
	}
	return texts
}
