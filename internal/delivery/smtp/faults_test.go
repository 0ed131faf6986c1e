package smtp_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"directmailer/internal/delivery/smtp"
	"directmailer/internal/dev/smtptest"
)

func TestARefusedRecipientStaysRefusedWhenTheConnectionIsLostAfterwards(t *testing.T) {
	t.Parallel()
	for _, after := range []string{"", "421 4.3.2 closing", "nonsense"} {
		addr, _ := play(t, pipelining, func(p *peer) {
			p.readLine()
			p.writeLines("250 2.1.0 ok", "550 5.1.1 unknown")
			if after != "" {
				p.writeLines(after)
			}
		})
		c := dialPeer(t, addr, smtp.Options{})
		err := c.Begin(t.Context(), message("a@example.org"))
		var refusal *smtp.Refusal
		if smtp.Classify(err) != smtp.Bounced || !errors.As(err, &refusal) || refusal.Code != 550 {
			t.Errorf("after %q: got %v", after, err)
		}
		if c.Alive() {
			t.Errorf("after %q: the connection counts as alive", after)
		}
	}
}

func TestNobodyGetsAnEmptyMessageWhenTheSenderIsRefusedAndTheBodyAwaited(t *testing.T) {
	t.Parallel()
	rest := make(chan string, 1)
	addr, wait := play(t, pipelining, func(p *peer) {
		p.readLine()
		p.readLine()
		p.readLine()
		p.writeLines("550 5.1.8 bad sender", "250 2.1.5 ok", "354 go on")
		rest <- p.readAll()
	})
	c := dialPeer(t, addr, smtp.Options{})
	if err := c.Begin(t.Context(), message("a@example.org")); smtp.Classify(err) != smtp.Refused {
		t.Errorf("got %v", err)
	}
	c.Close()
	wait()
	if got := <-rest; got != "" {
		t.Errorf("the client went on with %q", got)
	}
}

func TestARefusedRecipientWithAnAwaitedBodyIsEndedByALoneDot(t *testing.T) {
	t.Parallel()
	received := make(chan []string, 1)
	addr, wait := play(t, pipelining, func(p *peer) {
		var lines []string
		for range 3 {
			p.readLine()
		}
		p.writeLines("250 2.1.0 ok", "550 5.1.1 unknown", "354 go on")
		lines = append(lines, p.readLine())
		p.writeLines("554 5.5.1 no valid recipients")
		for range 4 {
			lines = append(lines, p.readLine())
		}
		p.writeLines("250 2.0.0 ok", "250 2.1.0 ok", "250 2.1.5 ok", "354 go on")
		p.readAll()
		received <- lines
	})
	c := dialPeer(t, addr, smtp.Options{})
	if err := c.Begin(t.Context(), message("a@example.org")); smtp.Classify(err) != smtp.Bounced {
		t.Fatalf("got %v", err)
	}
	if err := c.Begin(t.Context(), message("b@example.org")); err != nil {
		t.Fatalf("the next message: %v", err)
	}
	c.Abort()
	wait()
	want := ". RSET MAIL FROM:<news@example.com> RCPT TO:<b@example.org> DATA"
	if got := strings.Join(<-received, " "); got != want {
		t.Errorf("the server received %q, want %q", got, want)
	}
}

func TestAServerThatGaveUpBeforeTheDotHasCertainlyNotAccepted(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]smtp.Class{
		"":                          smtp.Connection,
		"421 4.4.2 too slow":        smtp.Connection,
		"451 4.4.2 too slow":        smtp.Connection,
		"552 5.3.4 too much for us": smtp.Unfit,
	} {
		addr, wait := play(t, pipelining, func(p *peer) {
			for range 3 {
				p.readLine()
			}
			p.writeLines("250 ok", "250 ok", "354 go on")
			for range 3 { // read the whole body, so that the connection is closed and not reset
				p.readLine()
			}
			if text != "" {
				p.writeLines(text)
			}
		})
		c := dialPeer(t, addr, smtp.Options{})
		if err := c.Begin(t.Context(), message("a@example.org")); err != nil {
			t.Fatal(err)
		}
		wait()
		for end := time.Now().Add(time.Minute); !c.Pending(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) { // on a busy machine, what was sent arrives a little later
				t.Fatalf("after %q: nothing arrives", text)
			}
		}
		_, err := c.Finish(nil)
		if err == nil || smtp.Classify(err) != want {
			t.Errorf("after %q: %v is %v, want %v", text, err, smtp.Classify(err), want)
		}
		if c.Alive() {
			t.Error("the connection counts as alive")
		}
	}
}

