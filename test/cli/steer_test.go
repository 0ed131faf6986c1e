package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/dev/smtptest"
	"directmailer/test/rig"
)

func TestRateLimitsAreSetListedAndCleared(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.run("rate", "ls", "--output", "json").want(t, 0, "[]")
	s.run("rate", "set", "GMail.com", "20/s").want(t, 0, "domain gmail.com: 20/s, over all mailings and workers")
	s.run("rate", "set", "drop", "1,000", "per", "hour").want(t, 0, "drop point drop: 1000/h")
	s.run("rate", "set", "drop", "500/min").want(t, 0, "drop point drop: 500/min")
	s.run("rate", "set", "drpo", "1/s").want(t, 0,
		"warning: DM_DROP_POINTS of this shell has no drop point drpo (known: drop)")
	s.run("rate", "set", "bücher.example", "5/d").want(t, 0, "domain xn--bcher-kva.example: 5/d")
	var all []struct{ Kind, Name, Rate string }
	s.run("rate", "ls", "--output", "json").want(t, 0).decode(t, &all)
	if got := fmt.Sprint(all); got != "[{drop_point drop 500/min} {drop_point drpo 1/s} {domain gmail.com 20/s} "+
		"{domain xn--bcher-kva.example 5/d}]" {
		t.Errorf("limits: %v", got)
	}
	s.run("rate", "ls").want(t, 0, "drop point", "500/min")
	s.run("rate", "clear", "drpo").want(t, 0, "drop point drpo: no limit")
	s.run("rate", "clear", "drpo").wantError(t, 4, "drop point drpo has no rate limit")
	s.run("rate", "set", "gmail.com", "none").want(t, 0, "domain gmail.com: no limit")
	if out := s.must("__complete", "rate", "clear", ""); !strings.HasPrefix(out,
		"drop\t500/min\nxn--bcher-kva.example\t5/d\n:") {
		t.Errorf("what has a limit is completed by %q", out)
	}
	if out := s.must("__complete", "rate", "set", "d"); !strings.HasPrefix(out, "drop\t") {
		t.Errorf("a drop point is completed by %q", out)
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"set", "gmail.com"}, "the rate is missing"},
		{[]string{"set"}, "or a domain, is missing"},
		{[]string{"set", "gmail.com", "fast"}, "is not like 20/s"},
		{[]string{"set", "gmail.com", "0/s"}, "pause the mailing instead"},
		{[]string{"set", "a@example.com", "1/s"}, "is neither a domain nor the name of a drop point"},
		{[]string{"clear"}, "is missing"},
		{[]string{"clear", "--mailing", "x", "gmail.com"}, "unexpected argument"},
	} {
		s.run(append([]string{"rate"}, c.args...)...).wantError(t, 2, c.says)
	}
	s.run("rate", "set", "--mailing", newID(t), "1/s").wantError(t, 4, "no mailing is named")
}

func TestWithoutAWorkerNothingIsSteeredAndItIsSaid(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.writeLetter()
	id := newID(t)
	s.run("start", "-f", "letter.yaml", "--id", id).want(t, 3)
	s.run("start", "-f", "letter.yaml", "--id", id+"-2").want(t, 3)
	s.run("pause", id+"-2").wantError(t, 7, "no worker polls the task queue", "nothing was changed")
	s.run("cancel", id).want(t, 0, "warning: no worker polls the task queue",
		"the mailing ends as soon as a worker is there")
	s.worker()
	s.run("watch", id).wantError(t, 8, "was cancelled")
	s.run("watch", id+"-2").want(t, 0) // nobody has paused it
	for _, verb := range []string{"pause", "resume", "cancel"} {
		s.run(verb, id+"-x").wantError(t, 4, "no mailing is named")
	}
}

// startSlow starts a mailing that does not end by itself: it has three recipients, and a limit of
// one message a day.
func (s *shell) startSlow() (id string) {
	s.t.Helper()
	s.writeLetter()
	s.must("rate", "set", "drop", "1/d")
	s.worker()
	id = newID(s.t)
	s.run("start", "-f", "letter.yaml", "--id", id).want(s.t, 3)
	s.awaitMailing(id, "it is sending", func(m mailingStatus) bool { return m.State == "sending" })
	return id
}

