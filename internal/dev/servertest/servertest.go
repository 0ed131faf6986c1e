// Package servertest gives tests real servers: a PostgreSQL with a database for each test, a
// Temporal server, and built programs. The first test that asks for one starts it for its test
// binary. Main stops it.
//
// TEST_DATABASE_URL or DATABASE_URL, and TEMPORAL_ADDRESS, name servers to use instead. The user of
// that PostgreSQL must be allowed to create databases. Existing databases are not touched.
package servertest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"directmailer/internal/dev/servers"
)

var (
	mu       sync.Mutex
	cleanups []func()
	scratch  string
	numbers  atomic.Int64 // in the names of databases and folders
)

// Parallel runs up to n tests of a package at a time on a machine with fewer processors, unless
// -parallel says how many. It is for tests that wait most of the time: for programs to start,
// timeouts to pass, servers to come back. Call it before Main.
func Parallel(n int) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if given || n < runtime.GOMAXPROCS(0) {
		return
	}
	if err := flag.Set("test.parallel", strconv.Itoa(n)); err != nil {
		panic(err)
	}
}

// Main runs the tests of a package and stops the servers that they have started:
// os.Exit(servertest.Main(m)).
func Main(m *testing.M) int {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		cleanUp()
		os.Exit(1)
	}()
	defer cleanUp()
	return m.Run()
}

// atEnd makes Main call f after the tests. The last f is called first.
func atEnd(f func()) {
	mu.Lock()
	defer mu.Unlock()
	cleanups = append(cleanups, f)
}

func cleanUp() {
	mu.Lock()
	defer mu.Unlock()
	for i := len(cleanups) - 1; i >= 0; i-- {
		cleanups[i]()
	}
	cleanups = nil
	if scratch != "" {
		_ = os.RemoveAll(scratch)
	}
}

// folder returns a short path that every user may enter: if root runs the tests, PostgreSQL runs as
// another user.
func folder() (string, error) {
	mu.Lock()
	defer mu.Unlock()
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

// ownFolder returns a path in the folder that nothing else uses.
func ownFolder(prefix string) (string, error) {
	dir, err := folder()
	return filepath.Join(dir, fmt.Sprintf("%s%d", prefix, numbers.Add(1))), err
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

var temporal = sync.OnceValues(func() (string, error) {
	if given := os.Getenv("TEMPORAL_ADDRESS"); given != "" {
		return given, nil
	}
	server, err := servers.StartTemporal(context.Background(), servers.TemporalOptions{Progress: say})
	if err != nil {
		return "", err
	}
	atEnd(func() { server.Stop(context.Background()) })
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

// OwnTemporal starts a server for one test, which may kill it and start it again. Its database is
// on disk.
func OwnTemporal(t testing.TB, dynamicConfig map[string]string) *servers.Temporal {
	t.Helper()
	dir, err := ownFolder("temporal")
	if err != nil {
		t.Fatal(err)
	}
	server, err := servers.StartTemporal(t.Context(),
		servers.TemporalOptions{Dir: dir, DynamicConfig: dynamicConfig, Progress: say})
	if err != nil {
		t.Fatalf("start a Temporal of its own: %v", err)
	}
	t.Cleanup(func() { server.Stop(context.Background()) })
	return server
}

var temporalCLI = sync.OnceValues(func() (string, error) { return servers.TemporalBinary(context.Background(), say) })

// TemporalCLI returns the path of the `temporal` command.
func TemporalCLI(t testing.TB) string {
	t.Helper()
	path, err := temporalCLI()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
