package lists_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/audience/lists"
)

func (f *fixture) optOuts() (all []string) {
	f.Helper()
	err := f.store.OptOuts(f.Context(), func(o lists.OptOut) error {
		all = append(all, o.Address+" "+o.Reason+" "+o.Mailing)
		return nil
	})
	if err != nil {
		f.Fatal(err)
	}
	return all
}

func (f *fixture) bounced(mailing string, keys ...string) {
	f.Helper()
	_, err := f.pool.Exec(
		f.Context(),
		`INSERT INTO opt_outs (address_key, reason, mailing) SELECT k, '5.1.1', $2 FROM unnest($1::text[]) k
			ON CONFLICT DO NOTHING`,
		keys,
		mailing,
	)
	if err != nil {
		f.Fatal(err)
	}
}

func TestAPersonsRequestReplacesABounceAndIsNeverReplaced(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	add := func(reason string, want int64, keys ...string) {
		t.Helper()
		n, err := f.store.AddOptOuts(t.Context(), keys, reason)
		if err != nil {
			t.Fatal(err)
		}
		f.want(n, want)
	}
	f.bounced("m", "a@example.com", "b@example.com")
	add(lists.Asked, 2, "a@example.com", "c@example.com")
	add(lists.Asked, 0, "a@example.com", "c@example.com")
	add("5.1.1", 1, "a@example.com", "b@example.com", "c@example.com", "d@example.com")
	f.want(
		f.optOuts(),
		[]string{"a@example.com asked ", "b@example.com 5.1.1 m", "c@example.com asked ", "d@example.com 5.1.1 "},
	)
}

func TestTheBouncesOfOneMailingAreRemovedAndRequestsStay(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.bounced("m", "a@example.com", "b@example.com", "c@example.com")
	f.bounced("n", "d@example.com")
	if _, err := f.store.AddOptOuts(t.Context(), []string{"b@example.com"}, lists.Asked); err != nil {
		t.Fatal(err)
	}
	// by a link in the mailing
	if _, err := f.pool.Exec(t.Context(), `INSERT INTO opt_outs VALUES ('e@example.com', 'asked', 'm')`); err != nil {
		t.Fatal(err)
	}
	n, err := f.store.RemoveBounced(t.Context(), "m")
	if err != nil {
		t.Fatal(err)
	}
	f.want(n, int64(2))
	f.want(f.optOuts(), []string{"b@example.com asked ", "d@example.com 5.1.1 n", "e@example.com asked m"})
}

// What somebody has asked for must not depend on the defaults of a server, a database or a role.
func TestEveryChangeOfListsAndOptOutsSetsItsIsolationAndItsDurability(t *testing.T) {
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
		`CREATE TRIGGER see AFTER INSERT OR UPDATE OR DELETE ON opt_outs FOR EACH STATEMENT EXECUTE FUNCTION see()`,
		`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$`,
		`DO $$ BEGIN EXECUTE format(
			'ALTER DATABASE %I SET default_transaction_isolation = ''repeatable read''', current_database()); END $$`,
	} {
		if _, err := f.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	f.pool.Reset()
	check := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	f.imported("people", of("a@example.com"), false)
	f.imported("people", of("b@example.com"), true)
	check(nil, f.store.Delete(t.Context(), "people"))
	check(f.store.AddOptOuts(t.Context(), []string{"a@example.com"}, lists.Asked))
	check(f.store.RemoveOptOuts(t.Context(), []string{"a@example.com"}))
	check(f.store.RemoveBounced(t.Context(), "m"))
	rows, err := f.pool.Query(t.Context(), `SELECT task || ': ' || settings FROM seen ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	seen, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, task := range []string{"lists DELETE", "lists INSERT", "lists UPDATE", "opt_outs DELETE", "opt_outs INSERT",
		"opt_outs UPDATE"} {
		want = append(want, task+": read committed, on")
	}
	f.want(seen, want)
}
