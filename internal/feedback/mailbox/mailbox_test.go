package mailbox

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/database"
	"directmailer/internal/dev/servers"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/feedback/intake"
	"directmailer/internal/feedback/token"
	"directmailer/internal/feedback/tokenkey"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

var keys, _ = token.ParseKeys(strings.Repeat("o", 40))

// fixture is a database with the mailing "m" to 1,000 recipients, and a mailbox.
type fixture struct {
	testing.TB
	pool    *pgxpool.Pool
	server  *servers.Dovecot
	config  Config
	mailing int64
	log     bytes.Buffer
	number  int // of the last message
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{TB: t, server: servertest.Dovecot(t)}
	var err error
	if f.config, err = Parse(f.server.URL()); err != nil {
		t.Fatal(err)
	}
	f.pool = servertest.Pool(t, servertest.Database(t), 4)
	err = f.pool.QueryRow(t.Context(), `
		INSERT INTO mailings (id, first_run_id, input, list, state, recipients, mailable, batches)
		VALUES ('m', 'run', '{}', 'people', 'sending', 1000, 1000, 1) RETURNING key`).Scan(&f.mailing)
	if err != nil {
		t.Fatal(err)
	}
	f.exec(`INSERT INTO recipients (mailing, number, address, address_key, attributes)
		SELECT $1, n, 'r' || n || '@example.org', 'r' || n || '@example.org', '{}' FROM generate_series(1, 1000) n`,
		f.mailing)
	return f
}

func (f *fixture) reader() *Reader {
	return f.readerWith(keys)
}

func (f *fixture) readerWith(keys token.Keys) *Reader {
	log := slog.New(slog.NewTextHandler(&f.log, nil))
	return NewReader(f.config, f.pool, intake.New(f.pool, keys), tokenkey.NewWatch(f.pool, keys, log), log)
}

func (f *fixture) exec(sql string, args ...any) {
	f.Helper()
	if _, err := f.pool.Exec(f.Context(), sql, args...); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) read(most int) Read {
	f.Helper()
	found, err := f.reader().Read(f.Context(), most)
	if err != nil {
		f.Fatal(err)
	}
	return found
}

func (f *fixture) bounceAddress(recipient int) string {
	return "b-" + keys.ForAddress(token.Bounce, token.Recipient{Mailing: f.mailing, Number: recipient}) +
		"@bounce.example.com"
}

// deliver puts a report about a recipient into the mailbox.
func (f *fixture) deliver(recipient int) {
	f.Helper()
	to := f.bounceAddress(recipient)
	f.deliverText(fmt.Sprintf("Return-Path: <>\r\nDelivered-To: %s\r\nFrom: "+
		"MAILER-DAEMON@mx.example.org\r\nMessage-ID: <%d@mx.example.org>\r\n"+
		"MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=x\r\n\r\n"+
		"--x\r\n\r\nNot delivered.\r\n--x\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; "+
		"mx.example.org\r\n\r\n"+
		"Final-Recipient: rfc822; r%d@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 "+
		"5.1.1 unknown\r\n\r\n--x--\r\n",
		to, recipient, recipient))
}

func (f *fixture) deliverText(text string) {
	f.Helper()
	f.number++
	if err := f.server.Deliver(fmt.Sprintf("%d.test", f.number), []byte(text)); err != nil {
		f.Fatal(err)
	}
}

// events returns the recipients with an event, one for each event.
func (f *fixture) events() []int32 {
	f.Helper()
	rows, err := f.pool.Query(f.Context(), `SELECT recipient FROM events ORDER BY recipient`)
	if err != nil {
		f.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		f.Fatal(err)
	}
	return all
}

