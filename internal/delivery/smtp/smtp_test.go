package smtp_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"directmailer/internal/delivery/smtp"
	"directmailer/internal/dev/smtptest"
	"directmailer/internal/foreign"
)

func dial(t *testing.T, s *smtptest.Server, o smtp.Options) *smtp.Conn {
	t.Helper()
	c, err := tryDial(t, s, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tryDial(t *testing.T, s *smtptest.Server, o smtp.Options) (*smtp.Conn, error) {
	t.Helper()
	o.Addr = s.Addr()
	c, err := smtp.Dial(t.Context(), o)
	if err == nil {
		t.Cleanup(c.Close)
	}
	return c, err
}

func message(to string) *smtp.Message {
	return &smtp.Message{From: "news@example.com", To: to, Data: []byte("Subject: x\r\n\r\nHello\r\n")}
}

// send sends one message and returns the first error.
func send(t *testing.T, c *smtp.Conn, to string) error {
	t.Helper()
	if err := c.Begin(t.Context(), message(to)); err != nil {
		return err
	}
	_, err := c.Finish(nil)
	return err
}

func at(phase string, message int, a smtptest.Action) func(smtptest.Event) *smtptest.Action {
	return func(e smtptest.Event) *smtptest.Action {
		if e.Phase == phase && e.Message == message {
			return &a
		}
		return nil
	}
}

func TestManyMessagesGoOverOneConnection(t *testing.T) {
	t.Parallel()
	for _, o := range []smtptest.Options{{}, {NoPipeline: true}} {
		for _, behind := range []bool{false, true} {
			t.Run(fmt.Sprintf("pipelining=%v,next_behind_dot=%v", !o.NoPipeline, behind), func(t *testing.T) {
				t.Parallel()
				s := smtptest.Start(t, o)
				c := dial(t, s, smtp.Options{NextBehindDot: behind})
				messages := []*smtp.Message{message("a@example.org"), message("b@example.org"),
					message("c@example.org")}
				for i, m := range messages {
					if err := c.Begin(t.Context(), m); err != nil {
						t.Fatal(err)
					}
					var next *smtp.Message
					if i+1 < len(messages) {
						next = messages[i+1]
					}
					if reply, err := c.Finish(next); err != nil || reply.Code != 250 ||
						reply.Enhanced.String() != "2.0.0" {
						t.Fatalf("%+v, %v", reply, err)
					}
				}
				got := s.Received()
				if len(got) != 3 || got[2].To != "c@example.org" || got[0].Data != "Subject: x\r\n\r\nHello\r\n" ||
					s.Connections() != 1 {
					t.Errorf("received %v over %d connections", got, s.Connections())
				}
			})
		}
	}
}

func TestWhatAnAnswerMeans(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		phase, reply string
		want         smtp.Class
		usable       bool // the connection, for the next message
	}{
		{"MAIL", "550 5.1.8 bad sender", smtp.Refused, true},
		{"MAIL", "452 4.3.1 disk full", smtp.Connection, true},
		{"MAIL", "552 5.3.4 too big", smtp.Unfit, true},
		{"RCPT", "550 5.1.1 <a@example.org> unknown", smtp.Bounced, true},
		{"RCPT", "550 no thanks", smtp.Unclear, true},
		{"RCPT", "554 5.7.1 relay denied", smtp.Refused, true},
		{"RCPT", "451 4.7.1 greylisted", smtp.Deferred, true},
		{"DATA", "451 4.3.0 later", smtp.Deferred, true},
		{"DATA", "554 5.5.0 no", smtp.Refused, true},
		{"DOT", "554 5.6.0 bad message", smtp.Unfit, true},
		{"DOT", "550 5.7.1 spam", smtp.Refused, true},
		{"DOT", "452 4.2.2 over quota", smtp.Deferred, true},
		{"MAIL", "421 4.3.2 closing", smtp.Connection, false},
		{"RCPT", "421 closing", smtp.Connection, false},
		{"DOT", "421 closing", smtp.Connection, false},
	} {
		for _, pipelining := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s %s pipelining=%v", test.phase, test.reply[:9], pipelining), func(t *testing.T) {
				t.Parallel()
				s := smtptest.Start(t, smtptest.Options{NoPipeline: !pipelining,
					Script: at(test.phase, 1, smtptest.Action{Reply: test.reply})})
				c := dial(t, s, smtp.Options{})
				err := send(t, c, "a@example.org")
				if got := smtp.Classify(err); err == nil || got != test.want {
					t.Fatalf("%v is of class %v, want %v", err, got, test.want)
				}
				if strings.Contains(err.Error(), "example") {
					t.Errorf("the error quotes an address: %v", err)
				}
				next := send(t, c, "b@example.org")
				if (next == nil) != test.usable {
					t.Errorf("the next message: %v", next)
				}
				for _, m := range s.Received() {
					if m.To != "b@example.org" {
						t.Errorf("received %v", m)
					}
				}
			})
		}
	}
}

