// Package inputs shows how a mailing reads its list, the rows of a source database and the pages of
// an HTTP server, and what it does when they are unavailable.
package inputs

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/sdk/temporal"

	"directmailer/internal/audience/member"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/dev/smtptest"
	"directmailer/internal/mailings"
	"directmailer/test/rig"
	"directmailer/workflows"
	"directmailer/workflows/policy"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

const password = "s3cret"

// fill creates the table customers of a source, with n rows whose plan is gold.
func fill(t testing.TB, at string, n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	_, err = conn.Exec(t.Context(), fmt.Sprintf(`
		CREATE SEQUENCE numbers;
		CREATE TABLE customers (id int, "E-Mail" text, name text, plan text);
		INSERT INTO customers SELECT n, 'r' || n || '@example.org', 'Nr ' || n, 'gold' FROM generate_series(1, %d) n;
		INSERT INTO customers VALUES (1001, 'silver@example.org', 'S', 'silver'),
			(1002, 'R1@Example.org', 'again', 'gold'), (1003, 'nobody', 'N', 'gold'), (1004, NULL, 'N', 'gold');`, n))
	if err != nil {
		t.Fatal(err)
	}
}

// audience returns a mailing to the recipients that the query selects.
func audience(sql string) workflows.Input {
	in := rig.Mailing(10)
	in.List = ""
	in.Query = &workflows.Query{Source: "crm", SQL: sql}
	return in
}

const gold = `SELECT name, "E-Mail" FROM customers WHERE plan = 'gold' ORDER BY id`

// wantNoLeftovers fails the test if the rows of the query are still stored. They must go when the
// list is frozen.
func wantNoLeftovers(r *rig.Rig) {
	r.Helper()
	var n int
	if err := r.Pool.QueryRow(r.Context(), `SELECT (SELECT count(*) FROM lists) + (SELECT count(*)
		FROM list_members)`).Scan(&n); err != nil || n > 0 {
		r.Errorf("%d lists and members are left: %v", n, err)
	}
}

func TestAMailingToAQueryGoesToExactlyItsRows(t *testing.T) {
	t.Parallel()
	const recipients = 25
	at := servertest.EmptyDatabase(t)
	fill(t, at, recipients)
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, rig.MX(s))
	r.StartWorker("DM_SOURCES=crm=" + at)
	result := r.Result(r.Start(audience(gold)))
	if result.Members != recipients+1 || result.Duplicates != 1 || result.Recipients != recipients ||
		result.Counts.Sent != recipients || result.Rejected != 2 {
		t.Errorf("%+v", result)
	}
	if d := r.Judge(s.Copies(), recipients); d > 0 {
		t.Errorf("%d duplicates", d)
	}
	want := map[string]int{}
	for n := range recipients {
		want[rig.Address(n+1)] = 1
	}
	if got := s.Copies(); !reflect.DeepEqual(got, want) {
		t.Errorf("received %v", got)
	}
	wantNoLeftovers(r)
	m, err := mailings.New(r.Pool).Get(t.Context(), r.ID())
	if err != nil || m.List != "query:crm" {
		t.Errorf("the mailing's list is shown as %q, %v", m.List, err)
	}
	if rejects := []member.Reject{{Position: recipients + 2, Reason: "the address has no @"},
		{Position: recipients + 3, Reason: "has no address"}}; !reflect.DeepEqual(
		m.Rejects,
		rejects,
	) {
		t.Errorf("rejected: %+v", m.Rejects)
	}
}

func TestASourceThatIsAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	const recipients = 12
	server := servertest.OwnPostgres(t)
	fill(t, server.URL("postgres"), recipients)
	server.Kill()
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, rig.MX(s))
	r.StartWorker("DM_SOURCES=crm=" + server.URL("postgres"))
	in := audience(gold)
	in.Retry.List.Attempts = 2
	run := r.Start(in)
	r.AwaitStatus("the mailing waits for the source", func(s workflows.Status) bool {
		return s.State == workflows.StateSuspended && strings.Contains(s.Doing, "the source crm is unavailable")
	})
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if result := r.Result(run); result.Counts.Sent != recipients {
		t.Errorf("%+v", result)
	}
	if d := r.Judge(s.Copies(), recipients); d > 0 {
		t.Errorf("%d duplicates", d)
	}
	wantNoLeftovers(r)
}

