package lists_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

// Who is on a list must not depend on the defaults of a server, a database or a role.
func TestEveryChangeOfListsSetsItsIsolationAndItsDurability(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, sql := range []string{
		`CREATE TABLE seen (task text, settings text, UNIQUE (task, settings))`,
		`CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			INSERT INTO seen
				VALUES (TG_TABLE_NAME || ' ' || TG_OP, current_setting('transaction_isolation') || ', '
					|| current_setting('synchronous_commit'))
				ON CONFLICT DO NOTHING;
			RETURN NULL; END $$`,
		`CREATE TRIGGER see AFTER INSERT OR UPDATE OR DELETE ON lists FOR EACH STATEMENT EXECUTE FUNCTION see()`,
		`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$`,
		`DO $$ BEGIN EXECUTE format(
			'ALTER DATABASE %I SET default_transaction_isolation = ''repeatable read''', current_database()); END $$`,
	} {
		if _, err := f.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	f.pool.Reset()
	f.imported("people", of("a@example.com"), false)
	f.imported("people", of("b@example.com"), true)
	if err := f.store.Delete(t.Context(), "people"); err != nil {
		t.Fatal(err)
	}
	rows, err := f.pool.Query(t.Context(), `SELECT task || ': ' || settings FROM seen ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	seen, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	f.want(seen, []string{
		"lists DELETE: read committed, on", "lists INSERT: read committed, on", "lists UPDATE: read committed, on"})
}
