package ledger_test

import (
	"errors"
	"testing"

	"directmailer/internal/ledger"
)

func (f *fixture) rendered(n int) bool {
	f.Helper()
	_, rendered, err := f.ledger.Range(f.Context(), f.batch(n))
	if err != nil {
		f.Fatal(err)
	}
	return rendered
}

func TestADroppedSpoolIsRenderedAgainAndOutcomesStand(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 4, 2)
	c := f.claim(1, false)
	f.send(c, 1)
	if err := f.ledger.DropSpool(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	f.want(f.rendered(1), false)
	f.want(f.rendered(2), true) // another batch's messages are its own
	var marked int
	f.row(`SELECT count(rendered_at) FROM batches`)(&marked)
	f.want(marked, 1)
	if _, err := f.ledger.Claim(t.Context(), f.batch(1), f.fence(1), false); !errors.Is(err, ledger.ErrNoSpool) {
		t.Errorf("got %v, want ErrNoSpool", err)
	}
	if err := f.ledger.Store(t.Context(), f.batch(1), []byte("again"),
		[]ledger.Failure{{Recipient: 1, Reason: "too late"}}); err != nil {
		t.Fatal(err)
	}
	c = f.claim(1, false)
	f.want(string(c.Messages), "again")
	f.want(c.Tried, map[int32]ledger.Tried{1: {Attempts: 1, Final: true}})
	f.want(f.outcomes()[1], ledger.Sent)
}

func TestOnlyTheHolderOfAnOpenBatchDropsItsSpool(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1, 1)
	old := f.claim(1, false)
	c := f.claim(1, false)
	if err := f.ledger.DropSpool(t.Context(), old); !errors.Is(err, ledger.ErrFenced) {
		t.Errorf("an older claim: got %v, want ErrFenced", err)
	}
	f.want(f.rendered(1), true)
	f.refuse(c, 1, 1, "later")
	f.settle(c)
	if err := f.ledger.DropSpool(t.Context(), c); !errors.Is(err, ledger.ErrFenced) {
		t.Errorf("a closed batch: got %v, want ErrFenced", err)
	}
	var kept int // the deferred recipient's message
	f.row(`SELECT count(*) FROM spool`)(&kept)
	f.want(kept, 1)
}
