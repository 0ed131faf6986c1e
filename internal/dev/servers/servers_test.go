package servers_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"

	"directmailer/internal/dev/servers"
)

// helperFolder is the environment variable that makes this test binary a process that starts a
// PostgreSQL in the folder, prints its URL and waits to be killed.
const helperFolder = "DEVSTACK_TEST_HELPER_FOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperFolder); dir != "" {
		server, err := servers.StartPostgres(context.Background(), servers.PostgresOptions{Dir: dir, Throwaway: true})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(server.URL("postgres"))
		select {}
	}
	os.Exit(m.Run())
}

// folder returns a folder that PostgreSQL's user may enter too. Other users may not enter those of
// t.TempDir.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "servers-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func startPostgres(t *testing.T, dir string) *servers.Postgres {
	t.Helper()
	if err := servers.InstallPostgres(t.Context(), os.Stderr, t.Logf); err != nil {
		t.Fatal(err)
	}
	server, err := servers.StartPostgres(t.Context(),
		servers.PostgresOptions{Dir: dir, Throwaway: true, Progress: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop(context.Background()) })
	return server
}

func connect(t *testing.T, databaseURL string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func writeRow(t *testing.T, server *servers.Postgres) {
	t.Helper()
	if _, err := connect(t, server.URL("postgres")).Exec(t.Context(),
		`CREATE TABLE kept AS SELECT 'here' AS what`); err != nil {
		t.Fatal(err)
	}
}

func checkRow(t *testing.T, server *servers.Postgres) {
	t.Helper()
	var what string
	if err := connect(t, server.URL("postgres")).QueryRow(t.Context(),
		`SELECT what FROM kept`).Scan(&what); err != nil || what != "here" {
		t.Errorf("the row that was committed is %q (%v)", what, err)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for began := time.Now(); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 3*time.Minute {
			t.Fatalf("after three minutes: not %s", what)
		}
	}
}

func listens(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Minute) // where nobody listens, it fails at once
	if err == nil {
		conn.Close()
	}
	return err == nil
}

