package sender_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/delivery/sender"
	"directmailer/internal/dev/smtptest"
)

// manyDomains gives the recipients of a batch addresses of five domains.
func manyDomains(b *sender.Batch) {
	next := b.Next
	b.Next = func(buf []byte) (sender.Message, error) {
		m, err := next(buf)
		if err == nil {
			m.To = fmt.Sprintf("r%d@d%d.example", m.Recipient, m.Recipient%5)
		}
		return m, err
	}
}

// last returns a change of a batch that leaves only the first n messages.
func last(n int) func(*sender.Batch) {
	return func(b *sender.Batch) {
		next := b.Next
		b.Next = func(buf []byte) (sender.Message, error) {
			m, err := next(buf)
			if err == nil && m.Recipient > int32(n) {
				err = io.EOF
			}
			return m, err
		}
	}
}

// statuses counts the latest attempts in the ledger by status.
func (r *rig) statuses() map[string]int {
	r.Helper()
	rows, err := r.pool.Query(r.Context(), `
		SELECT DISTINCT ON (recipient) status::text || CASE WHEN final THEN ', final' ELSE '' END
		FROM deliveries ORDER BY recipient, attempt DESC`)
	if err != nil {
		r.Fatal(err)
	}
	defer rows.Close()
	found := map[string]int{}
	for rows.Next() {
		var status string
		if err := rows.Scan(&status); err != nil {
			r.Fatal(err)
		}
		found[status]++
	}
	return found
}

// refusingAfter returns a script that accepts n messages and then gives the reply at the phase.
func refusingAfter(n int32, phase, reply string) func(smtptest.Event) *smtptest.Action {
	var accepted atomic.Int32
	return func(e smtptest.Event) *smtptest.Action {
		if e.Phase == phase && accepted.Add(1) > n {
			return &smtptest.Action{Reply: strings.ReplaceAll(reply, "TO", e.To)}
		}
		return nil
	}
}

// Whatever the words are: ten times the same, and nothing accepted between.
func TestADropPointThatRefusesTenInARowRefusesUsAndBlamesNobody(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, phase, reply, quote string
		first                     int32
	}{
		{"unknown words", "DOT", "550 Our kitchen is closed", "Our kitchen is closed", 0},
		{"unknown words after some", "DOT", "550 Our kitchen is closed", "Our kitchen is closed", 40},
		{"with the address", "RCPT", "554 <TO>: no soup for you 17", "… no soup for you 17", 40},
		{"a broken table of users", "RCPT", "550 5.1.1 <TO>: user unknown", "… user unknown", 40},
		{"a quota", "DOT", "550 5.4.5 Daily user sending limit exceeded", "Daily user sending limit exceeded", 40},
	} {
		for _, connections := range []int{1, 4} {
			t.Run(fmt.Sprintf("%s, connections=%d", c.name, connections), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, fmt.Sprintf("connections=%d", connections), refusingAfter(c.first, c.phase, c.reply))
				report, err := run(t.Context(), r.batch(r.claim("m", false), manyDomains))
				var refused *sender.RefusedError
				if !errors.As(err, &refused) || report.Complete || report.Refused < 10 {
					t.Fatalf("%+v, %v", report, err)
				}
				if !strings.Contains(err.Error(), c.quote) || strings.Contains(err.Error(), "@") {
					t.Errorf("the reason is %q, want %q in it", err, c.quote)
				}
				got := r.statuses()
				if got["sent, final"] != int(c.first) || got["not_sent"] < 10 || got["not_sent"] > 10+connections ||
					len(got) > 2 {
					t.Errorf("the ledger has %v", got)
				}
				for key, w := range r.deliveries() {
					if w.status == "not_sent" && (w.code == 0 || w.reply == "") {
						t.Errorf("%s does not say what happened: %+v", key, w)
					}
				}
			})
		}
	}
}

