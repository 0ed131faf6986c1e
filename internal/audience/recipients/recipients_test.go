package recipients_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/audience/field"
	"directmailer/internal/audience/recipients"
	"directmailer/internal/database"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/feedback"
	"directmailer/internal/mailings"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

// fixture is a database with the mailing "m", which goes to the list "people".
type fixture struct {
	testing.TB
	pool     *pgxpool.Pool
	store    *recipients.Store
	mailings *mailings.Store
}

func newFixture(t testing.TB, addresses ...string) *fixture {
	t.Helper()
	pool := servertest.Pool(t, servertest.Database(t), 24)
	f := &fixture{TB: t, pool: pool, store: recipients.New(pool), mailings: mailings.New(pool)}
	f.reserve("m")
	if len(addresses) > 0 {
		f.list(addresses...)
	}
	return f
}

func (f *fixture) reserve(id string) {
	f.Helper()
	err := f.mailings.Reserve(f.Context(), id, "run", "people", json.RawMessage(`{}`), feedback.Marks{}, "default")
	if err != nil {
		f.Fatal(err)
	}
}

// list makes the list anew, with a member on each line from the second on.
func (f *fixture) list(addresses ...string) {
	f.Helper()
	f.exec(`DELETE FROM list_members`)
	f.exec(`DELETE FROM lists`)
	f.exec(`INSERT INTO lists (name, source, members) VALUES ('people', 'people.csv', $1)`, len(addresses))
	f.exec(
		`INSERT INTO list_members SELECT (SELECT id FROM lists), n + 1, a, lower(a), jsonb_build_object('row', n::text)
		FROM unnest($1::text[]) WITH ORDINALITY AS u(a, n)`,
		addresses,
	)
}

// members makes a list of n addresses, of which the first optedOut have opted out.
func (f *fixture) members(n, optedOut int) {
	f.Helper()
	f.exec(`INSERT INTO lists (name, source, members) VALUES ('people', 'people.csv', $1)`, n)
	f.exec(
		`INSERT INTO list_members SELECT (SELECT id FROM lists), n + 1,
			'r' || n || '@example.com', 'r' || n || '@example.com', '{"first_name": "Ann"}'
		FROM generate_series(1, $1::int) n`,
		n,
	)
	f.exec(
		`INSERT INTO opt_outs SELECT 'r' || n || '@example.com', 'asked' FROM generate_series(1, $1::int) n`,
		optedOut,
	)
}

func (f *fixture) exec(sql string, args ...any) {
	f.Helper()
	if _, err := f.pool.Exec(f.Context(), sql, args...); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) freeze(batchSize int) mailings.Frozen {
	f.Helper()
	frozen, err := f.store.Freeze(f.Context(), "m", batchSize)
	if err != nil {
		f.Fatal(err)
	}
	return frozen
}

