package query_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/audience/query"
	"directmailer/internal/dev/servertest"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

const schema = `
	CREATE DOMAIN iso AS text;
	CREATE DOMAIN whole AS int;
	CREATE TYPE mood AS ENUM ('glad', 'sad');
	CREATE TABLE people (id int PRIMARY KEY, email text, first_name text);
	INSERT INTO people VALUES (1, 'ann@example.org', 'Ann'), (2, 'bob@example.org', NULL),
		(3, 'Cy@EXAMPLE.org', 'Cy "the" \Ü');
	CREATE TABLE hidden (email text);
	CREATE SEQUENCE numbers;
	CREATE FUNCTION tell() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no mail for ann@example.org'; END $$;
	CREATE FUNCTION dig() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT ann FROM people); END $$`

// source is the database that each test gets a copy of.
var source = servertest.NewTemplate(createTables)

func createTables(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, schema)
	return err
}

// crm is a set of the one source crm.
func crm(t testing.TB, url string) *query.Set {
	t.Helper()
	c, err := query.Parse("crm", url)
	if err != nil {
		t.Fatal(err)
	}
	return query.NewSet([]query.Config{c})
}

func newSource(t testing.TB) *query.Set { return crm(t, source.Database(t)) }

const patience = 5 * time.Minute // a slow machine reads a hundred thousand rows, too

// read returns all members of the answer, as lines.
func read(t testing.TB, s *query.Set, sql string) (out []string, rejected int64, err error) {
	t.Helper()
	rows, err := s.Query(t.Context(), "crm", sql, patience)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for {
		m, err := rows.Next()
		if err == io.EOF {
			return out, rows.Rejected(), nil
		}
		if err != nil {
			return out, rows.Rejected(), err
		}
		out = append(out, fmt.Sprintf("%d %s %s %s", m.Position, m.Address, m.Address.Key(), m.Attributes))
	}
}

func want(t testing.TB, s *query.Set, sql string, rejected int64, lines ...string) {
	t.Helper()
	got, left, err := read(t, s, sql)
	if err != nil || left != rejected || !reflect.DeepEqual(got, lines) {
		t.Errorf("%s\ngot  %q, %d rejected, %v\nwant %q, %d rejected", sql, got, left, err, lines, rejected)
	}
}

func TestEachRowIsAMember(t *testing.T) {
	t.Parallel()
	want(t, newSource(t), "SELECT id, email, first_name FROM people ORDER BY id;", 0,
		`1 ann@example.org ann@example.org {"id":1,"first_name":"Ann"}`,
		`2 bob@example.org bob@example.org {"id":2,"first_name":null}`,
		`3 Cy@example.org cy@example.org {"id":3,"first_name":"Cy \"the\" \\Ü"}`)
}

