package servertest_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/sdk/client"

	"directmailer/internal/dev/servertest"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

var letters = servertest.NewTemplate(createLetters)

func createLetters(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, `CREATE TABLE letters (text text)`)
	return err
}

func connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func TestEachTestHasAMigratedDatabaseOfItsOwn(t *testing.T) {
	t.Parallel()
	for range 3 {
		conn := connect(t, letters.Database(t))
		if _, err := conn.Exec(t.Context(), `INSERT INTO letters VALUES ('a')`); err != nil {
			t.Fatal(err)
		}
		var n int
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM letters`).Scan(&n); err != nil || n != 1 {
			t.Errorf("%d rows (%v): the database is shared with another test", n, err)
		}
	}
}

func TestADatabaseIsDroppedAfterItsTestEvenIfConnected(t *testing.T) {
	t.Parallel()
	var url string
	t.Run("uses a database", func(t *testing.T) {
		url = letters.Database(t)
		if _, err := pgx.Connect(t.Context(), url); err != nil { // and forgets to close
			t.Fatal(err)
		}
	})
	if conn, err := pgx.Connect(t.Context(), url); err == nil {
		conn.Close(t.Context())
		t.Error("the database is still there")
	}
}

func TestAServerOfItsOwnComesBackAfterAKill(t *testing.T) {
	t.Parallel()
	server := servertest.OwnPostgres(t)
	if err := createLetters(t.Context(), server.URL("mail")); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	if conn, err := pgx.Connect(t.Context(), server.URL("mail")); err == nil {
		conn.Close(t.Context())
		t.Error("a killed server answers")
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := connect(t, server.URL("mail")).Exec(t.Context(), `SELECT FROM letters`); err != nil {
		t.Errorf("what was committed before the kill: %v", err)
	}
}

func TestTemporalAnswersTheCommandLine(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("the Temporal server may have to be built first")
	}
	address := servertest.Temporal(t)
	c, err := client.DialContext(t.Context(), client.Options{HostPort: address})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "seen", TaskQueue: "nobody-works-here"},
		"Anything"); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(servertest.TemporalCLI(t), "workflow", "describe", "--address", address, "--workflow-id",
		"seen").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Anything") {
		t.Errorf("temporal workflow describe: %v\n%s", err, out)
	}
}

func TestAProgramIsBuiltOnceAndRuns(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("compiles")
	}
	program := servertest.Build(t, "./internal/dev/servertest/testdata/hello")
	if again := servertest.Build(t, "./internal/dev/servertest/testdata/hello"); again != program {
		t.Errorf("built twice: %s and %s", program, again)
	}
	if out, err := exec.Command(program).Output(); err != nil || string(out) != "hello\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func BenchmarkDatabase(b *testing.B) {
	for b.Loop() {
		letters.Database(b)
	}
}
