// Package chaos shows that mailings survive faults that come at random moments: whatever breaks, no
// recipient is lost, and no recipient gets more copies than the bound allows. `make chaos` runs it
// at length.
package chaos

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"directmailer/internal/dev/smtptest"
	"directmailer/internal/ledger"
	"directmailer/test/rig"
	"directmailer/workflows"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

// Without flags TestChaos is the short form that is part of all tests; `make chaos` is the long
// one.
var (
	chaosFaults     = flag.String("chaos.faults", "", "faults to inject, separated by commas; default: all of them")
	chaosRounds     = flag.Int("chaos.rounds", 1, "rounds a fault, with the policies resend and hold in turn")
	chaosRecipients = flag.Int("chaos.recipients", 1500, "recipients a round")
	chaosSeed       = flag.Uint64("chaos.seed", 0, "of the moments and the choices; 0: of the time")
	chaosLong       = flag.Bool("chaos.long", false,
		"stop workers for 60 s and let connections hang for 20 s or more; one fault after the other")
	chaosWrite = flag.String("chaos.write", "", "file to write the table into, between its two marks")
	chaosJSON  = flag.String("chaos.json", "", "file to write the run's result into, as one JSON object")
)

const (
	chaosWorkers = 3
	// roundTimeout is how long one round may take.
	roundTimeout = 15 * time.Minute
)

// round is the outcome of one round: one mailing, and one fault that broke it.
type round struct {
	fault      string
	number     int
	policy     workflows.OnUncertain
	recipients int
	counts     workflows.Counts
	lost       int
	duplicates int
	bound      int
	took       time.Duration
	recovery   time.Duration // from the end of the fault to the next message; negative if none came after it
	silence    time.Duration // the longest time without a message, from the fault's beginning to the last message
	// unbounded says that the database has forgotten commits that it had reported, by its
	// configuration. Then recipients may be lost in the ledger, and nothing bounds the duplicates.
	// Everybody must still get the mail.
	unbounded bool
}

func (r round) ok() bool {
	return (r.unbounded || r.lost == 0 && r.duplicates <= r.bound) && r.counts.Total() == int64(r.recipients) &&
		r.counts.Bounced == 0
}

// chaosRun gathers the rounds.
type chaosRun struct {
	seed    uint64
	mu      sync.Mutex
	all     []round
	skipped []string
}

func (c *chaosRun) add(r round) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.all) == 0 {
		fmt.Println(columns(chaosColumns))
	}
	c.all = append(c.all, r)
	fmt.Println(columns(r.cells()))
}

func (c *chaosRun) skip(fault, because string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skipped = append(c.skipped, fault)
	fmt.Printf("%s: SKIPPED, because %s\n", fault, because)
}

var chaosColumns = []string{"fault", "round", "policy", "recipients", "sent", "bounced", "failed", "uncertain", "lost",
	"duplicates", "bound", "took",
	"recovered in", "silence"}

func (r round) cells() []string {
	return []string{r.fault, fmt.Sprint(r.number), string(r.policy), fmt.Sprint(r.recipients),
		fmt.Sprint(r.counts.Sent), fmt.Sprint(r.counts.Bounced),
		fmt.Sprint(r.counts.Failed), fmt.Sprint(r.counts.Uncertain), fmt.Sprint(r.lost), fmt.Sprint(r.duplicates),
		r.boundText(),
		inSeconds(r.took), inSeconds(r.recovery), inSeconds(r.silence)}
}

func (r round) boundText() string {
	if r.unbounded {
		return "none"
	}
	return fmt.Sprint(r.bound)
}

