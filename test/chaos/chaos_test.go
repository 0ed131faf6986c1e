// Package chaos shows that mailings survive faults that come at random moments: whatever breaks, no
// recipient is lost, and no recipient gets more copies than the bound allows. `make chaos` runs it at
// length.
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

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/ledger"
	"directmailer/test/rig"
	"directmailer/workflows"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

// Without flags TestChaos is the short form that is part of all tests; `make chaos` is the long one.
var (
	chaosFaults     = flag.String("chaos.faults", "", "faults to inject, separated by commas; default: all of them")
	chaosRounds     = flag.Int("chaos.rounds", 1, "rounds a fault, with the policies resend and hold in turn")
	chaosRecipients = flag.Int("chaos.recipients", 1500, "recipients a round")
	chaosSeed       = flag.Uint64("chaos.seed", 0, "of the moments and the choices; 0: of the time")
	chaosLong       = flag.Bool("chaos.long", false, "stop workers for 60 s and let connections hang for 20 s or more; one fault after the other")
	chaosWrite      = flag.String("chaos.write", "", "file to write the table into, between its two marks")
	chaosJSON       = flag.String("chaos.json", "", "file to write the run's result into, as one JSON object")
)

const (
	chaosWorkers = 3
	// roundPatience is how long one round may take.
	roundPatience = 15 * time.Minute
)

// round is what came of one round.
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
}

func (r round) ok() bool {
	return r.lost == 0 && r.duplicates <= r.bound && r.counts.Total() == int64(r.recipients)
}

// campaign gathers the rounds.
type campaign struct {
	seed    uint64
	mu      sync.Mutex
	all     []round
	skipped []string
}

func (c *campaign) add(r round) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.all) == 0 {
		fmt.Println(columns(chaosColumns))
	}
	c.all = append(c.all, r)
	fmt.Println(columns(r.cells()))
}

func (c *campaign) skip(fault, because string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skipped = append(c.skipped, fault)
	fmt.Printf("%s: SKIPPED, because %s\n", fault, because)
}

var chaosColumns = []string{"fault", "round", "policy", "recipients", "sent", "bounced", "failed", "uncertain", "lost", "duplicates", "bound", "took",
	"recovered in", "silence"}

func (r round) cells() []string {
	return []string{r.fault, fmt.Sprint(r.number), string(r.policy), fmt.Sprint(r.recipients), fmt.Sprint(r.counts.Sent), fmt.Sprint(r.counts.Bounced),
		fmt.Sprint(r.counts.Failed), fmt.Sprint(r.counts.Uncertain), fmt.Sprint(r.lost), fmt.Sprint(r.duplicates), fmt.Sprint(r.bound),
		inSeconds(r.took), inSeconds(r.recovery), inSeconds(r.silence)}
}

