// Package reach measures how fast and how far the whole path of a message goes. `make reach` runs
// it.
package reach

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"directmailer/internal/audience/address"
	"directmailer/internal/audience/field"
	"directmailer/internal/audience/lists"
	"directmailer/internal/audience/member"
	"directmailer/internal/audience/recipients"
	"directmailer/internal/content/render"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/dev/smtptest"
	"directmailer/internal/feedback"
	"directmailer/internal/mailings"
	"directmailer/test/rig"
	"directmailer/workflows"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

var (
	reach = flag.Bool("reach", false, "measure how far the whole path reaches: see TestReach")
	most  = flag.Int("reach.recipients", 1_000_000,
		"the largest mailing that TestReach sends, and the list that it freezes")
	batch = flag.Int("reach.batch", 5000, "batch_size of TestReach's mailings")
)

// TestReach measures the whole path on one machine: real worker processes, a PostgreSQL that syncs,
// Temporal, and an SMTP sink. The list is imported before. Each figure stands beside the one that
// it is compared with, from the same run. The test fails only if a message is not sent. The table
// at its end is for people, because another load on the machine changes the figures. CPU time a
// message is that of all threads of the process. On a shared machine it says more than the rate.
func TestReach(t *testing.T) {
	if !*reach {
		t.Skip("measures for many minutes: make reach")
	}
	table := &reachTable{}
	t.Cleanup(func() { table.print(os.Stdout) })
	t.Run("wire", table.wire)
	t.Run("servers", table.servers)
	t.Run("link", table.link)
	t.Run("scale", table.scale)
	t.Run("freeze", table.freeze)
	t.Run("flood", table.flood)
	t.Run("crowd", table.crowd)
}

// reachTable gathers the measurements.
type reachTable struct {
	rows   []reachRow
	matrix []serverRow
}

type reachRow struct {
	what, figure, against, ratio, goal string
	cost                               string
}

// MarshalJSON returns the columns of the row by name.
func (row reachRow) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"what": row.what, "figure": row.figure, "against": row.against,
		"ratio": row.ratio, "goal": row.goal, "cost": row.cost})
}

func (table *reachTable) add(row reachRow) {
	table.rows = append(table.rows, row)
	fmt.Printf("  %s: %s, %s: %s (goal %s) %s\n", row.what, row.figure, row.against, row.ratio, row.goal, row.cost)
}

func (table *reachTable) print(w io.Writer) {
	defer table.printJSON(w)
	table.printMatrix(w)
	if len(table.rows) == 0 {
		return
	}
	tab := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tab, "\nwhat\tfigure\tcompared with\tratio\tgoal")
	for _, row := range table.rows {
		fmt.Fprintf(tab, "%s\t%s\t%s\t%s\t%s\n", row.what, row.figure, row.against, row.ratio, row.goal)
	}
	_ = tab.Flush()
	fmt.Fprintln(w, "\nCPU time, µs a message:")
	tab = tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, row := range table.rows {
		if row.cost != "" {
			fmt.Fprintf(tab, "%s\t%s\n", row.what, row.cost)
		}
	}
	_ = tab.Flush()
}

// printJSON prints all figures as one JSON object, for programs.
func (table *reachTable) printJSON(w io.Writer) {
	data, err := json.Marshal(map[string]any{"rows": table.rows, "servers": table.matrix})
	if err != nil {
		fmt.Fprintln(w, err)
		return
	}
	fmt.Fprintf(w, "\n%s\n", data)
}

