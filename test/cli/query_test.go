package cli

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"directmailer/internal/dev/servertest"
	"directmailer/test/rig"
)

// createSource makes the shell's database the source crm as well. Its table customers has the
// recipients of the mailing.
func (s *shell) createSource() {
	s.t.Helper()
	_, err := s.rig.Pool.Exec(s.t.Context(), `
		CREATE TABLE customers (id int, mail text, first text, level text);
		INSERT INTO customers VALUES (1, 'a@example.com', 'Åsa', 'gold'),
			(2, 'b@example.com', 'O''Neill, B.', 'gold'),
			(3, 'c@example.org', '小明', 'free')`)
	if err != nil {
		s.t.Fatal(err)
	}
	s.env["DM_SOURCES"] = "crm=" + s.rig.DatabaseURL + separator(s.rig.DatabaseURL) + "mailer_database=allowed"
}

const query = `query:
  source: crm
  sql: SELECT mail AS email, first AS first_name, level AS plan FROM customers WHERE level = 'gold' ORDER BY id
`

// writeQueryLetter writes the files of a mailing whose audience is a query.
func (s *shell) writeQueryLetter(sql string) {
	s.writeLetter()
	_, rest, _ := strings.Cut(letter, "  file: people.csv\n")
	s.write("letter.yaml", "from: Example News <news@example.com>\nsubject: News for {{.first_name}}\n"+sql+rest)
}

func TestAMailingGoesToWhomAQueryFinds(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.createSource()
	s.writeQueryLetter(query)
	s.worker()
	eventually(t, "the worker polls", func() bool { return s.run("check").code == 0 })
	s.run("check").want(t, 0, "source crm")
	s.run("preview", "-f", "letter.yaml").want(t, 0, "To: a@example.com", "you are on the plan gold")
	s.run("preview", "-f", "letter.yaml", "--recipient", "B@example.com").want(t, 0, "To: b@example.com")
	s.run("preview", "-f", "letter.yaml", "--recipient", "c@example.org").wantError(t, 4,
		"the query on crm does not select this recipient")
	id := newID(t)
	s.run("start", "-f", "letter.yaml", "--id", id, "--watch").want(t, 0, "2 of 2 recipients")
	if v := s.status(id); v.Audience != "query:crm" || v.List != "" || v.Sent != 2 {
		t.Errorf("%+v", v)
	}
	s.run("ls").want(t, 0, "query:crm")
	s.run("list", "ls", "--output", "json").want(t, 0, "[]")
	if history := s.history(id); strings.Contains(history, "customers") || !strings.Contains(history, "crm") {
		t.Errorf("the query can be read in Temporal: %s", history)
	}
}

// The starter has stored the text of the query, and Temporal has not heard of the mailing.
func TestAMailingWhoseStarterIsKilledBetweenItsQueryAndItsStartIsStartedAgain(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.createSource()
	s.writeQueryLetter(query)
	s.worker()
	id := newID(t)
	holding, held := servertest.HoldingTemporal(t, s.rig.TemporalAddress, "/StartWorkflowExecution")
	cmd := s.with("TEMPORAL_ADDRESS", holding).command(t.Context(), "start", "-f", "letter.yaml", "--id", id)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	rig.Await(t, "the starter starts the workflow", held)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	wantStored := func() {
		t.Helper()
		var n int
		if err := s.rig.Pool.QueryRow(t.Context(), `SELECT count(*) FROM queries`).Scan(&n); err != nil || n != 1 {
			t.Errorf("%d queries are stored, want 1: %v", n, err)
		}
	}
	wantStored()
	// Interrupted at the same place, it says that the mailing may be started.
	holding, held = servertest.HoldingTemporal(t, s.rig.TemporalAddress, "/StartWorkflowExecution")
	var said bytes.Buffer
	cmd = s.with("TEMPORAL_ADDRESS", holding).command(t.Context(), "start", "-f", "letter.yaml", "--id", id)
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	rig.Await(t, "the starter starts the workflow again", held)
	_ = cmd.Process.Signal(os.Interrupt)
	_ = cmd.Wait()
	result{cmd.ProcessState.ExitCode(), "", said.String()}.wantError(t, 130, "mailing "+id+" may be started or not",
		"--id "+id)
	s.run("show", id).wantError(t, 4)
	s.run("start", "-f", "letter.yaml", "--id", id, "--watch").want(t, 0, "2 of 2 recipients")
	s.run("start", "-f", "letter.yaml", "--id", id).wantError(t, 5)
	wantStored()
	if messages := s.dropped(); len(messages) != 2 {
		t.Errorf("got %q", messages)
	}
}

func TestAQueryThatIsWrongIsToldBeforeAnythingIsStarted(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.createSource()
	id := newID(t)
	s.writeQueryLetter(strings.Replace(query, "level AS plan", "levle AS plan", 1))
	s.run("start", "-f", "letter.yaml", "--id", id).wantError(t, 2, "letter.yaml:5:8: query.sql: ",
		"1 problem; nothing was done")
	s.run("preview", "-f", "letter.yaml").wantError(t, 2, "letter.yaml:5:8")
	s.run("show", id).wantError(t, 4)
	s.writeQueryLetter(strings.Replace(query, "level AS plan", "level", 1))
	s.run("preview", "-f", "letter.yaml").wantError(t, 2, "letter.txt:3:",
		"no column of the list is named plan: there are email, first_name, level")

	// If the shell does not know the source, the workers check the query.
	s.writeQueryLetter(strings.Replace(query, "level AS plan", "levle AS plan", 1))
	s.worker()
	other := s.with("DM_SOURCES", "")
	other.run("preview", "-f", "letter.yaml").wantError(t, 2, "DM_SOURCES of this shell has no source named crm")
	other.run("start", "-f", "letter.yaml", "--id", id, "--watch").wantError(t, 8, "query.sql")

	s.env["DM_SOURCES"] = "crm=postgres://reader:" + password + "@127.0.0.1:1/crm"
	s.run("check").wantError(t, 8, "source crm")
	s.env["DM_SOURCES"] = "crm=mysql://reader:" + password + "@127.0.0.1/crm"
	s.run("check").wantError(t, 2, "DM_SOURCES", "must begin with postgres://")
}

// separator returns what stands before one more parameter of a URL.
func separator(url string) string {
	if strings.Contains(url, "?") {
		return "&"
	}
	return "?"
}