// The server accepts a message at its dot whose RCPT came before the first refusal of another.
func TestAMessageThatWasBegunBeforeARefusalProvesNothing(t *testing.T) {
	t.Parallel()
	var rcpts atomic.Int32
	refusedAll := make(chan struct{})
	r := newRig(t, "connections=2", func(e smtptest.Event) *smtptest.Action {
		switch {
		case e.Phase == "DOT":
			return &smtptest.Action{Wait: refusedAll}
		case e.Phase == "RCPT" && rcpts.Add(1) > 1:
			if rcpts.Load() == 6 {
				close(refusedAll)
			}
			return &smtptest.Action{Reply: "550 5.1.1 unknown"}
		}
		return nil
	})
	_, err := run(t.Context(), r.batch(r.claim("m", false), manyDomains))
	var refused *sender.RefusedError
	if got := r.statuses(); !errors.As(err, &refused) || got["bounced, final"] > 0 || got["sent, final"] != 1 {
		t.Errorf("%v; the ledger has %v", err, got)
	}
}

// One acceptance in ten answers shows that the refusals mean the recipients.
func TestRefusalsBetweenAcceptancesAreBounces(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{"550 our kitchen is closed", "550 5.1.1 unknown"} {
		t.Run(reply, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "connections=1", func(e smtptest.Event) *smtptest.Action {
				if e.Phase == "RCPT" && numberIn(e.To)%10 != 0 {
					return &smtptest.Action{Reply: reply}
				}
				return nil
			})
			report, err := run(t.Context(), r.batch(r.claim("m", false), manyDomains))
			if err != nil || !report.Complete {
				t.Fatalf("%+v, %v", report, err)
			}
			if got := r.statuses(); got["sent, final"] != 10 || got["bounced, final"] != 90 {
				t.Errorf("the ledger has %v", got)
			}
		})
	}
}

// The drop point has refused us, and accepts again after a few more refusals: they mean us as well.
func TestTheLastRefusalsBeforeADropPointAcceptsAgainBlameNobody(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{"550 closed for today", "550 5.1.1 unknown", "550 5.4.5 daily sending limit"} {
		for _, another := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, another worker=%v", reply, another), func(t *testing.T) {
				t.Parallel()
				var asked atomic.Int32
				r := newRig(t, "connections=1", func(e smtptest.Event) *smtptest.Action {
					if e.Phase == "RCPT" && asked.Add(1) <= 15 {
						return &smtptest.Action{Reply: reply}
					}
					return nil
				})
				claim := r.claim("m", false)
				evidence := &sender.Evidence{}
				first := r.batch(claim, manyDomains)
				first.DropPoints[0].Evidence = evidence
				if _, err := run(t.Context(), first); err == nil {
					t.Fatal("the drop point was to be found out")
				}
				second := r.batch(r.reclaim(claim, false), manyDomains)
				if another {
					second.DropPoints[0].Failed = true
				} else {
					second.DropPoints[0].Evidence = evidence
				}
				report, err := run(t.Context(), second)
				if got := r.statuses(); err != nil || !report.Complete || got["sent, final"] != recipients {
					t.Errorf("%+v, %v; the ledger has %v", report, err, got)
				}
			})
		}
	}
}

// A domain all of whose mailboxes are gone says nothing of us.
func TestTheSameRefusalForOneDomainBlamesTheRecipients(t *testing.T) {
	t.Parallel()
	r := newRig(t, "connections=1", refusingAfter(1, "RCPT", "550 5.1.1 unknown"))
	claim := r.claim("m", false)
	report, err := run(t.Context(), r.batch(claim, last(40)))
	if err != nil || report.DropPoints[0].Failure != nil {
		t.Fatalf("%+v, %v", report, err)
	}
	if got := r.statuses(); got["sent, final"] != 1 || got["bounced, final"] != 39 {
		t.Errorf("the ledger has %v", got)
	}
}

