package servertest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/dev/servers"
)

// Migrate brings the schema of a database up to date.
type Migrate func(ctx context.Context, url string) error

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
	// Several tests at a time, each with several workers, each with a pool of dozens of
	// connections.
	return servers.StartPostgres(ctx, servers.PostgresOptions{Dir: dir, Throwaway: throwaway, Settings: map[string]string{"max_connections": "1000"}})
}

// blank is the database that those of the tests are copies of.
var blank struct {
	once sync.Once
	name string
	err  error
}

// Database returns the URL of a new database, migrated, that is dropped after the test. All tests of a package have the same migration:
// it is done once.
func Database(t testing.TB, migrate Migrate) string {
	t.Helper()
	server, err := postgres()
	if err != nil {
		t.Fatalf("start PostgreSQL for the tests: %v", err)
	}
	blank.once.Do(func() { blank.name, blank.err = makeBlank(server, migrate) })
	if blank.err != nil {
		t.Fatalf("migrate a database for the tests: %v", blank.err)
	}
	name := databaseName()
	if err := admin(server, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", name, blank.name)); err != nil {
		t.Fatalf("make the test's database: %v", err)
	}
	t.Cleanup(func() {
		if err := dropDatabase(server, name); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return inServer(server, name)
}

func makeBlank(server string, migrate Migrate) (string, error) {
	name := databaseName()
	if err := admin(server, "CREATE DATABASE "+name); err != nil {
		return "", err
	}
	atEnd(func() { _ = dropDatabase(server, name) })
	return name, migrate(context.Background(), inServer(server, name))
}

// databaseName differs between test binaries that share a server.
func databaseName() string {
	return fmt.Sprintf("dm_%d_%d_%d", os.Getpid(), began.UnixNano(), numbers.Add(1))
}

var began = time.Now()

func dropDatabase(server, name string) error {
	return admin(server, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
}

// copying keeps two tests from copying the same database at the same time, which PostgreSQL refuses.
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

// inServer names another database of the server, in either form of a connection string.
func inServer(server, database string) string {
	if !strings.HasPrefix(server, "postgres://") && !strings.HasPrefix(server, "postgresql://") {
		return server + " dbname=" + database
	}
	u, err := url.Parse(server)
	if err != nil {
		return server // connecting says what is wrong with it
	}
	u.Path = "/" + database
	return u.String()
}

// OwnPostgres starts a server for one test, which may kill it and start it again. It has an empty database "mail".
func OwnPostgres(t testing.TB) *servers.Postgres {
	t.Helper()
	server, err := startPostgres(t.Context(), false)
	if err != nil {
		t.Fatalf("start a PostgreSQL of its own: %v", err)
	}
	t.Cleanup(func() { server.Stop(context.Background()) })
	if err := server.CreateDatabase(t.Context(), "mail"); err != nil {
		t.Fatal(err)
	}
	return server
}
