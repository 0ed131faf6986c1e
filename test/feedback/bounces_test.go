package feedback

import (
	"context"
	"fmt"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"directmailer/internal/dev/smtptest"
	"directmailer/internal/feedback"
	"directmailer/internal/feedback/token"
	"directmailer/internal/ledger"
	"directmailer/test/rig"
	"directmailer/workflows"
)

// The peers take all addresses from what they have received. The ledger stays as it is.
func TestWhatComesBackIsAnEventAndASecondMailingGoesToNobodyWhoMustNotGetIt(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, rig.MX(s))
	r.ImportList(12)
	address, public := rig.FreeAddress(t), rig.FreeAddress(t)
	w := r.StartWorker(append(environment(address), "DM_PUBLIC_ADDRESS="+public)...)
	result := r.Result(r.Start(rig.Mailing(5)))
	received := sentTo(s)
	senders := map[string]string{}
	for to, m := range received {
		local, at, _ := strings.Cut(m.From, "@")
		named, ok := feedback.ReadAddress(keys, m.From)
		if !ok || named.Kind != token.Bounce || at != domain || len(local) > 64 || m.From != strings.ToLower(m.From) ||
			senders[m.From] != "" {
			t.Errorf("the bounce address of %s is %s, which %q has, too", to, m.From, senders[m.From])
		}
		senders[m.From] = to
	}
	back := func(n int, text string) {
		t.Helper()
		m := received[rig.Address(n)]
		to := m.From
		if text == "" {
			named, _ := feedback.ReadAddress(keys, m.From)
			to, text = "u-"+keys.ForAddress(token.Unsubscribe, named.Recipient)+"@"+domain,
				"Subject: unsubscribe\r\n\r\n"
		}
		for range 2 { // each report comes twice
			if err := deliver(r, address, to, text); err != nil {
				t.Error(n, err)
			}
		}
	}
	back(1, dsn(received[rig.Address(1)], "5.1.1"))
	back(2, dsn(received[rig.Address(2)], "4.2.2"))
	back(3, arf(received[rig.Address(3)]))
	back(4, "")
	back(5, "Subject: away\r\nAuto-Submitted: auto-replied\r\n\r\nI am on holiday.\r\n")
	back(6, "Subject: hello\r\nFrom: r6@example.org\r\n\r\nWho are you?\r\n")
	back(8, dsn(received[rig.Address(8)], "4.2.2"))
	for n, form := range map[int]string{7: oneClick, 8: "scope=all"} {
		named, _ := feedback.ReadAddress(keys, received[rig.Address(n)].From)
		for range 2 {
			leave(r, public, named.Recipient, form)
		}
	}
	for _, stranger := range []string{"postmaster@" + domain, "b-" + strings.Repeat("a", 34) + "@" + domain} {
		if err := deliver(r, address, stranger, "x"); err == nil || !strings.Contains(err.Error(), "550") {
			t.Errorf("mail to a stranger: %v", err)
		}
	}
	id := r.ID() + ": "
	if got, want := texts(r, allEvents), []string{
		id + rig.Address(1) + " hard inbound", id + rig.Address(2) + " soft inbound", id + rig.Address(3) +
			" complaint inbound",
		id + rig.Address(4) + " unsubscribe inbound", id + rig.Address(5) + " automatic inbound",
		id + rig.Address(7) + " unsubscribe web", id + rig.Address(8) + " soft inbound",
		id + rig.Address(8) + " unsubscribe web",
	}; !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
	if got := texts(r, `SELECT convert_from(content, 'UTF8') FROM unread_reports`); len(got) != 1 ||
		!strings.Contains(got[0], "Who are you?") {
		t.Errorf("kept for a person: %q", got)
	}
	for a, l := range r.Report() {
		if l.Outcome != ledger.Sent {
			t.Errorf("%s is %s in the ledger", a, l.Outcome)
		}
		if a == rig.Address(1) && l.Events != "hard" {
			t.Errorf("the report names the events %q of the first recipient", l.Events)
		}
	}
	if result.Counts.Sent != 12 {
		t.Errorf("the result is %+v", result)
	}
	wantReportOfEvents(r, received, [][]string{
		{rig.Address(1), "bounce", "hard", "5.1.1", "550 5.1.1 no such user", "inbound"},
		{rig.Address(2), "bounce", "soft", "4.2.2", "550 4.2.2 no such user", "inbound"},
		{rig.Address(3), "complaint", "complaint", "", "", "inbound"},
		{rig.Address(4), "unsubscribe", "unsubscribe", "", "", "inbound"},
		{rig.Address(5), "notice", "automatic", "", "", "inbound"},
		{rig.Address(7), "unsubscribe", "unsubscribe", "", "", "web"},
		{rig.Address(8), "bounce", "soft", "4.2.2", "550 4.2.2 no such user", "inbound"},
		{rig.Address(8), "unsubscribe", "unsubscribe", "", "", "web"},
	})
	second := r.Another("second")
	run := second.Start(rig.Mailing(5))
	if again := second.Result(run); again.Counts.OptedOut != 5 || again.Counts.Sent != 7 {
		t.Errorf("the second mailing: %+v", again)
	}
	for a, copies := range s.Copies() {
		want := 2
		if slices.Contains([]string{rig.Address(1), rig.Address(3), rig.Address(4), rig.Address(7), rig.Address(8)}, a) {
			want = 1
		}
		if copies != want {
			t.Errorf("%s has %d messages, want %d", a, copies, want)
		}
	}
	pieces := []string{secret, domain}
	for sender := range senders {
		local, _, _ := strings.Cut(sender, "@")
		pieces = append(pieces, local)
	}
	for _, piece := range pieces {
		if strings.Contains(w.Log(), piece) {
			t.Errorf("%q is in the worker's log", piece)
		}
	}
}

