package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"directmailer/internal/dev/servertest"
)

func TestHelpNamesEveryExitCodeAndCommand(t *testing.T) {
	t.Parallel()
	s := newShellWithoutServers(t)
	help := s.must("--help")
	codes := s.must("help", "exit-codes")
	for _, text := range []string{"  0  done", "  1  ", "  2  ", "  3  ", "  4  ", "  5  ", "  6  ", "  7  ", "  8  ",
		"130  interrupted"} {
		if !strings.Contains(codes, text) {
			t.Errorf("help exit-codes does not say %q", text)
		}
	}
	for _, command := range []string{"start", "watch", "show", "ls", "pause", "resume", "cancel", "close", "resolve",
		"rate", "report", "preview", "mailing", "list", "optout", "check", "migrate", "dev", "demo", "completion",
		"version"} {
		if !strings.Contains(help, "\n  "+command+" ") {
			t.Errorf("--help does not list %s", command)
		}
		if text := s.must(command, "--help"); !strings.Contains(text, "Usage:") {
			t.Errorf("%s --help is %q", command, text)
		}
	}
}

func TestCompletionIsPrintedForEachShell(t *testing.T) {
	t.Parallel()
	s := newShellWithoutServers(t)
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if out := s.must("completion", shell); !strings.Contains(out, "starter") {
			t.Errorf("completion %s printed %d octets", shell, len(out))
		}
	}
	if out := s.must("__complete", "ls", "--output", ""); !strings.Contains(out, "table\njson\n") {
		t.Errorf("--output is completed by %q", out)
	}
}

func TestVersionIsPrintedAsJSON(t *testing.T) {
	t.Parallel()
	var v struct{ Version, Go string }
	newShellWithoutServers(t).run("version", "--output", "json").want(t, 0).decode(t, &v)
	if v.Version == "" || v.Go == "" {
		t.Errorf("%+v", v)
	}
}

func TestBadUsageIsToldInOneLineAndIsCode2(t *testing.T) {
	t.Parallel()
	s := newShellWithoutServers(t)
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"strat"}, "did you mean `starter start`?"},
		{[]string{"list", "improt"}, "did you mean `starter list import`?"},
		{[]string{"show"}, "ID is missing"},
		{[]string{"show", "a", "b"}, `unexpected argument "b"`},
		{[]string{"ls", "--wide"}, "unknown flag --wide"},
		{[]string{"ls", "--output", "xml"}, "is not table or json"},
		{[]string{"ls", "--limit", "0"}, "--limit is 0: set it to 1 to 10000"},
		{[]string{"report", "x", "--outcome", "send"}, "is not one of sent, bounced"},
		{[]string{"report", "x", "--output", "xml"}, "is not csv or json"},
		{[]string{"start"}, "name it with -f"},
		{[]string{"start", "--continue", "x", "--outcome", "sent"}, `"sent" is not one of unsent, failed`},
		{[]string{"resolve", "x"}, "--as is missing"},
		{[]string{"rate", "sett"}, "did you mean `starter rate set`?"},
		{[]string{"rate", "set", "gmail.com", "fast"}, "is not like 20/s"},
		{[]string{"start", "-f", "x.yaml", "--id", "a@example.com"},
			"is not a valid mailing ID: it must be up to 100 letters"},
		{[]string{"list", "import", "People!", "x.csv"}, "is not a valid list name"},
		{[]string{"list", "import", "people"}, "the file is missing"},
		{[]string{"optout", "add"}, "no address is given"},
		{[]string{"optout", "add", "x", "--file", "y"}, "either --file or addresses"},
		{[]string{"optout", "add", "a@example.com\r\nRCPT TO:<b@example.com>"},
			"address 1 of the command line has a line break"},
		{[]string{"optout", "add", "a@example.com", "x> NOTIFY=NEVER@example.com"}, "address 2 of the command line"},
		{[]string{"preview", "-f", "nowhere.yaml"}, "nowhere.yaml: there is no such file"},
		{[]string{"ls"}, "DATABASE_URL is not set"},
		{[]string{"migrate"}, "DATABASE_URL is not set"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			t.Parallel()
			s.inTest(t).run(c.args...).wantError(t, 2, c.says)
		})
	}
}

