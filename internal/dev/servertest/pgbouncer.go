package servertest

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path"
	"testing"

	"directmailer/internal/dev/servers"
)

// PgBouncer starts a pooler in the mode ("session" or "transaction") in front of the server of a
// database, and returns the database's URL through it. The test is skipped where PgBouncer cannot
// be installed.
func PgBouncer(t testing.TB, database, mode string) string {
	t.Helper()
	if err := servers.InstallPgBouncer(t.Context(), os.Stderr, say); errors.Is(err, servers.ErrNoPgBouncer) {
		t.Skipf("SKIPPED, nothing is tested behind PgBouncer: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	dir, err := ownFolder("pgbouncer")
	if err != nil {
		t.Fatal(err)
	}
	pooler, err := servers.StartPgBouncer(t.Context(), dir, database, mode)
	if err != nil {
		t.Fatalf("start PgBouncer: %v", err)
	}
	t.Cleanup(func() { pooler.Stop(context.Background()) })
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	return pooler.URL(path.Base(u.Path))
}

// Dovecot starts an IMAP server with an empty mailbox. The test is skipped where it cannot be
// installed.
func Dovecot(t testing.TB) *servers.Dovecot {
	t.Helper()
	if err := servers.InstallDovecot(t.Context(), os.Stderr, say); errors.Is(err, servers.ErrNoDovecot) {
		t.Skipf("SKIPPED, nothing is tested with a real IMAP server: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	dir, err := ownFolder("dovecot")
	if err != nil {
		t.Fatal(err)
	}
	d, err := servers.StartDovecot(t.Context(), dir)
	if err != nil {
		t.Fatalf("start Dovecot: %v", err)
	}
	t.Cleanup(func() { d.Stop(context.Background()) })
	return d
}

// Standby starts a standby of the server for one test, on the port or, with 0, on a free one.
func Standby(t testing.TB, primary *servers.Postgres, port int) *servers.Postgres {
	t.Helper()
	dir, err := ownFolder("standby")
	if err != nil {
		t.Fatal(err)
	}
	standby, err := servers.StartStandby(t.Context(), primary, dir, port)
	if err != nil {
		t.Fatalf("start a standby: %v", err)
	}
	t.Cleanup(func() { standby.Stop(context.Background()) })
	return standby
}