func host(t *testing.T, of string) string {
	t.Helper()
	u, err := url.Parse(of)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func TestAKilledPostgresComesBackWithItsData(t *testing.T) {
	t.Parallel()
	server := startPostgres(t, filepath.Join(folder(t), "pg"))
	writeRow(t, server)
	before := server.URL("postgres")

	// A backend that computes does not notice the death of its server, and would keep the next
	// server from starting.
	busy, err := pgx.Connect(t.Context(), before)
	if err != nil {
		t.Fatal(err)
	}
	// The timeout ends the loop if the test fails.
	if _, err := busy.Exec(t.Context(), `SET statement_timeout = '60s'`); err != nil {
		t.Fatal(err)
	}
	var pid int
	if err := busy.QueryRow(t.Context(), `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := busy.Exec(context.Background(), `DO $$ DECLARE n int8 := 0; BEGIN LOOP n := n + 1; END LOOP; END $$`)
		busy.Close(context.Background())
		ended <- err
	}()
	watcher := connect(t, before)
	eventually(t, "busy", func() bool {
		var state string
		err := watcher.QueryRow(t.Context(), `SELECT state FROM pg_stat_activity WHERE pid = $1`, pid).Scan(&state)
		return err == nil && state == "active"
	})

	server.Kill()
	if listens(host(t, before)) {
		t.Error("a killed server listens")
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatalf("start again after a crash: %v", err)
	}
	if after := server.URL("postgres"); after != before {
		t.Errorf("the server came back as another: workers that hold the old URL will not find it")
	}
	checkRow(t, server)
	select {
	case err := <-ended:
		if err == nil {
			t.Error("an endless query ended without an error")
		}
	case <-time.After(3 * time.Minute): // statement_timeout ends the query after a minute
		t.Error("the busy backend outlived its server")
	}
}

func TestAPostgresThatStillRunsOnTheFolderIsTakenOver(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(folder(t), "pg")
	first := startPostgres(t, dir)
	writeRow(t, first)
	second := startPostgres(t, dir)
	checkRow(t, second)
	if conn, err := pgx.Connect(t.Context(), first.URL("postgres")); err == nil &&
		first.URL("postgres") != second.URL("postgres") {
		conn.Close(t.Context())
		t.Error("two servers run on one folder")
	}
	second.Stop(t.Context())
	if listens(host(t, second.URL("postgres"))) {
		t.Error("a stopped server listens")
	}
}

// A stale postmaster.pid, after the machine was switched off, may have the PID of another program.
func TestAStrangerWithTheNumberOfALeftoverServerIsLeftAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(folder(t), "pg")
	server := startPostgres(t, dir)
	writeRow(t, server)
	pidFile := filepath.Join(dir, "data", "postmaster.pid")
	stale, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	server.Kill()

	// cat waits for input. It belongs to the user of the server, who could send it signals.
	stranger := exec.Command("cat")
	if os.Geteuid() == 0 {
		owner := info.Sys().(*syscall.Stat_t)
		stranger.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
	}
	input, err := stranger.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stale), "\n")
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(stranger.Process.Pid)+"\n"+rest), 0o600); err != nil {
		t.Fatal(err)
	}

	err = server.Start(t.Context())
	input.Close()
	if waited := stranger.Wait(); waited != nil {
		t.Errorf("a process that is no server of ours was signalled: %v", waited)
	}
	if err != nil {
		t.Fatalf("start beside a stranger: %v", err)
	}
	checkRow(t, server)
}

func TestAClusterThatWasNotFinishedIsMadeAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(folder(t), "pg")
	for _, half := range []string{"data.new/base", "data.new/global"} {
		if err := os.MkdirAll(filepath.Join(dir, half), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "password"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	writeRow(t, startPostgres(t, dir))
}

func TestAFolderNamedFromTheWorkingDirectoryIsTheSameFolder(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(folder(t), "new", "pg")
	relative, err := filepath.Rel(here, dir)
	if err != nil {
		t.Fatal(err)
	}
	startPostgres(t, relative)
	if _, err := os.Stat(filepath.Join(dir, "data", "PG_VERSION")); err != nil {
		t.Errorf("the cluster is not where it was asked for: %v", err)
	}
}

func TestAFolderThatTheServerMayNotReachIsRefusedByName(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root runs the server as another user")
	}
	closed := filepath.Join(folder(t), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	server, err := servers.StartPostgres(t.Context(), servers.PostgresOptions{Dir: filepath.Join(closed, "pg")})
	if err == nil {
		server.Stop(t.Context())
		t.Fatal("a server runs in a folder that its user may not pass")
	}
	if !strings.Contains(err.Error(), closed) {
		t.Errorf("the error does not name the folder %s: %v", closed, err)
	}
	if _, err := os.Stat(filepath.Join(closed, "pg")); err == nil {
		t.Error("a refused folder was made all the same")
	}
}

func TestThePasswordIsOnNoCommandLine(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	for try := 1; ; try++ {
		dir := filepath.Join(folder(t), "pg")
		lines, server := commandLinesOfAStart(t, dir) // it creates the cluster too
		u, err := url.Parse(server.URL("postgres"))
		if err != nil {
			t.Fatal(err)
		}
		password, _ := u.User.Password()
		if len(password) < 20 {
			t.Fatalf("a password of %d characters", len(password))
		}
		programs := map[string]bool{}
		for line := range lines {
			if strings.Contains(line, password) {
				t.Error("the password is on a command line")
			}
			if strings.Contains(line, dir) {
				program, _, _ := strings.Cut(line, "\x00")
				programs[filepath.Base(program)] = true
			}
		}
		if programs["initdb"] && programs["postgres"] {
			return
		}
		if try == 5 { // on a busy machine, a program may have ended before this test looks
			t.Fatalf("of the commands that know the folder, only %v were seen", programs)
		}
	}
}

// commandLinesOfAStart starts a server in a new folder. It returns the command lines that all
// processes of the machine had meanwhile.
func commandLinesOfAStart(t *testing.T, dir string) (map[string]bool, *servers.Postgres) {
	t.Helper()
	stop, seen := make(chan struct{}), make(chan map[string]bool)
	go func() {
		lines := map[string]bool{}
		for {
			files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, f := range files {
				if line, err := os.ReadFile(f); err == nil {
					lines[string(line)] = true
				}
			}
			select {
			case <-stop:
				seen <- lines
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	server := startPostgres(t, dir)
	close(stop)
	return <-seen, server
}

// The server can run as another user, who must not learn what this program's environment holds.
func TestPostgresDoesNotGetTheEnvironmentOfItsStarter(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	t.Setenv("DM_DROP_POINTS", "mx=smtp://user:a-secret@mail.example.com")
	dir := filepath.Join(folder(t), "pg")
	startPostgres(t, dir)
	files, err := filepath.Glob(dir + "/*/postmaster.pid")
	if err != nil || len(files) != 1 {
		t.Fatalf("files with a PID: %v, %v", files, err)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	pid, _, _ := strings.Cut(string(content), "\n")
	env, err := os.ReadFile("/proc/" + pid + "/environ")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(env, []byte("PGDATA=")) || bytes.Contains(env, []byte("a-secret")) {
		t.Errorf("the environment has PGDATA: %t, and the secret: %t", bytes.Contains(env, []byte("PGDATA=")),
			bytes.Contains(env, []byte("a-secret")))
	}
}

func TestPostgresEndsWithAProcessThatIsKilled(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere the next start ends what is left")
	}
	dir := filepath.Join(folder(t), "pg")
	startPostgres(t, dir).Stop(t.Context()) // creates the cluster
	helper := exec.Command(os.Args[0])
	helper.Env = append(os.Environ(), helperFolder+"="+dir)
	helper.Stderr = os.Stderr
	out, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = helper.Process.Kill()
		t.Fatalf("the helper's server: %v", err)
	}
	address := host(t, strings.TrimSpace(line))
	if !listens(address) {
		t.Error("the helper's server does not listen")
	}
	_ = helper.Process.Kill()
	_ = helper.Wait()
	eventually(t, "gone with its starter", func() bool { return !listens(address) })
}

// TestPostgresRunsForAnOrdinaryUser runs tests of this file again as the user nobody, because root
// uses other code.
func TestPostgresRunsForAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("this is an ordinary user: all the other tests show it")
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip("there is no user nobody")
	}
	if err := servers.InstallPostgres(t.Context(), os.Stderr, t.Logf); err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	gid, _ := strconv.Atoi(nobody.Gid)
	dir := folder(t)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	// a copy, because others may not enter the folder of the running binary
	binary := filepath.Join(dir, "servers.test")
	copyProgram(t, os.Args[0], binary)
	cmd := exec.CommandContext(t.Context(), binary, "-test.v", "-test.run",
		"^(TestAKilledPostgresComesBackWithItsData|TestAPostgresThatStillRunsOnTheFolderIsTakenOver)$")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	out, err := cmd.CombinedOutput()
	if passed := strings.Count(string(out), "--- PASS"); err != nil || passed != 2 {
		t.Errorf("as nobody: %v, %d of 2 tests pass\n%s", err, passed, out)
	}
}

func copyProgram(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(out.Close(), os.Chmod(to, 0o755)); err != nil { // whatever the umask is
		t.Fatal(err)
	}
}

func TestAKilledTemporalComesBackWithItsWorkflows(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("the Temporal server may have to be built first")
	}
	server, err := servers.StartTemporal(t.Context(), servers.TemporalOptions{
		Dir: filepath.Join(t.TempDir(), "temporal"), SearchAttributes: map[string]string{"Colour": "Keyword"},
		Progress: t.Logf,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop(context.Background()) })
	address := server.Address()
	started, err := dial(t, address).ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID: "kept", TaskQueue: "nobody-works-here",
		TypedSearchAttributes: temporal.NewSearchAttributes(
			temporal.NewSearchAttributeKeyKeyword("Colour").ValueSet("green")),
	}, "Anything")
	if err != nil {
		t.Fatal(err)
	}

	server.Kill()
	if listens(address) {
		t.Error("a killed server listens")
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatalf("start again after a crash: %v", err)
	}
	if server.Address() != address {
		t.Error("the server came back elsewhere: workers will not find it")
	}
	found, err := dial(t, address).DescribeWorkflowExecution(t.Context(), "kept", started.GetRunID())
	if err != nil {
		t.Fatalf("the workflow that was started before the crash: %v", err)
	}
	if status := found.GetWorkflowExecutionInfo().GetStatus(); status != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		t.Errorf("the workflow that was started before the crash is %v", status)
	}

	server.Stop(t.Context())
	for _, port := range []string{address, host(t, server.UI())} {
		if listens(port) {
			t.Errorf("after Stop, %s listens", port)
		}
	}
}

// A killed starter leaves its Temporal server if the kernel does not end it. Two servers would
// damage one database file.
func TestATemporalThatStillRunsOnTheFolderIsTakenOver(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("the Temporal server may have to be built first")
	}
	dir := filepath.Join(t.TempDir(), "temporal")
	var both [2]*servers.Temporal
	for i := range both {
		server, err := servers.StartTemporal(t.Context(), servers.TemporalOptions{Dir: dir, Progress: t.Logf})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Stop(context.Background()) })
		if both[i] = server; i > 0 {
			continue
		}
		if _, err := dial(t, server.Address()).ExecuteWorkflow(t.Context(),
			client.StartWorkflowOptions{ID: "kept", TaskQueue: "nobody-works-here"}, "Anything"); err != nil {
			t.Fatal(err)
		}
	}
	if first := both[0].Address(); first != both[1].Address() && listens(first) {
		t.Error("two servers run on one database file")
	}
	if _, err := dial(t, both[1].Address()).DescribeWorkflowExecution(t.Context(), "kept", ""); err != nil {
		t.Errorf("the workflow of the first server: %v", err)
	}
}

// The server creates the tables of its database one after the other. If it is interrupted
// meanwhile, no server starts with the database.
func TestATemporalThatWasInterruptedWhileItMadeItsDatabaseStartsAgain(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("the Temporal server may have to be built first")
	}
	o := servers.TemporalOptions{Progress: t.Logf}
	for try := 1; ; try++ { // on a busy machine, the server may be quicker than this test
		o.Dir = filepath.Join(t.TempDir(), "temporal")
		server, err := startInterrupted(t.Context(), o)
		if err != nil {
			break
		}
		server.Stop(t.Context())
		if try == 5 {
			t.Fatal("it was not interrupted")
		}
	}
	server, err := servers.StartTemporal(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop(context.Background()) })
}

// startInterrupted starts a server, and interrupts the start when the server makes its database.
func startInterrupted(ctx context.Context, o servers.TemporalOptions) (*servers.Temporal, error) {
	ctx, interrupt := context.WithCancel(ctx)
	defer interrupt()
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(filepath.Join(o.Dir, "temporal.db")); err == nil {
				interrupt()
			}
		}
	}()
	return servers.StartTemporal(ctx, o)
}

func TestATemporalInMemoryLeavesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("the Temporal server may have to be built first")
	}
	scratch := t.TempDir()
	t.Setenv("TMPDIR", scratch)
	server, err := servers.StartTemporal(t.Context(), servers.TemporalOptions{Progress: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop(context.Background()) })
	if _, err := dial(t, server.Address()).WorkflowService().GetSystemInfo(t.Context(),
		&workflowservice.GetSystemInfoRequest{}); err != nil {
		t.Errorf("the server does not answer: %v", err)
	}
	server.Stop(t.Context())
	if left, _ := os.ReadDir(scratch); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func dial(t *testing.T, address string) client.Client {
	t.Helper()
	c, err := client.DialContext(t.Context(),
		client.Options{HostPort: address, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