func TestAQueryThatFailsOnItsDataEndsTheMailingAtOnceAndNothingIsSent(t *testing.T) {
	t.Parallel()
	at := servertest.EmptyDatabase(t)
	fill(t, at, 30)
	s := smtptest.Start(t, smtptest.Options{})
	for name, c := range map[string]struct{ sql, kind, text string }{
		"syntax": {"SELECT name,\n\"E-Mail\" FORM customers", policy.InvalidInput,
			`query.sql: line 2, column 15: syntax error at or near "customers"`},
		"address": {"SELECT name FROM customers", policy.InvalidInput,
			"query.sql: has no column for the e-mail address"},
		"source": {"elsewhere", policy.InvalidInput,
			`query.source: no source database is named "elsewhere"; the workers have: crm`},
		"stored": {"", policy.InvalidInput, "query.stored: the database has no such query: give its text as sql"},
		"data": {`SELECT "E-Mail", name, 1 / (29 - id) AS x FROM customers`, policy.ListUnusable,
			"the query on crm: the data, or a literal, is not what the query takes it for (PostgreSQL error 22012)"},
		"quoted": {`SELECT "E-Mail", name, "E-Mail"::int AS x FROM customers`, policy.ListUnusable,
			"PostgreSQL error 22P02"},
		"writes": {`WITH w AS (DELETE FROM customers RETURNING *) SELECT name, "E-Mail" FROM w`, policy.InvalidInput,
			"query.sql: it writes, or is no SELECT"},
		"field": {`SELECT "E-Mail", name AS first_name FROM customers`, policy.InvalidInput,
			"subject: line 1, column 9: no column of the list is named name: there are email, first_name"},
		"hidden": {`SELECT "E-Mail", name, nextval('numbers') AS x FROM customers`, policy.ListUnusable,
			"it writes, but may only read"},
		"nobody": {gold + " LIMIT 0", policy.ListUnusable, "the query on crm returns no rows"},
		"no use": {`SELECT "E-Mail", name FROM customers WHERE id > 1002`, policy.ListUnusable,
			"the query on crm: none of its rows (2) has a usable address"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rig.New(t, rig.MX(s))
			r.StartWorker("DM_SOURCES=crm=" + at)
			in := audience(c.sql)
			if c.sql == "elsewhere" {
				in.Query = &workflows.Query{Source: "elsewhere", SQL: gold}
			}
			if c.sql == "" {
				in.Query.Stored = "not stored"
			}
			run := r.Start(in)
			ctx, cancel := context.WithTimeout(t.Context(), rig.Timeout)
			defer cancel()
			err := run.Get(ctx, nil)
			var app *temporal.ApplicationError
			if !errors.As(err, &app) || app.Type() != c.kind || !strings.Contains(app.Message(), c.text) ||
				strings.Contains(err.Error(), "example.org") {
				t.Errorf("got %v\nwant %s: %s", err, c.kind, c.text)
			}
			wantNoLeftovers(r)
		})
	}
	t.Cleanup(func() {
		if got := s.Copies(); len(got) > 0 {
			t.Errorf("mail was sent: %v", got)
		}
	})
}

// Otherwise each recipient would fail.
func TestAQueryThatLacksAFieldFailsTheMailingAlsoIfTheSourceWasAwayAtTheStart(t *testing.T) {
	t.Parallel()
	server := servertest.OwnPostgres(t)
	fill(t, server.URL("postgres"), 3)
	server.Kill()
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, rig.MX(s))
	r.StartWorker("DM_SOURCES=crm=" + server.URL("postgres"))
	in := audience(`SELECT "E-Mail", plan FROM customers`)
	in.Retry.List.Attempts = 2
	run := r.Start(in)
	r.AwaitStatus("the mailing waits for the source",
		func(s workflows.Status) bool { return s.State == workflows.StateSuspended })
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), rig.Timeout)
	defer cancel()
	err := run.Get(ctx, nil)
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.Type() != policy.ListUnusable ||
		!strings.Contains(app.Message(), "subject: line 1, column 9: no column of the list is named name") {
		t.Errorf("got %v", err)
	}
	if got := s.Copies(); len(got) > 0 {
		t.Errorf("mail was sent: %v", got)
	}
}

// waitsForLock reports whether a query of the same database waits for an advisory lock.
func waitsForLock(t *testing.T, in interface {
	QueryRow(context.Context, string, ...any) pgx.Row
}) bool {
	var waits bool
	err := in.QueryRow(t.Context(), `SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`).Scan(&waits)
	return err == nil && waits
}