func TestAMailingMaySayItsOwnBounceAddress(t *testing.T) {
	t.Parallel()
	for name, c := range map[string][2]string{
		"shared": {"news@example.com", ""}, "pattern": {"bounces+*@EXAMPLE.com", "bounces+"}, "default": {"", "b-"},
	} {
		sender, want := c[0], c[1]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := smtptest.Start(t, smtptest.Options{})
			r := rig.New(t, rig.MX(s))
			r.ImportList(3)
			r.StartWorker("DM_TOKEN_KEYS="+secret, "DM_BOUNCE_DOMAIN="+domain)
			in := rig.Mailing(5)
			in.EnvelopeSender = sender
			r.Result(r.Start(in))
			for to, m := range sentTo(s) {
				_, ok := feedback.ReadAddress(keys, m.From)
				switch {
				case want == "" && m.From != sender, want != "" && !ok, !strings.HasPrefix(m.From, want),
					want == "bounces+" && !strings.HasSuffix(m.From, "@example.com"):
					t.Errorf("the bounce address of %s is %s", to, m.From)
				}
			}
		})
	}
}

func TestABounceAddressForEachRecipientNeedsTokenKeys(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, rig.MX(s))
	r.ImportList(3)
	r.StartWorker("DM_TOKEN_KEYS=", "DM_PUBLIC_URL=")
	in := rig.Mailing(5)
	in.Unsubscribe = workflows.UnsubscribeNone
	in.EnvelopeSender = "bounces+*@example.com"
	err, _ := r.Failure(r.Start(in))
	if text := err.Error(); !strings.Contains(text, "envelope_sender: has a *") || !strings.Contains(text,
		"DM_TOKEN_KEYS") {
		t.Errorf("the mailing fails with %s", text)
	}
	if len(s.Received()) > 0 {
		t.Error("somebody has got a message")
	}
}