func inSeconds(d time.Duration) string {
	if d < 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// columns returns a line of the printed table.
func columns(cells []string) string {
	var b strings.Builder
	for i, cell := range cells {
		if i == 0 {
			fmt.Fprintf(&b, "%-18s", cell)
			continue
		}
		fmt.Fprintf(&b, "  %*s", len(chaosColumns[i]), cell)
	}
	return b.String()
}

// Whatever breaks, no recipient is lost, and no more copies arrive than the bound allows. With the
// policy hold, no recipient gets two. The receiving side's own record decides.
func TestChaos(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("breaks whole mailings")
	}
	c := &chaosRun{seed: *chaosSeed}
	if c.seed == 0 {
		c.seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	chosen := chosenFaults(t)
	fmt.Printf("chaos: %d faults, %d rounds each, %d recipients a round, %d workers with %d connections each, "+
		"seed %d\n",
		len(chosen), *chaosRounds, *chaosRecipients, chaosWorkers, rig.Connections, c.seed)
	t.Cleanup(func() { c.finish(t) })
	for _, f := range chosen {
		t.Run(f.name, func(t *testing.T) {
			if !*chaosLong {
				t.Parallel()
			}
			c.run(t, f)
		})
	}
}

func chosenFaults(t *testing.T) []fault {
	if *chaosFaults == "" {
		return faults
	}
	var names []string
	for _, f := range faults {
		names = append(names, f.name)
	}
	var out []fault
	for name := range strings.SplitSeq(*chaosFaults, ",") {
		i := slices.Index(names, strings.TrimSpace(name))
		if i < 0 {
			t.Fatalf("no fault is named %q; there are %s", name, strings.Join(names, ", "))
		}
		out = append(out, faults[i])
	}
	return out
}

// random returns the random numbers of a round. They depend on the seed, the fault and the round,
// and not on the other faults and rounds.
func (c *chaosRun) random(f fault, round int) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprint(h, f.name, " ", round)
	return rand.New(rand.NewPCG(c.seed, h.Sum64()))
}

// run breaks mailing after mailing with the fault. It uses servers of its own if the fault breaks
// them.
func (c *chaosRun) run(t *testing.T, f fault) {
	e := c.newExperiment(t, f)
	first := c.random(f, 0).IntN(2)
	for n := 1; n <= *chaosRounds; n++ {
		if *chaosLong {
			fmt.Fprintf(os.Stderr, "%s: round %d of %d\n", f.name, n, *chaosRounds)
		}
		policy := []workflows.OnUncertain{workflows.Resend, workflows.Hold}[(first+n)%2]
		r := e.round(c.random(f, n), n, policy)
		c.add(r)
		if !r.ok() {
			t.Errorf("seed %d, round %d: %d lost, %d duplicates of at most %d, %+v; attempts at recipients who have "+
				"several:\n%s", c.seed, n, r.lost, r.duplicates, r.bound, r.counts, e.repeated())
		}
	}
	if late := e.receiver.lateRecipients(); len(late) > 0 {
		t.Errorf("%d messages came after their mailing was over: %v", len(late), late[:min(len(late), 5)])
	}
	for _, w := range e.Workers() {
		for _, word := range []string{"panic: ", "fatal error: ", "DATA RACE"} {
			if _, after, found := strings.Cut(w.Log(), word); found {
				t.Errorf("worker %d: %s%s", w.Cmd.Process.Pid, word, after[:min(len(after), 4000)])
			}
		}
	}
}

// repeated describes the attempts at the first recipients of the mailing who have more than one.
// The times tell the claims apart: an uncertain attempt is "answered" by the claim.
func (e *experiment) repeated() string {
	rows, err := e.Pool.Query(e.Context(), `
		SELECT format('%s.%s %s by %s, %s to %s: %s %s', recipient, attempt, status, drop_point,
			to_char(at, 'HH24:MI:SS.MS'), to_char(answered_at, 'HH24:MI:SS.MS'), code, reply)
		FROM deliveries d WHERE mailing = (SELECT key FROM mailings WHERE id = $1)
		AND EXISTS (SELECT FROM deliveries e WHERE e.mailing = d.mailing AND e.recipient = d.recipient AND e.attempt = 2)
		ORDER BY recipient, attempt LIMIT 60`, e.ID())
	if err != nil {
		return err.Error()
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err.Error()
	}
	return strings.Join(lines, "\n")
}

