package smtp_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"directmailer/internal/delivery/smtp"
	"directmailer/internal/dev/smtptest"
)

func TestWhatServersSayOfThemselvesBlamesNoRecipient(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]smtp.Class{
		"452 4.3.1 disk full":       smtp.Connection,
		"451 4.3.2 shutting down":   smtp.Connection,
		"451 4.3.5 our mistake":     smtp.Deferred,
		"530 authentication needed": smtp.Refused,
		"535 5.5.0 who are you":     smtp.Refused,
		"521 takes no mail":         smtp.Refused,
		"503 5.5.1 bad sequence":    smtp.Refused,
		"550 5.1.7 bad sender":      smtp.Refused,
	} {
		for _, phase := range []string{"RCPT", "DOT"} {
			t.Run(phase+" "+reply, func(t *testing.T) {
				t.Parallel()
				s := smtptest.Start(t, smtptest.Options{Script: at(phase, 1, smtptest.Action{Reply: reply})})
				if err := send(t, dial(t, s, smtp.Options{}), "a@example.org"); err == nil ||
					smtp.Classify(err) != want {
					t.Errorf("%v is of class %v, want %v", err, smtp.Classify(err), want)
				}
			})
		}
	}
}

// A relay may pass on the enhanced code of another reply. 450 5.7.1 is not a refusal for good, and
// 550 4.7.1 is not a refusal by policy.
func TestAnEnhancedCodeOfAnotherClassMeansNothing(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]smtp.Class{"550 4.7.1 no": smtp.Unclear,
		"452 2.3.1 later": smtp.Deferred} {
		s := smtptest.Start(t, smtptest.Options{Script: at("RCPT", 1, smtptest.Action{Reply: reply})})
		if err := send(t, dial(t, s, smtp.Options{}), "a@example.org"); smtp.Classify(err) != want {
			t.Errorf("after %q: %v is of class %v, want %v", reply, err, smtp.Classify(err), want)
		}
	}
}

func TestNothingGoesBehindTheDotWithoutPipelining(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{NoPipeline: true})
	c := dial(t, s, smtp.Options{NextBehindDot: true})
	if c.PipelinesNext() {
		t.Error("it pipelines to a server that does not list PIPELINING")
	}
	if err := c.Begin(t.Context(), message("a@example.org")); err != nil {
		t.Fatal(err)
	}
	before := len(s.Commands())
	if _, err := c.Finish(message("b@example.org")); err != nil {
		t.Fatal(err)
	}
	if !c.Alive() {
		t.Error("the connection is not free")
	}
	if got := s.Commands()[before:]; len(got) > 0 {
		t.Errorf("behind the dot the server was told %q", got)
	}
}

// A server that has accepted MAIL answers the next MAIL with 503 until it is told RSET (RFC 5321,
// 4.1.4).
func TestAnEnvelopeThatWasRefusedHalfwayIsReset(t *testing.T) {
	t.Parallel()
	for _, pipelining := range []bool{true, false} {
		t.Run(fmt.Sprintf("pipelining=%v", pipelining), func(t *testing.T) {
			t.Parallel()
			s := smtptest.Start(t, smtptest.Options{NoPipeline: !pipelining,
				Script: at("RCPT", 1, smtptest.Action{Reply: "550 5.1.1 unknown"})})
			c := dial(t, s, smtp.Options{})
			if err := send(t, c, "a@example.org"); smtp.Classify(err) != smtp.Bounced {
				t.Fatal(err)
			}
			if err := send(t, c, "b@example.org"); err != nil {
				t.Fatal(err)
			}
			var commands []string
			for _, line := range s.Commands() {
				if word, _, _ := strings.Cut(line, " "); word == "MAIL" || word == "RSET" {
					commands = append(commands, word)
				}
			}
			if !slices.Equal(commands, []string{"MAIL", "RSET", "MAIL"}) {
				t.Errorf("the server was told %q", commands)
			}
		})
	}
}

