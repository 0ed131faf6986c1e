package cli

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"

	"directmailer/internal/dev/smtptest"
	"directmailer/test/rig"
)

// testAnswer is what `starter test --output json` says.
type testAnswer struct {
	Test, State string
	Messages    []struct {
		To, As, Outcome, Reply string
		Code                   int
		DropPoint              string `json:"drop_point"`
	}
}

// dropped returns the messages in the drop directory, by the address in To and the subject.
func (s *shell) dropped() (messages map[string]string) {
	s.t.Helper()
	messages = map[string]string{}
	paths, err := filepath.Glob(filepath.Join(s.dir, "mail", "*.eml"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			s.t.Fatal(err)
		}
		header, _, _ := strings.Cut(string(data), "\r\n\r\n")
		key := ""
		for line := range strings.SplitSeq(header, "\r\n") {
			if strings.HasPrefix(line, "To: ") || strings.HasPrefix(line, "Subject: ") {
				key += line + "; "
			}
		}
		messages[key] = string(data)
	}
	return messages
}

// history returns all events of the workflow as text.
func (s *shell) history(id string) string {
	s.t.Helper()
	var all strings.Builder
	events := s.rig.Temporal.GetWorkflowHistory(s.t.Context(), id, "", false,
		enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			s.t.Fatal(err)
		}
		all.WriteString(event.String())
	}
	return all.String()
}

func TestATestGoesToItsAddressesAndToNobodyElse(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.writeLetter()
	s.write("letter.yaml", letter+"to_name: '{{.first_name}}'\nrates: {mailing: 1/h, drop_points: {drop: 1000/s}}\n"+
		"not_before: 2050-01-01T00:00:00Z\nheaders: {X-Mail: '{{.email}}'}\n")
	s.worker()
	var answer testAnswer
	s.run("test", "-f", "letter.yaml", "--to", "me@example.net,you@example.net", "--to", "ME@example.net",
		"--as", "b@example.com", "--as", "4", "--output", "json").want(t, 0).decode(t, &answer)
	var got []string
	for _, m := range answer.Messages {
		got = append(got, strings.Join([]string{m.To, m.As, m.Outcome, m.DropPoint}, " "))
	}
	want := []string{
		"me@example.net b@example.com sent drop", "you@example.net b@example.com sent drop",
		"me@example.net 4 sent drop", "you@example.net 4 sent drop",
	}
	if !slices.Equal(got, want) || answer.State != "completed" {
		t.Errorf("got %q, state %s", got, answer.State)
	}
	messages := s.dropped()
	if len(messages) != 4 {
		t.Errorf("%d messages", len(messages))
	}
	bobs := messages[`To: "O'Neill, B." <me@example.net>; Subject: [Test] News for O'Neill, B.; `]
	if !strings.Contains(bobs, "Hello O'Neill, B.,") || !strings.Contains(bobs, "\r\nX-Mail: b@example.com\r\n") ||
		!strings.Contains(bobs, "\r\nList-Id: <people.example.com>\r\n") {
		t.Errorf("there are %q: %s", messages, bobs)
	}
	if history := s.history(answer.Test); strings.Contains(history, "me@example") || strings.Contains(history, "小明") ||
		!strings.Contains(history, "MailingTest") || strings.Count(history, "priority_key:1") < 5 {
		t.Errorf("Temporal has: %s", history)
	}
	if out := s.must("ls", "--output", "json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("ls: %s", out)
	}
	s.run("ls", "--tests").want(t, 0, answer.Test)
	for _, kept := range []string{s.must("list", "ls", "--output", "json"), s.must("rate", "ls", "--output", "json")} {
		if strings.TrimSpace(kept) != "[]" {
			t.Errorf("the test has left %s", kept)
		}
	}
	s.wantNoStoredTest()
	s.run("report", answer.Test).want(t, 0, "me@example.net,sent")
	s.run("start", "--continue", answer.Test).wantError(t, 4, "is a test")
}

// wantNoStoredTest checks that no recipient of a test is stored.
func (s *shell) wantNoStoredTest() {
	s.t.Helper()
	var stored int
	err := s.rig.Pool.QueryRow(s.t.Context(), `SELECT count(*) FROM test_recipients`).Scan(&stored)
	if err != nil || stored > 0 {
		s.t.Errorf("%d recipients of tests are left (%v)", stored, err)
	}
}

