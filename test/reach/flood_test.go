package reach

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/feedback"
	"directmailer/internal/feedback/token"
	"directmailer/test/rig"
)

// floodRate is how many requests a flood begins in a second.
const floodRate = 10_000

// flood measures a mailing beside a flood of its worker's public listener. What the clients of the
// flood and the kernel use is not the worker's, and they are on the same machine. So the mailing is
// compared with one beside the same flood of a deaf listener, which accepts nothing.
func (table *reachTable) flood(t *testing.T) {
	const connections = 32
	messages := min(600_000, *most) // for a minute
	content := newsletter(t, 2_000)
	var deafRate float64
	for _, of := range []string{"nothing", "deaf listener", "pages"} {
		t.Run("of="+of, func(t *testing.T) {
			s := startSink(t)
			r := rig.NewOn(t, s.dropPoint(connections), servertest.OwnPostgres(t).URL("mail"), servertest.Temporal(t))
			importReaders(r, messages)
			address := rig.FreeAddress(t)
			r.StartWorker("DM_PUBLIC_ADDRESS=" + address)
			r.AwaitPollers(1)
			stop := func() string { return "" }
			switch of {
			case "deaf listener":
				listener, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer listener.Close()
				stop = startFlood(t, listener.Addr().String())
			case "pages":
				stop = startFlood(t, address)
			}
			c := measure(r, content, messages, s)
			fmt.Print(stop())
			row := reachRow{what: "2 KB beside a flood of: " + of, figure: fmt.Sprintf("%.0f/s", c.rate()), cost: c.cost()}
			switch {
			case of == "deaf listener":
				deafRate = c.rate()
			case of == "pages" && deafRate > 0:
				row.against = fmt.Sprintf("beside a flood of a deaf listener: %.0f/s", deafRate)
				row.ratio, row.goal = fmt.Sprintf("%.2f", c.rate()/deafRate), "≥ 0.9"
			}
			table.add(row)
		})
	}
}

// startFlood starts a process that floods the address. stop ends it, and returns what it says.
func startFlood(t *testing.T, address string) (stop func() string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFlood$", "-test.v", "-test.timeout=0")
	cmd.Env = append(os.Environ(), "FLOOD_OF="+address)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	end, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() string {
		t.Helper()
		_ = end.Close()
		if err := cmd.Wait(); err != nil {
			t.Fatalf("the flood: %v\n%s", err, said.String())
		}
		for line := range strings.Lines(said.String()) {
			if _, text, ok := strings.Cut(line, "flood: "); ok {
				return "  flood: " + text
			}
		}
		return ""
	}
}

// TestFlood is the process that startFlood starts. It ends with its standard input.
func TestFlood(t *testing.T) {
	address := os.Getenv("FLOOD_OF")
	if address == "" {
		t.Skip("floods a server for TestReach")
	}
	ctx, stop := context.WithCancel(t.Context())
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); stop() }()
	keys, err := token.ParseKeys(rig.TokenKeys)
	if err != nil {
		t.Fatal(err)
	}
	f := flooder{address: address}
	for n := range 1000 { // tokens that are genuine, of people who are not in the mailing
		who := token.Recipient{Mailing: 1, Number: 10_000_000 + n}
		f.paths = append(f.paths, feedback.Path+keys.ForURL(token.Unsubscribe, who))
	}
	began := time.Now()
	f.run(ctx)
	each := func(n *atomic.Int64) string {
		return fmt.Sprintf("%.0f", float64(n.Load())/time.Since(began).Seconds())
	}
	t.Logf("flood: requests a second: %s begun, %s answered with 200, %s refused, %s left without an answer; "+
		"%s more could not be begun", each(&f.begun), each(&f.done), each(&f.refused), each(&f.silent), each(&f.late))
}

// flooder sends requests without waiting for the answers of others, each by a client of its own.
type flooder struct {
	address                            string
	paths                              []string
	begun, done, refused, silent, late atomic.Int64
}

// run begins floodRate requests in each second, until ctx ends.
func (f *flooder) run(ctx context.Context) {
	const step, patience = 10 * time.Millisecond, time.Second
	var all sync.WaitGroup
	defer all.Wait()
	free := make(chan struct{}, floodRate)
	for next := time.Now(); ctx.Err() == nil; next = next.Add(step) {
		time.Sleep(time.Until(next))
		for range floodRate * int(step) / int(time.Second) {
			select {
			case free <- struct{}{}:
				f.begun.Add(1)
				all.Go(func() { f.request(time.Now().Add(patience)); <-free })
			default:
				f.late.Add(1)
			}
		}
	}
}

// request sends one request from an address of the loopback, of which Linux has 16 million.
func (f *flooder) request(deadline time.Time) {
	n := rand.Uint32()
	from := &net.TCPAddr{IP: net.IPv4(127, byte(n>>16)|1, byte(n>>8), byte(n)|1)}
	dialer := net.Dialer{LocalAddr: from, Deadline: deadline, KeepAlive: -1}
	c, err := dialer.Dial("tcp", f.address)
	if err != nil {
		f.silent.Add(1)
		return
	}
	defer c.Close()
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.SetDeadline(deadline)
	const body = "List-Unsubscribe=One-Click"
	_, _ = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"+
		"Content-Length: %d\r\n\r\n%s", f.paths[n%uint32(len(f.paths))], len(body), body)
	status := make([]byte, len("HTTP/1.1 200"))
	switch _, err := io.ReadFull(c, status); {
	case err != nil:
		f.silent.Add(1)
	case string(status) == "HTTP/1.1 200":
		f.done.Add(1)
	default:
		f.refused.Add(1)
	}
}