// The end of a batch, without an acceptance after its last refusals.
func TestAFewRefusalsAtTheEnd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, reply     string
		refused, before int32
		want            map[string]int
		soon            int
		fails           bool
	}{
		{"two clear ones", "550 5.1.1 unknown", 2, 98, map[string]int{"sent, final": 98, "bounced, final": 2}, 0, false},
		{"five clear ones", "550 5.1.1 unknown", 5, 95, map[string]int{"sent, final": 95, "refused": 5}, 5, false},
		{"two unclear ones", "550 no", 2, 98, map[string]int{"sent, final": 98, "refused": 2}, 0, false},
		{"two of us", "550 5.7.1 no", 2, 98, map[string]int{"sent, final": 98, "refused": 2}, 0, false},
		{"nobody else, clear", "550 5.1.1 unknown", 3, 0, map[string]int{"refused": 3}, 3, false},
		{"nobody else, unclear", "550 no", 3, 0, map[string]int{"not_sent": 3}, 0, true},
		{"nobody else, of us", "550 relay not permitted", 3, 0, map[string]int{"not_sent": 3}, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "connections=1", refusingAfter(c.before, "RCPT", c.reply))
			claim := r.claim("m", false)
			r.exec(fmt.Sprintf(`INSERT INTO deliveries (mailing, recipient, attempt, status, final)
				SELECT mailing, number, 0, 'opted_out', true FROM recipients WHERE number > %d`, c.before+c.refused))
			claim = r.reclaim(claim, false)
			report, err := run(t.Context(), r.batch(claim, manyDomains))
			r.exec(`DELETE FROM deliveries WHERE status = 'opted_out'`)
			if got := r.statuses(); fmt.Sprint(got) != fmt.Sprint(c.want) || len(report.Soon) != c.soon {
				t.Errorf("the ledger has %v, want %v; soon %v", got, c.want, report.Soon)
			}
			var refused *sender.RefusedError
			if errors.As(err, &refused) != c.fails || report.Complete == c.fails {
				t.Errorf("%+v, %v", report, err)
			}
		})
	}
}

// The second refusal of a recipient counts, although nobody else is left to compare with.
func TestARecipientWhoIsRefusedAgainIsBounced(t *testing.T) {
	t.Parallel()
	r := newRig(t, "connections=1", refusing("550 5.1.1 unknown"))
	claim := r.claim("m", false)
	r.exec(`INSERT INTO deliveries (mailing, recipient, attempt, status, final)
		SELECT mailing, number, 0, 'opted_out', true FROM recipients WHERE number > 3`)
	if _, err := run(t.Context(), r.batch(r.reclaim(claim, false), manyDomains)); err != nil {
		t.Fatal(err)
	}
	r.exec(`UPDATE batches SET opened_at = clock_timestamp()`) // the next round
	report, err := run(t.Context(), r.batch(r.reclaim(claim, false), manyDomains))
	if got := r.statuses(); err != nil || !report.Complete || got["bounced, final"] != 3 {
		t.Errorf("%+v, %v; the ledger has %v", report, err, got)
	}
}

// A quota that is used up refuses recipients again whom it has refused before. Only the ledger
// knows of the first time, so the second one blames nobody.
func TestASecondUnclearRefusalBlamesNobodyIfTheFirstMayHaveMeantUs(t *testing.T) {
	t.Parallel()
	r := newRig(t, "connections=1", refusingAfter(10, "RCPT", "550 nothing more today"))
	claim := r.claim("m", false)
	r.exec(`INSERT INTO deliveries (mailing, recipient, attempt, status, final)
		SELECT mailing, number, 0, 'opted_out', true FROM recipients WHERE number > 15`)
	r.exec(`INSERT INTO deliveries (mailing, recipient, attempt, status, final, drop_point, code, reply, answered_at)
		SELECT mailing, number, 1, 'not_sent', false, 'mx', 550, 'nothing more today', now()
		FROM recipients WHERE number BETWEEN 11 AND 15`)
	_, err := run(t.Context(), r.batch(r.reclaim(claim, false), manyDomains))
	r.exec(`DELETE FROM deliveries WHERE status = 'opted_out'`)
	if got := r.statuses(); err != nil || got["sent, final"] != 10 || got["bounced, final"] != 0 {
		t.Errorf("the ledger has %v, %v", got, err)
	}
}