func TestAPausedMailingIsHeldUntilItIsResumed(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	id := s.startSlow()
	s.run("resume", id).wantError(t, 4, "mailing "+id)
	s.run("pause", id).want(t, 0, "mailing "+id)
	v := s.awaitMailing(id, "it is paused, and nothing is in flight", func(m mailingStatus) bool {
		return m.State == "paused" && strings.Contains(m.Doing, "waits to be resumed")
	})
	if v.Since.IsZero() || time.Since(v.Since) > rig.Timeout || !v.Until.IsZero() {
		t.Errorf("paused since %v until %v", v.Since, v.Until)
	}
	if len(v.Rates) != 1 || fmt.Sprint(v.Rates[0]) != "{drop_point drop 1/d}" {
		t.Errorf("rates %v", v.Rates)
	}
	s.runShow(id).want(t, 0, "paused", "since", "1/d to drop point drop")
	s.run("ls").want(t, 0, "paused")
	s.run("pause", id).wantError(t, 4, "mailing "+id)
	s.must("rate", "clear", "drop")
	before := s.delivered()
	// The same worker sends another mailing meanwhile, from its start to its end.
	s.run("start", "-f", "letter.yaml", "--id", id+"-other", "--watch").want(t, 3, "3 of 3 recipients")
	if after := s.delivered() - 3; after != before {
		t.Errorf("%d messages were delivered while it was paused", after-before)
	}
	s.recheckLimits(id) // while it cannot end
	s.run("resume", id).want(t, 0, "mailing "+id)
	s.run("watch", id).want(t, 0, "3 of 3 recipients")
	if s.delivered() != 6 {
		t.Errorf("%d messages were delivered, want 3 of each mailing", s.delivered())
	}
	if v := s.status(id); !v.Since.IsZero() || len(v.Rates) > 0 {
		t.Errorf("an ended mailing has %v, %v", v.Since, v.Rates)
	}
}

// recheckLimits makes the mailing's batches ask at once whether a limit still delays them. They
// would do so after a minute. A new limit of the mailing's own, a high one, has the same effect. If
// the minute is just over, the mailing may have ended.
func (s *shell) recheckLimits(id string) {
	s.t.Helper()
	if a := s.run("rate", "set", "--mailing", id, "1000/s"); a.code != 0 && s.show(id).State != "completed" {
		a.want(s.t, 0)
	}
}

// delivered returns how many messages are in the drop directory.
func (s *shell) delivered() int {
	found, err := filepath.Glob(filepath.Join(s.dir, "mail", "*.eml"))
	if err != nil {
		s.t.Fatal(err)
	}
	return len(found)
}

func TestACancellationIsEffectiveInTheMiddleOfABatch(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	id := s.startSlow()
	s.run("cancel", id).want(t, 0, "is being cancelled")
	s.run("watch", id).wantError(t, 8, "was cancelled") // with 1/d, the rest of the batch takes two days
	if m := s.show(id); !m.Closed || m.Sent+m.Unsent != 3 || m.Unsent < 1 {
		t.Errorf("show: %+v", m)
	}
}

func TestAMailingsOwnLimitIsChangedWhileItRuns(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.writeLetter()
	s.write("letter.yaml", letter+"rates: {mailing: 1/h}\n")
	s.worker()
	id := newID(t)
	s.run("start", "-f", "letter.yaml", "--id", id).want(t, 3)
	v := s.awaitMailing(id, "its limit is in force", func(m mailingStatus) bool { return len(m.Rates) == 1 })
	if r := v.Rates[0]; r.Kind != "mailing" || r.Name != id || r.Rate != "1/h" {
		t.Errorf("%+v", r)
	}
	s.run("rate", "set", "--mailing", id, "2/h").want(t, 0, "mailing "+id)
	s.awaitMailing(id, "the limit is changed", func(m mailingStatus) bool { return m.Rates[0].Rate == "2/h" })
	s.run("rate", "clear", "--mailing", id).want(t, 0, "mailing "+id)
	s.run("watch", id).want(t, 0, "3 of 3 recipients")
	s.run("rate", "set", "--mailing", id, "1/s").wantError(t, 4, "has ended (completed)")
	s.run("rate", "ls", "--output", "json").want(t, 0, "[]")
}

