package cli

import (
	"fmt"
	"strings"
	"testing"
)

const export = "\ufeffsep=;\r\nE-Mail;Vorname;Newsletter-Status;\r\npat@example.org;Pat;aktiv;\r\n" +
	"lee@example.org;Lee;abgemeldet;\r\nkim@example.org;Kim;aktiv\r\nmax@example.org;Max\r\n"

func TestAnImportAsksWhatAStatusColumnMeans(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.write("export.csv", export)
	s.run("list", "import", "people", "export.csv").wantError(t, 2, "column 3 (Newsletter-Status) says who may be mailed",
		"2 active (aktiv 2)", "abgemeldet 1", "--status use", "--status ignore")
	s.run("list", "show", "people").wantError(t, 4)
	s.run("list", "import", "people", "export.csv", "--status", "maybe").wantError(t, 2, "--status must be")
	s.run("list", "import", "people", "export.csv", "--status", "use").want(t, 0, "UTF-8, separated by semicolons",
		"2 rows left out by status: Newsletter-Status=(empty) 1, Newsletter-Status=abgemeldet 1", "2 members")
	var l struct {
		Members int
		LeftOut []struct {
			Column, Value string
			Rows          int
		} `json:"left_out"`
		Encoding, Separator string
		Filled              int
	}
	s.run("list", "import", "people", "export.csv", "--status", "ignore", "--replace", "--output", "json").
		want(t, 0).decode(t, &l)
	if got := fmt.Sprint(l); got != "{4 [] utf-8 ; 1}" {
		t.Errorf("with ignore: %s", got)
	}
	s.run("list", "import", "people", "export.csv", "--status", "use", "--replace", "--output", "json").
		want(t, 0).decode(t, &l)
	if got := fmt.Sprint(l); got != "{2 [{Newsletter-Status (empty) 1} {Newsletter-Status abgemeldet 1}] utf-8 ; 0}" {
		t.Errorf("with use: %s", got)
	}
}

func TestAnAddressThatOneRowForbidsIsNotMailed(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.write("export.csv", "email,audience,status\npat@example.org,a,subscribed\nlee@example.org,a,subscribed\n"+
		"PAT@example.org,b,unsubscribed\nlee@example.org,b,subscribed\n")
	s.run("list", "import", "people", "export.csv", "--status", "use").want(t, 0, "2 members",
		"1 row left out: another row says that the address must not be mailed")
	s.write("letter.yaml", "from: news@example.com\nsubject: Hello\ncontent: {text: Hello}\n"+
		"list: {name: people, file: export.csv, status: use}\n")
	var counted struct{ Members, Recipients int }
	s.run("start", "-f", "letter.yaml", "--dry-run", "--output", "json").want(t, 0).decode(t, &counted)
	if counted.Members != 2 || counted.Recipients != 1 {
		t.Errorf("the dry run counts %+v", counted)
	}
}

func TestAMailingFileDecidesAboutTheStatusColumnOfItsList(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.write("export.csv", export)
	letter := func(list string) {
		s.write("letter.yaml", "from: news@example.com\nsubject: Hello {{.vorname}}\nlist: {name: people, file: export.csv"+
			list+"}\ncontent: {text: Hello}\n")
	}
	letter("")
	for _, dry := range []string{"--watch=false", "--dry-run"} {
		s.run("start", "-f", "letter.yaml", dry).wantError(t, 2, "(Newsletter-Status) says who may be mailed",
			"Under list in letter.yaml, write status: use")
	}
	s.run("list", "ls", "--output", "json").want(t, 0, "[]")
	s.run("ls", "--output", "json").want(t, 0, "[]")
	s.run("preview", "-f", "letter.yaml", "--recipient", "lee@example.org").
		want(t, 0, "Subject: Hello Lee", "warning: export.csv: column 3")
	letter(", status: no")
	s.run("start", "-f", "letter.yaml").wantError(t, 2, "letter.yaml:3:", `list.status: must be "use"`)
	letter(", status: use")
	s.run("preview", "-f", "letter.yaml", "--recipient", "lee@example.org").wantError(t, 4, "has no usable row")
	s.run("start", "-f", "letter.yaml", "--dry-run").want(t, 0, "would be sent", "2 rows left out by status")
	id := newID(t)
	s.run("start", "-f", "letter.yaml", "--id", id).want(t, 0, "2 rows left out by status", "list people: 2 members")
	letter(", status: ignore")
	var counted struct{ Sendable int }
	s.run("start", "-f", "letter.yaml", "--dry-run", "--output", "json").want(t, 0).decode(t, &counted)
	if counted.Sendable != 4 {
		t.Errorf("with ignore, %d are sendable, want 4", counted.Sendable)
	}
	s.write("letter.yaml", "from: news@example.com\nsubject: Hello\nlist: {name: people, status: use}\n"+
		"content: {text: Hello}\n")
	s.run("start", "-f", "letter.yaml").wantError(t, 2, "list.status: needs list.file")
}