// crowd starts many mailings at once. They share one worker and one server.
func (table *reachTable) crowd(t *testing.T) {
	const connections = 32
	content := newsletter(t, 2_000)
	for _, c := range []struct{ mailings, recipients int }{{1000, 100}, {100, 10_000}} {
		t.Run(fmt.Sprintf("mailings=%d,recipients=%d", c.mailings, c.recipients), func(t *testing.T) {
			s := startSink(t)
			r := rig.NewOn(t, s.dropPoint(connections), servertest.OwnPostgres(t).URL("mail"), servertest.Temporal(t))
			importReaders(r, c.recipients)
			w := r.StartWorker()
			r.AwaitPollers(1)
			in := workflows.Input{From: "The Harbour Gazette <gazette@example.com>",
				Subject: "{{.first_name}}, the week in {{.city}}", List: "people", Content: content}
			began := time.Now()
			var group errgroup.Group
			group.SetLimit(16)
			runs := make([]client.WorkflowRun, c.mailings)
			for i := range runs {
				group.Go(func() (err error) {
					options := client.StartWorkflowOptions{ID: fmt.Sprintf("%s-%d", r.ID(), i), TaskQueue: r.TaskQueue}
					runs[i], err = r.Temporal.ExecuteWorkflow(t.Context(), options, workflows.MailingType, in)
					return err
				})
			}
			if err := group.Wait(); err != nil {
				t.Fatal(err)
			}
			started := time.Since(began)
			for _, run := range runs {
				var result workflows.Result
				if err := run.Get(t.Context(), &result); err != nil || result.Counts.Sent != int64(c.recipients) {
					t.Fatalf("%s: %+v, %v", run.GetID(), result, err)
				}
			}
			took := time.Since(began)
			name := fmt.Sprintf("%d mailings of %d at once", c.mailings, c.recipients)
			table.add(reachRow{what: name, figure: fmt.Sprintf("%.1f s, %.1f mailings/s, %.0f messages/s",
				took.Seconds(), float64(c.mailings)/took.Seconds(), float64(c.mailings*c.recipients)/took.Seconds()),
				against: fmt.Sprintf("all were started after %.1f s", started.Seconds())})
			table.add(reachRow{what: name + ": the worker's memory at most",
				figure: fmt.Sprintf("%d MB", peakMemory(w.Cmd.Process.Pid)>>20), goal: "< 200 MB"})
		})
	}
}

// wire measures one mailing over 32 connections, with everything on one machine, and Postfix's load
// generator at the same sink.
func (table *reachTable) wire(t *testing.T) {
	const connections = 32
	for _, size := range []struct {
		name     string
		content  workflows.Content
		messages int
		goal     string
	}{
		{"20 KB", newsletter(t, 20_000), 100_000, "≥ 1.0"},
		{"2 KB", newsletter(t, 2_000), 200_000, "≥ 0.6"},
	} {
		t.Run(size.name, func(t *testing.T) {
			s := startSink(t)
			octets := sizeOf(t, size.content)
			r := rig.NewOn(t, s.dropPoint(connections), servertest.OwnPostgres(t).URL("mail"), servertest.Temporal(t))
			importReaders(r, size.messages)
			r.StartWorker()
			before := s.load(t, connections, octets, size.messages/2)
			c := measure(r, size.content, size.messages, s)
			after := s.load(t, connections, octets, size.messages/2)
			row := reachRow{
				what:   fmt.Sprintf("%s (%d octets), %d connections", size.name, octets, connections),
				figure: fmt.Sprintf("%.0f/s", c.rate()), goal: size.goal, against: "smtp-source is not installed",
				ratio: "–", cost: c.cost(),
			}
			if before > 0 && after > 0 {
				row.against = fmt.Sprintf("smtp-source -d: %.0f/s and %.0f/s", before, after)
				row.ratio = fmt.Sprintf("%.2f", c.rate()/((before+after)/2))
			}
			table.add(row)
		})
	}
}

