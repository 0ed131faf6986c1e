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

// Removed says what RemoveAll has removed.
type Removed struct {
	Addresses int64 // that had a request or a suppression
	Asked     int64 // those of them who had asked not to be mailed, or complained
}

// RemoveAll takes back, for a person or an operator, the requests of the addresses, and lifts their
// suppressions. An empty scope or reason stands for any; the scope of a suppression is All, and its
// reason is Bounced.
func (s *Store) RemoveAll(ctx context.Context, keys []string, scope Scope, reason Reason) (r Removed, err error) {
	args := pgx.NamedArgs{"keys": keys, "scope": string(scope), "reason": string(reason)}
	err = pgx.BeginTxFunc(ctx, s.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, removeAll, args).Scan(&r.Addresses, &r.Asked)
	})
	if err != nil {
		return Removed{}, fmt.Errorf("remove opt-outs: %w", err)
	}
	return r, nil
}

// Import adds requests and suppressions that All has returned, there or elsewhere, and returns how
// many were new. What is there already stays as it is.
func (s *Store) Import(ctx context.Context, all []Exclusion) (n int64, err error) {
	var requests []Request
	var suppressed []Exclusion
	for _, e := range all {
		if e.Reason == Bounced {
			suppressed = append(suppressed, e)
		} else {
			requests = append(requests, Request{e.Address, Scope(e.Scope), Reason(e.Reason), e.Mailing, e.AddedAt})
		}
	}
	return s.change(ctx, func(tx pgx.Tx) (int64, error) {
		n, err := Add(ctx, tx, requests)
		if err != nil {
			return 0, err
		}
		m, err := change(ctx, tx, "import suppressions", importSuppressed, suppressed)
		return n + m, err
	})
}

// LiftMailing ends the suppressions that come from the mailing, and returns how many there were.
// Its bounces that led to them are forgotten: if the mailing still runs, [Reconsider] would
// suppress the addresses again at its end. Requests stay.
func (s *Store) LiftMailing(ctx context.Context, mailing string) (n int64, err error) {
	return s.change(ctx, func(tx pgx.Tx) (n int64, err error) {
		err = tx.QueryRow(ctx, `
			WITH lifted AS (DELETE FROM suppressions WHERE mailing = $1 RETURNING address_key),
			forgotten AS (
				DELETE FROM bounce_findings f USING lifted l WHERE f.address_key = l.address_key AND f.mailing = $1)
			SELECT count(*) FROM lifted`, mailing).Scan(&n)
		if err != nil {
			return 0, fmt.Errorf("remove the suppressions of a mailing: %w", err)
		}
		return n, nil
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
	removeAll        = statement("remove_all")
	importSuppressed = statement("import")
	readAll          = statement("all")
	readExcluded     = statement("excluded")
)

// All calls each for every request and every suppression in force, in the order of addresses, while
// it reads. An empty scope or reason stands for any, as in [Store.RemoveAll].
func (s *Store) All(ctx context.Context, scope Scope, reason Reason, each func(Exclusion) error) error {
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
	args := pgx.NamedArgs{"scope": string(scope), "reason": string(reason)}
	if err := database.Read(ctx, s.pool, read, readAll, args); err != nil {
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
