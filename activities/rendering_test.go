package activities

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"directmailer/internal/ledger"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

// The count is in the database, because a worker that dies tells nobody.
func TestABatchThatKilledThreeWorkersIsPoison(t *testing.T) {
	t.Parallel()
	pool, a := prepared(t, 5, workflows.Content{Text: "Hello {{.n}}"})
	if _, err := pool.Exec(t.Context(), `UPDATE batches SET renderings = 3`); err != nil {
		t.Fatal(err)
	}
	call := workflows.RenderCall{Mailing: "spring", Batch: 1, Retry: retries}
	_, err := renderCalled(t, a, call)
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.Type() != policy.PoisonBatch || !app.NonRetryable() ||
		!strings.Contains(app.Message(), "3 workers have died while they rendered the batch: ") {
		t.Fatalf("got %v", err)
	}
	// An operator has resumed the mailing.
	if out, err := renderCalled(t, a, call); err != nil || out.Messages != 5 {
		t.Errorf("got %+v, %v", out, err)
	}
}

func TestARenderingThatFailsIsNoDeath(t *testing.T) {
	t.Parallel()
	pool, a := prepared(t, 20, workflows.Content{Text: "Hello {{.gone}}"})
	for range 5 {
		if _, err := renderSampled(t, a, 1); err == nil {
			t.Fatal("it is rendered")
		}
	}
	var begun int
	if err := pool.QueryRow(t.Context(), `SELECT renderings FROM batches`).Scan(&begun); err != nil || begun != 0 {
		t.Errorf("%d attempts have begun, %v", begun, err)
	}
}

// The database is lost after three attempts have begun. They have ended, and killed no worker.
func TestAnAttemptToRenderThatTheDatabaseEndsIsNoDeath(t *testing.T) {
	t.Parallel()
	pool, a := prepared(t, 5, workflows.Content{Text: "Hello {{.n}}"})
	exec := func(sql string) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE FUNCTION lost() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN RAISE 'the database is starting up' USING ERRCODE = '57P03'; END $$`)
	exec(`CREATE TRIGGER lost BEFORE INSERT ON spool FOR EACH ROW EXECUTE FUNCTION lost()`)
	exec(`CREATE TRIGGER lost BEFORE UPDATE ON batches FOR EACH ROW WHEN (NEW.renderings < OLD.renderings)
		EXECUTE FUNCTION lost()`)
	begun := func() (n int) {
		t.Helper()
		if err := pool.QueryRow(t.Context(), `SELECT renderings FROM batches`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for n := range ledger.MaxDeaths {
		if _, err := renderOnce(t, a); !isOfType(err, policy.DatabaseUnavailable) || begun() != n+1 {
			t.Fatalf("%d attempts have begun, %v", begun(), err)
		}
	}
	exec(`DROP FUNCTION lost CASCADE`) // the database is back
	for end := time.Now().Add(time.Minute); begun() > 0; {
		if time.Now().After(end) {
			t.Fatalf("%d attempts have not ended", begun())
		}
	}
	if out, err := renderOnce(t, a); err != nil || out.Messages != 5 {
		t.Errorf("got %+v, %v", out, err)
	}
}

// The worker stops before the database is back for long.
func TestAWorkerThatStopsEndsItsAttemptsToRender(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	down.Store(true)
	tries := make(chan int32, 100)
	ends := renderingEnds{end: func(_ context.Context, b ledger.Batch) error {
		tries <- b.Number
		if down.Load() {
			return io.ErrUnexpectedEOF
		}
		return nil
	}}
	ends.add(ledger.Batch{Number: 1})
	ends.add(ledger.Batch{Number: 2})
	for range 4 { // each when it is added, then again
		<-tries
	}
	if n := ends.close(t.Context()); n != 2 {
		t.Errorf("%d ends are left", n)
	}
	down.Store(false)
	if n := ends.close(t.Context()); n != 0 {
		t.Errorf("%d ends are left", n)
	}
}

// A batch beside one that kills workers would come under suspicion with it.
func TestBatchesUnderSuspicionAreRenderedOneAtATime(t *testing.T) {
	t.Parallel()
	pool, a := preparedInBatches(t, 10, 5, workflows.Content{Text: "Hello {{.n}}"})
	if _, err := pool.Exec(t.Context(), `UPDATE batches SET renderings = 1 WHERE number = 1`); err != nil {
		t.Fatal(err)
	}
	a.slots.renders.patience = time.Hour
	a.suspects <- struct{}{} // another batch is
	if out, err := renderCalled(t, a, workflows.RenderCall{Mailing: "spring", Batch: 2, Retry: retries}); err != nil ||
		out.Messages != 5 {
		t.Errorf("a batch without suspicion: %+v, %v", out, err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := renderCalled(t, a, workflows.RenderCall{Mailing: "spring", Batch: 1, Retry: retries})
		done <- err
	}()
	var begun int
	if err := pool.QueryRow(t.Context(), `SELECT renderings FROM batches WHERE number = 1`).Scan(&begun); err != nil ||
		begun != 1 {
		t.Errorf("it has begun: %d, %v", begun, err)
	}
	<-a.suspects
	if err := <-done; err != nil || len(a.suspects) != 0 {
		t.Errorf("%v, %d places are taken", err, len(a.suspects))
	}
}

// Eight such batches, the first of which waits for its pages, would hold all slots otherwise.
func TestABatchUnderSuspicionDoesNotHoldItsSlotWhileItWaitsForAnother(t *testing.T) {
	t.Parallel()
	pool, a := prepared(t, 5, workflows.Content{Text: "Hello {{.n}}"})
	if _, err := pool.Exec(t.Context(), `UPDATE batches SET renderings = 1`); err != nil {
		t.Fatal(err)
	}
	a.slots.renders.patience = time.Millisecond
	a.suspects <- struct{}{} // another batch is rendered
	if _, err := renderOnce(t, a); !isOfType(err, policy.SlotsTaken) {
		t.Fatalf("got %v", err)
	}
	<-a.suspects
	a.slots.renders.patience = time.Hour
	if out, err := renderOnce(t, a); err != nil || out.Messages != 5 || len(a.suspects) != 0 {
		t.Errorf("got %+v, %v", out, err)
	}
}
