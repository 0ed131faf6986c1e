package servertest

import (
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// againVariable is set in the processes that InEveryMode starts.
const againVariable = "DM_TEST_AGAIN"

// modeVariable names the mode of pgx that the databases of tests are used in.
const modeVariable = "DM_TEST_QUERY_EXEC_MODE"

// poolerVariable is the host and port of a pooler through which the databases of tests are used.
const poolerVariable = "DM_TEST_POOLER"

// describing are the modes of `default_query_exec_mode` in DATABASE_URL that ask the server for the
// types of arguments, as cache_statement does, pgx's own default, in which the tests run. They
// differ from it in how many statements and round trips they need.
var describing = []string{"cache_describe", "describe_exec"}

// typeless are the modes that send arguments without their types, most of them as text.
var typeless = []string{"exec", "simple_protocol"}

// InEveryMode runs the tests of the package again in each other mode of pgx, and through a
// transaction pooler. It does not run tests with servers of their own again, nor those whose names
// are in skip: they take long, and their statements are also those of other tests.
func InEveryMode(t *testing.T, skip ...string) {
	t.Helper()
	inModes(t, slices.Concat(typeless, describing), skip)
}

// InTypelessModes is InEveryMode for packages whose statements do not depend on anything else: it
// runs the tests in the modes that send arguments without their types.
func InTypelessModes(t *testing.T, skip ...string) {
	t.Helper()
	inModes(t, typeless, skip)
}

func inModes(t *testing.T, modes, skip []string) {
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
