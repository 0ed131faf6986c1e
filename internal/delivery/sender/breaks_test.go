package sender_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"directmailer/internal/delivery/sender"
	"directmailer/internal/dev/smtptest"
)

// breakingAt returns a script that breaks the connection, or wants to, at each message to a
// recipient.
func breakingAt(n int, phase string, action smtptest.Action) func(smtptest.Event) *smtptest.Action {
	return func(e smtptest.Event) *smtptest.Action {
		if e.Phase == phase && numberOf(e.To) == n {
			return &action
		}
		return nil
	}
}

// A policy daemon, a full disk, or a box between that cuts on content: always at one recipient.
func TestARecipientAtWhomEachConnectionBreaksIsDeferredAndAllOthersAreSent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		phase  string
		action smtptest.Action
		behind bool // the next envelope follows the dot
	}{
		"421 at RCPT":    {"RCPT", smtptest.Action{Reply: "421 4.7.0 go away"}, false},
		"432 at RCPT":    {"RCPT", smtptest.Action{Reply: "432 4.3.2 not now"}, false},
		"452 at the dot": {"DOT", smtptest.Action{Reply: "452 4.3.1 disk full"}, true},
		"421 at DATA":    {"DATA", smtptest.Action{Reply: "421 4.3.2 closing"}, false},
		"cut at RCPT":    {"RCPT", smtptest.Action{Die: true}, false},
	} {
		for _, at := range []int{1, 50, recipients} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, fmt.Sprintf("connections=1&next_behind_dot=%v", c.behind), breakingAt(at, c.phase, c.action))
				report, err := run(t.Context(), r.batch(r.claim("m", false), nil))
				got := r.statuses()
				if err != nil || !report.Complete || report.DropPoints[0].Failure != nil || got["deferred"] != 1 ||
					got["sent, final"] != recipients-1 {
					t.Errorf("at %d: %+v, %v; the ledger has %v", at, report, err, got)
				}
				if rows := r.deliveries(); len(rows) > recipients+3 {
					t.Errorf("%d rows", len(rows))
				}
			})
		}
	}
}

// A box between cuts on content, and the dot may have left.
func TestARecipientAtWhomEachConnectionBreaksAfterTheDotIsUncertainAndAllOthersAreSent(t *testing.T) {
	t.Parallel()
	for _, at := range []int{2, recipients} {
		r := newRig(t, "connections=1", breakingAt(at, "DOT", smtptest.Action{Die: true}))
		batch := r.batch(r.claim("m", false), func(b *sender.Batch) { b.DropPoints[0].Proven = true })
		report, err := run(t.Context(), batch)
		got := r.statuses()
		if err != nil || !report.Complete || report.DropPoints[0].Failure != nil || got["uncertain, final"] != 1 ||
			got["sent, final"] != recipients-1 {
			t.Errorf("at %d: %+v, %v; the ledger has %v", at, report, err, got)
		}
	}
}

// In a later round the recipient is alone: the drop point is not down because of one message.
func TestARecipientAtWhomConnectionsBrokeBeforeDoesNotTakeTheDropPointDown(t *testing.T) {
	t.Parallel()
	r := newRig(t, "connections=2", breakingAt(5, "RCPT", smtptest.Action{Reply: "421 4.7.0 go away"}))
	claim := r.claim("m", false)
	if _, err := run(t.Context(), r.batch(claim, nil)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		r.exec(`UPDATE batches SET opened_at = clock_timestamp()`) // the next round
		again := r.batch(r.reclaim(claim, false), func(b *sender.Batch) { b.DropPoints[0].Proven = true })
		report, err := run(t.Context(), again)
		if got := r.statuses(); err != nil || !report.Complete || report.DropPoints[0].Failure != nil ||
			got["deferred"] != 1 {
			t.Fatalf("%+v, %v; the ledger has %v", report, err, got)
		}
	}
}

// A server that goes down is no fault of the recipients whose connections break then.
func TestAServerThatBreaksEveryConnectionIsUnavailableAndDefersNobody(t *testing.T) {
	t.Parallel()
	for _, before := range []int32{0, 20} {
		var accepted atomic.Int32
		r := newRig(t, "connections=4", func(e smtptest.Event) *smtptest.Action {
			if e.Phase == "RCPT" && accepted.Add(1) > before {
				return &smtptest.Action{Die: true}
			}
			return nil
		})
		report, err := run(t.Context(), r.batch(r.claim("m", false), nil))
		var unavailable *sender.UnavailableError
		got := r.statuses()
		if !errors.As(err, &unavailable) || report.Complete || got["deferred"] > 0 || got["not_sent"] > 20 {
			t.Errorf("after %d: %+v, %v; the ledger has %v", before, report, err, got)
		}
	}
}

// A connection has carried its messages. The next one is refused, as after a change of the
// password. That is no answer to the message that waits for it.
func TestARefusalOfAConnectionInTheMiddleOfABatchIsNoAnswerToAMessage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ to, sent, notSent int }{
		"once": {2, recipients, 0}, "from then on": {recipients, 2, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "connections=1&messages=2", func(e smtptest.Event) *smtptest.Action {
				if e.Phase == "connect" && e.Conn > 1 && e.Conn <= c.to {
					return &smtptest.Action{Reply: "554 5.7.1 your account is locked"}
				}
				return nil
			})
			claim := r.claim("m", false)
			_, err := run(t.Context(), r.batch(claim, nil))
			var refused *sender.RefusedError
			if all := c.sent == recipients; all != (err == nil) || !all && !errors.As(err, &refused) {
				t.Errorf("got %v", err)
			}
			if got := r.statuses(); got["sent, final"] != c.sent || got["not_sent"] != c.notSent {
				t.Errorf("the ledger has %v", got)
			}
			if tried := r.reclaim(claim, false).Tried[3]; tried.Refusals+tried.Breaks > 0 {
				t.Errorf("it counts against the recipient: %+v", tried)
			}
		})
	}
}

// A pause, the end of a worker, or the failure of another connection cuts a connection off. That is
// no fault of the recipient.
func TestAConnectionThatWeCutIsNoBreakAtItsRecipient(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := newRig(t, "connections=1", func(e smtptest.Event) *smtptest.Action {
		if e.Phase != "RCPT" || numberOf(e.To) != 4 {
			return nil
		}
		cancel()
		return &smtptest.Action{Wait: t.Context().Done()}
	})
	claim := r.claim("m", false)
	if _, err := run(ctx, r.batch(claim, nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if w := r.deliveries()["4/1"]; w.status != "not_sent" {
		t.Fatalf("the ledger has %+v", w)
	}
	if tried := r.reclaim(claim, false).Tried[4]; tried.Attempts != 1 || tried.Breaks != 0 {
		t.Errorf("the next claim knows %+v", tried)
	}
}
