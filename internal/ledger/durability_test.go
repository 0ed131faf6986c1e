package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/counts"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/ledger"
)

// defaults changes the defaults of the fixture's database, and opens it again.
func (f *fixture) defaults(settings ...string) {
	f.Helper()
	servertest.NeedsNewSessions(f)
	for _, s := range settings {
		f.exec(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET ` + strings.ReplaceAll(s, "'", "''") +
			`', current_database()); END $$`)
	}
	f.pool.Reset() // sessions that begin from now on have them
}

// watched records under which settings each statement writes to a table.
func (f *fixture) watched() {
	f.Helper()
	f.exec(
		`CREATE TABLE seen (task text, isolation text, durability text, compiles text, nested_loops text,
			UNIQUE (task, isolation, durability, compiles, nested_loops))`,
	)
	f.exec(`CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO seen
			VALUES (TG_TABLE_NAME || ' ' || TG_OP,
				current_setting('transaction_isolation'), current_setting('synchronous_commit'),
			current_setting('jit'), current_setting('enable_nestloop')) ON CONFLICT DO NOTHING;
		RETURN NULL; END $$`)
	for _, table := range []string{"mailings", "batches", "deliveries", "deferrals", "spool", "suppressions"} {
		f.exec(
			`CREATE TRIGGER see AFTER INSERT OR UPDATE OR DELETE ON ` + table + ` FOR EACH STATEMENT EXECUTE FUNCTION see()`,
		)
	}
}

// quietly executes a statement of the test itself, which the triggers do not see.
func (f *fixture) quietly(sql string) {
	f.Helper()
	f.exec(`DO $$ BEGIN SET LOCAL session_replication_role = replica; ` + sql + `; END $$`)
}

// aWholeLife calls everything that writes the ledger.
func (f *fixture) aWholeLife() {
	f.Helper()
	check := func(err error) {
		f.Helper()
		if err != nil {
			f.Fatal(err)
		}
	}
	c := f.claim(1, true)
	check(f.ledger.DropSpool(f.Context(), c))
	check(f.begin(1))
	check(f.ledger.EndRendering(f.Context(), f.batch(1)))
	check(f.ledger.Store(f.Context(), f.batch(1), []byte("again"), []ledger.Failure{{Recipient: 6, Reason: "no page"}}))
	f.quietly(`INSERT INTO opt_outs (address_key, reason) VALUES ('r5@example.com', 'asked')`)
	c = f.claim(1, true)
	f.send(c, 1)
	f.refuse(c, 2, 1, "later")
	f.intend(c, 3, 1)
	f.intend(c, 4, 1)
	f.answer(c, 4, 1, ledger.Bounced, "5.1.1")
	c = f.claim(1, true)
	f.want(f.settle(c).Closed, true)
	f.want(f.resolve(ledger.Again), 1)
	f.quietly(`UPDATE deferrals SET due = now() - interval '1 second'`)
	f.want(f.gather(1, 6), ledger.Gathered{Unrendered: []int{2}})
	check(f.ledger.Store(f.Context(), f.batch(2), []byte("more"), nil))
	c = f.claim(2, true)
	f.intend(c, 3, 2)
	c = f.claim(2, true)
	f.intend(c, 2, 2)
	f.answer(c, 2, 2, ledger.Sent, "")
	f.want(f.settle(c).Closed, true)
	f.want(f.resolve(ledger.AsSent), 1)
	f.quietly(`DELETE FROM deliveries WHERE recipient = 1`)
	f.want(f.ended(true), ledger.Ending{Deferred: 1})
	f.want(f.ended(false).Counts, counts.Counts{Sent: 2, Bounced: 1, Failed: 1, OptedOut: 1, Unsent: 1})
}

// The ledger must not depend on the defaults of a server, a database or a role.
func TestEveryTransactionOfTheLedgerSetsItsIsolationAndItsDurability(t *testing.T) {
	t.Parallel()
	for durability, want := range map[string]string{"off": "on", "local": "on", "on": "on", "remote_write": "remote_write",
		"remote_apply": "remote_apply"} {
		t.Run(durability, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, 6, 6)
			f.watched()
			f.defaults(
				"synchronous_commit = "+durability,
				"jit = on",
				"default_transaction_isolation = 'repeatable read'",
			)
			var level string
			f.row(`SHOW transaction_isolation`)(&level)
			f.want(level, "repeatable read")
			f.aWholeLife()
			var tasks, isolation, durable []string
			f.row(`SELECT array_agg(DISTINCT task), array_agg(DISTINCT isolation), array_agg(DISTINCT durability)
				FROM seen`)(&tasks, &isolation, &durable)
			f.want(isolation, []string{"read committed"})
			f.want(durable, []string{want})
			for _, task := range []string{"batches INSERT", "batches UPDATE", "deferrals DELETE", "deferrals INSERT",
				"deliveries INSERT", "deliveries UPDATE",
				"mailings UPDATE", "suppressions INSERT", "spool DELETE", "spool INSERT", "spool UPDATE"} {
				if !slices.Contains(tasks, task) {
					t.Errorf("%s is not among what was seen: the test does not look at everything", task)
				}
			}
			var compiled, hashed int
			f.row(`SELECT count(*) FILTER (WHERE compiles = 'on'), count(*)
				FROM seen WHERE nested_loops = 'off'`)(&compiled, &hashed)
			f.want(compiled, 0) // plans without nested loops have costs for which they would be compiled
			f.want(hashed > 0, true)
		})
	}
}

