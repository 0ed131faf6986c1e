package intake_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/feedback"
	"directmailer/internal/feedback/events"
	"directmailer/internal/feedback/intake"
	"directmailer/internal/feedback/token"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

var keys, _ = token.ParseKeys(strings.Repeat("o", 40))

// fixture is a database with the mailing "m" to r1@example.org … r9@example.org.
type fixture struct {
	testing.TB
	pool    *pgxpool.Pool
	intake  *intake.Intake
	mailing int64
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	pool := servertest.Pool(t, servertest.Database(t), 8)
	f := &fixture{TB: t, pool: pool, intake: intake.New(pool, keys)}
	err := pool.QueryRow(t.Context(), `
		INSERT INTO mailings (id, first_run_id, input, list, state, recipients, mailable, batches)
		VALUES ('m', 'run', '{}', 'people', 'sending', 9, 9, 1) RETURNING key`).Scan(&f.mailing)
	if err == nil {
		_, err = pool.Exec(t.Context(), `INSERT INTO recipients (mailing, number, address, address_key, attributes)
			SELECT $1, n, 'r' || n || '@example.org', 'r' || n || '@example.org', '{}' FROM generate_series(1, 9) n`, f.mailing)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) recipient(n int) token.Recipient {
	return token.Recipient{Mailing: f.mailing, Number: n}
}

func (f *fixture) bounceAddress(n int) string {
	return "b-" + keys.ForAddress(token.Bounce, f.recipient(n)) + "@bounce.example.com"
}

func (f *fixture) unsubscribeAddress(n int) string {
	return "u-" + keys.ForAddress(token.Unsubscribe, f.recipient(n)) + "@bounce.example.com"
}

// take takes over a message to recipients whose envelope is known, or to none.
func (f *fixture) take(text string, named ...feedback.Named) intake.Taken {
	f.Helper()
	t, err := f.intake.Take(f.Context(), f.message(text, named...), nil)
	if err != nil {
		f.Fatal(err)
	}
	return t
}

func (f *fixture) message(text string, named ...feedback.Named) intake.Message {
	return intake.Message{Named: named, Data: []byte(text), Size: int64(len(text)), Origin: events.Inbound}
}

func (f *fixture) bounce(n int) feedback.Named {
	return feedback.Named{Recipient: f.recipient(n), Kind: token.Bounce}
}

func (f *fixture) request(n int) feedback.Named {
	return feedback.Named{Recipient: f.recipient(n), Kind: token.Unsubscribe}
}

// wantEvents compares the events by recipient.
func (f *fixture) wantEvents(want ...string) {
	f.Helper()
	rows, err := f.pool.Query(f.Context(), `SELECT recipient || ' ' || class FROM events ORDER BY recipient, key`)
	if err != nil {
		f.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || !slices.Equal(got, want) {
		f.Errorf("events %q, %v; want %q", got, err, want)
	}
}

// dsn is a report (RFC 3464) to an address, about recipients with status codes.
func dsn(to string, about ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b,
		"From: MAILER-DAEMON@mx.example.org\r\nTo: <%s>\r\nSubject: Undelivered Mail\r\nMessage-ID: "+
			"<%d.%s@mx.example.org>\r\n"+
			"Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; "+
			"report-type=delivery-status; boundary=x\r\n\r\n"+
			"--x\r\n\r\nYour message was not delivered.\r\n--x\r\nContent-Type: "+
			"message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.org\r\n",
		to, len(about), strings.ReplaceAll(strings.Join(about, "."), "@", "-"))
	for i := 0; i < len(about); i += 2 {
		fmt.Fprintf(&b,
			"\r\nFinal-Recipient: rfc822; %s\r\nAction: failed\r\nStatus: %s\r\nDiagnostic-Code: smtp; %s %s no\r\n",
			about[i], about[i+1], map[byte]string{'5': "550", '4': "450"}[about[i+1][0]], about[i+1])
	}
	b.WriteString("\r\n--x--\r\n")
	return b.String()
}

func TestTheEnvelopeSaysWhoAndTheReportSaysWhat(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if got := f.take(dsn("x@example.com", "other@example.net", "5.1.1"), f.bounce(1)); got.New != 1 || got.Named != 1 {
		t.Errorf("a bounce of forwarded mail: %+v", got)
	}
	f.take(dsn("x@example.com", "r2@example.org", "4.2.2"), f.bounce(2))
	got := f.take(dsn("x@example.com", "r3@example.org", "5.1.1", "r4@example.org", "4.2.2"), f.bounce(4), f.bounce(3),
		f.bounce(4))
	if got.Named != 2 || got.New != 2 || got.Known != 0 {
		t.Errorf("a bounce about two, one of them named twice: %+v", got)
	}
	f.wantEvents("1 hard", "2 soft", "3 hard", "4 soft")
}

// A file may hold reports of years ago. Whoever sends a message now could write any date into it.
func TestTheTimeOfAReportIsItsArrivalAndInAFileItsDate(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	text := "Date: Fri, 02 Jan 2026 12:00:00 +0000\r\n" + dsn("x@example.com", "r1@example.org", "5.1.1")
	for n, origin := range []events.Origin{events.Import, events.Mailbox} {
		m := f.message(text, f.bounce(n+1))
		m.Origin, m.At = origin, time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
		if _, err := f.intake.Take(t.Context(), m, nil); err != nil {
			t.Fatal(err)
		}
	}
	var days string
	err := f.pool.QueryRow(t.Context(), `SELECT string_agg(to_char(at AT TIME ZONE 'UTC', 'DD'), ' ' ORDER BY recipient)
		FROM events`).Scan(&days)
	if err != nil || days != "02 05" {
		t.Errorf("the days of the events are %s, %v", days, err)
	}
}

func TestAReportMayNameRecipientsOfOursItself(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.take(strings.Replace(dsn("postmaster@example.com", "r1@example.org", "5.1.1"), "\r\nSubject",
		"\r\nDelivered-To: "+f.bounceAddress(1)+"\r\nSubject", 1))
	f.take(dsn(f.bounceAddress(2), "r2@example.org", "5.1.1"))
	// the message that is returned names its recipient
	f.take(strings.Replace(dsn("fbl@example.com", "r3@example.org", "5.1.1"), "\r\n--x--",
		"\r\n--x\r\nContent-Type: message/rfc822\r\n\r\nReturn-Path: <"+f.bounceAddress(3)+">\r\nSubject: "+
			"news\r\n\r\nx\r\n--x--", 1))
	if got := f.take(dsn("postmaster@example.com", "r4@example.org", "5.1.1")); got.Named+got.New+got.Kept != 0 {
		t.Errorf("a report about nobody of ours: %+v", got)
	}
	f.wantEvents("1 hard", "2 hard", "3 hard")
}

// Who has one bounce address can write anything into a message to it.
func TestAMessageActsForItsOwnRecipientsOnly(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	text := strings.Replace(dsn(f.bounceAddress(2), "r1@example.org", "5.1.1"), "Your message",
		f.bounceAddress(3)+" "+f.unsubscribeAddress(4)+"\r\nYour message", 1)
	f.take(text, f.bounce(1))
	f.wantEvents("1 hard")
}

func TestMailToAnUnsubscribeAddressIsAPersonsRequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const person = "From: <jane@example.org>\r\nTo: x@example.com\r\nMessage-ID: <1@example.org>\r\nSubject: " +
		"unsubscribe\r\n\r\n"
	f.take(person+"\r\n", f.request(1))
	f.take("", f.request(2))
	f.take("Auto-Submitted: auto-generated\r\nSubject: unsubscribe\r\n\r\nsent by a mail program\r\n", f.request(3))
	f.take(strings.Replace(person, "x@example.com", f.unsubscribeAddress(4), 1) +
		"550 5.1.1 no such user\r\n") // as a mailbox has it
	if got := f.take(dsn("x@example.com", "u@example.com", "5.1.1"), f.request(5)); got.Kept != 1 {
		t.Errorf("a bounce to it: %+v", got)
	}
	if got := f.take("Auto-Submitted: auto-replied (vacation)\r\n\r\nI am away\r\n", f.request(6)); got.Kept != 1 {
		t.Errorf("an automatic answer to it: %+v", got)
	}
	f.take(person+"\r\n", f.request(1))
	f.wantEvents("1 unsubscribe", "2 unsubscribe", "3 unsubscribe", "4 unsubscribe")
}