// link measures mailings through a link with a round trip of 20 ms, where only the waiting counts.
// It compares them with the round trip that the link and the server really have: both are programs
// of this machine, and answer a little later.
func (table *reachTable) link(t *testing.T) {
	const (
		connections = 16
		roundTrip   = 20 * time.Millisecond
		messages    = 40_000 // of each worker
	)
	content := newsletter(t, 2_000)
	var rates []float64
	for _, workers := range []int{1, 2} {
		t.Run(fmt.Sprintf("workers=%d", workers), func(t *testing.T) {
			s := startSink(t)
			s.addr = startLink(t, s.addr, roundTrip)
			measured := roundTripOf(t, s.addr, workers*connections)
			r := rig.NewOn(t, s.dropPoint(connections), servertest.OwnPostgres(t).URL("mail"), servertest.Temporal(t))
			importReaders(r, messages*workers)
			for range workers {
				r.StartWorker()
			}
			c := measure(r, content, messages*workers, s)
			rates = append(rates, c.rate())
			ideal := float64(workers*connections) / measured.Seconds()
			table.add(reachRow{what: fmt.Sprintf("2 KB through %v, %d connections, workers: %d", roundTrip, connections,
				workers), figure: fmt.Sprintf("%.0f/s", c.rate()),
				against: fmt.Sprintf("connections ÷ round trip of %.1f ms: %.0f/s", measured.Seconds()*1000, ideal),
				ratio:   fmt.Sprintf("%.2f", c.rate()/ideal), goal: "≥ 0.9", cost: c.cost()})
		})
	}
	if len(rates) == 2 {
		table.add(reachRow{what: "the same, two workers", figure: fmt.Sprintf("%.0f/s", rates[1]),
			against: fmt.Sprintf("one worker: %.0f/s", rates[0]),
			ratio:   fmt.Sprintf("%.2f", rates[1]/rates[0]), goal: "≥ 1.9"})
	}
}

// roundTripOf returns the mean time of an SMTP server's answer to NOOP, with so many connections at
// once.
func roundTripOf(t *testing.T, addr string, connections int) time.Duration {
	t.Helper()
	const commands = 100 // on each connection
	var clients errgroup.Group
	var total atomic.Int64
	for range connections {
		clients.Go(func() error {
			c, err := textproto.Dial("tcp", addr)
			if err != nil {
				return err
			}
			defer c.Close()
			if _, _, err := c.ReadResponse(220); err != nil {
				return err
			}
			began := time.Now()
			for range commands {
				if err := c.PrintfLine("NOOP"); err != nil {
					return err
				}
				if _, _, err := c.ReadResponse(250); err != nil {
					return err
				}
			}
			total.Add(int64(time.Since(began)))
			return nil
		})
	}
	if err := clients.Wait(); err != nil {
		t.Fatal(err)
	}
	return time.Duration(total.Load()) / time.Duration(commands*connections)
}

// startLink starts a link to a server. Every octet takes half of roundTrip in each direction,
// however many there are.
func startLink(t testing.TB, to string, roundTrip time.Duration) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	inTransit := make(chan piece, 1<<16)
	go deliver(inTransit)
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			go forward(inTransit, far, near, roundTrip/2)
			go forward(inTransit, near, far, roundTrip/2)
		}
	}()
	return listener.Addr().String()
}

// piece is data that is on its way over a link.
type piece struct {
	due    time.Time
	to     net.Conn
	buffer *buffer
	n      int // octets; 0: the end
}

// deliver writes each piece when it is due. All pieces take equally long, so they come in the order
// of their times.
func deliver(inTransit <-chan piece) {
	for p := range inTransit {
		sleepUntil(p.due)
		if p.n == 0 {
			_ = p.to.Close()
			continue
		}
		_, _ = p.to.Write(p.buffer[:p.n])
		buffers.Put(p.buffer)
	}
}

type buffer [32 << 10]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// forward reads from one side, and passes each piece on to be written to the other side after the
// delay.
func forward(inTransit chan<- piece, to, from net.Conn, delay time.Duration) {
	for {
		b := buffers.Get().(*buffer)
		n, err := from.Read(b[:])
		if n > 0 {
			inTransit <- piece{time.Now().Add(delay), to, b, n}
		}
		if err != nil {
			inTransit <- piece{time.Now().Add(delay), to, nil, 0}
			return
		}
	}
}

