// Package devtest gives tests real servers: a PostgreSQL with a database for each test, a Temporal, and built programs. Each is started
// once for a test binary, when it is first asked for, and ended by Main.
//
// DATABASE_URL and TEMPORAL_ADDRESS name servers that are used instead.
package devtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/devstack"
)

var (
	mu       sync.Mutex
	cleanups []func()
	scratch  string
)

// Main runs the tests of a package and ends what they have started: os.Exit(devtest.Main(m)).
func Main(m *testing.M) int {
	code := m.Run()
	mu.Lock()
	defer mu.Unlock()
	for i := len(cleanups) - 1; i >= 0; i-- {
		cleanups[i]()
	}
	if scratch != "" {
		_ = os.RemoveAll(scratch)
	}
	return code
}

// folder is a short path that everybody may pass: PostgreSQL runs as another user when we are root. mu is held.
func folder() (string, error) {
	if scratch != "" {
		return scratch, nil
	}
	dir, err := os.MkdirTemp("", "dm-test-")
	if err != nil {
		return "", err
	}
	scratch = dir
	return dir, os.Chmod(dir, 0o755)
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

var postgres = sync.OnceValues(func() (string, error) {
	if given := os.Getenv("DATABASE_URL"); given != "" {
		return given, nil
	}
	mu.Lock()
	defer mu.Unlock()
	dir, err := folder()
	if err != nil {
		return "", err
	}
	server, err := startPostgres(context.Background(), filepath.Join(dir, "pg"))
	if err != nil {
		return "", err
	}
	cleanups = append(cleanups, func() { server.Stop(context.Background()) })
	return server.URL("postgres"), nil
})

func startPostgres(ctx context.Context, dir string) (*devstack.Postgres, error) {
	if err := devstack.InstallPostgres(ctx, os.Stderr, say); err != nil {
		return nil, err
	}
	return devstack.StartPostgres(ctx, devstack.PostgresOptions{Dir: dir, Progress: devstack.Silent})
}

// Migrate brings the schema of a database up to date.
type Migrate func(ctx context.Context, url string) error

type template struct {
	once sync.Once
	name string
	err  error
}

var (
	blank   template
	numbers atomic.Int64
)

// Database returns the URL of a new database, migrated, that is dropped after the test.
func Database(t testing.TB, migrate Migrate) string {
	t.Helper()
	server, err := postgres()
	if err != nil {
		t.Fatalf("start PostgreSQL for the tests: %v", err)
	}
	blank.once.Do(func() {
		blank.name = fmt.Sprintf("dm_blank_%d", os.Getpid())
		if blank.err = admin(server, "CREATE DATABASE "+blank.name); blank.err == nil {
			blank.err = migrate(context.Background(), inServer(server, blank.name))
			mu.Lock()
			cleanups = append(cleanups, func() { _ = admin(server, "DROP DATABASE "+blank.name+" WITH (FORCE)") })
			mu.Unlock()
		}
	})
	if blank.err != nil {
		t.Fatalf("migrate a database for the tests: %v", blank.err)
	}
	name := fmt.Sprintf("dm_%d_%d", os.Getpid(), numbers.Add(1))
	if err := admin(server, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s STRATEGY FILE_COPY", name, blank.name)); err != nil {
		if err = admin(server, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", name, blank.name)); err != nil {
			t.Fatalf("make the test's database: %v", err)
		}
	}
	t.Cleanup(func() { _ = admin(server, "DROP DATABASE "+name+" WITH (FORCE)") })
	return inServer(server, name)
}

// templating keeps two tests from copying the template at the same time, which PostgreSQL refuses.
var templating sync.Mutex

func admin(server, sql string) error {
	templating.Lock()
	defer templating.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

func inServer(server, database string) string {
	u, err := url.Parse(server)
	if err != nil {
		return server
	}
	u.Path = "/" + database
	return u.String()
}

// OwnPostgres starts a server for one test, which may kill it and start it again. It has an empty database "mail".
func OwnPostgres(t testing.TB) *devstack.Postgres {
	t.Helper()
	mu.Lock()
	dir, err := folder()
	mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	server, err := startPostgres(t.Context(), filepath.Join(dir, fmt.Sprintf("own%d", numbers.Add(1))))
	if err != nil {
		t.Fatalf("start a PostgreSQL of its own: %v", err)
	}
	t.Cleanup(func() { server.Stop(context.Background()) })
	if err := server.CreateDatabase(t.Context(), "mail"); err != nil {
		t.Fatal(err)
	}
	return server
}

var temporal = sync.OnceValues(func() (string, error) {
	if given := os.Getenv("TEMPORAL_ADDRESS"); given != "" {
		return given, nil
	}
	server, err := devstack.StartTemporal(context.Background(), devstack.TemporalOptions{Progress: say})
	if err != nil {
		return "", err
	}
	mu.Lock()
	defer mu.Unlock()
	cleanups = append(cleanups, func() { server.Stop(context.Background()) })
	return server.Address(), nil
})

// Temporal returns host:port of a server with the namespace "default".
func Temporal(t testing.TB) string {
	t.Helper()
	address, err := temporal()
	if err != nil {
		t.Fatalf("start Temporal for the tests: %v", err)
	}
	return address
}

// OwnTemporal starts a server for one test, which may kill it and start it again; its data is on disk.
func OwnTemporal(t testing.TB, dynamicConfig map[string]string) *devstack.Temporal {
	t.Helper()
	server, err := devstack.StartTemporal(t.Context(), devstack.TemporalOptions{Dir: t.TempDir(), DynamicConfig: dynamicConfig, Progress: say})
	if err != nil {
		t.Fatalf("start a Temporal of its own: %v", err)
	}
	t.Cleanup(func() { server.Stop(context.Background()) })
	return server
}

// TemporalCLI returns the path of the `temporal` command.
func TemporalCLI(t testing.TB) string {
	t.Helper()
	path, err := devstack.TemporalBinary(t.Context(), say)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var (
	builds   = map[string]string{}
	building sync.Mutex
)

// Build builds a program of this module, such as "./worker", with the race detector if the tests have it, and returns its path.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	if path, ok := builds[pkg]; ok {
		return path
	}
	mu.Lock()
	dir, err := folder()
	mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, filepath.Base(pkg))
	args := []string{"build", "-o", path}
	if raced {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "directmailer/"+strings.TrimPrefix(pkg, "./"))...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	builds[pkg] = path
	return path
}
