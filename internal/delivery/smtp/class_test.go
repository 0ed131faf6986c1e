package smtp_test

import (
	"crypto/tls"
	"strconv"
	"strings"
	"testing"

	"directmailer/internal/delivery/smtp"
)

// refusal returns the error for a reply at a phase: "RCPT 550 5.1.1 unknown".
func refusal(t *testing.T, at string) error {
	t.Helper()
	phase, reply, _ := strings.Cut(at, " ")
	phases := map[string]smtp.Phase{"MAIL": smtp.PhaseMail, "RCPT": smtp.PhaseRcpt, "DATA": smtp.PhaseData,
		"DOT": smtp.PhaseDot}
	r := &smtp.Refusal{Phase: phases[phase]}
	code, text, _ := strings.Cut(reply, " ")
	r.Code, _ = strconv.Atoi(code)
	r.Enhanced, r.Text = smtp.CutEnhanced(text, r.Code)
	if r.Phase == "" || r.Code < 500 {
		t.Fatalf("not a phase and a 5xx reply: %q", at)
	}
	return r
}

func TestEachKnownWordingSaysWhomItMeans(t *testing.T) {
	t.Parallel()
	us, servers := 0, map[string]bool{}
	for _, w := range smtp.Wordings() {
		servers[w.Server] = true
		if got := smtp.Classify(refusal(t, w.Reply)); got != w.Class {
			t.Errorf("%s: %q is of class %v, want %v", w.Server, w.Reply, got, w.Class)
		}
		if !w.Matches {
			t.Errorf("%s: %q does not match its own pattern", w.Server, w.Reply)
		}
		if !strings.HasPrefix(w.Source, "https://") && !strings.HasPrefix(w.Source, "http://") {
			t.Errorf("%s: %q has no source", w.Server, w.Reply)
		}
		if w.Class == smtp.Refused {
			us++
		}
	}
	if us < 60 || len(servers) < 15 {
		t.Errorf("%d wordings that mean us, of %d servers", us, len(servers))
	}
}

// Without their enhanced codes, the words alone have to say it: many relays pass on no code.
func TestAKnownWordingNeedsNoEnhancedCode(t *testing.T) {
	t.Parallel()
	for _, w := range smtp.Wordings() {
		words := strings.Fields(w.Reply)
		if strings.Count(words[2], ".") == 2 && words[2][0] == '5' {
			words = append(words[:2:2], words[3:]...)
		}
		if words[0] == "MAIL" {
			continue
		}
		reply := "RCPT 550 " + strings.ToUpper(strings.Join(words[2:], "  "))
		if got := smtp.Classify(refusal(t, reply)); got != w.Class {
			t.Errorf("%s: %q is of class %v, want %v", w.Server, reply, got, w.Class)
		}
	}
}

func TestWhatIsTheRecipientsOwnStaysTheRecipients(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{
		"RCPT 550 5.1.1 unknown",
		"RCPT 550 5.1.1 <a@example.org>: Recipient address rejected: User unknown in relay recipient table",
		"RCPT 550 5.1.1 The email account that you tried to reach does not exist. Please try double-checking",
		"RCPT 552 5.2.2 The email account that you tried to reach is over quota",
		"RCPT 550 5.2.1 The email account that you tried to reach is disabled",
		"RCPT 552 5.2.2 account quota exceeded",
		"RCPT 552 5.2.2 mailbox full",
		"RCPT 550 mailbox is full",
		"RCPT 550 Quota exceeded",
		"RCPT 550 5.2.1 this mailbox has been blocked due to inactivity",
		"RCPT 550 5.1.2 example.org: Host or domain name not found",
		"RCPT 550 5.4.4 no mail exchanger for the domain",
		"RCPT 550 5.1.10 the domain accepts no mail",
		"RCPT 550 user not listed in Domino Directory",
		"RCPT 550 5.5.0 Requested action not taken: mailbox unavailable",
		"RCPT 511 sorry, no mailbox here by that name (#5.1.1 - chkuser)",
		"RCPT 550 5.4.1 [a@example.org]: Recipient address rejected: Access denied",
		"DOT 554 delivery error: dd This user doesn't have a yahoo.com account (a@yahoo.example) [0]",
		"DOT 550 5.1.1 no such user here",
		"DOT 552 5.2.2 over quota",
	} {
		if got := smtp.Classify(refusal(t, reply)); got != smtp.Bounced {
			t.Errorf("%q is of class %v", reply, got)
		}
	}
}

