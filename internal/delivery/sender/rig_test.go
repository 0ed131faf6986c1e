package sender_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/delivery/sender"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/dev/smtptest"
	"directmailer/internal/ledger"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

const recipients = 100

// rig is a database with a ledger, and a drop point mx whose server plays a script.
type rig struct {
	testing.TB
	pool      *pgxpool.Pool
	gate      *ledger.Gate
	dropPoint *droppoint.DropPoint
	server    *smtptest.Server
}

func newRig(t testing.TB, parameters string, script func(smtptest.Event) *smtptest.Action) *rig {
	t.Helper()
	pool := servertest.Pool(t, servertest.Database(t), 4)
	server := smtptest.Start(t, smtptest.Options{Script: script})
	config, err := droppoint.Parse("mx", "smtp://"+server.Addr()+"?tls=none&"+parameters)
	if err != nil {
		t.Fatal(err)
	}
	set := droppoint.NewSet([]droppoint.Config{config})
	t.Cleanup(set.Close)
	dropPoint, _ := set.Get("mx")
	return &rig{TB: t, pool: pool, gate: ledger.NewGate(pool), dropPoint: dropPoint, server: server}
}

// claim makes a mailing with one batch for all recipients, and claims the batch.
func (r *rig) claim(mailing string, hold bool) *ledger.Claim {
	r.Helper()
	var key int64
	row := r.pool.QueryRow(r.Context(), `
		INSERT INTO mailings (id, first_run_id, input, list, state, recipients, mailable)
		VALUES ($1, 'run', '{}', 'l', 'sending', $2, $2) RETURNING key`, mailing, recipients)
	if err := row.Scan(&key); err != nil {
		r.Fatal(err)
	}
	for _, sql := range []string{
		`INSERT INTO recipients SELECT $1, n, 'r' || n || '@example.com', 'r' || n || '@example.com', '{}'
			FROM generate_series(1, $2::int) n`,
		`INSERT INTO batches (mailing, number, first, last) VALUES ($1, 1, 1, $2)`,
	} {
		if _, err := r.pool.Exec(r.Context(), sql, key, recipients); err != nil {
			r.Fatal(err)
		}
	}
	l, b := ledger.New(r.pool), ledger.Batch{Mailing: key, Number: 1}
	if err := l.Store(r.Context(), b, []byte("messages"), nil); err != nil {
		r.Fatal(err)
	}
	claim, err := l.Claim(r.Context(), b, 0, hold)
	if err != nil {
		r.Fatal(err)
	}
	return claim
}

// reclaim claims the batch of an earlier claim, as another worker does.
func (r *rig) reclaim(claim *ledger.Claim, hold bool) *ledger.Claim {
	r.Helper()
	l := ledger.New(r.pool)
	fence, err := l.Fence(r.Context(), claim.Batch)
	if err != nil {
		r.Fatal(err)
	}
	again, err := l.Claim(r.Context(), claim.Batch, fence, hold)
	if err != nil {
		r.Fatal(err)
	}
	return again
}

// messageTo returns the message for a recipient. It uses the memory of buf.
func messageTo(n int, buf []byte) sender.Message {
	return sender.Message{Recipient: int32(n), Message: droppoint.Message{
		From: "a@example.com", To: fmt.Sprintf("r%d@example.com", n), Name: fmt.Sprint("m", n),
		Data: fmt.Appendf(buf[:0], "Message-ID: <%d@example.com>\r\nSubject: x\r\n\r\nhello\r\n", n)}}
}

// numberOf returns the number of the recipient from an address of messageTo.
func numberOf(address string) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(strings.TrimSuffix(address, "@example.com"), "r"))
	return n
}

// batch returns the batch of a claim, changed by change. It has the messages of all recipients, as
// a spool has.
func (r *rig) batch(claim *ledger.Claim, change func(*sender.Batch)) sender.Batch {
	n := 0
	b := sender.Batch{Claim: claim, Gate: r.gate, DropPoints: []sender.DropPoint{{DropPoint: r.dropPoint}},
		Turn: time.Hour,
		Next: func(buf []byte) (sender.Message, error) {
			if n++; n > recipients {
				return sender.Message{}, io.EOF
			}
			return messageTo(n, buf), nil
		},
		Allow: func(context.Context, string, string) (sender.Wait, error) { return sender.Wait{}, nil }}
	if change != nil {
		change(&b)
	}
	return b
}

// run sends a batch for one turn.
func run(ctx context.Context, b sender.Batch) (sender.Report, error) { return sender.New(b).Run(ctx) }

