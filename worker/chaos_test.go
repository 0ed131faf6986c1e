package main_test

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
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

	"directmailer/internal/devtest"
	"directmailer/internal/ledger"
	"directmailer/workflows"
)

// Without flags TestChaos is the short form that is part of all tests; `make chaos` is the long one.
var (
	chaosFaults     = flag.String("chaos.faults", "", "faults to inject, separated by commas; default: all of them")
	chaosRounds     = flag.Int("chaos.rounds", 2, "rounds a fault: odd ones resend, even ones hold")
	chaosRecipients = flag.Int("chaos.recipients", 1000, "recipients a round")
	chaosSeed       = flag.Uint64("chaos.seed", 0, "of the moments and the choices; 0: of the time")
	chaosLong       = flag.Bool("chaos.long", false, "stop workers for 60 s and let connections hang for 20 s; one fault after the other")
	chaosWrite      = flag.String("chaos.write", "", "file to write the table into, between its two marks")
	chaosJSON       = flag.String("chaos.json", "", "file to write the run's result into, as one JSON object")
)

const (
	chaosWorkers = 3
	// chaosSender is the envelope sender of a round: by it, what a worker sends after its round is not taken for the next one's.
	chaosSender = "round-%d@example.com"
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
}

func (r round) ok() bool {
	return r.lost == 0 && r.duplicates <= r.bound && r.counts.Total() == int64(r.recipients)
}

// campaign gathers the rounds.
type campaign struct {
	seed uint64
	mu   sync.Mutex
	all  []round
}

func (c *campaign) add(r round) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, r)
	fmt.Println(r.line(" "))
}

var chaosColumns = []string{"fault", "round", "policy", "recipients", "sent", "bounced", "failed", "uncertain", "lost", "duplicates", "bound", "took", "recovered in"}

func (r round) cells() []string {
	recovery := "-"
	if r.recovery >= 0 {
		recovery = fmt.Sprintf("%.1f s", r.recovery.Seconds())
	}
	return []string{r.fault, fmt.Sprint(r.number), string(r.policy), fmt.Sprint(r.recipients), fmt.Sprint(r.counts.Sent), fmt.Sprint(r.counts.Bounced),
		fmt.Sprint(r.counts.Failed), fmt.Sprint(r.counts.Uncertain), fmt.Sprint(r.lost), fmt.Sprint(r.duplicates), fmt.Sprint(r.bound),
		fmt.Sprintf("%.1f s", r.took.Seconds()), recovery}
}

func (r round) line(separator string) string {
	var b strings.Builder
	for i, cell := range r.cells() {
		fmt.Fprintf(&b, "%s%s %s", separator, chaosColumns[i], cell)
	}
	return strings.TrimSpace(b.String())
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
	if *chaosLong {
		fmt.Printf("%d faults, %d rounds each, %d recipients a round, %d workers with %d connections each, seed %d\n",
			len(chosen), *chaosRounds, *chaosRecipients, chaosWorkers, lanes, c.seed)
	}
	t.Cleanup(func() { c.finish(t) })
	for i, f := range chosen {
		t.Run(f.name, func(t *testing.T) {
			if !*chaosLong {
				t.Parallel()
			}
			c.run(t, f, rand.New(rand.NewPCG(c.seed, uint64(i))))
		})
	}
}

func chosenFaults(t *testing.T) []fault {
	if *chaosFaults == "" {
		return faults
	}
	var out []fault
	for name := range strings.SplitSeq(*chaosFaults, ",") {
		i := slices.IndexFunc(faults, func(f fault) bool { return f.name == name })
		if i < 0 {
			t.Fatalf("no fault is named %q", name)
		}
		out = append(out, faults[i])
	}
	return out
}

