package mailings_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/database"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/feedback"
	"directmailer/internal/mailings"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

// fixture is a database with the mailing "m", which goes to the list "people".
type fixture struct {
	testing.TB
	pool  *pgxpool.Pool
	store *mailings.Store
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	pool := servertest.Pool(t, servertest.Database(t), 24)
	f := &fixture{TB: t, pool: pool, store: mailings.New(pool)}
	f.reserve("m")
	return f
}

func (f *fixture) reserve(id string) {
	f.Helper()
	err := f.store.Reserve(f.Context(), id, "run", "people", json.RawMessage(`{}`), feedback.Marks{}, "default")
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) exec(sql string, args ...any) {
	f.Helper()
	if _, err := f.pool.Exec(f.Context(), sql, args...); err != nil {
		f.Fatal(err)
	}
}

// strings reads rows of one text column.
func (f *fixture) strings(sql string, args ...any) []string {
	f.Helper()
	rows, err := f.pool.Query(f.Context(), sql, args...)
	if err != nil {
		f.Fatal(err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		f.Fatal(err)
	}
	return out
}

func (f *fixture) want(got, want any) {
	f.Helper()
	if !reflect.DeepEqual(got, want) {
		f.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// lock begins a transaction that holds what the statement locks.
func (f *fixture) lock(sql string) pgx.Tx {
	f.Helper()
	tx, err := f.pool.Begin(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	if _, err := tx.Exec(f.Context(), sql); err != nil {
		f.Fatal(err)
	}
	return tx
}

func (f *fixture) rollback(tx pgx.Tx) {
	f.Helper()
	if err := tx.Rollback(f.Context()); err != nil {
		f.Fatal(err)
	}
}

// someoneWaits returns when a statement in this database waits for a lock.
func (f *fixture) someoneWaits() {
	f.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; {
		waiting := f.strings(`SELECT 'waits' FROM pg_stat_activity
			WHERE ` + servertest.WaitsForAnother)
		if len(waiting) > 0 {
			return
		}
	}
	f.Fatal("no statement waits for a lock")
}

// rows are all mailings, as text.
func (f *fixture) rows() []string {
	f.Helper()
	return f.strings(`SELECT m::text FROM mailings m ORDER BY key`)
}

func TestAnIDBelongsToItsFirstOwner(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	before := f.rows()
	err := f.store.Reserve(t.Context(), "m", "run", "others", json.RawMessage(`{"x": 1}`), feedback.Marks{}, "default")
	if err != nil {
		t.Errorf("the same owner again: %v", err)
	}
	err = f.store.Reserve(t.Context(), "m", "another", "people", json.RawMessage(`{}`), feedback.Marks{}, "default")
	if !errors.Is(err, mailings.ErrExists) {
		t.Errorf("another owner: got %v, want ErrExists", err)
	}
	f.want(f.rows(), before)
	f.exec(`UPDATE mailings SET state = 'completed', closed_at = now()`)
	err = f.store.Reserve(t.Context(), "m", "another", "people", json.RawMessage(`{}`), feedback.Marks{}, "default")
	if !errors.Is(err, mailings.ErrExists) {
		t.Errorf("after its end: got %v, want ErrExists", err)
	}
}

func TestOneOfManyReservationsAtOnceWins(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for round := range 5 {
		id := fmt.Sprintf("wanted-%d", round)
		var group sync.WaitGroup
		start := make(chan struct{})
		var errs [20]error
		for i := range errs {
			group.Go(func() {
				<-start
				owner := fmt.Sprintf("owner-%d", i)
				errs[i] = f.store.Reserve(t.Context(), id, owner, "people", json.RawMessage(`{}`), feedback.Marks{}, "default")
			})
		}
		close(start)
		group.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Errorf("%d and %d both own %s", winner, i, id)
			case err == nil:
				winner = i
			case !errors.Is(err, mailings.ErrExists):
				t.Errorf("owner %d: %v", i, err)
			}
		}
		f.want(
			f.strings(`SELECT first_run_id FROM mailings WHERE id = $1`, id),
			[]string{fmt.Sprintf("owner-%d", winner)},
		)
	}
}

func TestAReservationWaitsForOneThatMayYetFail(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, committed := range []bool{true, false} {
		id := fmt.Sprintf("id-%t", committed)
		tx := f.lock(
			`INSERT INTO mailings (id, first_run_id, input, list, state) VALUES ('` + id +
				`', 'first', '{}', 'people', 'preparing')`,
		)
		ended := make(chan error, 1)
		go func() {
			ended <- f.store.Reserve(t.Context(), id, "second", "people", json.RawMessage(`{}`), feedback.Marks{}, "default")
		}()
		f.someoneWaits()
		var want error
		if committed {
			want = mailings.ErrExists
			if err := tx.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
		} else {
			f.rollback(tx)
		}
		if err := <-ended; !errors.Is(err, want) {
			t.Errorf("committed %t: got %v, want %v", committed, err, want)
		}
	}
}

func TestLatestIsNewestFirstAndWithoutInputs(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.reserve("n")
	f.reserve("o")
	latest, err := f.store.Latest(t.Context(), 2, false)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range latest {
		ids = append(ids, m.ID)
		if m.Input != nil {
			t.Errorf("%s has its input %s", m.ID, m.Input)
		}
	}
	f.want(ids, []string{"o", "n"})
	if _, err := f.store.Get(t.Context(), "never"); !errors.Is(err, mailings.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

func TestMailingsAreFoundByTheirKeysWhileTheyAreOpenAndByTheirAudience(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.reserve("n")
	f.reserve("o")
	f.exec(`UPDATE mailings SET closed_at = now() WHERE id = 'n'`)
	f.exec(`UPDATE mailings SET list = 'continue:n' WHERE id IN ('m', 'n')`)
	ids := func(all []mailings.Mailing, err error) (ids []string) {
		f.Helper()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			ids = append(ids, m.ID)
		}
		return ids
	}
	f.want(ids(f.store.Open(t.Context(), []int64{2, 3, 4})), []string{"o"})
	f.want(ids(f.store.ByAudience(t.Context(), "continue:n")), []string{"m", "n"})
	f.want(ids(f.store.ByAudience(t.Context(), "continue:m")), []string(nil))
}

func TestAContinuationKnowsTheListOfTheFirstMailing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, m := range [][2]string{
		{"again", "continue:m"}, {"once-more", "continue:again"}, {"asked", "query:crm"}, {"asked-again", "continue:asked"},
		{"lost", "continue:nothing"},
	} {
		err := f.store.Reserve(t.Context(), m[0], "run", m[1], json.RawMessage(`{}`), feedback.Marks{}, "default")
		if err != nil {
			t.Fatal(err)
		}
	}
	for id, want := range map[string]string{
		"m": "people", "again": "people", "once-more": "people", "asked": "query:crm", "asked-again": "query:crm",
		"lost": "continue:nothing",
	} {
		if m, err := f.store.Get(t.Context(), id); err != nil || m.Origin != want {
			t.Errorf("%s comes from %q, want %q (%v)", id, m.Origin, want, err)
		}
	}
}

func TestTheKeysOfAllWorkersAreWrittenDown(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	m, err := f.store.Get(t.Context(), "m")
	if err != nil {
		t.Fatal(err)
	}
	if len(m.SignedWith) > 0 {
		t.Errorf("before a worker renders: %v", m.SignedWith)
	}
	var workers sync.WaitGroup
	for _, names := range [][]string{{"b", "a"}, {"a"}, nil, {"c"}, {"a", "b"}} {
		workers.Go(func() {
			if err := f.store.NoteSignatures(t.Context(), m, names); err != nil {
				t.Error(err)
			}
		})
	}
	workers.Wait()
	m, err = f.store.Get(t.Context(), "m")
	if want := []string{"a", "b", "c", mailings.Unsigned}; err != nil || !reflect.DeepEqual(m.SignedWith, want) {
		t.Errorf("got %v, %v, want %v", m.SignedWith, err, want)
	}
	f.pool.Close() // what is known asks no database
	if err := f.store.NoteSignatures(t.Context(), m, []string{"b"}); err != nil {
		t.Error(err)
	}
	if err := f.store.NoteSignatures(t.Context(), m, []string{"d"}); err == nil {
		t.Error("a new key was not written down, and nobody was told")
	}
}

func TestOneCommandAtATimeStartsAMailing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	start := func(inside func(alone func() error) error) error {
		return f.store.Starting(t.Context(), "new", inside)
	}
	err := start(func(alone func() error) error {
		err := start(func(func() error) error { return errors.New("begun") })
		if !errors.Is(err, mailings.ErrStarting) {
			t.Errorf("the second: got %v, want ErrStarting", err)
		}
		another := f.store.Starting(t.Context(), "another", func(func() error) error { return nil })
		return errors.Join(another, alone())
	})
	if err != nil {
		t.Errorf("the first, and one with another ID: %v", err)
	}
	failed := errors.New("failed")
	if err := start(func(func() error) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("got %v, want the error of the start", err)
	}
	if err := start(func(alone func() error) error { return alone() }); err != nil {
		t.Errorf("after a start that failed: %v", err)
	}
}

func TestAStartThatHasLostItsLockIsNotAloneAnyMore(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	err := f.store.Starting(t.Context(), "new", func(alone func() error) error {
		f.exec(`SELECT pg_terminate_backend(pid) FROM pg_locks
			WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
		return alone()
	})
	if !database.Unavailable(err) {
		t.Errorf("got %v, want that the database is unavailable", err)
	}
}
