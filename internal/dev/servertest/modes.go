package servertest

import (
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// againVariable is set in the processes that InEveryMode starts.
const againVariable = "DM_TEST_AGAIN"

// modeVariable names the mode of pgx that the databases of tests are used in.
const modeVariable = "DM_TEST_QUERY_EXEC_MODE"

// poolerVariable is the host and port of a pooler through which the databases of tests are used.
const poolerVariable = "DM_TEST_POOLER"

// modes are those that `default_query_exec_mode` in DATABASE_URL can have. The tests themselves run
// in cache_statement, pgx's own default.
var modes = []string{"exec", "simple_protocol", "cache_describe", "describe_exec"}

// InEveryMode runs the tests of the package again in each other mode of pgx, and through a
// transaction pooler. The modes send arguments in different formats, and without their types. It
// does not run tests with servers of their own again, nor those whose names are in skip: they take
// long, and their statements are also those of other tests.
func InEveryMode(t *testing.T, skip ...string) {
	t.Helper()
	if os.Getenv(againVariable) != "" {
		t.Skip("runs the tests")
	}
	t.Parallel()
	server, err := postgres()
	if err != nil {
		t.Fatalf("start PostgreSQL for the tests: %v", err)
	}
	run := func(t *testing.T, settings ...string) {
		t.Parallel()
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.short",
			"-test.skip", "^("+strings.Join(skip, "|")+")$")
		cmd.Env = append(append(os.Environ(), "TEST_DATABASE_URL="+server, againVariable+"=yes"), settings...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			if mode != "exec" {
				run(t, modeVariable+"="+mode)
				return
			}
			// This is the mode behind a pooler: both are tested in one run, where there is a pooler.
			u, err := url.Parse(PgBouncer(t, server, "transaction"))
			if err != nil {
				t.Fatal(err)
			}
			run(t, poolerVariable+"="+u.Host)
		})
	}
}

// NeedsNewSessions skips the test behind a pooler, which keeps sessions with older defaults.
func NeedsNewSessions(t testing.TB) {
	t.Helper()
	if os.Getenv(poolerVariable) != "" {
		t.Skip("a pooler keeps its sessions")
	}
}

// reached returns the URL of a database in the mode of pgx and through the pooler that InEveryMode
// wants.
func reached(database string) string {
	if host := os.Getenv(poolerVariable); host != "" {
		u, err := url.Parse(database)
		if err != nil {
			return database // the connection will fail with the reason
		}
		u.Host = host
		database = u.String()
	}
	return withMode(database, os.Getenv(modeVariable))
}

// withMode returns the URL with a mode of pgx.
func withMode(url, mode string) string {
	switch {
	case mode == "":
		return url
	case !strings.HasPrefix(url, "postgres"):
		return url + " default_query_exec_mode=" + mode
	case strings.Contains(url, "?"):
		return url + "&default_query_exec_mode=" + mode
	}
	return url + "?default_query_exec_mode=" + mode
}
