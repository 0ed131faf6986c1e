package lists

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Asked is the reason of an opt-out that somebody asked for; others hold the enhanced status code of a bounce.
const Asked = "asked"

// OptOut is an address that must not be mailed.
type OptOut struct {
	Address string    `json:"address"` // as addresses are compared: lower case
	Reason  string    `json:"reason"`
	Mailing string    `json:"mailing,omitempty"` // that it came from
	AddedAt time.Time `json:"added_at"`
}

// AddOptOuts adds addresses, given by their keys, and returns how many were new.
func (s *Store) AddOptOuts(ctx context.Context, keys []string, reason string) (int64, error) {
	tag, err := s.pool.Exec(ctx, `INSERT INTO opt_outs (address_key, reason) SELECT DISTINCT k, $2 FROM unnest($1::text[]) k ON CONFLICT DO NOTHING`, keys, reason)
	if err != nil {
		return 0, fmt.Errorf("add opt-outs: %w", err)
	}
	return tag.RowsAffected(), nil
}

// RemoveOptOuts removes addresses and returns how many had been there.
func (s *Store) RemoveOptOuts(ctx context.Context, keys []string) (int64, error) {
	tag, err := s.pool.Exec(ctx, `DELETE FROM opt_outs WHERE address_key = ANY($1)`, keys)
	if err != nil {
		return 0, fmt.Errorf("remove opt-outs: %w", err)
	}
	return tag.RowsAffected(), nil
}

// OptOuts calls each for every opt-out, in the order of addresses, while it reads.
func (s *Store) OptOuts(ctx context.Context, each func(OptOut) error) error {
	rows, err := s.pool.Query(ctx, `SELECT address_key, reason, coalesce(mailing, ''), added_at FROM opt_outs ORDER BY address_key`)
	if err != nil {
		return fmt.Errorf("read the opt-outs: %w", err)
	}
	var o OptOut
	_, err = pgx.ForEachRow(rows, []any{&o.Address, &o.Reason, &o.Mailing, &o.AddedAt}, func() error { return each(o) })
	if err != nil {
		return fmt.Errorf("read the opt-outs: %w", err)
	}
	return nil
}