// scale sends mailings to lists of growing length, each ten times as long as the one before.
func (table *reachTable) scale(t *testing.T) {
	const connections = 32
	content := newsletter(t, 2_000)
	var first measurement
	for recipients := 10_000; recipients <= *most; recipients *= 10 {
		t.Run(fmt.Sprintf("recipients=%d", recipients), func(t *testing.T) {
			s := startSink(t)
			r := rig.NewOn(t, s.dropPoint(connections), servertest.OwnPostgres(t).URL("mail"), servertest.Temporal(t))
			importReaders(r, recipients)
			w := r.StartWorker()
			c := measure(r, content, recipients, s)
			if first.messages == 0 {
				first = c
			}
			name := fmt.Sprintf("%d recipients", recipients)
			one := first.each(first.all())
			table.add(reachRow{what: name + ": CPU time", figure: fmt.Sprintf("%.0f µs each", c.each(c.all())),
				against: fmt.Sprintf("%d: %.0f µs", first.messages, one),
				ratio:   fmt.Sprintf("%.2f", c.each(c.all())/one), goal: "≤ 1.10", cost: c.cost()})
			table.add(reachRow{what: name + ": time", figure: fmt.Sprintf("%.0f µs each", c.each(c.took)),
				against: fmt.Sprintf("%d: %.0f µs", first.messages, first.each(first.took)),
				ratio:   fmt.Sprintf("%.2f", c.each(c.took)/first.each(first.took)), goal: "≤ 1.10"})
			table.add(reachRow{what: name + ": the worker's memory at most",
				figure: fmt.Sprintf("%d MB", peakMemory(w.Cmd.Process.Pid)>>20), goal: "< 200 MB"})
			events, octets, runs := longestRun(r)
			table.add(reachRow{what: name + fmt.Sprintf(": longest of %d runs", runs),
				figure: fmt.Sprintf("%d events", events), against: "continue-as-new is suggested at 4096",
				ratio: fmt.Sprintf("%.2f", float64(events)/4096), goal: "< 1"})
			table.add(reachRow{what: name + ": its history", figure: fmt.Sprintf("%d KB", octets>>10),
				against: "continue-as-new is suggested at 4096 KB",
				ratio:   fmt.Sprintf("%.2f", float64(octets)/(4<<20)), goal: "< 1"})
		})
	}
}

// longestRun returns the largest number of events and of octets in a history of the mailing, and
// the number of its runs.
func longestRun(r *rig.Rig) (events, octets int64, runs int) {
	r.Helper()
	// Temporal lists a closed run a little after it has closed.
	r.Eventually("every run of the mailing is listed", func() bool {
		events, octets, runs = 0, 0, 0
		found, err := r.Temporal.ListWorkflow(r.Context(),
			&workflowservice.ListWorkflowExecutionsRequest{Query: fmt.Sprintf("WorkflowId = %q", r.ID()),
				PageSize: 1000})
		if err != nil {
			r.Fatal(err)
		}
		ended := false
		for _, e := range found.Executions {
			ended = ended || e.Status == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED
			events, octets = max(events, e.HistoryLength), max(octets, e.HistorySizeBytes)
			runs++
		}
		return ended
	})
	return events, octets, runs
}

// peakMemory returns the largest resident set of a process so far, in octets.
func peakMemory(pid int) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	var kilobytes int64
	_, _ = fmt.Sscan(rest, &kilobytes)
	return kilobytes << 10
}