func TestAnAnswerOutOfPlaceIsNotTakenForAnother(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		envelope []string
		dot      string
		want     smtp.Class
	}{
		"354 to MAIL":        {[]string{"354 go on", "250 ok", "354 go on"}, "", smtp.Connection},
		"354 to RCPT":        {[]string{"250 ok", "354 go on", "354 go on"}, "", smtp.Connection},
		"250 to DATA":        {[]string{"250 ok", "250 ok", "250 ok"}, "", smtp.Connection},
		"no code":            {[]string{"250 ok", "ok", "354 go on"}, "", smtp.Connection},
		"a code of 1xx":      {[]string{"150 ok", "250 ok", "354 go on"}, "", smtp.Connection},
		"two kinds of codes": {[]string{"250-ok\r\n550 no", "250 ok", "354 go on"}, "", smtp.Connection},
		"an endless line": {[]string{"250 " + strings.Repeat("x", 2<<20), "250 ok", "354 go on"}, "",
			smtp.Connection},
		"endless lines": {[]string{strings.Repeat("250-x\r\n", 1<<13) + "250 x", "250 ok", "354 go on"}, "",
			smtp.Connection},
		"354 to the dot":     {[]string{"250 ok", "250 ok", "354 go on"}, "354 more", smtp.Uncertain},
		"nonsense, the dot":  {[]string{"250 ok", "250 ok", "354 go on"}, "fine", smtp.Uncertain},
		"nothing to the dot": {[]string{"250 ok", "250 ok", "354 go on"}, "", smtp.Uncertain},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, _ := play(t, pipelining, func(p *peer) {
				for range 3 {
					p.readLine()
				}
				p.writeLines(test.envelope...)
				for p.readLine() != "." {
					if _, err := p.r.Peek(1); err != nil {
						return
					}
				}
				if test.dot != "" {
					p.writeLines(test.dot)
				}
			})
			c := dialPeer(t, addr, smtp.Options{})
			err := send(t, c, "a@example.org")
			if err == nil || smtp.Classify(err) != test.want {
				t.Errorf("%v is %v, want %v", err, smtp.Classify(err), test.want)
			}
			if c.Alive() {
				t.Error("the connection counts as alive")
			}
		})
	}
}

// The contexts end around the moment at which Begin returns. The message has then either not begun,
// or it can be finished.
func TestAnEndOfTheContextNeverMakesAMessageUncertain(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	var finished, interrupted int
	for n := range 300 {
		c := dial(t, s, smtp.Options{})
		ctx, cancel := context.WithCancel(context.Background())
		var began atomic.Bool
		go func() {
			for spin := 0; spin < n*100 && !began.Load(); spin++ {
			}
			cancel()
		}()
		err := c.Begin(ctx, message("a@example.org"))
		began.Store(true)
		if err != nil {
			interrupted++
			if !errors.Is(err, context.Canceled) || smtp.Classify(err) != smtp.Connection {
				t.Fatalf("begin: %v", err)
			}
			continue
		}
		if _, err := c.Finish(nil); err != nil {
			t.Fatalf("finish: %v", err)
		}
		finished++
		c.Close()
		cancel()
	}
	if got := len(s.Received()); got != finished {
		t.Errorf("%d received, %d finished, %d interrupted", got, finished, interrupted)
	}
}

