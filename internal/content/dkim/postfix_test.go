package dkim_test

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"directmailer/internal/content/dkim/dkimtest"
	"directmailer/internal/delivery/smtp"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/dev/smtptest"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

// The messages go through our own client to a real Postfix, and from there to a server that keeps
// them. Both verifiers judge what has arrived.
func TestEveryShapeOfMessageIsSignedAfterAPostfixHasRelayedIt(t *testing.T) {
	if testing.Short() {
		t.Skip("a hundred messages through a Postfix take seconds")
	}
	t.Parallel()
	arrived := make(chan smtptest.Message, 1000)
	last := smtptest.Start(t, smtptest.Options{
		Extensions: []string{"8BITMIME", "SMTPUTF8"}, Accepted: func(m smtptest.Message) { arrived <- m },
	})
	relay := servertest.Postfix(t, last.Addr())
	keys := bothKeys(t)
	sent := map[string]sample{} // by Message-ID
	all := corpus(t, keys)
	conn, err := smtp.Dial(t.Context(), smtp.Options{Addr: relay.Addr(), TLS: smtp.None})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, s := range all {
		m := smtp.Message{From: s.from, To: s.to, Data: s.data, UTF8: s.utf8}
		if err := conn.Begin(t.Context(), &m); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if _, err := conn.Finish(nil); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		sent[idOf(string(s.data))] = s
	}
	var relayed []sample
	for range all {
		select {
		case m := <-arrived:
			s, ok := sent[idOf(m.Data)]
			if !ok || !strings.Contains(m.Data, "\nReceived: ") && !strings.HasPrefix(m.Data, "Received: ") {
				t.Fatalf("a message that Postfix has not relayed:\n%s", m.Data)
			}
			s.data = []byte(m.Data)
			relayed = append(relayed, s)
			if err := dkimtest.Verify(s.data, keys.For(domain).Keys()); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
		case <-time.After(2 * time.Minute):
			t.Fatal(strconv.Itoa(len(relayed)) + " of " + strconv.Itoa(len(all)) + " messages have arrived")
		}
	}
	dkimpy(t, keys.For(domain).Keys(), relayed)
}

func idOf(message string) string {
	_, rest, _ := strings.Cut(message, "\r\nMessage-ID: ")
	id, _, _ := strings.Cut(rest, "\r\n")
	return id
}
