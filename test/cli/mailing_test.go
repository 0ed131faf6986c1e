package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"directmailer/internal/dev/servertest"
	"directmailer/test/rig"
)

// mailing is what `show` and `ls` say of a mailing and of its recipients.
type mailing struct {
	ID, State, Reason, Doing                         string
	Recipients, Sent, Unsent, Open, Members, Batches int
	OptedOut                                         int `json:"opted_out"`
	Closed                                           bool
	Failed, Bounced, Uncertain, Duplicates           int
	DropPoints                                       []struct{ Name string } `json:"drop_points"`
}

// mailingStatus is all that `show --output json` says.
type mailingStatus struct {
	mailing
	Since, Until   time.Time
	NextRound      time.Time `json:"next_round"`
	Audience, List string
	Deferred       int
	Rates          []struct{ Kind, Name, Rate string }
	Waiting        []struct { // activities that are tried again
		Activity, What, Failure string
		Count, Attempt, Of      int
		NextAttempt             time.Time `json:"next_attempt"`
		Running                 bool
	}
}

func (s *shell) status(id string) (m mailingStatus) {
	s.t.Helper()
	s.runShow(id, "--output", "json").want(s.t, 0).decode(s.t, &m)
	return m
}

func (s *shell) show(id string) mailing {
	s.t.Helper()
	var m mailing
	s.runShow(id, "--output", "json").want(s.t, 0).decode(s.t, &m)
	return m
}

func TestAMailingGoesFromTheFileToTheDropDirectoryAndTheReport(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.writeLetter()
	s.run("optout", "add", "c@example.org").want(t, 0)
	s.worker()
	id := newID(t)

	a := s.run("start", "-f", "letter.yaml", "--id", id, "--watch").wantError(t, 3,
		"people.csv:5: the address has no @", "list people: 4 members, 1 of which repeat an address; 1 row rejected")
	for _, text := range []string{"mailing " + id + " is started", "completed 100%, 3 of 3 recipients",
		"│ sent           │          2 │", "│ opted out      │          1 │"} {
		if !strings.Contains(a.out, text) {
			t.Errorf("%q is not in\n%s", text, a.out)
		}
	}

	m := s.show(id)
	want := mailing{ID: id, State: "completed", Recipients: 3, Sent: 2, OptedOut: 1, Closed: true, Members: 4,
		Duplicates: 1, Batches: 1, DropPoints: m.DropPoints}
	if fmt.Sprint(m) != fmt.Sprint(want) || len(m.DropPoints) != 1 || m.DropPoints[0].Name != "drop" {
		t.Errorf("show: %+v, want %+v", m, want)
	}
	s.runShow(id).want(t, 0, "bounces go to", "example.com")
	var all []mailing
	s.run("ls", "--output", "json").want(t, 0).decode(t, &all)
	if len(all) != 1 || all[0].ID != id || all[0].Sent != 2 {
		t.Errorf("ls: %+v", all)
	}
	var last mailing
	s.run("watch", id, "--output", "json").want(t, 0).decode(t, &last)
	if last.State != "completed" || !last.Closed {
		t.Errorf("watch of an ended mailing: %+v", last)
	}
	s.checkReport(id)
	s.checkPreview(id)
	s.checkSecondStart(id)
	s.run("cancel", id).wantError(t, 4, "has ended (completed)")
	s.run("resume", id).wantError(t, 4, "has ended (completed)")

	// The database answers for ever, with Temporal or without.
	alone := s.with("TEMPORAL_ADDRESS", "127.0.0.1:1")
	if got := alone.show(id); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("show without Temporal: %+v", got)
	}
	alone.run("report", id).want(t, 0, "a@example.com,sent,1,false,drop")
	alone.run("watch", id).want(t, 0)
}

