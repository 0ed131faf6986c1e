package smtp

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"directmailer/internal/dev/smtptest"
)

// observed is a connection that records the deadlines for reading. It fails to write data
// that begins with the text refuse.
type observed struct {
	net.Conn
	reads  []time.Time
	writes []time.Duration // how long each write may take
	until  time.Time       // of the next write
	refuse string
}

func (o *observed) SetWriteDeadline(t time.Time) error {
	o.until = t
	return o.Conn.SetWriteDeadline(t)
}

func (o *observed) SetReadDeadline(t time.Time) error {
	o.reads = append(o.reads, t)
	return o.Conn.SetReadDeadline(t)
}

func (o *observed) Write(p []byte) (int, error) {
	if o.refuse != "" && strings.HasPrefix(string(p), o.refuse) {
		return 0, errors.New("the write failed")
	}
	o.writes = append(o.writes, time.Until(o.until))
	return o.Conn.Write(p)
}

// begun returns a session with an open body, and the connection under it.
func begun(t *testing.T, o Options) (*Conn, *observed, *smtptest.Server) {
	t.Helper()
	s := smtptest.Start(t, smtptest.Options{})
	o.Addr = s.Addr()
	c, err := Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Abort)
	under := &observed{Conn: c.nc}
	c.nc = under
	if err := c.Begin(t.Context(), &Message{From: "a@example.com", To: "b@example.org",
		Data: []byte("Subject: x\r\n\r\nhello\r\n")}); err != nil {
		t.Fatal(err)
	}
	return c, under, s
}

// RFC 5321, section 4.5.3.2, gives the server ten minutes after the dot. An answer that is not
// waited for becomes a duplicate.
func TestTheAnswerToTheDotIsWaitedForLongerThanThatToACommand(t *testing.T) {
	t.Parallel()
	c, under, _ := begun(t, Options{Timeouts: Timeouts{Command: time.Minute, Body: 2 * time.Minute, Dot: time.Hour}})
	if wait := time.Until(slices.MaxFunc(under.reads, time.Time.Compare)); wait > time.Minute {
		t.Errorf("a command's answer is waited for until in %s", wait)
	}
	if _, err := c.Finish(nil); err != nil {
		t.Fatal(err)
	}
	if wait := time.Until(slices.MaxFunc(under.reads, time.Time.Compare)); wait < 30*time.Minute {
		t.Errorf("the answer to the dot was waited for until in %s only", wait)
	}
	if wait := time.Until(under.reads[len(under.reads)-1]); wait > time.Minute {
		t.Errorf("the rest of an answer whose code is known is waited for until in %s", wait)
	}
}

// A server that reads nothing must not hold a connection for ever.
func TestEachWriteHasADeadline(t *testing.T) {
	t.Parallel()
	c, under, _ := begun(t, Options{Timeouts: Timeouts{Command: time.Minute, Body: time.Hour, Dot: 24 * time.Hour}})
	if _, err := c.Finish(nil); err != nil {
		t.Fatal(err)
	}
	if len(under.writes) != 3 || under.writes[0] <= 0 || under.writes[0] > time.Minute {
		t.Fatalf("the envelope, the body and the dot may take %v", under.writes)
	}
	for _, may := range under.writes[1:] {
		if may < 30*time.Minute || may > time.Hour {
			t.Errorf("the envelope, the body and the dot may take %v", under.writes)
		}
	}
}

// The server begins its answer to the dot and never ends it. Ten minutes are for a server that has
// not decided yet.
func TestTheRestOfAnAnswerWhoseCodeIsKnownIsNotWaitedForLikeTheAnswer(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{"250", "250 ok", "250-ok\r\n", "\r\n250-ok\r\n250-"} {
		s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
			if e.Phase == "DOT" {
				return &smtptest.Action{Raw: answer}
			}
			return nil
		}})
		c, err := Dial(t.Context(), Options{Addr: s.Addr(), Timeouts: Timeouts{Dot: time.Hour}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Abort)
		if err := c.Begin(t.Context(), &Message{From: "a@example.com", To: "b@example.org",
			Data: []byte("Subject: x\r\n\r\nhello\r\n")}); err != nil {
			t.Fatal(err)
		}
		c.options.Timeouts.Command = 20 * time.Millisecond
		if reply, err := c.Finish(nil); err != nil || reply.Code != 250 || c.Alive() {
			t.Errorf("%q: got %v, %v; alive %v", answer, reply, err, c.Alive())
		}
	}
}

func TestDefaultTimeoutsAreThoseOfTheStandard(t *testing.T) {
	t.Parallel()
	got := Timeouts{}.withDefaults()
	if got.Dot < 10*time.Minute || got.Command < 2*time.Minute || got.Greeting < time.Minute ||
		got.Body < 2*time.Minute {
		t.Errorf("%+v", got)
	}
}

// TLS may have sent a record before it reports a failure. The dot was certainly not sent only
// without TLS, and if nothing was written.
func TestADotThatCouldNotBeWrittenIsCertainlyNotSentOnlyWithoutTLS(t *testing.T) {
	t.Parallel()
	for secure, want := range map[bool]Class{false: Connection, true: Uncertain} {
		c, under, s := begun(t, Options{})
		under.refuse, c.secure = ".\r\n", secure
		if _, err := c.Finish(nil); Classify(err) != want {
			t.Errorf("secure=%v: %v is of class %v, want %v", secure, err, Classify(err), want)
		}
		if c.Alive() {
			t.Error("the connection counts as alive")
		}
		c.Abort()
		s.Stop()
		if got := s.Received(); len(got) != 0 {
			t.Errorf("received %v", got)
		}
	}
}
