package smtp_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"directmailer/internal/delivery/smtp"
	"directmailer/internal/dev/smtptest"
)

// peer is a server played line by line, for what no honest server says.
type peer struct {
	nc net.Conn
	r  *bufio.Reader
}

// play runs a session of a peer that has answered EHLO with the extensions. The returned function waits for its end.
func play(t *testing.T, extensions []string, session func(p *peer)) (addr string, wait func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	done := make(chan struct{})
	go func() {
		defer close(done)
		nc, err := listener.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		p := &peer{nc, bufio.NewReader(nc)}
		p.say("220 peer")
		p.hear()
		for _, e := range extensions {
			p.say("250-" + e)
		}
		p.say("250 ENHANCEDSTATUSCODES")
		session(p)
	}()
	return listener.Addr().String(), func() { <-done }
}

func (p *peer) say(lines ...string) {
	_, _ = io.WriteString(p.nc, strings.Join(lines, "\r\n")+"\r\n")
}

func (p *peer) hear() string {
	line, _ := p.r.ReadString('\n')
	return strings.TrimRight(line, "\r\n")
}

// hearAll returns what comes until the client closes.
func (p *peer) hearAll() string {
	rest, _ := io.ReadAll(p.r)
	return string(rest)
}

var pipelining = []string{"peer", "PIPELINING"}

func dialPeer(t *testing.T, addr string, o smtp.Options) *smtp.Conn {
	t.Helper()
	o.Addr = addr
	c, err := smtp.Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Abort)
	return c
}

