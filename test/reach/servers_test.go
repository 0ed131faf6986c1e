package reach

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"directmailer/internal/dev/servertest"
	"directmailer/test/rig"
	"directmailer/workflows"
)

// A rate is measured for measuredFor, beginning settledAfter after the first message.
const (
	settledAfter = 5 * time.Second
	measuredFor  = 15 * time.Second
)

// servers measures how busy one mailing keeps the connections of several workers. The server takes
// a fixed time for each message. The connections allow their number divided by the time that it
// really took, because it shares the processors. A connection also waits for the ledger between two
// messages, which shows with a server of 5 ms.
// Where the machine itself would be the limit, each worker has fewer connections.
func (table *reachTable) servers(t *testing.T) {
	content := newsletter(t, 2_000)
	for _, takes := range []time.Duration{5 * time.Millisecond, 40 * time.Millisecond, 400 * time.Millisecond} {
		for _, workers := range []int{1, 2, 4, 8} {
			for _, size := range []int{100, 500, 5000} {
				t.Run(fmt.Sprintf("takes=%v,workers=%d,batch=%d", takes, workers, size), func(t *testing.T) {
					connections := 8
					if takes < 10*time.Millisecond {
						connections = 8 / workers
					}
					table.matrix = append(table.matrix, serverRow{takes: takes, workers: workers,
						connections: connections, size: size})
					row := &table.matrix[len(table.matrix)-1]
					row.measure(t, content)
					fmt.Printf("  %v a message (%.2f ms), workers: %d, connections: %d, batches of %d: %.0f/s of %.0f/s: "+
						"%.3f; processors busy %.0f %%\n", takes, row.took.Seconds()*1000, workers, connections, size,
						row.rate, row.allowed, row.rate/row.allowed, 100*row.busy)
				})
			}
		}
	}
}

// serverRow is one cell of the table: the conditions and the measurement.
type serverRow struct {
	takes                      time.Duration
	workers, connections, size int
	took                       time.Duration // what the server took for a message, on average
	rate, allowed              float64       // messages a second
	busy                       float64       // share of the machine's CPU time, 0 to 1
}

// MarshalJSON returns an object of numbers: times in milliseconds, rates in messages a second.
func (row serverRow) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]float64{"takes_ms": float64(row.takes.Milliseconds()),
		"took_ms": row.took.Seconds() * 1000, "workers": float64(row.workers), "connections": float64(row.connections),
		"batch_size": float64(row.size), "rate": row.rate, "allowed": row.allowed, "ratio": row.rate / row.allowed,
		"busy": row.busy})
}

func (row *serverRow) measure(t *testing.T, content workflows.Content) {
	s := startSlowServer(t, row.takes)
	r := rig.NewOn(t, fmt.Sprintf("mx=smtp://%s?connections=%d&messages=0&tls=none&next_behind_dot=true", s.addr,
		row.connections), servertest.OwnPostgres(t).URL("mail"), servertest.Temporal(t))
	planned := settledAfter + measuredFor + 5*time.Second
	inTime := int(float64(row.workers*row.connections) * planned.Seconds() / row.takes.Seconds())
	importReaders(r, max(inTime, 2*row.workers*row.size)) // so that a worker that has finished a batch finds another
	for range row.workers {
		r.StartWorker()
	}
	r.AwaitPollers(row.workers)
	in := workflows.Input{From: "The Harbour Gazette <gazette@example.com>", Subject: "{{.first_name}}", List: "people",
		BatchSize: row.size, Content: content}
	run := r.Start(in)
	r.Eventually("the first message is sent", func() bool { return !s.firstAt().IsZero() })
	from := s.firstAt().Add(settledAfter)
	sleepUntil(from)
	busy := machine()
	sleepUntil(from.Add(measuredFor))
	row.busy = (machine() - busy).Seconds() / measuredFor.Seconds() / float64(runtime.NumCPU())
	accepted, took := s.between(from, from.Add(measuredFor))
	row.rate, row.took = float64(accepted)/measuredFor.Seconds(), took
	row.allowed = float64(row.workers*row.connections) / took.Seconds()
	r.MustUpdate(workflows.CancelUpdate)
	r.Result(run)
}

