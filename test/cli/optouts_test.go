package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// exec runs SQL in the shell's database.
func (s *shell) exec(sql string) {
	s.t.Helper()
	if _, err := s.rig.Pool.Exec(s.t.Context(), sql); err != nil {
		s.t.Fatal(err)
	}
}

// optOuts returns the opt-outs, "address reason" each.
func (s *shell) optOuts() string {
	s.t.Helper()
	var all []struct{ Address, Reason string }
	s.run("optout", "ls", "--output", "json").want(s.t, 0).decode(s.t, &all)
	return fmt.Sprint(all)
}

func TestAnAddressIsOptedOutHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.run("optout", "add", "Anna@Example.com", " BERT@EXAMPLE.COM ").want(t, 0, "2 addresses added, 0 already there")
	s.write("out.txt", "CARL@example.com\nanna@example.com\n")
	s.run("optout", "add", "--file", "out.txt").want(t, 0, "1 address added, 1 already there")
	if got := s.optOuts(); got != "[{anna@example.com asked} {bert@example.com asked} {carl@example.com asked}]" {
		t.Errorf("optout ls: %s", got)
	}
	s.run("optout", "remove", "anna@EXAMPLE.com").want(t, 0, "1 address removed, 0 not there")
}

func TestTheBouncesOfAMailingAreTakenBackAndRequestsStay(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.exec(`INSERT INTO mailings (id, first_run_id, input, list, state) VALUES ('m', 'run', '{}', 'l', 'completed')`)
	s.exec(`INSERT INTO suppressions (address_key, class, code, origin, mailing)
		VALUES ('a@example.com', 'hard', '5.1.1', 'answer', 'm'), ('b@example.com', 'hard', '5.1.1', 'answer', 'm'),
			('c@example.com', 'hard', '5.1.1', 'answer', 'n')`)
	s.run("optout", "add", "b@example.com").want(t, 0, "1 address added")
	for _, args := range [][]string{{"--mailing", "m"}, {"--bounced"}, {"--mailing", "m", "--bounced=false"},
		{"--mailing", "", "--bounced"}} {
		s.run(append([]string{"optout", "remove"}, args...)...).wantError(t, 2, "bounced")
	}
	s.run("optout", "remove", "--mailing", "m", "--bounced", "a@example.com").wantError(t, 2,
		"either addresses, or --mailing ID and --bounced")
	s.run("optout", "remove", "--mailing", "other", "--bounced").wantError(t, 4)
	s.run("optout", "remove", "--mailing", "m", "--bounced").want(t, 0, "2 addresses removed")
	if got := s.optOuts(); got != "[{b@example.com asked} {c@example.com bounced}]" {
		t.Errorf("optout ls: %s", got)
	}
}

func TestTheReportSaysWhoWasSuppressedAndWhyOthersWereNot(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.exec(`
		INSERT INTO mailings (id, first_run_id, input, list, state, suppression) VALUES
			('bad', 'run', '{}', 'l', 'completed',
				'{"suppressed": 3, "withheld": [{"drop_point": "mx", "bad": 61, "answered": 1000}]}'),
			('good', 'run', '{}', 'l', 'completed', '{"suppressed": 0}'),
			('running', 'run', '{}', 'l', 'sending', NULL)`)
	a := s.run("report", "bad").want(t, 0)
	for _, text := range []string{"3 addresses suppressed", "starter optout remove --mailing bad --bounced",
		"drop point mx", "61 of 1,000 recipients", "6.1 %", "more than 5 %"} {
		if !strings.Contains(a.err, text) {
			t.Errorf("%q is not in\n%s", text, a.err)
		}
	}
	if strings.Contains(a.out, "suppressed") {
		t.Errorf("the report itself has\n%s", a.out)
	}
	for _, id := range []string{"good", "running"} {
		if a := s.run("report", id).want(t, 0); a.err != "" {
			t.Errorf("%s: %s", id, a.err)
		}
	}
}

