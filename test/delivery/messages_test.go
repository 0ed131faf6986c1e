package delivery

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jhillyerd/enmime/v2"

	"directmailer/internal/audience/lists"
	"directmailer/internal/audience/optouts"
	"directmailer/internal/content/dkim"
	"directmailer/internal/content/dkim/dkimtest"
	"directmailer/internal/dev/smtptest"
	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
	"directmailer/test/rig"
	"directmailer/workflows"
)

// Each copy of a message has the same idempotency key, so that a relay that knows the header
// accepts the message once.
func TestAnIdempotencyHeaderIsTheSameForEveryAttempt(t *testing.T) {
	t.Parallel()
	var died atomic.Int64
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "DOT" && died.Add(1) <= 3 {
			return &smtptest.Action{Die: true, Accept: true}
		}
		return nil
	}})
	r := rig.New(t, rig.MX(s)+"&idempotency=X-Idempotency-Key")
	r.ImportList(20)
	r.StartWorker()
	r.Result(r.Start(rig.Mailing(10)))
	keys, owner := map[string]string{}, map[string]string{}
	copies := 0
	for _, m := range s.Received() {
		copies++
		line, _, _ := strings.Cut(m.Data, "\r\n")
		key, ok := strings.CutPrefix(line, "X-Idempotency-Key: ")
		if !ok || !strings.Contains(m.Data, "Message-ID: <"+key+"@") || strings.Contains(key, "@") {
			t.Fatalf("message to %s:\n%s", m.To, m.Data)
		}
		if known := keys[m.To]; known != "" && known != key {
			t.Errorf("%s has the keys %s and %s", m.To, known, key)
		}
		if other := owner[key]; other != "" && other != m.To {
			t.Errorf("%s and %s have the same key", other, m.To)
		}
		keys[m.To], owner[key] = key, m.To
	}
	if len(keys) != 20 || copies <= 20 {
		t.Errorf("%d recipients, %d copies", len(keys), copies)
	}
}

// Every copy of a message has the same signatures, whichever worker has rendered it, and another
// verifier accepts them.
func TestEveryMessageThatArrivesIsSigned(t *testing.T) {
	t.Parallel()
	var died atomic.Int64
	s := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "DOT" && died.Add(1) <= 3 {
			return &smtptest.Action{Die: true, Accept: true}
		}
		return nil
	}})
	r := rig.New(t, rig.MX(s))
	r.ImportList(20)
	entries := dkimtest.Entries(t, "example.com", dkim.RSA, dkim.Ed25519)
	signing := "DM_DKIM=" + entries[0].Text() + " " + entries[1].Text()
	r.StartWorker(signing)
	r.StartWorker(signing)
	r.Result(r.Start(rig.Mailing(5)))
	keys, _, err := entries.Load()
	if err != nil {
		t.Fatal(err)
	}
	copies, first := 0, map[string]string{}
	for _, m := range s.Received() {
		copies++
		if err := dkimtest.Verify([]byte(m.Data), keys.For("example.com").Keys()); err != nil {
			t.Errorf("message to %s: %v\n%s", m.To, err, m.Data)
		}
		if known := first[m.To]; known != "" && known != m.Data {
			t.Errorf("%s has two different messages", m.To)
		}
		first[m.To] = m.Data
	}
	if len(first) != 20 || copies <= 20 {
		t.Errorf("%d recipients, %d copies", len(first), copies)
	}
	m, err := mailings.New(r.Pool).Get(t.Context(), r.ID())
	want := []string{"ed25519._domainkey.example.com", "rsa._domainkey.example.com"}
	if err != nil || !slices.Equal(m.SignedWith, want) {
		t.Errorf("the mailing is signed with %v, %v", m.SignedWith, err)
	}
}