func (f *fixture) get() mailings.Mailing {
	f.Helper()
	m, err := f.mailings.Get(f.Context(), "m")
	if err != nil {
		f.Fatal(err)
	}
	return m
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

// everything is all that a freeze writes, as text.
func (f *fixture) everything() []string {
	f.Helper()
	return f.strings(`
		SELECT 'mailing ' || m::text FROM mailings m UNION ALL SELECT 'recipient ' || r::text FROM recipients r
		UNION ALL SELECT 'batch ' || b::text FROM batches b UNION ALL SELECT 'delivery ' || d::text FROM deliveries d
			ORDER BY 1`)
}

func (f *fixture) want(got, want any) {
	f.Helper()
	if !reflect.DeepEqual(got, want) {
		f.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestOneRecipientAnAddressAndTheFirstRowWins(t *testing.T) {
	t.Parallel()
	f := newFixture(
		t,
		"b@example.com",
		"A@example.com",
		"a@example.com",
		"c@example.com",
		"B@example.com",
		"b@example.com",
	)
	f.want(f.freeze(2), mailings.Frozen{Members: 6, Duplicates: 3, Recipients: 3, Batches: 2})
	f.want(
		f.strings(
			`SELECT number || ' ' || address || ' ' || address_key || ' row ' || (attributes->>'row') FROM recipients
				ORDER BY number`,
		),
		[]string{
			"1 b@example.com b@example.com row 1", "2 A@example.com a@example.com row 2", "3 c@example.com c@example.com row 4"},
	)
}

func TestRequestsOfTheMailingsScopesAndOfDomainsAreSubtractedWithTheirReason(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "all@example.com", "list@example.com", "topic@example.com", "other@example.com",
		"x@example.org", "Both@example.com", "several@example.com", "bounced@example.com", "x@sub.example.org")
	f.exec(`UPDATE mailings SET opt_out_scopes = '{all,list:people,topic:news}'`)
	f.exec(`INSERT INTO opt_outs (address_key, scope, reason) VALUES ('all@example.com', 'all', 'asked'),
		('list@example.com', 'list:people', 'complaint'), ('topic@example.com', 'topic:news', 'imported'),
		('other@example.com', 'list:customers', 'asked'), ('other@example.com', 'topic:offers', 'asked'),
		('@example.org', 'all', 'operator'), ('both@example.com', 'topic:news', 'asked'),
		('several@example.com', 'all', 'imported'), ('several@example.com', 'all', 'complaint'),
		('several@example.com', 'list:people', 'asked'), ('@example.net', 'all', 'asked'),
		('@sub.example.org', 'topic:offers', 'asked')`)
	f.exec(`INSERT INTO suppressions (address_key, class, code, origin, expires_at) VALUES
		('both@example.com', 'hard', '5.1.1', 'answer', NULL),
		('bounced@example.com', 'soft', '', 'report', now() + interval '1 hour'),
		('other@example.com', 'soft', '4.2.2', 'report', now() - interval '1 hour')`)
	f.want(f.freeze(10), mailings.Frozen{Members: 9, Recipients: 9, OptedOut: 7, Batches: 1})
	f.want(f.strings(`SELECT r.number || ' ' || r.address || coalesce(' ' || d.reply, '') FROM recipients r
		LEFT JOIN deliveries d ON d.mailing = r.mailing AND d.recipient = r.number ORDER BY r.number`), []string{
		"1 other@example.com", "2 x@sub.example.org",
		"3 all@example.com opted out of all mail (asked)",
		"4 list@example.com opted out of list people (complaint)",
		"5 topic@example.com opted out of topic news (imported)",
		"6 x@example.org opted out of all mail (operator, whole domain)",
		"7 Both@example.com opted out of topic news (asked)",
		"8 several@example.com opted out of all mail (complaint)",
		"9 bounced@example.com suppressed (soft bounce)"})
}

func TestWhoOptedOutComesLastWithAFinalDeliveryAndInNoBatch(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "a@example.com", "B@example.com", "c@example.com", "d@example.com", "b@example.com")
	f.exec(
		`INSERT INTO opt_outs VALUES ('a@example.com', 'asked'), ('b@example.com', 'complaint'),
			('stranger@example.com', 'asked')`,
	)
	f.want(f.freeze(10), mailings.Frozen{Members: 5, Duplicates: 1, Recipients: 4, OptedOut: 2, Batches: 1})
	f.want(f.strings(`SELECT number || ' ' || address FROM recipients ORDER BY number`), []string{
		"1 c@example.com", "2 d@example.com", "3 a@example.com", "4 B@example.com"})
	f.want(
		f.strings(
			`SELECT recipient || ' ' || attempt || ' ' || status || ' ' || final FROM deliveries ORDER BY recipient`,
		),
		[]string{
			"3 0 opted_out true", "4 0 opted_out true"},
	)
	f.want(f.strings(`SELECT first || '-' || last FROM batches`), []string{"1-2"})
}

func TestBatchesCoverEveryMailableRecipientOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		members, optedOut, size int
		want                    []string
	}{
		{1, 0, 500, []string{"1: 1-1"}},
		{1, 0, 1, []string{"1: 1-1"}},
		{1, 1, 500, []string{}},
		{5, 5, 2, []string{}},
		{4, 0, 2, []string{"1: 1-2", "2: 3-4"}},
		{5, 0, 2, []string{"1: 1-2", "2: 3-4", "3: 5-5"}},
		{5, 1, 2, []string{"1: 1-2", "2: 3-4"}},
		{5, 1, 4, []string{"1: 1-4"}},
		{5, 2, 4, []string{"1: 1-3"}},
		{3, 0, 5000, []string{"1: 1-3"}},
	} {
		t.Run(fmt.Sprintf("%d members %d opted out in batches of %d", c.members, c.optedOut, c.size), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.members(c.members, c.optedOut)
			f.want(f.freeze(c.size),
				mailings.Frozen{Members: int64(c.members), Recipients: int64(c.members), OptedOut: int64(c.optedOut),
					Batches: len(c.want)})
			f.want(f.strings(`SELECT number || ': ' || first || '-' || last FROM batches ORDER BY number`), c.want)
			m := f.get()
			f.want([]int64{m.Members, m.Duplicates, m.Recipients, m.Mailable, int64(m.Batches)},
				[]int64{int64(c.members), 0, int64(c.members), int64(c.members - c.optedOut), int64(len(c.want))})
			f.want(m.State, "sending")
			f.want(m.PreparedAt != nil, true)
		})
	}
}