// run breaks mailing after mailing in the same way, on servers of the fault's own where it breaks those.
func (c *campaign) run(t *testing.T, f fault, random *rand.Rand) {
	s := newScene(t, f, random)
	if s == nil {
		return
	}
	for n := 1; n <= *chaosRounds; n++ {
		if *chaosLong {
			fmt.Printf("%s: round %d of %d\n", f.name, n, *chaosRounds)
		}
		policy := workflows.Resend
		if n%2 == 0 {
			policy = workflows.Hold
		}
		r := s.round(n, policy)
		c.add(r)
		if !r.ok() {
			t.Errorf("seed %d: %s", c.seed, r.line(" "))
		}
	}
}

// scene is where a fault is played.
type scene struct {
	*plant
	fault  fault
	random *rand.Rand
	mail   *receiver
	own    ownServers
	three  [chaosWorkers]*worker
}

func newScene(t *testing.T, f fault, random *rand.Rand) *scene {
	s := &scene{fault: f, random: random}
	s.mail = newReceiver(t)
	points := fmt.Sprintf("mx=smtp://%s?connections=%d", s.mail.addr, lanes)
	if f.directory {
		s.mail.dir = smallDisk(t)
		if s.mail.dir == "" {
			return nil
		}
		points = fmt.Sprintf("drop=dir:%s?connections=%d", s.mail.dir, lanes)
	}
	url, address := s.own.start(t, f)
	s.plant = newPlantOn(t, points, url, address)
	s.importList(*chaosRecipients)
	for i := range s.three {
		s.three[i] = s.startWorker()
	}
	return s
}

// round sends one mailing while the fault is injected at a random moment.
func (s *scene) round(n int, policy workflows.OnUncertain) round {
	s.Helper()
	in := mailing(100)
	in.EnvelopeSender = fmt.Sprintf(chaosSender, n)
	in.OnUncertain = policy
	patient := workflows.Retry{Attempts: 1000, Interval: workflows.Duration(200 * time.Millisecond)}
	in.Retry = workflows.Retries{List: patient, Database: patient, DropPoint: patient}
	s.name = fmt.Sprintf("chaos-%s-%d-%d", s.fault.name, os.Getpid(), n)
	s.mail.begin(in.EnvelopeSender)
	began := time.Now()
	run := s.start(in)
	injected := make(chan injury, 1)
	go func() {
		s.until(s.share(5, 60))
		injected <- s.fault.inject(s)
	}()
	result := s.end(run)
	hurt := <-injected
	out := round{fault: s.fault.name, number: n, policy: policy, recipients: *chaosRecipients, counts: result.Counts, took: time.Since(began), recovery: -1}
	s.eventually("whatever was stopped has noticed that it is over", func() bool { return s.mail.quiet() })
	if policy == workflows.Resend {
		out.bound = hurt.connections
	}
	out.lost, out.duplicates = s.compare()
	if at, ok := s.mail.firstAfter(hurt.over); ok {
		out.recovery = at.Sub(hurt.over)
	}
	return out
}

// share is a random number of recipients, between so many and so many in a hundred.
func (s *scene) share(least, most int) int {
	return *chaosRecipients * (least + s.random.IntN(most-least)) / 100
}

// until waits until so many messages have been accepted in this round, or it is over.
func (s *scene) until(messages int) {
	for s.mail.count() < messages && s.Context().Err() == nil {
		time.Sleep(2 * time.Millisecond)
	}
}