// experiment is what the rounds of one fault share: the workers, and the servers that the fault may
// break.
type experiment struct {
	*rig.Rig
	fault      fault
	receiver   *receiver
	own        ownServers
	over       chan struct{} // closed when the round's mailing has ended
	dropPoints int           // of each worker

	mu      sync.Mutex // for workers
	workers [chaosWorkers]*rig.Worker
}

func (c *chaosRun) newExperiment(t *testing.T, f fault) *experiment {
	e := &experiment{fault: f, receiver: newReceiver(t)}
	var dropPoints []string
	if f.directory != alone {
		dropPoints = append(dropPoints, fmt.Sprintf("mx=smtp://%s?connections=%d", e.receiver.addr, rig.Connections))
	}
	if f.directory != noDirectory {
		dir, missing := smallDisk(t)
		switch {
		case dir != "":
			dropPoints = append(dropPoints, fmt.Sprintf("drop=dir:%s?connections=%d", dir, rig.Connections))
		case f.directory == alone:
			c.skip(f.name, missing)
			t.Skip(missing)
		default:
			fmt.Printf("%s: without a drop directory, because %s\n", f.name, missing)
		}
		e.receiver.dir = dir
	}
	e.dropPoints = len(dropPoints)
	if f.smallRelay {
		small := smtptest.Start(t, smtptest.Options{Extensions: []string{"SIZE 300"}, Accepted: e.receiver.accept})
		dropPoints = append(dropPoints, fmt.Sprintf("small=smtp://%s?connections=%d", small.Addr(), rig.Connections))
	}
	url, address := e.own.start(t, f)
	e.Rig = rig.NewOn(t, strings.Join(dropPoints, " "), url, address)
	e.ImportList(*chaosRecipients)
	for i := range e.workers {
		e.workers[i] = e.StartWorker()
	}
	return e
}

// connections returns how many connections a worker has.
func (e *experiment) connections() int { return rig.Connections * e.dropPoints }

// round sends one mailing while the fault is injected at a random moment.
func (e *experiment) round(random *rand.Rand, n int, policy workflows.OnUncertain) round {
	e.Helper()
	in := rig.Mailing(100)
	in.EnvelopeSender = fmt.Sprintf("round-%d@example.com", n)
	in.OnUncertain = policy
	retry := workflows.Retry{Attempts: 1000, Interval: workflows.Duration(200 * time.Millisecond)}
	in.Retry = workflows.Retries{List: retry, Database: retry, DropPoint: retry}
	if random.IntN(2) == 0 { // the mailing is suspended until what it needs is available again
		in.Retry.DropPoint.Attempts, in.Retry.Database.Attempts = 2, 2
	}
	e.MailingID = fmt.Sprintf("chaos-%s-%d-%d", e.fault.name, os.Getpid(), rig.Number())
	if err := e.own.prepare(e.TB, e.fault.standby); err != nil {
		e.Fatal(err)
	}
	e.receiver.begin(in.EnvelopeSender)
	e.over = make(chan struct{})
	began := time.Now()
	run := e.Start(in)
	var injected time.Time
	effects := make(chan effect, 1)
	go func() {
		e.awaitMessages(e.share(random, 5, 60))
		injected = time.Now()
		effects <- e.fault.inject(e, random)
	}()
	result := e.end(run)
	close(e.over)
	out := round{fault: e.fault.name, number: n, policy: policy, recipients: *chaosRecipients, counts: result.Counts,
		took: time.Since(began), recovery: -1, unbounded: e.forgets()}
	done := <-effects
	quiet := 0 // checks in a row: the server may not have read yet what a worker has begun
	e.Eventually("no connection has a message in flight", func() bool {
		if quiet++; !e.receiver.quiet() {
			quiet = 0
		}
		return quiet > 3
	})
	if policy == workflows.Resend && !out.unbounded {
		out.bound = done.bound
	}
	got, accepted := e.receiver.finish()
	out.lost, out.duplicates = e.compare(got)
	if !e.forgets() {
		e.reconcile(result)
	}
	out.recovery, out.silence = recovery(accepted, injected, done.over)
	return out
}