// The drop point had refused us. A message is begun before it accepts mail again, and is refused
// after others were accepted. When the server decided about it, the quota was still used up.
func TestAMessageThatWasBegunWhileADropPointRefusedUsBlamesNobody(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reply   string
		refused bool // each recipient was refused before, and only the ledger knows it
	}{{"550 nothing more today", true}, {"550 5.1.1 unknown", true}, {"550 5.1.1 unknown", false}} {
		t.Run(fmt.Sprintf("%s, refused before=%v", c.reply, c.refused), func(t *testing.T) {
			t.Parallel()
			var dots atomic.Int32
			othersAccepted := make(chan struct{})
			r := newRig(t, "connections=2", func(e smtptest.Event) *smtptest.Action {
				if e.Phase != "DOT" {
					return nil
				}
				switch dots.Add(1) {
				case 1:
					return &smtptest.Action{Wait: othersAccepted, Reply: c.reply}
				case 5: // of the other connection, which has read the answers before
					close(othersAccepted)
				}
				return nil
			})
			claim := r.claim("m", false)
			if c.refused {
				r.exec(`INSERT INTO deliveries (mailing, recipient, attempt, status, final, drop_point, code, reply, answered_at)
					SELECT mailing, number, 1, 'not_sent', false, 'mx', 550, 'nothing more today', now() FROM recipients`)
				claim = r.reclaim(claim, false)
			}
			report, err := run(t.Context(), r.batch(claim, func(b *sender.Batch) {
				manyDomains(b)
				b.DropPoints[0].Failed = true
			}))
			if got := r.statuses(); err != nil || !report.Complete || got["sent, final"] != recipients {
				t.Errorf("%+v, %v; the ledger has %v", report, err, got)
			}
		})
	}
}

// A quota was used up in two rounds, and then is not any more. Nobody was accepted between the two
// refusals of a recipient.
func TestTwoUnclearRefusalsWithoutAnAcceptanceBetweenBlameNobody(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	r := newRig(t, "connections=1", func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "RCPT" && asked.Add(1) <= 5 {
			return &smtptest.Action{Reply: "550 nothing more today"}
		}
		return nil
	})
	claim := r.claim("m", false)
	r.exec(`INSERT INTO deliveries (mailing, recipient, attempt, status, final, drop_point, code, reply, answered_at)
		SELECT mailing, number, 1, 'not_sent', false, 'mx', 550, 'nothing more today', now() FROM recipients`)
	report, err := run(t.Context(), r.batch(r.reclaim(claim, false), manyDomains))
	if got := r.statuses(); err != nil || !report.Complete || got["sent, final"] != recipients {
		t.Errorf("%+v, %v; the ledger has %v", report, err, got)
	}
}

