package rig

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"directmailer/internal/dev/servers"
	"directmailer/internal/dev/smtptest"
	"directmailer/internal/ledger"
)

// Connections is how many connections a worker opens to the drop point of MX.
const Connections = 4

// MX returns the drop point mx: the server, with Connections connections for each worker.
func MX(s *smtptest.Server) string {
	return fmt.Sprintf("mx=smtp://%s?connections=%d", s.Addr(), Connections)
}

// LimitDeaths is a script that leaves out what would make a recipient uncertain for good: the
// script may break the connection at the messages of one recipient fewer times than Direct Mailer
// sends a message without an answer.
func LimitDeaths(script func(smtptest.Event) *smtptest.Action) func(smtptest.Event) *smtptest.Action {
	var mu sync.Mutex
	deaths := map[string]int{}
	return func(e smtptest.Event) *smtptest.Action {
		a := script(e)
		if a == nil || !a.Die || e.Phase != "BODY" && e.Phase != "DOT" {
			return a
		}
		mu.Lock()
		defer mu.Unlock()
		if deaths[e.To] == ledger.MaxUncertain-1 {
			return nil
		}
		deaths[e.To]++
		return a
	}
}

// FreeAddress returns host:port of a port of the loopback that nobody listens on now. No outgoing
// connection gets the port, so a server can stop and listen there again.
func FreeAddress(t testing.TB) string {
	t.Helper()
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// StalledServer starts a server that accepts n messages. It stalls every later message after its
// final dot, until the test releases the message.
func StalledServer(t testing.TB, n int) (*smtptest.Server, *smtptest.Stall) {
	t.Helper()
	stall := smtptest.NewStall("DOT", n)
	return smtptest.Start(t, smtptest.Options{Script: stall.Script}), stall
}

// AwaitStalled waits until the server has accepted n messages, and every connection has one more
// that is stalled.
func (r *Rig) AwaitStalled(s *smtptest.Server, stall *smtptest.Stall, n int) {
	r.Helper()
	r.Eventually("every connection waits for an answer",
		func() bool { return len(s.Received()) == n && stall.Waiting() == Connections })
}

// Throttle returns a script that accepts so many messages in a second, and then gives the reply to
// the final dots of the others until the second is over. It refuses at least one message, however
// long the messages before took: a slow machine is throttled as a fast one is.
func Throttle(perSecond int, reply string) func(smtptest.Event) *smtptest.Action {
	var mu sync.Mutex
	var second time.Time
	taken := 0
	return func(e smtptest.Event) *smtptest.Action {
		if e.Phase != "DOT" {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); taken == 0 || taken > perSecond && now.Sub(second) >= time.Second {
			second, taken = now, 0
		}
		if taken++; taken > perSecond {
			return &smtptest.Action{Reply: reply}
		}
		return nil
	}
}