// An opt-out that holds for another address than the one that a person has is worse than none.
func TestAnOptOutWithMarksAroundTheAddressIsRefused(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	lines := []string{"“pat@example.org”", "▪pat@example.org", "'pat@example.org", "pat@example.org’",
		"– pat@example.org",
		"`pat@example.org", "*pat@example.org", "pat@example.org²", "\u200bpat@example.org", "pat@example.org…"}
	s.write("out.txt", "lee@example.org\n"+strings.Join(lines, "\n")+"\n")
	a := s.run("optout", "add", "--file", "out.txt").wantError(t, 3, "left out 10 lines").want(t, 3, "1 address added")
	for i := range lines {
		if !strings.Contains(a.err, fmt.Sprintf("out.txt:%d: ", i+2)) {
			t.Errorf("line %d is not reported in\n%s", i+2, a.err)
		}
	}
	for _, line := range lines {
		s.run("optout", "add", line).wantError(t, 2, "address 1 of the command line", "nothing was changed")
	}
	s.write("out.csv", "name;E-Mail\nKim;kim@example.org\nPat;“pat@example.org”\n")
	s.run("optout", "add", "--file", "out.csv").wantError(t, 3,
		"out.csv:3: the address has a quotation mark").want(t, 3, "1 address added")
	if got := s.optOuts(); got != "[{kim@example.org asked} {lee@example.org asked}]" {
		t.Errorf("optout ls: %s", got)
	}
}

func TestAddingOptOutsSaysHowManyAddressesAreKnown(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.write("people.csv", "email\npat@example.org\nlee@example.org\n")
	s.must("list", "import", "people", "people.csv")
	s.exec(`INSERT INTO mailings (id, first_run_id, input, list, state) VALUES ('m', 'run', '{}', 'l', 'completed')`)
	s.exec(`INSERT INTO recipients SELECT key, 1, 'Kim@example.org', 'kim@example.org', '{}' FROM mailings`)
	s.run("optout", "add", "PAT@example.org", "kim@example.org", "kim@example.org", "pet@example.org").want(t, 0,
		"in lists and mailings: 2 of 3 addresses")
	for text, args := range map[string][]string{
		"warning: no list and no mailing has this address":           {"pta@example.org"},
		"warning: no list and no mailing has any of these addresses": {"pta@example.org", "x@example.org"},
	} {
		if a := s.run(append([]string{"optout", "add"}, args...)...).want(t, 0); !strings.Contains(a.err, text) {
			t.Errorf("%v: %q is not in\n%s", args, text, a.err)
		}
	}
	a := s.run("optout", "remove", "pat@example.org").want(t, 0)
	if strings.Contains(a.out+a.err, "in lists and mailings") {
		t.Errorf("removing says %s%s", a.out, a.err)
	}
}

// What Direct Mailer writes, it reads.
func TestAReportIsAListAndAFileOfOptOuts(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	addresses := []string{"+a@example.org", "-b@example.org", "=c@example.org", `"'d"@example.org`,
		`"@"@example.org`, "e@example.org"}
	s.exec(`INSERT INTO mailings (id, first_run_id, input, list, state, recipients, mailable, batches)
		VALUES ('m', 'run', '{}', 'l', 'completed', 6, 6, 1)`)
	for i, address := range addresses {
		s.exec(fmt.Sprintf(`INSERT INTO recipients SELECT key, %d, $a$%s$a$, $a$%[2]s$a$, '{}' FROM mailings`,
			i+1, address))
	}
	s.run("report", "m", "--output-file", "who.csv").want(t, 0)
	s.run("list", "import", "again", "who.csv").want(t, 0, "6 members", "0 rows rejected")
	s.run("optout", "add", "--file", "who.csv").want(t, 0, "6 addresses added",
		"in lists and mailings: 6 of 6 addresses")
	var shown struct{ First []struct{ Address string } }
	s.run("list", "show", "again", "--output", "json").want(t, 0).decode(t, &shown)
	got := []string{}
	for _, x := range shown.First {
		got = append(got, x.Address)
	}
	if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(addresses))) {
		t.Errorf("the list has %q, want %q", got, addresses)
	}
	for _, address := range addresses {
		if !strings.Contains(s.optOuts(), "{"+address+" asked}") {
			t.Errorf("%s is not among the opt-outs: %s", address, s.optOuts())
		}
	}
}

