// Package cli shows what a user of the starter sees: each test runs the program as a shell does.
package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"directmailer/internal/dev/servertest"
)

func TestMain(m *testing.M) {
	servertest.Parallel(6)
	os.Exit(servertest.Main(m))
}

// shell is where a test types commands: an environment and a folder of its own.
type shell struct {
	t        *testing.T
	dir      string
	env      map[string]string
	database string
}

var queues atomic.Int64

// newShell has a migrated database, a Temporal, and a task queue that nobody else polls.
func newShell(t *testing.T) *shell {
	t.Helper()
	s := newBareShell(t)
	s.database = servertest.Database(t)
	s.env["DATABASE_URL"] = s.database
	s.env["TEMPORAL_ADDRESS"] = servertest.Temporal(t)
	s.env["DM_DROP_POINTS"] = "drop=dir:" + s.mkdir("mail")
	return s
}

// newBareShell has no server.
func newBareShell(t *testing.T) *shell {
	return &shell{t: t, dir: t.TempDir(), env: map[string]string{
		"DM_TASK_QUEUE": fmt.Sprintf("starter-test-%d-%d", os.Getpid(), queues.Add(1)),
	}}
}

func (s *shell) environ() []string {
	env := []string{"TEMPORAL_CONFIG_FILE=" + os.DevNull}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "GOCACHE", "GOPATH", "GOFLAGS", "GOPROXY"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	for name, value := range s.env {
		env = append(env, name+"="+value)
	}
	return env
}

// with returns the same shell with another value of a variable.
func (s *shell) with(name, value string) *shell {
	other := *s
	other.env = map[string]string{}
	for n, v := range s.env {
		other.env[n] = v
	}
	other.env[name] = value
	return &other
}

// in is the same shell in a subtest.
func (s *shell) in(t *testing.T) *shell {
	other := *s
	other.t = t
	return &other
}

// elsewhere is the same shell in a subtest and in a folder of its own.
func (s *shell) elsewhere(t *testing.T) *shell {
	other := s.in(t)
	other.dir = t.TempDir()
	return other
}

func (s *shell) mkdir(name string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// write makes a file in the shell's folder.
func (s *shell) write(name, content string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// answer is what a command said.
type answer struct {
	code     int
	out, err string
}

// patience is for a machine that does much else at the same time, with the race detector.
const patience = 5 * time.Minute

// run runs the starter in the shell's folder.
func (s *shell) run(args ...string) answer { return s.type_("", args...) }

func (s *shell) type_(stdin string, args ...string) answer {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := s.command(ctx, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	if ctx.Err() != nil {
		s.t.Fatalf("starter %v has not ended:\n%s%s", args, out.String(), errs.String())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return answer{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

func (s *shell) command(ctx context.Context, args ...string) *exec.Cmd {
	s.t.Helper()
	cmd := exec.CommandContext(ctx, servertest.Build(s.t, "./starter"), args...)
	cmd.Dir, cmd.Env = s.dir, s.environ()
	return cmd
}

// must runs a command that has to succeed, and returns its output.
func (s *shell) must(args ...string) string {
	s.t.Helper()
	return s.run(args...).want(s.t, 0).out
}

// want checks the exit code, and that the texts are in what the command said.
func (a answer) want(t *testing.T, code int, texts ...string) answer {
	t.Helper()
	if a.code != code {
		t.Fatalf("exit code %d, want %d\nstdout: %s\nstderr: %s", a.code, code, a.out, a.err)
	}
	for _, text := range texts {
		if !strings.Contains(a.out+a.err, text) {
			t.Fatalf("%q is not in\nstdout: %s\nstderr: %s", text, a.out, a.err)
		}
	}
	return a
}

// wantError checks that the command failed with the code and said why: in one line for the program, and without the secret.
func (a answer) wantError(t *testing.T, code int, texts ...string) answer {
	t.Helper()
	a.want(t, code)
	var said []string
	for line := range strings.Lines(a.err) {
		if strings.HasPrefix(line, "starter: ") && !strings.HasPrefix(line, "starter: warning: ") {
			said = append(said, line)
		}
	}
	if len(said) != 1 {
		t.Fatalf("%d lines begin with starter: , want 1:\n%s", len(said), a.err)
	}
	for _, text := range texts {
		if !strings.Contains(a.err, text) {
			t.Fatalf("%q is not in\n%s", text, a.err)
		}
	}
	if strings.Contains(a.out+a.err, secret) {
		t.Fatalf("a password is shown:\n%s%s", a.out, a.err)
	}
	return a
}

const secret = "hunter2hunter2"

// decode reads the output as one JSON value.
func (a answer) decode(t *testing.T, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.out), into); err != nil {
		t.Fatalf("not JSON: %v\n%s", err, a.out)
	}
}

// worker runs a worker for the shell until the test ends.
func (s *shell) worker() {
	s.t.Helper()
	log, err := os.Create(filepath.Join(s.dir, "worker.log"))
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(servertest.Build(s.t, "./worker"))
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.dir, s.environ(), log, log
	cmd.Env = append(cmd.Env, "DM_STOP_TIMEOUT=5s")
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		log.Close()
		if s.t.Failed() {
			text, _ := os.ReadFile(log.Name())
			s.t.Logf("the worker's log:\n%s", text)
		}
	})
}

// temporal is a connection to the shell's Temporal, for what an operator does in the Web UI.
func (s *shell) temporal() client.Client {
	s.t.Helper()
	c, err := client.Dial(client.Options{HostPort: s.env["TEMPORAL_ADDRESS"]})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// until waits for a condition.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(200 * time.Millisecond) { // each look runs a program
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// id makes an ID that no other test uses: all of them share a Temporal.
func id(t *testing.T) string {
	return fmt.Sprintf("%s-%d-%d", strings.ReplaceAll(t.Name(), "/", "-"), os.Getpid(), queues.Add(1))
}

const people = `Email,First name,Plan
a@example.com,Åsa,gold
b@example.com,"O'Neill, B.",free
A@EXAMPLE.com,Åsa again,gold
not an address,Nobody,free
c@example.org,小明,free
`

const letter = `from: Example News <news@example.com>
subject: News for {{.first_name}}
list:
  name: people
  file: people.csv
content:
  text_file: letter.txt
  html_file: letter.html
`

// letter writes the files of a mailing that works.
func (s *shell) letter() string {
	s.write("people.csv", people)
	s.write("letter.txt", "Hello {{.first_name}},\n\nyou are on the plan {{.plan}}.\n")
	s.write("letter.html", "<p>Hello <b>{{.first_name}}</b>,</p>\n<p>you are on the plan {{.plan}}.</p>\n")
	return s.write("letter.yaml", letter)
}