// end waits for the mailing's end, through the death of Temporal.
func (s *scene) end(run client.WorkflowRun) workflows.Result {
	s.Helper()
	deadline := time.Now().Add(10 * time.Minute)
	for {
		d, err := s.temporal.DescribeWorkflowExecution(s.Context(), run.GetID(), "")
		if err == nil && d.WorkflowExecutionInfo.Status != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
			return s.result(s.temporal.GetWorkflow(s.Context(), run.GetID(), ""))
		}
		if time.Now().After(deadline) {
			s.Fatalf("%s has not ended in ten minutes: %s", run.GetID(), s.explain())
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// compare holds what was received against the ledger, row by row.
func (s *scene) compare() (lost, duplicates int) {
	s.Helper()
	copies, changed := s.mail.copies()
	for _, to := range changed {
		s.Errorf("the Message-ID of %s is not the same in each copy", to)
	}
	lines := s.report()
	for n := 1; n <= *chaosRecipients; n++ {
		l, known := lines[address(n)]
		got := copies[address(n)]
		switch {
		case !known, l.Outcome == ledger.Open, l.Outcome == ledger.Sent && got == 0:
			lost++
			s.Errorf("%s is lost: in the ledger %q, received %d times", address(n), l.Outcome, got)
		case got > 0 && l.Outcome != ledger.Sent && l.Outcome != ledger.Uncertain:
			s.Errorf("%s was received and is %s", address(n), l.Outcome)
		case got > 1 && !l.PossiblyTwice && l.Outcome != ledger.Uncertain:
			s.Errorf("%s was received %d times and the ledger does not say so: %+v", address(n), got, l)
		}
		duplicates += max(got-1, 0)
	}
	if len(lines) != *chaosRecipients {
		s.Errorf("%d recipients in the ledger", len(lines))
	}
	var wrong int
	err := s.pool.QueryRow(s.Context(), `
		SELECT count(*) FROM (SELECT r.number FROM recipients r JOIN mailings m ON m.key = r.mailing
			LEFT JOIN deliveries d ON d.mailing = r.mailing AND d.recipient = r.number AND d.final
			WHERE m.id = $1 GROUP BY r.number HAVING count(d.recipient) <> 1) x`, s.id()).Scan(&wrong)
	if err != nil || wrong > 0 {
		s.Errorf("%d recipients have not exactly one outcome, %v", wrong, err)
	}
	return lost, duplicates
}

// finish prints the run's result, and writes it where it was asked to.
func (c *campaign) finish(t *testing.T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := struct {
		Rounds         int    `json:"rounds"`
		Recipients     int    `json:"recipients"`
		Lost           int    `json:"lost"`
		Duplicates     int    `json:"duplicates"`
		Bound          int    `json:"bound"`
		Uncertain      int64  `json:"uncertain"`
		HeldDuplicates int    `json:"held_duplicates"`
		Seed           uint64 `json:"seed"`
		OK             bool   `json:"ok"`
	}{Seed: c.seed, OK: !t.Failed()}
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
	fmt.Fprintf(&b, "%s, %d processors, %s; %d recipients a round, %d workers with %d connections each, seed %d.\n\n",
		time.Now().UTC().Format("2006-01-02"), runtime.NumCPU(), runtime.Version(), *chaosRecipients, chaosWorkers, lanes, c.seed)
	b.WriteString("| fault | policy | rounds | recipients | sent | bounced | failed | uncertain | **lost** | **duplicates** | bound | recovered in (median, most) |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n")
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
	for _, r := range c.all {
		if r.fault != fault || r.policy != policy {
			continue
		}
		n++
		recipients += r.recipients
		counts = counts.Add(r.counts)
		lost, duplicates, bound = lost+r.lost, duplicates+r.duplicates, bound+r.bound
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
		recovered = fmt.Sprintf("%.1f s, %.1f s", recovery[len(recovery)/2].Seconds(), recovery[len(recovery)-1].Seconds())
	}
	return fmt.Sprintf("| %s | %s | %d | %d | %d | %d | %d | %d | **%d** | **%d** | %d | %s |\n", fault, policy, n, recipients,
		counts.Sent, counts.Bounced, counts.Failed, counts.Uncertain, lost, duplicates, bound, recovered)
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
		server := devtest.OwnPostgres(t)
		if err := migrate(t.Context(), server.URL("mail")); err != nil {
			t.Fatal(err)
		}
		o.postgres, o.restartPostgres = server, func() error { return server.Start(t.Context()) }
		url = server.URL("mail")
	} else {
		url = devtest.Database(t, migrate)
	}
	if f.temporal {
		server := devtest.OwnTemporal(t, nil)
		o.temporal, o.restartTemporal = server, func() error { return server.Start(t.Context()) }
		return url, server.Address()
	}
	return url, devtest.Temporal(t)
}