func TestADotAloneAtTheBeginningArrives(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	c := dial(t, s, smtp.Options{})
	m := message("a@example.org")
	m.Data = []byte(".\r\nSubject: x\r\n\r\nhello\r\n")
	if err := c.Begin(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Finish(nil); err != nil {
		t.Fatal(err)
	}
	if got := s.Received()[0].Data; got != string(m.Data) {
		t.Errorf("received %q", got)
	}
}

func TestTheEndOfTheContextDoesNotEndTheWaitForTheDot(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answer := make(chan struct{})
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase != "DOT" {
			return nil
		}
		cancel()
		time.AfterFunc(50*time.Millisecond, func() { close(answer) }) // by then the end of the context was noticed
		return &smtptest.Action{Wait: answer}
	}})
	c := dial(t, s, smtp.Options{})
	if err := c.Begin(ctx, message("a@example.org")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Finish(nil); err != nil {
		t.Errorf("got %v", err)
	}
}

// The server has announced that it closes the connection, and has not closed it yet.
func TestAConnectionIsUsedNoMoreAfter421(t *testing.T) {
	t.Parallel()
	for name, answers := range map[string][]string{
		"MAIL": {"421 4.3.2 closing"},
		"RCPT": {"250 ok", "421 4.3.2 closing"},
		"DATA": {"250 ok", "250 ok", "421 4.3.2 closing"},
		"dot":  {"250 ok", "250 ok", "354 go on", "421 4.3.2 closing"},
	} {
		addr, _ := play(t, pipelining, func(p *peer) {
			for range 3 {
				p.readLine()
			}
			p.writeLines(answers[:min(len(answers), 3)]...)
			if len(answers) > 3 {
				for p.readLine() != "." {
				}
				p.writeLines(answers[3])
			}
			p.readAll()
		})
		c := dialPeer(t, addr, smtp.Options{})
		if err := send(t, c, "a@example.org"); err == nil || smtp.Classify(err) != smtp.Connection {
			t.Errorf("%s: %v is of class %v", name, err, smtp.Classify(err))
		}
		if c.Alive() {
			t.Errorf("%s: the connection counts as alive", name)
		}
	}
}

func TestAnotherMessageIsNotSentInAPipelinedEnvelope(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*smtp.Message){
		"recipient": func(m *smtp.Message) { m.To = "other@example.org" },
		"sender":    func(m *smtp.Message) { m.From = "other@example.com" },
		"size":      func(m *smtp.Message) { m.Data = append([]byte("X: y\r\n"), m.Data...) },
		"encoding":  func(m *smtp.Message) { m.UTF8 = true },
		"body":      func(m *smtp.Message) { m.EightBit = true },
	} {
		s := smtptest.Start(t, smtptest.Options{})
		c := dial(t, s, smtp.Options{NextBehindDot: true})
		if err := c.Begin(t.Context(), message("a@example.org")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Finish(message("b@example.org")); err != nil {
			t.Fatal(err)
		}
		other := message("b@example.org")
		change(other)
		if err := c.Begin(t.Context(), other); err == nil {
			_, err = c.Finish(nil)
			t.Errorf("a message with another %s was begun in the envelope that was pipelined, then %v", name, err)
		}
		c.Close()
		s.Stop()
		if got := s.Copies(); len(got) != 1 || got["a@example.org"] != 1 {
			t.Errorf("received %v", got)
		}
	}
}

func TestAConnectionWithAPipelinedEnvelopeIsNotFree(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := smtptest.Start(t, smtptest.Options{Script: at("MAIL", 2, smtptest.Action{Wait: release})})
	t.Cleanup(func() { close(release) })
	c := dial(t, s, smtp.Options{NextBehindDot: true})
	if err := c.Begin(t.Context(), message("a@example.org")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Finish(message("b@example.org")); err != nil {
		t.Fatal(err)
	}
	if c.Alive() { // the server has not replied yet, so there is nothing to read
		t.Error("it counts as free")
	}
}

// A carriage return and a line feed that do not belong together: some servers end a line at either.
func TestLoneLineEndsThatMakeUpForEachOtherAreNotSent(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	c := dial(t, s, smtp.Options{})
	for _, data := range []string{"a\rb\nc\r\n", "a\nb\rc\r\n", "a\n.\r\r\n", "\nx\r"} {
		m := message("a@example.org")
		m.Data = []byte(data)
		if err := c.Begin(t.Context(), m); err == nil || smtp.Classify(err) != smtp.Bounced {
			t.Fatalf("%q: %v is of class %v", data, err, smtp.Classify(err))
		}
	}
}