func (s *shell) checkReport(id string) {
	s.t.Helper()
	rows, err := csv.NewReader(strings.NewReader(s.must("report", id))).ReadAll()
	if err != nil {
		s.t.Fatal(err)
	}
	var got []string
	for _, row := range rows {
		got = append(got, strings.Join(row[:5], " "))
	}
	want := []string{"address outcome attempts possibly_twice drop_point", "a@example.com sent 1 false drop",
		"b@example.com sent 1 false drop", "c@example.org opted_out 0 false "}
	if !slices.Equal(got, want) {
		s.t.Errorf("report: %q, want %q", got, want)
	}
	var lines []struct {
		Address, Outcome string
		PossiblyTwice    *bool `json:"possibly_twice"`
	}
	s.run("report", id, "--output", "json", "--outcome", "opted_out,bounced").want(s.t, 0).decode(s.t, &lines)
	if len(lines) != 1 || lines[0].Address != "c@example.org" || lines[0].Outcome != "opted_out" ||
		lines[0].PossiblyTwice == nil {
		s.t.Errorf("report of the opted out: %+v", lines)
	}
	s.run("report", id, "--output-file", "who.csv").want(s.t, 0)
	data, err := os.ReadFile(filepath.Join(s.dir, "who.csv"))
	if err != nil || strings.Count(string(data), "\n") != 4 {
		s.t.Errorf("the file: %v %q", err, data)
	}
	s.run("report", id, "--output-file", "nowhere/who.csv").wantError(s.t, 2, "no such file")
	if leftover, _ := filepath.Glob(filepath.Join(s.dir, "*.tmp")); len(leftover) > 0 {
		s.t.Errorf("left behind: %v", leftover)
	}
}

// checkPreview compares the preview with the delivered message. Only the lines of the envelope,
// Date and Message-ID may differ.
func (s *shell) checkPreview(id string) {
	s.t.Helper()
	delivered, err := os.ReadFile(filepath.Join(s.dir, "mail", id+".00000002.eml"))
	if err != nil {
		s.t.Fatal(err)
	}
	first := s.must("preview", "-f", "letter.yaml")
	if !strings.Contains(first, "To: a@example.com\r\n") {
		s.t.Errorf("without --recipient it is not the first: %s", first)
	}
	preview := s.runWithInput("B@example.com\n", "preview", "-f", "letter.yaml", "--recipient", "-").want(s.t, 0).out
	if got, want := comparable(s.t, preview), comparable(s.t, string(delivered)); got != want ||
		!strings.Contains(got, "O'Neill, B.") {
		s.t.Errorf("the preview is\n%s\n\nbut this was delivered\n%s", got, want)
	}
	path := strings.TrimSpace(s.must("preview", "-f", "letter.yaml", "--recipient", "b@example.com", "--output-dir",
		"previews"))
	written, err := os.ReadFile(filepath.Join(s.dir, path))
	if err != nil || comparable(s.t, string(written)) != comparable(s.t, preview) {
		s.t.Errorf("%s: %v\n%s", path, err, written)
	}
	s.run("preview", "-f", "letter.yaml", "--recipient", "x@example.com").wantError(s.t, 4, "no usable row")
	s.run("preview", "-f", "letter.yaml", "--recipient", "nobody").wantError(s.t, 2,
		"--recipient: the address has no @")
}

// comparable returns the message without the header fields that differ from mailing to mailing, and
// with one name for the boundary.
func comparable(t *testing.T, message string) string {
	t.Helper()
	var b strings.Builder
	boundary := ""
	for lines := bufio.NewScanner(strings.NewReader(message)); lines.Scan(); {
		line := lines.Text()
		if _, after, ok := strings.Cut(line, `boundary="`); ok && boundary == "" {
			boundary = strings.TrimSuffix(after, `"`)
		}
		switch name, _, _ := strings.Cut(line, ":"); name {
		case "X-Sender", "X-Receiver", "Date", "Message-ID", "Feedback-ID", "List-Unsubscribe":
			continue
		}
		b.WriteString(line + "\n")
	}
	if boundary == "" {
		t.Fatalf("no boundary in %s", message)
	}
	return strings.ReplaceAll(b.String(), boundary, "BOUNDARY")
}

// checkSecondStart starts a mailing of the same ID again, with another list. The start must be
// refused, and the list must be as it was.
func (s *shell) checkSecondStart(id string) {
	s.t.Helper()
	s.write("people.csv", "email,first_name,plan\nother@example.com,Other,gold\n")
	s.run("start", "-f", "letter.yaml", "--id", id).wantError(s.t, 5, "exists already", "another ID with --id")
	var l struct{ Members int }
	s.run("list", "show", "people", "--output", "json").want(s.t, 0).decode(s.t, &l)
	if l.Members != 4 {
		s.t.Errorf("the refused start has imported its list: %d members", l.Members)
	}
	s.writeLetter()
}

