package mailings

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/database"
)

// Unsigned stands among the names of keys if a worker has rendered messages without a signature.
const Unsigned = "unsigned"

// NoteSignatures writes down which keys a worker signs the mailing's messages with. Without names
// the messages are unsigned. It asks the database only for what m does not have already.
func (s *Store) NoteSignatures(ctx context.Context, m Mailing, names []string) error {
	if len(names) == 0 {
		names = []string{Unsigned}
	}
	if !slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(m.SignedWith, name) }) {
		return nil
	}
	err := pgx.BeginTxFunc(ctx, s.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			UPDATE mailings SET signed_with =
				ARRAY(SELECT DISTINCT name FROM unnest(signed_with || @names::text[]) AS name ORDER BY name)
			WHERE key = @key AND NOT signed_with @> @names::text[]`, pgx.NamedArgs{"key": m.Key, "names": names})
		return err
	})
	if err != nil {
		return fmt.Errorf("write down the mailing's signatures: %w", err)
	}
	return nil
}