// forgets reports whether the fault makes the database forget commits that it has reported.
func (e *experiment) forgets() bool { return e.fault.standby == asynchronous }

// recovery returns the time from the end of the fault to the next message, and the longest time
// between two messages since the beginning of the fault.
func recovery(accepted []time.Time, injected, over time.Time) (next, silence time.Duration) {
	next = -1
	previous := injected
	for _, at := range accepted {
		if at.Before(injected) {
			continue
		}
		silence = max(silence, at.Sub(previous))
		previous = at
		if next < 0 && at.After(over) {
			next = at.Sub(over)
		}
	}
	return next, silence
}

// share returns a random number of recipients, from least to most per cent of all.
func (e *experiment) share(random *rand.Rand, least, most int) int {
	return *chaosRecipients * (least + random.IntN(most-least)) / 100
}

// awaitMessages waits until so many messages have been accepted in this round, or its mailing has
// ended.
func (e *experiment) awaitMessages(messages int) {
	pause := 2 * time.Millisecond
	if e.receiver.dir != "" { // counting files costs more
		pause = 50 * time.Millisecond
	}
	for e.receiver.count() < messages && !e.isOver() {
		time.Sleep(pause)
	}
}

func (e *experiment) isOver() bool {
	select {
	case <-e.over:
		return true
	default:
		return e.Context().Err() != nil
	}
}

