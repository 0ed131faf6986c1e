package sender_test

import (
	"context"
	"errors"
	"testing"

	"directmailer/internal/delivery/sender"
	"directmailer/internal/dev/smtptest"
	"directmailer/internal/ledger"
)

var errAway = errors.New("the database is away")

// aTurnWithEverything sends a batch. Recipient 1 is refused, and bounced when others are accepted.
// Recipient 3 opts out, which leaveOut has to write. do is called at recipient 5.
func aTurnWithEverything(t *testing.T, fault string, do func(*optedOut),
	leaveOut func(*ledger.Ledger, *ledger.Claim, []ledger.Exclusion) error) (map[string]written, error) {
	t.Helper()
	var o optedOut
	o.add(3)
	r := newRig(t, "connections=1", func(e smtptest.Event) *smtptest.Action {
		switch {
		case e.Phase == "RCPT" && numberOf(e.To) == 1:
			return &smtptest.Action{Reply: "550 5.1.1 unknown"}
		case e.Phase == "RCPT" && numberOf(e.To) == 5:
			do(&o)
		}
		return nil
	})
	if fault != "" {
		r.onDelivery(fault, `RAISE EXCEPTION 'no' USING ERRCODE = 'check_violation'`)
	}
	claim := r.claim("m", false)
	_, err := run(t.Context(), r.batch(claim, func(b *sender.Batch) {
		b.OptedOut = o.why
		b.LeaveOut = func(ctx context.Context, excluded []ledger.Exclusion) error {
			if ctx.Err() != nil {
				t.Error("the last write has a context that has ended")
			}
			return leaveOut(ledger.New(r.pool), claim, excluded)
		}
	}))
	return r.deliveries(), err
}

// A turn that fails has found out something about others before.
func TestWhatIsKnownIsWrittenAlthoughTheTurnFails(t *testing.T) {
	t.Parallel()
	rows, err := aTurnWithEverything(t, "", func(o *optedOut) { o.fail(errAway) },
		func(l *ledger.Ledger, c *ledger.Claim, excluded []ledger.Exclusion) error {
			return l.LeaveOut(t.Context(), c, excluded)
		})
	if !errors.Is(err, errAway) {
		t.Errorf("got %v", err)
	}
	if bounced := rows["1/1"]; bounced.status != "bounced" || !bounced.final || bounced.code != 550 {
		t.Errorf("the one who was refused is %+v", bounced)
	}
	if out := rows["3/0"]; out.status != "opted_out" || !out.final {
		t.Errorf("the one who has opted out is %+v", out)
	}
}

// A turn whose last writes fail is not over: its batch is taken up again.
func TestAnOutcomeThatCannotBeWrittenIsAnErrorOfTheTurn(t *testing.T) {
	t.Parallel()
	nothing := func(*optedOut) {}
	rows, err := aTurnWithEverything(t, `NEW.status = 'bounced'`, nothing,
		func(l *ledger.Ledger, c *ledger.Claim, excluded []ledger.Exclusion) error {
			return l.LeaveOut(t.Context(), c, excluded)
		})
	if err == nil || rows["1/1"].final {
		t.Errorf("a bounce: %v, the ledger has %+v", err, rows["1/1"])
	}
	_, err = aTurnWithEverything(t, "", nothing,
		func(*ledger.Ledger, *ledger.Claim, []ledger.Exclusion) error { return errAway })
	if !errors.Is(err, errAway) {
		t.Errorf("an opt-out: %v", err)
	}
}
