package cli

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// customers makes the shell's database the source crm as well, with the people of the letter in a table.
func (s *shell) customers() {
	s.t.Helper()
	c, err := pgx.Connect(s.t.Context(), s.database)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close(s.t.Context())
	if _, err := c.Exec(s.t.Context(), `
		CREATE TABLE customers (id int, mail text, first text, level text);
		INSERT INTO customers VALUES (1, 'a@example.com', 'Åsa', 'gold'), (2, 'b@example.com', 'O''Neill, B.', 'gold'), (3, 'c@example.org', '小明', 'free')`); err != nil {
		s.t.Fatal(err)
	}
	s.env["DM_SOURCES"] = "crm=" + s.database
}

const query = `query:
  source: crm
  sql: SELECT mail AS email, first AS first_name, level AS plan FROM customers WHERE level = 'gold' ORDER BY id
`

func (s *shell) queried(sql string) {
	s.letter()
	_, rest, _ := strings.Cut(letter, "  file: people.csv\n")
	s.write("letter.yaml", "from: Example News <news@example.com>\nsubject: News for {{.first_name}}\n"+sql+rest)
}

func TestAMailingGoesToWhomAQueryFinds(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.customers()
	s.queried(query)
	s.worker()
	until(t, "the worker is there", func() bool { return s.run("check").code == 0 })
	s.run("check").want(t, 0, "source crm")
	s.run("preview", "-f", "letter.yaml").want(t, 0, "To: a@example.com", "you are on the plan gold")
	s.run("preview", "-f", "letter.yaml", "--recipient", "B@example.com").want(t, 0, "To: b@example.com")
	s.run("preview", "-f", "letter.yaml", "--recipient", "c@example.org").wantError(t, 4, "the query on crm finds no such recipient")
	id := id(t)
	s.run("start", "-f", "letter.yaml", "--id", id, "--watch").want(t, 0, "2 of 2 recipients")
	if v := s.standing(id); v.Audience != "query:crm" || v.List != "" || v.Sent != 2 {
		t.Errorf("%+v", v)
	}
	s.run("ls").want(t, 0, "query:crm")
	s.run("list", "ls", "--output", "json").want(t, 0, "[]")
}

func TestAQueryThatIsWrongIsToldBeforeAnythingIsStarted(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.customers()
	id := id(t)
	s.queried(strings.Replace(query, "level AS plan", "levle AS plan", 1))
	s.run("start", "-f", "letter.yaml", "--id", id).wantError(t, 2, "letter.yaml:5:8: query.sql: ", "1 problem; nothing was done")
	s.run("preview", "-f", "letter.yaml").wantError(t, 2, "letter.yaml:5:8")
	s.run("show", id).wantError(t, 4)
	s.queried(strings.Replace(query, "level AS plan", "level", 1))
	s.run("preview", "-f", "letter.yaml").wantError(t, 2, "letter.txt:3:", "no column of the list is named plan: there are email, first_name, level")

	// A shell that does not know the source leaves it to the workers.
	s.queried(strings.Replace(query, "level AS plan", "levle AS plan", 1))
	s.worker()
	other := s.with("DM_SOURCES", "")
	other.run("preview", "-f", "letter.yaml").wantError(t, 2, "DM_SOURCES of this shell has no source named crm")
	other.run("start", "-f", "letter.yaml", "--id", id, "--watch").wantError(t, 8, "query.sql")

	s.env["DM_SOURCES"] = "crm=postgres://reader:" + secret + "@127.0.0.1:1/crm"
	s.run("check").wantError(t, 8, "source crm")
	s.env["DM_SOURCES"] = "crm=mysql://reader:" + secret + "@127.0.0.1/crm"
	s.run("check").wantError(t, 2, "DM_SOURCES", "must begin with postgres://")
}
