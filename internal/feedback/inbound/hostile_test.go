package inbound

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"directmailer/internal/feedback/token"
)

func TestTenThousandStrangersInOneSessionEndIt(t *testing.T) {
	t.Parallel()
	r := start(t, "smtp://127.0.0.1:0")
	p := r.session()
	p.want("MAIL FROM:<>", "250")
	refused := 0
	for range 10_000 {
		got := p.say("RCPT TO:<" + bounceAddress(theirs, someone) + ">")
		if strings.HasPrefix(got, "421") {
			break
		}
		if refused++; !strings.HasPrefix(got, "550") {
			t.Fatalf("recipient %d: %q", refused, got)
		}
	}
	if refused != maxRefused {
		t.Errorf("%d recipients were refused before the session ended, %d may be", refused, maxRefused)
	}
	if got := p.say("NOOP"); !strings.HasPrefix(got, "gone") {
		t.Errorf("after it ended, the session says %q", got)
	}
}

func TestTenThousandRecipientsOfOursInOneMessageAreTakenInPieces(t *testing.T) {
	t.Parallel()
	r := start(t, "smtp://127.0.0.1:0")
	p := r.session()
	p.want("MAIL FROM:<>", "250")
	accepted := 0
	for n := range 10_000 {
		got := p.say("RCPT TO:<" + bounceAddress(ours, token.Recipient{Mailing: 1, Number: n + 1}) + ">")
		switch {
		case strings.HasPrefix(got, "250"):
			accepted++
		case !strings.HasPrefix(got, "452"):
			t.Fatalf("recipient %d: %q", n, got)
		}
	}
	p.want("DATA", "354")
	p.want("x\r\n.", "250")
	if got := r.received(); accepted != maxRecipients || len(got) != 1 || len(got[0].Named) != maxRecipients {
		t.Errorf("%d of 10,000 recipients were accepted, %d are allowed", accepted, maxRecipients)
	}
}

// Nothing of the message is taken over, and only its beginning was ever in memory. Other tests
// would use memory at the same time: this one is not parallel.
func TestAMessageWithoutEndIsRefusedAndCostsLittle(t *testing.T) {
	most := defaultLimits
	most.message = 2 << 20
	r := startWith(t, "smtp://127.0.0.1:0", most)
	p := r.session()
	p.toSomeone()
	p.want("DATA", "354")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	line := append(bytes.Repeat([]byte("x"), 998), "\r\n"...)
	block, written := bytes.Repeat(line, 64), make(chan int, 1)
	go func() {
		sent := 0
		for sent < 1<<30 {
			n, err := p.Write(block)
			if sent += n; err != nil {
				break
			}
		}
		written <- sent
	}()
	answer := p.hear()
	runtime.ReadMemStats(&after)
	if !strings.HasPrefix(answer, "552") && !strings.HasPrefix(answer, "gone") {
		t.Errorf("a message without end is answered with %q", answer)
	}
	if n := len(r.received()); n != 0 {
		t.Error("it was taken over")
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 {
		t.Errorf("reading it has used %d octets of memory", grown)
	}
	if sent := <-written; sent > 32<<20 {
		t.Errorf("%d octets of it were taken", sent)
	}
}

func TestOfALargeMessageTheBeginningIsKept(t *testing.T) {
	t.Parallel()
	r := start(t, "smtp://127.0.0.1:0")
	p := r.session()
	p.toSomeone()
	p.want("DATA", "354")
	body := strings.Repeat(strings.Repeat("y", 98)+"\r\n", 10_000) // 1 MB
	if _, err := io.WriteString(p.Conn, body+".\r\n"); err != nil {
		t.Fatal(err)
	}
	p.want("", "250")
	if got := r.received(); len(got) != 1 || len(got[0].Data) != MaxKept || got[0].Size != int64(len(body)) {
		t.Errorf("%d messages; the first has %d octets of %d", len(got), len(got[0].Data), got[0].Size)
	}
}

func TestAMessageThatIsCutOffIsNotTakenOver(t *testing.T) {
	t.Parallel()
	r := start(t, "smtp://127.0.0.1:0")
	for _, command := range []string{"DATA", "BDAT 1000"} {
		p := r.session()
		p.toSomeone()
		if _, err := io.WriteString(p.Conn, command+"\r\nSubject: x\r\n\r\nonly the beg"); err != nil {
			t.Fatal(err)
		}
		// If the peer closed its own side as well, the listener might lose what it has not read yet.
		if err := p.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, p.in) // until the session has ended
	}
	r.Server.Close(t.Context()) // every session has ended
	if n := len(r.received()); n != 0 {
		t.Errorf("%d messages were taken over", n)
	}
}

