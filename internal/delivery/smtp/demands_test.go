package smtp_test

import (
	"strconv"
	"strings"
	"testing"

	"directmailer/internal/delivery/smtp"
)

// anyRefusal is refusal for a reply of any class.
func anyRefusal(t *testing.T, at string) *smtp.Refusal {
	t.Helper()
	phase, reply, _ := strings.Cut(at, " ")
	phases := map[string]smtp.Phase{
		"MAIL": smtp.PhaseMail, "RCPT": smtp.PhaseRcpt, "DOT": smtp.PhaseDot, "GREETING": smtp.PhaseGreeting,
	}
	r := &smtp.Refusal{Phase: phases[phase]}
	code, text, _ := strings.Cut(reply, " ")
	r.Code, _ = strconv.Atoi(code)
	r.Enhanced, r.Text = smtp.CutEnhanced(text, r.Code)
	if r.Phase == "" || r.Code < 400 {
		t.Fatalf("not a phase and a reply: %q", at)
	}
	return r
}

func TestEachKnownWordingOfADemandIsUnderstood(t *testing.T) {
	t.Parallel()
	want := map[string]smtp.Class{
		"recipient": smtp.Deferred, "session": smtp.Connection, "connections": smtp.Connection, "rate": smtp.Throttled,
	}
	servers := map[string]bool{}
	for _, d := range smtp.Demands() {
		servers[d.Server] = true
		for _, reply := range []string{d.Reply, strings.ToUpper(d.Reply)} {
			r := anyRefusal(t, reply)
			if got := smtp.Classify(r); got != want[d.Kind] {
				t.Errorf("%s: %q is of class %v, want %v", d.Server, reply, got, want[d.Kind])
			}
			if got := smtp.WantsFewerConnections(r); got != (d.Kind == "connections") {
				t.Errorf("%s: %q wants fewer connections: %v", d.Server, reply, got)
			}
		}
		if !d.Matches {
			t.Errorf("%s: %q does not match its own pattern", d.Server, d.Reply)
		}
		if !strings.HasPrefix(d.Source, "https://") && d.Server != "any" {
			t.Errorf("%s: %q has no source", d.Server, d.Reply)
		}
	}
	if len(servers) < 15 {
		t.Errorf("wordings of %d servers", len(servers))
	}
}

func TestWhatIsNoDemandOfOursStaysWhatItIs(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]smtp.Class{
		"RCPT 450 4.2.1 mailbox busy: its rate limit is reached":               smtp.Deferred,
		"RCPT 450 4.2.0 greylisted, try again in 5 minutes":                    smtp.Deferred,
		"RCPT 451 4.7.1 try again later":                                       smtp.Deferred,
		"RCPT 452 4.2.2 over quota":                                            smtp.Deferred,
		"RCPT 450 4.1.8 <a@example.com>: Sender address rejected":              smtp.Deferred,
		"RCPT 451 4.4.1 connection to the mailbox server timed out":            smtp.Deferred,
		"DOT 451 4.3.0 local error, corporate moderate illustrated separate":   smtp.Deferred,
		"DOT 452 4.3.1 disk full":                                              smtp.Connection,
		"GREETING 421 4.7.0 rate limit exceeded":                               smtp.Throttled,
		"MAIL 421 4.3.2 shutting down":                                         smtp.Connection,
		"RCPT 550 5.1.1 user unknown":                                          smtp.Bounced,
		"RCPT 550 5.7.1 unusual rate of unsolicited mail from your IP address": smtp.Refused,
	} {
		if got := smtp.Classify(anyRefusal(t, reply)); got != want {
			t.Errorf("%q is of class %v, want %v", reply, got, want)
		}
	}
}
