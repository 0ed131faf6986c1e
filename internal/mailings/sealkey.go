package mailings

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/database"
)

// SealKey returns the key with which the runs of mailings seal what they hand over. The first call
// on a database makes it. All later calls, of any worker, return the same.
func (s *Store) SealKey(ctx context.Context) (key []byte, err error) {
	made := make([]byte, 32)
	_, _ = rand.Read(made) // never fails
	err = pgx.BeginTxFunc(ctx, s.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO seal_key (key) VALUES ($1) ON CONFLICT DO NOTHING`, made); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `SELECT key FROM seal_key`).Scan(&key)
	})
	if err != nil {
		return nil, fmt.Errorf("read the key of seals: %w", err)
	}
	return key, nil
}