func TestALostConnectionIsUncertainOnlyAfterTheDot(t *testing.T) {
	t.Parallel()
	for _, phase := range []string{"connect", "EHLO", "MAIL", "RCPT", "DATA", "BODY", "DOT"} {
		for _, accept := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s accept=%v", phase, accept), func(t *testing.T) {
				t.Parallel()
				s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
					if e.Phase == phase {
						return &smtptest.Action{Die: true, Accept: accept}
					}
					return nil
				}})
				c, err := tryDial(t, s, smtp.Options{})
				if err == nil {
					err = send(t, c, "a@example.org")
				}
				want := []smtp.Class{smtp.Connection}
				switch phase {
				case "BODY": // a body that fits into the socket's buffer may be sent before the client notices
					want = append(want, smtp.Uncertain)
				case "DOT":
					want = []smtp.Class{smtp.Uncertain}
				}
				got := smtp.Classify(err)
				if err == nil || !slices.Contains(want, got) {
					t.Errorf("%v is of class %v, want %v", err, got, want)
				}
				if accepted := len(s.Received()); accepted > 0 && got != smtp.Uncertain {
					t.Errorf("%d messages accepted, and not known to be uncertain", accepted)
				}
			})
		}
	}
}

func TestASilentServerTimesOutAndOnlyAfterTheDotThatIsUncertain(t *testing.T) {
	t.Parallel()
	for phase, silence := range map[string]struct {
		short smtp.Timeouts // of this phase only: the machine may be slow at the others
		want  smtp.Class
	}{
		"RCPT": {smtp.Timeouts{Command: 50 * time.Millisecond}, smtp.Connection},
		"DOT":  {smtp.Timeouts{Dot: 50 * time.Millisecond}, smtp.Uncertain},
	} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			release := make(chan struct{})
			s := smtptest.Start(t, smtptest.Options{Script: at(phase, 1, smtptest.Action{Wait: release})})
			t.Cleanup(func() { close(release) })
			c := dial(t, s, smtp.Options{})
			c.SetTimeouts(silence.short)
			if err := send(t, c, "a@example.org"); smtp.Classify(err) != silence.want {
				t.Errorf("%v is of class %v, want %v", err, smtp.Classify(err), silence.want)
			}
		})
	}
}

func TestAnEndingContextBreaksAMessageBeforeItsDot(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	entered := make(chan struct{})
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "RCPT" {
			close(entered)
			return &smtptest.Action{Wait: release}
		}
		return nil
	}})
	t.Cleanup(func() { close(release) })
	c := dial(t, s, smtp.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	if err := c.Begin(ctx, message("a@example.org")); err == nil || smtp.Classify(err) != smtp.Connection {
		t.Errorf("got %v", err)
	}
}

