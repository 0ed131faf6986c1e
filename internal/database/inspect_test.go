package database_test

import (
	"net/url"
	"testing"

	"directmailer/internal/database"
	"directmailer/internal/dev/servertest"
)

func TestAnInspectionShowsWhatTheServerTheDatabaseAndTheRoleAreSetTo(t *testing.T) {
	t.Parallel()
	primary := servertest.OwnPostgres(t)
	at := primary.URL("mail")
	for _, setting := range []string{"default_transaction_isolation = ''repeatable read''", "synchronous_commit = off",
		"statement_timeout = 5000"} {
		alter(t, at, setting)
	}
	admin := open(t, at)
	for _, sql := range []string{`ALTER DATABASE mail CONNECTION LIMIT 40`,
		`CREATE ROLE mailer LOGIN PASSWORD 'word' CONNECTION LIMIT 30`} {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	inspect := func(at string) database.Inspection {
		t.Helper()
		i, err := database.Inspect(t.Context(), open(t, at))
		if err != nil {
			t.Fatal(err)
		}
		i.Open = 0 // other sessions of the test come and go
		return i
	}
	none, one := 0, 1
	want := database.Inspection{Isolation: "repeatable read", SynchronousCommit: "off", Fsync: "on", FullPageWrites: "on",
		StatementTimeout: "5000ms", MaxConnections: 1000, Reserved: 3, RoleLimit: -1, DatabaseLimit: 40, Synchronous: &none}
	check := func(got, want database.Inspection) {
		t.Helper()
		if (got.Synchronous == nil) != (want.Synchronous == nil) ||
			got.Synchronous != nil && *got.Synchronous != *want.Synchronous {
			t.Errorf("%v standbys are synchronous, want %v", got.Synchronous, want.Synchronous)
		}
		got.Synchronous, want.Synchronous = nil, nil
		if got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
	check(inspect(at), want)
	if n := want.Available(); n != 40 {
		t.Errorf("%d connections", n)
	}
	standby := servertest.Standby(t, primary, 0)
	if err := primary.Synchronous(t.Context()); err != nil {
		t.Fatal(err)
	}
	want.StandbyNames, want.Standbys, want.Synchronous = "*", 1, &one
	check(inspect(at), want)
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("mailer", "word")
	want.RoleLimit, want.Synchronous = 30, nil // which the role may not see
	check(inspect(u.String()), want)
	want = database.Inspection{Isolation: "repeatable read", SynchronousCommit: "off", Fsync: "on", FullPageWrites: "on",
		StatementTimeout: "5000ms", MaxConnections: 1000, Reserved: 3, RoleLimit: -1, DatabaseLimit: 40, Synchronous: &none,
		InRecovery: true}
	check(inspect(standby.URL("mail")), want)
}
