package recipients_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/audience/address"
	"directmailer/internal/audience/member"
	"directmailer/internal/audience/recipients"
	"directmailer/internal/database"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/mailings"
)

// answer is that of a query: the addresses, one a row from the first on, of which "" is a row that
// cannot be used.
type answer struct {
	addresses []string
	row       int64
	rejects   []member.Reject
	before    func(row int64) error // called before each row, if set
}

func answered(addresses ...string) *answer { return &answer{addresses: addresses} }

func (a *answer) Next() (member.Member, error) {
	for a.row < int64(len(a.addresses)) {
		if a.before != nil {
			if err := a.before(a.row + 1); err != nil {
				return member.Member{}, err
			}
		}
		text := a.addresses[a.row]
		a.row++
		if text == "" {
			a.rejects = append(a.rejects, member.Reject{Position: a.row, Reason: "has no address"})
			continue
		}
		parsed, err := address.Parse(text)
		return member.Member{Position: a.row, Address: parsed, Attributes: fmt.Appendf(nil, `{"row": "%d"}`, a.row)}, err
	}
	return member.Member{}, io.EOF
}

func (a *answer) Rejected() int64          { return int64(len(a.rejects)) }
func (a *answer) Rejects() []member.Reject { return a.rejects }

func (f *fixture) freezeAnswer(a *answer) mailings.Frozen {
	f.Helper()
	frozen, err := f.store.FreezeAnswer(f.Context(), "m", a, 2)
	if err != nil {
		f.Fatal(err)
	}
	return frozen
}

func (f *fixture) recipients() []string {
	f.Helper()
	return f.strings(
		`SELECT number || ' ' || address || ' ' || address_key || ' row ' || (attributes->>'row') FROM recipients
			ORDER BY number`,
	)
}

func TestAnAnswerIsFrozenLikeAList(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.exec(`INSERT INTO opt_outs VALUES ('a@example.com', 'asked'), ('stranger@example.com', 'asked')`)
	want := mailings.Frozen{Members: 5, Duplicates: 1, Recipients: 4, OptedOut: 1, Batches: 2, Rejected: 2,
		Rejects: []member.Reject{{Position: 2, Reason: "has no address"}, {Position: 5, Reason: "has no address"}}}
	f.want(f.freezeAnswer(answered("b@example.com", "", "A@example.com", "c@example.com", "", "B@example.com",
		"d@example.com")), want)
	f.want(f.recipients(), []string{"1 b@example.com b@example.com row 1", "2 c@example.com c@example.com row 4",
		"3 d@example.com d@example.com row 7",
		"4 A@example.com a@example.com row 3"})
	m := f.get()
	f.want(m.Frozen(), want)
	f.want(m.State, "sending")
	f.want(
		f.strings(
			`SELECT 'left' FROM list_members UNION ALL SELECT relname::text FROM pg_class
				WHERE relname ~ '^(staged|exceptions|members$)'`,
		),
		[]string{},
	)
}

func TestARepeatedAnswerChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	first := f.freezeAnswer(answered("a@example.com", "", "b@example.com"))
	rows := f.everything()
	f.want(f.freezeAnswer(answered("x@example.com", "y@example.com", "z@example.com")), first)
	f.want(f.everything(), rows)
}

func TestAnAnswerThatBreaksOffLeavesNothingAndItsOwnErrorIsKept(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	rows, away := f.everything(), errors.New("the source is away")
	broken := answered("a@example.com", "b@example.com", "c@example.com")
	broken.before = func(row int64) error {
		if row == 3 {
			return away
		}
		return nil
	}
	if _, err := f.store.FreezeAnswer(t.Context(), "m", broken, 2); !errors.Is(err, away) || database.Unavailable(err) {
		t.Errorf("got %v", err)
	}
	f.want(f.everything(), rows)
	f.want(f.freezeAnswer(answered("a@example.com")), mailings.Frozen{Members: 1, Recipients: 1, Batches: 1})
}