func TestWhatNobodyCanReadIsKeptAndDoesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	got := f.take("From: jane@example.org\r\nSubject: hello\r\n\r\nHow are you?\r\n", f.bounce(1))
	if got.Kept != 1 || got.New != 0 {
		t.Errorf("%+v", got)
	}
	f.wantEvents()
	kept := 0
	err := events.New(f.pool).Unread(t.Context(), func(u events.Unread) error {
		if kept++; u.Recipient != 1 || u.Origin != events.Inbound || !strings.Contains(string(u.Content),
			"How are you?") {
			t.Errorf("kept %+v", u)
		}
		return nil
	})
	if err != nil || kept != 1 {
		t.Errorf("%d are kept, %v", kept, err)
	}
}

func TestAMessageIsTakenOverTogetherWithWhatTheCallerAdds(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	m := f.message(dsn("x@example.com", "r1@example.org", "5.1.1"), f.bounce(1))
	failure := errors.New("the position cannot be written")
	fails := func(context.Context, pgx.Tx, intake.Taken) error { return failure }
	if _, err := f.intake.Take(t.Context(), m, fails); !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
	f.wantEvents()
	called := 0
	for range 2 {
		_, err := f.intake.Take(t.Context(), m, func(context.Context, pgx.Tx, intake.Taken) error { called++; return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.intake.Take(t.Context(), f.message("Subject: x\r\n\r\ny\r\n"),
		func(context.Context, pgx.Tx, intake.Taken) error { called++; return nil }); err != nil || called != 3 {
		t.Errorf("a message about nobody: %v, %d calls", err, called)
	}
	f.wantEvents("1 hard")
}

// Who has one bounce address can send to it for ever.
func TestOneRecipientsMailFillsTheDatabaseUpToALimitAndNoFurther(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const complaint = "Content-Type: multipart/report; report-type=feedback-report; boundary=x\r\n\r\n--x\r\n" +
		"Content-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\n\r\n--x--\r\n"
	kinds := map[string]feedback.Named{
		dsn("x@example.com", "r1@example.org", "5.1.1"):                                         f.bounce(1),
		dsn("x@example.com", "r1@example.org", "4.2.2"):                                         f.bounce(1),
		"Message-ID: <a@x>\r\n" + complaint:                                                     f.bounce(1),
		"Message-ID: <b@x>\r\nAuto-Submitted: auto-replied\r\nSubject: away\r\n\r\n":            f.bounce(1),
		"Message-ID: <c@x>\r\nSubject: hi\r\n\r\n" + strings.Repeat("How are you?\r\n", 10_000): f.bounce(1),
		"Message-ID: <d@x>\r\nSubject: unsubscribe\r\n\r\n":                                     f.request(1),
	}
	sent := 0
	send := func(rounds int) {
		for range rounds {
			for text, named := range kinds {
				sent++
				f.take(strings.Replace(text, "Message-ID: <", fmt.Sprintf("Message-ID: <%d.", sent), 1), named)
			}
		}
	}
	stored := func() (rows map[string]int, octets int) {
		rows = map[string]int{}
		for _, table := range []string{"events", "bounce_findings", "suppressions", "opt_outs", "unread_reports"} {
			var n, size int
			if err := f.pool.QueryRow(t.Context(), `SELECT count(*), coalesce(sum(octet_length(to_jsonb(t)::text)), 0)
				FROM `+table+` t`).Scan(&n, &size); err != nil {
				t.Fatal(err)
			}
			rows[table], octets = n, octets+size
		}
		return rows, octets
	}
	send(20)
	rows, octets := stored()
	want := map[string]int{"events": 40, "bounce_findings": 2, "suppressions": 1, "opt_outs": 2, "unread_reports": 5}
	if !maps.Equal(rows, want) {
		t.Errorf("after %d messages there are %v, want %v", sent, rows, want)
	}
	if most := 5*2*events.MaxUnreadSize + 100_000; octets > most { // in JSON, an octet of bytea is two digits
		t.Errorf("after %d messages there are %d octets", sent, octets)
	}
	send(20)
	if again, _ := stored(); !maps.Equal(again, want) {
		t.Errorf("after %d messages there are %v, want %v", sent, again, want)
	}
}

func TestAHostileMessageCostsLittle(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var everybody strings.Builder
	for n := range 5000 {
		everybody.WriteString("To: <b-" + keys.ForAddress(token.Bounce, token.Recipient{Mailing: f.mailing,
			Number: n + 1}) + "@x.example>\r\n")
	}
	nested := strings.Builder{}
	for i := range 4000 {
		fmt.Fprintf(&nested, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	for name, text := range map[string]string{
		"many recipients": everybody.String() + "\r\nx",
		"nested parts":    nested.String(),
		"many parts": "Content-Type: multipart/mixed; boundary=x\r\n\r\n" + strings.Repeat("--x\r\n\r\n",
			50_000),
		"one long header":    strings.Repeat("X-A: b\r\n", 50_000),
		"one folded field":   "To: a\r\n" + strings.Repeat(" \r\n", 100_000),
		"many addresses":     "To: " + strings.Repeat("a@b.example,", 30_000) + "\r\n\r\n",
		"many almost-tokens": strings.Repeat("b-"+strings.Repeat("a", 36)+"@x.example ", 5_000),
		"no line breaks":     strings.Repeat("x", 256<<10),
		"binary":             strings.Repeat("\x00\xff\r", 80_000),
		"encoded words":      "Subject: " + strings.Repeat("=?utf-8?q?=41?= ", 16_000) + "\r\n\r\n",
	} {
		began := time.Now()
		f.take(text, f.bounce(1))
		f.take(text)
		if took := time.Since(began); took > time.Minute { // some milliseconds, on a machine without other work
			t.Errorf("%s: %v", name, took)
		}
	}
}
