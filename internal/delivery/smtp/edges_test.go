package smtp_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"directmailer/internal/delivery/smtp"
	"directmailer/internal/dev/smtptest"
)

// afterRefusal returns a script that refuses recipients whose address begins with "bad". After the
// first of them it takes the action at the phase.
func afterRefusal(phase string, a smtptest.Action) func(smtptest.Event) *smtptest.Action {
	var refused atomic.Bool
	return func(e smtptest.Event) *smtptest.Action {
		switch {
		case e.Phase == "RCPT" && strings.HasPrefix(e.To, "bad"):
			refused.Store(true)
			return &smtptest.Action{Reply: "550 5.1.1 unknown"}
		case refused.Load() && e.Phase == phase:
			return &a
		}
		return nil
	}
}

// A server may end a session between two messages. Everything later is a break at the message: if
// it were taken for an end between messages, a message that breaks each connection would be tried
// without an end.
func TestOnlyAnEndBeforeAnyReplyToAMessageIsBetweenMessages(t *testing.T) {
	t.Parallel()
	for phase, between := range map[string]bool{"RSET": true, "MAIL": true, "RCPT": false, "DATA": false, "DOT": false} {
		for _, a := range []smtptest.Action{{Die: true}, {Reply: "421 4.3.2 closing"},
			{Reply: "421 4.7.28 your mail is rate limited"}} {
			t.Run(phase+" "+a.Reply, func(t *testing.T) {
				t.Parallel()
				s := smtptest.Start(t, smtptest.Options{NoPipeline: true, Script: afterRefusal(phase, a)})
				c := dial(t, s, smtp.Options{})
				if err := send(t, c, "bad@example.org"); smtp.Classify(err) != smtp.Bounced {
					t.Fatal(err)
				}
				err := send(t, c, "b@example.org")
				want := between && !strings.Contains(a.Reply, "rate")
				if got := smtp.ClosedBetweenMessages(err); err == nil || got != want {
					t.Errorf("%v: between messages is %v, want %v", err, got, want)
				}
				if c.Alive() {
					t.Error("the connection counts as alive")
				}
			})
		}
	}
}

// A server that refuses RSET may keep the recipients of the message before.
func TestAServerThatRefusesRSETGetsNoFurtherMessage(t *testing.T) {
	t.Parallel()
	for _, pipelining := range []bool{true, false} {
		s := smtptest.Start(t, smtptest.Options{NoPipeline: !pipelining,
			Script: afterRefusal("RSET", smtptest.Action{Reply: "502 5.5.1 not known"})})
		c := dial(t, s, smtp.Options{})
		if err := send(t, c, "bad@example.org"); smtp.Classify(err) != smtp.Bounced {
			t.Fatal(err)
		}
		if err := send(t, c, "b@example.org"); err == nil || smtp.Classify(err) != smtp.Connection || c.Alive() {
			t.Errorf("pipelining=%v: got %v; alive %v", pipelining, err, c.Alive())
		}
		if got := s.Received(); len(got) > 0 {
			t.Errorf("pipelining=%v: received %v", pipelining, got)
		}
	}
}

// The limit of SIZE counts the line end that we add to a message without one.
func TestTheSizeOfAMessageIsThatOfWhatIsSent(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{Extensions: []string{"SIZE 100"}})
	c := dial(t, s, smtp.Options{})
	for data, size := range map[string]int{
		strings.Repeat("x", 98) + "\r\n": 100, strings.Repeat("x", 98): 100,
		strings.Repeat("x", 99) + "\r\n": 101, strings.Repeat("x", 99): 101, strings.Repeat("x", 101): 103,
	} {
		m := message(fmt.Sprintf("r%d@example.org", len(data)))
		m.Data = []byte(data)
		var fits, begins *smtp.Refusal
		if errors.As(c.Fits(m), &fits); (fits != nil) != (len(data) > 100) {
			t.Errorf("%d octets: fits says %v", len(data), fits)
		}
		err := c.Begin(t.Context(), m)
		if errors.As(err, &begins); (begins != nil) != (size > 100) {
			t.Errorf("%d octets: %v", len(data), err)
		}
		if err != nil {
			continue
		}
		if _, err := c.Finish(nil); err != nil {
			t.Fatal(err)
		}
	}
	got := s.Received()
	for _, m := range got {
		if m.Params != "SIZE=100" || len(m.Data) != 100 {
			t.Errorf("%d octets were announced as %q", len(m.Data), m.Params)
		}
	}
	if len(got) != 2 {
		t.Errorf("%d messages were received", len(got))
	}
}

// What a message needs is announced, and not sent to a server that lacks it.
func TestWhatAMessageNeedsIsAnnounced(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change    func(*smtp.Message)
		needs     string // extension
		announced string
	}{
		"recipient's address": {func(m *smtp.Message) { m.To = "jörg@example.org" }, "SMTPUTF8", "SMTPUTF8"},
		"sender's address":    {func(m *smtp.Message) { m.From = "jörg@example.com" }, "SMTPUTF8", "SMTPUTF8"},
		"header":              {func(m *smtp.Message) { m.UTF8 = true }, "SMTPUTF8", "SMTPUTF8"},
		"body":                {func(m *smtp.Message) { m.EightBit = true }, "8BITMIME", "BODY=8BITMIME"},
	} {
		m := message("a@example.org")
		c.change(m)
		s := smtptest.Start(t, smtptest.Options{Extensions: []string{c.needs}})
		conn := dial(t, s, smtp.Options{})
		if err := conn.Begin(t.Context(), m); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := conn.Finish(nil); err != nil || s.Received()[0].Params != c.announced {
			t.Errorf("%s: %v, received %+v", name, err, s.Received())
		}
		without := dial(t, smtptest.Start(t, smtptest.Options{}), smtp.Options{})
		if err := without.Begin(t.Context(), m); err == nil || smtp.Classify(err) == smtp.Connection ||
			smtp.Classify(err) == smtp.Bounced {
			t.Errorf("%s: a server without %s gets it: %v", name, c.needs, err)
		}
	}
}

// RFC 5321, section 4.5.3.1.3: an address has at most 254 octets between its brackets.
func TestAnAddressIsSentUpToItsLongestLength(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	c := dial(t, s, smtp.Options{})
	longest := strings.Repeat("a", 254-len("@example.org")) + "@example.org"
	if err := send(t, c, longest); err != nil {
		t.Error(err)
	}
	if err := send(t, c, "a"+longest); smtp.Classify(err) != smtp.Bounced {
		t.Errorf("an address that is longer: %v", err)
	}
	if got := s.Received(); len(got) != 1 || got[0].To != longest {
		t.Errorf("received %v", got)
	}
}