// startCancelled returns a mailing that was cancelled before it sent anything. Its drop point works
// now.
func (s *shell) startCancelled(settings ...string) (id string) {
	s.t.Helper()
	id = s.startSuspended(settings...)
	s.run("cancel", id).want(s.t, 0)
	s.run("watch", id).want(s.t, 8)
	s.mkdir("late")
	return id
}

func TestACancelledMailingIsContinuedWithWhoeverWasLeftOut(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	id := s.startCancelled("rates: {domains: {example.org: 500/s}}\n")
	s.write("continued.yaml", strings.Replace(letter, "list:\n  name: people\n  file: people.csv\n",
		"continue: {mailing: "+id+"}\n", 1))
	s.run("preview", "-f", "continued.yaml").want(t, 0, "To: a@example.com", "you are on the plan gold")
	s.run("preview", "-f", "continued.yaml", "--recipient", "B@example.com").want(t, 0, "To: b@example.com")
	s.run("preview", "-f", "continued.yaml", "--recipient", "x@example.com").wantError(t, 4,
		"does not have this recipient among those that are unsent")
	s.run("optout", "add", "c@example.org").want(t, 0)
	s.run("start", "--continue", id, "--watch").want(t, 0, "3 recipients of mailing "+id+" (unsent 3)",
		"mailing "+id+"-2 is started", "3 of 3 recipients")
	v := s.status(id + "-2")
	if v.State != "completed" || v.Sent != 2 || v.OptedOut != 1 || v.Audience != "continue:"+id || v.List != "" {
		t.Errorf("show: %+v", v)
	}
	s.run("ls", "--output", "json").want(t, 0, `"continue:`+id+`"`)
	var kept string
	err := s.rig.Pool.QueryRow(t.Context(), `SELECT input->'rates'->'domains'->>'example.org' FROM mailings WHERE id = $1`,
		id+"-2").Scan(&kept)
	if err != nil || kept != "500/s" {
		t.Errorf("the continuation has the rate %q (%v)", kept, err)
	}
	message, err := os.ReadFile(filepath.Join(s.dir, "late", id+"-2.00000001.eml"))
	if err != nil || !strings.Contains(string(message), "X-Receiver: <a@example.com>") &&
		!strings.Contains(string(message), "a@example.com") {
		t.Errorf("%v: %s", err, message)
	}

	s.run("start", "--continue", id).wantError(t, 5, id+"-2 already continues the unsent recipients of "+id,
		"Nothing was started")
	s.run("start", "--continue", id+"-2").wantError(t, 4, "has no recipient that is unsent")
	s.run("start", "--continue", id, "--outcome", "failed,bounced").wantError(t, 4,
		"has no recipient that is bounced or failed")
	s.run("start", "--continue", id, "--outcome", "sent").wantError(t, 2,
		`"sent" is not one of unsent, failed, bounced, uncertain`)
	s.run("start", "--continue", id+"-9").wantError(t, 4, "no mailing is named")
	s.run("start", "-f", "letter.yaml", "--outcome", "failed").wantError(t, 2, "--outcome needs --continue")
	if out := s.must("__complete", "start", "--continue", id[:len(id)-1]); !strings.HasPrefix(out, id+"-2\t") ||
		!strings.Contains(out, "\n"+id+"\t") {
		t.Errorf("IDs are completed by %q", out)
	}
	if out := s.must("__complete", "show", id+"-"); !strings.HasPrefix(out, id+"-2\t") {
		t.Errorf("IDs are completed by %q", out)
	}

	// A corrected mailing goes to the same recipients, under another ID.
	s.write("letter.txt", "Corrected for {{.first_name}}, {{.gone}}\n")
	s.run("start", "--continue", id, "-f", "letter.yaml", "--id", id+"-corrected").wantError(t, 2, "letter.txt:1:",
		"no column of the list is named gone")
	s.write("letter.txt", "Corrected for {{.first_name}}\n")
	if err := os.Remove(filepath.Join(s.dir, "people.csv")); err != nil {
		t.Fatal(err)
	}
	s.run("start", "--continue", id, "-f", "letter.yaml", "--id", id+"-corrected", "--watch").want(t, 0,
		"mailing "+id+"-corrected is started")
	if message, err := os.ReadFile(filepath.Join(s.dir, "late", id+"-corrected.00000001.eml")); err != nil ||
		!strings.Contains(string(message), "Corrected for") {
		t.Errorf("%v: %s", err, message)
	}
}

