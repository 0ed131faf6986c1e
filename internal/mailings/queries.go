package mailings

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/database"
)

// StoreQuery stores the text of a query for a mailing that is about to be started, and returns the
// reference of the text, a SHA-256 in hexadecimal digits. The same text is stored once.
func (s *Store) StoreQuery(ctx context.Context, sql string) (reference string, err error) {
	sum := sha256.Sum256([]byte(sql))
	err = pgx.BeginTxFunc(ctx, s.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO queries (digest, sql) VALUES ($1, $2) ON CONFLICT DO NOTHING`, sum[:], sql)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("store the query: %w", err)
	}
	return hex.EncodeToString(sum[:]), nil
}

// StoredQuery returns the text of a query by its reference, or ErrNotFound.
func (s *Store) StoredQuery(ctx context.Context, reference string) (sql string, err error) {
	digest, err := hex.DecodeString(reference)
	if err != nil {
		return "", ErrNotFound
	}
	err = s.pool.QueryRow(ctx, `SELECT sql FROM queries WHERE digest = $1`, digest).Scan(&sql)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "", ErrNotFound
	case err != nil:
		return "", fmt.Errorf("read the query: %w", err)
	}
	return sql, nil
}