func TestAMailingThatNoWorkerTakesUpSaysSoAndIsRefusedASecondTime(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.writeLetter()
	id := newID(t)
	s.run("start", "-f", "letter.yaml", "--id", id).want(t, 3, "warning: no worker polls", "starter watch "+id)
	s.run("start", "-f", "letter.yaml", "--id", id).wantError(t, 5, "exists already")
	m := s.show(id)
	if m.State != "started" || !strings.Contains(m.Doing, "none polls the task queue") {
		t.Errorf("show: %+v", m)
	}
	eventually(t, "ls shows it", func() bool { return strings.Contains(s.must("ls", "--output", "json"), id) })
	denied := s.with("TEMPORAL_ADDRESS", servertest.DenyingTemporal(t, s.rig.TemporalAddress, codes.PermissionDenied,
		"/DescribeWorkflowExecution"))
	for _, command := range []string{"show", "watch"} { // nobody knows that there is no such mailing
		denied.run(command, id).wantError(t, 7, "Temporal cannot be asked: Temporal refuses us")
	}
	s.run("cancel", id).want(t, 0)
	s.worker()
	s.run("watch", id).wantError(t, 8, "mailing "+id+" was cancelled")
}

func TestProblemsThatOnlyAWorkerSeesEndTheWatchingWithTheReason(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.writeLetter()
	s.write("letter.yaml", letter+"drop_points: [mx9]\n")
	s.worker()
	id := newID(t)
	s.run("start", "-f", "letter.yaml", "--id", id, "--watch").wantError(t, 8,
		`no drop point is named "mx9"; the workers have: drop`)
	if m := s.show(id); m.State != "failed" || !strings.Contains(m.Reason, "mx9") {
		t.Errorf("show: %+v", m)
	}
	s.write("letter.yaml", strings.Replace(letter, "  file: people.csv\n", "", 1))
	s.must("list", "delete", "people", "--yes")
	s.run("start", "-f", "letter.yaml", "--id", id+"-b").wantError(t, 4, "no list is named people")
	s.run("preview", "-f", "letter.yaml").wantError(t, 4, "no list is named people")
	s.write("few.csv", "email\na@example.com\n")
	s.must("list", "import", "people", "few.csv")
	s.run("start", "-f", "letter.yaml", "--id", id+"-c").wantError(t, 2, "letter.yaml:2:",
		"no column of the list is named first_name")
	s.run("show", id+"-c").wantError(t, 4)
}

// startSuspended starts a mailing whose only drop point does not exist, and waits until it is
// suspended. The drop point is the folder "late".
func (s *shell) startSuspended(settings ...string) (id string) {
	s.t.Helper()
	s.writeLetter()
	s.write("letter.yaml", letter+"retry:\n  drop_point: {attempts: 1, interval: 1h}\n"+strings.Join(settings, ""))
	away := s.with("DM_DROP_POINTS", "drop=dir:"+filepath.Join(s.dir, "late"))
	away.worker()
	id = newID(s.t)
	s.run("start", "-f", "letter.yaml", "--id", id).want(s.t, 3)
	s.awaitMailing(id, "it is suspended", func(m mailingStatus) bool { return m.State == "suspended" })
	return id
}

func TestASuspendedMailingIsExplainedAndResumed(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	id := s.startSuspended()
	m := s.show(id)
	if !strings.Contains(m.Doing, "drop") || !strings.Contains(m.Doing, "probes every 1h") || m.Open != 3 {
		t.Errorf("show: %+v", m)
	}
	s.runShow(id).want(t, 0, "next probe", "suspended", "Ledger, open")
	s.mkdir("late")
	s.run("resume", id).want(t, 0, "trying again")
	s.run("watch", id).want(t, 0, "3 of 3 recipients")
	if files, _ := filepath.Glob(filepath.Join(s.dir, "late", "*.eml")); len(files) != 3 {
		t.Errorf("%d messages were delivered, want 3", len(files))
	}
}

func TestACancelledMailingHasAClosedLedgerAndIsCode8(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	id := s.startSuspended()
	s.run("cancel", id).want(t, 0, "is being cancelled")
	s.run("watch", id).wantError(t, 8, "was cancelled").want(t, 8, "│ unsent         │          3 │", "Ledger, closed")
	if m := s.show(id); m.State != "cancelled" || m.Unsent != 3 || !m.Closed {
		t.Errorf("show: %+v", m)
	}
	s.run("resume", id).wantError(t, 4, "has ended (cancelled)")
}