// The server and the parser are not our own: each recipient gets the message for this recipient,
// once.
func TestEveryRecipientGetsHisOwnMessageOnce(t *testing.T) {
	t.Parallel()
	const recipients = 300
	inbox := startInbox(t)
	r := rig.New(t, "mx=smtp://"+inbox.addr+"?tls=none")
	r.ImportList(recipients)
	if _, err := optouts.New(r.Pool).Add(t.Context(), []optouts.Request{{Key: rig.Address(7)}}); err != nil {
		t.Fatal(err)
	}
	r.StartWorker()
	result := r.Result(r.Start(rig.Mailing(50)))
	if want := (workflows.Counts{Sent: recipients - 1, OptedOut: 1}); result.Counts != want ||
		result.State != workflows.StateCompleted || result.Batches != 6 {
		t.Errorf("result %+v", result)
	}
	r.Judge(inbox.copies(), recipients)
	ids := map[string]bool{}
	for _, m := range inbox.messages() {
		e, err := enmime.ReadEnvelope(strings.NewReader(m.data))
		if err != nil || len(e.Errors) > 0 {
			t.Fatalf("message to %s: %v %v", m.to, err, e.Errors)
		}
		if !strings.Contains(e.Text, "you are "+m.to) || !strings.Contains(e.HTML, "you are "+m.to) ||
			!strings.HasPrefix(e.GetHeader("Subject"), "Hello Nr ") || m.from != "news@example.com" {
			t.Errorf("message to %s:\n%s", m.to, m.data)
		}
		ids[e.GetHeader("Message-ID")] = true
	}
	if len(ids) != recipients-1 {
		t.Errorf("%d different Message-IDs", len(ids))
	}
}

// The buffer of a message that has its answer is used for the next one. Whatever goes wrong between
// the two, each body has the text of one recipient only.
func TestNoMessageHasOctetsOfAnotherWhateverGoesWrongOnTheWay(t *testing.T) {
	t.Parallel()
	const recipients = 600
	var seen atomic.Int32
	s := smtptest.Start(t, smtptest.Options{Script: rig.LimitDeaths(func(e smtptest.Event) *smtptest.Action {
		switch n := seen.Add(1); {
		case e.Phase == "DOT" && n%11 == 0:
			return &smtptest.Action{Reply: "451 4.3.0 later"}
		case e.Phase == "RCPT" && n%17 == 0:
			return &smtptest.Action{Reply: "450 4.2.1 later"}
		case e.Phase == "BODY" && n%29 == 0, e.Phase == "DOT" && n%37 == 0:
			return &smtptest.Action{Die: true}
		}
		return nil
	})})
	r := rig.New(t, fmt.Sprintf("mx=smtp://%s?connections=6&next_behind_dot=true&tls=none", s.Addr()))
	// The texts have many lengths, so that some buffers are too short and some hold more than is
	// needed.
	if _, err := lists.New(r.Pool).Import(r.Context(), "people", "people.csv", []string{"name"},
		&rig.Members{N: recipients, Name: ownWords}, true); err != nil {
		t.Fatal(err)
	}
	r.StartWorker()
	in := rig.Mailing(100)
	in.Content = workflows.Content{Text: "{{.name}}"}
	in.Retry.DropPoint.Attempts = 100
	if result := r.Result(r.Start(in)); result.Counts.Sent != recipients {
		t.Errorf("result %+v", result)
	}
	r.Judge(s.Copies(), recipients)
	for _, m := range s.Received() {
		e, err := enmime.ReadEnvelope(strings.NewReader(m.Data))
		if err != nil || len(e.Errors) > 0 {
			t.Fatalf("message to %s: %v %v", m.To, err, e.Errors)
		}
		var n int
		if _, err := fmt.Sscanf(m.To, "r%d@", &n); err != nil || strings.TrimSpace(e.Text) != ownWords(n) {
			t.Errorf("message to %s:\n%s", m.To, m.Data)
		}
	}
}

// ownWords returns some 10 to 3,000 octets that no other recipient has.
func ownWords(n int) string {
	return strings.Repeat(fmt.Sprintf("only %d ", n), n*7%300) + fmt.Sprint(n)
}

func TestARecipientWhoseTemplateFailsIsFailedAndTheBatchGoesOn(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, rig.MX(s))
	r.ImportList(10)
	if _, err := r.Pool.Exec(t.Context(), `UPDATE list_members SET attributes = '{}' WHERE position = 4`); err != nil {
		t.Fatal(err)
	}
	r.StartWorker()
	result := r.Result(r.Start(rig.Mailing(5)))
	r.Judge(s.Copies(), 10)
	l := r.Report()[rig.Address(4)]
	if result.Counts.Sent != 9 || result.Counts.Failed != 1 || l.Outcome != ledger.Failed ||
		!strings.Contains(l.Reply, "name") {
		t.Errorf("%+v; %+v", result.Counts, l)
	}
}