func TestARepeatedFreezeAnswersTheSameAndChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "a@example.com", "b@example.com", "A@example.com", "c@example.com")
	f.exec(`INSERT INTO opt_outs VALUES ('b@example.com', 'asked')`)
	first, rows := f.freeze(1), f.everything()
	f.want(f.freeze(1), first)
	f.exec(`DELETE FROM opt_outs`)
	f.want(f.freeze(2), first) // whatever has changed meanwhile
	f.want(f.everything(), rows)
}

// Statements that were prepared on a connection hold although the table of exceptions is another
// one each time.
func TestOneConnectionFreezesOneListAfterTheOther(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	config := f.pool.Config()
	config.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	store := recipients.New(pool)
	f.exec(`INSERT INTO opt_outs VALUES ('c@example.com', 'asked')`)
	for n := range 8 { // after five executions PostgreSQL may keep a plan
		f.list(append(slices.Repeat([]string{"a@example.com"}, n+1), "c@example.com", "b@example.com")...)
		id := fmt.Sprintf("m-%d", n)
		f.reserve(id)
		frozen, err := store.Freeze(t.Context(), id, 1)
		if err != nil {
			t.Fatal(err)
		}
		f.want(
			frozen,
			mailings.Frozen{Members: int64(n + 3), Duplicates: int64(n), Recipients: 3, OptedOut: 1, Batches: 2},
		)
		f.want(
			f.strings(
				`SELECT number || ' ' || address FROM recipients WHERE mailing = (SELECT key FROM mailings WHERE id = $1)
					ORDER BY number`,
				id,
			),
			[]string{"1 a@example.com", "2 b@example.com", "3 c@example.com"},
		)
	}
}

func TestAListImportedAnewAfterTheFreezeChangesNoRecipient(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "a@example.com", "b@example.com")
	first, rows := f.freeze(1), f.everything()
	f.list("x@example.com", "y@example.com", "z@example.com")
	f.want(f.everything(), rows)
	f.want(f.freeze(1), first)
	f.want(f.everything(), rows)
	f.exec(`DELETE FROM lists`)
	f.want(f.freeze(1), first) // also when it is gone
}

func TestAFreezeThatIsCancelledInTheMiddleLeavesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "a@example.com", "b@example.com")
	rows := f.everything()
	holder := f.lock(`LOCK TABLE batches IN ACCESS EXCLUSIVE MODE`) // the last table that it fills
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { _, err := f.store.Freeze(ctx, "m", 1); ended <- err }()
	f.someoneWaits()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	f.rollback(holder)
	f.want(f.everything(), rows)
	f.want(f.freeze(1), mailings.Frozen{Members: 2, Recipients: 2, Batches: 2})
}

func TestAFreezeWhoseConnectionIsKilledInTheMiddleLeavesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "a@example.com", "b@example.com")
	rows := f.everything()
	holder := f.lock(`LOCK TABLE batches IN ACCESS EXCLUSIVE MODE`)
	ended := make(chan error, 1)
	go func() { _, err := f.store.Freeze(t.Context(), "m", 1); ended <- err }()
	f.someoneWaits()
	f.exec(
		`SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE ` + servertest.WaitsForAnother,
	)
	if err := <-ended; !database.Unavailable(err) {
		t.Errorf("got %v, want a database that is away", err)
	}
	f.rollback(holder)
	f.want(f.everything(), rows)
	f.want(f.freeze(1), mailings.Frozen{Members: 2, Recipients: 2, Batches: 2})
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
func (f *fixture) someoneWaits() { f.waiting(1) }

func (f *fixture) waiting(n int) {
	f.Helper()
	for began := time.Now(); ; {
		var waiting int
		err := f.pool.QueryRow(f.Context(),
			`SELECT count(*) FROM pg_stat_activity WHERE `+servertest.WaitsForAnother).Scan(&waiting)
		if err != nil {
			f.Fatal(err)
		}
		if waiting >= n {
			return
		}
		if time.Since(began) > time.Minute {
			f.Fatalf("%d statements wait for a lock, not %d", waiting, n)
		}
	}
}