// The source is killed when half of the rows have arrived. The mailing must not go to these twice,
// nor to these only.
func TestASourceThatDiesWhileItAnswersIsAskedAgain(t *testing.T) {
	t.Parallel()
	const recipients = 60
	server := servertest.OwnPostgres(t)
	fill(t, server.URL("postgres"), recipients)
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, rig.MX(s))
	r.StartWorker("DM_SOURCES=crm=" + server.URL("postgres"))
	// The rows are long, so that PostgreSQL sends each at once. At row 30 the query waits for the
	// lock.
	source, err := pgx.Connect(t.Context(), server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := source.Exec(t.Context(), "SELECT pg_advisory_lock(7)"); err != nil {
		t.Fatal(err)
	}
	run := r.Start(audience(`SELECT name, "E-Mail", repeat('x', 30000) AS pad,
		CASE WHEN id = 30 THEN pg_advisory_lock_shared(7) END AS l
		FROM (SELECT * FROM customers WHERE plan = 'gold' AND id <= 1000 ORDER BY id) c`))
	r.Eventually("half of the rows are there", func() bool { return waitsForLock(t, source) })
	server.Kill()
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if result := r.Result(run); result.Counts.Sent != recipients {
		t.Errorf("%+v", result)
	}
	if d := r.Judge(s.Copies(), recipients); d > 0 {
		t.Errorf("%d duplicates", d)
	}
	wantNoLeftovers(r)
}

// The query runs when the mailing is prepared: the row that is added before the second attempt is
// in the mailing.
func TestAWorkerThatDiesWhileAQueryRunsChangesNothing(t *testing.T) {
	t.Parallel()
	const recipients = 20
	at := servertest.EmptyDatabase(t)
	fill(t, at, recipients)
	source, err := pgx.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close(context.WithoutCancel(t.Context()))
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, rig.MX(s))
	first := r.StartWorker("DM_SOURCES=crm=" + at)
	// The transaction keeps the lock that the query waits for until the worker is dead.
	lock, err := source.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Exec(t.Context(), "SELECT pg_advisory_lock(7)"); err != nil {
		t.Fatal(err)
	}
	run := r.Start(audience(`SELECT name, "E-Mail" FROM customers, (SELECT pg_advisory_lock_shared(7)) l
		WHERE plan = 'gold'`))
	r.Eventually("the query runs", func() bool { return waitsForLock(t, lock) })
	r.Kill(first)
	if _, err := lock.Exec(t.Context(), fmt.Sprintf("INSERT INTO customers VALUES (21, 'r%d@example.org', "+
		"'late', 'gold')", recipients+1)); err != nil {
		t.Fatal(err)
	}
	if err := lock.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := source.Exec(t.Context(), "SELECT pg_advisory_unlock(7)"); err != nil {
		t.Fatal(err)
	}
	r.StartWorker("DM_SOURCES=crm=" + at)
	if result := r.Result(run); result.Counts.Sent != recipients+1 {
		t.Errorf("%+v", result)
	}
	if d := r.Judge(s.Copies(), recipients+1); d > 0 {
		t.Errorf("%d duplicates", d)
	}
	wantNoLeftovers(r)
}

func TestAMailingCancelledWhileItsQueryRunsLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	at := servertest.EmptyDatabase(t)
	fill(t, at, 3)
	s := smtptest.Start(t, smtptest.Options{})
	r := rig.New(t, rig.MX(s))
	r.StartWorker("DM_SOURCES=crm=" + at)
	run := r.Start(audience(`SELECT name, "E-Mail", pg_sleep(600) FROM customers`))
	source, err := pgx.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close(context.WithoutCancel(t.Context()))
	running := func() (n int) {
		err := source.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event = 'PgSleep'`).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	r.Eventually("the query runs", func() bool { return running() > 0 })
	r.MustUpdate(workflows.CancelUpdate)
	r.Eventually("the query has ended", func() bool { return running() == 0 })
	if result := r.Result(run); result.State != workflows.StateCancelled || len(s.Copies()) > 0 {
		t.Errorf("%+v", result)
	}
	wantNoLeftovers(r)
}

// The source refuses the connection: an error is the most likely place for a password.
func TestASourcesPasswordIsNowhereInTheHistory(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(servertest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("nobody_known", password)
	r := rig.New(t, "files=dir:"+t.TempDir())
	w := r.StartWorker("DM_SOURCES=crm="+u.String(), "DM_LOG_LEVEL=DEBUG")
	in := audience(gold)
	in.Retry.List = workflows.Retry{Attempts: 2, Interval: workflows.Duration(10 * time.Millisecond)}
	in.OnExhausted = workflows.Fail
	run := r.Start(in)
	ctx, cancel := context.WithTimeout(t.Context(), rig.Timeout)
	defer cancel()
	err = run.Get(ctx, nil)
	if err == nil || !strings.Contains(err.Error(), "the source crm is unavailable") {
		t.Errorf("got %v", err)
	}
	var history strings.Builder
	for events := r.Temporal.GetWorkflowHistory(ctx, run.GetID(), run.GetRunID(), false, 0); events.HasNext(); {
		e, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		history.WriteString(e.String())
	}
	for where, text := range map[string]string{"history": history.String(), "log": w.Log(), "error": err.Error()} {
		if strings.Contains(text, password) || strings.Contains(text, "nobody_known") {
			t.Errorf("credentials are in the %s", where)
		}
	}
}
