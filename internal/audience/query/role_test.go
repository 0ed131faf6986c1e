package query_test

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/audience/query"
	"directmailer/internal/dev/servertest"
)

func TestTheDatabaseOfAMailerIsRefusedUnlessItsOperatorAllowsIt(t *testing.T) {
	t.Parallel()
	own := servertest.Database(t)
	const sql = "SELECT 'ann@example.org' AS email"
	var fault *query.Fault
	if _, err := crm(t, own).Query(t.Context(), "crm", sql, patience); !errors.As(err, &fault) ||
		!strings.Contains(err.Error(), "mailer_database=allowed") {
		t.Errorf("a query: %v", err)
	}
	if _, err := crm(t, own).Describe(t.Context(), "crm", sql, patience); !errors.As(err, &fault) {
		t.Errorf("a check of a query: %v", err)
	}
	allowed := with(t, own, func(u *url.URL, v url.Values) { v.Set("mailer_database", "allowed") })
	if _, err := crm(t, allowed).Describe(t.Context(), "crm", sql, patience); err != nil {
		t.Errorf("allowed: %v", err)
	}
	wrong := with(t, own, func(u *url.URL, v url.Values) { v.Set("mailer_database", "no") })
	if _, err := query.Parse("crm", wrong); err == nil || !strings.Contains(err.Error(), "mailer_database") {
		t.Errorf("another value: %v", err)
	}
}

func TestARoleThatMayDoMoreThanReadIsWarnedOf(t *testing.T) {
	t.Parallel()
	at := source.Database(t)
	conn, err := pgx.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	role := "reader_" + strconv.FormatInt(time.Now().UnixNano(), 36)
	run := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), strings.ReplaceAll(sql, "ROLE", role)); err != nil {
			t.Fatal(err)
		}
	}
	run("CREATE USER ROLE PASSWORD 'secret'")
	t.Cleanup(func() {
		_, _ = conn.Exec(context.Background(), "DROP OWNED BY "+role+"; DROP USER "+role)
	})
	run("GRANT SELECT ON people TO ROLE")
	reader := with(t, at, func(u *url.URL, _ url.Values) { u.User = url.UserPassword(role, "secret") })
	powers := func(url, want string) {
		t.Helper()
		got, err := crm(t, url).Powers(t.Context(), "crm", patience)
		if err != nil || strings.Join(got, "; ") != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	powers(reader, "")
	run("GRANT INSERT ON people TO ROLE")
	powers(reader, "may change 1 of its tables")
	run("GRANT pg_read_server_files, pg_execute_server_program TO ROLE")
	powers(reader, "may use files of the server; may run programs on the server; may change 1 of its tables")
	powers(at, "is a superuser; may change 2 of its tables")
}

// with returns the URL after a change.
func with(t *testing.T, text string, change func(*url.URL, url.Values)) string {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	values := u.Query()
	change(u, values)
	u.RawQuery = values.Encode()
	return u.String()
}
