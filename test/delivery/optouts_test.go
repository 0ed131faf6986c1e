package delivery

import (
	"sync"
	"testing"
	"time"

	"directmailer/internal/audience/optouts"
	"directmailer/internal/dev/smtptest"
	"directmailer/internal/ledger"
	"directmailer/test/rig"
)

// Two workers, each with messages that a server keeps waiting at different steps, with others that
// are rendered and claimed, and with batches that nobody has claimed. Two seconds after a request,
// nobody gets a message who asked for none.
func TestWhoOptsOutWhileTheMailingRunsGetsNothingTwoSecondsLater(t *testing.T) {
	t.Parallel()
	const recipients, connections = 400, 2 * rig.Connections
	release := make(chan struct{})
	var mu sync.Mutex
	held := map[int]string{} // by connection: whose message waits, if the server knows
	steps := []string{"MAIL", "RCPT", "DATA"}
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Message != 2 || e.Phase != steps[e.Conn%len(steps)] {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		held[e.Conn] = e.To
		return &smtptest.Action{Wait: release}
	}})
	r := rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	r.StartWorker()
	r.StartWorker()
	r.AwaitPollers(2)
	run := r.Start(rig.Mailing(20))
	r.Eventually("every connection of both workers waits", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(held) == connections
	})
	gone := map[string]bool{}
	var requests []optouts.Request
	for n := 2; n <= recipients; n += 2 {
		gone[rig.Address(n)] = true
	}
	for _, address := range held {
		if address != "" { // not at MAIL
			gone[address] = true
		}
	}
	for address := range gone {
		requests = append(requests, optouts.Request{Key: address})
	}
	before := len(s.Received())
	if _, err := optouts.New(r.Pool).Add(t.Context(), requests); err != nil {
		t.Fatal(err)
	}
	<-time.After(2 * time.Second) // the time that a request may take
	close(release)
	result := r.Result(run)
	received := s.Received()
	for _, m := range received[before:] {
		if gone[m.To] {
			t.Errorf("%s got a message two seconds after the request", m.To)
		}
	}
	if result.Counts.Sent != int64(len(received)) || result.Counts.Sent+result.Counts.OptedOut != recipients {
		t.Errorf("%d messages were received, the counts are %+v", len(received), result.Counts)
	}
	r.Judge(s.Copies(), recipients)
	for address, line := range r.Report() {
		if line.Outcome == ledger.OptedOut && (!gone[address] || line.Reply != "opted out of all mail (asked)") {
			t.Errorf("%+v", line)
		}
	}
}