func TestARefusedRecipientStaysRefusedWhenTheConnectionIsLostAfterwards(t *testing.T) {
	t.Parallel()
	for _, after := range []string{"", "421 4.3.2 closing", "nonsense"} {
		addr, _ := play(t, pipelining, func(p *peer) {
			p.hear()
			p.say("250 2.1.0 ok", "550 5.1.1 unknown")
			if after != "" {
				p.say(after)
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
		p.hear()
		p.hear()
		p.hear()
		p.say("550 5.1.8 bad sender", "250 2.1.5 ok", "354 go on")
		rest <- p.hearAll()
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
	heard := make(chan []string, 1)
	addr, wait := play(t, pipelining, func(p *peer) {
		var lines []string
		for range 3 {
			p.hear()
		}
		p.say("250 2.1.0 ok", "550 5.1.1 unknown", "354 go on")
		lines = append(lines, p.hear())
		p.say("554 5.5.1 no valid recipients")
		for range 4 {
			lines = append(lines, p.hear())
		}
		p.say("250 2.0.0 ok", "250 2.1.0 ok", "250 2.1.5 ok", "354 go on")
		p.hearAll()
		heard <- lines
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
	if got := strings.Join(<-heard, " "); got != want {
		t.Errorf("the server heard %q, want %q", got, want)
	}
}

func TestAServerThatGaveUpBeforeTheDotHasCertainlyNotAccepted(t *testing.T) {
	t.Parallel()
	for words, want := range map[string]smtp.Class{
		"":                          smtp.Connection,
		"421 4.4.2 too slow":        smtp.Connection,
		"451 4.4.2 too slow":        smtp.Connection,
		"552 5.3.4 too much for us": smtp.Bounced,
	} {
		addr, wait := play(t, pipelining, func(p *peer) {
			for range 3 {
				p.hear()
			}
			p.say("250 ok", "250 ok", "354 go on")
			for range 3 { // the body: all of it is read, so that the connection is closed and not reset
				p.hear()
			}
			if words != "" {
				p.say(words)
			}
		})
		c := dialPeer(t, addr, smtp.Options{})
		if err := c.Begin(t.Context(), message("a@example.org")); err != nil {
			t.Fatal(err)
		}
		wait()
		_, err := c.Finish(nil)
		if err == nil || smtp.Classify(err) != want {
			t.Errorf("after %q: %v is %v, want %v", words, err, smtp.Classify(err), want)
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
		"two codes":          {[]string{"250-ok\r\n251 ok", "250 ok", "354 go on"}, "", smtp.Connection},
		"an endless line":    {[]string{"250 " + strings.Repeat("x", 1<<16), "250 ok", "354 go on"}, "", smtp.Connection},
		"endless lines":      {[]string{strings.Repeat("250-x\r\n", 1<<12) + "250 x", "250 ok", "354 go on"}, "", smtp.Connection},
		"354 to the dot":     {[]string{"250 ok", "250 ok", "354 go on"}, "354 more", smtp.Uncertain},
		"nonsense, the dot":  {[]string{"250 ok", "250 ok", "354 go on"}, "fine", smtp.Uncertain},
		"nothing to the dot": {[]string{"250 ok", "250 ok", "354 go on"}, "", smtp.Uncertain},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, _ := play(t, pipelining, func(p *peer) {
				for range 3 {
					p.hear()
				}
				p.say(test.envelope...)
				for p.hear() != "." {
					if _, err := p.r.Peek(1); err != nil {
						return
					}
				}
				if test.dot != "" {
					p.say(test.dot)
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

// TestAnEndOfTheContextNeverMakesAMessageUncertain ends contexts around the moment at which Begin returns: the message is either not
// begun, or it can be finished.
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
	for reply, ok := range map[string]bool{"500 5.5.2 what?": true, "502 not implemented": true, "450 4.3.2 later": false} {
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
			if c.Pipelines() || send(t, c, "a@example.org") != nil || len(s.Received()) != 1 {
				t.Errorf("%s: not sent step by step", reply)
			}
		} else if smtp.Classify(err) != smtp.Connection {
			t.Errorf("%s: %v", reply, err)
		}
	}
}

func TestAnnouncedEnvelopesAreAnsweredOrNeverSent(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T, o smtptest.Options) (*smtptest.Server, *smtp.Conn) {
		s := smtptest.Start(t, o)
		c := dial(t, s, smtp.Options{NextBehindDot: true})
		if err := c.Begin(t.Context(), message("a@example.org")); err != nil {
			t.Fatal(err)
		}
		return s, c
	}
	t.Run("what cannot be sent is not announced", func(t *testing.T) {
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
		if err := c.Begin(t.Context(), message("other@example.org")); err == nil || smtp.Classify(err) != smtp.Connection {
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
				t.Error("QUIT was said where a body was awaited")
			}
		}
	})
	t.Run("a refused message does not take the next with it", func(t *testing.T) {
		t.Parallel()
		s, c := start(t, smtptest.Options{Script: at("DOT", 1, smtptest.Action{Reply: "554 5.6.0 bad"})})
		b := message("b@example.org")
		if _, err := c.Finish(b); smtp.Classify(err) != smtp.Bounced {
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
	for _, data := range []string{"a: b\n\r\nx\r\n", "a: b\r\n\r\nx\n.\r\nMAIL FROM:<x@example.com>\r\n", "a: b\r\n\r\nx\r.\r\n", "a: b\r\n\r\nx\x00\r\n", "a\r"} {
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

func TestTheServersWordsAreOneCleanLine(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{Script: at("RCPT", 1, smtptest.Action{
		Reply: "550-5.1.1 no \x00\x1b[31m\xff such\r\n550 5.1.1 <a@example.org> " + strings.Repeat("y", 3000)})})
	c := dial(t, s, smtp.Options{})
	var r *smtp.Refusal
	if err := send(t, c, "a@example.org"); !errors.As(err, &r) {
		t.Fatalf("got %v", err)
	}
	if !strings.HasPrefix(r.Text, "no   [31m? such <a@example.org> yyy") || len(r.Text) > 1100 || r.Enhanced != (smtp.EnhancedCode{5, 1, 1}) {
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

// sink is the least that can be called a server: it costs next to nothing, so that a benchmark measures the client.
func sink(b *testing.B, extensions string) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { listener.Close() })
	go func() {
		nc, err := listener.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		r := bufio.NewReaderSize(nc, 64<<10)
		var out []byte
		out = append(out, "220 sink\r\n"...)
		body := false
		for {
			if r.Buffered() == 0 && len(out) > 0 {
				if _, err := nc.Write(out); err != nil {
					return
				}
				out = out[:0]
			}
			line, err := r.ReadSlice('\n')
			if err != nil {
				return
			}
			switch {
			case body:
				if len(line) == 3 && line[0] == '.' {
					body, out = false, append(out, "250 2.0.0 Ok: queued as 4bXyZ1234\r\n"...)
				}
			case line[0] == 'E':
				out = append(out, "250-sink\r\n"+extensions+"250 SIZE\r\n"...)
			case line[0] == 'D':
				body, out = true, append(out, "354 go on\r\n"...)
			default:
				out = append(out, "250 2.1.0 ok\r\n"...)
			}
		}
	}()
	return listener.Addr().String()
}

func BenchmarkClient(b *testing.B) {
	line := strings.Repeat("x", 76) + "\r\n"
	data := []byte("Subject: x\r\n\r\n" + strings.Repeat(line, 24<<10/len(line)))
	for _, test := range []struct {
		name, extensions string
		behind           bool
	}{
		{"step_by_step", "", false},
		{"pipelined", "250-PIPELINING\r\n", false},
		{"next_behind_dot", "250-PIPELINING\r\n", true},
	} {
		b.Run(test.name, func(b *testing.B) {
			c, err := smtp.Dial(b.Context(), smtp.Options{Addr: sink(b, test.extensions), NextBehindDot: test.behind, Timeouts: smtp.Timeouts{Dot: time.Minute}})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			m := [2]*smtp.Message{{From: "a@example.com", To: "b@example.org", Data: data}, {From: "a@example.com", To: "c@example.org", Data: data}}
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			b.ResetTimer()
			for i := range b.N {
				if err := c.Begin(ctx, m[i%2]); err != nil {
					b.Fatal(err)
				}
				next := m[(i+1)%2]
				if i+1 == b.N {
					next = nil
				}
				if _, err := c.Finish(next); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
