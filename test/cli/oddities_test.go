package cli

import (
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"directmailer/internal/dev/smtptest"
)

// oddRefusals are the names of the odd replies whose texts could harm the reader of a report. They
// are fewer than ten, because a drop point that refuses ten messages in a row refuses us.
var oddRefusals = []string{"a NUL", "control characters", "ISO 8859-1", "invalid UTF-8", "invisible characters",
	"a cut character at the limit of the text", "a formula", "a formula after blanks", "quotes and angle brackets"}

// Each recipient gets an odd answer, which accepts the message or refuses the recipient.
func TestOddRepliesAreCountedOnceAndCanBeReported(t *testing.T) {
	t.Parallel()
	replies := slices.Clone(smtptest.OddReplies)
	accepted := len(replies)
	for _, o := range smtptest.OddReplies {
		if slices.Contains(oddRefusals, o.Name) {
			replies = append(replies, o)
		}
	}
	if len(replies) != accepted+len(oddRefusals) {
		t.Fatalf("there are %d replies", len(replies))
	}
	// On the only connection the last message is accepted, so no refusal stays in doubt.
	replies = append(replies, smtptest.OddReplies[0])
	odd := func(to string) (reply smtptest.Odd, refuses bool) {
		var n int
		_, _ = fmt.Sscanf(to, "r%d@", &n)
		return replies[n], n >= accepted && n < len(replies)-1
	}
	server := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		reply, refuses := odd(e.To)
		switch {
		case e.Phase == "DOT" && !refuses:
			return reply.Action(250)
		case e.Phase == "RCPT" && refuses:
			return reply.Action(550)
		}
		return nil
	}})
	s := newShell(t)
	s.env["DM_DROP_POINTS"] = "mx=smtp://" + server.Addr() + "?connections=1"
	s.writeLetter()
	// If a worker's turn ends while a refusal is in doubt, the recipient waits for a later round.
	s.write("letter.yaml", letter+"deferral: {first: 100ms, most: 1s, for: 1h}\n")
	var list strings.Builder
	list.WriteString("email,first_name,plan\n")
	for n := range replies {
		fmt.Fprintf(&list, "r%d@example.org,Ada,free\n", n)
	}
	s.write("people.csv", list.String())
	s.worker()
	id := newID(t)
	s.run("start", "-f", "letter.yaml", "--id", id, "--watch")

	m := s.show(id)
	if m.State != "completed" || m.Sent != accepted+1 || m.Bounced != len(oddRefusals) || m.Uncertain != 0 {
		t.Errorf("show: %+v", m)
	}
	for to, copies := range server.Copies() {
		if copies != 1 {
			t.Errorf("%s has %d copies", to, copies)
		}
	}
	s.checkOddReport(id, len(replies))
}

func (s *shell) checkOddReport(id string, recipients int) {
	s.t.Helper()
	table := s.must("report", id)
	rows, err := csv.NewReader(strings.NewReader(table)).ReadAll()
	if err != nil || len(rows) != recipients+1 {
		s.t.Fatalf("the report has %d rows: %v", len(rows), err)
	}
	for _, row := range rows[1:] {
		reply, again := row[7], row[2] != "1"
		// Nothing in the reply of a refusal tells whom it means, so it is tried again.
		if again != (row[1] == "bounced") || row[3] != "false" || strings.ContainsAny(reply[:min(1, len(reply))], "=+-@") {
			s.t.Errorf("a row is %q", row)
		}
	}
	var lines []struct{ Reply string }
	a := s.run("report", id, "--output", "json").want(s.t, 0)
	a.decode(s.t, &lines)
	for name, text := range map[string]string{"CSV": table, "JSON": a.out, "show": s.must("show", id)} {
		if !utf8.ValidString(text) || strings.ContainsFunc(strings.ReplaceAll(text, "\n", ""), unicode.IsControl) {
			s.t.Errorf("%s has control characters", name)
		}
	}
	if len(lines) != recipients {
		s.t.Errorf("JSON has %d lines", len(lines))
	}
}
