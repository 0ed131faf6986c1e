package database_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/counts"
	"directmailer/internal/database"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/mailings"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

// empty is the URL of a new database without a schema.
func empty(t *testing.T) string {
	t.Helper()
	return servertest.EmptyDatabase(t)
}

func open(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	pool := servertest.Pool(t, url, 4)
	return pool
}

func migrate(t *testing.T, url string) (before, after int64) {
	t.Helper()
	before, after, err := database.Migrate(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return before, after
}

func TestTheSecondMigrationChangesNothing(t *testing.T) {
	t.Parallel()
	url := empty(t)
	before, after := migrate(t, url)
	if before != 0 || after == 0 {
		t.Errorf("migrated from %d to %d", before, after)
	}
	pool := open(t, url)
	if _, err := pool.Exec(t.Context(), `INSERT INTO opt_outs VALUES ('a@example.com', 'asked')`); err != nil {
		t.Fatal(err)
	}
	if again, end := migrate(t, url); again != after || end != after {
		t.Errorf("migrated again from %d to %d, want %d to %[3]d", again, end, after)
	}
	var n int
	if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM opt_outs`).Scan(&n); err != nil || n != 1 {
		t.Errorf("%d opt-outs are left (%v)", n, err)
	}
}

func TestMigrationsAtOnceWaitForEachOther(t *testing.T) {
	t.Parallel()
	url := empty(t)
	var group sync.WaitGroup
	start := make(chan struct{})
	var errs [3]error
	for i := range errs {
		group.Go(func() {
			<-start
			_, _, errs[i] = database.Migrate(t.Context(), url)
		})
	}
	close(start)
	group.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("migration %d: %v", i, err)
		}
	}
	if err := database.CheckMigrated(t.Context(), open(t, url)); err != nil {
		t.Error(err)
	}
}

func TestADatabaseIsUsedOnlyWhenItIsMigrated(t *testing.T) {
	t.Parallel()
	url := empty(t)
	pool := open(t, url)
	if err := database.CheckMigrated(t.Context(), pool); !errors.Is(err, database.ErrNotMigrated) {
		t.Errorf("before: got %v, want ErrNotMigrated", err)
	}
	migrate(t, url)
	if err := database.CheckMigrated(t.Context(), pool); err != nil {
		t.Errorf("after: %v", err)
	}
	if _, err := pool.Exec(t.Context(),
		`DELETE FROM goose_db_version WHERE version_id = (SELECT max(version_id) FROM goose_db_version)`); err != nil {
		t.Fatal(err)
	}
	if err := database.CheckMigrated(t.Context(), pool); !errors.Is(err, database.ErrNotMigrated) {
		t.Errorf("one version short: got %v, want ErrNotMigrated", err)
	}
}

// refused is a URL at whose port nobody listens.
func refused(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return fmt.Sprintf("postgres://secret-user:secret-word@%s/mail", listener.Addr())
}

func TestNobodyListeningIsUnavailable(t *testing.T) {
	t.Parallel()
	at := refused(t)
	_, err := database.Open(t.Context(), at, 1)
	checkError(t, err, true)
	if err != nil && !strings.Contains(err.Error(), database.Place(at)) {
		t.Errorf("the error does not say where: %v", err)
	}
	if _, _, err := database.Migrate(t.Context(), at); err == nil {
		t.Error("migrated")
	}
}

// checkError checks that the error is of the kind and names neither user nor password.
func checkError(t *testing.T, err error, unavailable bool) {
	t.Helper()
	if err == nil {
		t.Error("there is no error")
		return
	}
	if got := database.Unavailable(err); got != unavailable {
		t.Errorf("unavailable is %t, want %t: %v", got, unavailable, err)
	}
	for _, text := range []string{err.Error(), database.Reason(err), database.Redact(err)} {
		if strings.Contains(text, "secret") {
			t.Errorf("the text tells too much: %s", text)
		}
	}
}

func TestAServerThatIsKilledInMidQueryIsUnavailableAndComesBack(t *testing.T) {
	t.Parallel()
	server := servertest.OwnPostgres(t)
	pool := open(t, server.URL("mail"))
	watch := open(t, server.URL("mail"))
	ended := make(chan error, 1)
	go func() { _, err := pool.Exec(t.Context(), `SELECT pg_sleep(600)`); ended <- err }()
	for running := false; !running; {
		err := watch.QueryRow(t.Context(), `SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep'`).
			Scan(&running)
		if err != nil {
			t.Fatal(err)
		}
	}
	server.Kill()
	checkError(t, <-ended, true)
	_, err := pool.Exec(t.Context(), `SELECT 1`)
	checkError(t, err, true)
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for { // connections that were idle when the server died are found out one by one
		if _, err = pool.Exec(t.Context(), `SELECT 1`); err == nil {
			break
		}
		checkError(t, err, true)
	}
}

