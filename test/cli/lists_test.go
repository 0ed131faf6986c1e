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

func TestAnImportSaysWhatBecomesOfEachColumn(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.write("people.csv", "Submitted,Your e-mail,Email,\"Who are you, really?\",นามแฝง ชื่อ,Name,NAME,,---\n"+
		"today,x,pat@example.org,Pat,แพท,P,Q,,\n")
	s.run("list", "import", "people", "people.csv").want(t, 0, "{{.email}} (the address)", "{{.who_are_you_really}}",
		"{{index . \"นามแฝง_ชื่อ\"}}", "{{.name_2}}", "left out: it has no name", "left out: its name has no letter",
		"1 member")
	var l struct {
		Columns []string
		Mapping []struct {
			Column        int
			Header, Field string
			Address       bool
		}
	}
	s.run("list", "import", "people", "people.csv", "--replace", "--output", "json").want(t, 0).decode(t, &l)
	if got := fmt.Sprint(l.Mapping); got != "[{1 Submitted submitted false} {2 Your e-mail your_e_mail false} "+
		"{3 Email email true} {4 Who are you, really? who_are_you_really false} {5 นามแฝง ชื่อ นามแฝง_ชื่อ false} "+
		"{6 Name name false} {7 NAME name_2 false} {8   false} {9 ---  false}]" {
		t.Errorf("mapping: %s", got)
	}
	s.write("letter.yaml", "from: news@example.com\nsubject: Hello {{.Name}}\nlist: {name: people, file: people.csv}\n"+
		"content:\n  text: |\n    {{.Who are you, really?}}\n")
	s.run("preview", "-f", "letter.yaml").wantError(t, 2,
		"the column Who are you, really? is {{.who_are_you_really}}")
	s.write("letter.yaml", "from: news@example.com\nsubject: Hello {{.Name}}\nlist: {name: people, file: people.csv}\n"+
		"content:\n  text: |\n    {{.name}} {{index . \"นามแฝง_ชื่อ\"}}\n")
	s.run("preview", "-f", "letter.yaml").wantError(t, 2, "no column of the list is named Name: write {{.name}}")
	s.write("letter.yaml", "from: news@example.com\nsubject: Hello {{.name}}\nlist: {name: people, file: people.csv}\n"+
		"content:\n  text: |\n    {{.who_are_you_really}} ({{index . \"นามแฝง_ชื่อ\"}})\n")
	s.run("preview", "-f", "letter.yaml").want(t, 0, "Subject: Hello P", "Pat (=E0=B9=81=E0=B8=9E=E0=B8=97)")
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