func TestARunningMailingIsNotContinued(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	id := s.startSuspended()
	s.run("start", "--continue", id).wantError(t, 4, "mailing "+id+" has not ended")
}

// lostAnswerServer is an SMTP server that accepts one message to example.com and closes the
// connection without an answer. It treats all other messages as usual.
type lostAnswerServer struct {
	*smtptest.Server
	recipient atomic.Pointer[string] // of the message without an answer
}

func startLostAnswerServer(t *testing.T) *lostAnswerServer {
	l := &lostAnswerServer{}
	l.Server = smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "DOT" && strings.HasSuffix(e.To, "@example.com") && l.recipient.CompareAndSwap(nil, &e.To) {
			return &smtptest.Action{Die: true, Accept: true}
		}
		return nil
	}})
	return l
}

// copies returns how many messages the recipient whose answer was lost has received.
func (l *lostAnswerServer) copies() int { return l.Copies()[*l.recipient.Load()] }

// startUncertain returns a mailing that has ended with one uncertain recipient.
func (s *shell) startUncertain(server *lostAnswerServer) (id string) {
	s.t.Helper()
	s.writeLetter()
	s.write("letter.yaml", letter+"on_uncertain: hold\nretry:\n  drop_point: {attempts: 5, interval: 100ms}\n")
	s.env["DM_DROP_POINTS"] = "mx=smtp://" + server.Addr()
	s.worker()
	id = newID(s.t)
	s.run("start", "-f", "letter.yaml", "--id", id, "--watch").want(s.t, 10)
	if m := s.show(id); m.Uncertain != 1 || m.Sent != 2 {
		s.t.Fatalf("%+v", m)
	}
	return id
}

func TestWhoIsKnownToHaveGotItIsResolvedAsSent(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	id := s.startUncertain(startLostAnswerServer(t))
	s.run("resolve", id).wantError(t, 2, "--as is missing")
	s.run("resolve", id, "--as", "lost").wantError(t, 2, "is not sent or resend")
	s.with("TEMPORAL_ADDRESS", "127.0.0.1:1").run("resolve", id, "--as", "sent").want(t, 0,
		"mailing "+id+": 1 recipient now counted as sent")
	if m := s.show(id); m.Uncertain != 0 || m.Sent != 3 || !m.Closed {
		t.Errorf("%+v", m)
	}
	s.run("resolve", id, "--as", "sent").wantError(t, 4, "no uncertain recipient in its closed batches")
	s.run("report", id, "--outcome", "uncertain").want(t, 0)
}

func TestWhoMayHaveGotItIsSentToAgainOnlyIfSomebodySaysSo(t *testing.T) {
	t.Parallel()
	server := startLostAnswerServer(t)
	s := newShell(t)
	id := s.startUncertain(server)
	s.run("resolve", id, "--as", "resend").wantError(t, 2,
		"1 recipient of mailing "+id+" may have got the message already", "--yes", "Nothing was done")
	s.exec(`UPDATE mailings SET input = input || '{"ignore_opt_outs": ["all"], "legally_required": true}'`)
	s.run("resolve", id, "--as", "resend", "--yes").wantError(t, 2, "WARNING", "--ignore-all-opt-outs",
		"Nothing was started")
	s.exec(`UPDATE mailings SET input = input - 'ignore_opt_outs' - 'legally_required'`)
	s.run("resolve", id, "--as", "resend", "--yes").want(t, 0, "mailing "+id+"-2 is started")
	s.run("watch", id+"-2").want(t, 0, "1 of 1 recipient")
	if got := server.Received(); server.copies() != 2 || len(got) != 4 {
		t.Errorf("received %v", got)
	}
	s.run("resolve", id, "--as", "resend", "--yes").wantError(t, 5, "already continues the uncertain recipients of "+id)
}

