// Package lists keeps named sets of members. It is the only writer of the tables lists and
// list_members.
package lists

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/audience/field"
	"directmailer/internal/audience/member"
	"directmailer/internal/database"
)

var (
	// ErrExists says that a list has the name already.
	ErrExists = errors.New("the list exists already")
	// ErrNotFound says that no list has the name.
	ErrNotFound = errors.New("no such list")
	// ErrEmpty says that a file has no usable row: the list is left as it was.
	ErrEmpty = errors.New("no usable row")
)

// Store reads and writes lists.
type Store struct{ pool *pgxpool.Pool }

// New returns a Store on pool.
func New(pool *pgxpool.Pool) *Store { return &Store{pool} }

// List describes a list without its members.
type List struct {
	Name       string    `json:"name"`
	Source     string    `json:"source"`     // base name of the file that it came from
	Members    int64     `json:"members"`    // rows, repeated addresses among them
	Duplicates int64     `json:"duplicates"` // rows that repeat the address of an earlier row
	Rejected   int64     `json:"rejected"`   // rows of the file that were left out
	Columns    []string  `json:"columns"`
	CreatedAt  time.Time `json:"created_at"`
}

// Rows hands out members, then io.EOF. Any other error stops the import, and nothing of it stays.
type Rows interface {
	Next() (member.Member, error)
	// Rejected is the number of rows left out so far.
	Rejected() int64
}

const listColumns = `name, source, members, duplicates, rejected, columns, created_at`

// Import copies the rows of a file into the list of that name, in one transaction. It replaces a
// list that is there if replace is true, and otherwise returns ErrExists. It returns ErrEmpty when
// no row is usable. It stores neither an inactive member nor another one with the same address. An
// import waits for a mailing that is being prepared from the list.
func (s *Store) Import(
	ctx context.Context, name, file string, columns []string, rows Rows, replace bool,
) (list List, err error) {
	err = pgx.BeginTxFunc(ctx, s.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		// Imports of one name go one after the other: a row that is not there yet, or is being replaced,
		// cannot be locked.
		_, err := tx.Exec(ctx, `
			SELECT pg_advisory_xact_lock(hashtextextended('import of the list ' || $1::text, 0))`, name)
		if err != nil {
			return err
		}
		if err := dropOld(ctx, tx, name, replace); err != nil {
			return err
		}
		list, err = insert(ctx, tx, name, file, columns, rows)
		return err
	})
	if err != nil {
		if ctx.Err() != nil { // a cancelled COPY can end in the error of its closed connection
			err = ctx.Err()
		}
		return List{}, fmt.Errorf("import the list %s: %w", name, err)
	}
	return list, nil
}

// insert inserts a list with its members.
func insert(
	ctx context.Context, tx pgx.Tx, name, file string, columns []string, members Rows,
) (list List, err error) {
	var id int64
	err = tx.QueryRow(ctx, `INSERT INTO lists (name, source, columns) VALUES ($1, $2, $3) RETURNING id`,
		name, file, columns).Scan(&id)
	if err != nil {
		return list, err
	}
	c := &copier{list: id, rows: members}
	n, err := c.copyTo(ctx, tx, pgx.Identifier{"list_members"})
	if err == nil && c.inactive > 0 {
		n, err = dropInactive(ctx, tx, id, n)
	}
	if err != nil {
		return list, err
	}
	if n == 0 {
		return list, ErrEmpty
	}
	rows, err := tx.Query(ctx, `
		UPDATE lists SET members = @members, rejected = @rejected,
			duplicates = @members - (SELECT count(*) FROM (
				SELECT FROM list_members WHERE list_id = @id GROUP BY address_key) one)
		WHERE id = @id RETURNING `+listColumns,
		pgx.NamedArgs{"id": id, "members": n, "rejected": members.Rejected()})
	if err != nil {
		return list, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[List])
}

// dropInactive removes the inactive members, and those who have the address of one. It returns how
// many of n rows stay.
func dropInactive(ctx context.Context, tx pgx.Tx, id, n int64) (int64, error) {
	var inactive, others int64
	err := tx.QueryRow(ctx, `
		WITH inactive AS (DELETE FROM list_members WHERE list_id = $1 AND position < 0 RETURNING address_key),
			others AS (DELETE FROM list_members WHERE list_id = $1 AND position > 0
				AND address_key IN (SELECT address_key FROM inactive) RETURNING 1)
		SELECT (SELECT count(*) FROM inactive), (SELECT count(*) FROM others)`, id).Scan(&inactive, &others)
	return n - inactive - others, err
}

