package database_test

import (
	"os"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"directmailer/internal/dev/servertest"
)

// migrateTo brings the schema up or down to the version.
func migrateTo(t *testing.T, pool *pgxpool.Pool, version int64) {
	t.Helper()
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, os.DirFS("migrations"))
	if err != nil {
		t.Fatal(err)
	}
	now, err := provider.GetDBVersion(t.Context())
	if err == nil && now > version {
		_, err = provider.DownTo(t.Context(), version)
	} else if err == nil {
		_, err = provider.UpTo(t.Context(), version)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func texts(t *testing.T, pool *pgxpool.Pool, sql string) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestOptOutsOfAnOldDatabaseBecomeRequestsAndSuppressions(t *testing.T) {
	t.Parallel()
	pool := open(t, servertest.EmptyDatabase(t))
	migrateTo(t, pool, 7)
	for _, statement := range []string{
		`INSERT INTO opt_outs VALUES ('a@example.com', 'asked', NULL, '2026-01-02Z'),
			('b@example.com', '5.1.1', 'm', '2026-01-03Z')`,
		`INSERT INTO mailings (id, first_run_id, input, list, state) VALUES ('m', 'run', '{}', 'people', 'completed'),
			('c', 'run', '{}', 'continue:m', 'completed'), ('d', 'run', '{}', 'continue:c', 'completed'),
			('q', 'run', '{}', 'query:crm', 'completed'), ('e', 'run', '{}', 'continue:q', 'completed')`,
	} {
		if _, err := pool.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	migrateTo(t, pool, 8)
	want := func(sql string, want ...string) {
		t.Helper()
		if got := texts(t, pool, sql); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	want(`SELECT address_key || ' ' || scope || ' ' || reason || ' ' || (added_at AT TIME ZONE 'UTC')::date FROM opt_outs`,
		"a@example.com all asked 2026-01-02")
	want(`SELECT concat_ws(' ', address_key, class, code, origin, mailing,
			(first_at AT TIME ZONE 'UTC')::date, expires_at) FROM suppressions`,
		"b@example.com hard 5.1.1 answer m 2026-01-03")
	want(`SELECT id || ' ' || of_list || ' ' || opt_out_scopes::text FROM mailings ORDER BY id`,
		"c people {all,list:people}", "d people {all,list:people}", "e  {all}", "m people {all,list:people}", "q  {all}")

	// Back again, no request is lost: the older schema knows requests about all mail only.
	_, err := pool.Exec(t.Context(), `INSERT INTO opt_outs (address_key, scope, reason) VALUES
		('a@example.com', 'topic:news', 'complaint'), ('c@example.com', 'topic:news', 'asked'),
		('c@example.com', 'list:people', 'imported'), ('@example.org', 'all', 'operator')`)
	if err != nil {
		t.Fatal(err)
	}
	migrateTo(t, pool, 7)
	want(`SELECT address_key || ' ' || reason FROM opt_outs ORDER BY 1`,
		"@example.org asked", "a@example.com asked", "b@example.com 5.1.1", "c@example.com asked")
	migrateTo(t, pool, 8)
}
