package lists

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/database"
)

// Asked is the reason of an opt-out that a person has asked for. Any other reason is the enhanced
// status code of a bounce: a machine's finding, which never replaces a person's request.
const Asked = "asked"

// OptOut is an address that must not be mailed.
type OptOut struct {
	Address string    `json:"address"` // as addresses are compared: lower case
	Reason  string    `json:"reason"`
	Mailing string    `json:"mailing,omitempty"` // that it came from
	AddedAt time.Time `json:"added_at"`
}

// AddOptOuts adds addresses, given by their keys, and returns how many were new. A person's request
// (Asked) replaces a bounce as the reason, and counts as new: a later clean-up of bounces does
// not remove it. Nothing replaces a request.
func (s *Store) AddOptOuts(ctx context.Context, keys []string, reason string) (n int64, err error) {
	n, err = s.change(ctx, `
		INSERT INTO opt_outs (address_key, reason) SELECT DISTINCT k, @reason FROM unnest(@keys::text[]) k
		ON CONFLICT (address_key) DO UPDATE SET reason = excluded.reason, mailing = NULL, added_at = now()
		WHERE excluded.reason = @asked AND opt_outs.reason <> @asked`,
		pgx.NamedArgs{"keys": keys, "reason": reason, "asked": Asked})
	if err != nil {
		return 0, fmt.Errorf("add opt-outs: %w", err)
	}
	return n, nil
}

// RemoveOptOuts removes addresses, whatever their reason, and returns how many had been there.
func (s *Store) RemoveOptOuts(ctx context.Context, keys []string) (n int64, err error) {
	if n, err = s.change(ctx, `DELETE FROM opt_outs WHERE address_key = ANY($1)`, keys); err != nil {
		return 0, fmt.Errorf("remove opt-outs: %w", err)
	}
	return n, nil
}

// RemoveBounced removes the addresses that the mailing suppressed because they bounced, and returns
// how many there were. Requests of people stay.
func (s *Store) RemoveBounced(ctx context.Context, mailing string) (n int64, err error) {
	if n, err = s.change(ctx, `DELETE FROM opt_outs WHERE mailing = $1 AND reason <> $2`, mailing, Asked); err != nil {
		return 0, fmt.Errorf("remove the suppressed addresses of a mailing: %w", err)
	}
	return n, nil
}

// Bounce is an address, given by its key, that does not exist, with the enhanced status code that
// says so.
type Bounce struct{ Key, Code string }

// Suppress adds addresses that do not exist, as one step of the transaction that ends the mailing
// with the internal key, and returns how many were new. An opt-out that is there stays as it is.
func Suppress(ctx context.Context, tx pgx.Tx, mailing int64, bounces []Bounce) (n int64, err error) {
	if len(bounces) == 0 {
		return 0, nil
	}
	keys, codes := make([]string, len(bounces)), make([]string, len(bounces))
	for i, b := range bounces {
		keys[i], codes[i] = b.Key, b.Code
	}
	tag, err := tx.Exec(ctx, `
		INSERT INTO opt_outs (address_key, reason, mailing)
		SELECT x.key, x.code, (SELECT id FROM mailings WHERE key = @mailing)
		FROM unnest(@keys::text[], @codes::text[]) AS x(key, code)
		ON CONFLICT DO NOTHING`, pgx.NamedArgs{"mailing": mailing, "keys": keys, "codes": codes})
	if err != nil {
		return 0, fmt.Errorf("keep addresses that do not exist from later mailings: %w", err)
	}
	return tag.RowsAffected(), nil
}

func (s *Store) change(ctx context.Context, sql string, args ...any) (n int64, err error) {
	err = pgx.BeginTxFunc(ctx, s.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sql, args...)
		n = tag.RowsAffected()
		return err
	})
	return n, err
}

// OptOuts calls each for every opt-out, in the order of addresses, while it reads.
func (s *Store) OptOuts(ctx context.Context, each func(OptOut) error) error {
	read := func(rows pgx.Rows) error {
		var o OptOut
		_, err := pgx.ForEachRow(rows, []any{&o.Address, &o.Reason, &o.Mailing, &o.AddedAt}, func() error { return each(o) })
		return err
	}
	err := database.Read(ctx, s.pool, read, `
		SELECT address_key, reason, coalesce(mailing, ''), added_at FROM opt_outs ORDER BY address_key`)
	if err != nil {
		return fmt.Errorf("read the opt-outs: %w", err)
	}
	return nil
}