func TestTwoFreezesAtOnceGiveOneResult(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "a@example.com", "b@example.com", "B@example.com")
	holder := f.lock(`LOCK TABLE batches IN ACCESS EXCLUSIVE MODE`)
	const n = 4
	var group sync.WaitGroup
	var frozen [n]mailings.Frozen
	var errs [n]error
	for i := range n {
		group.Go(func() { frozen[i], errs[i] = f.store.Freeze(t.Context(), "m", 1) })
	}
	f.waiting(n) // one at the table, the others at the mailing's row
	f.rollback(holder)
	group.Wait()
	for i := range n {
		if errs[i] != nil {
			t.Errorf("freeze %d: %v", i, errs[i])
		}
		f.want(frozen[i], mailings.Frozen{Members: 3, Duplicates: 1, Recipients: 2, Batches: 2})
	}
	f.want(
		f.strings(`SELECT number || ' ' || address FROM recipients ORDER BY number`),
		[]string{"1 a@example.com", "2 b@example.com"},
	)
}

func TestAFreezeThatMeetsAnImportTakesTheOldListOrTheNewOne(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "a@example.com", "b@example.com")
	tx := f.lock(`
		DELETE FROM list_members; DELETE FROM lists; INSERT INTO lists (name, source, members)
			VALUES ('people', 'new.csv', 1);
		INSERT INTO list_members SELECT id, 2, 'new@example.com', 'new@example.com', '{}' FROM lists`)
	ended := make(chan error, 1)
	go func() { _, err := f.store.Freeze(t.Context(), "m", 1); ended <- err }()
	f.someoneWaits()
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	f.want(f.strings(`SELECT number || ' ' || address FROM recipients ORDER BY number`), []string{"1 new@example.com"})
	f.want(f.get().Members, int64(1))
}

func TestWhatCannotBeFrozenIsToldApart(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	rows := f.everything()
	freeze := func(id string) error { _, err := f.store.Freeze(t.Context(), id, 1); return err }
	if err := freeze("m"); !errors.Is(err, recipients.ErrNoList) {
		t.Errorf("no list: got %v", err)
	}
	f.exec(`INSERT INTO lists (name, source) VALUES ('people', 'people.csv')`)
	if err := freeze("m"); !errors.Is(err, recipients.ErrEmptyList) {
		t.Errorf("an empty list: got %v", err)
	}
	if err := freeze("other"); !errors.Is(err, mailings.ErrNotFound) {
		t.Errorf("no mailing: got %v", err)
	}
	f.want(f.everything(), rows)
}

func TestRecipientsComeInOrderWithinTheirRange(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.members(1000, 0)
	f.freeze(100)
	key := f.get().Key
	// another mailing's
	f.exec(`INSERT INTO recipients VALUES ($1, 250, 'other@example.com', 'other@example.com', '{}')`, key+1)
	read := func(first, last int32) (numbers []int32) {
		err := f.store.Range(t.Context(), key, first, last, func(r recipients.Recipient) error {
			if want := fmt.Sprintf("r%d@example.com", r.Number); r.Address != want ||
				!reflect.DeepEqual(r.Attributes, field.Values{"first_name": {Text: "Ann"}}) {
				t.Errorf("recipient %d is %+v", r.Number, r)
			}
			r.Attributes["first_name"] = field.Value{Text: "changed"} // a map of its own each time
			numbers = append(numbers, r.Number)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return numbers
	}
	for _, c := range []struct{ first, last int32 }{{1, 1}, {201, 300}, {901, 1000}, {1, 1000}} {
		var want []int32
		for n := c.first; n <= c.last; n++ {
			want = append(want, n)
		}
		if got := read(c.first, c.last); !slices.Equal(got, want) {
			t.Errorf("%d to %d: got %d", c.first, c.last, got)
		}
	}
	if got := read(1001, 2000); len(got) > 0 {
		t.Errorf("beyond the end: got %d", got)
	}
	stop := errors.New("stop")
	calls := 0
	err := f.store.Range(t.Context(), key, 1, 1000, func(recipients.Recipient) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("got %v after %d calls, want the callback's own error after one", err, calls)
	}
}
