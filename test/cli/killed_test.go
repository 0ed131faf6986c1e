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
			eventually(t, "the import waits", func() bool {
				return number(`SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
					WHERE NOT granted AND datname = current_database()`) > 0
			})
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
