package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"directmailer/internal/dev/servers"
	"directmailer/internal/dev/servertest"
	"directmailer/test/rig"
)

// demoShell returns a shell without servers, because the demo starts its own. Its folder is in the
// checkout, where the samples are.
func demoShell(t *testing.T) *shell {
	s := newShellWithoutServers(t)
	// If we are root, PostgreSQL runs as another user, who must be able to enter every folder
	// above.
	dir, err := os.MkdirTemp("", "dm-demo-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s.env["TMPDIR"] = dir
	if s.dir, err = os.Getwd(); err != nil {
		t.Fatal(err)
	}
	servertest.TemporalCLI(t) // builds Temporal if need be
	return s
}

func TestTheDemoAccountsForEveryRecipient(t *testing.T) {
	t.Parallel()
	s := demoShell(t)
	a := s.run("demo", "--output", "json").want(t, 0, "recipients.csv:", "Ledger, closed", "Message-ID: ",
		"DKIM-Signature: v=1; a=ed25519-sha256;", "d=harbour-hill.example;",
		"List-Id: <demo-subscribers.harbour-hill.example>", "Look at the whole message:")
	lines := strings.Split(strings.TrimSpace(a.out), "\n")
	var r struct {
		Mailing, Directory, State                            string
		Recipients, Sent, Bounced, Failed, Uncertain, Unsent int
		OptedOut                                             int `json:"opted_out"`
		Closed                                               bool
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &r); err != nil {
		t.Fatalf("the last line is no JSON: %v\n%s", err, a.out)
	}
	if !r.Closed || r.State != "completed" || r.Recipients != 2000 || r.OptedOut < 1 || r.Sent+r.OptedOut != 2000 ||
		r.Mailing == "" {
		t.Errorf("%+v", r)
	}
	files, err := filepath.Glob(filepath.Join(r.Directory, "*.eml"))
	if err != nil || len(files) != r.Sent {
		t.Errorf("%d messages in %s, want %d", len(files), r.Directory, r.Sent)
	}
	s.wantNoProcess(s.env["TMPDIR"])
}

// A rate limit keeps the mailing from ending before it is interrupted.
func TestAnInterruptedDemoStopsEverythingAndGoesOnLater(t *testing.T) {
	t.Parallel()
	s := demoShell(t)
	data := filepath.Join(s.env["TMPDIR"], "data")
	interrupt := func(line string) {
		t.Helper()
		if code, output := s.interruptAt(line, "demo", "--data", data); code != 130 {
			t.Fatalf("interrupted at %q: exit code %d\n%s", line, code, output)
		}
		s.wantNoProcess(data)
	}
	interrupt("starting PostgreSQL")
	s.demoRate(data, "1/h")
	interrupt("starting Temporal")
	interrupt("mailing demo-")
	s.demoRate(data, "none")
	a := s.run("demo", "--data", data, "--output", "json").want(t, 0, "was interrupted and goes on")
	var r struct {
		Closed     bool
		Recipients int
	}
	a.decode(t, &r)
	if !r.Closed || r.Recipients != 2000 {
		t.Errorf("%s", a.out)
	}
}

// demoRate sets the limit of the demo's drop directory in the demo's database, while the demo does
// not run.
func (s *shell) demoRate(data, limit string) {
	s.t.Helper()
	server, err := servers.StartPostgres(s.t.Context(), servers.PostgresOptions{Dir: filepath.Join(data, "postgres")})
	if err != nil {
		s.t.Fatal(err)
	}
	defer server.Stop(context.WithoutCancel(s.t.Context()))
	if err := server.CreateDatabase(s.t.Context(), "mail"); err != nil {
		s.t.Fatal(err)
	}
	operator := s.with("DATABASE_URL", server.URL("mail"))
	operator.env["TEMPORAL_ADDRESS"] = "127.0.0.1:1"
	operator.must("migrate")
	operator.must("rate", "set", "drop", limit)
}

func TestDevServesAnotherShellUntilItIsInterrupted(t *testing.T) {
	t.Parallel()
	s := demoShell(t)
	data := filepath.Join(s.env["TMPDIR"], "data")
	ctx, cancel := context.WithTimeout(context.Background(), rig.Timeout)
	defer cancel()
	cmd := s.command(ctx, "dev", "--data", data)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	other := &shell{t: t, dir: t.TempDir(), env: map[string]string{}}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "Ctrl-C stops everything") {
		if name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(lines.Text()), "export "), "="); ok &&
			strings.Contains(lines.Text(), "export ") {
			other.env[name] = strings.Trim(value, "'")
		}
	}
	other.env["DM_TASK_QUEUE"] = s.env["DM_TASK_QUEUE"]
	other.writeLetter()
	other.run("start", "-f", "letter.yaml", "--watch").want(t, 3, "3 of 3 recipients")
	if files, _ := filepath.Glob(filepath.Join(data, "mail", "*.eml")); len(files) != 3 {
		t.Errorf("%d messages in the drop directory, want 3", len(files))
	}
	s.run("dev", "--data", data).wantError(t, 2, "is in use by another")
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		t.Errorf("dev ended with %v", err)
	}
	s.wantNoProcess(data)
}

// interruptAt runs the starter, and sends it SIGINT when it has written a line with the text. It
// returns the exit code and the output.
func (s *shell) interruptAt(line string, args ...string) (code int, output string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), rig.Timeout)
	defer cancel()
	cmd := s.command(ctx, args...)
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait()
		w.Close()
	}()
	var b strings.Builder
	for lines := bufio.NewScanner(r); lines.Scan(); {
		b.WriteString(lines.Text() + "\n")
		if line != "" && strings.Contains(lines.Text(), line) {
			_ = cmd.Process.Signal(syscall.SIGINT)
			line = ""
		}
	}
	return cmd.ProcessState.ExitCode(), b.String()
}

// wantNoProcess waits until no process has the folder in its command line.
func (s *shell) wantNoProcess(dir string) {
	s.t.Helper()
	var list []byte
	for end := time.Now().Add(rig.Timeout); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		out, err := exec.Command("ps", "-eo", "pid,args").Output()
		if err != nil {
			s.t.Fatal(err)
		}
		list = nil
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, dir) {
				list = append(list, line...)
			}
		}
		if len(list) == 0 {
			return
		}
	}
	s.t.Errorf("still running:\n%s", list)
}