func TestAServerWithoutEHLOGetsHELOAndAnUnwillingOneDoesNot(t *testing.T) {
	t.Parallel()
	for reply, ok := range map[string]bool{"500 5.5.2 what?": true, "502 not implemented": true,
		"450 4.3.2 later": false} {
		s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
			if e.Phase == "EHLO" {
				return &smtptest.Action{Reply: reply}
			}
			return nil
		}})
		c, err := tryDial(t, s, smtp.Options{})
		if (err == nil) != ok {
			t.Fatalf("%s: %v", reply, err)
		}
		if ok {
			if c.Pipelining() || send(t, c, "a@example.org") != nil || len(s.Received()) != 1 {
				t.Errorf("%s: not sent step by step", reply)
			}
		} else if smtp.Classify(err) != smtp.Connection {
			t.Errorf("%s: %v", reply, err)
		}
	}
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "EHLO" {
			return &smtptest.Action{Raw: "554 5.7.1 you are blocked\r\n", Die: true}
		}
		return nil
	}})
	_, err := tryDial(t, s, smtp.Options{})
	var refusal *smtp.Refusal
	if !errors.As(err, &refusal) || refusal.Text != "you are blocked" || smtp.Classify(err) != smtp.Refused {
		t.Errorf("a server that refuses EHLO and closes: %v", err)
	}
}

func TestPipelinedEnvelopesAreAnsweredOrNeverSent(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T, o smtptest.Options) (*smtptest.Server, *smtp.Conn) {
		s := smtptest.Start(t, o)
		c := dial(t, s, smtp.Options{NextBehindDot: true})
		if err := c.Begin(t.Context(), message("a@example.org")); err != nil {
			t.Fatal(err)
		}
		return s, c
	}
	t.Run("what cannot be sent is not pipelined", func(t *testing.T) {
		t.Parallel()
		s, c := start(t, smtptest.Options{})
		bad := message("b@example.org\r\nRSET")
		if _, err := c.Finish(bad); err != nil {
			t.Fatal(err)
		}
		if err := c.Begin(t.Context(), bad); smtp.Classify(err) != smtp.Bounced {
			t.Errorf("got %v", err)
		}
		if err := send(t, c, "c@example.org"); err != nil || len(s.Received()) != 2 {
			t.Errorf("the next message: %v", err)
		}
	})
	t.Run("another message is not sent in its envelope", func(t *testing.T) {
		t.Parallel()
		s, c := start(t, smtptest.Options{})
		if _, err := c.Finish(message("b@example.org")); err != nil {
			t.Fatal(err)
		}
		if err := c.Begin(t.Context(), message("other@example.org")); err == nil ||
			smtp.Classify(err) != smtp.Connection {
			t.Errorf("got %v", err)
		}
		c.Close()
		s.Stop()
		if got := s.Received(); len(got) != 1 {
			t.Errorf("received %v", got)
		}
	})
	t.Run("one that is given up is abandoned", func(t *testing.T) {
		t.Parallel()
		s, c := start(t, smtptest.Options{})
		if _, err := c.Finish(message("b@example.org")); err != nil {
			t.Fatal(err)
		}
		if c.Alive() {
			t.Error("a connection with an open envelope counts as free")
		}
		c.Close()
		s.Stop()
		if got := s.Received(); len(got) != 1 {
			t.Errorf("received %v", got)
		}
		for _, line := range s.Commands() {
			if line == "QUIT" {
				t.Error("QUIT was sent where the server waited for a body")
			}
		}
	})
	t.Run("a refused message does not take the next with it", func(t *testing.T) {
		t.Parallel()
		s, c := start(t, smtptest.Options{Script: at("DOT", 1, smtptest.Action{Reply: "554 5.6.0 bad"})})
		b := message("b@example.org")
		if _, err := c.Finish(b); smtp.Classify(err) != smtp.Unfit {
			t.Fatalf("got %v", err)
		}
		if err := c.Begin(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Finish(nil); err != nil || len(s.Received()) != 1 {
			t.Errorf("the next message: %v", err)
		}
	})
	t.Run("a recipient refused behind the dot is the next one's", func(t *testing.T) {
		t.Parallel()
		s, c := start(t, smtptest.Options{Script: at("RCPT", 2, smtptest.Action{Reply: "550 5.1.1 unknown"})})
		b := message("b@example.org")
		if _, err := c.Finish(b); err != nil {
			t.Fatal(err)
		}
		if err := c.Begin(t.Context(), b); smtp.Classify(err) != smtp.Bounced {
			t.Errorf("got %v", err)
		}
		if err := send(t, c, "c@example.org"); err != nil || len(s.Received()) != 2 {
			t.Errorf("the message after it: %v", err)
		}
	})
	t.Run("a farewell after the answer is the next one's", func(t *testing.T) {
		t.Parallel()
		s, c := start(t, smtptest.Options{Script: at("MAIL", 2, smtptest.Action{Reply: "421 4.7.0 enough"})})
		b := message("b@example.org")
		if _, err := c.Finish(b); err != nil {
			t.Fatal(err)
		}
		err := c.Begin(t.Context(), b)
		if smtp.Classify(err) != smtp.Connection || !smtp.ClosedBetweenMessages(err) || len(s.Received()) != 1 {
			t.Errorf("got %v", err)
		}
	})
}

