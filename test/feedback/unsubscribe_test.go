package feedback

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"directmailer/internal/dev/smtptest"
	"directmailer/internal/feedback"
	"directmailer/internal/feedback/token"
	"directmailer/internal/ledger"
	"directmailer/test/rig"
)

// Two workers, of which one has the public listener, have messages that a server keeps waiting, and
// others that are rendered and claimed. Everybody who has no message yet leaves with one click.
func TestWhoLeavesWithOneClickGetsNothingTwoSecondsLater(t *testing.T) {
	t.Parallel()
	const recipients, connections = 100, 2 * rig.Connections
	release := make(chan struct{})
	var mu sync.Mutex
	held := map[int]bool{}
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Message != 2 || e.Phase != "RCPT" {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		held[e.Conn] = true
		return &smtptest.Action{Wait: release}
	}})
	r := rig.New(t, rig.MX(s))
	r.ImportList(recipients)
	address := rig.FreeAddress(t)
	r.StartWorker("DM_TOKEN_KEYS="+secret, "DM_PUBLIC_ADDRESS="+address)
	r.StartWorker("DM_TOKEN_KEYS=" + secret)
	r.AwaitPollers(2)
	run := r.Start(rig.Mailing(10))
	r.Eventually("every connection of both workers waits", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(held) == connections
	})
	before := sentTo(s)
	var all sync.WaitGroup
	for _, to := range unsent(r, before) {
		all.Go(func() { leave(r, address, to, oneClick) })
	}
	all.Wait()
	<-time.After(2 * time.Second) // the time that a request may take
	close(release)
	result := r.Result(run)
	if len(s.Received()) != len(before) || result.Counts.Sent != int64(len(before)) ||
		result.Counts.OptedOut != int64(recipients-len(before)) {
		t.Errorf("%d messages were sent before the requests, %d in all: %+v", len(before), len(s.Received()), result.Counts)
	}
	for address, line := range r.Report() {
		_, sent := before[address]
		if !sent && (line.Outcome != ledger.OptedOut || !strings.HasSuffix(line.Reply, "(asked)") ||
			line.Events != "unsubscribe") {
			t.Errorf("%+v", line)
		}
	}
	if got := texts(r, `SELECT DISTINCT class || ' ' || origin FROM events`); !slices.Equal(got,
		[]string{"unsubscribe web"}) {
		t.Errorf("events: %q", got)
	}
}

// unsent returns the recipients who have no message.
func unsent(r *rig.Rig, sent map[string]smtptest.Message) (all []token.Recipient) {
	r.Helper()
	rows, err := r.Pool.Query(r.Context(), `SELECT mailing, number, address FROM recipients`)
	if err != nil {
		r.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var to token.Recipient
		var address string
		if err := rows.Scan(&to.Mailing, &to.Number, &address); err != nil {
			r.Fatal(err)
		}
		if _, has := sent[address]; !has {
			all = append(all, to)
		}
	}
	if rows.Err() != nil {
		r.Fatal(rows.Err())
	}
	return all
}

// oneClick is what a mail program sends (RFC 8058).
const oneClick = "List-Unsubscribe=One-Click"

// leave sends a form to the public listener: that of the page, or oneClick.
func leave(r *rig.Rig, address string, to token.Recipient, form string) {
	request, err := http.NewRequestWithContext(r.Context(), http.MethodPost,
		"http://"+address+feedback.Path+keys.ForURL(token.Unsubscribe, to), strings.NewReader(form))
	if err != nil {
		r.Error(err)
		return
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := clients.Do(request)
	if err != nil {
		r.Error(err)
		return
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusOK {
		r.Errorf("a request was answered %d, %v", answer.StatusCode, err)
	}
}

// clients is a mailbox provider, which has few connections.
var clients = &http.Client{Transport: &http.Transport{MaxConnsPerHost: 16}}