// A crash of the worker, and one of the database, end the connection: each of these points in turn.
func TestAnAnswerWhoseConnectionIsKilledAtAnyPointLeavesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	rows := f.everything()
	// It waits for the end, so that no connection of the pool dies later.
	const others = `SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database()
		AND pid <> pg_backend_pid()`
	for row := range int64(2) { // while it is read
		killed := answered("a@example.com", "b@example.com")
		killed.before = func(at int64) error {
			if at == row+1 {
				// The first rows are read before the server has the COPY.
				for len(f.strings(`SELECT s::text FROM (`+others+` AND query LIKE 'copy %') s`)) == 0 {
				}
			}
			return nil
		}
		if _, err := f.store.FreezeAnswer(t.Context(), "m", killed, 2); !database.Unavailable(err) {
			t.Errorf("row %d: got %v, want a database that is away", row, err)
		}
		f.want(f.everything(), rows)
	}
	for _, table := range []string{"mailings", "recipients", "batches"} { // while it is frozen
		holder := f.lock(`LOCK TABLE ` + table + ` IN ACCESS EXCLUSIVE MODE`)
		ended := make(chan error, 1)
		go func() {
			_, err := f.store.FreezeAnswer(
				context.WithoutCancel(t.Context()),
				"m",
				answered("a@example.com", "b@example.com"),
				1,
			)
			ended <- err
		}()
		f.someoneWaits()
		f.exec(`SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE ` + servertest.WaitsForAnother)
		if err := <-ended; !database.Unavailable(err) {
			t.Errorf("%s: got %v, want a database that is away", table, err)
		}
		f.rollback(holder)
		f.want(f.everything(), rows)
	}
	f.want(f.freezeAnswer(answered("a@example.com", "b@example.com")),
		mailings.Frozen{Members: 2, Recipients: 2, Batches: 1})
	// after the commit
	f.want(f.freezeAnswer(answered("x@example.com")), mailings.Frozen{Members: 2, Recipients: 2, Batches: 1})
}

func TestAnAnswerThatIsCancelledLeavesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	rows := f.everything()
	ctx, cancel := context.WithCancel(t.Context())
	a := answered("a@example.com", "b@example.com")
	a.before = func(row int64) error { cancel(); return nil }
	if _, err := f.store.FreezeAnswer(ctx, "m", a, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	f.want(f.everything(), rows)
}

func TestAnAnswerKeepsNobodyWaitingWhileItIsRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	slow := answered("a@example.com", "b@example.com")
	slow.before = func(row int64) error {
		if row == 2 { // as long as this one takes, another attempt, an operator's cancel and everybody else go on
			f.exec(`SET lock_timeout = '10s'; SELECT FROM mailings FOR UPDATE; RESET lock_timeout`)
			f.freezeAnswer(answered("first@example.com"))
		}
		return nil
	}
	f.want(f.freezeAnswer(slow), mailings.Frozen{Members: 1, Recipients: 1, Batches: 1}) // whoever is first has frozen it
	f.want(f.strings(`SELECT address FROM recipients`), []string{"first@example.com"})
}

func TestOneConnectionFreezesOneAnswerAfterTheOther(t *testing.T) {
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
	for n := range int64(8) { // after five executions PostgreSQL may keep a plan
		id := fmt.Sprintf("m-%d", n)
		f.reserve(id)
		a := answered("a@example.com", "A@example.com")
		for i := range n {
			a.addresses = append(a.addresses, fmt.Sprintf("r%d@example.com", i))
		}
		frozen, err := store.FreezeAnswer(t.Context(), id, a, 100)
		if err != nil {
			t.Fatal(err)
		}
		f.want(frozen, mailings.Frozen{Members: n + 2, Duplicates: 1, Recipients: n + 1, Batches: 1})
	}
}

func TestAnAnswerWithoutMembersIsAnEmptyList(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	rows := f.everything()
	for _, a := range []*answer{answered(), answered("", "")} {
		if _, err := f.store.FreezeAnswer(t.Context(), "m", a, 1); !errors.Is(err, recipients.ErrEmptyList) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := f.store.FreezeAnswer(t.Context(), "never", answered("a@example.com"), 1); !errors.Is(
		err,
		mailings.ErrNotFound,
	) {
		t.Errorf("got %v", err)
	}
	f.want(f.everything(), rows)
}

// Whoever was stopped in the middle and goes on when the mailing has been cancelled must not add
// recipients to a closed ledger.
func TestAMailingThatHasEndedIsNotFrozenAnyMore(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "a@example.com")
	for _, end := range []string{`ending = true`, `state = 'cancelled', closed_at = now(), counts = '{}'`} {
		f.exec(`UPDATE mailings SET ` + end)
		rows := f.everything()
		if _, err := f.store.FreezeAnswer(t.Context(), "m", answered("a@example.com"), 1); !errors.Is(
			err,
			recipients.ErrEnded,
		) {
			t.Errorf("%s: an answer: got %v", end, err)
		}
		if _, err := f.store.Freeze(t.Context(), "m", 1); !errors.Is(err, recipients.ErrEnded) {
			t.Errorf("%s: a list: got %v", end, err)
		}
		f.want(f.everything(), rows)
	}
}