func TestATestSaysWhatTheServerAnsweredAndSuppressesNobody(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	server := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		switch {
		case e.Phase == "RCPT" && strings.HasPrefix(e.To, "gone@"):
			return &smtptest.Action{Reply: "550 5.1.1 no such mailbox"}
		case e.Phase == "RCPT" && strings.HasPrefix(e.To, "later@"):
			return &smtptest.Action{Reply: "450 4.2.1 come again tomorrow"}
		}
		return nil
	}})
	s.env["DM_DROP_POINTS"] = "mx=smtp://" + server.Addr()
	s.writeLetter()
	s.must("optout", "add", "not@example.net")
	s.worker()
	s.run("test", "-f", "letter.yaml", "--to", "me@example.net,gone@example.net,not@example.net,later@example.net").
		want(t, 10, "accepted", "mx", "bounced", "550 5.1.1 no such mailbox", "the address has opted out", "450 4.2.1",
			"3 messages of the test not accepted")
	s.run("test", "-f", "letter.yaml", "--to", "not@example.net").
		want(t, 9, "the address has opted out", "no message of the test was accepted")
	if received := server.Received(); len(received) != 1 || received[0].To != "me@example.net" {
		t.Errorf("received %v", received)
	}
	var suppressed int
	err := s.rig.Pool.QueryRow(t.Context(), `SELECT count(*) FROM suppressions`).Scan(&suppressed)
	if err != nil || suppressed > 0 {
		t.Errorf("the test has suppressed %d addresses (%v)", suppressed, err)
	}
}

func TestATestThatCannotBeSentIsRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.writeLetter()
	var many string
	for _, n := range strings.Fields("a b c d e f g h i j k") {
		many += "," + n + "@example.net"
	}
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{}, 2, "--to is missing"},
		{[]string{"--to", "me"}, 2, "--to: the address has no @"},
		{[]string{"--to", many[1:]}, 2, "--to names 11 addresses: name up to 10"},
		{[]string{"--to", "me@example.net", "--as", strings.Repeat("1,", 10) + "1"}, 2, "--as names 11 recipients"},
		{[]string{"--to", "me@example.net", "--as", "nobody@example.com"}, 4, "no usable row"},
		{[]string{"--to", "me@example.net", "--as", "0"}, 2, "--as: 0 is no number"},
		{[]string{"--to", "me@example.net", "--as", "17"}, 4, "there is no recipient 17: the mailing has 4 recipients"},
	} {
		s.run(append([]string{"test", "-f", "letter.yaml"}, test.args...)...).wantError(t, test.code, test.want)
	}
	if out := s.must("ls", "--tests", "--output", "json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("a test was started: %s", out)
	}
	s.worker()
	s.write("letter.yaml", letter+"drop_points: [nowhere]\n")
	s.run("test", "-f", "letter.yaml", "--to", "me@example.net").wantError(t, 8, `no drop point is named "nowhere"`)
	if messages := s.dropped(); len(messages) > 0 {
		t.Errorf("messages went out: %q", messages)
	}
	s.wantNoStoredTest()
}

// The starter dies while no worker is there. The test goes on with the first worker, to its address
// only.
func TestATestGoesOnWithoutItsStarter(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.writeLetter()
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	cmd := s.command(ctx, "test", "-f", "letter.yaml", "--to", "me@example.net")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var tests []mailing
	eventually(t, "Temporal has the test", func() bool {
		tests = nil
		s.run("ls", "--tests", "--output", "json").want(t, 0).decode(t, &tests)
		return len(tests) == 1
	})
	kill()
	_ = cmd.Wait()
	s.worker()
	s.run("watch", tests[0].ID).want(t, 0)
	if messages := s.dropped(); len(messages) != 1 ||
		messages["To: me@example.net; Subject: [Test] News for =?utf-8?q?=C3=85sa?=; "] == "" &&
			messages["To: me@example.net; Subject: =?utf-8?q?=5BTest=5D_News_for_=C3=85sa?=; "] == "" {
		t.Errorf("got %q", messages)
	}
}

// The worker dies while the server has not answered the final dot. Another one must not send the
// message again.
func TestATestWhoseWorkerDiesAtTheDotIsNotSentTwice(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	server, stall := rig.StalledServer(t, 0)
	s.env["DM_DROP_POINTS"] = "mx=smtp://" + server.Addr()
	s.writeLetter()
	first := s.rig.StartWorker(s.environ()...)
	died := make(chan struct{})
	go func() {
		defer close(died)
		for stall.Waiting() == 0 && t.Context().Err() == nil {
			time.Sleep(20 * time.Millisecond)
		}
		first.Kill()
		<-first.Exited
		stall.ReleaseAll()
		s.worker()
	}()
	var answer testAnswer
	s.run("test", "-f", "letter.yaml", "--to", "me@example.net", "--output", "json").want(t, 9).decode(t, &answer)
	<-died
	if len(answer.Messages) != 1 || answer.Messages[0].Outcome != "uncertain" || len(server.Received()) > 1 {
		t.Errorf("got %+v; the server has %v", answer, server.Received())
	}
}