func TestAnImportSaysHowItReadTheFileAndWhatItRejected(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.write("latin.csv", "email,name\npat@example.org,Zo\xeb\nlee@example.org,J\xf6rg\n"+
		"nobody,x\nnobody,y\nkim@example.org,K,x\n")
	s.run("list", "import", "people", "latin.csv").want(t, 3, "Windows-1252, separated by commas",
		"recognized by these characters: ë ö", "2 rows rejected: the address has no @", "1 row rejected: has 3 fields")
	s.write("cyrillic.csv", "email,name\npat@example.org,\xcf\xe5\xf2\xf0\n")
	s.run("list", "import", "other", "cyrillic.csv").wantError(t, 2, "cyrillic.csv:2: is not UTF-8, and not clearly")
	s.run("list", "import", "other", "cyrillic.csv", "--encoding", "windows-1251").want(t, 0, "windows-1251, separated")
	s.run("list", "show", "other").want(t, 0, "Петр")
	s.write("letter.yaml", "from: news@example.com\nsubject: Hello {{.name}}\nlist:\n  name: other\n"+
		"  file: cyrillic.csv\n  encoding: cp1251\ncontent: {text: \"{{.name}}\"}\n")
	s.run("preview", "-f", "letter.yaml").want(t, 0, "=D0=9F=D0=B5=D1=82=D1=80")
	s.write("bad.csv", "email,name\npat@example.org,\"P\"x\nlee@example.org,\"L\"x\n")
	a := s.run("list", "import", "other", "bad.csv", "--replace").wantError(t, 2, "bad.csv:2: has text after",
		"bad.csv:3: has text after", "bad.csv: 2 problems; nothing was imported")
	if strings.Contains(a.err, "@") {
		t.Errorf("an address is shown: %s", a.err)
	}
}

func TestOptOutsAreReadHoweverTheirFileIsWritten(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	wide := func(text string) (out string) {
		for _, r := range text {
			out += string([]byte{byte(r), 0})
		}
		return out
	}
	for name, text := range map[string]string{
		"UTF-16 of Windows": "\xff\xfe" + wide("pat@example.org\r\nlee@example.org\r\n"),
		"UTF-16 list":       "\xff\xfe" + wide("E-Mail;Name\r\npat@example.org;P\r\nlee@example.org;L\r\n"),
		"old Mac":           "# asked\rpat@example.org\rlee@example.org",
		"several marks":     "\ufeff\ufeffpat@example.org\nlee@example.org\n",
		"sep line":          "sep=;\r\nName;E-Mail\r\nZo\xeb;pat@example.org\r\nJ\xf6rg;lee@example.org\r\n",
		"heading":           "# email\npat@example.org\n# by telephone\nlee@example.org\n",
	} {
		s.write("out.txt", text)
		a := s.run("optout", "add", "--file", "out.txt")
		if a.code != 0 || !strings.Contains(a.out, "2 addresses added, 0 already there") {
			t.Errorf("%s: exit code %d, %s%s", name, a.code, a.out, a.err)
		}
		s.run("optout", "remove", "pat@example.org", "lee@example.org").want(t, 0)
	}
	s.write("out.csv", "email,status\npat@example.org,active\nlee@example.org,unsubscribed\n")
	s.run("optout", "add", "--file", "out.csv").want(t, 0, "2 addresses added",
		"warning: out.csv: column 2 (status) says who may be mailed", "each address of the file is taken, also the active")
}
