package database_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"directmailer/internal/database"
	"directmailer/internal/dev/servertest"
)

// Real servers give these errors. What is said of each names the setting to change.
func TestRealErrorsSayWhatToChange(t *testing.T) {
	t.Parallel()
	primary := servertest.OwnPostgres(t)
	at := primary.URL("mail")
	admin := open(t, at)
	exec := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE ROLE secret_mailer LOGIN PASSWORD 'secret' CONNECTION LIMIT 2`)
	exec(`CREATE ROLE secret_guest NOLOGIN PASSWORD 'secret'`)
	exec(`CREATE DATABASE "secret_empty"`)
	exec(`CREATE DATABASE "secret_closed" ALLOW_CONNECTIONS false`)
	exec(`CREATE DATABASE "secret_latin" ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`)
	as := func(user, database string) string {
		u, err := url.Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		u.User, u.Path = url.UserPassword(user, "secret"), "/"+database
		return u.String()
	}
	// run executes statements in one session, and returns the last one's error.
	run := func(at string, statements ...string) error {
		pool, err := database.Open(t.Context(), at, 1)
		if err != nil {
			return err
		}
		defer pool.Close()
		conn, err := pool.Acquire(t.Context())
		if err != nil {
			return err
		}
		defer conn.Release()
		for _, sql := range statements {
			_, err = conn.Exec(t.Context(), sql)
		}
		return err
	}
	for _, c := range []struct {
		code, want string
		provoke    func() error
	}{
		{"22021", "UTF8", func() error { return run(at, `SELECT convert_from('\xff', 'UTF8')`) }},
		{"22P05", "UTF8", func() error { return run(primary.URL("secret_latin"), `SELECT U&'\0416'`) }},
		{"22P02", "default_query_exec_mode", func() error { return run(at, `SELECT 'secret'::jsonb`) }},
		{"25006", "target_session_attrs", func() error {
			return run(withParameters(at, "default_transaction_read_only=on"), `DELETE FROM lists`)
		}},
		{"28000", "pg_hba.conf", func() error { return run(as("secret_guest", "mail")) }},
		{"28P01", "DATABASE_URL", func() error { return run(strings.Replace(as("postgres", "mail"), "secret", "wrong", 1)) }},
		{"3D000", "create it", func() error { return run(primary.URL("nowhere")) }},
		{"42501", "grant the role", func() error { return run(as("secret_mailer", "mail"), `SELECT FROM mailings`) }},
		{"42P01", "starter migrate", func() error { return run(primary.URL("secret_empty"), `SELECT FROM mailings`) }},
		{"42703", "starter migrate", func() error { return run(at, `SELECT new_column FROM mailings`) }},
		{"42P05", "default_query_exec_mode", func() error {
			return run(at, `PREPARE p AS SELECT 1`, `PREPARE p AS SELECT 1`)
		}},
		{"26000", "default_query_exec_mode", func() error { return run(at, `EXECUTE nothing`) }},
		{"53300", "max_connections", func() error {
			held := open(t, as("secret_mailer", "mail"))
			for range 2 {
				conn, err := held.Acquire(t.Context())
				if err != nil {
					return err
				}
				defer conn.Release()
			}
			return run(as("secret_mailer", "mail"), `SELECT 1`)
		}},
		{"53400", "temp_file_limit", func() error {
			return run(at, `SET temp_file_limit = 0`, `SET work_mem = '64kB'`,
				`SELECT count(*) FROM (SELECT n FROM generate_series(1, 100000) n ORDER BY n::text OFFSET 1) x`)
		}},
		{"55000", "ALLOW_CONNECTIONS", func() error { return run(primary.URL("secret_closed")) }},
		{"55P03", "lock_timeout", func() error {
			tx, err := admin.Begin(t.Context())
			if err != nil {
				return err
			}
			defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
			if _, err := tx.Exec(t.Context(), `LOCK TABLE lists`); err != nil {
				return err
			}
			return run(at, `SET lock_timeout = 10`, `SELECT FROM lists`)
		}},
		{"57014", "statement_timeout", func() error { return run(at, `SET statement_timeout = 10`, `SELECT pg_sleep(60)`) }},
		{"57P01", "tried again", func() error { return run(at, `SELECT pg_terminate_backend(pg_backend_pid())`) }},
		{"P0001", "trigger", func() error { return run(at, `DO $$ BEGIN RAISE EXCEPTION 'secret'; END $$`) }},
	} {
		t.Run(c.code, func(t *testing.T) {
			err := c.provoke()
			if err == nil {
				t.Fatal("there is no error")
			}
			text := database.Redact(err)
			if strings.HasPrefix(err.Error(), "reach ") { // worded already
				text = err.Error()[strings.Index(err.Error(), "PostgreSQL error"):]
			}
			if !strings.HasPrefix(text, "PostgreSQL error "+c.code) || !strings.Contains(text, c.want) ||
				strings.Contains(text, "secret") {
				t.Errorf("%v: %s", err, text)
			}
		})
	}
}