func TestARunningMailingResolvesItsUncertainItself(t *testing.T) {
	t.Parallel()
	for _, as := range []string{"sent", "resend"} {
		t.Run(as, func(t *testing.T) {
			t.Parallel()
			server := startLostAnswerServer(t)
			s := newShell(t)
			s.writeLetter()
			s.write("letter.yaml", letter+"on_uncertain: hold\nbatch_size: 1\nretry:\n  drop_point: {attempts: "+
				"5, interval: 100ms}\n")
			s.env["DM_DROP_POINTS"] = "mx=smtp://" + server.Addr()
			s.must("rate", "set", "example.com", "1/d") // one of two goes, and the other has to wait
			s.worker()
			id := newID(t)
			s.run("start", "-f", "letter.yaml", "--id", id).want(t, 3)
			s.awaitMailing(id, "one is uncertain", func(m mailingStatus) bool { return m.Uncertain == 1 })
			s.run("resolve", id, "--as", as, "--yes").want(t, 0, "1 recipient")
			s.must("rate", "clear", "example.com")
			s.recheckLimits(id)
			s.run("watch", id).want(t, 0)
			want := map[string]int{"sent": 1, "resend": 2}[as]
			if m := s.show(id); m.Sent != 3 || m.Uncertain != 0 || server.copies() != want {
				t.Errorf("%+v, copies %v", m, server.Copies())
			}
		})
	}
}

// The test runs the lines of docs/api.md. Only the ID is another.
func TestTemporalsOwnCommandSteersAsTheDocumentationSays(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	id := s.startSlow()
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "api.md"))
	if err != nil {
		t.Fatal(err)
	}
	workflowID := regexp.MustCompile(`--workflow-id \S+`)
	done := 0
	for line := range strings.Lines(string(doc)) {
		rest, ok := strings.CutPrefix(line, "temporal workflow update execute ")
		if !ok {
			continue
		}
		args := []string{"workflow", "update", "execute", "--address", s.env["TEMPORAL_ADDRESS"]}
		rest = workflowID.ReplaceAllString(strings.ReplaceAll(strings.TrimSpace(rest), "'", ""), "--workflow-id "+id)
		flags, input, has := strings.Cut(rest, " --input ")
		args = append(args, strings.Fields(flags)...)
		if has {
			args = append(args, "--input", input)
		}
		out, err := exec.Command(servertest.TemporalCLI(t), args...).CombinedOutput()
		if refused := strings.Contains(line, "--name resolve"); (err != nil) != refused || refused &&
			!strings.Contains(string(out), "has no uncertain recipients") {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
		done++
	}
	if done < 6 {
		t.Errorf("%d examples of updates, want 6", done)
	}
	s.run("watch", id).wantError(t, 8, "was cancelled")
	var all []struct{ Kind, Name, Rate string }
	s.run("rate", "ls", "--output", "json").want(t, 0).decode(t, &all)
	if got := fmt.Sprint(all); got != "[{drop_point drop 1/d}]" { // that of the update ended with its mailing
		t.Errorf("limits: %s", got)
	}
}

func TestDeferredRecipientsAreShownWithTheirNextRound(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "RCPT" && e.To == "b@example.com" {
			return &smtptest.Action{Reply: "450 4.2.1 greylisted"}
		}
		return nil
	}})
	s := newShell(t)
	s.writeLetter()
	s.env["DM_DROP_POINTS"] = "mx=smtp://" + server.Addr()
	s.worker()
	id := newID(t)
	s.run("start", "-f", "letter.yaml", "--id", id).want(t, 3)
	s.awaitMailing(id, "one is deferred", func(m mailingStatus) bool { return m.Deferred == 1 })
	if next := s.status(id).NextRound; time.Until(next) < 20*time.Minute {
		t.Errorf("next round %v", next)
	}
	s.runShow(id).want(t, 0, "1 recipient refused for now, next round at ")
	s.run("cancel", id).want(t, 0)
	s.run("watch", id).want(t, 8)
}