// in returns the number of messages of a folder, and how many of them have a flag.
func (f *fixture) in(folder string, flag imap.Flag) (all, flagged int) {
	f.Helper()
	c := f.config
	c.folder = folder
	s, err := NewReader(c, f.pool, nil, nil, nil).open(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	defer s.close()
	found, err := s.client.UIDSearch(&imap.SearchCriteria{}, nil).Wait()
	if err != nil {
		f.Fatal(err)
	}
	with, err := s.client.UIDSearch(&imap.SearchCriteria{Flag: []imap.Flag{flag}}, nil).Wait()
	if err != nil {
		f.Fatal(err)
	}
	return len(found.AllUIDs()), len(with.AllUIDs())
}

func TestEachMessageOfAMailboxIsReadOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if got := f.read(10); got != (Read{}) {
		t.Errorf("an empty mailbox: %+v", got)
	}
	for n := range 5 {
		f.deliver(n + 1)
	}
	f.deliverText("From: jane@example.org\r\nTo: postmaster@example.com\r\nSubject: lunch?\r\n\r\nAt one?\r\n")
	if got := f.read(4); got != (Read{Messages: 4, Reports: 4, Events: 4, More: true}) {
		t.Errorf("the first four: %+v", got)
	}
	if got := f.read(4); got != (Read{Messages: 2, Reports: 1, Events: 1}) {
		t.Errorf("the others: %+v", got)
	}
	if got := f.read(4); got != (Read{}) {
		t.Errorf("without a new one: %+v", got)
	}
	f.deliver(9)
	if got := f.read(1); got != (Read{Messages: 1, Reports: 1, Events: 1}) {
		t.Errorf("a later one: %+v", got)
	}
	if got := f.events(); !slices.Equal(got, []int32{1, 2, 3, 4, 5, 9}) {
		t.Errorf("events of %v", got)
	}
	if all, seen := f.in("INBOX", imap.FlagSeen); all != 1 || seen != 0 {
		t.Errorf("in the mailbox are %d messages, %d of them seen: want the one that is not ours", all, seen)
	}
	if all, _ := f.in(Processed, imap.FlagSeen); all != 6 {
		t.Errorf("%d messages were put away", all)
	}
	var origins string
	err := f.pool.QueryRow(t.Context(), `SELECT string_agg(DISTINCT origin, ' ') FROM events`).Scan(&origins)
	if err != nil || origins != "mailbox" {
		t.Errorf("the events are from %s, %v", origins, err)
	}
	if text := f.log.String(); text != "" {
		t.Errorf("the log has %s", text)
	}
}

// with reads as a worker with other keys.
func (f *fixture) with(keys token.Keys, most int) Read {
	f.Helper()
	found, err := f.readerWith(keys).Read(f.Context(), most)
	if err != nil {
		f.Fatal(err)
	}
	return found
}

// A worker that lacks the key of a mailing cannot tell its tokens from forged ones.
func TestAMessageOfAMissingKeyIsLeftForAReaderWithTheKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	other, _ := token.ParseKeys(strings.Repeat("x", 40))
	f.exec(`UPDATE mailings SET marks = jsonb_build_object('token_key', $1::text)`, keys.Name())
	request := func(keys token.Keys) {
		f.deliverText("To: u-" + keys.ForAddress(token.Unsubscribe, token.Recipient{Mailing: f.mailing, Number: 7}) +
			"@bounce.example.com\r\nFrom: jane@example.org\r\n\r\nplease\r\n")
	}
	forged, _ := token.ParseKeys(strings.Repeat("f", 40))
	const lunch = "To: postmaster@example.com\r\nSubject: lunch?\r\n\r\nAt one?\r\n"
	f.deliverText(lunch)
	f.deliver(1)
	request(forged)
	request(keys)
	f.deliver(2)
	f.deliverText(lunch)
	if got := f.with(other, 3); got != (Read{Messages: 3, Later: 2, More: true}) {
		t.Errorf("the first three, without the key: %+v", got)
	}
	if got := f.with(other, 9); got != (Read{Messages: 3, Later: 2}) {
		t.Errorf("the others, without the key: %+v", got)
	}
	if got := f.with(other, 9); got != (Read{}) {
		t.Errorf("again without the key: %+v", got)
	}
	if all, _ := f.in("INBOX", imap.FlagSeen); all != 6 || len(f.events()) != 0 {
		t.Errorf("%d messages are left, and events of %v", all, f.events())
	}
	if !strings.Contains(f.log.String(), "are left until DM_TOKEN_KEYS has every key") {
		t.Errorf("the log has %s", f.log.String())
	}
	// Another worker has it. It reads again what was left, and is interrupted.
	if got := f.read(3); got != (Read{Reports: 2, Events: 2, More: true}) {
		t.Errorf("the first three, with the key: %+v", got)
	}
	f.deliver(3)
	if got := f.with(other, 9); got != (Read{Messages: 1, Later: 1}) {
		t.Errorf("a later one, without the key: %+v", got)
	}
	if got := f.read(9); got != (Read{Reports: 2, Events: 2}) {
		t.Errorf("the others, with the key: %+v", got)
	}
	var done bool // a forged token is read twice at most
	err := f.pool.QueryRow(t.Context(), `SELECT later_uid IS NULL FROM mailbox_positions`).Scan(&done)
	if err != nil || !done {
		t.Errorf("messages that were read again are read once more: %v", err)
	}
	if got := f.events(); !slices.Equal(got, []int32{1, 2, 3, 7}) {
		t.Errorf("events of %v", got)
	}
	if all, _ := f.in("INBOX", imap.FlagSeen); all != 3 {
		t.Errorf("in the mailbox are %d messages: want those that are not ours", all)
	}
	// Without a missing key, such a token is none of ours.
	request(forged)
	if got := f.read(9); got != (Read{Messages: 1}) {
		t.Errorf("a forged one: %+v", got)
	}
	if got := f.read(9); got != (Read{}) {
		t.Errorf("after a forged one: %+v", got)
	}
}