func inSeconds(d time.Duration) string {
	if d < 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// columns lays out a line of the table.
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

// Whatever dies, nobody is lost, nobody gets more than the bound allows, and with hold nobody gets anything twice. The receiving side's own
// record is the judge.
func TestChaos(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("breaks whole mailings")
	}
	c := &campaign{seed: *chaosSeed}
	if c.seed == 0 {
		c.seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	chosen := chosenFaults(t)
	fmt.Printf("chaos: %d faults, %d rounds each, %d recipients a round, %d workers with %d connections each, seed %d\n",
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

// source is the chance of a round, the same whichever other faults and rounds there are.
func (c *campaign) source(f fault, round int) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprint(h, f.name, " ", round)
	return rand.New(rand.NewPCG(c.seed, h.Sum64()))
}

// run breaks mailing after mailing in the same way, on servers of the fault's own where it breaks those.
func (c *campaign) run(t *testing.T, f fault) {
	s := c.newScene(t, f)
	first := c.source(f, 0).IntN(2)
	for n := 1; n <= *chaosRounds; n++ {
		if *chaosLong {
			fmt.Fprintf(os.Stderr, "%s: round %d of %d\n", f.name, n, *chaosRounds)
		}
		policy := []workflows.OnUncertain{workflows.Resend, workflows.Hold}[(first+n)%2]
		r := s.round(c.source(f, n), n, policy)
		c.add(r)
		if !r.ok() {
			t.Errorf("seed %d, round %d: %d lost, %d duplicates of at most %d, %+v", c.seed, n, r.lost, r.duplicates, r.bound, r.counts)
		}
	}
	if late := s.mail.tooLate(); len(late) > 0 {
		t.Errorf("%d messages came after their mailing was over: %v", len(late), late[:min(len(late), 5)])
	}
	for _, w := range s.Workers() {
		for _, word := range []string{"panic: ", "fatal error: ", "DATA RACE"} {
			if _, after, found := strings.Cut(w.Log(), word); found {
				t.Errorf("worker %d: %s%s", w.Cmd.Process.Pid, word, after[:min(len(after), 4000)])
			}
		}
	}
}

// scene is where a fault is played.
type scene struct {
	*rig.Rig
	fault  fault
	mail   *receiver
	own    ownServers
	over   chan struct{} // closed when the round's mailing has ended
	hands  sync.Mutex    // on the workers
	three  [chaosWorkers]*rig.Worker
	points int
}

func (c *campaign) newScene(t *testing.T, f fault) *scene {
	s := &scene{fault: f, mail: newReceiver(t)}
	var points []string
	if f.directory != alone {
		points = append(points, fmt.Sprintf("mx=smtp://%s?connections=%d", s.mail.addr, rig.Connections))
	}
	if f.directory != noDirectory {
		dir, without := smallDisk(t)
		switch {
		case dir != "":
			points = append(points, fmt.Sprintf("drop=dir:%s?connections=%d", dir, rig.Connections))
		case f.directory == alone:
			c.skip(f.name, without)
			t.Skip(without)
		default:
			fmt.Printf("%s: without a drop directory, because %s\n", f.name, without)
		}
		s.mail.dir = dir
	}
	s.points = len(points)
	url, address := s.own.start(t, f)
	s.Rig = rig.NewOn(t, strings.Join(points, " "), url, address)
	s.ImportList(*chaosRecipients)
	for i := range s.three {
		s.three[i] = s.StartWorker()
	}
	return s
}

// connections is how many a worker has.
func (s *scene) connections() int { return rig.Connections * s.points }

// round sends one mailing while the fault is injected at a random moment.
func (s *scene) round(random *rand.Rand, n int, policy workflows.OnUncertain) round {
	s.Helper()
	in := rig.Mailing(100)
	in.EnvelopeSender = fmt.Sprintf("round-%d@example.com", n)
	in.OnUncertain = policy
	patient := workflows.Retry{Attempts: 1000, Interval: workflows.Duration(200 * time.Millisecond)}
	in.Retry = workflows.Retries{List: patient, Database: patient, DropPoint: patient}
	if random.IntN(2) == 0 { // drop points leave the list, and the mailing is suspended until they are back
		in.Retry.DropPoint.Attempts, in.Retry.Database.Attempts = 2, 2
	}
	s.MailingID = fmt.Sprintf("chaos-%s-%d-%d", s.fault.name, os.Getpid(), rig.Number())
	s.mail.begin(in.EnvelopeSender)
	s.over = make(chan struct{})
	began := time.Now()
	run := s.Start(in)
	var injected time.Time
	hurt := make(chan injury, 1)
	go func() {
		s.until(s.share(random, 5, 60))
		injected = time.Now()
		hurt <- s.fault.inject(s, random)
	}()
	result := s.end(run)
	close(s.over)
	out := round{fault: s.fault.name, number: n, policy: policy, recipients: *chaosRecipients, counts: result.Counts, took: time.Since(began), recovery: -1}
	damage := <-hurt
	s.Eventually("whatever was stopped has noticed that it is over", s.mail.quiet)
	if policy == workflows.Resend {
		out.bound = damage.bound
	}
	got, accepted := s.mail.record()
	out.lost, out.duplicates = s.compare(got)
	s.reconcile(result)
	out.recovery, out.silence = recovery(accepted, injected, damage.over)
	return out
}

// recovery is the time from the end of the fault to the next message, and the longest between two messages from its beginning on.
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

// share is a random number of recipients, between so many and so many in a hundred.
func (s *scene) share(random *rand.Rand, least, most int) int {
	return *chaosRecipients * (least + random.IntN(most-least)) / 100
}

// until waits until so many messages have been accepted in this round, or its mailing is over.
func (s *scene) until(messages int) {
	pause := 2 * time.Millisecond
	if s.mail.dir != "" { // counting files costs more
		pause = 50 * time.Millisecond
	}
	for s.mail.count() < messages && !s.isOver() {
		time.Sleep(pause)
	}
}

func (s *scene) isOver() bool {
	select {
	case <-s.over:
		return true
	default:
		return s.Context().Err() != nil
	}
}

// end waits for the mailing's end, through the death of Temporal. A worker that ends by itself is started again, as whatever runs workers
// would, and is a failure.
func (s *scene) end(run client.WorkflowRun) workflows.Result {
	s.Helper()
	deadline := time.Now().Add(roundPatience)
	for {
		d, err := s.Temporal.DescribeWorkflowExecution(s.Context(), run.GetID(), "")
		if err == nil && d.WorkflowExecutionInfo.Status != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING &&
			d.WorkflowExecutionInfo.Status != enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW {
			return s.Result(s.Temporal.GetWorkflow(s.Context(), run.GetID(), ""))
		}
		s.supervise()
		if time.Now().After(deadline) {
			s.Fatalf("%s has not ended in %v: %s", run.GetID(), roundPatience, s.Explain())
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (s *scene) supervise() {
	s.hands.Lock()
	defer s.hands.Unlock()
	for i, w := range s.three {
		select {
		case <-w.Exited:
			s.Errorf("worker %d has ended by itself: %v\n%s", w.Cmd.Process.Pid, w.Cmd.ProcessState, rig.Tail(w.Log()))
			s.three[i] = s.StartWorker()
		default:
		}
	}
}

// compare holds what was received against the ledger, row by row.
func (s *scene) compare(got map[string]*received) (lost, duplicates int) {
	s.Helper()
	lines := s.Report()
	if len(lines) != *chaosRecipients {
		s.Errorf("%d recipients in the ledger", len(lines))
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
		case !known, l.Outcome == ledger.Open, l.Outcome == ledger.Sent && r.copies == 0:
			lost++
			s.Errorf("%s is lost: in the ledger %q, received %d times", to, l.Outcome, r.copies)
		case r.copies > 0 && l.Outcome != ledger.Sent && l.Outcome != ledger.Uncertain:
			s.Errorf("%s was received %d times and is %s: %+v", to, r.copies, l.Outcome, l)
		case r.copies > 1 && !l.PossiblyTwice:
			s.Errorf("%s was received %d times and the ledger does not say so: %+v", to, r.copies, l)
		case r.changed:
			s.Errorf("the Message-ID of %s is not the same in each copy", to)
		}
	}
	for to := range got {
		s.Errorf("%s was received and is no recipient", to)
	}
	return lost, duplicates
}

// reconcile counts the ledger anew: each recipient has one outcome, their sums are the mailing's result, and nothing is left over.
func (s *scene) reconcile(result workflows.Result) {
	s.Helper()
	if result.State != workflows.StateCompleted || result.Recipients != int64(*chaosRecipients) {
		s.Errorf("the mailing's result is %+v", result)
	}
	var wrong, left int
	var n workflows.Counts
	err := s.Pool.QueryRow(s.Context(), `
		WITH m AS (SELECT key FROM mailings WHERE id = $1),
		     d AS (SELECT * FROM deliveries WHERE mailing = (SELECT key FROM m)),
		     outcome AS (SELECT r.number, count(d.recipient) AS finals, min(d.status::text) AS status FROM recipients r
		         LEFT JOIN d ON d.recipient = r.number AND d.final WHERE r.mailing = (SELECT key FROM m) GROUP BY r.number)
		SELECT count(*) FILTER (WHERE finals <> 1), count(*) FILTER (WHERE status = 'sent'), count(*) FILTER (WHERE status = 'bounced'),
			count(*) FILTER (WHERE status = 'failed'), count(*) FILTER (WHERE status = 'opted_out'), count(*) FILTER (WHERE status = 'uncertain'),
			count(*) FILTER (WHERE status = 'unsent'), (SELECT count(DISTINCT recipient) FROM d WHERE possibly_twice AND status NOT IN ('intent', 'not_sent', 'deferred', 'refused')),
			(SELECT count(*) FROM d WHERE status = 'intent') + (SELECT count(*) FROM spool WHERE mailing = (SELECT key FROM m))
				+ (SELECT count(*) FROM deferrals WHERE mailing = (SELECT key FROM m))
		FROM outcome`, s.ID()).
		Scan(&wrong, &n.Sent, &n.Bounced, &n.Failed, &n.OptedOut, &n.Uncertain, &n.Unsent, &n.PossiblyTwice, &left)
	switch {
	case err != nil:
		s.Errorf("count the ledger: %v", err)
	case wrong > 0:
		s.Errorf("%d recipients have not exactly one outcome", wrong)
	case n != result.Counts:
		s.Errorf("the ledger counts %+v, the mailing's result %+v", n, result.Counts)
	case left > 0:
		s.Errorf("%d intents, deferrals and spooled batches are left behind", left)
	}
}

// finish prints the run's result, and writes it where it was asked to.
func (c *campaign) finish(t *testing.T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := struct {
		Rounds         int      `json:"rounds"`
		Recipients     int      `json:"recipients"`
		Lost           int      `json:"lost"`
		Duplicates     int      `json:"duplicates"`
		Bound          int      `json:"bound"`
		Uncertain      int64    `json:"uncertain"`
		HeldDuplicates int      `json:"held_duplicates"`
		Skipped        []string `json:"skipped"`
		Seed           uint64   `json:"seed"`
		OK             bool     `json:"ok"`
	}{Skipped: append([]string{}, c.skipped...), Seed: c.seed, OK: !t.Failed()}
	for _, r := range c.all {
		sum.Rounds++
		sum.Recipients += r.recipients
		sum.Lost += r.lost
		sum.Duplicates += r.duplicates
		sum.Bound += r.bound
		sum.Uncertain += r.counts.Uncertain
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

// write puts the table into a document, a row a fault and policy.
func (c *campaign) write(t *testing.T, line string) {
	document, err := os.ReadFile(*chaosWrite)
	if err != nil || !chaosMarks.Match(document) {
		t.Errorf("%s has no place for the table: %v", *chaosWrite, err)
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "`make chaos ARGS=\"-chaos.rounds %d -chaos.recipients %d -chaos.seed %d\"`, on %s: %s/%s, %d processors, %s; %d workers with %d connections each.\n\n",
		*chaosRounds, *chaosRecipients, c.seed, time.Now().UTC().Format("2006-01-02"), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(),
		chaosWorkers, rig.Connections)
	for _, f := range c.skipped {
		fmt.Fprintf(&b, "%s was skipped.\n\n", f)
	}
	b.WriteString("| fault | policy | rounds | recipients | sent | bounced | failed | uncertain | **lost** | **duplicates** | bound | recovered in: median, most | longest silence |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, f := range faults {
		for _, policy := range []workflows.OnUncertain{workflows.Resend, workflows.Hold} {
			b.WriteString(c.row(f.name, policy))
		}
	}
	fmt.Fprintf(&b, "\n```json\n%s\n```\n", line)
	if err := os.WriteFile(*chaosWrite, chaosMarks.ReplaceAll(document, []byte("${1}\n"+strings.ReplaceAll(b.String(), "$", "$$")+"\n${2}")), 0o644); err != nil {
		t.Error(err)
	}
}

func (c *campaign) row(fault string, policy workflows.OnUncertain) string {
	var n, recipients, lost, duplicates, bound int
	var counts workflows.Counts
	var recovery []time.Duration
	var silence time.Duration
	for _, r := range c.all {
		if r.fault != fault || r.policy != policy {
			continue
		}
		n++
		recipients += r.recipients
		counts = counts.Add(r.counts)
		lost, duplicates, bound = lost+r.lost, duplicates+r.duplicates, bound+r.bound
		silence = max(silence, r.silence)
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
	return fmt.Sprintf("| %s | %s | %d | %d | %d | %d | %d | %d | **%d** | **%d** | %d | %s | %s |\n", fault, policy, n, recipients,
		counts.Sent, counts.Bounced, counts.Failed, counts.Uncertain, lost, duplicates, bound, recovered, inSeconds(silence))
}

// ownServers are those that a fault breaks, which no other test may then use.
type ownServers struct {
	postgres interface {
		Kill()
	}
	restartPostgres func() error
	temporal        interface{ Kill() }
	restartTemporal func() error
}

func (o *ownServers) start(t *testing.T, f fault) (url, address string) {
	if f.postgres {
		server := servertest.OwnPostgres(t)
		o.postgres, o.restartPostgres = server, func() error { return server.Start(t.Context()) }
		url = server.URL("mail")
	} else {
		url = servertest.Database(t)
	}
	if f.temporal {
		server := servertest.OwnTemporal(t, nil)
		o.temporal, o.restartTemporal = server, func() error { return server.Start(t.Context()) }
		return url, server.Address()
	}
	return url, servertest.Temporal(t)
}
