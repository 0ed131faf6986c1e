package mailings

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"directmailer/internal/audience/lists"
	"directmailer/internal/database"
)

// Frozen says what became of a list.
type Frozen struct {
	Members    int64 // rows of the list
	Duplicates int64 // rows that repeat the address of an earlier row
	Recipients int64 // addresses
	OptedOut   int64 // recipients that must not be mailed
	Batches    int
	Rejected   int64          // rows of a query that could not be used; those of a file were left out when it was imported
	Rejects    []lists.Reject // the first of them
}

// The number of a recipient follows the list's order, except that all who opted out come last: so batches are plain ranges of
// numbers. Members that are not simply numbered in turn, few as a rule, are gathered first. Then the wide rows go from one primary key
// to the other in one pass, without a sort. %[1]s is the table of the members: that of the lists, or of a query's answer.
const (
	gather = `CREATE TEMPORARY TABLE exceptions (position bigint PRIMARY KEY, opted_out boolean NOT NULL) ON COMMIT DROP`

	gatherRepeated = `
		INSERT INTO exceptions (position, opted_out)
		SELECT position, false FROM (
			SELECT position, row_number() OVER (PARTITION BY address_key ORDER BY position ROWS UNBOUNDED PRECEDING) AS nth FROM %[1]s WHERE list_id = $1) m
		WHERE nth > 1`

	gatherOptedOut = `
		INSERT INTO exceptions (position, opted_out)
		SELECT m.position, true FROM %[1]s m JOIN opt_outs o ON o.address_key = m.address_key WHERE m.list_id = $1
		ON CONFLICT DO NOTHING`

	freezeMailable = `
		INSERT INTO recipients (mailing, number, address, address_key, attributes)
		SELECT $1, row_number() OVER (ORDER BY m.position ROWS UNBOUNDED PRECEDING), m.address, m.address_key, m.attributes
		FROM %[1]s m LEFT JOIN exceptions e ON e.position = m.position
		WHERE m.list_id = $2 AND e.position IS NULL`

	freezeOthers = `
		INSERT INTO recipients (mailing, number, address, address_key, attributes)
		SELECT $1, $3::int + row_number() OVER (ORDER BY m.position ROWS UNBOUNDED PRECEDING), m.address, m.address_key, m.attributes
		FROM %[1]s m JOIN exceptions e ON e.position = m.position
		WHERE m.list_id = $2 AND e.opted_out`
)

const freezeOptedOut = `
	INSERT INTO deliveries (mailing, recipient, attempt, status, final)
	SELECT mailing, number, 0, 'opted_out', true FROM recipients WHERE mailing = $1 AND number > $2`

const freezeBatches = `
	INSERT INTO batches (mailing, number, first, last)
	SELECT $1, n, (n - 1) * $3::int + 1, least(n * $3::int, $2::int)
	FROM generate_series(1, ceil($2::numeric / $3::numeric)::int) AS n`

// Freeze turns the mailing's list, as it is now, into recipients and batches of size batchSize, in one transaction: after a crash
// in the middle nothing of it is there, and a mailing that is frozen already is only read. ErrNoList, ErrEmptyList, ErrNotFound.
func (s *Store) Freeze(ctx context.Context, id string, batchSize int) (Frozen, error) {
	return prepare(ctx, s.pool, id, batchSize, freezeList)
}

// audience inserts the recipients of the mailing, those who opted out last, and says how many there are of each.
type audience func(ctx context.Context, tx pgx.Tx, m Mailing) (Frozen, error)

// beginner is a pool, or one connection of it.
type beginner interface {
	BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error)
}

func prepare(ctx context.Context, db beginner, id string, batchSize int, fill audience) (Frozen, error) {
	f, err := tryPrepare(ctx, db, id, batchSize, fill)
	for overtaken(err) && ctx.Err() == nil {
		f, err = tryPrepare(ctx, db, id, batchSize, fill)
	}
	if err != nil {
		return Frozen{}, fmt.Errorf("freeze the list: %w", err)
	}
	return f, nil
}

// overtaken tells whether a change that was waited for, of another freeze or an import, was committed after the snapshot was taken.
func overtaken(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == "40001" // serialization failure
}

