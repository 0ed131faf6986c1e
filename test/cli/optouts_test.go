package cli

import (
	"fmt"
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
	if a := s.run("optout", "remove", "pat@example.org").want(t, 0); strings.Contains(a.out+a.err, "mailing") {
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