func TestATerminatedMailingIsShownWithWhatTheLedgerKnows(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	id := s.startSuspended()
	s.terminate(id)
	s.run("watch", id).wantError(t, 8, "was terminated")
	if m := s.show(id); m.State != "terminated" || m.Open != 3 || m.Closed {
		t.Errorf("show: %+v", m)
	}
	var all []mailing
	s.run("ls", "--output", "json").want(t, 0).decode(t, &all)
	if len(all) != 1 || all[0].State != "terminated" {
		t.Errorf("ls: %+v", all)
	}
	s.run("report", id).want(t, 0, "a@example.com,open,")
	s.run("start", "-f", "letter.yaml", "--id", id).wantError(t, 5)
	s.with("TEMPORAL_ADDRESS", "127.0.0.1:1").run("show", id).want(t, 0, "Temporal does not answer")
	s.exec(`INSERT INTO mailings (id, first_run_id, list, origin, input, marks, state)
		SELECT id || '-2', 'x', list, origin, input, marks, state FROM mailings`)
	denied := s.with("TEMPORAL_ADDRESS", servertest.DenyingTemporal(t, s.rig.TemporalAddress, codes.PermissionDenied,
		"/DescribeWorkflowExecution"))
	if said := denied.run("ls").want(t, 0, "Temporal refuses us").err; strings.Count(said, "this is what") != 1 {
		t.Errorf("Temporal refuses to tell of two mailings, and ls says\n%s", said)
	}
	s.closeBehindAnother(id)
}

func TestAnInterruptedWatchLeavesTheMailingAlone(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	id := s.startSuspended()
	w := s.watch(id)
	if m := w.next(); m.ID != id {
		t.Errorf("the first line is about %q", m.ID)
	}
	if err := w.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code, text := w.end(); code != 130 || !strings.Contains(text, "the mailing continues") {
		t.Errorf("exit code %d: %s", code, text)
	}
	if m := s.show(id); m.State != "suspended" {
		t.Errorf("the mailing is %s", m.State)
	}
}

func TestAWatchOutlivesALostDatabase(t *testing.T) {
	t.Parallel()
	server := servertest.OwnPostgres(t)
	s := newShell(t)
	s.env["DATABASE_URL"] = server.URL("mail")
	s.run("migrate").want(t, 0)
	id := s.startSuspended()
	w := s.watch(id)
	w.until("it is shown", func(m mailing) bool { return m.Open == 3 })
	server.Kill()
	w.until("the loss is told", func(m mailing) bool {
		return strings.Contains(m.Doing,
			"the database does not answer") && m.Open == 3
	})
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.until("it is back", func(m mailing) bool { return !strings.Contains(m.Doing, "database") })
	s.run("cancel", id).want(t, 0)
	w.until("it has ended", func(m mailing) bool { return m.State == "cancelled" && m.Closed && m.Unsent == 3 })
	if code, text := w.end(); code != 8 {
		t.Errorf("exit code %d: %s", code, text)
	}
}

// watching is a running `starter watch --output json`.
type watching struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines *bufio.Scanner
	errs  bytes.Buffer
}

func (s *shell) watch(id string) *watching {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), rig.Timeout)
	s.t.Cleanup(cancel)
	w := &watching{t: s.t, cmd: s.command(ctx, "watch", id, "--output", "json")}
	w.cmd.Stderr = &w.errs
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	w.lines = bufio.NewScanner(out)
	return w
}

// next waits for the next line of the output.
func (w *watching) next() (m mailing) {
	w.t.Helper()
	if !w.lines.Scan() {
		w.t.Fatalf("watch has ended: %s", w.errs.String())
	}
	if err := json.Unmarshal(w.lines.Bytes(), &m); err != nil {
		w.t.Fatalf("%v: %s", err, w.lines.Text())
	}
	return m
}

// until reads lines until one fulfils the condition.
func (w *watching) until(what string, condition func(mailing) bool) {
	w.t.Helper()
	for m := w.next(); !condition(m); m = w.next() {
		w.t.Logf("before %s: %+v", what, m)
	}
}

// end waits for the end of the command, and returns its exit code and standard error.
func (w *watching) end() (code int, text string) {
	for w.lines.Scan() {
	}
	_ = w.cmd.Wait()
	return w.cmd.ProcessState.ExitCode(), w.errs.String()
}
