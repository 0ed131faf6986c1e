package unsubscribe

import (
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestWhatAFloodCosts measures, with FLOOD set to a time such as 15s, what requests of many clients
// cost this process and the database. The clients are a process of their own.
func TestWhatAFloodCosts(t *testing.T) {
	long, err := time.ParseDuration(os.Getenv("FLOOD"))
	if err != nil {
		t.Skip("SKIPPED: set FLOOD to a time such as 15s to measure it")
	}
	if base := os.Getenv("FLOOD_OF"); base != "" {
		t.Log(flood(base, strings.Fields(os.Getenv("FLOOD_TOKENS")), long))
		return
	}
	f := newFixture(t)
	f.start(Options{Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	transactions := func() (n int64) {
		err := f.pool.QueryRow(t.Context(), `SELECT xact_commit FROM pg_stat_database
			WHERE datname = current_database()`).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	clients := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWhatAFloodCosts$", "-test.v")
	clients.Env = append(os.Environ(), "FLOOD_OF="+f.base,
		"FLOOD_TOKENS="+f.token("spring", 1)+" "+f.token("autumn", 2)+" x")
	before, committed, began := processorTime(), transactions(), time.Now()
	out, err := clients.Output()
	took := time.Since(began)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var requests, answered int
	for line := range strings.Lines(string(out)) {
		if _, text, ok := strings.Cut(line, "requests "); ok {
			_, _ = fmt.Sscanf(text, "%d answered %d", &requests, &answered)
		}
	}
	spent := processorTime() - before
	t.Logf("%.0f requests a second, %d of %d answered with 200; %.0f µs of processor time each; "+
		"%.1f transactions a second", float64(requests)/took.Seconds(), answered, requests,
		float64(spent.Microseconds())/float64(max(requests, 1)), float64(transactions()-committed)/took.Seconds())
}

// processorTime returns what this process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// flood sends requests from many clients for a time.
func flood(base string, tokens []string, long time.Duration) string {
	var requests, answered atomic.Int64
	var all sync.WaitGroup
	end := time.Now().Add(long)
	transport := &http.Transport{MaxIdleConnsPerHost: 400, MaxConnsPerHost: 400}
	for i := range 400 {
		all.Go(func() {
			client := &http.Client{Transport: transport}
			for n := 0; time.Now().Before(end); n++ {
				r, _ := http.NewRequest("POST", base+"/u/"+tokens[n%len(tokens)],
					strings.NewReader("List-Unsubscribe=One-Click"))
				r.Header.Set("Content-Type", urlencoded)
				r.Header.Set("X-Forwarded-For", fmt.Sprintf("198.%d.%d.%d", i%250, n>>8&255, n&255))
				response, err := client.Do(r)
				if err != nil {
					continue
				}
				response.Body.Close()
				requests.Add(1)
				if response.StatusCode == http.StatusOK {
					answered.Add(1)
				}
			}
		})
	}
	all.Wait()
	return fmt.Sprintf("requests %d answered %d", requests.Load(), answered.Load())
}