// freeze compares PrepareList with a copy of the rows that it writes.
func (table *reachTable) freeze(t *testing.T) {
	r := rig.NewOn(t, "", servertest.OwnPostgres(t).URL("mail"), servertest.Temporal(t))
	importReaders(r, *most)
	store := mailings.New(r.Pool)
	if err := store.Reserve(t.Context(), r.ID(), "run", "people", []byte("{}"), feedback.Marks{}, "default"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := recipients.New(r.Pool).Freeze(t.Context(), r.ID(), *batch); err != nil {
		t.Fatal(err)
	}
	froze := time.Since(began)
	bare := copyRows(t, r.Pool, "")
	keyed := copyRows(t, r.Pool, "INCLUDING ALL")
	table.add(reachRow{what: fmt.Sprintf("PrepareList of %d members", *most),
		figure: fmt.Sprintf("%.1f s", froze.Seconds()),
		against: fmt.Sprintf("COPY of the same rows: %.1f s (%.1f s with the table's keys)", bare.Seconds(),
			keyed.Seconds()),
		ratio: fmt.Sprintf("%.2f (%.2f)", froze.Seconds()/bare.Seconds(), froze.Seconds()/keyed.Seconds()),
		goal:  "≤ 2"})
}

// copyRows measures a COPY of all recipients from a file into a new table.
func copyRows(t *testing.T, pool *pgxpool.Pool, like string) time.Duration {
	t.Helper()
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	file, err := os.CreateTemp(t.TempDir(), "rows")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	_, err = conn.Conn().PgConn().CopyTo(t.Context(), file, "COPY recipients TO STDOUT")
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err == nil {
		_, err = conn.Exec(t.Context(), "CREATE TABLE copied (LIKE recipients "+like+")")
	}
	began := time.Now()
	if err == nil {
		_, err = conn.Conn().PgConn().CopyFrom(t.Context(), file, "COPY copied FROM STDIN")
	}
	took := time.Since(began)
	if err == nil {
		_, err = conn.Exec(t.Context(), "DROP TABLE copied")
	}
	if err != nil {
		t.Fatal(err)
	}
	return took
}

// measurement is a mailing that was measured.
type measurement struct {
	messages int
	took     time.Duration
	cpu      map[string]time.Duration
	busy     time.Duration // CPU time of all processes of the machine
}

func (m measurement) rate() float64 { return float64(m.messages) / m.took.Seconds() }

func (m measurement) cost() string {
	var b strings.Builder
	for _, program := range []string{"worker", "PostgreSQL", "Temporal", "sink"} {
		fmt.Fprintf(&b, "%s %.0f, ", program, m.each(m.cpu[program]))
	}
	fmt.Fprintf(&b, "together %.0f; others on the machine %.0f; idle %.0f", m.each(m.all()), m.each(m.busy-m.all()),
		m.each(m.took*time.Duration(runtime.NumCPU())-m.busy))
	return b.String()
}

// all returns the CPU time of all measured processes.
func (m measurement) all() (sum time.Duration) {
	for _, used := range m.cpu {
		sum += used
	}
	return sum
}

func (m measurement) each(d time.Duration) float64 {
	return float64(d.Microseconds()) / float64(m.messages)
}

// measure sends a mailing to the whole list and measures it.
func measure(r *rig.Rig, content workflows.Content, messages int, s *sink) measurement {
	r.Helper()
	in := workflows.Input{From: "The Harbour Gazette <gazette@example.com>",
		Subject: "{{.first_name}}, the week in {{.city}}", List: "people", BatchSize: *batch, Content: content}
	busy, cpu := machine(), cpuTimes(r, s)
	began := time.Now()
	run := r.Start(in)
	var result workflows.Result
	if err := run.Get(r.Context(), &result); err != nil {
		r.Fatalf("the mailing did not end well: %v\n%s", err, r.Explain())
	}
	c := measurement{messages: messages, took: time.Since(began), cpu: map[string]time.Duration{}}
	c.busy = machine() - busy
	for program, used := range cpuTimes(r, s) {
		c.cpu[program] = used - cpu[program]
	}
	if result.Counts.Sent != int64(messages) {
		r.Fatalf("not all were sent: %+v", result)
	}
	return c
}

// cpuTimes returns the CPU time of the processes so far, by program. Servers that this test has not
// started are not included.
func cpuTimes(r *rig.Rig, s *sink) map[string]time.Duration {
	used := map[string]time.Duration{}
	for _, w := range r.Workers() {
		used["worker"] += cpuOf(w.Cmd.Process.Pid)
	}
	for pid, name := range descendants(os.Getpid()) {
		switch {
		case name == "postgres":
			used["PostgreSQL"] += cpuOf(pid)
		case strings.HasPrefix(name, "temporal"):
			used["Temporal"] += cpuOf(pid)
		}
	}
	if s != nil && s.pid != 0 {
		used["sink"] = cpuOf(s.pid)
	}
	return used
}

// tick is the unit of the CPU times in /proc: 1/100 s on Linux, on every architecture that Go
// supports.
const tick = 10 * time.Millisecond

// cpuOf returns the CPU time of a process and of its children that have ended.
func cpuOf(pid int) time.Duration {
	f := stat(pid)
	if len(f) < 15 {
		return 0
	}
	var sum time.Duration
	for _, field := range f[11:15] { // utime, stime, cutime, cstime
		n, _ := strconv.Atoi(field)
		sum += time.Duration(n) * tick
	}
	return sum
}

// stat returns the fields of /proc/PID/stat from the third one on.
func stat(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
}

// descendants returns the processes below a process, with the names of their programs.
func descendants(of int) map[int]string {
	parents := map[int]int{}
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, e := range entries {
		pid, _ := strconv.Atoi(filepath.Base(e))
		if f := stat(pid); len(f) > 1 {
			parents[pid], _ = strconv.Atoi(f[1])
		}
	}
	out := map[int]string{}
	for pid := range parents {
		for up := parents[pid]; up > 0; up = parents[up] {
			if up == of {
				name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
				out[pid] = strings.TrimSpace(string(name))
				break
			}
		}
	}
	return out
}

// machine returns how long the CPUs of the machine were busy, summed.
func machine() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	var sum time.Duration
	for i, field := range strings.Fields(line)[1:] {
		if i == 3 || i == 4 || i > 7 { // idle, iowait; user includes guests
			continue
		}
		n, _ := strconv.Atoi(field)
		sum += time.Duration(n) * tick
	}
	return sum
}

