package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestTheMajorVersionIsReadFromWhatPostgresSays(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n": 15,
		"postgres (PostgreSQL) 18beta1\n":                        18,
		"postgres (PostgreSQL) 9.6.24\n":                         9,
		"postgres (PostgreSQL) \n":                               0,
		"command not found":                                      0,
	} {
		if got := majorVersion(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

// The kernel checks the first class that fits, and no other: it refuses an owner without the right
// even if everybody else has the right.
func TestAFolderIsPassedByTheRightOfTheFirstClassThatFits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		mode         os.FileMode
		owner, group bool
		want         bool
	}{
		{0o755, false, false, true},
		{0o700, false, false, false},
		{0o700, true, false, true},
		{0o710, false, true, true},
		{0o701, false, true, false},
		{0o077, true, true, false},
	} {
		if got := mayPass(c.mode, c.owner, c.group); got != c.want {
			t.Errorf("%o, owner %v, group %v: %v", c.mode, c.owner, c.group, got)
		}
	}
}

func TestACommandThatIsInterruptedEndsWithWhatItHasStarted(t *testing.T) {
	t.Parallel()
	note := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		for range 6000 {
			if data, _ := os.ReadFile(note); strings.HasSuffix(string(data), "\n") {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	err := run(ctx, exec.Command("sh", "-c", `sleep 1000 & echo $! >"$0"; wait`, note), 5*time.Second)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	data, err := os.ReadFile(note)
	if err != nil {
		t.Fatal(err)
	}
	var child int
	if _, err := fmt.Sscan(string(data), &child); err != nil {
		t.Fatal(err)
	}
	if !gone([]int{child}, time.Minute) {
		_ = syscall.Kill(child, syscall.SIGKILL)
		t.Error("what the command has started runs on")
	}
}

func TestTwoServersAreNotGivenTheSamePort(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for range 100 {
		port, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] || port < lowestPort || port >= 32768 {
			t.Fatalf("port %d: twice, or among those of outgoing connections", port)
		}
		seen[port] = true
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Skipf("somebody else was quicker: %v", err)
		}
		l.Close()
	}
}

func TestAServerWhosePortIsTakenGetsAnother(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir, err := os.MkdirTemp("", "servers-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := errors.Join(os.Chmod(dir, 0o755), InstallPostgres(t.Context(), os.Stderr, t.Logf)); err != nil {
		t.Fatal(err)
	}
	server, err := StartPostgres(t.Context(), PostgresOptions{Dir: filepath.Join(dir, "pg"), Throwaway: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop(context.Background()) })
	server.Stop(t.Context())
	server.port = l.Addr().(*net.TCPAddr).Port
	if err := server.Start(t.Context()); err != nil {
		t.Fatalf("its port was taken while it was down: %v", err)
	}
	server.Stop(t.Context())
	server.options.Port = l.Addr().(*net.TCPAddr).Port
	server.port = server.options.Port
	if err := server.Start(t.Context()); err == nil || !taken(err) {
		t.Errorf("a port that was asked for is taken: %v", err)
	}
}

func TestAnOlderClusterIsNotGivenToANewerServer(t *testing.T) {
	t.Parallel()
	if _, err := findPostgres(0); err != nil {
		t.Skip(err)
	}
	if _, err := findPostgres(12); err == nil || errors.Is(err, ErrNoPostgres) ||
		!strings.Contains(err.Error(), "install PostgreSQL 12") {
		t.Errorf("a cluster of PostgreSQL 12: %v", err)
	}
}

func TestNoDataIsRemovedWhenItsPasswordIsMissing(t *testing.T) {
	t.Parallel()
	if _, err := findPostgres(0); err != nil {
		t.Skip(err)
	}
	bin, err := findPostgres(0)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "servers-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	kept := filepath.Join(dir, "pg", "data", "PG_VERSION")
	version := fmt.Sprintln(serverVersion(bin))
	if err := errors.Join(os.Chmod(dir, 0o755), os.MkdirAll(filepath.Dir(kept), 0o755),
		os.WriteFile(kept, []byte(version), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := StartPostgres(t.Context(), PostgresOptions{Dir: filepath.Join(dir, "pg")}); err == nil ||
		!strings.Contains(err.Error(), "password") {
		t.Errorf("a cluster without its password: %v", err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("the cluster was removed: %v", err)
	}
}