func TestMessagesThatServersReadInDifferentWaysAreNotSent(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	c := dial(t, s, smtp.Options{})
	for _, data := range []string{"a: b\n\r\nx\r\n", "a: b\r\n\r\nx\n.\r\nMAIL FROM:<x@example.com>\r\n",
		"a: b\r\n\r\nx\r.\r\n", "a: b\r\n\r\nx\x00\r\n", "a\r"} {
		m := message("a@example.org")
		m.Data = []byte(data)
		if err := c.Begin(t.Context(), m); smtp.Classify(err) != smtp.Bounced {
			t.Errorf("%q: got %v", data, err)
		}
	}
	if err := send(t, c, "b@example.org"); err != nil || len(s.Received()) != 1 {
		t.Errorf("the next message: %v", err)
	}
}

func TestTheServersTextIsOneCleanLine(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{Script: at("RCPT", 1, smtptest.Action{
		Reply: "550-5.1.1 no \x00\x1b[31m\xff such\r\n550 5.1.1 <a@example.org> " + strings.Repeat("y", 3000)})})
	c := dial(t, s, smtp.Options{})
	var r *smtp.Refusal
	if err := send(t, c, "a@example.org"); !errors.As(err, &r) {
		t.Fatalf("got %v", err)
	}
	if !strings.HasPrefix(r.Text, "no   [31m? such <a@example.org> yyy") || len(r.Text) > 1100 ||
		r.Enhanced != (smtp.EnhancedCode{5, 1, 1}) {
		t.Errorf("got %q, %s", r.Text, r.Enhanced)
	}
	if got := r.Error(); got != "RCPT TO was refused: 550 5.1.1" {
		t.Errorf("the error is %q", got)
	}
}

func TestALongBodyArrivesWhole(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	c := dial(t, s, smtp.Options{})
	m := message("a@example.org")
	m.Data = []byte("Subject: x\r\n\r\n" + strings.Repeat(".a line that begins with a dot\r\n", 50_000))
	if err := c.Begin(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Finish(nil); err != nil {
		t.Fatal(err)
	}
	if got := s.Received()[0].Data; got != string(m.Data) {
		t.Errorf("%d octets arrived of %d", len(got), len(m.Data))
	}
}

func TestAbortFromAnotherGoroutineEndsTheWaitForTheAnswer(t *testing.T) {
	t.Parallel()
	dotted := make(chan struct{})
	release := make(chan struct{})
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase != "DOT" {
			return nil
		}
		close(dotted)
		return &smtptest.Action{Wait: release}
	}})
	t.Cleanup(func() { close(release) })
	c := dial(t, s, smtp.Options{})
	go func() { <-dotted; c.Abort() }()
	if err := send(t, c, "a@example.org"); smtp.Classify(err) != smtp.Uncertain {
		t.Errorf("got %v", err)
	}
}

func TestOptionsDoNotShowThePassword(t *testing.T) {
	t.Parallel()
	o := smtp.Options{Addr: "mx.example.com:25", Username: "me", Password: "s3cret"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, v := range []any{o, &o, struct{ O smtp.Options }{o}} {
			if got := fmt.Sprintf(verb, v); strings.Contains(got, "s3cret") {
				t.Errorf("%s of %T: %s", verb, v, got)
			}
		}
	}
}