// Another batch of the mailing finds out that the relay refuses us, while the answer to a recipient
// is awaited who was refused before.
func TestASecondRefusalBlamesNobodyIfAnotherBatchHasFoundThatTheDropPointRefusesUs(t *testing.T) {
	t.Parallel()
	awaited, foundOut := make(chan struct{}), make(chan struct{})
	r := newRig(t, "connections=2", func(e smtptest.Event) *smtptest.Action {
		switch {
		case e.Phase != "RCPT":
			return nil
		case e.To == "r1@example.com":
			close(awaited)
			return &smtptest.Action{Wait: foundOut, Reply: "550 5.1.1 unknown"}
		}
		return &smtptest.Action{Reply: "550 5.1.1 unknown"}
	})
	claim, evidence := r.claim("m", false), &sender.Evidence{}
	another := r.batch(claim, func(b *sender.Batch) {
		manyDomains(b)
		b.DropPoints[0].Evidence = evidence
	})
	r.exec(`INSERT INTO deliveries (mailing, recipient, attempt, status, final)
		SELECT mailing, number, 0, 'opted_out', true FROM recipients WHERE number > 1`)
	r.exec(`INSERT INTO deliveries (mailing, recipient, attempt, status, final, drop_point, code, reply, answered_at)
		SELECT mailing, number, 1, 'not_sent', false, 'mx', 550, 'unknown', now() FROM recipients WHERE number = 1`)
	done := make(chan error, 1)
	go func() {
		_, err := run(t.Context(), r.batch(r.reclaim(claim, false), func(b *sender.Batch) {
			b.DropPoints[0].Proven, b.DropPoints[0].Evidence = true, evidence
		}))
		done <- err
	}()
	<-awaited
	another.Claim = r.claim("another", false)
	var refused *sender.RefusedError
	if _, err := run(t.Context(), another); !errors.As(err, &refused) {
		t.Fatalf("the drop point was to be found out: %v", err)
	}
	close(foundOut)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if w := r.deliveries()["1/2"]; w.final || w.status != "refused" {
		t.Errorf("the ledger has %+v", w)
	}
}

// A relay that has lost its map of recipients calls everybody unknown. Batches with a few
// recipients left try whether it works again.
func TestAFewClearRefusalsOfADropPointThatRefusesUsBlameNobody(t *testing.T) {
	t.Parallel()
	for _, another := range []bool{false, true} {
		t.Run(fmt.Sprintf("another worker=%v", another), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "connections=1", refusing("550 5.1.1 unknown"))
			claim := r.claim("m", false)
			evidence := &sender.Evidence{}
			first := r.batch(claim, manyDomains)
			first.DropPoints[0].Evidence = evidence
			if _, err := run(t.Context(), first); err == nil {
				t.Fatal("the drop point was to be found out")
			}
			r.exec(`INSERT INTO deliveries (mailing, recipient, attempt, status, final)
				SELECT mailing, number, 0, 'opted_out', true FROM recipients WHERE number > 5`)
			for round := range 3 {
				r.exec(`UPDATE batches SET opened_at = clock_timestamp()`)
				second := r.batch(r.reclaim(claim, false), manyDomains)
				if another {
					second.DropPoints[0].Failed, second.DropPoints[0].Refuses = true, true
				} else {
					second.DropPoints[0].Evidence = evidence
				}
				report, err := run(t.Context(), second)
				if got := r.statuses(); err == nil || got["bounced, final"] != 0 {
					t.Errorf("round %d: %+v, %v; the ledger has %v", round, report, err, got)
				}
			}
		})
	}
}

// Nobody has seen what was accepted between the first refusals. The third one needs no other
// attempt.
func TestTheThirdUnclearRefusalOfARecipientIsBelieved(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	r := newRig(t, "connections=1", func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "RCPT" && numberIn(e.To) == 1 {
			asked.Add(1)
			return &smtptest.Action{Reply: "550 our kitchen is closed"}
		}
		return nil
	})
	claim := r.claim("m", false)
	r.exec(`INSERT INTO deliveries (mailing, recipient, attempt, status, final, drop_point, code, reply, answered_at)
		SELECT mailing, number, n, 'not_sent', false, 'mx', 550, 'our kitchen is closed', now()
		FROM recipients, generate_series(1, 2) n`)
	report, err := run(t.Context(), r.batch(r.reclaim(claim, false), manyDomains))
	got := r.statuses()
	if err != nil || !report.Complete || got["bounced, final"] != 1 || asked.Load() != 1 {
		t.Errorf("%+v, %v; asked %d times, the ledger has %v", report, err, asked.Load(), got)
	}
}