func TestEncryptionIsVerifiedAndRequiredWhereAsked(t *testing.T) {
	t.Parallel()
	plain := smtptest.Start(t, smtptest.Options{})
	start := smtptest.Start(t, smtptest.Options{STARTTLS: true})
	implicit := smtptest.Start(t, smtptest.Options{ImplicitTLS: true})
	for name, test := range map[string]struct {
		server *smtptest.Server
		o      smtp.Options
		ok     bool
	}{
		"required, not offered":   {plain, smtp.Options{TLS: smtp.Required}, false},
		"opportunistic, trusted":  {start, smtp.Options{RootCAs: start.RootCAs()}, true},
		"opportunistic, unknown":  {start, smtp.Options{}, false},
		"wrong name":              {start, smtp.Options{RootCAs: start.RootCAs(), ServerName: "mx.example.com"}, false},
		"none":                    {start, smtp.Options{TLS: smtp.None}, true},
		"implicit, trusted":       {implicit, smtp.Options{ImplicitTLS: true, RootCAs: implicit.RootCAs()}, true},
		"implicit, wrong issuer":  {implicit, smtp.Options{ImplicitTLS: true, RootCAs: start.RootCAs()}, false},
		"opportunistic, no offer": {plain, smtp.Options{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := tryDial(t, test.server, test.o)
			if (err == nil) != test.ok {
				t.Fatalf("dial: %v", err)
			}
			if err != nil {
				if smtp.Classify(err) != smtp.Refused {
					t.Errorf("%v is not of class Refused", err)
				}
				return
			}
			if err := send(t, c, "a@example.org"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestACertificateThatIsRefusedIsQuotedInOneShortLine(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{STARTTLS: true, ServerName: "# Free\r\n\x1b[2J[link](http://evil.example) " +
		"jane.doe@mail.example " + strings.Repeat("long.", 30_000) + "example"})
	_, err := tryDial(t, s, smtp.Options{RootCAs: s.RootCAs(), ServerName: "localhost"})
	if err == nil {
		t.Fatal("the certificate is for another host")
	}
	if text := err.Error(); text != foreign.Clean(text) || strings.Contains(text, "jane") || len(text) > 400 {
		t.Errorf("got %d octets: %.1000q", len(text), text)
	}
}

func TestPasswordsGoOnlyWhereTheyMay(t *testing.T) {
	t.Parallel()
	secure := smtptest.Start(t, smtptest.Options{STARTTLS: true, Password: "secret"})
	clear := smtptest.Start(t, smtptest.Options{Password: "secret", Mechanisms: []string{"PLAIN", "LOGIN", "XOAUTH2"}})
	allowed := smtptest.Start(t, smtptest.Options{Password: "secret"})
	for name, test := range map[string]struct {
		server *smtptest.Server
		o      smtp.Options
		ok     bool
	}{
		"right, over TLS": {secure, smtp.Options{Username: "user", Password: "secret",
			RootCAs: secure.RootCAs()}, true},
		"wrong, over TLS": {secure, smtp.Options{Username: "user", Password: "guess",
			RootCAs: secure.RootCAs()}, false},
		"in the clear":            {clear, smtp.Options{Username: "user", Password: "secret"}, false},
		"LOGIN, in the clear":     {clear, smtp.Options{Username: "user", Password: "secret", Mechanism: "LOGIN"}, false},
		"a token, in the clear":   {clear, smtp.Options{Username: "user", Password: "secret", Mechanism: "XOAUTH2"}, false},
		"in the clear, as wanted": {allowed, smtp.Options{Username: "user", Password: "secret", TLS: smtp.None}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := tryDial(t, test.server, test.o)
			if (err == nil) != test.ok {
				t.Errorf("dial: %v", err)
			}
			if err != nil && (smtp.Classify(err) != smtp.Refused || strings.Contains(err.Error(), "guess") ||
				strings.Contains(err.Error(), "secret")) {
				t.Errorf("%v: class %v", err, smtp.Classify(err))
			}
		})
	}
	t.Cleanup(func() {
		for _, line := range clear.Commands() {
			if strings.HasPrefix(line, "AUTH") {
				t.Errorf("a password was sent in the clear: %s", line)
			}
		}
	})
}

func TestAServerThatSpeaksBeforeTLSIsNotBelieved(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{STARTTLS: true, Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "STARTTLS" {
			return &smtptest.Action{Reply: "220 go on\r\n250 2.0.0 injected"}
		}
		return nil
	}})
	if _, err := tryDial(t, s, smtp.Options{RootCAs: s.RootCAs()}); err == nil {
		t.Error("the answer before TLS was taken")
	}
}

func TestNothingButAnAddressIsSaidInAnEnvelope(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	c := dial(t, s, smtp.Options{})
	for _, to := range []string{"", "a@example.org> NOTIFY=NEVER", "a@example.org\r\nRCPT TO:<b@example.org",
		"a b@example.org", "<a@example.org", "a@example.org>", "a\\@example.org", "a\x00@example.org", `"a@example.org`} {
		m := message(to)
		if err := c.Begin(t.Context(), m); smtp.Classify(err) != smtp.Bounced {
			t.Errorf("%q: got %v", to, err)
		}
		m = message("b@example.org")
		if m.From = to; to != "" {
			if err := c.Begin(t.Context(), m); smtp.Classify(err) != smtp.Refused {
				t.Errorf("from %q: got %v", to, err)
			}
		}
	}
	if err := send(t, c, `"a b> x"@example.org`); err != nil { // quoted, it is an address
		t.Error(err)
	}
	for _, line := range s.Commands() {
		if strings.Contains(line, "NOTIFY") {
			t.Errorf("the server was told %q", line)
		}
	}
}

func TestWhatTheServerDoesNotTakeIsNotSentToIt(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{Extensions: []string{"SIZE 100", "8bitmime"}})
	c := dial(t, s, smtp.Options{})
	big := message("a@example.org")
	big.Data = []byte(strings.Repeat("x", 101))
	foreign := message("jörg@example.org")
	foreign.UTF8 = true
	for want, m := range map[string]*smtp.Message{"5.3.4": big, "5.6.7": foreign} {
		var r *smtp.Refusal
		if err := c.Begin(t.Context(), m); !errors.As(err, &r) || r.Enhanced.String() != want ||
			smtp.Classify(err) != smtp.Unfit {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	eight := message("b@example.org")
	eight.EightBit = true
	if err := c.Begin(t.Context(), eight); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Finish(nil); err != nil {
		t.Fatal(err)
	}
	if got := s.Received(); len(got) != 1 || !strings.Contains(got[0].Params, "BODY=8BITMIME") ||
		!strings.Contains(got[0].Params, "SIZE=") {
		t.Errorf("received %+v", got)
	}
}

func TestDotsAtTheBeginningOfLinesArrive(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	c := dial(t, s, smtp.Options{})
	m := message("a@example.org")
	m.Data = []byte(".first\r\nSubject: x\r\n\r\n.\r\n..\r\nend without a line break")
	if err := c.Begin(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Finish(nil); err != nil {
		t.Fatal(err)
	}
	if got := s.Received()[0].Data; got != string(m.Data)+"\r\n" {
		t.Errorf("received %q", got)
	}
}

func TestAnIdleConnectionThatTheServerClosedIsNotAlive(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	c := dial(t, s, smtp.Options{})
	if !c.Alive() {
		t.Fatal("a fresh connection is not alive")
	}
	if err := send(t, c, "a@example.org"); err != nil {
		t.Fatal(err)
	}
	s.Drop()
	for deadline := time.Now().Add(time.Minute); c.Alive(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("still taken for alive")
		}
	}
}

func TestTheAbandonedMessageIsNotSent(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	c := dial(t, s, smtp.Options{})
	if err := c.Begin(t.Context(), message("a@example.org")); err != nil {
		t.Fatal(err)
	}
	c.Close() // it must send nothing: QUIT would be a line of the message, and a dot would send it
	s.Stop()
	if got := s.Received(); len(got) > 0 {
		t.Errorf("received %v", got)
	}
}

func FuzzReply(f *testing.F) {
	for _, seed := range []string{"250 ok\r\n", "250-a\r\n250 b\r\n", "550 5.1.1 no\r\n", "2x0\r\n", "250\n",
		"999 x\r\n", "250-a\r\n251 b\r\n", "\x00\xff\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Skip(err)
		}
		defer listener.Close()
		go func() {
			nc, err := listener.Accept()
			if err == nil {
				_, _ = nc.Write(answer)
				_ = nc.Close()
			}
		}()
		c, err := smtp.Dial(context.Background(), smtp.Options{Addr: listener.Addr().String()})
		if err == nil {
			c.Abort()
		}
	})
}
