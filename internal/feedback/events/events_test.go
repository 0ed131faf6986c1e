package events_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/audience/optouts"
	"directmailer/internal/database"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/feedback/events"
	"directmailer/internal/feedback/token"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

// fixture is a database with mailings whose recipients were all sent.
type fixture struct {
	testing.TB
	pool  *pgxpool.Pool
	store *events.Store
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	pool := servertest.Pool(t, servertest.Database(t), 8)
	return &fixture{t, pool, events.New(pool)}
}

// mailing makes a mailing to r1@example.org, r2@example.org and so on, and returns its internal
// key.
func (f *fixture) mailing(id string, recipients int) (key int64) {
	f.Helper()
	err := f.pool.QueryRow(f.Context(), `
		INSERT INTO mailings (id, first_run_id, input, list, state, recipients, mailable, batches)
		VALUES ($1, 'run', '{}', 'people', 'sending', $2, $2, 1) RETURNING key`, id, recipients).Scan(&key)
	if err != nil {
		f.Fatal(err)
	}
	f.exec(`INSERT INTO recipients (mailing, number, address, address_key, attributes)
		SELECT $1, n, 'R' || n || '@example.org', 'r' || n || '@example.org', '{}' FROM generate_series(1, $2::int) n`,
		key, recipients)
	f.exec(`INSERT INTO batches (mailing, number, first, last, sent, closed_at) VALUES ($1, 1, 1, $2, $2, now())`,
		key, recipients)
	f.exec(`INSERT INTO deliveries (mailing, recipient, attempt, status, final, drop_point, answered_at)
		SELECT $1, n, 1, 'sent', true, 'mx', now() FROM generate_series(1, $2::int) n`, key, recipients)
	return key
}

func (f *fixture) exec(sql string, args ...any) {
	f.Helper()
	if _, err := f.pool.Exec(f.Context(), sql, args...); err != nil {
		f.Fatal(err)
	}
}

// texts returns the first column of a query.
func (f *fixture) texts(sql string, args ...any) []string {
	f.Helper()
	rows, err := f.pool.Query(f.Context(), sql, args...)
	if err != nil {
		f.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		f.Fatal(err)
	}
	return all
}