// One recipient whom the server never takes may be the last of a mailing. It must not keep the
// mailing suspended when the server has taken all others.
func TestTheLastRecipientOfAMailingDoesNotMakeADropPointFailForEver(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, reply string
		hasAccepted bool
		want        string // after the third attempt
	}{
		{"others were accepted, of us", "550 5.7.1 not from you", true, "refused"},
		{"others were accepted, unclear", "550 no", true, "refused"},
		{"nobody was ever accepted", "550 5.7.1 not from you", false, "not_sent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "connections=1", refusing(c.reply))
			claim := r.claim("m", false)
			r.exec(`INSERT INTO deliveries (mailing, recipient, attempt, status, final)
				SELECT mailing, number, 0, 'opted_out', true FROM recipients WHERE number > 1`)
			for attempt := 1; attempt <= 3; attempt++ {
				claim = r.reclaim(claim, false)
				report, err := run(t.Context(), r.batch(claim, func(b *sender.Batch) {
					b.DropPoints[0].HasAccepted = c.hasAccepted
				}))
				var refused *sender.RefusedError
				fails, want := true, "not_sent"
				if attempt == 3 {
					fails, want = !c.hasAccepted, c.want
				}
				if errors.As(err, &refused) != fails || report.Complete == fails {
					t.Errorf("attempt %d: %+v, %v", attempt, report, err)
				}
				if !fails && report.DropPoints[0].Failure != nil {
					t.Errorf("attempt %d: the drop point has failed: %v", attempt, report.DropPoints[0].Failure)
				}
				if got := r.statuses(); got[want] != 1 {
					t.Errorf("attempt %d: the ledger has %v, want %s", attempt, got, want)
				}
			}
		})
	}
}

// Messages that the drop point has refused before come after all others, so that others can show
// what the refusals meant.
func TestWhoWasRefusedIsTriedAfterAllOthers(t *testing.T) {
	t.Parallel()
	var bad sync.Map
	for n := 1; n <= 10; n++ {
		bad.Store(n, true)
	}
	r := newRig(t, "connections=1", func(e smtptest.Event) *smtptest.Action {
		if _, ok := bad.Load(numberIn(e.To)); ok && e.Phase == "RCPT" {
			return &smtptest.Action{Reply: "550 5.1.1 unknown"}
		}
		return nil
	})
	claim := r.claim("m", false)
	_, err := run(t.Context(), r.batch(claim, manyDomains))
	var refused *sender.RefusedError
	if got := r.statuses(); !errors.As(err, &refused) || got["not_sent"] != 10 {
		t.Fatalf("%v; the ledger has %v", err, got)
	}
	report, err := run(t.Context(), r.batch(r.reclaim(claim, false), manyDomains))
	if got := r.statuses(); err != nil || !report.Complete || got["bounced, final"] != 10 ||
		got["sent, final"] != recipients-10 {
		t.Errorf("%+v, %v; the ledger has %v", report, err, got)
	}
}

// numberIn returns the number of the recipient from an address of any domain.
func numberIn(address string) int {
	local, _, _ := strings.Cut(address, "@")
	return numberOf(local + "@example.com")
}

// two returns a change of a batch that adds a second drop point.
func (r *rig) second(server *smtptest.Server) func(*sender.Batch) {
	r.Helper()
	config, err := droppoint.Parse("second", "smtp://"+server.Addr()+"?tls=none&connections=1")
	if err != nil {
		r.Fatal(err)
	}
	set := droppoint.NewSet([]droppoint.Config{config})
	r.Cleanup(set.Close)
	second, _ := set.Get("second")
	return func(b *sender.Batch) { b.DropPoints = append(b.DropPoints, sender.DropPoint{DropPoint: second}) }
}

