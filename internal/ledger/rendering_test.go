package ledger_test

import (
	"errors"
	"testing"

	"directmailer/internal/ledger"
)

func (f *fixture) begin(n int) error {
	f.Helper()
	rendered, counted, err := f.ledger.BeginRendering(f.Context(), f.batch(n))
	if rendered || counted != (err == nil) {
		f.Errorf("rendered=%v, counted=%v, %v", rendered, counted, err)
	}
	return err
}

func TestABatchWhoseWorkersDiedThreeTimesIsNotRenderedAFourthTime(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2, 1)
	f.exec(`DELETE FROM spool`)
	for again := range 2 { // after an operator has looked at it, it is tried as often again
		for n := range ledger.MaxDeaths {
			if err := f.begin(1); err != nil {
				t.Fatalf("round %d, attempt %d: %v", again, n+1, err)
			}
		}
		if err := f.begin(1); !errors.Is(err, ledger.ErrPoison) {
			t.Fatalf("round %d: got %v", again, err)
		}
	}
	if err := f.begin(2); err != nil {
		t.Errorf("the other batch: %v", err)
	}
	if err := f.ledger.EndRendering(t.Context(), f.batch(1)); err != nil {
		t.Error(err)
	}
	if span, _, err := f.ledger.Range(t.Context(), f.batch(2)); err != nil || span.Begun != 1 {
		t.Errorf("the end of an attempt at another batch leaves %d, %v", span.Begun, err)
	}
	f.want(ledger.MaxDeaths, 3) // as docs/reliability.md promises
}

func TestAttemptsToRenderThatEndCountAgainstNoBatch(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1, 1)
	f.exec(`DELETE FROM spool`)
	for range 2 { // two workers die
		if err := f.begin(1); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 { // and others end without messages, because a page server is away
		if err := f.begin(1); err != nil {
			t.Fatal(err)
		}
		if err := f.ledger.EndRendering(t.Context(), f.batch(1)); err != nil {
			t.Fatal(err)
		}
	}
	if span, _, err := f.ledger.Range(t.Context(), f.batch(1)); err != nil || span.Begun != 2 {
		t.Errorf("%d attempts have begun, %v", span.Begun, err)
	}
	if err := f.ledger.Store(t.Context(), f.batch(1), []byte("x"), nil); err != nil {
		t.Fatal(err)
	}
	if span, rendered, err := f.ledger.Range(t.Context(), f.batch(1)); err != nil || !rendered || span.Begun != 0 {
		t.Errorf("after it is stored: %d attempts, %v, %v", span.Begun, rendered, err)
	}
	if rendered, counted, err := f.ledger.BeginRendering(t.Context(), f.batch(1)); err != nil || !rendered || counted {
		t.Errorf("a rendered batch is begun again: %v", err)
	}
}

// The commit fails, or only its answer is lost: the ledger cannot tell, and the attempt is ended.
func TestAnAttemptToRenderWhoseCommitFailsMayBeCounted(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1, 1)
	f.exec(`DELETE FROM spool`)
	f.exec(`CREATE FUNCTION lost() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN RAISE 'the database is shutting down' USING ERRCODE = '57P01'; END $$`)
	f.exec(`CREATE CONSTRAINT TRIGGER lost AFTER UPDATE ON batches DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION lost()`)
	if _, counted, err := f.ledger.BeginRendering(t.Context(), f.batch(1)); err == nil || !counted {
		t.Errorf("counted=%v, %v", counted, err)
	}
	f.exec(`DROP TRIGGER lost ON batches`)
	f.exec(`CREATE TRIGGER lost BEFORE UPDATE ON batches FOR EACH ROW EXECUTE FUNCTION lost()`)
	if _, counted, err := f.ledger.BeginRendering(t.Context(), f.batch(1)); err == nil || counted {
		t.Errorf("before the commit: counted=%v, %v", counted, err)
	}
}