func TestABadEnvironmentIsToldWithoutItsValues(t *testing.T) {
	t.Parallel()
	s := newShellWithoutServers(t)
	s.with("DATABASE_URL", "mysql://user:"+password+"@127.0.0.1/x").run("ls").wantError(t, 6,
		"DATABASE_URL cannot be used: it is not a PostgreSQL URL")
	s.with("DM_DROP_POINTS", "mx=smtp://user:"+password+"@").run("check").wantError(t, 2,
		"DM_DROP_POINTS: drop point mx")
	const secret = "Zq8Kw3XpJv7Yb"
	for _, c := range []struct{ name, value string }{
		{"DATABASE_URL", "postgres://me:" + secret + "@" + secret + "@127.0.0.1:1/mail"},
		{"DATABASE_URL", "postgres://me:12/" + secret + "@127.0.0.1:1/mail"},
		{"DATABASE_URL_FILE", "postgres://me:" + secret + "@127.0.0.1:1/mail"},
		{"DM_DROP_POINTS", "mx=smtp://me:x " + secret + "=y@127.0.0.1:1"},
		{"DM_DROP_POINTS", "mx=smtp://me:12?" + secret + "@127.0.0.1:1"},
		{"DM_SOURCES", "crm=postgres://me:" + secret + "/" + secret + "@127.0.0.1:1/crm"},
		{"TEMPORAL_ADDRESS", "https://me:" + secret + "@127.0.0.1:1"},
		{"TEMPORAL_TLS_CLIENT_KEY_PATH", secret},
	} {
		for _, command := range []string{"check", "ls", "migrate"} {
			a := s.with(c.name, c.value).run(command)
			if text := a.out + a.err; strings.Contains(text, secret[:4]) || a.code == 0 {
				t.Errorf("%s with %s: exit code %d, %s", command, c.name, a.code, text)
			}
		}
	}
}

func TestBadMailingFilesAreToldByLineAndNothingIsDone(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	for _, c := range []struct {
		name string
		edit func(s *shell)
		says []string
	}{
		{"no such file", func(s *shell) {
			s.write("letter.yaml",
				strings.Replace(letter, "letter.txt", "gone.txt", 1))
		},
			[]string{"letter.yaml:7:14: content.text_file: gone.txt: there is no such file"}},
		{"no YAML", func(s *shell) { s.write("letter.yaml", "from: [\n") }, []string{"letter.yaml:"}},
		{"unknown field", func(s *shell) { s.write("letter.yaml", letter+"batchsize: 5\n") },
			[]string{"letter.yaml:9:1: batchsize"}},
		{"wrong type", func(s *shell) { s.write("letter.yaml", letter+"batch_size: many\n") },
			[]string{"letter.yaml:9:13: batch_size"}},
		{"template syntax", func(s *shell) { s.write("letter.txt", "Hello\n{{if .plan}}\n") },
			[]string{"letter.txt:2:1", "content.text: "}},
		{"HTML template syntax", func(s *shell) { s.write("letter.html", "<p>\n  {{.first_name | nofunc}}") },
			[]string{"letter.html:2", `"nofunc" not defined`}},
		{"subject on two lines", func(s *shell) {
			s.write("letter.yaml", strings.Replace(letter, "News for {{.first_name}}", `"News\nfor you"`, 1))
		}, []string{"letter.yaml:2:"}},
		{"field that no column has", func(s *shell) {
			s.write("letter.html",
				"<p>Hello {{.first_name}}</p>\n<p>{{.frist_name}}</p>")
		},
			[]string{"letter.html:2:6: content.html: no column of the list is named frist_name: there are email, " +
				"first_name, plan"}},
		{"not_after in the past", func(s *shell) { s.write("letter.yaml", letter+"not_after: 2001-01-01T00:00:00Z\n") },
			[]string{"letter.yaml:9:12: not_after: is in the past"}},
		{"no list file", func(s *shell) {
			s.write("letter.yaml",
				strings.Replace(letter, "people.csv", "gone.csv", 1))
		}, []string{"gone.csv: there is no such file"}},
		{"list without an address", func(s *shell) { s.write("people.csv", "name\nÅsa\n") },
			[]string{"people.csv:1: has no column for the e-mail address"}},
		{"several at once", func(s *shell) {
			s.write("letter.txt", "{{.plan")
			s.write("letter.html", "<p>{{.frist_name}}</p>")
			s.write("people.csv", "email,first_name,plan\n")
		}, []string{"letter.txt:1", "letter.html:1:6", "letter.yaml: 2 problems; nothing was done"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			mine := s.inFolder(t)
			mine.writeLetter()
			c.edit(mine)
			mine.run("start", "-f", "letter.yaml", "--id", newID(t)).wantError(t, 2,
				append(c.says, "nothing was done")...)
		})
	}
	t.Cleanup(func() {
		if got := s.must("list", "ls", "--output", "json"); got != "[]\n" {
			t.Errorf("a list was imported all the same: %s", got)
		}
	})
}