// The first relay answers at once that it cannot take the messages, or will not. The other one
// takes them: it must get all.
func TestWhatOneRelayCannotTakeGoesToTheOther(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		extensions []string
		script     func(smtptest.Event) *smtptest.Action
		to         string
	}{
		{name: "SIZE", extensions: []string{"SIZE 10"}},
		{name: "SMTPUTF8", to: "ü%d@d.example"},
		{name: "552 at MAIL", script: refusingAfter(0, "MAIL", "552 5.3.4 message too big")},
		{name: "554 at MAIL", script: refusingAfter(0, "MAIL", "554 5.2.3 message too big")},
		{name: "552 at the dot", script: refusingAfter(0, "DOT", "552 message file too big")},
		{name: "555 at MAIL", script: refusingAfter(0, "MAIL", "550 5.6.7 no SMTPUTF8")},
		{name: "its quota", script: refusingAfter(30, "DOT", "550 5.4.5 Daily user sending limit exceeded")},
		{name: "its quota in other words", script: refusingAfter(30, "DOT", "550 the kitchen is closed")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "connections=2", nil)
			first := smtptest.Start(t, smtptest.Options{Extensions: c.extensions, Script: c.script})
			other := smtptest.Start(t, smtptest.Options{Extensions: []string{"SMTPUTF8"}})
			report, err := run(t.Context(), r.batch(r.claim("m", false), func(b *sender.Batch) {
				manyDomains(b)
				b.DropPoints = nil
				r.second(first)(b)
				r.second(other)(b)
				if next := b.Next; c.to != "" {
					b.Next = func(buf []byte) (sender.Message, error) {
						m, err := next(buf)
						m.To, m.UTF8 = fmt.Sprintf(c.to, m.Recipient), true
						return m, err
					}
				}
			}))
			if got := r.statuses(); err != nil || !report.Complete || got["sent, final"] != recipients {
				t.Errorf("%+v, %v; the ledger has %v", report, err, got)
			}
			if got := len(first.Received()) + len(other.Received()); got != recipients {
				t.Errorf("%d messages", got)
			}
		})
	}
}

func TestAMessageThatNoRelayCanTakeIsBouncedAndOthersAreSent(t *testing.T) {
	t.Parallel()
	r := newRig(t, "connections=1", func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "DOT" && numberIn(e.To) == 5 {
			return &smtptest.Action{Reply: "552 5.3.4 message too big"}
		}
		return nil
	})
	report, err := run(t.Context(), r.batch(r.claim("m", false), func(b *sender.Batch) {
		next := b.Next
		b.Next = func(buf []byte) (sender.Message, error) {
			m, err := next(buf)
			if m.Recipient == 7 {
				m.To, m.UTF8 = "ü@d.example", true
			}
			return m, err
		}
	}))
	rows := r.deliveries()
	if got := r.statuses(); err != nil || !report.Complete || got["sent, final"] != recipients-2 ||
		rows["5/1"].status != "bounced" || rows["7/1"].status != "bounced" {
		t.Errorf("%+v, %v; the ledger has %v, %+v, %+v", report, err, got, rows["5/1"], rows["7/1"])
	}
}

// The other relay may take larger messages. The answer to the first message waits until that relay
// has refused the connection.
func TestAMessageThatIsTooLargeForOneRelayWaitsForTheOneThatIsDown(t *testing.T) {
	t.Parallel()
	isDown := make(chan struct{})
	r := newRig(t, "connections=1", func(e smtptest.Event) *smtptest.Action {
		switch {
		case e.Phase != "DOT":
			return nil
		case numberOf(e.To) == 90:
			return &smtptest.Action{Reply: "552 5.3.4 message too big"}
		}
		return &smtptest.Action{Wait: isDown}
	})
	down := smtptest.Start(t, smtptest.Options{Script: func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "connect" && e.Conn == 1 {
			close(isDown)
		}
		return &smtptest.Action{Reply: "554 5.3.2 closed for repairs"}
	}})
	report, err := run(t.Context(), r.batch(r.claim("m", false), r.second(down)))
	if got := r.statuses(); err != nil || !report.Complete || got["deferred"] != 1 || got["sent, final"] != recipients-1 {
		t.Errorf("%+v, %v; the ledger has %v", report, err, got)
	}
}