func tryPrepare(ctx context.Context, db beginner, id string, batchSize int, fill audience) (f Frozen, err error) {
	// One snapshot for all statements: an address that opts out meanwhile must not move the border between numbers. Such late
	// opt-outs are subtracted when their batch is claimed.
	err = pgx.BeginTxFunc(ctx, db, database.Snapshot, func(tx pgx.Tx) error {
		var m Mailing
		err := tx.QueryRow(ctx, `SELECT `+columns+` FROM mailings WHERE id = $1 FOR UPDATE`, id).Scan(m.fields()...)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		if m.PreparedAt != nil {
			f = m.Frozen()
			return nil
		}
		if m.ClosedAt != nil || m.Ending { // ended meanwhile: whoever was stopped for long and goes on must not add to a closed ledger
			return ErrEnded
		}
		// Sorting in memory where it fits; the setting ends with the transaction.
		// Hash joins, because rows that were written a moment ago have no statistics yet, and would be taken for few.
		// A plan that has to use a nested loop all the same is given an enormous cost, for which it would be compiled.
		if _, err = tx.Exec(ctx, `SET LOCAL work_mem = '256MB'; SET LOCAL enable_nestloop = off; SET LOCAL jit = off`); err != nil {
			return err
		}
		if f, err = fill(ctx, tx, m); err != nil {
			return err
		}
		f.Batches, err = divide(ctx, tx, m, f, batchSize)
		return err
	})
	return f, err
}

func freezeList(ctx context.Context, tx pgx.Tx, m Mailing) (f Frozen, err error) {
	var list int64
	// FOR SHARE: an import that would replace the members waits until they are frozen.
	err = tx.QueryRow(ctx, `SELECT id, members FROM lists WHERE name = $1 FOR SHARE`, m.List).Scan(&list, &f.Members)
	if errors.Is(err, pgx.ErrNoRows) {
		return f, ErrNoList
	}
	if err != nil {
		return f, err
	}
	if f.Members == 0 {
		return f, ErrEmptyList
	}
	return freezeMembers(ctx, tx, m, "list_members", list, f.Members)
}

// freezeMembers inserts the recipients of the rows that the table has of the list.
func freezeMembers(ctx context.Context, tx pgx.Tx, m Mailing, table string, list, members int64) (f Frozen, err error) {
	f.Members = members
	in := func(sql string) string { return fmt.Sprintf(sql, table) }
	if _, err = tx.Exec(ctx, gather); err != nil {
		return f, err
	}
	tag, err := tx.Exec(ctx, in(gatherRepeated), list)
	if err != nil {
		return f, err
	}
	f.Duplicates = tag.RowsAffected()
	if tag, err = tx.Exec(ctx, in(gatherOptedOut), list); err != nil {
		return f, err
	}
	f.OptedOut = tag.RowsAffected()
	// Both tables are read in the order of their keys: a merge of the two keeps it.
	if _, err = tx.Exec(ctx, `SET LOCAL enable_hashjoin = off; SET LOCAL enable_sort = off`); err != nil {
		return f, err
	}
	if tag, err = tx.Exec(ctx, in(freezeMailable), m.Key, list); err != nil {
		return f, err
	}
	mailable := tag.RowsAffected()
	if _, err = tx.Exec(ctx, in(freezeOthers), m.Key, list, mailable); err != nil {
		return f, err
	}
	f.Recipients = mailable + f.OptedOut
	return f, nil
}

func countOptedOut(ctx context.Context, tx pgx.Tx, m Mailing) (n int64, err error) {
	err = tx.QueryRow(ctx, `SELECT count(*) FROM recipients r JOIN opt_outs o USING (address_key) WHERE r.mailing = $1`, m.Key).Scan(&n)
	return n, err
}

// divide writes down who opted out, and divides all others into batches, whose number it returns.
func divide(ctx context.Context, tx pgx.Tx, m Mailing, f Frozen, batchSize int) (batches int, err error) {
	mailable := f.Recipients - f.OptedOut
	if _, err = tx.Exec(ctx, freezeOptedOut, m.Key, mailable); err != nil {
		return 0, err
	}
	tag, err := tx.Exec(ctx, freezeBatches, m.Key, mailable, batchSize)
	if err != nil {
		return 0, err
	}
	batches = int(tag.RowsAffected())
	_, err = tx.Exec(ctx, `
		UPDATE mailings SET prepared_at = now(), state = 'sending', members = $2, duplicates = $3, recipients = $4, mailable = $5, batches = $6,
			rejected = $7, rejects = $8
		WHERE key = $1`, m.Key, f.Members, f.Duplicates, f.Recipients, mailable, batches, f.Rejected, f.Rejects)
	return batches, err
}
