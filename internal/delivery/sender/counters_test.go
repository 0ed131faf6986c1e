package sender_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"directmailer/internal/delivery/sender"
	"directmailer/internal/dev/smtptest"
	"directmailer/internal/ledger"
)

// A worker that goes on with a batch and one that takes it over decide by the same counts.
func TestTheLedgerAndTheSendingCountTheSame(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		at      string // the phase in which the first attempt for recipient 3 ends
		action  smtptest.Action
		another bool // a second drop point takes the message after the first attempt
		want    ledger.Tried
	}{
		{name: "refused, unclear", at: "RCPT", action: smtptest.Action{Reply: "550 no"},
			want: ledger.Tried{Attempts: 1, Refusals: 1}},
		{name: "refused, for another drop point", at: "RCPT", action: smtptest.Action{Reply: "550 5.7.1 no"},
			another: true, want: ledger.Tried{Attempts: 1, Refusals: 1}},
		{name: "too large for one drop point", at: "DOT", action: smtptest.Action{Reply: "552 5.3.4 too big"},
			another: true, want: ledger.Tried{Attempts: 1}},
		{name: "too large by its parameter", at: "MAIL", action: smtptest.Action{Reply: "552 message too big"},
			another: true, want: ledger.Tried{Attempts: 1}},
		{name: "broken by 421", at: "RCPT", action: smtptest.Action{Reply: "421 4.7.0 go away"},
			want: ledger.Tried{Attempts: 1, Breaks: 1}},
		{name: "broken by 421 at the dot", at: "DOT", action: smtptest.Action{Reply: "421 5.7.1 go away"},
			want: ledger.Tried{Attempts: 1, Breaks: 1}},
		{name: "cut off", at: "RCPT", action: smtptest.Action{Die: true},
			want: ledger.Tried{Attempts: 1, Breaks: 1}},
		{name: "no answer", at: "DOT", action: smtptest.Action{Die: true},
			want: ledger.Tried{Attempts: 1, Uncertain: 1}},
		{name: "a rate", at: "RCPT", action: smtptest.Action{Reply: "450 4.7.0 you are sending too much mail"},
			want: ledger.Tried{Attempts: 1}},
		{name: "too many connections", at: "RCPT", action: smtptest.Action{Reply: "421 too many connections"},
			want: ledger.Tried{Attempts: 1, Breaks: 1}},
		{name: "too many connections, for good", at: "RCPT",
			action: smtptest.Action{Reply: "554 5.7.0 too many connections"},
			want:   ledger.Tried{Attempts: 1, Breaks: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var ended atomic.Int32 // attempts
			r := newRig(t, "connections=1", func(e smtptest.Event) *smtptest.Action {
				at := e.To
				if e.Phase == "MAIL" {
					at = e.From
				}
				if e.Phase == c.at && numberIn(at) == 3 && ended.Add(1) <= 1 {
					return &c.action
				}
				return nil
			})
			claim := r.claim("m", false)
			enough := errors.New("the message is to be sent again")
			s := sender.New(r.batch(claim, func(b *sender.Batch) {
				manyDomains(b)
				last(5)(b)
				next := b.Next
				b.Next = func(buf []byte) (sender.Message, error) {
					m, err := next(buf)
					m.From = fmt.Sprintf("r%d@example.com", m.Recipient)
					return m, err
				}
				if c.another {
					r.second(smtptest.Start(t, smtptest.Options{}))(b)
				}
				b.Allow = func(_ context.Context, dropPoint, domain string) (sender.Wait, error) {
					switch {
					case dropPoint == "second" && ended.Load() == 0:
						return sender.Wait{AskAgain: time.Millisecond}, nil
					case domain == "d3.example" && ended.Load() >= 1:
						return sender.Wait{}, enough
					}
					return sender.Wait{}, nil
				}
			}))
			if _, err := s.Run(t.Context()); !errors.Is(err, enough) {
				t.Fatal(err)
			}
			got, waits := s.Tried(3)
			if !waits || got != c.want {
				t.Errorf("the sending knows %+v, %v, want %+v", got, waits, c.want)
			}
			if tried := r.reclaim(claim, false).Tried[3]; tried != got {
				t.Errorf("the ledger knows %+v, the sending %+v", tried, got)
			}
		})
	}
}