// What Wait has reported as committed is there after a crash of a server that does not wait for its
// disk by default.
func TestNothingThatWasReportedAsCommittedIsLostWhenPostgreSQLIsKilled(t *testing.T) {
	t.Parallel()
	server := servertest.OwnPostgres(t)
	f := &fixture{T: t}
	open := func() *pgxpool.Pool {
		pool := servertest.Pool(t, server.URL("mail"), 8)
		return pool
	}
	f.pool = open()
	for _, sql := range []string{
		`ALTER SYSTEM SET synchronous_commit = off`, `ALTER SYSTEM SET default_transaction_isolation = 'repeatable read'`,
		// what is not waited for stays in memory
		`ALTER SYSTEM SET wal_writer_delay = '10s'`, `ALTER SYSTEM SET wal_writer_flush_after = '1GB'`,
		`SELECT pg_reload_conf()`,
	} {
		f.exec(sql)
	}
	f.setting("synchronous_commit", "off")
	const connections, each = 8, 5000
	f.fill(connections*each, connections*each)
	c := f.claim(1, false)
	var committed [connections]struct{ intents, results int32 } // of the connection's recipients, in order
	var total atomic.Int64
	var dead atomic.Bool
	enough := make(chan struct{})
	var lanesEnd sync.WaitGroup
	for connection := range connections {
		lanesEnd.Go(func() {
			var result *ledger.Result
			for i := int32(0); i < each && !dead.Load(); i++ {
				recipient := int32(connection*each) + i + 1
				if f.gate.Enter(c, result, &ledger.Attempt{Recipient: recipient, Number: 1}).Wait() != nil {
					return
				}
				committed[connection].intents, committed[connection].results = i+1, i
				if total.Add(1) == 400 {
					close(enough)
				}
				result = &ledger.Result{Recipient: recipient, Attempt: 1, Status: ledger.Sent, Final: true}
			}
		})
	}
	<-enough
	server.Kill()
	dead.Store(true)
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	lanesEnd.Wait()
	f.pool = open()
	for connection, want := range committed {
		var intents, results int32
		first := int32(connection * each)
		f.row(`SELECT count(*), count(*) FILTER (WHERE status = 'sent') FROM deliveries WHERE recipient > $1
			AND recipient <= $1 + $2`, first, want.intents)(&intents, &results)
		if intents < want.intents || results < want.results {
			t.Errorf(
				"connection %d: %d intents and %d results were reported as committed, %d and %d are there",
				connection,
				want.intents,
				want.results,
				intents,
				results,
			)
		}
	}
	var fence int64
	f.row(`SELECT fence FROM batches`)(&fence)
	f.want(fence, c.Fence)
}

// setting waits until new sessions have the setting.
func (f *fixture) setting(name, value string) {
	f.Helper()
	for got := ""; got != value; {
		f.pool.Reset()
		f.row(`SELECT current_setting($1)`, name)(&got)
	}
}

// stopper has the intents of one recipient wait, in the middle of the gate's transaction, until the
// test lets them go on.
func (f *fixture) stopper(recipient int32) (release func()) {
	f.Helper()
	f.exec(
		`CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END $$`,
	)
	f.exec(
		fmt.Sprintf(
			`CREATE TRIGGER stop BEFORE INSERT ON deliveries FOR EACH ROW WHEN (NEW.recipient = %d) EXECUTE FUNCTION stop()`,
			recipient,
		),
	)
	tx := f.lock(`SELECT pg_advisory_xact_lock(1)`)
	return func() { f.rollback(tx) }
}

