package cli

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

func withPassword(database, password string) string {
	u, err := url.Parse(database)
	if err != nil {
		panic(err)
	}
	u.User = url.UserPassword(u.User.Username(), password)
	return u.String()
}

func TestAnImportReportsDuplicatesAndRejectedRowsByLine(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.write("people.csv", people)
	type list struct {
		Name, Source                  string
		Members, Duplicates, Rejected int
		Columns                       []string
		Rejects                       []struct {
			Line   int
			Reason string
		}
	}
	var l list
	s.run("list", "import", "people", "people.csv", "--output", "json").wantError(t, 3,
		"people.csv:5: the address has no @", "1 row rejected").decode(t, &l)
	if got := fmt.Sprint(l); got != "{people people.csv 4 1 1 [first_name plan] [{5 the address has no @}]}" {
		t.Errorf("import answered %s", got)
	}
	s.run("list", "import", "people", "people.csv").wantError(t, 5, "--replace")

	var b strings.Builder
	b.WriteString("email\na@example.com\n")
	for range 50 {
		b.WriteString("nobody\n")
	}
	s.write("bad.csv", b.String())
	a := s.run("list", "import", "people", "bad.csv", "--replace").wantError(t, 3, "… and 30 more",
		"bad.csv: 50 rows rejected")
	if n := strings.Count(a.err, "the address has no @"); n != 20 {
		t.Errorf("%d rejected rows are shown, want 20", n)
	}
	l = list{}
	s.run("list", "import", "people", "bad.csv", "--replace", "--output", "json").want(t, 3).decode(t, &l)
	if len(l.Rejects) != 50 || l.Members != 1 {
		t.Errorf("JSON has %d rejected rows of 50 and %d members", len(l.Rejects), l.Members)
	}
	var all []list
	s.run("list", "ls", "--output", "json").want(t, 0).decode(t, &all)
	if len(all) != 1 || all[0].Members != 1 {
		t.Errorf("list ls: %+v", all)
	}
	if out := s.must("list", "show", "people"); !strings.Contains(out, "a@example.com") {
		t.Errorf("list show: %s", out)
	}
	s.must("list", "delete", "people", "--yes")
	s.run("list", "show", "people").wantError(t, 4)
}

func TestOptOutsComeFromAFileTheInputOrTheCommandLine(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.write("out.txt", "\ufeff# asked by telephone\na@example.com\n\nnobody\r\n B@EXAMPLE.com \r\n")
	s.run("optout", "add", "--file", "out.txt").wantError(t, 3, "out.txt:4: has no @", "left out 1 line").want(t, 3,
		"2 addresses added, 0 already there")
	s.runWithInput("b@example.com\nc@example.com\n", "optout", "add", "-").want(t, 0,
		"1 address added, 1 already there")
	s.run("optout", "add", "d@example.com", "nobody").wantError(t, 2, "address 2 of the command line has no @")
	s.run("optout", "add", "d@example.com").want(t, 0)
	var all []struct{ Address, Reason string }
	s.run("optout", "ls", "--output", "json").want(t, 0).decode(t, &all)
	if got := fmt.Sprint(all); got != "[{a@example.com asked} {b@example.com asked} {c@example.com asked} "+
		"{d@example.com asked}]" {
		t.Errorf("optout ls: %s", got)
	}
	s.run("optout", "remove", "a@example.com", "x@example.com").want(t, 0, "1 address removed, 1 not there")
	s.run("optout", "add", "--file", "gone.txt").wantError(t, 2, "gone.txt: no such file")
	s.runWithInput("# nobody\n", "optout", "add", "-").wantError(t, 2, "has no address in it")
	if out := s.must("optout", "ls"); strings.Contains(out, "a@example.com") ||
		!strings.Contains(out, "d@example.com") {
		t.Errorf("optout ls: %s", out)
	}
}

func TestAnImportSaysWhichMarksItTookOffAddresses(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.write("people.csv", "email,name\n‚pat@example.org‘,Pat\n▸ lee@example.org,Lee\nkim@example.org©,Kim\n")
	s.run("list", "import", "people", "people.csv").wantError(t, 3,
		"people.csv:2: took a quotation mark off the address", "people.csv:3: took a bullet off the address",
		"people.csv:4: the address has no valid domain name", "1 row rejected").want(t, 3, "2 members")
	var l struct{ Pasted []struct{ Line int } }
	s.run("list", "import", "people", "people.csv", "--replace", "--output", "json").want(t, 3).decode(t, &l)
	if got := fmt.Sprint(l.Pasted); got != "[{2} {3}]" {
		t.Errorf("JSON has %s", got)
	}
}
