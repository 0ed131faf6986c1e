package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/feedback"
	"directmailer/internal/mailings"
	"directmailer/test/rig"
)

// begin starts a command of the starter, and returns its standard error.
func (s *shell) begin(args ...string) (cmd *exec.Cmd, said *bytes.Buffer) {
	s.t.Helper()
	said = &bytes.Buffer{}
	cmd = s.command(s.t.Context(), args...)
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	return cmd, said
}

// wantList fails the test unless the list people came from the file.
func (s *shell) wantList(file string) {
	s.t.Helper()
	var source string
	if err := s.rig.Pool.QueryRow(s.t.Context(), `SELECT source FROM lists WHERE name = 'people'`).
		Scan(&source); err != nil || source != file {
		s.t.Errorf("the list comes from %s, want %s: %v", source, file, err)
	}
}

// The first command has imported its list, and Temporal has not heard of the mailing. A second one
// with another file must not replace the list.
func TestOfTwoStartsOfOneMailingAtOnceTheSecondChangesNothing(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.writeLetter()
	other := s.inFolder(t)
	other.writeLetter()
	other.write("others.csv", "email,first_name,plan\nzoe@example.org,Zoe,free\n")
	other.write("letter.yaml", `from: Example News <news@example.com>
subject: Hello
list: {name: people, file: others.csv}
content: {text: "Hello\n\n"}
`)
	id := newID(t)
	holding, held := servertest.HoldingTemporal(t, s.rig.TemporalAddress, "/StartWorkflowExecution")
	cmd, said := s.with("TEMPORAL_ADDRESS", holding).begin("start", "-f", "letter.yaml", "--id", id)
	rig.Await(t, "the first command starts the workflow", held)
	other.run("start", "-f", "letter.yaml", "--id", id).wantError(t, 5, "another command is starting mailing "+id,
		"Nothing was started")
	s.wantList("people.csv")
	s.run("show", id).wantError(t, 4)

	// Another mailing is nobody's rival.
	other.write("letter.yaml", `from: Example News <news@example.com>
subject: Hello
list: {name: others, file: others.csv}
content: {text: "Hello\n\n"}
`)
	other.run("start", "-f", "letter.yaml", "--id", id+"-x").want(t, 0)

	_ = cmd.Process.Signal(os.Interrupt)
	_ = cmd.Wait()
	result{cmd.ProcessState.ExitCode(), "", said.String()}.wantError(t, 130, "may be started or not")
	s.run("start", "-f", "letter.yaml", "--id", id).wantError(t, 3, "rejected above")
	other.run("start", "-f", "letter.yaml", "--id", id).wantError(t, 5, "exists already")
}

// The database ends the session of the command that starts a mailing, while it imports the list.
// Another command may start the mailing then.
func TestAStartWhoseLockIsLostStartsNothing(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.writeLetter()
	id := newID(t)
	tx, err := s.rig.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback(t.Context()) })
	if _, err := tx.Exec(t.Context(), `LOCK TABLE lists IN SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	cmd, said := s.begin("start", "-f", "letter.yaml", "--id", id)
	eventually(t, "the import waits", func() bool { return servertest.WaitsForLock(t, s.rig.Pool) })
	// The import has an advisory lock, too, and a transaction that changes something.
	s.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'idle in transaction'
		AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')`)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	result{cmd.ProcessState.ExitCode(), "", said.String()}.wantError(t, 6, "Nothing was started")
	s.run("show", id).wantError(t, 4)
	s.run("start", "-f", "letter.yaml", "--id", id).wantError(t, 3, "rejected above")
}

// ls asks the database and Temporal one after the other. A mailing without a worker is in Temporal
// alone, until a worker takes it up between the two answers.
func TestAMailingThatIsTakenUpWhileMailingsAreListedIsListedOnce(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.writeLetter()
	id := newID(t)
	s.run("start", "-f", "letter.yaml", "--id", id).want(t, 3)
	listed := func(out []byte) (n int) {
		t.Helper()
		var all []mailing
		if err := json.Unmarshal(out, &all); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for _, m := range all {
			if m.ID == id {
				n++
			}
		}
		return n
	}
	eventually(t, "Temporal lists the mailing", func() bool {
		return listed([]byte(s.must("ls", "--output", "json"))) == 1
	})
	pausing, held, release := servertest.PausingTemporal(t, s.rig.TemporalAddress, "/ListWorkflowExecutions")
	cmd := s.with("TEMPORAL_ADDRESS", pausing).command(t.Context(), "ls", "--output", "json")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	rig.Await(t, "the command asks Temporal", held)
	store := mailings.New(s.rig.Pool)
	err := store.Reserve(t.Context(), id, "run", "people", json.RawMessage(`{}`), feedback.Marks{}, "default")
	if err != nil {
		t.Fatal(err)
	}
	release()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, said.String())
	}
	if n := listed(out.Bytes()); n != 1 {
		t.Errorf("the mailing is listed %d times in %s%s", n, out.String(), said.String())
	}
}
