package droppoint_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/dev/smtptest"
)

func dropPoint(t *testing.T, url string) *droppoint.DropPoint {
	t.Helper()
	c, err := droppoint.Parse("mx", url)
	if err != nil {
		t.Fatal(err)
	}
	set := droppoint.NewSet([]droppoint.Config{c})
	t.Cleanup(set.Close)
	d, _ := set.Get("mx")
	return d
}

func acquire(t *testing.T, d *droppoint.DropPoint) droppoint.Conn {
	t.Helper()
	conn, err := d.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func message(n int) *droppoint.Message {
	return &droppoint.Message{From: "news@example.com", To: fmt.Sprintf("r%d@example.org", n),
		Name: fmt.Sprintf("spring.%08d", n), Data: []byte("Subject: x\r\n\r\nHello\r\n")}
}

func deliver(t *testing.T, conn droppoint.Conn, m, next *droppoint.Message) error {
	t.Helper()
	if err := conn.Begin(t.Context(), m); err != nil {
		return err
	}
	_, err := conn.Finish(next)
	return err
}

func TestConnectionsAreReusedUpToTheirLimitOfMessages(t *testing.T) {
	t.Parallel()
	for _, behind := range []bool{false, true} {
		t.Run(fmt.Sprintf("next_behind_dot=%v", behind), func(t *testing.T) {
			t.Parallel()
			s := smtptest.Start(t, smtptest.Options{})
			d := dropPoint(t, fmt.Sprintf("smtp://%s?messages=3&connections=1&next_behind_dot=%v", s.Addr(), behind))
			for round := range 4 { // two messages each
				conn := acquire(t, d)
				first, second := message(2*round), message(2*round+1)
				pipelined := second
				if !conn.PipelinesNext() {
					pipelined = nil
				}
				if err := deliver(t, conn, first, pipelined); err != nil {
					t.Fatal(err)
				}
				if err := deliver(t, conn, second, nil); err != nil {
					t.Fatal(err)
				}
				conn.Release()
			}
			if got := s.Connections(); len(s.Received()) != 8 || got != 3 {
				t.Errorf("%d messages over %d connections, 8 over 3 expected", len(s.Received()), got)
			}
		})
	}
}

func TestAServerThatClosesBetweenMessagesDoesNothingWrong(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	d := dropPoint(t, "smtp://"+s.Addr())
	for n := range 5 {
		conn := acquire(t, d)
		if err := deliver(t, conn, message(n), nil); err != nil {
			t.Fatal(err)
		}
		conn.Release()
		s.Drop()
	}
	if got := len(s.Received()); got != 5 {
		t.Errorf("%d messages received", got)
	}
}

func TestADropDirectoryGetsEachMessageOnceUnderItsOwnName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := dropPoint(t, "dir:"+dir)
	conn := acquire(t, d)
	for range 2 { // the second delivery replaces the file
		if err := deliver(t, conn, message(7), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Begin(t.Context(), message(8)); err != nil {
		t.Fatal(err)
	}
	visible, _ := filepath.Glob(filepath.Join(dir, "*.eml"))
	if len(visible) != 1 {
		t.Errorf("visible before the final step: %v", visible)
	}
	conn.Abort()
	got, err := os.ReadFile(filepath.Join(dir, "spring.00000007.eml"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "X-Sender: <news@example.com>\r\nX-Receiver: <r7@example.org>\r\n" +
		"Subject: x\r\n\r\nHello\r\n"; string(got) != want {
		t.Errorf("got %q", got)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestAFileNameCannotLeaveTheDirectory(t *testing.T) {
	t.Parallel()
	conn := acquire(t, dropPoint(t, "dir:"+t.TempDir()))
	for _, name := range []string{"", "../x", "a/b", ".", "..", ".hidden", "a\x00", `a\b`} {
		m := message(1)
		m.Name = name
		if err := conn.Begin(t.Context(), m); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
}

func TestADirectoryThatCannotBeUsedIsUnavailable(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Join(t.TempDir(), "missing"), file} {
		_, err := dropPoint(t, "dir:"+dir).Acquire(t.Context())
		if err == nil || droppoint.OutcomeOf(err) != droppoint.Unavailable {
			t.Errorf("got %v", err)
		}
	}
}

func TestADirectoryThatVanishesFailsBeforeTheFinalStep(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "drop")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	conn := acquire(t, dropPoint(t, "dir:"+dir))
	if err := conn.Begin(t.Context(), message(1)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Finish(nil); err == nil || droppoint.OutcomeOf(err) != droppoint.Unavailable {
		t.Errorf("finish: %v", err)
	}
	if err := conn.Begin(t.Context(), message(2)); err == nil || droppoint.OutcomeOf(err) != droppoint.Unavailable {
		t.Errorf("begin: %v", err)
	}
}

func TestACheckSaysWhetherADropPointIsUsable(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	if h := dropPoint(t, "smtp://"+s.Addr()).Check(t.Context()); h.Err != nil || h.Took <= 0 {
		t.Errorf("an SMTP server: %+v", h)
	}
	if h := dropPoint(t, "smtp://"+s.Addr()+"?tls=required").Check(t.Context()); h.Err == nil ||
		droppoint.OutcomeOf(h.Err) != droppoint.Refused {
		t.Errorf("a server without TLS: %+v", h)
	}
	if h := dropPoint(t, "dir:"+t.TempDir()).Check(t.Context()); h.Err != nil {
		t.Errorf("a directory: %+v", h)
	}
	s.Stop()
	if h := dropPoint(t, "smtp://"+s.Addr()).Check(t.Context()); h.Err == nil ||
		droppoint.OutcomeOf(h.Err) != droppoint.Unavailable {
		t.Errorf("a server that is gone: %+v", h)
	}
}

func TestAURLThatIsWrongIsNamedWithoutItsPassword(t *testing.T) {
	t.Parallel()
	for url, part := range map[string]string{
		"http://example.com": "smtp://",
		"smtp://":            "host",
		"smtp://user:s3cret@mx.example.com?tls=maybe":     "tls",
		"smtp://user:s3cret@mx.example.com?connections=0": "connections",
		"smtp://user:s3cret@mx.example.com?wait=1":        "unknown parameter: the parameters are auth, ca,",
		"smtp://user@mx.example.com":                      "password",
		"smtp://user:s3cret%@mx.example.com":              "read",
		"smtp://mx.example.com/path":                      "smtp://user",
		"smtp://mx.example.com?ca=/missing.pem":           "ca",
		"smtp://mx.example.com?next_behind_dot=perhaps":   "next_behind_dot",
		"smtp://mx.example.com?hello=a%0d%0ab":            "hello",
		"dir:":                                            "dir:/path",
		"dir:/tmp?messages=3":                             "the parameters are connections",
	} {
		_, err := droppoint.Parse("mx", url)
		if err == nil || !strings.Contains(err.Error(), part) || !strings.Contains(err.Error(), "drop point mx") ||
			strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: got %v, want something with %s", url, err, part)
		}
	}
	c, err := droppoint.Parse("mx", "smtps://user:s3cret@mx.example.com?connections=3")
	if err != nil || c.String() != "smtps://mx.example.com:465" || c.Connections != 3 {
		t.Errorf("%v, %v", c, err)
	}
	if _, err := droppoint.Parse("M X", "dir:/tmp"); err == nil {
		t.Error("a name with a blank was taken")
	}
}
