package feedback

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"directmailer/internal/dev/smtptest"
	"directmailer/internal/feedback"
	"directmailer/internal/feedback/token"
	"directmailer/test/rig"
)

var recipients = flag.Int("recipients", 2000, "recipients of the mailing of TestEachEventOfALargeMailingIsThereOnce")

// world is the receiving side. For some recipients it sends reports, twice each, to whichever
// worker listens. It knows only the addresses of the messages.
type world struct {
	*rig.Rig
	addresses []string // of the listeners
	seed      uint64

	mu   sync.Mutex
	want map[string]string // the class of the event that each recipient must have
	got  map[string]int    // messages, by recipient
	all  sync.WaitGroup
}

// accepted is called for each message that the server has accepted.
func (w *world) accepted(m smtptest.Message) {
	var n int
	if _, err := fmt.Sscanf(m.To, "r%d@", &n); err != nil {
		w.Error(err)
		return
	}
	w.mu.Lock()
	w.got[m.To]++
	w.mu.Unlock()
	to, class, text := m.From, "", ""
	switch named, ok := feedback.ReadAddress(keys, m.From); {
	case !ok:
		w.Errorf("the bounce address of recipient %d names nobody", n)
		return
	case n%50 == 7: // 2 %
		class, text = "hard", dsn(m, "5.1.1")
	case n%100 == 11: // 1 %
		class, text = "unsubscribe", fmt.Sprintf("Message-ID: <%d@example.org>\r\nSubject: unsubscribe\r\n\r\n", n)
		to = feedback.UnsubscribePrefix + keys.ForAddress(token.Unsubscribe, named.Recipient) + "@" + domain
	case n%1000 == 13: // 0.1 %
		class, text = "complaint", arf(m)
	default:
		return
	}
	w.mu.Lock()
	again := w.want[m.To] != "" // a message that was sent twice bounces twice
	w.want[m.To] = class
	w.mu.Unlock()
	if again {
		text = strings.Replace(text, "Message-ID: <", "Message-ID: <again.", 1)
		if class != "hard" {
			return
		}
	}
	w.all.Go(func() {
		random := rand.New(rand.NewPCG(w.seed, uint64(n)))
		for range 2 {
			w.deliver(random, to, text)
		}
	})
}

// deliver tries one listener after the other until one of them has taken the message over.
func (w *world) deliver(random *rand.Rand, to, text string) {
	for deadline := time.Now().Add(rig.Timeout); ; time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond) {
		err := deliverOnce(w.addresses[random.IntN(len(w.addresses))], to, text)
		switch {
		case err == nil, w.Context().Err() != nil:
			return
		case strings.Contains(err.Error(), "SMTP error 5"), time.Now().After(deadline):
			w.Errorf("a report was not taken over: %v", err)
			return
		}
	}
}

// Bounces for 2 %, complaints for 0.1 % and requests of 1 % come in while the mailing runs. Workers
// are killed meanwhile.
func TestEachEventOfALargeMailingIsThereOnce(t *testing.T) {
	t.Parallel()
	w := &world{seed: 14, want: map[string]string{}, got: map[string]int{}, addresses: []string{rig.FreeAddress(t),
		rig.FreeAddress(t)}}
	s := smtptest.Start(t, smtptest.Options{Discard: true, Accepted: w.accepted})
	w.Rig = rig.New(t, rig.MX(s))
	w.ImportList(*recipients)
	workers := []*rig.Worker{w.StartWorker(environment(w.addresses[0])...),
		w.StartWorker(environment(w.addresses[1])...)}
	run := w.Start(rig.Mailing(100))
	const kills = 3
	for i := range kills {
		w.Eventually("more events are there", func() bool {
			return len(texts(w.Rig, `SELECT 'x' FROM events`)) > (i+1)**recipients/100*3/(kills+2)
		})
		victim := i % len(workers)
		w.Kill(workers[victim])
		workers[victim] = w.StartWorker(environment(w.addresses[victim])...)
	}
	result := w.Result(run)
	w.all.Wait()
	if result.Counts.Sent+result.Counts.Uncertain != int64(*recipients) { // killed three times at one recipient
		t.Errorf("the ledger: %+v", result.Counts)
	}
	var want []string
	for a, class := range w.want {
		want = append(want, a+" "+class)
	}
	slices.Sort(want)
	got := texts(w.Rig, `SELECT DISTINCT r.address || ' ' || e.class FROM events e
		JOIN recipients r ON r.mailing = e.mailing AND r.number = e.recipient`)
	if !slices.Equal(got, want) || len(want) < *recipients*3/100 {
		t.Errorf("%d recipients have events, %d must have: %q, want %q", len(got), len(want), first(got), first(want))
	}
	copies, more := maps.Clone(w.got), 0
	for _, n := range copies {
		more += n - 1
	}
	if events := len(texts(w.Rig, `SELECT 'x' FROM events`)); events < len(want) || events > len(want)+more {
		t.Errorf("there are %d events of %d recipients, and %d messages were sent twice", events, len(want), more)
	}
	second := w.Another("second")
	again := second.Result(second.Start(rig.Mailing(100)))
	if again.Counts.OptedOut != int64(len(want)) || again.Counts.Sent != int64(*recipients-len(want)) {
		t.Errorf("of %d who must not get it, the second mailing leaves out %d: %+v", len(want), again.Counts.OptedOut,
			again.Counts)
	}
	for a, n := range w.got {
		if w.want[a] != "" && n > copies[a] {
			t.Errorf("%s must not get the second mailing", a)
		}
	}
}

func first(all []string) []string { return all[:min(len(all), 5)] }