func TestAClaimSeesTheIntentThatWasCommittedWhileItWaited(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"read committed", "repeatable read", "serializable"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, 2, 2)
			f.defaults("default_transaction_isolation = '" + level + "'")
			c := f.claim(1, true)
			release := f.stopper(1)
			ticket := f.gate.Enter(c, nil, &ledger.Attempt{Recipient: 1, Number: 1})
			f.waitFor(1)
			type answer struct {
				claim *ledger.Claim
				err   error
			}
			claimed := make(chan answer, 1)
			fence := f.fence(1)
			go func() { c, err := f.ledger.Claim(t.Context(), f.batch(1), fence, true); claimed <- answer{c, err} }()
			for waiting := 0; waiting < 2; {
				f.row(`SELECT count(*) FROM pg_stat_activity WHERE ` + servertest.WaitsForAnother)(&waiting)
				if len(claimed) > 0 {
					t.Fatal("the claim has not waited for the transaction of the gate")
				}
			}
			release()
			if err := ticket.Wait(); err != nil {
				t.Fatal(err)
			}
			next := <-claimed
			if next.err != nil {
				t.Fatal(next.err)
			}
			f.want(next.claim.Tried, map[int32]ledger.Tried{1: {Attempts: 1, Final: true, Uncertain: 1}})
		})
	}
}

// A worker may be stopped between the look at the fence and the claim, or the claim may wait for
// the other one to commit.
func TestAClaimTakesNoBatchThatWasClaimedSinceItsFenceWasRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2, 2)
	seen := f.fence(1)
	other := f.claim(1, false)
	f.intend(other, 1, 1)
	if _, err := f.ledger.Claim(t.Context(), f.batch(1), seen, false); !errors.Is(err, ledger.ErrFenced) {
		t.Errorf("the later claim: %v", err)
	}
	f.answer(other, 1, 1, ledger.Sent, "")
	f.send(other, 2)
	f.want(f.outcomes(), map[int32]ledger.Status{1: ledger.Sent, 2: ledger.Sent})
}

func TestAnIntentWhoseCommitFailsIsNotReportedAsCommitted(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 3, 3)
	f.exec(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$`)
	f.exec(
		`CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON deliveries DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW WHEN (NEW.recipient = 2) EXECUTE FUNCTION refuse()`,
	)
	c := f.claim(1, false)
	f.intend(c, 1, 1)
	err := f.gate.Enter(c, &ledger.Result{Recipient: 1, Attempt: 1, Status: ledger.Sent, Final: true},
		&ledger.Attempt{Recipient: 2, Number: 1}).Wait()
	if err == nil || errors.Is(err, ledger.ErrFenced) {
		t.Errorf("got %v", err)
	}
	f.want(f.outcomes(), map[int32]ledger.Status{1: ledger.Open, 2: ledger.Open, 3: ledger.Open})
	f.exec(`DROP TRIGGER refuse ON deliveries`)
	f.answer(c, 1, 1, ledger.Sent, "") // the same Gate goes on
	f.want(f.outcomes()[1], ledger.Sent)
}

func TestACommitWhoseSessionIsKilledIsRepeated(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1, 1)
	c := f.claim(1, false)
	release := f.stopper(1)
	ticket := f.gate.Enter(c, nil, &ledger.Attempt{Recipient: 1, Number: 1})
	f.waitFor(1)
	f.exec(
		`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ` + servertest.WaitsForAnother,
	)
	release()
	if err := ticket.Wait(); err != nil {
		t.Fatal(err)
	}
	var intents int
	f.row(`SELECT count(*) FROM deliveries WHERE status = 'intent'`)(&intents)
	f.want(intents, 1)
}

// tripCounter counts how often a connection waits for an answer to what it has written.
type tripCounter struct {
	net.Conn
	asked *atomic.Bool
	trips *atomic.Int64
}

func (c tripCounter) Write(p []byte) (int, error) {
	c.asked.Store(true)
	return c.Conn.Write(p)
}

func (c tripCounter) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && c.asked.Swap(false) {
		c.trips.Add(1)
	}
	return n, err
}

func TestACommitOfTheGateIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 50, 50)
	c := f.claim(1, false)
	config := f.pool.Config()
	config.MaxConns = 1
	config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false } // after a second's pause
	var trips atomic.Int64
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return tripCounter{conn, new(atomic.Bool), &trips}, err
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	f.gate = ledger.NewGate(pool)
	f.intend(c, 1, 1) // the first commit of a session prepares its statements
	before := trips.Load()
	for r := int32(2); r <= 50; r++ {
		f.intend(c, r, 1)
	}
	f.want(trips.Load()-before, int64(49))
}