func TestAMessageInChunksIsTakenOver(t *testing.T) {
	t.Parallel()
	r := start(t, "smtp://127.0.0.1:0")
	p := r.session()
	p.toSomeone()
	p.want("BDAT 5\r\nabc", "250")
	if _, err := io.WriteString(p.Conn, "BDAT 3 LAST\r\nd\r\n"); err != nil {
		t.Fatal(err)
	}
	p.want("", "250")
	if got := r.received(); len(got) != 1 || got[0].Size != 8 || len(got[0].Named) != 1 {
		t.Errorf("received %+v", got)
	}
}

func TestOneHostCannotTakeAllConnections(t *testing.T) {
	t.Parallel()
	r := start(t, "smtp://127.0.0.1:0")
	var open []*peer
	for range defaultLimits.hostConns {
		p := r.dial()
		p.want("", "220")
		open = append(open, p)
	}
	more := r.dial()
	more.want("", "421 4.7.0 too many connections")
	open[0].want("QUIT", "221")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		again := r.dial()
		if got := again.say(""); strings.HasPrefix(got, "220") {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("a connection was given back, and another one is answered with %q", got)
		}
	}
}

type connFrom struct {
	net.Conn
	peer string
}

func (c connFrom) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.peer))
}

func TestAnIPv6NetworkOfAHouseholdIsOneHost(t *testing.T) {
	t.Parallel()
	l := newBoundedListener(nil, limits{conns: 9, hostConns: 1})
	for _, c := range []struct {
		peer  string
		there bool
	}{{"[2001:db8:0:1::1]:1", true}, {"[2001:db8:0:1:ffff::2]:1", false}, {"[2001:db8:0:2::1]:1", true},
		{"192.0.2.1:1", true}, {"[::ffff:192.0.2.1]:1", false}, {"192.0.2.2:1", true}} {
		if got := l.admit(connFrom{peer: c.peer}) != nil; got != c.there {
			t.Errorf("%s is admitted: %v", c.peer, got)
		}
	}
	l = newBoundedListener(nil, limits{conns: 2, hostConns: 2}) // of all hosts
	for i, peer := range []string{"192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"} {
		if got := l.admit(connFrom{peer: peer}) != nil; got != (i < 2) {
			t.Errorf("connection %d of at most 2 is admitted: %v", i+1, got)
		}
	}
}

func TestASessionEndsAfterItsShare(t *testing.T) {
	t.Parallel()
	r := start(t, "smtp://127.0.0.1:0")
	p := r.session()
	for range maxMessages {
		p.want("MAIL FROM:<>", "250")
		p.want("RSET", "250")
	}
	p.want("MAIL FROM:<>", "421")
	if got := p.say("NOOP"); !strings.HasPrefix(got, "gone") {
		t.Errorf("after it ended, the session says %q", got)
	}
	few := defaultLimits
	few.session, few.message = 1000, 2000
	r = startWith(t, "smtp://127.0.0.1:0", few)
	for octets, answer := range map[int]string{600: "250", 1100: "421"} {
		p := r.session()
		for n := 0; n < octets; n += len("NOOP\r\n") {
			p.want("NOOP", "250")
		}
		p.want("MAIL FROM:<>", answer)
	}
	p = r.session()
	for n := 0; ; n += len("NOOP\r\n") { // without a message
		if got := p.say("NOOP"); strings.HasPrefix(got, "gone") {
			break
		}
		if n > 4000 {
			t.Fatal("the session does not end")
		}
	}
}

// deadlines is a connection that notes its deadline.
type deadlines struct {
	net.Conn
	at time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error { d.at = t; return nil }

func TestAPeerThatSaysNothingEndsWithTheTimeOfItsSession(t *testing.T) {
	t.Parallel()
	end := time.Now().Add(time.Hour)
	inner := &deadlines{}
	c := &boundedConn{Conn: inner, end: end}
	last := end.Add(commandTimeout)
	for _, at := range []struct{ asked, want time.Time }{{end, end}, {time.Time{}, last}, {last.Add(time.Second), last}} {
		if err := c.SetReadDeadline(at.asked); err != nil || !inner.at.Equal(at.want) {
			t.Errorf("asked for %v, got %v, %v; want %v", at.asked, inner.at, err, at.want)
		}
	}
	c.endAfterAnswer()
	if err := c.SetReadDeadline(last); err != nil || inner.at.After(end) {
		t.Errorf("a session that is ended waits until %v, %v", inner.at, err)
	}
}

func TestTheListenerIsOneThatOutlivesErrors(t *testing.T) {
	t.Parallel()
	inner := start(t, "smtp://127.0.0.1:0").listener.Listener
	if _, ok := inner.(*net.TCPListener); ok {
		t.Error("an error of Accept can end it: use feedback.KeepAccepting")
	}
}

// A worker that stops right after its start does not hang.
func TestAListenerThatIsClosedAtOnceEnds(t *testing.T) {
	t.Parallel()
	for range 20 {
		s := start(t, "smtp://127.0.0.1:0").Server
		closed := make(chan struct{})
		go func() {
			s.Close(t.Context())
			close(closed)
		}()
		select {
		case <-closed:
		case <-time.After(time.Minute):
			t.Fatal("it does not end")
		}
	}
}
