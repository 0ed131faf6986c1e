package lists

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/database"
)

// Members calls each for every member of the list, in the order of its rows, while it reads.
func (s *Store) Members(ctx context.Context, name string, each func(address string) error) error {
	read := func(rows pgx.Rows) error {
		var address string
		_, err := pgx.ForEachRow(rows, []any{&address}, func() error { return each(address) })
		return err
	}
	err := database.Read(ctx, s.pool, read, `
		SELECT m.address FROM list_members m JOIN lists l ON l.id = m.list_id WHERE l.name = $1 ORDER BY m.position`, name)
	if err != nil {
		return fmt.Errorf("read the list's members: %w", err)
	}
	return nil
}

// Entries calls each for the first members of the list, at most limit, in the order of its rows,
// while it reads.
func (s *Store) Entries(ctx context.Context, name string, limit int, each func(Entry) error) error {
	rows, err := s.pool.Query(ctx, `
		SELECT m.position, m.address, m.attributes FROM list_members m JOIN lists l ON l.id = m.list_id
		WHERE l.name = $1 ORDER BY m.position LIMIT $2`, name, limit)
	if err != nil {
		return fmt.Errorf("read the list's members: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		e, err := pgx.RowToStructByPos[Entry](rows)
		if err != nil {
			return fmt.Errorf("read the list's members: %w", err)
		}
		if err := each(e); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the list's members: %w", err)
	}
	return nil
}

// Known returns those of the addresses, given by their keys, that a list has. It reads all members.
func (s *Store) Known(ctx context.Context, keys []string) ([]string, error) {
	var found []string
	read := func(rows pgx.Rows) (err error) {
		found, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	}
	err := database.Read(ctx, s.pool, read, `
		SELECT DISTINCT address_key FROM list_members WHERE address_key = ANY($1)`, keys)
	if err != nil {
		return nil, fmt.Errorf("find addresses in the lists: %w", err)
	}
	return found, nil
}