// A process that dies right after the commit has not put the message away.
func TestAMessageThatWasReadAndNotPutAwayIsNotReadAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.deliver(1)
	f.deliver(2)
	r := f.reader()
	s, err := r.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	uids, err := s.after(0)
	if err != nil || len(uids) != 2 {
		t.Fatal(uids, err)
	}
	m, err := s.fetch(uids[0])
	if err != nil || m == nil {
		t.Fatal(m, err)
	}
	if _, err := r.intake.Take(t.Context(), *m, func(ctx context.Context, tx pgx.Tx, _ intake.Taken) error {
		return r.setPosition(ctx, tx, s.validity, uids[0], false, false)
	}); err != nil {
		t.Fatal(err)
	}
	validity := s.validity
	s.close()
	if got := f.read(10); got != (Read{Messages: 1, Reports: 1, Events: 1}) {
		t.Errorf("after the death: %+v", got)
	}
	// Another reader, which was slower, does not move the position back.
	if err := pgx.BeginFunc(t.Context(), f.pool, func(tx pgx.Tx) error {
		return r.setPosition(t.Context(), tx, validity, uids[0], false, false)
	}); err != nil {
		t.Fatal(err)
	}
	if p, err := r.position(t.Context(), validity); err != nil || p.last != uids[1] {
		t.Errorf("the position is %d, %v; want %d", p.last, err, uids[1])
	}
	if got := f.events(); !slices.Equal(got, []int32{1, 2}) {
		t.Errorf("events of %v", got)
	}
}

// A process that dies right before the commit has read nothing.
func TestAMessageWhoseCommitFailsIsReadAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.deliver(1)
	f.deliver(2)
	f.exec(`
		CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql
			AS $$ BEGIN RAISE 'going down' USING ERRCODE = '57P01'; END $$;
		CREATE TRIGGER away BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION away()`)
	if got, err := f.reader().Read(t.Context(), 10); !database.Unavailable(err) || got.Messages != 0 {
		t.Fatalf("while the database is away: %+v, %v", got, err)
	}
	f.exec(`DROP TRIGGER away ON events`)
	if got := f.read(10); got.Events != 2 {
		t.Errorf("after it is back: %+v", got)
	}
}

// Nothing of a bad message may hold up the others for ever.
func TestAMessageThatCannotBeRecordedIsFlaggedAndTheOthersAreRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for n := range 4 {
		f.deliver(n + 1)
	}
	f.exec(`CREATE FUNCTION too_large() RETURNS boolean LANGUAGE plpgsql AS
		'BEGIN RAISE EXCEPTION USING ERRCODE = ''program_limit_exceeded''; END'`)
	f.exec(`ALTER TABLE events ADD CHECK (recipient <> 2 AND (recipient <> 4 OR too_large()))`)
	if got := f.read(10); got != (Read{Messages: 2, Reports: 2, Events: 2, Skipped: 2}) {
		t.Errorf("%+v", got)
	}
	if all, flagged := f.in("INBOX", imap.FlagFlagged); all != 2 || flagged != 2 {
		t.Errorf("%d messages have stayed, %d of them flagged", all, flagged)
	}
	if got := f.read(10); got != (Read{}) {
		t.Errorf("the second time: %+v", got)
	}
	if text := f.log.String(); !strings.Contains(text, "flagged") || strings.Contains(text, "example.org") {
		t.Errorf("the log has %q", text)
	}
	// What the database refuses of every message is no fault of one.
	f.deliver(5)
	f.exec(`ALTER TABLE events RENAME TO moved`)
	if got, err := f.reader().Read(t.Context(), 10); err == nil || got != (Read{}) {
		t.Errorf("in the middle of an upgrade: %+v, %v", got, err)
	}
	f.exec(`ALTER TABLE moved RENAME TO events`)
	if got := f.read(10); got != (Read{Messages: 1, Reports: 1, Events: 1}) {
		t.Errorf("after the upgrade: %+v", got)
	}
}

