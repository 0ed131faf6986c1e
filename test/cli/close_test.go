package cli

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/dev/smtptest"
	"directmailer/test/rig"
	"directmailer/workflows"
)

// startStalled starts a mailing to n recipients over four connections to the server, in batches of
// size and with a rate limit of its own. It waits until a message is stalled on each connection.
func (s *shell) startStalled(server *smtptest.Server, stall *smtptest.Stall, n, size int) (id string) {
	s.t.Helper()
	s.writeLetter()
	var list strings.Builder
	list.WriteString("email,first_name,plan\n")
	for i := range n {
		fmt.Fprintf(&list, "r%d@example.com,Nr %d,free\n", i, i)
	}
	s.write("people.csv", list.String())
	s.write("letter.yaml", letter+fmt.Sprintf("batch_size: %d\nrates: {mailing: 1000/s}\n", size))
	s.env["DM_DROP_POINTS"] = rig.MX(server)
	s.worker()
	id = newID(s.t)
	s.run("start", "-f", "letter.yaml", "--id", id).want(s.t, 0)
	eventually(s.t, "every connection waits for an answer", func() bool { return stall.Waiting() == rig.Connections })
	return id
}

// limits returns the number of rate limits in the database. Commands do not show those of mailings
// that have ended.
func (s *shell) limits() (n int) {
	s.t.Helper()
	if err := s.rig.Pool.QueryRow(s.t.Context(), `SELECT count(*) FROM rate_limits`).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// terminate terminates the mailing's workflow, as an operator does in the Web UI.
func (s *shell) terminate(id string) {
	s.t.Helper()
	if err := s.rig.Temporal.TerminateWorkflow(s.t.Context(), id, "", "by an operator"); err != nil {
		s.t.Fatal(err)
	}
}

// Four messages have no answer when the mailing is closed: the ledger must call them uncertain. The
// server's own record decides about all others.
func TestATerminatedMailingIsClosedAndContinuedWithEverybodyWhoWasLeftOut(t *testing.T) {
	t.Parallel()
	server, stall := rig.StalledServer(t, 10)
	s := newShell(t)
	id := s.startStalled(server, stall, 40, 20)
	s.run("close", id, "--yes").wantError(t, 4, "mailing "+id+" has an open workflow: `starter cancel "+id+"`",
		"nothing was done")
	if m := s.show(id); m.State != "sending" || m.Closed {
		t.Fatalf("a refusal has changed the mailing: %+v", m)
	}
	if n := s.limits(); n != 1 {
		t.Fatalf("%d rate limits, want the mailing's own", n)
	}
	s.terminate(id)

	s.run("show", id).want(t, 0, "terminated", "`starter close "+id+"` closes it", "Ledger, open")
	s.run("start", "--continue", id).wantError(t, 4, "`starter close`")
	s.with("TEMPORAL_ADDRESS", "127.0.0.1:1").run("close", id, "--yes").wantError(t, 7,
		"nothing was done, because the workflow of mailing ")
	s.run("close", id).wantError(t, 2, "its workflow was terminated. 30 of 40 recipients have no outcome", "--yes",
		"Nothing was done")
	if m := s.show(id); m.State != "terminated" || m.Closed || m.Sent != 10 || m.Open != 30 {
		t.Fatalf("a refusal has changed the mailing: %+v", m)
	}
	// A bounce came back while too few were sent to for its word to be believed.
	s.exec(`INSERT INTO bounce_findings VALUES ('gone@example.com', '` + id + `', 'hard', '5.1.1', now())`)
	s.run("close", id, "--yes").want(t, 0, "mailing "+id+" is closed as terminated: sent 10, uncertain 4, unsent "+
		"26 of 40 recipients",
		"`starter start --continue "+id+"`", "`starter resolve "+id+"`")
	s.run("optout", "ls").want(t, 0, "gone@example.com")
	s.exec(`DELETE FROM suppressions`)

	for _, shell := range []*shell{s, s.with("TEMPORAL_ADDRESS", "127.0.0.1:1")} {
		if m := shell.show(id); m.State != "terminated" || !m.Closed || m.Sent != 10 || m.Uncertain != 4 ||
			m.Unsent != 26 || m.Open != 0 ||
			m.Reason != "its workflow was terminated" {
			t.Errorf("show: %+v", m)
		}
	}
	s.run("watch", id).wantError(t, 8, "mailing "+id+" was terminated").want(t, 8, "Ledger, closed")
	s.run("ls").want(t, 0, "terminated")
	if n := s.limits(); n != 0 {
		t.Errorf("%d rate limits are left", n)
	}
	s.run("close", id).want(t, 0, "is closed already, as terminated")
	s.run("optout", "ls").want(t, 0, "gone@example.com") // the first command could have been killed before it

	stall.ReleaseAll()
	eventually(t, "what was in flight is over", func() bool { return len(server.Received()) == 14 && server.Quiet() })
	eventually(t, "the late answers are in the ledger", func() bool {
		m := s.show(id)
		return m.Sent == 14 && m.Uncertain == 0
	})
	s.run("resolve", id, "--as", "sent").wantError(t, 4, "no uncertain recipient")
	s.run("start", "--continue", id, "--watch").want(t, 0, "26 recipients of mailing "+id, "26 of 26 recipients")
	if copies := server.Copies(); len(copies) != 40 || len(server.Received()) != 40 {
		t.Errorf("%d messages to %d recipients, want one to each of 40", len(server.Received()), len(copies))
	}
}

func TestAMailingThatTemporalHasForgottenIsClosed(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	id := s.startSuspended()
	s.terminate(id)
	c := s.rig.Temporal
	_, err := c.WorkflowService().DeleteWorkflowExecution(t.Context(),
		&workflowservice.DeleteWorkflowExecutionRequest{Namespace: "default",
			WorkflowExecution: &common.WorkflowExecution{WorkflowId: id}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "Temporal has forgotten it", func() bool {
		_, err := c.DescribeWorkflowExecution(t.Context(), id, "")
		return err != nil && strings.Contains(err.Error(), "not found")
	})
	s.run("show", id).want(t, 0, "`starter close` closes its ledger")
	s.run("close", id).wantError(t, 2, "Temporal (namespace default) has no workflow for it")
	// A program may start another workflow under the ID. It is not the mailing's.
	_, err = c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: id}, workflows.MailingType,
		workflows.Input{})
	if err != nil {
		t.Fatal(err)
	}
	s.run("watch", id).wantError(t, 8, "Temporal has no workflow for mailing "+id)
	s.run("close", id).wantError(t, 2, "its workflow is gone, and another one has its ID")
	s.run("close", id, "--yes").want(t, 0, "unsent 3 of 3 recipients")
	if m := s.show(id); m.State != "terminated" || !m.Closed || m.Unsent != 3 {
		t.Errorf("show: %+v", m)
	}
}

