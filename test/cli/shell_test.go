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
	"testing"
	"time"

	"directmailer/internal/dev/servertest"
	"directmailer/test/rig"
	"directmailer/workflows"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

// shell runs commands of the starter, in an environment and a folder of its own.
type shell struct {
	t   *testing.T
	dir string
	env map[string]string
	rig *rig.Rig // nil for a shell without servers
}

// newShell returns a shell with a migrated database, a Temporal server, and a task queue that no
// other test uses.
func newShell(t *testing.T) *shell {
	t.Helper()
	s := newShellWithoutServers(t)
	s.use(rig.New(t, "drop=dir:"+s.mkdir("mail")))
	return s
}

// use makes the shell know the servers of the rig, and have what every mailing needs.
func (s *shell) use(r *rig.Rig) {
	s.rig = r
	s.env["DATABASE_URL"] = r.DatabaseURL
	s.env["TEMPORAL_ADDRESS"] = r.TemporalAddress
	s.env["DM_TASK_QUEUE"] = r.TaskQueue
	s.env["DM_DROP_POINTS"] = r.DropPoints
	for _, variable := range rig.PublicEnvironment() {
		name, value, _ := strings.Cut(variable, "=")
		s.env[name] = value
	}
}

// newShellWithoutServers returns a shell that knows no server.
func newShellWithoutServers(t *testing.T) *shell {
	return &shell{t: t, dir: t.TempDir(), env: map[string]string{"DM_TASK_QUEUE": newID(t)}}
}

// environ returns the environment of the programs that the shell runs.
func (s *shell) environ() []string {
	env := []string{"TEMPORAL_CONFIG_FILE=" + os.DevNull}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "GOCACHE", "GOPATH", "GOFLAGS", "GOPROXY", "GORACE"} {
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

// inTest returns the same shell for a subtest.
func (s *shell) inTest(t *testing.T) *shell {
	other := *s
	other.t = t
	return &other
}

// inFolder returns the same shell for a subtest, in a new folder.
func (s *shell) inFolder(t *testing.T) *shell {
	other := s.inTest(t)
	other.dir = t.TempDir()
	return other
}

// mkdir makes a folder in the shell's folder and returns its path.
func (s *shell) mkdir(name string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// write makes a file in the shell's folder and returns its path.
func (s *shell) write(name, content string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// result is a command's exit code and output.
type result struct {
	code     int
	out, err string
}

// run runs the starter in the shell's folder.
func (s *shell) run(args ...string) result { return s.runWithInput("", args...) }

// runWithInput is run with a standard input.
func (s *shell) runWithInput(stdin string, args ...string) result {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), rig.Timeout)
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
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// runShow runs `show`, again while Temporal or the worker does not answer at the moment.
func (s *shell) runShow(id string, flags ...string) (r result) {
	s.t.Helper()
	eventually(s.t, "show has an answer", func() bool {
		r = s.run(append([]string{"show", id}, flags...)...)
		return r.code != 7 && !strings.Contains(r.out, "no worker answers at the moment")
	})
	return r
}

// command returns a command that runs the starter in the shell's folder.
func (s *shell) command(ctx context.Context, args ...string) *exec.Cmd {
	s.t.Helper()
	cmd := exec.CommandContext(ctx, servertest.Build(s.t, "./starter"), args...)
	cmd.Dir, cmd.Env = s.dir, s.environ()
	return cmd
}

// must runs a command that must succeed, and returns its standard output.
func (s *shell) must(args ...string) string {
	s.t.Helper()
	return s.run(args...).want(s.t, 0).out
}

// want fails the test unless the exit code is code, and the output has each of the texts.
func (a result) want(t *testing.T, code int, texts ...string) result {
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

// wantError fails the test unless the exit code is code, the standard error has each of the texts
// and one line that begins with "starter: ", and the password is nowhere in the output.
func (a result) wantError(t *testing.T, code int, texts ...string) result {
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
	if strings.Contains(a.out+a.err, password) {
		t.Fatalf("a password is shown:\n%s%s", a.out, a.err)
	}
	return a
}

const password = "hunter2hunter2"

// decode reads the standard output as one JSON value.
func (a result) decode(t *testing.T, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.out), into); err != nil {
		t.Fatalf("not JSON: %v\n%s", err, a.out)
	}
}

// worker runs a worker in the shell's environment until the test ends.
func (s *shell) worker() {
	s.t.Helper()
	s.rig.StartWorker(s.environ()...)
}

// eventually waits until the condition holds, at most for rig.Timeout. Most conditions run a
// program.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(rig.Timeout); !holds(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", rig.Timeout, what)
		}
	}
}

// awaitMailing waits until `show` says what the condition asks for. The mailing must not end
// before.
func (s *shell) awaitMailing(id, what string, holds func(mailingStatus) bool) mailingStatus {
	s.t.Helper()
	var status mailingStatus
	eventually(s.t, what, func() bool {
		a := s.run("show", id, "--output", "json")
		if a.code == 7 { // Temporal does not answer at the moment
			return false
		}
		status = mailingStatus{}
		a.want(s.t, 0).decode(s.t, &status)
		held := holds(status)
		if !held && workflows.State(status.State).Ended() {
			s.t.Fatalf("the mailing has ended before %s: %+v", what, status)
		}
		return held
	})
	return status
}

// newID returns an ID that no other test uses: all of them share a Temporal server.
func newID(t *testing.T) string {
	return fmt.Sprintf("%s-%d-%d", strings.ReplaceAll(t.Name(), "/", "-"), os.Getpid(), rig.Number())
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

// writeLetter writes the files of a mailing that works: letter.yaml, its list and its content.
func (s *shell) writeLetter() {
	s.write("people.csv", people)
	s.write("letter.txt", "Hello {{.first_name}},\n\nyou are on the plan {{.plan}}.\n")
	s.write("letter.html", "<p>Hello <b>{{.first_name}}</b>,</p>\n<p>you are on the plan {{.plan}}.</p>\n")
	s.write("letter.yaml", letter)
}