func TestBadListsAreToldByLineAndLeaveTheOldOne(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.write("good.csv", people)
	s.run("list", "import", "people", "good.csv").want(t, 3)
	for name, c := range map[string]struct {
		content string
		says    []string
	}{
		"empty":     {"", []string{"list.csv: is empty"}},
		"no column": {"name;town\nx;y\n", []string{"list.csv:1: has no column for the e-mail address"}},
		"only bad rows": {"email,n\nx,1\na@example.com,1,2\n",
			[]string{"list.csv:2: the address has no @", "list.csv:3: has 3 fields, but the header names 2 columns",
				"no usable row"}},
		"UTF-16 without the address": {"\xff\xfee\x00m\x00",
			[]string{"list.csv:1: has no column for the e-mail address"}},
		"UTF-8 and Latin-1 mixed": {"email,n\na@example.com,Zoë\nb@example.com,\xc5sa\n", []string{"list.csv:3"}},
		"open quote":              {"email,n\na@example.com,\"x\n", []string{"list.csv:2"}},
		"line break": {"email\n\"a@example.com\r\nBcc: x\"\n",
			[]string{"list.csv:2: the address has a line break"}},
		"SMTP argument": {"email\nx> NOTIFY=NEVER@example.com\n",
			[]string{"list.csv:2: the address has a name or other text beside it"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mine := s.inFolder(t)
			mine.write("list.csv", c.content)
			mine.run("list", "import", "people", "list.csv", "--replace").wantError(t, 2, c.says...)
		})
	}
	t.Cleanup(func() {
		var l struct{ Members int }
		s.run("list", "show", "people", "--output", "json").want(t, 0).decode(t, &l)
		if l.Members != 4 {
			t.Errorf("the old list has %d members, want 4", l.Members)
		}
	})
	s.run("list", "import", "people", "gone.csv", "--replace").wantError(t, 2, "gone.csv: there is no such file")
	s.run("list", "import", "people", ".", "--replace").wantError(t, 2, "is a folder")
}

func TestServersThatAreAwayHaveExitCodesOfTheirOwn(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.writeLetter()
	nobody := "127.0.0.1:1" // a port that is reserved for nothing
	away := s.with("DATABASE_URL", "postgres://user:"+password+"@"+nobody+"/mail")
	for _, args := range [][]string{{"ls"}, {"list", "ls"}, {"optout", "ls"}, {"report", "x"}, {"migrate"},
		{"start", "-f", "letter.yaml", "--id", newID(t)}} {
		away.run(args...).wantError(t, 6, "127.0.0.1:1/mail", "connection refused")
	}
	s.with("TEMPORAL_ADDRESS", nobody).run("start", "-f", "letter.yaml", "--id", newID(t)).wantError(t, 7,
		"Temporal at "+nobody)
	s.with("TEMPORAL_ADDRESS", nobody).run("cancel", "x").wantError(t, 7)
	s.with("TEMPORAL_ADDRESS", nobody).run("resume", "x").wantError(t, 7)
	if got := s.must("list", "ls", "--output", "json"); got != "[]\n" {
		t.Errorf("with Temporal away, a list was imported: %s", got)
	}
	s.with("TEMPORAL_ADDRESS", nobody).run("ls").want(t, 0, "Temporal does not answer")

	password := s.with("DATABASE_URL", withPassword(s.rig.DatabaseURL, password))
	password.run("ls").wantError(t, 6, "the user or the password is refused")
}

func TestADatabaseThatIsNotMigratedSaysWhatToType(t *testing.T) {
	t.Parallel()
	server := servertest.OwnPostgres(t)
	if err := server.CreateDatabase(t.Context(), "empty"); err != nil {
		t.Fatal(err)
	}
	s := newShellWithoutServers(t)
	s.env["DATABASE_URL"] = server.URL("empty")
	s.env["TEMPORAL_ADDRESS"] = "127.0.0.1:1"
	s.writeLetter()
	s.run("ls").wantError(t, 6, "run `starter migrate`")
	s.run("start", "-f", "letter.yaml").wantError(t, 6, "run `starter migrate`")
	s.run("check").wantError(t, 8, "not usable: PostgreSQL, Temporal, workers")
	s.run("migrate").want(t, 0, "from version 0 to", "warning: reach Temporal")
	s.run("migrate").want(t, 0, "nothing to do")
	s.must("ls")
	server.Stop(t.Context())
	s.run("ls").wantError(t, 6)
}

func TestReadingCommandsAnswerInJSON(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	for _, args := range [][]string{{"ls"}, {"list", "ls"}, {"optout", "ls"}} {
		var all []any
		s.run(append(args, "--output", "json")...).want(t, 0).decode(t, &all)
		if all == nil || len(all) != 0 {
			t.Errorf("%v of nothing is %v, want an empty array", args, all)
		}
	}
	for _, args := range [][]string{{"show", "nobody"}, {"report", "nobody"}, {"list", "show", "nobody"},
		{"list", "delete", "nobody", "--yes"}, {"watch", "nobody"}, {"cancel", "nobody"}, {"resume", "nobody"}} {
		s.run(args...).wantError(t, 4, "is named nobody")
	}
	var findings []struct {
		What   string
		Result string
		Detail string
	}
	a := s.run("check", "--output", "json").wantError(t, 8, "not usable: workers")
	if err := json.Unmarshal([]byte(a.out), &findings); err != nil || len(findings) != 6 {
		t.Fatalf("check answered %v %s", err, a.out)
	}
	for _, f := range findings {
		if strings.HasPrefix(f.What, "database ") && f.Result == "warning" {
			continue // the server of the tests does not wait for its disk
		}
		if (f.Result == "usable") != (f.What != "workers") {
			t.Errorf("check: %+v", f)
		}
	}
	s.with("DM_DROP_POINTS", "mx=smtp://user:"+password+"@127.0.0.1:1 gone=dir:"+s.dir+"/gone").
		run("check").wantError(t, 8, "drop point mx, drop point gone")
}
