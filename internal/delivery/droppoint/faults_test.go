package droppoint_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/dev/smtptest"
)

func TestAServerThatEndsAConnectionAfterSomeMessagesIsNotUnavailable(t *testing.T) {
	t.Parallel()
	for _, behind := range []bool{false, true} {
		t.Run(fmt.Sprintf("next_behind_dot=%v", behind), func(t *testing.T) {
			t.Parallel()
			s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
				if e.Phase == "MAIL" && e.Message == 3 {
					return &smtptest.Action{Reply: "421 4.7.0 two messages are enough"}
				}
				return nil
			}})
			d := dropPoint(t, fmt.Sprintf("smtp://%s?next_behind_dot=%v", s.Addr(), behind))
			conn := acquire(t, d)
			defer conn.Release()
			messages := make([]*droppoint.Message, 7)
			for n := range messages {
				messages[n] = message(n)
			}
			for n, m := range messages {
				var next *droppoint.Message
				if conn.PipelinesNext() && n+1 < len(messages) {
					next = messages[n+1]
				}
				if err := deliver(t, conn, m, next); err != nil {
					t.Fatalf("message %d: %v", n, err)
				}
			}
			if got := s.Copies(); len(got) != 7 || len(s.Received()) != 7 || s.Connections() != 4 {
				t.Errorf("%v over %d connections", got, s.Connections())
			}
		})
	}
}

func TestAServerThatTakesNoMessageOnNewConnectionsIsUnavailable(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "MAIL" && e.Conn > 1 {
			return &smtptest.Action{Reply: "421 4.3.2 closing"}
		}
		return nil
	}})
	d := dropPoint(t, "smtp://"+s.Addr())
	conn := acquire(t, d)
	if err := deliver(t, conn, message(1), nil); err != nil {
		t.Fatal(err)
	}
	s.Drop()
	err := conn.Begin(t.Context(), message(2))
	if droppoint.OutcomeOf(err) != droppoint.Unavailable || err == nil {
		t.Errorf("got %v", err)
	}
	conn.Release()
	if got := s.Connections(); got != 2 {
		t.Errorf("%d connections, 2 expected", got)
	}
}

func TestNoMoreConnectionsAreOpenThanAllowedAndWaitingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	d := dropPoint(t, "smtp://"+s.Addr()+"?connections=3")
	conns := []droppoint.Conn{acquire(t, d), acquire(t, d), acquire(t, d)}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := d.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a fourth connection: %v", err)
	}
	var users sync.WaitGroup
	for n := range 20 {
		users.Go(func() {
			conn, err := d.Acquire(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Release()
			if err := deliver(t, conn, message(n), nil); err != nil {
				t.Error(err)
			}
		})
	}
	conns[0].Release()
	conns[1].Abort() // this frees a connection too
	conns[2].Release()
	users.Wait()
	if got := s.Connections(); len(s.Received()) != 20 || got > 5 {
		t.Errorf("%d messages over %d connections", len(s.Received()), got)
	}
}

func TestFailedConnectionsGiveTheirPlaceBack(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	addr := s.Addr()
	s.Stop()
	d := dropPoint(t, "smtp://"+addr+"?connections=1")
	for range 3 {
		if _, err := d.Acquire(t.Context()); err == nil || droppoint.OutcomeOf(err) != droppoint.Unavailable {
			t.Fatalf("got %v", err)
		}
	}
	s = smtptest.Start(t, smtptest.Options{Addr: addr})
	conn := acquire(t, d)
	defer conn.Release()
	if err := deliver(t, conn, message(1), nil); err != nil || len(s.Received()) != 1 {
		t.Errorf("after it is back: %v", err)
	}
}

func TestTwoWorkersThatWriteOneMessageBothMakeItVisibleWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old, young := acquire(t, dropPoint(t, "dir:"+dir)), acquire(t, dropPoint(t, "dir:"+dir))
	long, short := message(7), message(7)
	long.Data = []byte("Subject: x\r\n\r\n" + strings.Repeat("long\r\n", 10_000))
	if err := old.Begin(t.Context(), long); err != nil {
		t.Fatal(err)
	}
	if err := young.Begin(t.Context(), short); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		conn droppoint.Conn
		m    *droppoint.Message
	}{{old, long}, {young, short}} {
		if _, err := step.conn.Finish(nil); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, "spring.00000007.eml"))
		if err != nil || !strings.HasSuffix(string(got), string(step.m.Data)) {
			t.Errorf("%d octets are visible: %v", len(got), err)
		}
	}
	old.Release()
	young.Release()
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestWhatDeadWorkersLeftIsRemovedAndWhatLivingOnesWriteIsNot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := time.Now().Add(-2 * time.Hour)
	for name, when := range map[string]time.Time{".dm-1.part": old, ".dm-2.part": time.Now(), ".other": old,
		"a.eml": old, "b.part": old, ".dm-notes": old} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(dir, name), when, when); err != nil {
			t.Fatal(err)
		}
	}
	acquire(t, dropPoint(t, "dir:"+dir)).Release()
	var names []string
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != ".dm-2.part .dm-notes .other a.eml b.part" {
		t.Errorf("left: %s", got)
	}
}

func TestEnvelopeHeadersHoldNothingButAddresses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	conn := acquire(t, dropPoint(t, "dir:"+dir))
	for _, address := range []string{"a@example.org\r\nBcc: b@example.org", "a@example.org\n", "a\x00@example.org",
		"\xff@example.org"} {
		for _, m := range []*droppoint.Message{{From: address, To: "a@example.org", Name: "a"},
			{From: "a@example.org", To: address, Name: "a"}} {
			if err := conn.Begin(t.Context(), m); droppoint.OutcomeOf(err) != droppoint.Bounced {
				t.Errorf("%q: got %v", address, err)
			}
		}
	}
	if err := conn.Begin(t.Context(), &droppoint.Message{From: "a@example.org", Name: "a"}); err == nil ||
		droppoint.OutcomeOf(err) != droppoint.Bounced {
		t.Errorf("no recipient: got %v", err)
	}
	conn.Release()
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestErrorsOfADirectoryNameNoFile(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "drop")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	conn := acquire(t, dropPoint(t, "dir:"+dir))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	err := conn.Begin(t.Context(), message(1))
	if err == nil || strings.Contains(err.Error(), dir) || strings.Contains(err.Error(), "spring") {
		t.Errorf("got %v", err)
	}
	conn.Release()
}

func BenchmarkDirectory(b *testing.B) {
	c, err := droppoint.Parse("dir", "dir:"+b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	d, _ := droppoint.NewSet([]droppoint.Config{c}).Get("dir")
	data := []byte("Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("x", 76)+"\r\n", 24<<10/78))
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	b.SetParallelism(d.Connections() / 2)
	b.RunParallel(func(pb *testing.PB) {
		conn, err := d.Acquire(context.Background())
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Release()
		for n := 0; pb.Next(); n++ {
			m := &droppoint.Message{From: "a@example.com", To: "b@example.org",
				Name: fmt.Sprintf("m.%p.%d", conn, n%100), Data: data}
			if err := conn.Begin(context.Background(), m); err != nil {
				b.Error(err)
				return
			}
			if _, err := conn.Finish(nil); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}