// sink is an SMTP server that discards all mail: Postfix's smtp-sink if it is installed, because it
// costs less, or else our own.
type sink struct {
	addr       string
	pid        int    // of smtp-sink
	smtpSource string // path of smtp-source
}

// dropPoint returns the drop point of a worker that sends to the sink.
func (s *sink) dropPoint(connections int) string {
	return fmt.Sprintf("mx=smtp://%s?connections=%d&messages=0&tls=none&next_behind_dot=true", s.addr, connections)
}

func startSink(t testing.TB) *sink {
	t.Helper()
	program, errSink := postfixProgram("smtp-sink")
	source, errSource := postfixProgram("smtp-source")
	if err := errors.Join(errSink, errSource); err != nil {
		t.Logf("%v\nWithout it nothing is compared with smtp-source, and the sink is our own, which costs more.", err)
		return &sink{addr: smtptest.Start(t, smtptest.Options{Discard: true}).Addr()}
	}
	s := &sink{addr: rig.FreeAddress(t), smtpSource: source}
	args := []string{"-m", "1000", s.addr, "1000"}
	if os.Getuid() == 0 {
		args = append([]string{"-u", "nobody"}, args...)
	}
	cmd := exec.Command(program, args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.pid = cmd.Process.Pid
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGKILL); <-exited })
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			_ = c.Close()
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("smtp-sink does not listen: %v", err)
		}
	}
}

// postfixProgram returns the path of one of Postfix's two test programs. It looks in the folder
// POSTFIX_TOOLS first.
func postfixProgram(name string) (string, error) {
	for _, dir := range []string{os.Getenv("POSTFIX_TOOLS"), "/usr/sbin", "/usr/libexec/postfix",
		"/usr/lib/postfix/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"} {
		if dir == "" {
			continue
		}
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("%s is not in PATH, /usr/sbin or $POSTFIX_TOOLS: install Postfix (Debian, Ubuntu, "+
		"Alpine: package postfix; Fedora: postfix-perl-scripts), no daemon of it has to run", name)
}

// load makes smtp-source send messages of the size over the sessions. It returns messages a second,
// or 0 if smtp-source is not installed.
func (s *sink) load(t testing.TB, sessions, octets, messages int) float64 {
	t.Helper()
	if s.smtpSource == "" {
		return 0
	}
	const itsHeader = 250 // octets of the header, about, which -l does not count
	cmd := exec.CommandContext(t.Context(), s.smtpSource, "-d", "-s", strconv.Itoa(sessions), "-l",
		strconv.Itoa(max(octets-itsHeader, 1)), "-m", strconv.Itoa(messages),
		"-f", "gazette@example.com", "-t", "reader@example.org", s.addr)
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("smtp-source: %v\n%s", err, out)
	}
	return float64(messages) / time.Since(began).Seconds()
}

// readers is a list with the attributes of a newsletter.
type readers struct{ n, at int }

var readerColumns = []string{"first_name", "last_name", "city", "number", "voucher", "points", "branch", "street",
	"token"}

