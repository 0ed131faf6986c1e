package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"

	"directmailer/internal/database"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/feedback"
	"directmailer/internal/mailings"
	"directmailer/test/rig"
)

// startInImport begins to start the mailing of letter.yaml, and returns when the command waits in
// the import of its list. finish lets the command go on, and returns its result.
func (s *shell) startInImport(id string) (finish func() result) {
	s.t.Helper()
	tx, err := s.rig.Pool.BeginTx(s.t.Context(), database.Holding)
	if err != nil {
		s.t.Fatal(err)
	}
	// Otherwise the pool never closes after a failure.
	s.t.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(s.t.Context())) })
	if _, err := tx.Exec(s.t.Context(), `LOCK TABLE lists IN SHARE MODE`); err != nil {
		s.t.Fatal(err)
	}
	cmd := s.command(s.t.Context(), "start", "-f", "letter.yaml", "--id", id)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	eventually(s.t, "the import waits", func() bool {
		select {
		case <-ended:
			s.t.Fatalf("the command has ended: %s", said.String())
		default:
		}
		return servertest.WaitsForLock(s.t, s.rig.Pool)
	})
	return func() result {
		s.t.Helper()
		if err := tx.Rollback(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
		rig.Await(s.t, "the command ends", ended)
		return result{cmd.ProcessState.ExitCode(), out.String(), said.String()}
	}
}

// A second command with another file must not replace the list of the first one's mailing,
// whichever of the two Temporal would refuse.
func TestOfTwoStartsOfOneMailingAtOnceTheSecondChangesNothing(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.writeLetter()
	other := s.inFolder(t)
	other.writeLetter()
	other.write("people.csv", "email,first_name,plan\nzoe@example.org,Zoe,free\n")
	id := newID(t)
	finish := s.startInImport(id)
	other.run("start", "-f", "letter.yaml", "--id", id).wantError(t, 5, "another command is starting mailing "+id,
		"Nothing was started")
	finish().wantError(t, 3, "rejected above")
	other.run("start", "-f", "letter.yaml", "--id", id).wantError(t, 5, "exists already")
	s.run("list", "show", "people").want(t, 0, "a@example.com")
}

// The database ends the session of the command that starts a mailing, while it imports the list.
// Another command may start the mailing then.
func TestAStartWhoseLockIsLostStartsNothing(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.writeLetter()
	id := newID(t)
	finish := s.startInImport(id)
	// The session of the import has an advisory lock, too, and waits.
	s.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND state = 'idle in transaction'
		AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')`)
	finish().wantError(t, 6, "Nothing was started")
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