func TestOptOutsHaveScopesReasonsAndDomains(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.run("optout", "add", "--scope", "topic:offers", "a@example.com").want(t, 0, "1 address added")
	s.run("optout", "add", "--scope", "list:people", "--reason", "complaint", "a@example.com").
		want(t, 0, "1 address added")
	s.run("optout", "add", "--reason", "operator", "@Bücher.example", "b@example.com").want(t, 0, "2 addresses added")
	for _, wrong := range [][]string{
		{"--scope", "offers"}, {"--scope", "list:No"}, {"--reason", "bounced"}, {"--reason", "x"},
	} {
		s.run(append([]string{"optout", "add", "c@example.com"}, wrong...)...).wantError(t, 2, wrong[0])
	}
	s.run("optout", "ls").want(t, 0, "@xn--bcher-kva.example", "topic:offers", "list:people", "complaint", "operator")
	s.run("optout", "ls", "--scope", "topic:offers").want(t, 0, "a@example.com", "asked")
	if out := s.run("optout", "ls", "--reason", "operator").want(t, 0).out; strings.Contains(out, "a@example.com") {
		t.Errorf("the filter lets through\n%s", out)
	}
	var done struct{ Changed, Unchanged, Asked int }
	s.run("optout", "remove", "--scope", "topic:offers", "a@example.com", "b@example.com", "--output", "json").
		want(t, 0).decode(t, &done)
	if done.Changed != 1 || done.Unchanged != 1 || done.Asked != 1 {
		t.Errorf("%+v", done)
	}
	a := s.run("optout", "remove", "a@example.com", "b@example.com").want(t, 0, "2 addresses removed")
	if !strings.Contains(a.err, "1 of the people had asked not to be mailed, or complained") {
		t.Errorf("nothing is said of a request that is taken back: %s", a.err)
	}
	if got := s.optOuts(); got != "[{@xn--bcher-kva.example operator}]" {
		t.Errorf("optout ls: %s", got)
	}
}