func (f *fixture) want(what string, got []string, want ...string) {
	f.Helper()
	if !slices.Equal(got, want) {
		f.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func (f *fixture) record(all ...events.Event) events.Recorded {
	f.Helper()
	r, err := f.store.Record(f.Context(), all...)
	if err != nil {
		f.Fatal(err)
	}
	return r
}

// said is an event of a report of its own.
func said(class events.Class, mailing int64, number int) events.Event {
	return events.Event{
		Recipient: token.Recipient{Mailing: mailing, Number: number}, Class: class, Origin: events.Inbound,
		ReportID: fmt.Sprintf("report of %s %d %d", class, mailing, number), Enhanced: "5.1.1",
		Diagnostic: "no such user",
	}
}

const (
	allEvents   = `SELECT recipient || ' ' || kind || ' ' || class FROM events ORDER BY key`
	suppressed  = `SELECT address_key || ' ' || class || ' ' || code || ' ' || mailing FROM suppressions ORDER BY 1`
	optedOut    = `SELECT address_key || ' ' || scope || ' ' || reason || ' ' || mailing FROM opt_outs ORDER BY 1`
	wholeLedger = `SELECT row_to_json(d)::text FROM deliveries d UNION ALL SELECT row_to_json(b)::text FROM batches b
		UNION ALL SELECT row_to_json(m)::text FROM mailings m ORDER BY 1`
)

func TestWhatFollowsFromAnEvent(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	m := f.mailing("m", 9)
	before := f.texts(wholeLedger)
	all := events.Classes()
	for i, class := range all {
		f.record(said(class, m, i+1))
	}
	f.want("events", f.texts(allEvents), "1 bounce hard", "2 bounce soft", "3 complaint complaint",
		"4 unsubscribe unsubscribe", "5 notice automatic", "6 notice delayed", "7 notice delivered")
	f.want("suppressed", f.texts(suppressed), "r1@example.org hard 5.1.1 m")
	f.want("opted out", f.texts(optedOut), "r3@example.org all complaint m", "r4@example.org all asked m")
	f.want("the ledger", f.texts(wholeLedger), before...)
	many := f.mailing("many", 28)
	n := 0
	for i, class := range all {
		for range i + 1 {
			n++
			f.record(said(class, many, n))
		}
	}
	f.record(said(events.Soft, many, 1)) // it is hard as well
	c, err := f.store.Counts(t.Context(), many)
	if err != nil {
		t.Fatal(err)
	}
	for i, class := range all {
		want := int64(i + 1)
		if class == events.Soft {
			want++
		}
		if c.Of(class) != want {
			t.Errorf("%d recipients are %s, want %d: %+v", c.Of(class), class, want, c)
		}
	}
}

// Mail to an unsubscribe address means the same as a click on the link. A complaint means all mail.
func TestARequestByMailIsAboutTheTopicOrTheListOfItsMailing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	topic, list := f.mailing("topic", 9), f.mailing("list", 9)
	f.exec(`UPDATE mailings SET origin = 'people'`)
	f.exec(`UPDATE mailings SET topic = 'offers' WHERE id = 'topic'`)
	all := said(events.Unsubscribe, topic, 4)
	all.Scope = optouts.All // the person has chosen
	f.record(said(events.Unsubscribe, topic, 1), said(events.Unsubscribe, list, 2), said(events.Complaint, topic, 3), all)
	f.want("opted out", f.texts(optedOut), "r1@example.org topic:offers asked topic",
		"r2@example.org list:people asked list",
		"r3@example.org all complaint topic", "r4@example.org all asked topic")
}

// Peers repeat a report when they did not see our answer, and several may do so at the same time.
func TestAReportThatIsReadTwiceIsOneEvent(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	m := f.mailing("m", 9)
	e := said(events.Hard, m, 1)
	var all sync.WaitGroup
	results := make([]events.Recorded, 8)
	errs := make([]error, 8)
	for i := range results {
		all.Go(func() { results[i], errs[i] = f.store.Record(t.Context(), e, said(events.Complaint, m, i+2)) })
	}
	all.Wait()
	fresh := 0
	for i, r := range results {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		fresh += r.New
	}
	if fresh != 1+8 {
		t.Errorf("%d events were new", fresh)
	}
	again := e
	again.Class, again.Origin = events.Soft, events.Mailbox // a later version reads it in another way
	if r := f.record(again); r != (events.Recorded{Known: 1}) {
		t.Errorf("the report in another reading: %+v", r)
	}
	other := e
	other.ReportID = "another report"
	f.record(other)
	other.Recipient.Number = 9 // the same report is about somebody else, too
	if r := f.record(other); r != (events.Recorded{New: 1}) {
		t.Errorf("the report about another recipient: %+v", r)
	}
	f.want("events of the recipient", f.texts(`SELECT class || ' ' || origin FROM events WHERE recipient = 1`),
		"hard inbound", "hard inbound")
	c, err := f.store.Counts(t.Context(), m)
	if err != nil || c.Hard != 2 || c.Complaint != 8 {
		t.Errorf("counts of recipients: %+v, %v", c, err)
	}
}

func TestSeveralEventsOfOneCallAreWrittenTogetherOrNotAtAll(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	m := f.mailing("m", 9)
	f.exec(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$`)
	f.exec(`CREATE TRIGGER refuse BEFORE INSERT ON suppressions FOR EACH ROW EXECUTE FUNCTION refuse()`)
	all := []events.Event{said(events.Complaint, m, 1), said(events.Hard, m, 2)}
	if _, err := f.store.Record(t.Context(), all...); err == nil {
		t.Fatal("an address could not be suppressed, and Record succeeded")
	}
	f.want("events after a failure", f.texts(allEvents))
	f.want("opted out after a failure", f.texts(optedOut))
	f.exec(`DROP TRIGGER refuse ON suppressions`)
	if r := f.record(all...); r.New != 2 {
		t.Errorf("the second time: %+v", r)
	}
	f.want("suppressed", f.texts(suppressed), "r2@example.org hard 5.1.1 m")
	f.want("opted out", f.texts(optedOut), "r1@example.org all complaint m")
}

func TestAnEventOfNobodyDoesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	m := f.mailing("m", 2)
	r := f.record(said(events.Hard, m, 3), said(events.Hard, m+1, 1), said(events.Hard, -1, -1),
		said(events.Hard, m, 1<<40+1), said(events.Hard, m, 2))
	if r != (events.Recorded{New: 1, Unknown: 4}) {
		t.Errorf("%+v", r)
	}
	f.want("events", f.texts(allEvents), "2 bounce hard")
}

// A recipient knows the address to which reports go.
func TestARecipientHasALimitedNumberOfEventsAndARequestIsNeverDropped(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	m := f.mailing("m", 2)
	written, dropped := 0, 0
	for i := range 40 {
		e := said(events.Automatic, m, 1)
		e.ReportID = fmt.Sprint(i)
		r := f.record(e)
		written, dropped = written+r.New, dropped+r.Overfull
	}
	if written != 20 || dropped != 20 {
		t.Errorf("of 40 events %d were written and %d dropped", written, dropped)
	}
	if r := f.record(said(events.Unsubscribe, m, 1)); r.New != 1 {
		t.Errorf("the request of a person: %+v", r)
	}
	f.want("opted out", f.texts(optedOut), "r1@example.org all asked m")
	for i := range 60 {
		e := said(events.Complaint, m, 1)
		e.ReportID = fmt.Sprint("complaint ", i)
		f.record(e)
	}
	if n := len(f.texts(allEvents)); n != 40 {
		t.Errorf("with requests, there are %d events", n)
	}
	f.exec(`DELETE FROM opt_outs`)
	e := said(events.Complaint, m, 1)
	e.ReportID = "another complaint"
	if r := f.record(e); r != (events.Recorded{Overfull: 1}) {
		t.Errorf("a request that is not written: %+v", r)
	}
	f.want("opted out without an event", f.texts(optedOut), "r1@example.org all complaint m")
	many := make([]events.Event, 30) // of one call
	for i := range many {
		many[i] = said(events.Automatic, m, 2)
		many[i].ReportID = fmt.Sprint("many ", i)
	}
	if r := f.record(many...); r != (events.Recorded{New: 20, Overfull: 10}) {
		t.Errorf("of 30 events of one call: %+v", r)
	}
}

func TestADiagnosticHoldsNoAddressAndIsShort(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	m := f.mailing("m", 9)
	for i, text := range []string{
		"user R1@Example.org is gone", "no mailbox r2 here\r\nat example.org", strings.Repeat("long ", 5000),
		"a\x00b\xff\u202ec", "",
	} {
		e := said(events.Hard, m, i+1)
		e.Diagnostic, e.Enhanced = text, "5.1.1 or so"
		f.record(e)
	}
	got := f.texts(`SELECT diagnostic || '/' || enhanced FROM events ORDER BY recipient`)
	if got[0] != "user … is gone/" || got[1] != "no mailbox … here at …/" || len(got[2]) > 200 || got[3] != "a b? c/" ||
		got[4] != "/" {
		t.Errorf("%q", got)
	}
}

func TestTheTimeOfAnEventIsThatOfItsReportAndNotInTheFuture(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	m := f.mailing("m", 9)
	for i, at := range []time.Time{{}, time.Now().Add(-48 * time.Hour), time.Now().Add(48 * time.Hour)} {
		e := said(events.Complaint, m, i+1)
		e.At = at
		f.record(e)
	}
	const days = `SELECT recipient || ' ' || round(extract(epoch FROM now() - at) / 86400) FROM events ORDER BY 1`
	f.want("days ago", f.texts(days), "1 0", "2 2", "3 0")
	f.want("days ago, of the requests",
		f.texts(`SELECT round(extract(epoch FROM now() - added_at) / 86400)::text FROM opt_outs ORDER BY address_key`),
		"0", "2", "0")
	e := said(events.Hard, m, 4)
	e.At = time.Now().Add(-48 * time.Hour)
	f.record(e)
	f.want("days ago, of the suppression",
		f.texts(`SELECT round(extract(epoch FROM now() - last_at) / 86400)::text FROM suppressions`), "2")
}

// The rule is that of package optouts: too many hard bounces are a fault of a server.
func TestTooManyHardBouncesOfAMailingSuppressNobody(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	m := f.mailing("m", 200)
	for n := range 10 {
		f.record(said(events.Hard, m, n+1))
	}
	if n := len(f.texts(suppressed)); n != 10 {
		t.Fatalf("10 of 200 have bounced, and %d are suppressed", n)
	}
	f.record(said(events.Hard, m, 11), said(events.Complaint, m, 12))
	f.want("suppressed, after 11 of 200 have bounced", f.texts(suppressed))
	f.want("opted out", f.texts(optedOut), "r12@example.org all complaint m")
	if n := len(f.texts(allEvents)); n != 12 {
		t.Errorf("%d events", n)
	}
}

// Messages of open batches are not counted as sent yet, and bounce already.
func TestBouncesThatWereTooManyWhileAMailingRanSuppressAtItsEnd(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	m := f.mailing("m", 400)
	f.exec(`UPDATE batches SET sent = 100`)
	for n := range 10 {
		f.record(said(events.Hard, m, n+1))
	}
	f.want("suppressed while it runs", f.texts(suppressed))
	f.exec(`UPDATE batches SET sent = 400`)
	for range 2 {
		if err := f.store.Reconsider(t.Context(), m, "m"); err != nil {
			t.Fatal(err)
		}
		if n := len(f.texts(suppressed)); n != 10 {
			t.Errorf("10 of 400 have bounced, and %d are suppressed at the end", n)
		}
	}
	f.exec(`UPDATE batches SET sent = 100`)
	if err := f.store.Reconsider(t.Context(), m, "m"); err != nil {
		t.Fatal(err)
	}
	f.want("suppressed if the mailing has ended early", f.texts(suppressed))
}

func TestTheReportOfEventsIsInTheOrderOfRecipientsAndTimes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	m, other := f.mailing("m", 9), f.mailing("other", 9)
	for i, e := range []events.Event{said(events.Soft, m, 2), said(events.Complaint, m, 1), said(events.Hard, m, 2),
		said(events.Hard, other, 1)} {
		e.At = time.Now().Add(time.Duration(i-10) * time.Hour)
		if e.ReportID += "x"; i == 2 {
			e.At = e.At.Add(-5 * time.Hour)
		}
		f.record(e)
	}
	var lines []string
	err := f.store.Report(t.Context(), m, func(l events.Line) error {
		lines = append(lines, fmt.Sprint(l.Address, " ", l.Kind, " ", l.Class, " ", l.Enhanced, " ", l.Diagnostic,
			" ", l.Origin))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	f.want("lines", lines, "R1@example.org complaint complaint 5.1.1 no such user inbound",
		"R2@example.org bounce hard 5.1.1 no such user inbound",
		"R2@example.org bounce soft 5.1.1 no such user inbound")
}

// keep keeps a report in a transaction of its own.
func (f *fixture) keep(mailing int64, number int, report, content string) {
	f.Helper()
	err := pgx.BeginTxFunc(f.Context(), f.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		e := events.Event{Recipient: token.Recipient{Mailing: mailing, Number: number}, Origin: events.Inbound,
			ReportID: report}
		return events.Keep(f.Context(), tx, e, []byte(content), int64(len(content)))
	})
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) unread() (all []events.Unread) {
	f.Helper()
	err := f.store.Unread(f.Context(), func(u events.Unread) error {
		all = append(all, u)
		return nil
	})
	if err != nil {
		f.Fatal(err)
	}
	return all
}

func TestAReportThatNobodyCouldReadIsKeptForAWhile(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	m := f.mailing("m", 400)
	f.keep(m, 1, "a", "Subject: what?\r\n\r\n\x00\xff"+strings.Repeat("x", 100_000))
	f.keep(m, 1, "a", "again")
	f.keep(m, 401, "b", "about nobody")
	all := f.unread()
	if len(all) != 1 || all[0].Mailing != "m" || all[0].Address != "R1@example.org" || all[0].Size != 100_020 ||
		len(all[0].Content) != events.MaxUnreadSize || !strings.HasPrefix(string(all[0].Content), "Subject: what?") {
		t.Fatalf("%d are kept", len(all))
	}
	if one, err := f.store.UnreadReport(t.Context(), all[0].Key); err != nil || one.Recipient != 1 {
		t.Errorf("by its key: recipient %d, %v", one.Recipient, err)
	}
	if _, err := f.store.UnreadReport(t.Context(), all[0].Key+1000); err != events.ErrNoReport {
		t.Errorf("by a key that no report has: %v", err)
	}
	for i := range 10 {
		f.keep(m, 1, fmt.Sprint("more ", i), "x")
	}
	if n := len(f.unread()); n != 5 {
		t.Errorf("%d reports of one recipient are kept", n)
	}
	f.exec(`UPDATE unread_reports SET received_at = now() - interval '31 days' WHERE key = $1`, all[0].Key)
	if n := len(f.unread()); n != 4 {
		t.Errorf("after one has expired, %d are kept", n)
	}
	f.exec(`INSERT INTO unread_reports (mailing, recipient, origin, size, content, identity)
		SELECT $1, 2, 'import', 1, 'x', int4send(n) FROM generate_series(1, 1500) n`, m)
	f.keep(m, 3, "the newest", "x")
	if all := f.unread(); len(all) != events.MaxUnread || all[0].Recipient != 3 {
		t.Errorf("of too many, %d are kept", len(all))
	}
}

func TestAnEventWaitsForNobodyButThoseOfItsMailing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	a, b := f.mailing("a", 9), f.mailing("b", 9)
	f.record(said(events.Soft, a, 1), said(events.Soft, b, 1))
	tx, err := f.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := events.Record(t.Context(), tx, said(events.Hard, a, 2)); err != nil {
		t.Fatal(err)
	}
	f.record(said(events.Hard, b, 3)) // does not wait
	f.want("hard", f.texts(`SELECT m.id FROM events e JOIN mailings m ON m.key = e.mailing WHERE class = 'hard'`), "b")
	// Who waits counts what the other has written.
	another := said(events.Hard, a, 2)
	another.ReportID = "another report"
	recorded := make(chan error, 1)
	go func() {
		_, err := f.store.Record(context.WithoutCancel(t.Context()), another)
		recorded <- err
	}()
	for !servertest.WaitsForLock(t, f.pool) {
		select {
		case err := <-recorded:
			t.Fatalf("did not wait: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-recorded; err != nil {
		t.Fatal(err)
	}
	if c, err := f.store.Counts(t.Context(), a); err != nil || c.Hard != 1 {
		t.Errorf("the recipient with two bounces is counted so: %+v, %v", c, err)
	}
}