// A message is rendered again after its spool was damaged, by a worker with other settings.
func TestARecipientKeepsTheBounceAddress(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	stall := smtptest.NewStall("DOT", 0)
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if broken.Load() {
			return nil
		}
		return stall.Script(e)
	}})
	r := rig.New(t, "mx=smtp://"+s.Addr()+"?connections=1")
	r.ImportList(4)
	w := r.StartWorker("DM_TOKEN_KEYS="+secret, "DM_BOUNCE_DOMAIN="+domain)
	run := r.Start(rig.Mailing(4))
	r.Eventually("a message is on its way", func() bool {
		return slices.ContainsFunc(s.Commands(), func(c string) bool { return strings.HasPrefix(c, "MAIL") })
	})
	r.Kill(w)
	broken.Store(true)
	stall.ReleaseAll()
	if _, err := r.Pool.Exec(t.Context(), `UPDATE spool SET messages = 'damaged'`); err != nil {
		t.Fatal(err)
	}
	r.StartWorker("DM_TOKEN_KEYS="+strings.Repeat("another-key-", 3)+" "+secret, "DM_BOUNCE_DOMAIN=other.example.com")
	r.Result(run)
	from := map[string]map[string]bool{}
	for _, m := range s.Received() {
		if from[m.To] == nil {
			from[m.To] = map[string]bool{}
		}
		from[m.To][m.From] = true
	}
	for to, all := range from {
		if len(all) != 1 {
			t.Errorf("%s has the bounce addresses %v", to, all)
		}
		for f := range all {
			if _, ok := feedback.ReadAddress(keys, f); !ok || !strings.HasSuffix(f, "@"+domain) {
				t.Errorf("%s has the bounce address %s", to, f)
			}
		}
	}
}

// The peer has no answer in either case, and comes again.
func TestAWorkerThatDiesAroundTheCommitOfAReportMakesOneEvent(t *testing.T) {
	t.Parallel()
	locks := locksOn("suppressions")
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, rig.MX(s))
	r.ImportList(2)
	address := rig.FreeAddress(t)
	w := r.StartWorker(environment(address)...)
	r.Result(r.Start(rig.Mailing(5)))
	received := sentTo(s)
	for i, before := range []bool{true, false} {
		n := i + 1
		m := received[rig.Address(n)]
		tx, err := r.Pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// Otherwise the pool never closes after a failure.
		t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
		if before { // the worker waits right before its commit
			if _, err := tx.Exec(t.Context(), `LOCK TABLE suppressions IN SHARE MODE`); err != nil {
				t.Fatal(err)
			}
		}
		answered := make(chan error, 1)
		go func() { answered <- deliverWithoutAnswer(address, m) }()
		if before {
			r.Eventually("the worker waits for the table", func() bool {
				return len(texts(r, locks+` AND NOT granted`)) > 0
			})
		} else {
			r.Eventually("the event is committed", func() bool { return len(texts(r, allEvents)) == 2 })
		}
		r.Kill(w)
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-answered; err != nil {
			t.Error(err)
		}
		if before {
			r.Eventually("the transaction of the dead worker is gone", func() bool {
				return len(texts(r, locks)) == 0
			})
			if got := texts(r, allEvents); len(got) != 0 {
				t.Errorf("before the commit there are the events %q", got)
			}
		}
		w = r.StartWorker(environment(address)...)
		if err := deliver(r, address, m.From, dsn(m, "5.1.1")); err != nil {
			t.Error(err)
		}
	}
	id := r.ID() + ": "
	if got, want := texts(r, allEvents), []string{id + rig.Address(1) + " hard inbound", id + rig.Address(2) +
		" hard inbound"}; !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

// deliverWithoutAnswer sends a report, and waits until the peer is dead or has answered. It reads
// each reply whole: a connection that is closed with a part of a reply unread is reset, and the
// peer loses the report.
func deliverWithoutAnswer(address string, m smtptest.Message) error {
	conn, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(rig.Timeout))
	peer := textproto.NewConn(conn)
	for _, step := range []struct {
		command string
		code    int
	}{{"", 220}, {"EHLO peer\r\n", 250}, {"MAIL FROM:<>\r\n", 250}, {"RCPT TO:<" + m.From + ">\r\n", 250},
		{"DATA\r\n", 354}} {
		if _, err := conn.Write([]byte(step.command)); err != nil {
			return err
		}
		if _, _, err := peer.ReadResponse(step.code); err != nil {
			return err
		}
	}
	if _, err := conn.Write([]byte(dsn(m, "5.1.1") + ".\r\n")); err != nil {
		return err
	}
	_, _, _ = peer.ReadResponse(250)
	return nil
}