// withSettings returns the source with settings of its session.
func withSettings(t *testing.T, settings map[string]string) *query.Set {
	t.Helper()
	at, err := url.Parse(source.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	q := at.Query()
	for name, value := range settings {
		q.Set(name, value)
	}
	at.RawQuery = q.Encode()
	return crm(t, at.String())
}

func TestValuesKeepTheirTypes(t *testing.T) {
	t.Parallel()
	s := withSettings(t, map[string]string{"timezone": "Europe/Berlin"})
	for expression, value := range map[string]string{
		"true": "true", "false": "false", "NULL::bool": "null", "NULL": "null", "NULL::int[]": "null",
		"484": "484", "-5::smallint": "-5", "9223372036854775807": "9223372036854775807", "0": "0",
		"12.50::numeric": "12.50", "0.1::numeric(20,10)": "0.1000000000",
		"12345678901234567890.123456789::numeric": "12345678901234567890.123456789",
		"'NaN'::numeric": `"NaN"`, "'-Infinity'::numeric": `"-Infinity"`, "'NaN'::float8": `"NaN"`, "-0.5::numeric": "-0.5",
		"'Infinity'::float8": `"Infinity"`, "ARRAY['-Infinity'::float4]": `["-Infinity"]`,
		"1e20::float8": "100000000000000000000", "0.1::float8": "0.1", "0.1::float4": "0.1", "1e-7::float8": "0.0000001",
		"(0.1::float8 + 0.2)": "0.30000000000000004",
		"DATE '2026-03-01'":   `"2026-03-01"`, "TIMESTAMP '2026-03-01 10:00:00.5'": `"2026-03-01 10:00:00.5"`,
		"TIME '09:30'":                         `"09:30:00"`,
		"TIMESTAMPTZ '2026-03-01 10:00:00+00'": `"2026-03-01 11:00:00+01"`, "'infinity'::date": `"infinity"`,
		"INTERVAL '90 minutes'": `"01:30:00"`,
		"'ab'::char(4)":         `"ab"`, "E'  gold\u00a0'": `"gold"`, "E'a\\nb\\u0001c'": `"a\u000ab\u0001c"`, "''": `""`,
		"' '":          `""`,
		"'glad'::mood": `"glad"`, "'x'::iso": `"x"`, "7::whole": "7", "'127.0.0.1/8'::inet": `"127.0.0.1/8"`,
		`'\xff00'::bytea`: `"\\xff00"`, "ROW(1, NULL, 'x')": `"(1,,x)"`,
		`ARRAY['a','b c', NULL, 'NULL', '', E'q"\\,{}', ' pad ']`: `["a","b c",null,"NULL","","q\"\\,{}","pad"]`,
		"ARRAY[[1,2],[3,NULL]]":                                   "[[1,2],[3,null]]",
		"'[0:1]={1,2}'::int[]":                                    "[1,2]",
		"'{}'::text[]":                                            "[]", "ARRAY[true,false]": "[true,false]",
		"ARRAY[1.50,'NaN'::numeric]": `[1.50,"NaN"]`, "ARRAY['a'::char(3)]": `["a"]`,
		"ARRAY[DATE '2026-03-01']": `["2026-03-01"]`, "ARRAY['glad'::mood]": `"{glad}"`,
		`ARRAY['{"a":1}'::jsonb]`:                                  `[{"a":1}]`,
		`'{"a": 1.50, "c": [true, null, " x "], "b": "y"}'::jsonb`: `{"a":1.50,"b":"y","c":[true,null,"x"]}`,
		`'{"a" : 1e2, "b": 1.5E-2}'::json`:                         `{"a":100,"b":0.015}`,
		`'"gold "'::jsonb`:                                         `"gold"`,
		"'5'::jsonb":                                               "5", "'null'::jsonb": "null", "'true'::json": "true",
		`'{"a": 1e99999999}'::json`: `"{\"a\": 1e99999999}"`, `'{"a": "\u0000"}'::json`: `"{\"a\": \"\\u0000\"}"`,
	} {
		want(t, s, "SELECT 'a@example.org' AS email, "+expression+" AS v", 0, `1 a@example.org a@example.org {"v":`+value+`}`)
	}
}

// The settings of a source must not decide what its values mean.
func TestValuesDoNotDependOnTheSourcesSettings(t *testing.T) {
	t.Parallel()
	const sql = `SELECT 'a@example.org' AS email, DATE '2026-03-04' AS d, (0.1::float8 + 0.2) AS f,
		INTERVAL '90 minutes' AS i,
		'\xff'::bytea AS b, ARRAY[TIMESTAMP '2026-03-04 10:00'] AS a`
	s := withSettings(t, map[string]string{
		"datestyle": "German", "intervalstyle": "iso_8601", "bytea_output": "escape", "extra_float_digits": "-3",
	})
	want(t, s, sql, 0,
		`1 a@example.org a@example.org {"d":"2026-03-04","f":0.30000000000000004,"i":"01:30:00",`+
			`"b":"\\xff","a":["2026-03-04 10:00:00"]}`)
}

func TestTheAddressColumnIsFoundUnderTheNamesThatFilesMayUse(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	for _, name := range []string{"email", "EMail", `"E-Mail"`, `"Email Address"`, "mail", "rcp_email", `"e.mail"`} {
		want(t, s, "SELECT ' a@example.org ' AS "+name+", 1 AS n", 0, `1 a@example.org a@example.org {"n":1}`)
	}
	want(
		t,
		s,
		"SELECT 'b@example.org' AS mail, 'a@example.org'::char(20) AS email",
		0,
		`1 a@example.org a@example.org {"mail":"b@example.org"}`,
	)
}

func TestFurtherKindsOfStatementsThatAnswerRowsAreFine(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	want(
		t,
		s,
		"WITH p AS (SELECT * FROM people WHERE id = 1) TABLE p -- the end",
		0,
		`1 ann@example.org ann@example.org {"id":1,"first_name":"Ann"}`,
	)
	want(t, s, "SELECT email FROM (VALUES ('a@example.org')) v (email)", 0, `1 a@example.org a@example.org {}`)
	want(t, s, "SELECT email FROM people WHERE false", 0)
}

func TestHostileRowsAreCountedAndLeftOut(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	sql := `SELECT email, pad
		FROM (VALUES (1, 'a@example.org', ''), (2, NULL, ''), (3, '', ''),
			(4, E'x@example.org\r\nRCPT TO:<y@example.org>', ''),
		(5, 'x> NOTIFY=NEVER@example.org', ''), (6, 'x@example.org, y@example.org', ''), (7, 'nobody', ''),
			(8, 'b@example.org', repeat('x', 70000)),
		(9, '<x@example.org>', ''), (10, repeat('x', 65) || '@example.org', ''),
			(11, 'c@example.org', E'a\r\nBcc: x@example.org')) v (n, email, pad) ORDER BY n`
	want(
		t,
		s,
		sql,
		9,
		`1 a@example.org a@example.org {"pad":""}`,
		`11 c@example.org c@example.org {"pad":"a\u000d\u000aBcc: x@example.org"}`,
	)
	rows, err := s.Query(t.Context(), "crm", `SELECT CASE n WHEN 1 THEN 'a@example.org' WHEN 3 THEN '"b@example.org"'
		ELSE 'nobody' END AS email FROM generate_series(1, 25) n ORDER BY n`, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for err == nil {
		_, err = rows.Next()
	}
	told := rows.Rejects() // of the first twenty
	if err != io.EOF || rows.Pasted() != 1 || rows.Rejected() != 23 || len(told) != 20 || told[0].Position != 2 ||
		told[19].Position != 22 {
		t.Errorf("%v, %d pasted, %d rejected: %+v", err, rows.Pasted(), rows.Rejected(), told)
	}
}

func TestALongAnswerIsStreamed(t *testing.T) {
	t.Parallel()
	rows, err := newSource(
		t,
	).Query(t.Context(), "crm", "SELECT 'r' || n || '@example.org' AS email, n FROM generate_series(1, 100000) n",
		patience)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if got := rows.Columns(); !reflect.DeepEqual(got, []string{"n"}) {
		t.Errorf("columns %q", got)
	}
	n := 0
	for ; ; n++ {
		m, err := rows.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if w := fmt.Sprintf("r%d@example.org", n+1); m.Address.String() != w ||
			string(m.Attributes) != fmt.Sprintf(`{"n":%d}`, n+1) {
			t.Fatalf("got %s %s", m.Address, m.Attributes)
		}
	}
	if n != 100000 {
		t.Errorf("%d rows", n)
	}
	if _, err := rows.Next(); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
}

func TestWhatIsWrongWithAQueryIsSaidInItsOwnWordsWithoutData(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	const writes = "it writes, but may only read (PostgreSQL error 25006)"
	const notThat = "the data, or a literal, is not what the query takes it for "
	const twoStatements = "cannot insert multiple commands into a prepared statement (PostgreSQL error 42601)"
	const hidden = "; PostgreSQL's message is not shown because it can quote data"
	for sql, text := range map[string]string{
		"SELECT email\nFROM people\nWHERE x = 1": `line 3, column 7: column "x" does not exist ` +
			`(PostgreSQL error 42703)`,
		"SELECT 'ü', email\nFORM people": `line 2, column 6: syntax error at or near "people" ` +
			`(PostgreSQL error 42601)`,
		"SELECT email FROM folk": `line 1, column 19: relation "folk" does not exist ` +
			`(PostgreSQL error 42P01)`,
		"SELECT email FROM people WHERE \"ann@example.org\" = 1": `line 1, column 32: column "…" does not exist ` +
			`(PostgreSQL error 42703)`,
		"SELECT email FROM people; DELETE FROM people": twoStatements,
		"COMMIT; SELECT email FROM people":             twoStatements,
		"COMMIT":                                       "answers no rows: it must be one SELECT",
		"SET TRANSACTION READ WRITE":                   "answers no rows: it must be one SELECT",
		"DELETE FROM people":                           "answers no rows: it must be one SELECT",
		"COPY people TO STDOUT":                        "answers no rows: it must be one SELECT",
		" -- nothing":                                  "answers no rows: it must be one SELECT",
		"SELECT first_name, id FROM people": "has no column for the e-mail address: name it email; " +
			"the columns are first_name, id",
		"SELECT email, id, first_name AS \"ID\" FROM people": "columns 2 and 3 are both named id: " +
			"give one another name with AS",
		"SELECT email, 1, 2 FROM people": "columns 2 and 3 are both named column: " +
			"give one another name with AS",
		"SELECT email, 1 AS \"ann@example.org\" FROM people": "has an @ in the name of column 2: " +
			"give it another with AS",
		"SELECT email FROM people WHERE id = $1": "has parameters ($1): " +
			"there is nothing to put in their place",
		"INSERT INTO people VALUES (9) RETURNING email":                             writes,
		"WITH x AS (INSERT INTO people VALUES (9) RETURNING email) SELECT * FROM x": writes,
		"SELECT email, nextval('numbers') AS n FROM people":                         writes,
		"SELECT email, set_config('transaction_read_only', 'off', true) FROM people": "transaction read-write mode must be " +
			"set before any query (PostgreSQL error 25001)",
		"SELECT email, email::int AS n FROM people":   notThat + "(PostgreSQL error 22P02)" + hidden,
		"SELECT email, 1 / (id - 1) AS n FROM people": notThat + "(PostgreSQL error 22012)" + hidden,
		"SELECT email FROM people WHERE id = 'bob@example.org'": "line 1, column 37: " + notThat +
			"(PostgreSQL error 22P02)" + hidden,
		"SELECT email, tell() FROM people": "a function that it calls fails " +
			"(PostgreSQL error P0001)",
		"SELECT email, dig() FROM people": "a function that it calls fails " +
			"(PostgreSQL error 42703)",
		"SELECT 'a@example.org' AS email, repeat('x', 9000000) AS x": "answers a row of more than 8 MiB",
	} {
		_, _, err := read(t, s, sql)
		var fault *query.Fault
		if !errors.As(err, &fault) || fault.Text != text {
			t.Errorf("%s\ngot  %v\nwant %s", sql, err, text)
		}
		if err != nil && strings.Contains(err.Error(), "example") {
			t.Errorf("%s: an address is in %v", sql, err)
		}
	}
	want(t, s, "SELECT email FROM people WHERE id = 1", 0, `1 ann@example.org ann@example.org {}`) // nothing was deleted
}

func TestAFaultInALaterRowEndsTheReading(t *testing.T) {
	t.Parallel()
	_, _, err := read(
		t,
		newSource(t),
		"SELECT 'r' || n || '@example.org' AS email, 1 / (50000 - n) AS x FROM generate_series(1, 100000) n",
	)
	var fault *query.Fault
	if !errors.As(err, &fault) || !strings.Contains(fault.Text, "22012") {
		t.Errorf("got %v", err)
	}
}

func TestAUserWhoMayNotReadATableIsToldSo(t *testing.T) {
	t.Parallel()
	at := source.Database(t)
	conn, err := pgx.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	role := fmt.Sprintf("reader_%d", time.Now().UnixNano())
	if _, err := conn.Exec(t.Context(),
		fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD 's3cret'; GRANT SELECT ON people TO %[1]s", role)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), at)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(context.Background(), fmt.Sprintf("DROP OWNED BY %s; DROP ROLE %[1]s", role)); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "s3cret")
	s := crm(t, u.String())
	want(t, s, "SELECT email FROM people WHERE id = 1", 0, `1 ann@example.org ann@example.org {}`)
	_, _, err = read(t, s, "SELECT email FROM hidden")
	if err == nil || err.Error() != "the query on crm: permission denied for table hidden (PostgreSQL error 42501)" {
		t.Errorf("got %v", err)
	}
}

// wantUnavailable checks that the error is one that may pass, and says so much of it.
func wantUnavailable(t testing.TB, err error, part string) {
	t.Helper()
	var away *query.Unavailable
	if !errors.As(err, &away) || !strings.Contains(away.Cause, part) {
		t.Errorf("got %v, want one that may pass: %s", err, part)
	}
	if err != nil && (strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "reader")) {
		t.Errorf("a credential is in %v", err)
	}
}

func TestAQueryThatTakesTooLongIsEndedAndMayBeTriedAgain(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	_, err := s.Query(t.Context(), "crm", "SELECT email, pg_sleep(60) FROM people", time.Second)
	wantUnavailable(t, err, "the query took longer than its timeout of 1s")
	// The server itself ends the query, also if we are gone.
	want(t, s, "SELECT 'a@example.org' AS email, current_setting('statement_timeout') AS ends", 0,
		`1 a@example.org a@example.org {"ends":"5min"}`)
	rows, err := s.Query(
		t.Context(),
		"crm",
		"SELECT 'a@example.org' AS email, CASE WHEN n > 1000 THEN pg_sleep(60) END FROM generate_series(1, 1001) n",
		2*time.Second,
	)
	if err == nil { // else the machine is so slow that the time is over before the first row
		defer rows.Close()
	}
	for err == nil {
		_, err = rows.Next()
	}
	wantUnavailable(t, err, "the query took longer than its timeout of 2s")
}

func TestASourceThatIsAwayMayBeThereLater(t *testing.T) {
	t.Parallel()
	_, err := crm(
		t,
		"postgres://reader:s3cret@127.0.0.1:1/crm",
	).Query(t.Context(), "crm", "SELECT 1 AS email", patience)
	wantUnavailable(t, err, "refused")
	_, err = crm(
		t,
		"postgres://reader:s3cret@127.0.0.1:1/crm",
	).Describe(t.Context(), "crm", "SELECT 1 AS email", patience)
	wantUnavailable(t, err, "refused")
	_, err = query.NewSet(nil).Query(t.Context(), "crm", "SELECT 1 AS email", patience)
	wantUnavailable(t, err, "no source of that name")
	u, err := url.Parse(source.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/reader_nowhere"
	_, err = crm(t, u.String()).Query(t.Context(), "crm", "SELECT 1 AS email", patience)
	wantUnavailable(t, err, "there is no such database")
}

func TestASourceThatDiesInTheMiddleMayBeThereLater(t *testing.T) {
	t.Parallel()
	server := servertest.OwnPostgres(t)
	s := crm(t, server.URL("postgres"))
	const sql = "SELECT 'r' || n || '@example.org' AS email, repeat('x', 1000) AS x FROM generate_series(1, 1000000) n"
	rows, err := s.Query(t.Context(), "crm", sql, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	server.Kill()
	n := 0
	for ; err == nil; n++ {
		_, err = rows.Next()
	}
	wantUnavailable(t, err, "")
	if _, err := s.Query(t.Context(), "crm", sql, patience); err == nil {
		t.Error("a killed server has answered")
	} else {
		wantUnavailable(t, err, "")
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, s, "SELECT 'a@example.org' AS email", 0, "1 a@example.org a@example.org {}")
}

// running counts the source's queries that hold the mark.
func running(t testing.TB, url, mark string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(),
		`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
		AND state = 'active' AND query LIKE '%' || $1 || '%'`, mark).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAQueryThatNobodyWaitsForDoesNotRunOn(t *testing.T) {
	t.Parallel()
	at := source.Database(t)
	s := crm(t, at)
	gone := func(mark string) {
		t.Helper()
		for deadline := time.Now().Add(3 * time.Minute); running(t, at, mark) > 0; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s runs on", mark)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := s.Query(ctx, "crm", "SELECT email, pg_sleep(600) AS cancelled FROM people", 20*time.Minute)
		failed <- err
	}()
	for running(t, at, "cancelled") == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	gone("cancelled")

	rows, err := s.Query(
		t.Context(),
		"crm",
		// not FROM generate_series: PostgreSQL would make all rows before it gives the first one
		"SELECT 'a@example.org' AS email, generate_series(1, 100000000) AS closed",
		patience,
	)
	if err != nil {
		t.Fatal(err)
	}
	rows.Close()
	gone("closed")
}

func TestDescribingDoesNotRun(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	columns, err := s.Describe(t.Context(), "crm", "SELECT id, email, tell() FROM people -- the end", patience)
	if err != nil || !reflect.DeepEqual(columns, []string{"id", "tell"}) {
		t.Errorf("got %q, %v", columns, err)
	}
	for sql, text := range map[string]string{
		"SELECT x FROM people": `line 1, column 8: column "x" does not exist ` +
			`(PostgreSQL error 42703)`,
		"INSERT INTO people VALUES (9) RETURNING email": "it writes, or is no SELECT: " +
			"it must be one SELECT that only reads",
		"WITH x AS (DELETE FROM people RETURNING *) SELECT email FROM x": "it writes, or is no SELECT: " +
			"it must be one SELECT that only reads",
	} {
		_, err := s.Describe(t.Context(), "crm", sql, patience)
		var fault *query.Fault
		if !errors.As(err, &fault) || fault.Text != text {
			t.Errorf("%s\ngot  %v\nwant %s", sql, err, text)
		}
	}
	for _, sql := range []string{"TABLE people;", "WITH p AS (SELECT * FROM people) SELECT email FROM p",
		"(SELECT email FROM people) UNION SELECT 'x' FROM people ORDER BY 1"} {
		if _, err := s.Describe(t.Context(), "crm", sql, patience); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

func TestANameOrURLThatCannotBeUsedIsRefusedWithoutQuotingIt(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{
		{"CRM", "postgres://reader:s3cret@h/crm"}, {"", "postgres://reader:s3cret@h/crm"},
		{strings.Repeat("x", 64), "postgres://reader:s3cret@h/crm"},
		{"crm", "mysql://reader:s3cret@h/crm"}, {"crm", "host=h user=reader password=s3cret"},
		{"crm", "postgres://reader:s3%zzcret@h/crm"},
		{"crm", "postgres://reader:s3cret@h:x/crm"}, {"crm", "postgres://reader:s3cret@h/crm?sslmode=s3cret"},
		{"crm", "postgres://reader:s3cret@h/crm?sslrootcert=/s3cret"},
	} {
		got, err := query.Parse(c[0], c[1])
		if err == nil {
			t.Errorf("%q was taken", c)
			continue
		}
		if text := err.Error() + fmt.Sprintf("%v %+v %#v", got, got, got); strings.Contains(text, "s3cret") ||
			strings.Contains(text, "reader") {
			t.Errorf("%q: %s", c, text)
		}
	}
	c, err := query.Parse("crm", "postgresql://reader:s3cret@db.example.com/crm")
	if err != nil {
		t.Fatal(err)
	}
	const shown = "postgres://db.example.com:5432/crm"
	if text := fmt.Sprintf("%v %+v %#v %v", c, c, c, []query.Config{c}); strings.Contains(text, "s3cret") ||
		!strings.HasPrefix(text, shown) {
		t.Errorf("shown as %s", text)
	}
}

func BenchmarkRead(b *testing.B) {
	s := newSource(b)
	b.ReportAllocs()
	rows, err := s.Query(
		b.Context(),
		"crm",
		fmt.Sprintf(
			`SELECT 'r' || n || '@example.org' AS email, 'Ann' AS first_name, 'Lübeck' AS city, n FROM generate_series(1, %d) n`,
			b.N,
		),
		time.Hour,
	)
	if err != nil {
		b.Fatal(err)
	}
	defer rows.Close()
	b.ResetTimer()
	for range b.N {
		if _, err := rows.Next(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