// printMatrix prints the ratio of the measured rate to the one that the connections allow. It has a
// row for each server and number of workers, and a column for each batch size.
func (table *reachTable) printMatrix(w io.Writer) {
	if len(table.matrix) == 0 {
		return
	}
	fmt.Fprintln(w, "\nMessages a second of one mailing, from the fifth second on, and their ratio to what the "+
		"connections allow (goal: ≥ 0.95):")
	tab := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tab,
		"server takes\tmeasured\tworkers\tconnections each\tallowed\tbatch_size\trate\tratio\tprocessors busy")
	for _, row := range table.matrix {
		fmt.Fprintf(tab, "%v\t%.2f ms\t%d\t%d\t%.0f/s\t%d\t%.0f/s\t%.3f\t%.0f %%\n", row.takes, row.took.Seconds()*1000,
			row.workers, row.connections, row.allowed, row.size, row.rate, row.rate/row.allowed, 100*row.busy)
	}
	_ = tab.Flush()
}

// slowServer is an SMTP server that takes a fixed time for each message. It records when it
// accepted each.
type slowServer struct {
	addr    string
	takes   time.Duration
	waiting chan waitingMessage // in the order of their times

	mu       sync.Mutex
	first    time.Time
	accepted []accepted
}

// accepted is when a message was accepted, and how long that took.
type accepted struct {
	at   time.Time
	took time.Duration
}

func startSlowServer(t testing.TB, takes time.Duration) *slowServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	s := &slowServer{addr: listener.Addr().String(), takes: takes, waiting: make(chan waitingMessage, 1024)}
	t.Cleanup(func() { close(s.waiting) })
	// A goroutine that sleeps precisely keeps one of the runtime's GOMAXPROCS for up to 10 ms.
	before := runtime.GOMAXPROCS(8)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	go s.answer()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s
}

func (s *slowServer) serve(c net.Conn) {
	defer c.Close()
	r, w := bufio.NewReaderSize(c, 64<<10), bufio.NewWriter(c)
	reply := func(text string) {
		_, _ = w.WriteString(text + "\r\n")
		if r.Buffered() == 0 {
			_ = w.Flush()
		}
	}
	reply("220 slow.example ESMTP")
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		switch verb := string(bytes.ToUpper(line[:min(4, len(line))])); verb {
		case "EHLO":
			reply("250-slow.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES")
		case "MAIL", "RCPT", "RSET":
			reply("250 2.1.0 ok")
		case "DATA":
			reply("354 go on")
			_ = w.Flush()
			for {
				line, err := r.ReadSlice('\n')
				if err != nil && err != bufio.ErrBufferFull {
					return
				}
				if len(line) == 3 && line[0] == '.' {
					break
				}
			}
			s.accept()
			reply("250 2.0.0 accepted")
		case "QUIT":
			reply("221 2.0.0 bye")
			_ = w.Flush()
			return
		default:
			reply("500 5.5.1 what?")
		}
	}
}

// waitingMessage is a message that is to be answered when it is due.
type waitingMessage struct {
	due  time.Time
	done chan struct{}
}

// answer answers each message when it is due. One goroutine sleeps for all, because each that
// sleeps keeps a thread.
func (s *slowServer) answer() {
	for m := range s.waiting {
		sleepUntil(m.due)
		close(m.done)
	}
}

func (s *slowServer) accept() {
	came := time.Now()
	m := waitingMessage{came.Add(s.takes), make(chan struct{})}
	s.waiting <- m
	<-m.done
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first.IsZero() {
		s.first = now
	}
	s.accepted = append(s.accepted, accepted{now, now.Sub(came)})
}

func (s *slowServer) firstAt() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first
}

// between returns how many messages were accepted from one time to another, and how long each took
// on average.
func (s *slowServer) between(from, to time.Time) (n int, mean time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.accepted {
		if !m.at.Before(from) && m.at.Before(to) {
			n++
			mean += m.took
		}
	}
	return n, mean / time.Duration(max(n, 1))
}
