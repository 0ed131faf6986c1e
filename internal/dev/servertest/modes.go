package servertest

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// modeVariable names the mode of pgx that the databases of tests are used in.
const modeVariable = "DM_TEST_QUERY_EXEC_MODE"

// modes are those that `default_query_exec_mode` in DATABASE_URL can have. The tests themselves run
// in cache_statement, pgx's own default.
var modes = []string{"exec", "simple_protocol", "cache_describe", "describe_exec"}

// InEveryMode runs the tests of the package again in each other mode of pgx: the modes send
// arguments in different formats, and without their types. It does not run tests with servers of
// their own again, nor those whose names are in skip: they take long, and their statements are also
// those of other tests.
func InEveryMode(t *testing.T, skip ...string) {
	t.Helper()
	if os.Getenv(modeVariable) != "" {
		t.Skip("runs the tests")
	}
	t.Parallel()
	server, err := postgres()
	if err != nil {
		t.Fatalf("start PostgreSQL for the tests: %v", err)
	}
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.short",
				"-test.skip", "^("+strings.Join(skip, "|")+")$")
			cmd.Env = append(os.Environ(), "TEST_DATABASE_URL="+server, modeVariable+"="+mode)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
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
