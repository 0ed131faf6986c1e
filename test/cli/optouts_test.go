package cli

import (
	"fmt"
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
	s.exec(`INSERT INTO opt_outs (address_key, reason, mailing)
		VALUES ('a@example.com', '5.1.1', 'm'), ('b@example.com', '5.1.1', 'm'), ('c@example.com', '5.1.1', 'n')`)
	s.run("optout", "add", "b@example.com").want(t, 0, "1 address added")
	for _, args := range [][]string{{"--mailing", "m"}, {"--bounced"}, {"--mailing", "m", "--bounced=false"},
		{"--mailing", "", "--bounced"}} {
		s.run(append([]string{"optout", "remove"}, args...)...).wantError(t, 2, "bounced")
	}
	s.run("optout", "remove", "--mailing", "m", "--bounced", "a@example.com").wantError(t, 2,
		"either addresses, or --mailing ID and --bounced")
	s.run("optout", "remove", "--mailing", "other", "--bounced").wantError(t, 4)
	s.run("optout", "remove", "--mailing", "m", "--bounced").want(t, 0, "1 address removed")
	if got := s.optOuts(); got != "[{b@example.com asked} {c@example.com 5.1.1}]" {
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
