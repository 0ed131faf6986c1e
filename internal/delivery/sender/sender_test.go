package sender_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/database"
	"directmailer/internal/delivery/droppoint"
	"directmailer/internal/delivery/sender"
	"directmailer/internal/dev/servertest"
	"directmailer/internal/dev/smtptest"
	"directmailer/internal/ledger"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

const recipients = 100

// office is a database and a drop point mx with a server that plays a script.
type office struct {
	*testing.T
	pool   *pgxpool.Pool
	gate   *ledger.Gate
	point  *droppoint.Point
	server *smtptest.Server
}

func newOffice(t *testing.T, parameters string, script func(smtptest.Event) *smtptest.Action) *office {
	t.Helper()
	pool, err := database.Open(t.Context(), servertest.Database(t), 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	server := smtptest.Start(t, smtptest.Options{Script: script})
	config, err := droppoint.Parse("mx", "smtp://"+server.Addr()+"?tls=none&"+parameters)
	if err != nil {
		t.Fatal(err)
	}
	set := droppoint.NewSet([]droppoint.Config{config})
	t.Cleanup(set.Close)
	point, _ := set.Get("mx")
	return &office{T: t, pool: pool, gate: ledger.NewGate(pool), point: point, server: server}
}

// claim makes a mailing of one batch of 100 and claims it.
func (o *office) claim(mailing string, hold bool) *ledger.Claim {
	o.Helper()
	var key int64
	row := o.pool.QueryRow(o.Context(), `INSERT INTO mailings (id, first_run_id, input, list, state, recipients, mailable) VALUES ($1, 'run', '{}', 'l', 'sending', $2, $2) RETURNING key`,
		mailing, recipients)
	if err := row.Scan(&key); err != nil {
		o.Fatal(err)
	}
	for _, sql := range []string{
		`INSERT INTO recipients SELECT $1, n, 'r' || n || '@example.com', 'r' || n || '@example.com', '{}' FROM generate_series(1, $2::int) n`,
		`INSERT INTO batches (mailing, number, first, last) VALUES ($1, 1, 1, $2)`,
	} {
		if _, err := o.pool.Exec(o.Context(), sql, key, recipients); err != nil {
			o.Fatal(err)
		}
	}
	l, b := ledger.New(o.pool), ledger.Batch{Mailing: key, Number: 1}
	if err := l.Store(o.Context(), b, []byte("messages"), nil); err != nil {
		o.Fatal(err)
	}
	claim, err := l.Claim(o.Context(), b, hold)
	if err != nil {
		o.Fatal(err)
	}
	return claim
}

// send sends the batch of a claim; to whom its first message goes can be told.
func (o *office) send(claim *ledger.Claim, hold bool, first droppoint.Message) (sender.Report, error) {
	n := 0
	return sender.Send(o.Context(), sender.Batch{Claim: claim, Gate: o.gate, Points: []sender.Point{{Point: o.point}}, Hold: hold, Turn: time.Minute,
		Next: func(room []byte) (sender.Message, error) {
			if n++; n > recipients {
				return sender.Message{}, io.EOF
			}
			m := droppoint.Message{From: "a@example.com", To: fmt.Sprintf("r%d@example.com", n), Name: fmt.Sprint("m", n)}
			if n == 1 && first.To != "" {
				m.To, m.UTF8 = first.To, first.UTF8
			}
			m.Data = append(room[:0], "Subject: x\r\n\r\nhello\r\n"...)
			return sender.Message{Recipient: int32(n), Message: m}, nil
		},
		Pace: func(context.Context, string, string) (sender.Wait, error) { return sender.Wait{}, nil }})
}

// send sends a batch of 100 over two connections to a server that plays the script, and returns what the ledger has then, and the report.
func send(t *testing.T, hold bool, script func(smtptest.Event) *smtptest.Action, first droppoint.Message) (map[string]int, sender.Report, error) {
	t.Helper()
	o := newOffice(t, "connections=2", script)
	report, failure := o.send(o.claim("m", hold), hold, first)
	rows, err := o.pool.Query(t.Context(), `SELECT status::text || CASE WHEN final THEN ', final' ELSE '' END, count(*) FROM deliveries GROUP BY 1`)
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

func TestAServerThatBreaksAfterEachDotIsGivenUpAfterOneRecipientAConnection(t *testing.T) {
	t.Parallel()
	for hold, want := range map[bool]map[string]int{true: {"uncertain, final": 2}, false: {"uncertain": 2}} {
		t.Run(fmt.Sprintf("hold=%v", hold), func(t *testing.T) {
			t.Parallel()
			found, _, failure := send(t, hold, func(e smtptest.Event) *smtptest.Action {
				if e.Phase == "DOT" {
					return &smtptest.Action{Die: true, Accept: true}
				}
				return nil
			}, droppoint.Message{})
			var away *sender.Unavailable
			if !errors.As(failure, &away) || !maps.Equal(found, want) {
				t.Errorf("got %v and %v, want %v", found, failure, want)
			}
		})
	}
}

func TestAServerThatRefusesTheSenderAtRecipientsBouncesNobody(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{"550 5.1.8 sender address rejected: domain not found", "550 5.1.7 bad sender's mailbox", "550 5.7.1 relaying denied"} {
		t.Run(reply, func(t *testing.T) {
			t.Parallel()
			found, _, failure := send(t, false, refusing(reply), droppoint.Message{})
			var refuses *sender.Refuses
			if !errors.As(failure, &refuses) || len(found) != 1 || found["not_sent"] == 0 || found["not_sent"] == recipients {
				t.Errorf("got %v and %v", found, failure)
			}
		})
	}
}

func TestAMessageThatWeRefuseSaysNothingOfTheServer(t *testing.T) {
	t.Parallel()
	found, _, failure := send(t, false, refusing("550 5.7.1 relaying denied"), droppoint.Message{To: "ü@example.com", UTF8: true})
	var refuses *sender.Refuses
	if !errors.As(failure, &refuses) || found["bounced, final"] != 1 || found["refused"] > 0 {
		t.Errorf("got %v and %v", found, failure)
	}
}

// Only what refuses us counts to the mailing's error limit: a server that is away does not.
func TestARefusalBeforeAnyMessageIsCountedAndAnOutageIsNot(t *testing.T) {
	t.Parallel()
	for greeting, want := range map[string]int{"554 5.7.1 you are listed": 1, "421 4.3.2 come back later": 0} {
		t.Run(greeting, func(t *testing.T) {
			t.Parallel()
			found, report, failure := send(t, false, func(e smtptest.Event) *smtptest.Action {
				if e.Phase == "connect" {
					return &smtptest.Action{Reply: greeting}
				}
				return nil
			}, droppoint.Message{})
			if failure == nil || len(found) > 0 || report.Refused != want {
				t.Errorf("got %v, %+v and %v, want %d counted", found, report, failure, want)
			}
		})
	}
}

// The first batch would have the only connection for three seconds: the second gets it after one, also where each dot brings the next envelope.
func TestBatchesShareAConnection(t *testing.T) {
	t.Parallel()
	for _, behind := range []bool{false, true} {
		t.Run(fmt.Sprintf("next_behind_dot=%v", behind), func(t *testing.T) {
			t.Parallel()
			crowded := make(chan struct{}) // the second batch waits for the connection
			o := newOffice(t, fmt.Sprintf("connections=1&next_behind_dot=%v", behind), func(e smtptest.Event) *smtptest.Action {
				if e.Phase != "DOT" {
					return nil
				}
				answer := make(chan struct{})
				go func() {
					<-crowded
					time.AfterFunc(30*time.Millisecond, func() { close(answer) })
				}()
				return &smtptest.Action{Wait: answer}
			})
			done := make(chan int, 2)
			for i := range 2 {
				claim := o.claim(fmt.Sprint("m", i), false)
				go func() {
					if r, err := o.send(claim, false, droppoint.Message{To: fmt.Sprintf("first%d@example.com", i)}); err != nil || !r.Over {
						t.Errorf("batch %d: %+v, %v", i, r, err)
					}
					done <- len(o.server.Received())
				}()
			}
			for !o.point.Crowded() {
				time.Sleep(time.Millisecond)
			}
			close(crowded)
			if ended := <-done; ended == recipients {
				t.Error("one batch had the connection to its end")
			}
			<-done
		})
	}
}

func refusing(reply string) func(smtptest.Event) *smtptest.Action {
	return func(e smtptest.Event) *smtptest.Action {
		if e.Phase == "RCPT" {
			return &smtptest.Action{Reply: reply}
		}
		return nil
	}
}