func (s *readers) Next() (member.Member, error) {
	if s.at++; s.at > s.n {
		return member.Member{}, io.EOF
	}
	n := s.at
	a, err := address.Parse(rig.Address(n))
	return member.Member{Position: int64(n), Address: a, Attributes: fmt.Appendf(
		nil,
		`{"first_name":"Ann%d","last_name":"Müller","city":"Lübeck","number":"%d","voucher":"V-%08d","points":"%d",`+
			`"branch":"Harbour & Quay","street":"Fischergrube %d","token":"t%016x"}`,
		n%1000, n, n*7919%100000000, n%5000, n%90+1, n*2654435761)}, err
}

func (s *readers) Rejected() int64 { return 0 }

func importReaders(r *rig.Rig, n int) {
	r.Helper()
	if _, err := lists.New(r.Pool).Import(r.Context(), "people", "people.csv", readerColumns, &readers{n: n},
		true); err != nil {
		r.Fatal(err)
	}
}

// newsletter returns the content of a usual mailing of at least so many octets: HTML of a page
// builder, and text. The HTML has ten personalised places, the text four.
func newsletter(t testing.TB, octets int) workflows.Content {
	const story = `<tr>` +
		`<td style="padding:12px 24px;font-family:Georgia,serif;font-size:16px;line-height:24px;color:#333333">` + "\n" +
		`<h2 style="margin:0 0 8px;font-size:20px">The harbour is quiet this week</h2>` + "\n" +
		`<p style="margin:0 0 12px">Since Monday the big cranes stand still, and whoever walks along the quay hears the ` +
		`gulls again. ` + "\n" +
		`The café at the old customs house has its tables outside – for the first time this year.</p>` + "\n" +
		`<a href="https://www.example.com/stories/the-harbour-is-quiet?utm_source=letter" style="color:#0a58ca">Read on</a>` +
		`</td></tr>` + "\n"
	const storyText = "The harbour is quiet this week. Since Monday the big cranes stand still,\nand whoever " +
		"walks along the quay hears the gulls again.\nhttps://www.example.com/stories/the-harbour-is-quiet\n\n"
	head := `<!DOCTYPE html><html><head><meta charset="utf-8"><title>The week in {{.city}}</title></head>` +
		`<body style="margin:0">` + "\n" +
		`<table width="600" align="center"><tr><td><h1>Dear {{.first_name}} {{.last_name}},</h1>` + "\n" +
		`<p>you are reader {{.number}}, and have {{.points}} points with {{.branch}}.</p></td></tr>` + "\n"
	foot := `<tr><td><p>Your voucher: <b>{{.voucher}}</b>. We write to {{.email}}, {{.street}}.</p>` + "\n" +
		`<a href="https://www.example.com/leave?t={{.token}}">No more letters</a></td></tr></table></body></html>` +
		"\n"
	textHead := "Dear {{.first_name}} {{.last_name}},\n\nyou have {{.points}} points.\n\n"
	textFoot := "Your voucher: {{.voucher}}\n"
	content := workflows.Content{HTML: head + foot, Text: textHead + textFoot}
	for stories := 1; sizeOf(t, content) < octets; stories++ {
		content.HTML, content.Text = head+strings.Repeat(story, stories)+foot,
			textHead+strings.Repeat(storyText, stories)+textFoot
	}
	return content
}

// sizeOf returns the octets of a message of the content.
func sizeOf(t testing.TB, c workflows.Content) int {
	t.Helper()
	template, problems := render.Compile(render.Spec{Mailing: "size", From: "The Harbour Gazette <gazette@example.com>",
		Subject: "{{.first_name}}, the week in {{.city}}",
		Text:    c.Text, HTML: c.HTML, Date: time.Now()})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	attributes := field.Values{}
	for _, name := range readerColumns {
		attributes[name] = field.Value{Text: "Somebody"}
	}
	data, _, err := template.NewRenderer(t.Context()).Render(nil,
		render.Recipient{Number: 1, Address: rig.Address(1), Attributes: attributes})
	if err != nil {
		t.Fatal(err)
	}
	return len(data)
}

// ownCPU returns the CPU time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
