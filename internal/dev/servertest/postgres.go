package servertest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/database"
	"directmailer/internal/dev/servers"
)

var postgres = sync.OnceValues(func() (string, error) {
	for _, name := range []string{"TEST_DATABASE_URL", "DATABASE_URL"} {
		if given := os.Getenv(name); given != "" {
			return given, nil
		}
	}
	server, err := startPostgres(context.Background(), true)
	if err != nil {
		return "", err
	}
	atEnd(func() { server.Stop(context.Background()) })
	return server.URL("postgres"), nil
})

func startPostgres(ctx context.Context, throwaway bool) (*servers.Postgres, error) {
	if err := servers.InstallPostgres(ctx, os.Stderr, say); err != nil {
		return nil, err
	}
	dir, err := ownFolder("pg")
	if err != nil {
		return nil, err
	}
	// Several tests run at a time. Each has several workers, and each worker has dozens of
	// connections.
	// A server that is killed leaves nothing outside its folder, with mmap.
	settings := map[string]string{"max_connections": "1000", "dynamic_shared_memory_type": "mmap"}
	if throwaway {
		if folder := memoryFolder(); folder != "" {
			dir = filepath.Join(folder, "pg")
		}
		settings["max_wal_size"] = "256MB" // with it, a server in memory stays small
	}
	server, err := servers.StartPostgres(ctx, servers.PostgresOptions{Dir: dir, Throwaway: throwaway, Settings: settings})
	if err != nil {
		return nil, err
	}
	if err := quickenLogin(ctx, server.URL("postgres")); err != nil {
		server.Stop(ctx)
		return nil, err
	}
	return server, nil
}

// Template is a database that tests get copies of. It is prepared once for a test binary, when the
// first test asks for a copy.
type Template struct {
	prepare func(ctx context.Context, url string) error

	once sync.Once
	name string
	err  error
}

// NewTemplate returns a template that prepare makes of an empty database.
func NewTemplate(prepare func(ctx context.Context, url string) error) *Template {
	return &Template{prepare: prepare}
}

var (
	migrated = NewTemplate(migrate)
	empty    = NewTemplate(func(context.Context, string) error { return nil })
)

func migrate(ctx context.Context, url string) error {
	_, _, err := database.Migrate(ctx, url)
	return err
}

// Database returns the URL of a new, migrated database. The database is dropped after the test.
func Database(t testing.TB) string {
	t.Helper()
	return migrated.Database(t)
}

// Pool returns connections to a database, at most so many. They are closed after the test, which
// must have given all of them back.
func Pool(t testing.TB, databaseURL string, connections int32) *pgxpool.Pool {
	t.Helper()
	pool, err := database.Open(t.Context(), databaseURL, connections)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		closed := make(chan struct{})
		go func() { pool.Close(); close(closed) }()
		select {
		case <-closed:
		case <-time.After(time.Minute):
			t.Error("the test has not given back all connections of its pool")
		}
	})
	return pool
}

// EmptyDatabase returns the URL of a new database without a table. It is dropped after the test.
func EmptyDatabase(t testing.TB) string {
	t.Helper()
	return empty.Database(t)
}

// Database returns the URL of a new copy of the template. The copy is dropped after the test.
func (m *Template) Database(t testing.TB) string {
	t.Helper()
	server, err := postgres()
	if err != nil {
		t.Fatalf("start PostgreSQL for the tests: %v", err)
	}
	m.once.Do(func() { m.name, m.err = m.create(server) })
	if m.err != nil {
		t.Fatalf("prepare a database for the tests: %v", m.err)
	}
	name := databaseName()
	if err := admin(server, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", name, m.name)); err != nil {
		t.Fatalf("create the test's database: %v", err)
	}
	t.Cleanup(func() {
		if err := dropDatabase(server, name); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return reached(inServer(server, name))
}

// create makes the template's database on the server, and returns its name.
func (m *Template) create(server string) (string, error) {
	name := databaseName()
	if err := admin(server, "CREATE DATABASE "+name); err != nil {
		return "", err
	}
	atEnd(func() { _ = dropDatabase(server, name) })
	return name, m.prepare(context.Background(), inServer(server, name))
}

// databaseName returns a name that no other test binary on the same server uses.
func databaseName() string {
	return fmt.Sprintf("dm_%d_%d_%d", os.Getpid(), began.UnixNano(), numbers.Add(1))
}

var began = time.Now()

func dropDatabase(server, name string) error {
	return admin(server, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
}

// copying is held while a database is copied: PostgreSQL refuses two copies of one database at the
// same time.
var copying sync.Mutex

func admin(server, sql string) error {
	copying.Lock()
	defer copying.Unlock()
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

// inServer returns the URL of another database of the server. Both forms of a connection string are
// understood.
func inServer(server, database string) string {
	if !strings.HasPrefix(server, "postgres://") && !strings.HasPrefix(server, "postgresql://") {
		return server + " dbname=" + database
	}
	u, err := url.Parse(server)
	if err != nil {
		return server // the connection will fail with the reason
	}
	u.Path = "/" + database
	return u.String()
}

// OwnPostgres starts a server for one test, which may kill it and start it again. It has a migrated
// database "mail".
func OwnPostgres(t testing.TB) *servers.Postgres {
	t.Helper()
	if os.Getenv(againVariable) != "" {
		t.Skip("has a server of its own")
	}
	server, err := startPostgres(t.Context(), false)
	if err != nil {
		t.Fatalf("start a PostgreSQL of its own: %v", err)
	}
	t.Cleanup(func() { server.Stop(context.Background()) })
	if err := server.CreateDatabase(t.Context(), "mail"); err != nil {
		t.Fatal(err)
	}
	if err := migrate(t.Context(), server.URL("mail")); err != nil {
		t.Fatal(err)
	}
	return server
}