// Without MOVE, a client can only copy, delete and expunge. The owner of the mailbox would lose
// what is marked as deleted, and everybody a message whose copy is refused.
func TestOnAServerThatCannotMoveEveryMessageStays(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.deliverText("From: jane@example.org\r\nTo: postmaster@example.com\r\nSubject: lunch?\r\n\r\nAt one?\r\n")
	s, err := f.reader().open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.mark(1, imap.FlagDeleted); err != nil {
		t.Fatal(err)
	}
	s.close()
	f.deliver(1)
	f.config.address = withoutMove(t, f.config.address)
	if got := f.read(10); got != (Read{Messages: 2, Reports: 1, Events: 1}) {
		t.Errorf("%+v", got)
	}
	f.config.address = f.server.Address()
	if all, seen := f.in("INBOX", imap.FlagSeen); all != 2 || seen != 1 {
		t.Errorf("%d messages have stayed, %d of them seen", all, seen)
	}
}

// withoutMove returns the address of a server that passes one connection on, and says that it knows
// neither MOVE nor UIDPLUS.
func withoutMove(t *testing.T, server string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var dialer net.Dialer
	behind, err := dialer.DialContext(t.Context(), "tcp", server)
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		defer behind.Close()
		client, err := l.Accept()
		if err != nil {
			return
		}
		defer client.Close()
		served.Go(func() { _, _ = io.Copy(behind, client) })
		for in := bufio.NewReader(behind); ; {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			if strings.Contains(line, "CAPABILITY") {
				line = strings.NewReplacer(" MOVE", "", " UIDPLUS", "").Replace(line)
			}
			if _, err := io.WriteString(client, line); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		served.Wait()
	})
	return l.Addr().String()
}

func TestNewUIDsOfTheServerMakeNoSecondEvent(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.deliver(1)
	f.read(10)
	f.exec(`UPDATE mailbox_positions SET uid_validity = uid_validity - 1, uid = 1000`)
	f.deliver(1) // the server has restored a backup
	f.deliver(2)
	if got := f.read(10); got != (Read{Messages: 2, Reports: 2, Events: 1}) {
		t.Errorf("%+v", got)
	}
	if got := f.events(); !slices.Equal(got, []int32{1, 2}) {
		t.Errorf("events of %v", got)
	}
}

func TestTwoReadersOfOneMailboxMakeNoSecondEvent(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for n := range 20 {
		f.deliver(n + 1)
	}
	errs := make(chan error, 2)
	for range 2 {
		go func() { _, err := f.reader().Read(t.Context(), 100); errs <- err }()
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := f.events(); len(got) != 20 {
		t.Errorf("%d events of 20 messages", len(got))
	}
}

func TestOfALargeMessageTheBeginningIsRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.deliver(1)
	f.deliverText("Delivered-To: " + f.bounceAddress(2) + "\r\n\r\n" +
		strings.Repeat(strings.Repeat("x", 76)+"\r\n", 100_000))
	if got := f.read(10); got.Reports != 2 || got.Events != 1 {
		t.Errorf("%+v", got)
	}
	var size, kept int
	err := f.pool.QueryRow(t.Context(), `SELECT size, octet_length(content) FROM unread_reports`).Scan(&size, &kept)
	if err != nil || size < 7_800_000 || kept != 64<<10 {
		t.Errorf("%d octets, of which %d are kept, %v", size, kept, err)
	}
}