func TestAnExportOfOptOutsIsImportedAsItWas(t *testing.T) {
	t.Parallel()
	s, other := newShell(t), newShell(t)
	s.exec(`INSERT INTO opt_outs (address_key, scope, reason, mailing, added_at) VALUES
		('=a@example.com', 'all', 'asked', 'spring', '2026-01-02 03:04:05.678901Z'),
		('@example.org', 'topic:news', 'operator', NULL, '2026-01-03Z'),
		('"a,b"@example.com', 'list:l', 'imported', NULL, now())`)
	s.exec(`INSERT INTO suppressions (address_key, class, code, origin, mailing, count, first_at, last_at, expires_at)
		VALUES ('b@example.com', 'soft', '4.2.2', 'report', 'spring', 5, '2026-01-04Z', '2026-01-05Z', '2999-01-01Z')`)
	s.run("optout", "export", "--output-file", "out.csv").want(t, 0)
	want := s.run("optout", "ls", "--output", "json").want(t, 0).out
	exported, err := os.ReadFile(filepath.Join(s.dir, "out.csv"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(exported)
	for _, cell := range []string{"\n'=a@example.com,", "\n'@example.org,"} {
		if !strings.Contains(text, cell) {
			t.Errorf("%q is not in\n%s", cell, text)
		}
	}
	text += "c@example.com,offers,asked,,,,,,,\nnobody,all,asked,,,,,,,\nd@example.com,all,asked,yesterday,,,,,,\n" +
		"e@example.com,all,asked,0000-01-01T00:00:00Z,,,,,,\nf@example.com,all,bounced,,,,,3000000000,,\n"
	other.write("out.csv", text)
	for _, line := range []string{"4 rows imported, 0 already there", "0 rows imported, 4 already there"} {
		other.run("optout", "import", "out.csv").want(t, 3, line).wantError(t, 3,
			"out.csv:6: the scope", "out.csv:7: the address", "out.csv:8: added_at", "out.csv:9: added_at",
			"out.csv:10: the count", "left out 5 lines")
	}
	if got := other.run("optout", "ls", "--output", "json").want(t, 0).out; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	other.run("optout", "import", "--scope", "all", "out.csv").wantError(t, 2, "a scope and a reason in each row")
	// Without its second quotation mark, one line would swallow the requests behind it.
	other.write("out.csv", text+"\"g@example.com,all,asked,,,,,,,\nh@example.com,all,asked,,,,,,,\n")
	other.run("optout", "import", "out.csv").wantError(t, 2, "out.csv:11: a quotation mark")
}

func TestAFileOfAnotherSystemIsImportedWithAScope(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.write("gone.csv",
		"\ufeffEmail Address;First Name;UNSUB_TIME\r\nA@example.com;Ann;2026-01-02 03:04:05\r\nnobody;;\r\n")
	s.run("optout", "import", "--scope", "list:people", "gone.csv").
		want(t, 3, "1 address added", "0 already there").wantError(t, 3, "gone.csv:3")
	s.write("lines.txt", "b@example.com\n@example.org\n")
	s.run("optout", "import", "lines.txt").want(t, 0, "2 addresses added")
	s.run("optout", "ls", "--reason", "imported").want(t, 0, "list:people", "@example.org")
	// An export that a spreadsheet has saved is still an export: each row has its scope.
	s.write("saved.csv", "Address;Scope;Reason\r\nt@example.com;topic:offers;asked\r\n")
	s.run("optout", "import", "saved.csv").want(t, 0, "1 row imported")
	s.importFromPipe("address,scope,reason\nu@example.com,topic:offers,asked\n")
	s.run("optout", "ls", "--scope", "topic:offers").want(t, 0, "t@example.com", "u@example.com")
	if got := s.optOuts(); got != "[{@example.org imported} {a@example.com imported} {b@example.com imported} "+
		"{t@example.com asked} {u@example.com asked}]" {
		t.Errorf("optout ls: %s", got)
	}
}

// importFromPipe imports opt-outs from a pipe, as `starter optout import <(…)` does.
func (s *shell) importFromPipe(text string) {
	s.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := s.command(s.t.Context(), "optout", "import", "/dev/fd/3")
	cmd.ExtraFiles = []*os.File{r}
	if _, err := w.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
	_ = w.Close()
	out, err := cmd.CombinedOutput()
	_ = r.Close()
	if err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
}

func TestAMailingThatIgnoresOptOutsSaysSoAndNeedsAFlagForAll(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.writeLetter()
	s.run("optout", "add", "--scope", "list:people", "c@example.org").want(t, 0)
	id := newID(t)
	var got dryRun
	start := func(more string, args ...string) result {
		s.write("letter.yaml", letter+more)
		return s.run(append([]string{"start", "-f", "letter.yaml", "--id", id, "--output", "json"}, args...)...)
	}
	start("", "--dry-run").decode(t, &got)
	if got.OptedOut != 1 {
		t.Errorf("%+v", got)
	}
	start("ignore_opt_outs: [list]\n", "--dry-run").wantError(t, 3, "WARNING", "people who left the list").
		decode(t, &got)
	if got.OptedOut != 0 {
		t.Errorf("%+v", got)
	}
	start("ignore_opt_outs: [all]\n").wantError(t, 2, "legally_required: true")
	start("ignore_opt_outs: [all]\nlegally_required: true\n").
		wantError(t, 2, "--ignore-all-opt-outs", "Nothing was started")
	start("", "--ignore-all-opt-outs").wantError(t, 2, "leave the flag out")
}