func dropOld(ctx context.Context, tx pgx.Tx, name string, replace bool) error {
	var id int64
	err := tx.QueryRow(ctx, `SELECT id FROM lists WHERE name = $1 FOR UPDATE`, name).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if !replace {
		return ErrExists
	}
	return drop(ctx, tx, id)
}

func drop(ctx context.Context, tx pgx.Tx, id int64) error {
	if _, err := tx.Exec(ctx, `DELETE FROM list_members WHERE list_id = $1`, id); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `DELETE FROM lists WHERE id = $1`, id)
	return err
}

// Staged is the table of the members that [Stage] has read.
const Staged = "staged_members"

// Stage copies the rows into the table [Staged], as those of list 0, and returns their number. The
// table is temporary and ends with the transaction: nothing of it outlives a crash, two sessions do
// not meet, and a transaction pooler keeps the session for as long.
func Stage(ctx context.Context, tx pgx.Tx, rows Rows) (int64, error) {
	_, err := tx.Exec(ctx, `
		CREATE TEMPORARY TABLE staged_members (LIKE list_members INCLUDING INDEXES) ON COMMIT DROP`)
	if err != nil {
		return 0, err
	}
	c := &copier{rows: rows}
	return c.copyTo(ctx, tx, pgx.Identifier{"staged_members"})
}

// copyTo copies the rows into a table with the columns of list_members, and returns their number.
func (c *copier) copyTo(ctx context.Context, tx pgx.Tx, table pgx.Identifier) (int64, error) {
	n, err := tx.CopyFrom(ctx, table, []string{"list_id", "position", "address", "address_key", "attributes"}, c)
	if c.err != nil {
		return 0, c.err // the rows' own error, without the driver's words around it
	}
	return n, err
}

// copier gives Rows to COPY.
type copier struct {
	list   int64
	rows   Rows
	member member.Member
	err    error

	inactive int64 // rows that dropInactive removes again
}

func (c *copier) Next() bool {
	c.member, c.err = c.rows.Next()
	if c.err == io.EOF {
		c.err = nil
		return false
	}
	return c.err == nil
}

func (c *copier) Values() ([]any, error) {
	m := &c.member
	position := m.Position
	if m.Inactive { // until the end of the import
		c.inactive++
		position = -position
	}
	return []any{c.list, position, m.Address.String(), m.Address.Key(), m.Attributes}, nil
}

func (c *copier) Err() error { return c.err }

// Get returns the list, or ErrNotFound.
func (s *Store) Get(ctx context.Context, name string) (l List, err error) {
	rows, err := s.pool.Query(ctx, `SELECT `+listColumns+` FROM lists WHERE name = $1`, name)
	if err == nil {
		l, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[List])
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return l, ErrNotFound
	}
	if err != nil {
		return l, fmt.Errorf("read the list: %w", err)
	}
	return l, nil
}

// All returns every list, by name.
func (s *Store) All(ctx context.Context) ([]List, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+listColumns+` FROM lists ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("read the lists: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[List])
}

// Entry is a member as it is stored.
type Entry struct {
	Position   int64        `json:"line"`
	Address    string       `json:"address"`
	Attributes field.Values `json:"attributes"`
}

// First returns the first members of the list, at most limit. With a key, it returns only the
// members whose address has it.
func (s *Store) First(ctx context.Context, name, key string, limit int) ([]Entry, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT m.position, m.address, m.attributes FROM list_members m JOIN lists l ON l.id = m.list_id
		WHERE l.name = $1 AND ($2 = '' OR m.address_key = $2) ORDER BY m.position LIMIT $3`, name, key, limit)
	if err != nil {
		return nil, fmt.Errorf("read the list's members: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Entry])
}

// Delete removes the list and its members, or answers ErrNotFound. Mailings keep the recipients
// that they have frozen.
func (s *Store) Delete(ctx context.Context, name string) error {
	err := pgx.BeginTxFunc(ctx, s.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		var id int64
		err := tx.QueryRow(ctx, `SELECT id FROM lists WHERE name = $1 FOR UPDATE`, name).Scan(&id)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		return drop(ctx, tx, id)
	})
	if err != nil {
		return fmt.Errorf("delete the list %s: %w", name, err)
	}
	return nil
}