func TestTooManyConnectionsAreUnavailable(t *testing.T) {
	t.Parallel()
	server := servertest.OwnPostgres(t)
	if _, err := open(t, server.URL("mail")).Exec(t.Context(),
		`CREATE ROLE secret_role LOGIN PASSWORD 'secret-word' CONNECTION LIMIT 1`); err != nil {
		t.Fatal(err)
	}
	limited, err := url.Parse(server.URL("mail"))
	if err != nil {
		t.Fatal(err)
	}
	limited.User = url.UserPassword("secret_role", "secret-word")
	pool := open(t, limited.String())
	_, err = database.Open(t.Context(), limited.String(), 1)
	checkError(t, err, true)
	first, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Release()
	_, err = pool.Exec(t.Context(), `SELECT 1`) // needs a second connection
	if err == nil || !database.Unavailable(err) || strings.Contains(database.Redact(err), "secret") {
		t.Errorf("got %v, in short %s", err, database.Redact(err))
	}
}

func TestARefusedUserIsNotNamed(t *testing.T) {
	t.Parallel()
	server := servertest.OwnPostgres(t)
	for _, user := range []*url.Userinfo{url.UserPassword("secret_user", "secret-word"),
		url.UserPassword("postgres", "secret-word")} {
		at, err := url.Parse(server.URL("mail"))
		if err != nil {
			t.Fatal(err)
		}
		at.User = user
		_, err = database.Open(t.Context(), at.String(), 1)
		checkError(t, err, true)
		if want := fmt.Sprintf("reach the database at %s: PostgreSQL error 28P01: the user or the password is refused: "+
			"correct DATABASE_URL", database.Place(at.String())); err == nil ||
			err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	_, err := database.Open(t.Context(), server.URL("nowhere"), 1)
	checkError(t, err, false)
	if err != nil && !strings.Contains(err.Error(), "there is no such database") {
		t.Errorf("got %v", err)
	}
}

func TestAStatementsOwnFaultIsNotUnavailable(t *testing.T) {
	t.Parallel()
	pool := open(t, empty(t))
	for _, sql := range []string{`SELECT 'secret'::int`, `SELECT * FROM secret`, `SELECT 1/0`, `secret`} {
		_, err := pool.Exec(t.Context(), sql)
		if err == nil || database.Unavailable(err) {
			t.Errorf("%s: got %v", sql, err)
		}
		if text := database.Redact(fmt.Errorf("while working: %w", err)); strings.Contains(text, "secret") ||
			!strings.HasPrefix(text, "PostgreSQL error ") {
			t.Errorf("%s: %s", sql, text)
		}
	}
}

func TestACallersOwnEndIsNotUnavailable(t *testing.T) {
	t.Parallel()
	pool := open(t, empty(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, before := pool.Exec(ctx, `SELECT 1`)
	ctx, cancel = context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { _, err := pool.Exec(ctx, `SELECT pg_sleep(600)`); ended <- err }()
	for running := false; !running; {
		err := pool.QueryRow(t.Context(),
			`SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()`).
			Scan(&running)
		if err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	for _, err := range []error{before, <-ended} {
		if err == nil || database.Unavailable(err) {
			t.Errorf("got %v, taken for a database that is away", err)
		}
	}
}

func TestClassesOfErrorsAreToldApart(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]bool{
		"08006": true, "25006": true, "25P03": true, "28P01": true, "40001": true, "40P01": true, "53100": true,
		"53300": true, "55P03": true,
		"57P01": true, "57P03": true, "57014": true, "58030": true, "XX000": true, "XX001": true,
		"22P02": false, "23505": false, "42P01": false, "42501": false, "0A000": false, "3D000": false, "P0001": false,
	} {
		if got := database.Unavailable(fmt.Errorf("x: %w", &pgconn.PgError{Code: code})); got != want {
			t.Errorf("%s: unavailable is %t", code, got)
		}
	}
	if database.Unavailable(nil) || database.Unavailable(errors.New("anything")) {
		t.Error("an error of somebody else is taken for a lost connection")
	}
	pool := open(t, empty(t))
	pool.Close()
	_, err := pool.Exec(t.Context(), `SELECT 1`)
	checkError(t, err, true)
}

func TestABadURLIsNotRepeated(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"postgres://secret-user:secret word@127.0.0.1:port/mail", "postgres://secret-user:%zz@127.0.0.1/mail",
		"mysql://secret@127.0.0.1/x", "secret",
		"postgres://secret@127.0.0.1/mail?sslmode=secret", "postgres://secret@127.0.0.1/mail?pool_max_conns=secret",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		_, err := database.Open(ctx, bad, 1)
		cancel()
		checkError(t, err, false)
		if err != nil && !strings.Contains(err.Error(), "DATABASE_URL") {
			t.Errorf("the error does not say what to change: %v", err)
		}
		if place := database.Place(bad); strings.Contains(place, "secret") {
			t.Errorf("the place is %s", place)
		}
	}
	got := database.Place("postgres://secret-user:secret-word@db.example.com:6432/mail?sslmode=disable")
	if got != "db.example.com:6432/mail" {
		t.Errorf("got %s", got)
	}
}

// The counts of mailings that have ended are renamed: read under the new names, the old ones would
// be zero.
func TestCountsOfAnOldDatabaseGetTheNewNames(t *testing.T) {
	t.Parallel()
	url := empty(t)
	pool := open(t, url)
	migrateTo(t, pool, 6)
	for _, statement := range []string{
		`INSERT INTO mailings (id, first_run_id, input, list, state, counts)
			VALUES ('old', 'run', '{}', 'people', 'completed',
			'{"Sent": 1, "Bounced": 2, "Failed": 3, "OptedOut": 4, "Uncertain": 5, "Unsent": 6, "PossiblyTwice": 7}')`,
		`INSERT INTO mailings (id, first_run_id, input, list, state) VALUES ('open', 'run', '{}', 'people', 'sending')`,
	} {
		if _, err := pool.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	migrate(t, url)
	m, err := mailings.New(pool).Get(t.Context(), "old")
	if err != nil {
		t.Fatal(err)
	}
	want := counts.Counts{Sent: 1, Bounced: 2, Failed: 3, OptedOut: 4, Uncertain: 5, Unsent: 6, PossiblyTwice: 7}
	if m.Counts == nil || *m.Counts != want {
		t.Errorf("got %+v, want %+v", m.Counts, want)
	}
	if m, err = mailings.New(pool).Get(t.Context(), "open"); err != nil || m.Counts != nil {
		t.Errorf("a mailing that has not ended has the counts %+v (%v)", m.Counts, err)
	}
}

// Mailings of an old database know their lists, also through the mailings that they continue.
func TestMailingsOfAnOldDatabaseKnowTheirOrigin(t *testing.T) {
	t.Parallel()
	url := empty(t)
	pool := open(t, url)
	migrateTo(t, pool, 10)
	for _, statement := range []string{
		`INSERT INTO mailings (id, first_run_id, input, list, state) VALUES
			('third', 'run', '{}', 'continue:second', 'completed'), ('second', 'run', '{}', 'continue:first', 'completed'),
			('first', 'run', '{}', 'people', 'completed'), ('asked', 'run', '{}', 'query:crm', 'completed'),
			('lost', 'run', '{}', 'continue:nothing', 'completed')`,
	} {
		if _, err := pool.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	migrate(t, url)
	for id, want := range map[string]string{
		"first": "people", "second": "people", "third": "people", "asked": "query:crm", "lost": "continue:nothing",
	} {
		if m, err := mailings.New(pool).Get(t.Context(), id); err != nil || m.Origin != want {
			t.Errorf("%s comes from %q, want %q (%v)", id, m.Origin, want, err)
		}
	}
}
