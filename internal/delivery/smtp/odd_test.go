package smtp_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"unicode"
	"unicode/utf8"

	"directmailer/internal/delivery/smtp"
	"directmailer/internal/dev/smtptest"
)

// oddAt answers once at the phase of the second message, or of the session, with the odd reply.
func oddAt(phase string, odd smtptest.Odd, code int) func(smtptest.Event) *smtptest.Action {
	var done atomic.Bool
	return func(e smtptest.Event) *smtptest.Action {
		if e.Phase == phase && (e.Message == 2 || e.Message == 0) && done.CompareAndSwap(false, true) {
			return odd.Action(code)
		}
		return nil
	}
}

func TestTheFirstThreeDigitsOfAReplyDecide(t *testing.T) {
	t.Parallel()
	for _, odd := range smtptest.OddReplies {
		for _, pipelining := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s,pipelining=%v", odd.Name, pipelining), func(t *testing.T) {
				t.Parallel()
				acceptedOnce(t, odd, pipelining)
				for phase, code := range map[string]int{"connect": 220, "EHLO": 250, "MAIL": 250, "RCPT": 250, "DATA": 354} {
					if odd.Ends && (phase != "EHLO" || !pipelining) {
						sentOnce(t, phase, odd, code, pipelining)
					}
				}
				refusedOnce(t, odd, pipelining)
			})
		}
	}
}

// acceptedOnce checks that the answer to the dot is known, and belongs to its message.
func acceptedOnce(t *testing.T, odd smtptest.Odd, pipelining bool) {
	t.Helper()
	s := smtptest.Start(t, smtptest.Options{NoPipeline: !pipelining, Script: oddAt("DOT", odd, 250)})
	c := dial(t, s, smtp.Options{NextBehindDot: true})
	messages := []*smtp.Message{message("a@example.org"), message("b@example.org"), message("c@example.org"), nil}
	for i, m := range messages[:3] {
		if err := c.Begin(t.Context(), m); i == 2 && !odd.Ends {
			if !smtp.ClosedBetweenMessages(err) {
				t.Errorf("after a reply without an end: %v", err)
			}
			break
		} else if err != nil {
			t.Fatalf("message %d: %v", i+1, err)
		}
		reply, err := c.Finish(messages[i+1])
		if err != nil || reply.Code != 250 {
			t.Fatalf("message %d: %v, %v", i+1, reply, err)
		}
		wantClean(t, reply.Text)
	}
	if got := s.Copies(); got["b@example.org"] != 1 || odd.Ends && (got["c@example.org"] != 1 || s.Connections() != 1) {
		t.Errorf("received %v over %d connections", got, s.Connections())
	}
}

// sentOnce checks that a reply before the dot does not hinder its message or the next.
func sentOnce(t *testing.T, phase string, odd smtptest.Odd, code int, pipelining bool) {
	t.Helper()
	s := smtptest.Start(t, smtptest.Options{NoPipeline: !pipelining, Script: oddAt(phase, odd, code)})
	c := dial(t, s, smtp.Options{})
	for _, to := range []string{"a@example.org", "b@example.org", "c@example.org"} {
		if !c.Alive() {
			t.Errorf("%s: the connection does not count as alive before %s", phase, to)
		}
		if err := send(t, c, to); err != nil {
			t.Fatalf("%s: %s: %v", phase, to, err)
		}
	}
	if got := s.Copies(); len(got) != 3 || got["b@example.org"] != 1 || s.Connections() != 1 {
		t.Errorf("%s: received %v", phase, got)
	}
}

// refusedOnce checks that a refusal is that of its recipient, and of nobody else.
func refusedOnce(t *testing.T, odd smtptest.Odd, pipelining bool) {
	t.Helper()
	s := smtptest.Start(t, smtptest.Options{NoPipeline: !pipelining, Script: oddAt("RCPT", odd, 550)})
	c := dial(t, s, smtp.Options{})
	if err := send(t, c, "a@example.org"); err != nil {
		t.Fatal(err)
	}
	var refusal *smtp.Refusal
	if err := send(t, c, "b@example.org"); !errors.As(err, &refusal) || refusal.Code != 550 ||
		smtp.Classify(err) != smtp.Unclear {
		t.Fatalf("refused with %v", err)
	}
	wantClean(t, refusal.Text)
	if err := send(t, c, "c@example.org"); odd.Ends && err != nil || !odd.Ends && !smtp.ClosedBetweenMessages(err) {
		t.Errorf("the next message: %v", err)
	}
	if got := s.Copies(); got["b@example.org"] != 0 || odd.Ends && got["c@example.org"] != 1 {
		t.Errorf("received %v", got)
	}
}

func wantClean(t *testing.T, text string) {
	t.Helper()
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) || len(text) > 1100 ||
		text != strings.TrimSpace(text) {
		t.Errorf("the text is %q", text)
	}
}

func TestGarbageAfterQUITDoesNotHoldTheConnection(t *testing.T) {
	t.Parallel()
	for _, garbage := range []string{"bye", strings.Repeat("x", 1<<20), "250-", "\r\n\r\n", "421\r\n550 no"} {
		addr, wait := play(t, pipelining, func(p *peer) {
			p.readLine()
			p.writeLines(garbage)
		})
		c := dialPeer(t, addr, smtp.Options{})
		c.Close()
		wait()
		if c.Alive() {
			t.Errorf("after %.20q the connection counts as alive", garbage)
		}
	}
}

// A server may say something between two messages. What it says must not become the answer to the
// next command.
func TestAReplyThatNobodyAskedForIsNotTakenForAnAnswer(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{Script: at("DOT", 1, smtptest.Action{Raw: "250 ok\r\n250 and more\r\n"})})
	c := dial(t, s, smtp.Options{})
	if err := send(t, c, "a@example.org"); err != nil {
		t.Fatal(err)
	}
	if c.Alive() {
		t.Error("the connection counts as free")
	}
}
