package sender_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"directmailer/internal/delivery/sender"
	"directmailer/internal/dev/smtptest"
	"directmailer/internal/ledger"
)

// optedOut is what a batch is told about who has opted out since its claim.
type optedOut struct {
	mu     sync.Mutex
	all    map[string]bool
	broken error
}

func (o *optedOut) add(numbers ...int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all == nil {
		o.all = map[string]bool{}
	}
	for _, n := range numbers {
		o.all[fmt.Sprintf("r%d@example.com", n)] = true
	}
}

func (o *optedOut) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.broken = err
}

func (o *optedOut) why(_ context.Context, address string) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all[address] {
		return "opted out of all mail (asked)", nil
	}
	return "", o.broken
}

// runWith sends the batch of a claim. It returns the claim and what the sending returned.
func (r *rig) runWith(o *optedOut, hold bool) (*ledger.Claim, sender.Report, error) {
	r.Helper()
	claim := r.claim("m", hold)
	report, err := run(r.Context(), r.batch(claim, func(b *sender.Batch) {
		b.Hold, b.OptedOut = hold, o.why
		b.LeaveOut = func(ctx context.Context, excluded []ledger.Exclusion) error {
			return ledger.New(r.pool).LeaveOut(ctx, claim, excluded)
		}
	}))
	return claim, report, err
}

// A request comes in while a server keeps a message waiting. The message that waits and those
// behind it do not go to people who have opted out, whatever step it waits at.
func TestWhoOptsOutWhileAServerWaitsGetsNothing(t *testing.T) {
	t.Parallel()
	for _, parameters := range []string{"connections=1", "connections=1&next_behind_dot=true"} {
		for _, phase := range []string{"MAIL", "RCPT", "DATA", "DOT"} {
			t.Run(parameters+" "+phase, func(t *testing.T) {
				t.Parallel()
				var o optedOut
				gone := []int{3, 4, 9, 100} // 3 waits
				if phase == "DOT" {
					gone = []int{4, 9, 100} // 3 is handed over already
				}
				r := newRig(t, parameters, func(e smtptest.Event) *smtptest.Action {
					if e.Phase == phase && (numberOf(e.To) == 3 || phase == "MAIL" && e.Message == 3) {
						o.add(gone...)
					}
					return nil
				})
				claim, report, err := r.runWith(&o, false)
				if err != nil || !report.Complete {
					t.Fatal(report, err)
				}
				copies, rows := r.server.Copies(), r.deliveries()
				if len(copies) != recipients-len(gone) {
					t.Errorf("%d recipients have got their message", len(copies))
				}
				for _, n := range gone {
					outcome := rows[fmt.Sprint(n, "/0")]
					if copies[fmt.Sprintf("r%d@example.com", n)] > 0 || outcome.status != "opted_out" || !outcome.final ||
						outcome.reply != "opted out of all mail (asked)" {
						t.Errorf("recipient %d got a message, or has the outcome %v", n, outcome)
					}
				}
				settled, err := ledger.New(r.pool).Settle(t.Context(), claim, ledger.Schedule{}, nil)
				if err != nil || !settled.Closed || settled.Counts.OptedOut != int64(len(gone)) ||
					settled.Counts.Sent != int64(recipients-len(gone)) {
					t.Errorf("%+v, %v", settled, err)
				}
			})
		}
	}
}

// Whether somebody has opted out is not guessed.
func TestNoDotIsSentWhileNobodyKnowsWhoHasOptedOut(t *testing.T) {
	t.Parallel()
	var o optedOut
	away := errors.New("the database is away")
	r := newRig(t, "connections=1", func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "RCPT" && numberOf(e.To) == 3 {
			o.fail(away)
		}
		return nil
	})
	if _, _, err := r.runWith(&o, false); !errors.Is(err, away) {
		t.Errorf("got %v, want the error of the look-up", err)
	}
	rows := r.deliveries()
	if got := r.server.Copies(); len(got) != 2 || rows["3/1"].status != "not_sent" || rows["3/1"].final || len(rows) != 3 {
		t.Errorf("the server has accepted %v, the ledger has %v", got, rows)
	}
}

// The mail may have arrived before the request: only "uncertain" is true of it.
func TestWhoOptsOutAfterAnUncertainAttemptIsUncertain(t *testing.T) {
	t.Parallel()
	var o optedOut
	r := newRig(t, "connections=1", func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "DOT" && numberOf(e.To) == 3 {
			o.add(3)
			return &smtptest.Action{Die: true, Accept: true}
		}
		return nil
	})
	if _, report, err := r.runWith(&o, false); err != nil || !report.Complete {
		t.Fatal(report, err)
	}
	rows := r.deliveries()
	if got := r.server.Copies(); got["r3@example.com"] != 1 || rows["3/1"].status != "uncertain" || !rows["3/1"].final ||
		rows["3/0"].final || rows["3/2"].final {
		t.Errorf("the server has accepted %d copies, the ledger has %v %v", got["r3@example.com"], rows["3/1"], rows["3/2"])
	}
}

// A batch that another worker has claimed is the other's.
func TestAStaleClaimGivesNobodyAnOutcome(t *testing.T) {
	t.Parallel()
	r := newRig(t, "connections=1", nil)
	claim := r.claim("m", false)
	again := r.reclaim(claim, false)
	leaveOut := func(c *ledger.Claim) error {
		return ledger.New(r.pool).LeaveOut(t.Context(), c, []ledger.Exclusion{{Recipient: 3, Why: "asked"}})
	}
	if err := leaveOut(claim); !errors.Is(err, ledger.ErrFenced) {
		t.Errorf("got %v, want ErrFenced", err)
	}
	if rows := r.deliveries(); len(rows) != 0 {
		t.Errorf("the ledger has %v", rows)
	}
	if err := leaveOut(again); err != nil {
		t.Fatal(err)
	}
	if rows := r.deliveries(); rows["3/0"].status != "opted_out" {
		t.Errorf("the ledger has %v", rows)
	}
}