func TestAMailingThatRunsInAnotherNamespaceIsNotClosed(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	id := s.startSuspended()
	another := s.with("TEMPORAL_NAMESPACE", "temporal-system") // which every server has
	another.run("close", id, "--yes").wantError(t, 2, "set TEMPORAL_NAMESPACE to default", "nothing was done")
	if m := s.show(id); m.State != "suspended" || m.Closed {
		t.Errorf("a refusal has changed the mailing: %+v", m)
	}
	s.exec(`UPDATE batches SET uncertain = 1, closed_at = now()`)
	another.run("resolve", id, "--as", "sent").wantError(t, 2, "set TEMPORAL_NAMESPACE to default", "nothing was done")
	s.exec(`UPDATE mailings SET namespace = ''`) // as for a mailing that an earlier version has opened
	another.run("close", id).wantError(t, 2, "Temporal (namespace temporal-system) has no workflow for it")
}

func TestOnlyALedgerThatIsOpenIsClosed(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	id := s.startSuspended()
	s.run("cancel", id).want(t, 0)
	s.run("watch", id).want(t, 8)
	s.run("close", id, "--yes").wantError(t, 4, "mailing "+id+" has ended (cancelled): there is nothing to close")
	s.run("close", id+"-x").wantError(t, 4, "no mailing is named")
	s.run("close").wantError(t, 2, "the mailing's ID is missing")

	// A continuation that no worker has taken up, or whose workflow is over, may be this one.
	s.exec(`UPDATE mailings SET input = input || '{"not_after": "2026-01-01T00:00:00Z"}'`)
	s.with("DM_TASK_QUEUE", id).run("start", "--continue", id).want(t, 0, "its not_after",
		"mailing "+id+"-2 is started")
	s.run("start", "--continue", id).wantError(t, 5, "mailing "+id+"-2 is started", "it may be this continuation",
		"Nothing was started")
	s.terminate(id + "-2")
	s.run("start", "--continue", id).wantError(t, 5, "mailing "+id+"-2 has ended (terminated)", "Nothing was started")
	if out := s.must("__complete", "close", id[:len(id)-1]); !strings.HasPrefix(out, id+"\t") {
		t.Errorf("IDs are completed by %q", out)
	}
}

// closeBehindAnother closes the ledger of a mailing while the worker that was closing it when it
// was terminated does the same, and is first.
func (s *shell) closeBehindAnother(id string) {
	s.t.Helper()
	tx, err := s.rig.Pool.Begin(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(s.t.Context())) }()
	exec := func(sql string) {
		s.t.Helper()
		if _, err := tx.Exec(s.t.Context(), sql, id); err != nil {
			s.t.Fatal(err)
		}
	}
	exec(`SELECT FROM mailings WHERE id = $1 FOR UPDATE`)
	cmd := s.command(s.t.Context(), "close", id, "--yes")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, "the command waits for the row", func() bool { return servertest.WaitsForLock(s.t, s.rig.Pool) })
	exec(`UPDATE mailings SET state = 'completed', closed_at = now(), suppression = '{}', counts = '{"sent": 3}'
		WHERE id = $1`)
	if err := tx.Commit(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	_ = cmd.Wait()
	result{cmd.ProcessState.ExitCode(), "", said.String()}.
		wantError(s.t, 4, "mailing "+id+" has ended (completed): there is nothing to close")
}
