package recipients

import (
	"context"
	"embed"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/database"
	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
)

//go:embed sql/*.sql
var files embed.FS

var statement = database.Statements(files)

// The statements of a freeze read the rows to freeze from the view members, see [insertMembers].
var (
	findRepeated   = statement("find_repeated")
	findOptedOut   = statement("find_opted_out")
	insertMailable = statement("insert_mailable")
	insertOptedOut = statement("insert_opted_out")
	numberOptedOut = statement("number_opted_out")
)

// Freeze turns the mailing's list, as it is now, into recipients and batches of size batchSize, in
// one transaction: after a crash in the middle nothing of it is there. If the mailing is frozen
// already, Freeze only says so. It returns ErrNoList, ErrEmptyList, ErrEnded, or
// mailings.ErrNotFound.
func (s *Store) Freeze(ctx context.Context, id string, batchSize int) (mailings.Frozen, error) {
	return freeze(ctx, s.pool, id, batchSize, insertList)
}

// audience inserts the recipients of the mailing, those who opted out last, and counts both.
type audience func(ctx context.Context, tx pgx.Tx, m mailings.Mailing) (mailings.Frozen, error)

func freeze(ctx context.Context, db *pgxpool.Pool, id string, batchSize int, insert audience) (mailings.Frozen, error) {
	f, err := tryFreeze(ctx, db, id, batchSize, insert)
	for overtaken(err) && ctx.Err() == nil {
		f, err = tryFreeze(ctx, db, id, batchSize, insert)
	}
	if err != nil {
		return mailings.Frozen{}, fmt.Errorf("freeze the list: %w", err)
	}
	return f, nil
}

// overtaken tells whether another freeze or an import committed its change after the snapshot was
// taken.
func overtaken(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == "40001" // serialization failure
}

func tryFreeze(
	ctx context.Context, db *pgxpool.Pool, id string, batchSize int, insert audience,
) (f mailings.Frozen, err error) {
	// All statements see one snapshot: an address that opts out meanwhile must not move the border
	// between the numbers. The claim of a batch subtracts such late opt-outs.
	err = pgx.BeginTxFunc(ctx, db, database.Snapshot, func(tx pgx.Tx) error {
		f, err = freezeIn(ctx, tx, id, batchSize, insert)
		return err
	})
	return f, err
}

// freezeIn freezes an audience in the transaction.
func freezeIn(
	ctx context.Context, tx pgx.Tx, id string, batchSize int, insert audience,
) (f mailings.Frozen, err error) {
	m, err := mailings.LockByID(ctx, tx, id)
	if err != nil {
		return f, err
	}
	if m.PreparedAt != nil {
		return m.Frozen(), nil
	}
	if m.ClosedAt != nil || m.Ending { // an attempt that was stopped for long must not add to a closed ledger
		return f, ErrEnded
	}
	// Sorts stay in memory where they fit. Nested loops are off because rows that were written a
	// moment ago have no statistics: the planner would take them for few. A plan that has to use a
	// nested loop all the same gets an enormous cost, for which PostgreSQL would compile it. The
	// settings end with the transaction.
	_, err = tx.Exec(ctx, `SET LOCAL work_mem = '256MB'; SET LOCAL enable_nestloop = off; SET LOCAL jit = off`)
	if err != nil {
		return f, err
	}
	if f, err = insert(ctx, tx, m); err != nil {
		return f, err
	}
	if f.Batches, err = ledger.OpenBatches(ctx, tx, m.Key, f.Mailable(), batchSize); err != nil {
		return f, err
	}
	return f, mailings.SetFrozen(ctx, tx, m.Key, f)
}

func insertList(ctx context.Context, tx pgx.Tx, m mailings.Mailing) (f mailings.Frozen, err error) {
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
	return insertMembers(ctx, tx, m, membersOf("list_members", list), true, f.Members)
}

// membersOf selects the rows that the table has of the list.
func membersOf(table string, list int64) string {
	return fmt.Sprintf(`SELECT position, address, address_key, attributes FROM %s WHERE list_id = %d`, table, list)
}

// insertMembers inserts the recipients from the rows that source selects. An address may be there
// several times if repeated is true.
//
// The number of a recipient follows the list's order, except that all who must not be mailed come
// last: so batches are plain ranges of numbers. The statements first gather the exceptions, which
// are few as a rule: repeated addresses and opt-outs. Then the wide rows go from one primary key to
// the other in one pass, without a sort.
func insertMembers(
	ctx context.Context, tx pgx.Tx, m mailings.Mailing, source string, repeated bool, members int64,
) (f mailings.Frozen, err error) {
	f.Members = members
	// The view's rows are those of a stored list, of a query's answer or of an earlier mailing: the
	// statements are the same. The ledger reads left_out.
	_, err = tx.Exec(ctx, `
		CREATE TEMPORARY TABLE exceptions (position bigint PRIMARY KEY, why text) ON COMMIT DROP;
		CREATE TEMPORARY TABLE left_out (number int, why text NOT NULL) ON COMMIT DROP;
		CREATE TEMPORARY VIEW members AS `+source)
	if err != nil {
		return f, err
	}
	args := pgx.NamedArgs{"mailing": m.Key, "scopes": m.OptOutScopes}
	exec := func(statement string) (rows int64) {
		if err == nil {
			var tag pgconn.CommandTag
			tag, err = tx.Exec(ctx, statement, args)
			rows = tag.RowsAffected()
		}
		return rows
	}
	if repeated {
		f.Duplicates = exec(findRepeated)
	}
	f.OptedOut = exec(findOptedOut)
	if err == nil { // both tables are read in the order of their keys: a merge of the two keeps it
		_, err = tx.Exec(ctx, `SET LOCAL enable_hashjoin = off; SET LOCAL enable_sort = off`)
	}
	mailable := exec(insertMailable)
	args["mailable"] = mailable
	exec(insertOptedOut)
	exec(numberOptedOut)
	exec(`DROP VIEW members`)
	f.Recipients = mailable + f.OptedOut
	return f, err
}
