package cli

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/dev/servertest"
)

// Each import adds 10,000 opt-outs at once. It is killed while the second 10,000 wait for a
// transaction that adds one of them.
func TestAnImportOfOptOutsThatIsKilledIsRunAgain(t *testing.T) {
	t.Parallel()
	const atOnce, rows = 10_000, 10_005
	for name, file := range map[string]struct{ header, rest, word string }{
		"a list of another system": {"email", "", "addresses added"},
		"an export":                {"address,scope,reason", ",all,imported", "rows imported"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShellWithoutServers(t)
			s.env["DATABASE_URL"] = servertest.Database(t)
			pool := servertest.Pool(t, s.env["DATABASE_URL"], 2)
			var text strings.Builder
			fmt.Fprintln(&text, file.header)
			for n := range rows {
				fmt.Fprintf(&text, "r%05d@example.org%s\n", n, file.rest)
			}
			s.write("gone.csv", text.String())
			number := func(sql string) (n int) {
				t.Helper()
				if err := pool.QueryRow(t.Context(), sql).Scan(&n); err != nil {
					t.Fatal(err)
				}
				return n
			}
			tx, err := pool.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			// Otherwise the pool never closes after a failure.
			t.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) })
			one := pgx.NamedArgs{"address": fmt.Sprintf("r%05d@example.org", rows-1)}
			if _, err := tx.Exec(t.Context(), `INSERT INTO opt_outs (address_key, scope, reason)
				VALUES (@address, 'all', 'imported')`, one); err != nil {
				t.Fatal(err)
			}
			cmd := s.command(t.Context(), "optout", "import", "gone.csv")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the import waits", func() bool { return servertest.WaitsForLock(t, pool) })
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if err := tx.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := number(`SELECT count(*) FROM opt_outs`); n != atOnce {
				t.Errorf("%d opt-outs are there after the kill", n)
			}
			s.run("optout", "import", "gone.csv").want(t, 0, "5 "+file.word+", 10,000 already there")
			if n := number(`SELECT count(*) FROM opt_outs`); n != rows {
				t.Errorf("%d opt-outs are there, want %d", n, rows)
			}
		})
	}
}

// TestAnImportOfAListThatIsKilledLeavesTheOldList kills an import that replaces a list. Its rows
// are on their way into the database: one in the middle waits for a transaction that has its key.
func TestAnImportOfAListThatIsKilledLeavesTheOldList(t *testing.T) {
	t.Parallel()
	const rows = 20_000
	s := newShellWithoutServers(t)
	s.env["DATABASE_URL"] = servertest.Database(t)
	pool := servertest.Pool(t, s.env["DATABASE_URL"], 2)
	s.write("old.csv", "email\nzoe@example.org\n")
	s.run("list", "import", "people", "old.csv").want(t, 0, "1 ")
	var text strings.Builder
	fmt.Fprintln(&text, "email")
	for n := range rows {
		fmt.Fprintf(&text, "r%05d@example.org\n", n)
	}
	s.write("new.csv", text.String())
	list := func() (source string, members int) {
		t.Helper()
		if err := pool.QueryRow(t.Context(), `SELECT source, count(*) FROM lists JOIN list_members ON list_id = id
			GROUP BY source`).Scan(&source, &members); err != nil {
			t.Fatal(err)
		}
		return source, members
	}
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) })
	if _, err := tx.Exec(t.Context(), `INSERT INTO list_members (list_id, position, address, address_key, attributes)
		SELECT max(id) + 1, $1::int, '', '', '{}' FROM lists`, rows/2); err != nil {
		t.Fatal(err)
	}

	cmd := s.command(t.Context(), "list", "import", "people", "new.csv", "--replace")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the import waits", func() bool { return servertest.WaitsForLock(t, pool) })
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if source, members := list(); source != "old.csv" || members != 1 {
		t.Errorf("after the kill the list is that of %s, with %d members", source, members)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.run("list", "import", "people", "new.csv", "--replace").want(t, 0, "20,000")
	if source, members := list(); source != "new.csv" || members != rows {
		t.Errorf("after another import the list is that of %s, with %d members", source, members)
	}
}