func TestAMailboxThatCannotBeReadSaysWhy(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	wrong, missing, gone := f.config, f.config, f.config
	wrong.password = "wr0ng"
	missing.folder = "Nowhere"
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	gone.address = fmt.Sprint("127.0.0.1:", port)
	secure := f.config
	secure.security = startTLS
	for want, c := range map[string]Config{
		"the mailbox is unavailable: log in: the server answers NO [AUTHENTICATIONFAILED]": wrong,
		"the mailbox is unavailable: open the folder: the server answers NO":               missing,
		"the mailbox is unavailable: connect to " + gone.address + ": connection refused":  gone,
		"the mailbox is unavailable: connect to " + f.config.address:                       secure,
	} {
		_, err := NewReader(c, f.pool, nil, nil, nil).Read(t.Context(), 1)
		var unavailable *UnavailableError
		if !errors.As(err, &unavailable) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.reader().Read(ctx, 1); err == nil {
		t.Error("a reader whose context has ended reads")
	}
}

// A server that says nothing more after it has agreed to TLS must not hold the reader.
func TestTheEndOfTheContextEndsTheWaitForTLS(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var server sync.WaitGroup
	server.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "* OK [CAPABILITY IMAP4rev1 STARTTLS] here\r\n")
		in := bufio.NewReader(conn)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			if tag, found := strings.CutSuffix(line, " STARTTLS\r\n"); found {
				_, _ = io.WriteString(conn, tag+" OK begin\r\n")
				break
			}
		}
		_, _ = in.ReadByte() // the client speaks TLS
		cancel()
		_, _ = io.Copy(io.Discard, in)
	})
	c, err := Parse("imap://me:s3cret@" + l.Addr().String() + "/INBOX")
	if err != nil {
		t.Fatal(err)
	}
	var unavailable *UnavailableError
	if _, err := NewReader(c, nil, nil, nil, nil).Read(ctx, 1); !errors.As(err, &unavailable) {
		t.Errorf("got %v", err)
	}
	_ = l.Close()
	server.Wait()
}

func TestAServerWithTheCertificateOfAStrangerGetsNoPassword(t *testing.T) {
	t.Parallel()
	web := httptest.NewTLSServer(nil) // its certificate is from no authority
	certificates := web.TLS.Certificates
	web.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certificates})
	if err != nil {
		t.Fatal(err)
	}
	var server sync.WaitGroup
	server.Go(func() {
		if conn, err := l.Accept(); err == nil {
			_ = conn.(*tls.Conn).HandshakeContext(t.Context())
			_ = conn.Close()
		}
	})
	c, err := Parse("imaps://me:s3cret@" + l.Addr().String() + "/INBOX")
	if err != nil {
		t.Fatal(err)
	}
	const want = "the server's certificate is refused"
	_, err = NewReader(c, nil, nil, nil, nil).Read(t.Context(), 1)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	_ = l.Close()
	server.Wait()
}

func TestTheURLOfAMailboxIsCheckedAndNotQuoted(t *testing.T) {
	t.Parallel()
	c, err := Parse("imaps://me%40example.com:s%2F3cret@mail.example.com/INBOX.Bounces?ca=/etc/own.pem")
	want := Config{host: "mail.example.com", address: "mail.example.com:993", user: "me@example.com",
		password: "s/3cret",
		folder:   "INBOX.Bounces", authorities: "/etc/own.pem"}
	if err != nil || c != want || fmt.Sprintf("%v %+v %#v", c, c,
		c) != strings.TrimSpace(strings.Repeat("mail.example.com:993 ", 3)) || strings.Contains(c.name(), "me") {
		t.Errorf("%+v, %v", c, err)
	}
	names := map[string]bool{c.name(): true} // each mailbox has a position of its own
	for _, text := range []string{"imaps://you:x@mail.example.com/INBOX.Bounces",
		"imaps://me%40example.com:x@mail.example.com/INBOX", "imaps://me%40example.com:x@mail.example.org/INBOX.Bounces"} {
		other, err := Parse(text)
		if err != nil || names[other.name()] {
			t.Errorf("%s has the name of another mailbox, %v", text, err)
		}
		names[other.name()] = true
	}
	for text, want := range map[string]string{
		"":                                          "does not begin with imaps://",
		"pop3://me:s3cret@mail/INBOX":               "does not begin with imaps://",
		"imaps://me:s3cret@/INBOX":                  "names no host",
		"imaps://mail.example.com/INBOX":            "no user or no password",
		"imaps://s3cret@mail.example.com/INBOX":     "no user or no password",
		"imaps://me:s3cret@mail.example.com":        "names no folder",
		"imaps://me:s3cret#x@mail.example.com/I":    "is not a URL",
		"imaps://me:s3cret%@mail.example.com/I":     "is not a URL",
		"imaps://me:s3cret@mail/I?tls=none":         "tls=none is for imap:// on the loopback only",
		"imap://me:s3cret@mail.example/I?tls=none":  "tls=none is for imap:// on the loopback only",
		"imaps://me:s3cret@mail/I?s3cret=1":         "unknown parameter",
		"imaps://me:s3cret@mail/I?ca=":              "with a value",
		"imaps://me:s3cret@mail/I?ca=a&ca=b":        "must be there once",
		"imaps://me:s3cret@mail/I?ca=%zz":           "cannot be read",
		"imap://me:s3cret@127.0.0.1/I?tls=optional": "tls=none is for",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(),
			"s3cret") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