// send sends the batch of a claim. If first has a recipient, the first message goes there.
func (r *rig) send(claim *ledger.Claim, hold bool, first droppoint.Message) (sender.Report, error) {
	return run(r.Context(), r.batch(claim, func(b *sender.Batch) {
		b.Hold = hold
		next := b.Next
		b.Next = func(buf []byte) (sender.Message, error) {
			m, err := next(buf)
			if m.Recipient == 1 && first.To != "" {
				m.To, m.UTF8 = first.To, first.UTF8
			}
			return m, err
		}
	}))
}

// sendAndCount sends a batch over two connections to a server that plays the script. It returns how
// many rows of each status the ledger has then, and what send returned.
func sendAndCount(t *testing.T, hold bool, script func(smtptest.Event) *smtptest.Action,
	first droppoint.Message) (map[string]int, sender.Report, error) {
	t.Helper()
	r := newRig(t, "connections=2", script)
	report, failure := r.send(r.claim("m", hold), hold, first)
	rows, err := r.pool.Query(t.Context(), `
		SELECT status::text || CASE WHEN final THEN ', final' ELSE '' END, count(*) FROM deliveries GROUP BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	found := map[string]int{}
	for rows.Next() {
		var status string
		var count int
		if err := rows.Scan(&status, &count); err != nil {
			t.Fatal(err)
		}
		found[status] = count
	}
	return found, report, failure
}

// refusing returns a script that gives this reply to every recipient.
func refusing(reply string) func(smtptest.Event) *smtptest.Action {
	return func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "RCPT" {
			return &smtptest.Action{Reply: reply}
		}
		return nil
	}
}

func (r *rig) exec(sql string) {
	r.Helper()
	if _, err := r.pool.Exec(r.Context(), sql); err != nil {
		r.Fatal(err)
	}
}

// onDelivery makes PostgreSQL run PL/pgSQL for each row of deliveries that is written and matches
// the condition.
func (r *rig) onDelivery(when, do string) {
	r.Helper()
	r.exec(`CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ` + do + `; RETURN NEW; END $$`)
	r.exec(`CREATE TRIGGER fault BEFORE INSERT OR UPDATE ON deliveries FOR EACH ROW WHEN (` + when +
		`) EXECUTE FUNCTION fault()`)
}

// waitForLock returns when a statement in this database waits for a lock.
func (r *rig) waitForLock() {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	for waiting := false; !waiting; {
		row := r.pool.QueryRow(ctx, `SELECT EXISTS (
			SELECT FROM pg_stat_activity WHERE `+servertest.WaitsForAnother+`)`)
		if err := row.Scan(&waiting); err != nil {
			r.Fatal(err)
		}
	}
}

// blockDeliveries makes the writing of each row that matches the condition wait until release is
// called.
func (r *rig) blockDeliveries(when string) (release func()) {
	r.Helper()
	r.onDelivery(when, `PERFORM pg_advisory_xact_lock(1)`)
	tx, err := r.pool.Begin(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	if _, err := tx.Exec(r.Context(), `SELECT pg_advisory_xact_lock(1)`); err != nil {
		r.Fatal(err)
	}
	return func() { _ = tx.Rollback(r.Context()) }
}

// written is a row of the ledger.
type written struct {
	status string
	final  bool
	twice  bool
	code   int
	reply  string
}

// deliveries returns the rows of the ledger by recipient and attempt, as in "3/1".
func (r *rig) deliveries() map[string]written {
	r.Helper()
	rows, err := r.pool.Query(r.Context(), `
		SELECT recipient || '/' || attempt, status::text, final, possibly_twice, coalesce(code, 0), coalesce(reply, '')
		FROM deliveries`)
	if err != nil {
		r.Fatal(err)
	}
	defer rows.Close()
	out := map[string]written{}
	for rows.Next() {
		var key string
		var w written
		if err := rows.Scan(&key, &w.status, &w.final, &w.twice, &w.code, &w.reply); err != nil {
			r.Fatal(err)
		}
		out[key] = w
	}
	if err := rows.Err(); err != nil {
		r.Fatal(err)
	}
	return out
}

// wantAllInLedger fails the test unless the ledger has an attempt for each message that the server
// has accepted.
func (r *rig) wantAllInLedger() {
	r.Helper()
	rows := r.deliveries()
	for _, m := range r.server.Received() {
		if _, ok := rows[fmt.Sprint(numberOf(m.To), "/1")]; !ok {
			r.Errorf("%s was accepted by the server, and the ledger has no attempt", m.To)
		}
	}
}