func TestWhileTheDatabaseIsAwayThePeerKeepsTheReport(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, rig.MX(s))
	r.ImportList(1)
	address := rig.FreeAddress(t)
	r.StartWorker(environment(address)...)
	r.Result(r.Start(rig.Mailing(5)))
	m := sentTo(s)[rig.Address(1)]
	rename := func(from, to string) {
		t.Helper()
		if _, err := r.Pool.Exec(t.Context(), "ALTER TABLE "+from+" RENAME TO "+to); err != nil {
			t.Fatal(err)
		}
	}
	rename("events", "events_away")
	if err := deliverOnce(address, m.From, dsn(m, "5.1.1")); err == nil || !strings.Contains(err.Error(), "451") {
		t.Errorf("the peer is told %v", err)
	}
	rename("events_away", "events")
	if err := deliver(r, address, m.From, dsn(m, "5.1.1")); err != nil {
		t.Error(err)
	}
	if got := texts(r, allEvents); len(got) != 1 {
		t.Errorf("events %q", got)
	}
}

// The server accepts everything, and reports later that nobody is there.
func TestBouncesThatComeBackSuspendARunningMailing(t *testing.T) {
	t.Parallel()
	const members = 400
	var r *rig.Rig
	address := rig.FreeAddress(t)
	var bounced atomic.Int64
	s := smtptest.Start(t, smtptest.Options{Accepted: func(m smtptest.Message) {
		if n := bounced.Add(1); n <= 60 {
			if err := deliver(r, address, m.From, dsn(m, "5.1.1")); err != nil {
				t.Error(err)
			}
		}
	}})
	r = rig.New(t, "mx=smtp://"+s.Addr()+"?connections=1")
	r.ImportList(members)
	r.StartWorker(environment(address)...)
	in := rig.Mailing(20)
	in.MaxErrorPercent, in.ErrorMinimum = 20, 60
	run := r.Start(in)
	r.AwaitStatus("it is suspended", func(s workflows.Status) bool { return s.State == workflows.StateSuspended })
	status, err := r.Status()
	if err != nil || !strings.Contains(status.Doing, "bounced later") {
		t.Errorf("it is suspended with %+v, %v", status, err)
	}
	r.MustUpdate(workflows.ResumeUpdate)
	result := r.Result(run)
	if result.Counts.Sent != members || result.Counts.Bounced != 0 {
		t.Errorf("the ledger: %+v", result.Counts)
	}
	var hard int
	if err := r.Pool.QueryRow(t.Context(), `SELECT hard FROM event_counts`).Scan(&hard); err != nil || hard != 60 {
		t.Errorf("%d recipients have bounced later, %v", hard, err)
	}
	if got := texts(r, `SELECT address_key FROM suppressions`); len(got) > 0 {
		t.Errorf("%d addresses are suppressed although more than one in twenty has bounced", len(got))
	}
	r.SaveHistory(run.GetID(), run.GetRunID(), "bounced-later")
}

func TestAWorkerWhoseAddressIsTakenStopsWithOneLine(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := rig.New(t, "mx=smtp://127.0.0.1:1")
	w := r.StartWorker(environment(taken.Addr().String())...)
	rig.Await(t, "the worker has ended by itself", w.Exited)
	want := fmt.Sprintf("worker: receive mail at %s (DM_INBOUND_ADDRESS): address already in use\n", taken.Addr())
	if w.Log() != want || w.Cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("it says %q and ends with %d, want %q", w.Log(), w.Cmd.ProcessState.ExitCode(), want)
	}
}