func TestTheCodesOfAReplySayWhomItMeans(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]smtp.Class{
		"RCPT 550 5.7.1 go away":           smtp.Refused,
		"RCPT 550 5.1.7 no":                smtp.Refused,
		"RCPT 550 5.1.8 no":                smtp.Refused,
		"DOT 550 5.4.5 no":                 smtp.Refused,
		"RCPT 553 no (#5.7.1)":             smtp.Refused,
		"RCPT 530 log in first":            smtp.Refused,
		"DATA 554 no":                      smtp.Refused,
		"RCPT 550 5.1.90 no":               smtp.Unclear,
		"DOT 554 5.2.0 no":                 smtp.Unclear,
		"RCPT 550 no":                      smtp.Unclear,
		"RCPT 553 no":                      smtp.Unclear,
		"DOT 554 5.3.0 no":                 smtp.Unclear,
		"DOT 554 5.0.0 no":                 smtp.Unclear,
		"RCPT 550 4.7.1 no":                smtp.Unclear,
		"MAIL 550 5.1.1 no":                smtp.Refused,
		"MAIL 552 no":                      smtp.Unfit,
		"MAIL 552 5.2.3 no":                smtp.Unfit,
		"MAIL 554 5.3.4 no":                smtp.Unfit,
		"MAIL 550 5.6.7 no":                smtp.Unfit,
		"DOT 552 5.3.4 no":                 smtp.Unfit,
		"DOT 554 5.6.0 no":                 smtp.Unfit,
		"DATA 550 5.2.3 no":                smtp.Unfit,
		"RCPT 550 5.1.2 no":                smtp.Bounced,
		"RCPT 550 5.1.6 no":                smtp.Bounced,
		"RCPT 550 5.1.10 no":               smtp.Bounced,
		"RCPT 550 5.1.9 no":                smtp.Unclear,
		"RCPT 550 5.2.1 no":                smtp.Bounced,
		"RCPT 550 5.2.2 no":                smtp.Bounced,
		"RCPT 550 5.2.4 no":                smtp.Bounced,
		"RCPT 550 5.4.4 no":                smtp.Bounced,
		"RCPT 550 5.4.7 no":                smtp.Unclear,
		"DOT 521 5.2.0 no":                 smtp.Unclear,
		"RCPT 521 no":                      smtp.Refused,
		"RCPT 550 no such person (#5.1.1)": smtp.Bounced,
	} {
		if got := smtp.Classify(refusal(t, reply)); got != want {
			t.Errorf("%q is of class %v, want %v", reply, got, want)
		}
	}
}

// A proxy between cuts into an encrypted session. That says nothing of us, and no message can
// follow.
func TestATLSFailureInTheMiddleOfASessionIsALostConnection(t *testing.T) {
	t.Parallel()
	for phase, want := range map[smtp.Phase]smtp.Class{
		smtp.PhaseTLS: smtp.Refused, smtp.PhaseGreeting: smtp.Refused, smtp.PhaseHello: smtp.Refused,
		smtp.PhaseReset: smtp.Connection, smtp.PhaseMail: smtp.Connection, smtp.PhaseRcpt: smtp.Connection,
		smtp.PhaseData: smtp.Connection, smtp.PhaseBody: smtp.Connection, smtp.PhaseDot: smtp.Connection,
	} {
		err := &smtp.ConnError{Phase: phase, Cause: tls.RecordHeaderError{Msg: "not TLS"}}
		if got := smtp.Classify(err); got != want {
			t.Errorf("%s: %v, want %v", phase, got, want)
		}
	}
}