// While another drop point of the mailing rests, it may yet take the message.
func TestAMessageThatNoneOfTheRelaysInUseCanTakeWaitsForTheOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t, "connections=1", func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "MAIL" && e.Message == 5 {
			return &smtptest.Action{Reply: "552 5.3.4 message too big"}
		}
		return nil
	})
	report, err := run(t.Context(), r.batch(r.claim("m", false), func(b *sender.Batch) { b.Others = true }))
	if got := r.statuses(); err != nil || !report.Complete || got["deferred"] != 1 || got["sent, final"] != recipients-1 {
		t.Errorf("%+v, %v; the ledger has %v", report, err, got)
	}
}

// What every message has is the sender's fault, and nobody's bounce.
func TestWhatIsWrongWithTheSendersSideBouncesNobody(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		extensions []string
		from, want string
	}{
		"sender's address": {nil, "ü@example.com", "sender's address needs SMTPUTF8"},
		"size":             {[]string{"SIZE 10"}, "a@example.com", "larger than the server accepts"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "connections=1", nil)
			server := smtptest.Start(t, smtptest.Options{Extensions: c.extensions})
			_, err := run(t.Context(), r.batch(r.claim("m", false), func(b *sender.Batch) {
				b.DropPoints = nil
				r.second(server)(b)
				next := b.Next
				b.Next = func(buf []byte) (sender.Message, error) {
					m, err := next(buf)
					m.From = c.from
					return m, err
				}
			}))
			var refused *sender.RefusedError
			if got := r.statuses(); !errors.As(err, &refused) || !strings.Contains(err.Error(), c.want) || len(got) != 1 ||
				got["not_sent"] != 10 {
				t.Errorf("%v; the ledger has %v", err, got)
			}
		})
	}
}

// withBounceAddresses gives each message an envelope sender of its own.
func withBounceAddresses(b *sender.Batch) {
	next := b.Next
	b.Next = func(buf []byte) (sender.Message, error) {
		m, err := next(buf)
		m.From = fmt.Sprintf("b-abcdefghijklmnopqrstuvwxyz%d@bounce.example.com", m.Recipient)
		return m, err
	}
}

// A server that refuses the bounce address refuses us, in whichever step and words it says so,
// although the address differs from recipient to recipient.
func TestARefusalOfABounceAddressBlamesNobody(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]func(e smtptest.Event) *smtptest.Action{
		"at MAIL": func(e smtptest.Event) *smtptest.Action {
			if e.Phase == "MAIL" {
				return &smtptest.Action{Reply: "550 5.1.8 <" + e.From + ">: Sender address rejected: Domain not found"}
			}
			return nil
		},
		"at MAIL, in words of its own": func(e smtptest.Event) *smtptest.Action {
			if e.Phase == "MAIL" {
				local, _, _ := strings.Cut(e.From, "@")
				return &smtptest.Action{Reply: "553 we know no " + local + " here"}
			}
			return nil
		},
		"at RCPT": func(e smtptest.Event) *smtptest.Action {
			if e.Phase == "RCPT" {
				return &smtptest.Action{Reply: "550 5.1.8 <" + e.From + ">: Sender address rejected: Domain not found"}
			}
			return nil
		},
		"at RCPT, in words of its own": func(e smtptest.Event) *smtptest.Action {
			if e.Phase == "RCPT" {
				local, _, _ := strings.Cut(e.From, "@")
				return &smtptest.Action{Reply: "550 verification of " + local + " failed"}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "connections=2", script)
			claim := r.claim("m", false)
			_, err := run(t.Context(), r.batch(claim, func(b *sender.Batch) { manyDomains(b); withBounceAddresses(b) }))
			var refused *sender.RefusedError
			if !errors.As(err, &refused) {
				t.Fatalf("the drop point does not refuse us: %v", err)
			}
			if strings.Contains(err.Error()+refused.Quote, "abcdefghijklm") {
				t.Errorf("the error quotes a bounce address: %v, %s", err, refused.Quote)
			}
			for status, n := range r.statuses() {
				if strings.Contains(status, "final") {
					t.Errorf("%d recipients are %s", n, status)
				}
			}
		})
	}
}