// end waits for the mailing's end, also while Temporal does not answer. A worker that ends by
// itself fails the test, and is started again.
func (e *experiment) end(run client.WorkflowRun) workflows.Result {
	e.Helper()
	deadline := time.Now().Add(roundTimeout)
	for {
		d, err := e.Temporal.DescribeWorkflowExecution(e.Context(), run.GetID(), "")
		if err == nil && d.WorkflowExecutionInfo.Status != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING &&
			d.WorkflowExecutionInfo.Status != enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW {
			if e.fault.terminates {
				return e.closeLedger()
			}
			return e.Result(e.Temporal.GetWorkflow(e.Context(), run.GetID(), ""))
		}
		e.supervise()
		if time.Now().After(deadline) {
			e.Fatalf("%s has not ended in %v: %s", run.GetID(), roundTimeout, e.Explain())
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// supervise starts workers again that have ended by themselves.
func (e *experiment) supervise() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, w := range e.workers {
		select {
		case <-w.Exited:
			e.Errorf("worker %d has ended by itself: %v\n%s", w.Cmd.Process.Pid, w.Cmd.ProcessState, rig.Tail(w.Log()))
			e.workers[i] = e.StartWorker()
		default:
		}
	}
}

// compare compares what was received with the ledger, recipient by recipient.
func (e *experiment) compare(got map[string]*received) (lost, duplicates int) {
	e.Helper()
	lines := e.Report()
	if len(lines) != *chaosRecipients {
		e.Errorf("%d recipients in the ledger", len(lines))
	}
	for n := 1; n <= *chaosRecipients; n++ {
		to := rig.Address(n)
		l, known := lines[to]
		r := got[to]
		if r == nil {
			r = &received{}
		}
		delete(got, to)
		duplicates += max(r.copies-1, 0)
		switch {
		case e.forgets() && r.copies > 0:
			if !known || l.Outcome == ledger.Open {
				lost++
			}
		case !known, l.Outcome == ledger.Open, l.Outcome == ledger.Sent && r.copies == 0:
			lost++
			e.Errorf("%s is lost: in the ledger %q, received %d times", to, l.Outcome, r.copies)
		case r.copies > 0 && l.Outcome != ledger.Sent && l.Outcome != ledger.Uncertain:
			e.Errorf("%s was received %d times and is %s: %+v", to, r.copies, l.Outcome, l)
		case r.copies > 1 && !l.PossiblyTwice:
			e.Errorf("%s was received %d times and the ledger does not say so: %+v", to, r.copies, l)
		case r.changed:
			e.Errorf("the Message-ID of %s is not the same in each copy", to)
		}
	}
	for to := range got {
		e.Errorf("%s was received and is no recipient", to)
	}
	return lost, duplicates
}

// reconcile counts the rows of the ledger. Each recipient must have one outcome, and no intent,
// deferral or spooled batch may be left. The sums must be those of the mailing's row, and of its
// result apart from answers that came after the end.
func (e *experiment) reconcile(result workflows.Result) {
	e.Helper()
	want := workflows.StateCompleted
	if e.fault.terminates {
		want = workflows.StateTerminated
	}
	if result.State != want || result.Recipients != int64(*chaosRecipients) {
		e.Errorf("the mailing's result is %+v", result)
	}
	var wrong, left int
	var n, stored workflows.Counts
	err := e.Pool.QueryRow(e.Context(), `
		WITH m AS (SELECT key FROM mailings WHERE id = $1),
		     d AS (SELECT * FROM deliveries WHERE mailing = (SELECT key FROM m)),
		     outcome AS (SELECT r.number, count(d.recipient) AS finals, min(d.status::text) AS status FROM recipients r
		         LEFT JOIN d ON d.recipient = r.number AND d.final WHERE r.mailing = (SELECT key FROM m) GROUP BY r.number)
		SELECT count(*) FILTER (WHERE finals <> 1), count(*) FILTER (WHERE status = 'sent'),
			count(*) FILTER (WHERE status = 'bounced'), count(*) FILTER (WHERE status = 'failed'),
			count(*) FILTER (WHERE status = 'opted_out'), count(*) FILTER (WHERE status = 'uncertain'),
			count(*) FILTER (WHERE status = 'unsent'),
				(SELECT count(DISTINCT recipient) FROM d WHERE possibly_twice AND status NOT IN ('intent', 'not_sent',
				'deferred', 'refused')),
			(SELECT count(*) FROM d WHERE status = 'intent') +
				(SELECT count(*) FROM spool WHERE mailing = (SELECT key FROM m))
				+ (SELECT count(*) FROM deferrals WHERE mailing = (SELECT key FROM m)),
			(SELECT counts FROM mailings WHERE id = $1)
		FROM outcome`, e.ID()).
		Scan(&wrong, &n.Sent, &n.Bounced, &n.Failed, &n.OptedOut, &n.Uncertain, &n.Unsent, &n.PossiblyTwice, &left,
			&stored)
	switch {
	case err != nil:
		e.Errorf("count the ledger: %v", err)
	case wrong > 0:
		e.Errorf("%d recipients have not exactly one outcome", wrong)
	case n != stored:
		e.Errorf("the ledger counts %+v, the mailing's row has %+v", n, stored)
	case n != result.Counts && !isLater(n, result.Counts):
		e.Errorf("the ledger counts %+v, the mailing's result %+v", n, result.Counts)
	case left > 0:
		e.Errorf("%d intents, deferrals and spooled batches are left behind", left)
	}
}

// isLater reports whether the counts are the result's with nothing but answers that came after the
// end: each makes an uncertain recipient a sent or bounced one.
func isLater(now, result workflows.Counts) bool {
	late := result.Uncertain - now.Uncertain
	return late > 0 && now.Sent >= result.Sent && now.Bounced >= result.Bounced &&
		now.Sent-result.Sent+now.Bounced-result.Bounced == late && now.Failed == result.Failed &&
		now.OptedOut == result.OptedOut && now.Unsent == result.Unsent
}

// finish prints the run's result, and writes it into the files that the flags name.
func (c *chaosRun) finish(t *testing.T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := struct {
		Rounds         int   `json:"rounds"`
		Recipients     int   `json:"recipients"`
		Lost           int   `json:"lost"`
		Duplicates     int   `json:"duplicates"`
		Bound          int   `json:"bound"`
		Uncertain      int64 `json:"uncertain"`
		HeldDuplicates int   `json:"held_duplicates"`
		// After a failover without synchronous replication.
		AsyncLost       int      `json:"async_lost"`
		AsyncDuplicates int      `json:"async_duplicates"`
		Skipped         []string `json:"skipped"`
		Seed            uint64   `json:"seed"`
		OK              bool     `json:"ok"`
	}{Skipped: append([]string{}, c.skipped...), Seed: c.seed, OK: !t.Failed()}
	for _, r := range c.all {
		sum.Rounds++
		sum.Recipients += r.recipients
		sum.Uncertain += r.counts.Uncertain
		if r.unbounded {
			sum.AsyncLost += r.lost
			sum.AsyncDuplicates += r.duplicates
			continue
		}
		sum.Lost += r.lost
		sum.Duplicates += r.duplicates
		sum.Bound += r.bound
		if r.policy == workflows.Hold {
			sum.HeldDuplicates += r.duplicates
		}
	}
	line, err := json.Marshal(sum)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(string(line))
	if *chaosJSON != "" {
		if err := os.WriteFile(*chaosJSON, append(line, '\n'), 0o644); err != nil {
			t.Error(err)
		}
	}
	if *chaosWrite != "" {
		c.write(t, string(line))
	}
}

var chaosMarks = regexp.MustCompile(`(?s)(<!-- chaos: written by make chaos -->\n).*(<!-- chaos: end -->)`)

// write puts the table into a document. The table has a row for each fault and policy.
func (c *chaosRun) write(t *testing.T, line string) {
	document, err := os.ReadFile(*chaosWrite)
	if err != nil || !chaosMarks.Match(document) {
		t.Errorf("%s has no place for the table: %v", *chaosWrite, err)
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "`make chaos ARGS=\"-chaos.rounds %d -chaos.recipients %d -chaos.seed %d\"`, on %s:\n"+
		"%s/%s, %d processors, %s; %d workers with %d connections each.\n\n",
		*chaosRounds, *chaosRecipients, c.seed, time.Now().UTC().Format("2006-01-02"), runtime.GOOS, runtime.GOARCH,
		runtime.NumCPU(), runtime.Version(),
		chaosWorkers, rig.Connections)
	for _, f := range c.skipped {
		fmt.Fprintf(&b, "%s was skipped.\n\n", f)
	}
	b.WriteString("| fault | policy | rounds | recipients | sent | bounced | failed | uncertain | **lost** | " +
		"**duplicates** | bound | recovered in: median, most | longest silence " +
		"|\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, f := range faults {
		for _, policy := range []workflows.OnUncertain{workflows.Resend, workflows.Hold} {
			b.WriteString(c.row(f.name, policy))
		}
	}
	fmt.Fprintf(&b, "\n```json\n%s\n```\n", line)
	if err := os.WriteFile(*chaosWrite, chaosMarks.ReplaceAll(document,
		[]byte("${1}\n"+strings.ReplaceAll(b.String(), "$", "$$")+"\n${2}")), 0o644); err != nil {
		t.Error(err)
	}
}

func (c *chaosRun) row(fault string, policy workflows.OnUncertain) string {
	var n, recipients, lost, duplicates, bound int
	var counts workflows.Counts
	var recovery []time.Duration
	var silence time.Duration
	unbounded := false
	for _, r := range c.all {
		if r.fault != fault || r.policy != policy {
			continue
		}
		n++
		recipients += r.recipients
		counts = counts.Add(r.counts)
		lost, duplicates, bound = lost+r.lost, duplicates+r.duplicates, bound+r.bound
		silence = max(silence, r.silence)
		unbounded = unbounded || r.unbounded
		if r.recovery >= 0 {
			recovery = append(recovery, r.recovery)
		}
	}
	if n == 0 {
		return ""
	}
	recovered := "-"
	if len(recovery) > 0 {
		slices.SortFunc(recovery, cmp.Compare)
		recovered = inSeconds(recovery[len(recovery)/2]) + ", " + inSeconds(recovery[len(recovery)-1])
	}
	most := round{bound: bound, unbounded: unbounded}.boundText()
	return fmt.Sprintf("| %s | %s | %d | %d | %d | %d | %d | %d | **%d** | **%d** | %s | %s | %s |\n", fault, policy, n,
		recipients,
		counts.Sent, counts.Bounced, counts.Failed, counts.Uncertain, lost, duplicates, most, recovered,
		inSeconds(silence))
}
