package optouts_test

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/audience/optouts"
	"directmailer/internal/dev/servertest"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

type fixture struct {
	testing.TB
	pool  *pgxpool.Pool
	store *optouts.Store
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	pool := servertest.Pool(t, servertest.Database(t), 8)
	return &fixture{TB: t, pool: pool, store: optouts.New(pool)}
}

func (f *fixture) want(got, want any) {
	f.Helper()
	if !reflect.DeepEqual(got, want) {
		f.Errorf("\ngot  %v\nwant %v", got, want)
	}
}

func (f *fixture) exec(sql string, args ...any) {
	f.Helper()
	if _, err := f.pool.Exec(f.Context(), sql, args...); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) add(want int64, requests ...optouts.Request) {
	f.Helper()
	n, err := f.store.Add(f.Context(), requests)
	if err != nil {
		f.Fatal(err)
	}
	f.want(n, want)
}

func (f *fixture) remove(want int64, like ...optouts.Request) {
	f.Helper()
	n, err := f.store.Remove(f.Context(), like)
	if err != nil {
		f.Fatal(err)
	}
	f.want(n, want)
}

func (f *fixture) suppress(want int64, findings ...optouts.Finding) {
	f.Helper()
	var n int64
	err := pgx.BeginFunc(f.Context(), f.pool, func(tx pgx.Tx) (err error) {
		n, err = optouts.Suppress(f.Context(), tx, findings)
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	f.want(n, want)
}

// all returns what leaves addresses out: "address scope reason mailing", and the code of a
// suppression.
func (f *fixture) all() (all []string) {
	f.Helper()
	all = []string{}
	err := f.store.All(f.Context(), "", "", func(e optouts.Exclusion) error {
		line := []string{e.Address, e.Scope, e.Reason}
		for _, text := range []string{e.Mailing, e.Class, e.Code} {
			if text != "" {
				line = append(line, text)
			}
		}
		if e.AddedAt.IsZero() {
			f.Errorf("%s has no time", e.Address)
		}
		all = append(all, strings.Join(line, " "))
		return nil
	})
	if err != nil {
		f.Fatal(err)
	}
	return all
}

// excluded returns those of the addresses that a mailing with the scopes leaves out.
func (f *fixture) excluded(scopes []optouts.Scope, keys ...string) []string {
	f.Helper()
	found, err := f.store.Excluded(f.Context(), keys, scopes)
	if err != nil {
		f.Fatal(err)
	}
	return found
}

func TestARequestIsAddedOnceForEachScopeAndReason(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	news, people := optouts.Topic("news"), optouts.List("people")
	f.add(2, optouts.Request{Key: "c@example.com"}, optouts.Request{Key: "a@example.com"},
		optouts.Request{Key: "a@example.com", Mailing: "m"})
	f.add(3, optouts.Request{Key: "a@example.com", Mailing: "m"},
		optouts.Request{Key: "a@example.com", Scope: news, Reason: optouts.Complaint, Mailing: "m"},
		optouts.Request{Key: "a@example.com", Scope: people}, optouts.Request{Key: "@example.org", Reason: optouts.Operator})
	f.want(f.all(), []string{"@example.org all operator", "a@example.com all asked", "a@example.com list:people asked",
		"a@example.com topic:news complaint m", "c@example.com all asked"})
	f.add(0)
}

func TestARequestIsTakenBackAsExactlyAsItIsNamed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	news := optouts.Topic("news")
	for _, r := range []optouts.Request{
		{Key: "a@example.com"}, {Key: "a@example.com", Reason: optouts.Complaint, Mailing: "m"},
		{Key: "a@example.com", Scope: news}, {Key: "a@example.com", Scope: news, Reason: optouts.Imported, Mailing: "m"},
		{Key: "b@example.com", Scope: news},
	} {
		f.add(1, r)
	}
	f.remove(0, optouts.Request{Key: "a@example.com", Reason: optouts.Operator}, optouts.Request{Key: "c@example.com"})
	f.remove(0, optouts.Request{Key: "a@example.com", Scope: news, Mailing: "other"})
	f.remove(1, optouts.Request{Key: "a@example.com", Scope: news, Reason: optouts.Asked})
	f.remove(1, optouts.Request{Key: "a@example.com", Scope: optouts.All, Mailing: "m"})
	f.want(f.all(), []string{"a@example.com all asked", "a@example.com topic:news imported m",
		"b@example.com topic:news asked"})
	f.remove(2, optouts.Request{Key: "a@example.com"})
	f.want(f.all(), []string{"b@example.com topic:news asked"})
	if _, err := f.store.Remove(t.Context(), []optouts.Request{{Scope: news}}); err == nil {
		t.Error("a request without a key is taken for everybody's")
	}
}

// P10: no machine's finding and no clean-up of findings touches a person's request.
func TestARequestStaysWhateverMachinesFind(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.suppress(1, optouts.Finding{Key: "a@example.com", Code: "5.1.1", Mailing: "m"})
	f.add(1, optouts.Request{Key: "a@example.com"})
	f.add(1, optouts.Request{Key: "b@example.com", Reason: optouts.Complaint, Mailing: "m"})
	f.suppress(1, optouts.Finding{Key: "a@example.com", Code: "5.1.1", Mailing: "n"},
		optouts.Finding{Key: "b@example.com", Code: "5.1.6", Mailing: "m"})
	f.want(f.all(), []string{"a@example.com all asked", "a@example.com all bounced m hard 5.1.1",
		"b@example.com all bounced m hard 5.1.6", "b@example.com all complaint m"})
	n, err := f.store.LiftMailing(t.Context(), "m")
	if err != nil {
		t.Fatal(err)
	}
	f.want(n, int64(2))
	f.want(f.all(), []string{"a@example.com all asked", "b@example.com all complaint m"})
	f.suppress(1, optouts.Finding{Key: "a@example.com", Code: "5.1.1", Mailing: "o"})
	if _, err := f.store.Lift(t.Context(), []string{"a@example.com", "b@example.com"}); err != nil {
		t.Fatal(err)
	}
	f.want(f.all(), []string{"a@example.com all asked", "b@example.com all complaint m"})
}

func TestAnOperatorRemovesEverythingOfAnAddress(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.add(2, optouts.Request{Key: "a@example.com"}, optouts.Request{Key: "b@example.com"})
	f.suppress(2, optouts.Finding{Key: "a@example.com"}, optouts.Finding{Key: "c@example.com"})
	remove := func(scope optouts.Scope, reason optouts.Reason, want optouts.Removed, keys ...string) {
		t.Helper()
		got, err := f.store.RemoveAll(t.Context(), keys, scope, reason)
		if err != nil {
			t.Fatal(err)
		}
		f.want(got, want)
	}
	f.add(1, optouts.Request{Key: "a@example.com", Scope: optouts.Topic("news"), Reason: optouts.Imported})
	remove(optouts.All, optouts.Bounced, optouts.Removed{Addresses: 1}, "a@example.com", "b@example.com")
	remove(optouts.Topic("news"), "", optouts.Removed{Addresses: 1}, "a@example.com", "c@example.com")
	f.want(f.all(), []string{"a@example.com all asked", "b@example.com all asked", "c@example.com all bounced hard"})
	remove("", "", optouts.Removed{Addresses: 2, Asked: 1}, "a@example.com", "c@example.com", "d@example.com")
	f.want(f.all(), []string{"b@example.com all asked"})
	f.add(1, optouts.Request{Key: "c@example.com", Reason: optouts.Complaint})
	f.suppress(1, optouts.Finding{Key: "c@example.com"})
	remove("", optouts.Complaint, optouts.Removed{Addresses: 1, Asked: 1}, "c@example.com")
	f.want(f.all(), []string{"b@example.com all asked", "c@example.com all bounced hard"})
	// Bounces before the removal count no more.
	f.suppress(0, soft("d@example.com", 1, 1, 2, 3, 4)...)
	remove("", "", optouts.Removed{}, "d@example.com")
	f.suppress(0, soft("d@example.com", 5, 5)...)
}

func TestWhatIsExportedIsImportedAsItWas(t *testing.T) {
	t.Parallel()
	f, other := newFixture(t), newFixture(t)
	f.add(3, optouts.Request{Key: "a@example.com", Scope: optouts.Topic("news"), Mailing: "m", At: day(1)},
		optouts.Request{Key: "@example.org", Reason: optouts.Operator, At: day(2)},
		optouts.Request{Key: "a@example.com", Reason: optouts.Complaint, At: day(3)})
	f.suppress(1, optouts.Finding{Key: "b@example.com", Code: "5.1.1", Mailing: "m", At: day(4)})
	f.exec(`INSERT INTO suppressions (address_key, class, code, origin, count, first_at, last_at, expires_at)
		VALUES ('c@example.com', 'soft', '4.2.2', 'report', 5, '2026-01-05Z', '2026-01-06Z', '2999-01-01Z')`)
	read := func(f *fixture) (all []optouts.Exclusion) {
		err := f.store.All(t.Context(), "", "", func(e optouts.Exclusion) error {
			all = append(all, e)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	other.exec(`INSERT INTO suppressions (address_key, class, code, origin, expires_at)
		VALUES ('b@example.com', 'soft', '4.2.2', 'report', '2026-01-01Z')`) // it has expired: nobody sees it
	exported := read(f)
	for _, want := range []int64{5, 0} { // the second time, nothing is new
		n, err := other.store.Import(t.Context(), exported)
		if err != nil {
			t.Fatal(err)
		}
		f.want(n, want)
	}
	f.want(fmt.Sprint(read(other)), fmt.Sprint(exported))
	f.want(len(exported), 5)
}

func TestScopesDomainsAndSuppressionsLeaveOutWhomTheyName(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	news, offers, people := optouts.Topic("news"), optouts.Topic("offers"), optouts.List("people")
	f.add(5, optouts.Request{Key: "a@example.com"}, optouts.Request{Key: "n@example.com", Scope: news},
		optouts.Request{Key: "l@example.com", Scope: people}, optouts.Request{Key: "@example.org"},
		optouts.Request{Key: "@example.net", Scope: news})
	f.suppress(1, optouts.Finding{Key: "s@example.com"})
	f.exec(`INSERT INTO suppressions (address_key, class, code, origin, expires_at)
		VALUES ('old@example.com', 'soft', '', 'report', now() - interval '1 second')`)
	keys := []string{"a@example.com", "n@example.com", "l@example.com", "s@example.com", "old@example.com",
		"x@example.org", "x@sub.example.org", "x@notexample.org", "x@example.net", `"@example.org"@example.com`}
	for _, c := range []struct {
		scopes []optouts.Scope
		want   string
	}{
		{nil, "s@example.com"},
		{[]optouts.Scope{optouts.All}, "a@example.com s@example.com x@example.org"},
		{[]optouts.Scope{news}, "n@example.com s@example.com x@example.net"},
		{[]optouts.Scope{offers}, "s@example.com"},
		{[]optouts.Scope{optouts.All, people, news},
			"a@example.com n@example.com l@example.com s@example.com x@example.org x@example.net"},
	} {
		f.want(strings.Join(f.excluded(c.scopes, keys...), " "), c.want)
	}
	f.want(len(f.all()), 6) // without the expired one
	if err := f.store.All(t.Context(), news, "", func(e optouts.Exclusion) error {
		f.want(e.Scope, string(news))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	if err := f.store.All(t.Context(), "", "", func(optouts.Exclusion) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v, want the callback's own error", err)
	}
}

func TestKeysAreThoseOfAddressesAndOfWholeDomains(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Ann@Example.COM": "ann@example.com", " @Example.COM ": "@example.com",
		"@bücher.example": "@xn--bcher-kva.example",
		"'@example.com":   "@example.com", "'=a@example.com": "=a@example.com",
	} {
		if got, err := optouts.Key(text); err != nil || got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"@", "@example", "@a@example.com", "example.com", "", "@exa mple.com"} {
		if got, err := optouts.Key(text); err == nil || text != "" && text != "@" && strings.Contains(err.Error(), text) {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
}

func TestScopesAndReasonsAreReadOrRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"all", "list:people", "topic:spring-offers"} {
		if s, err := optouts.ParseScope(text); err != nil || string(s) != text {
			t.Errorf("%s: %s, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "All", "list", "list:", "topic:No", "people", "all:x", "list:a:b", "domain:x"} {
		if s, err := optouts.ParseScope(text); err == nil {
			t.Errorf("%q is %q", text, s)
		}
	}
	for _, r := range optouts.Reasons {
		if got, err := optouts.ParseReason(string(r)); err != nil || got != r {
			t.Error(r, got, err)
		}
	}
	for _, text := range []string{"", "bounced", "Asked"} {
		if r, err := optouts.ParseReason(text); err == nil {
			t.Errorf("%q is %q", text, r)
		}
	}
}

// What somebody has asked for must not depend on the defaults of a server, a database or a role.
func TestEveryChangeOfOptOutsSetsItsIsolationAndItsDurability(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.exec(`CREATE TABLE seen (task text, settings text, UNIQUE (task, settings))`)
	f.exec(`CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO seen
			VALUES (TG_TABLE_NAME || ' ' || TG_OP, current_setting('transaction_isolation') || ', '
				|| current_setting('synchronous_commit'))
			ON CONFLICT DO NOTHING;
		RETURN NULL; END $$`)
	for _, table := range []string{"opt_outs", "suppressions"} {
		f.exec(`CREATE TRIGGER see AFTER INSERT OR UPDATE OR DELETE ON ` + table +
			` FOR EACH STATEMENT EXECUTE FUNCTION see()`)
	}
	f.exec(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$`)
	f.exec(`DO $$ BEGIN EXECUTE format(
		'ALTER DATABASE %I SET default_transaction_isolation = ''repeatable read''', current_database()); END $$`)
	f.pool.Reset()
	request := optouts.Request{Key: "a@example.com"}
	f.add(1, request)
	f.remove(1, request)
	for _, change := range []func() (int64, error){
		func() (int64, error) { return f.store.Lift(t.Context(), []string{request.Key}) },
		func() (int64, error) { return f.store.LiftMailing(t.Context(), "m") },
		func() (int64, error) { return f.store.Import(t.Context(), nil) },
	} {
		if _, err := change(); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := f.pool.Query(t.Context(), `SELECT task || ': ' || settings FROM seen ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	seen, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	f.want(seen, []string{"opt_outs DELETE: read committed, on", "opt_outs INSERT: read committed, on",
		"suppressions DELETE: read committed, on"})
}

// day is a time on the n-th day of a year.
func day(n int) time.Time { return time.Date(2026, 1, n, 12, 0, 0, 0, time.UTC) }

// soft returns soft bounces of the address by one mailing on each of the days, numbered from first.
func soft(key string, first int, days ...int) (all []optouts.Finding) {
	for i, d := range days {
		all = append(all, optouts.Finding{Key: key, Class: optouts.Soft, Code: "4.2.2",
			Mailing: fmt.Sprintf("m-%d", first+i), At: day(d)})
	}
	return all
}
